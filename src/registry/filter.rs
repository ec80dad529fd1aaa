//! Reads the filter of a look-up, `?metadata.zone=a&metadata.rack=7`: all pairs must match.
//!
//! **Invariant:** a filter is never ignored: a pair that no instance can have is refused.
//!
//! Read next: `registry/routes.rs`.

use super::instance::Instance;
use super::registration::{MAX_KEY_BYTES, MAX_METADATA_ENTRIES, MAX_VALUE_BYTES};
use crate::http::{Problem, Query};

/// The parameter of a filter as the route table and the OpenAPI document name it: any key stands for `KEY`.
pub(super) const METADATA: &str = "metadata.KEY";

/// The pairs of a query that an instance must have in its metadata.
#[derive(Debug)]
pub(super) struct MetadataFilter<'a>(Vec<(&'a str, &'a str)>);

impl<'a> MetadataFilter<'a> {
    /// Reads the filter of a query; a query without one admits every instance.
    ///
    /// # Errors
    /// 400 `invalid-query` for a key or a value that metadata cannot have, and for too many pairs.
    pub(super) fn of(query: &'a Query) -> Result<Self, Problem> {
        let pairs: Vec<_> = query.keyed(METADATA).collect();
        for (at, (key, value)) in pairs.iter().enumerate() {
            let refuse = |why: String| Err(Problem::invalid_query(&format!("metadata.{key}"), why));
            if key.len() > MAX_KEY_BYTES {
                return refuse(format!("must have a key of {MAX_KEY_BYTES} bytes of UTF-8 at most"));
            }
            // Characters, which an OpenAPI document can count; a registered value has no more than bytes.
            if value.chars().count() > MAX_VALUE_BYTES {
                return refuse(format!("must have a value of {MAX_VALUE_BYTES} characters at most"));
            }
            // An instance has no more entries. The bound keeps the work of a look-up small.
            if at >= MAX_METADATA_ENTRIES {
                return refuse(format!("is one parameter too many: {MAX_METADATA_ENTRIES} may filter"));
            }
        }
        Ok(Self(pairs))
    }

    /// Whether the instance has all pairs.
    pub(super) fn is_match(&self, instance: &Instance) -> bool {
        self.0.iter().all(|(key, value)| instance.metadata.get(*key).is_some_and(|held| held == value))
    }
}
