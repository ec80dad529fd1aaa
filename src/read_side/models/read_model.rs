//! What a read model brings to the service: a projection, and the routes that are answered from its rows.
//!
//! Read next: `summary.rs`, a model with one route.

use crate::es::{Definition, Projection};
use crate::http::Route;
use crate::read_side::service::ReadSide;

/// A read model.
pub(in crate::read_side) struct ReadModel {
    pub(in crate::read_side) projection: Definition,
    /// The queries on this model. Each takes `min_position` and `wait`, and is completed by
    /// [`complete`](crate::read_side::freshness::complete).
    pub(in crate::read_side) routes: Vec<Route<ReadSide>>,
}

impl ReadModel {
    pub(super) fn of<P: Projection>(routes: Vec<Route<ReadSide>>) -> Self {
        Self { projection: Definition::of::<P>(), routes }
    }
}
