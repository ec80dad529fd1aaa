//! Opens the read database with all read models.
//!
//! Not a part of `service.rs`: the routes of a model name [`ReadSide`], and only this file names both the models
//! and the service.
//!
//! Read next: `service.rs`.

use std::path::Path;
use std::time::Duration;

use super::models::projections;
use super::service::{ReadSide, StartError};
use crate::es::{OpenError, Projector};

/// How long a start waits for another read service with the same database: during a restart, the old service
/// may take ten seconds to finish its requests.
const OVERLAP: Duration = Duration::from_secs(10);

impl ReadSide {
    /// Opens the read database, and waits for the end of another read service with the database.
    ///
    /// # Errors
    /// When the database cannot be opened, or another service still has the database after ten seconds.
    pub fn open(db: &Path) -> Result<Projector, StartError> {
        match Projector::open(db, &projections()) {
            // The first attempt does not wait: the log gives the reason before the long wait begins.
            Err(in_use @ OpenError::InUse { .. }) => {
                log::warn!("{in_use}; waiting up to {} s for its end", OVERLAP.as_secs());
                Ok(Projector::open_within(OVERLAP, db, &projections())?)
            }
            opened => Ok(opened?),
        }
    }
}
