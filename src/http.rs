//! The HTTP seam: a service is a function from [`Request`] to [`Response`].
//!
//! Routing, handlers and tests know only these two types; sockets, deadlines and threads are behind
//! [`serve`]. A test calls a service without a socket, and the engine can be replaced without a change to
//! a handler.
//!
//! ```text
//!   engine/       bytes <-> Request, Response       (a room of its own)
//!      |
//!   admission.rs  the rules for every request: host names, single headers, codings
//!   router.rs     path and method -> handler; cors.rs decides about web pages
//!      |
//!   a handler     reads   query.rs  json.rs  etag.rs  accept.rs
//!                 waits   long_polls.rs (the cap on waiting requests)
//!                 answers response.rs, or problem.rs for an error
//! ```
//!
//! Threads: this folder starts no thread; a handler runs on the thread of its connection, see
//! `http/engine/mod.rs`.
//!
//! **Invariant:** this module knows neither event sourcing nor bank accounts.
//!
//! Read next: `http/router.rs`; then `http/engine/mod.rs`.

mod accept;
mod admission;
mod budget;
mod cors;
mod etag;
mod json;
mod long_polls;
mod problem;
mod query;
mod request;
mod response;
mod router;

mod engine;

pub use ::http::Method;
pub use admission::Admission;
pub use budget::Budget;
pub use cors::admit_local_pages;
pub use engine::{ConnectionStats, Connections, Engine, Options, Server, serve};
pub use etag::{EntityTag, EntityTags};
pub use json::{Fields, parse_uuid, required};
pub use long_polls::{LongPolls, Permit};
pub(crate) use problem::problem_types;
pub use problem::{Problem, ProblemType, problems};
pub use query::{MAX_WAIT_SECONDS, Query};
pub use request::Request;
pub use response::Response;
pub use router::{Completion, Handler, Observer, Params, Route, Router};
