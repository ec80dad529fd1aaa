//! What a read model brings to the service: a projection, and the routes of the queries on its rows.
//!
//! Read next: `summary.rs`, a model with one query.

use rusqlite::Connection;

use super::reading::position_of;
use crate::es::{Definition, Projection};
use crate::http::{Handler, Problem, Query, Route};
use crate::read_side::at::At;
use crate::read_side::freshness::{await_rows, complete};
use crate::read_side::service::ReadSide;

/// A read model.
pub(in crate::read_side) struct ReadModel {
    pub(in crate::read_side) projection: Definition,
    pub(in crate::read_side) routes: Vec<Route<ReadSide>>,
}

impl ReadModel {
    pub(super) fn of<P: Projection>() -> Self {
        Self { projection: Definition::of::<P>(), routes: Vec::new() }
    }

    /// Adds the route of a query with these parameters, `min_position` and `wait` among them.
    pub(super) fn with_query(
        mut self,
        pattern: &'static str,
        parameters: &'static [&'static str],
        handler: Handler<ReadSide>,
    ) -> Self {
        self.routes.push(Route::get(pattern, handler).with_query(parameters).completed_by(complete));
        self
    }
}

/// Waits for the position that the query asks for, and reads rows of `P` and their position in the same snapshot.
///
/// # Errors
/// As [`await_rows`] and [`ReadDatabase::read_snapshot`](crate::read_side::database::ReadDatabase::read_snapshot).
pub(super) fn read<P: Projection, T>(
    service: &ReadSide,
    query: &Query,
    rows: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<At<T>, Problem> {
    await_rows(service, query, &[P::NAME])?;
    service.database.read_snapshot(|db| Ok(At { position: position_of(db, P::NAME)?, value: rows(db)? }))
}
