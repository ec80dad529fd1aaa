//! The console: a page that shows the system at work, and the form of the small pages of every service.
//!
//! ```text
//! index.html, base.css, style.css, *.js ──compiled into── page.rs ── GET / of the registry
//!                 base.css alone ──────────────────────── small_page.rs ── the pages of every service
//!                                   policy.rs: the hashes that let a browser run these texts and no other
//!
//! in the browser:   net.js      who is there, and which side is away     (the registry)
//!                   feed.js     the log, by long polls                   (the write side)
//!                   path.js  log.js  fold.js  sides.js  accounts.js  who.js  tap.js   one for each section
//!                   dom.js      elements from data; start.js begins all
//! ```
//!
//! The page has no build step and loads nothing: a reader of these files reads what the browser runs. The page
//! uses the routes that every client uses, and finds the other services by discovery.
//!
//! **Invariant:** the texts of this folder stay below 80 KiB, and data of the services never becomes markup.
//!
//! Threads: none.
//!
//! Read next: `page.rs`; `net.js`, then `start.js`.

mod page;
mod policy;
mod small_page;

pub use page::{PAGE, page};
pub use small_page::{escaped, small_page};
