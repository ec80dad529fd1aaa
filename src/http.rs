//! The HTTP seam: a service is a function from [`Request`] to [`Response`].
//!
//! Everything above this line of the system (routing, handlers, tests) knows only these types;
//! everything below (sockets, deadlines, threads) is an engine behind [`serve`]. A test calls a
//! service without a socket, and the engine can be replaced without touching a handler.
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

// The sockets: a room that a first reader skips.
mod engine;

pub use ::http::Method;
pub use admission::Admission;
pub use budget::Budget;
pub use engine::{ConnectionStats, Connections, Engine, Options, Server, serve};
pub use etag::{EntityTag, EntityTags};
pub use json::{Fields, parse_uuid, required};
pub use long_polls::{LongPolls, Permit};
pub(crate) use problem::problem_types;
pub use problem::{Problem, ProblemType, problems};
pub use query::{MAX_WAIT_SECONDS, Query};
pub use request::Request;
pub use response::Response;
pub use router::{Handler, Observer, Params, Route, Router};
