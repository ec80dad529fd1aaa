//! The context of a command: the idempotency keys, and the origin of the events.
//!
//! **Invariant:** two commands under one key are the same command exactly when their fingerprints are
//! equal. Fingerprints are stored for ever: the JSON of a command must not change.
//!
//! Read next: `execution.rs`, the answer to a command.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::es::log::store::Fingerprint;

/// Accompanies a command.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Under a key, a command is recorded once, however often a client sends the command. A command may
    /// have several keys, such as the client's key and the id of a transfer: the first known key decides.
    pub keys: Vec<IdempotencyKey>,
    /// Stored with every event of the command.
    pub metadata: Metadata,
}

/// An idempotency key, and the command that first came with the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the command in a canonical form.
    pub command: Fingerprint,
}

impl IdempotencyKey {
    /// Returns the key for `command`, whose canonical form is the JSON that serde writes.
    ///
    /// # Errors
    /// When the command cannot be written as JSON. The error is serde's, which `?` does not turn into an
    /// [`ExecuteError`](crate::es::ExecuteError): make the key before the command, in a function with a boxed
    /// error, or say `expect` for a command whose fields are text and numbers.
    pub fn of(key: impl Into<String>, command: &impl Serialize) -> serde_json::Result<Self> {
        // serde writes the fields in the order of the type, so equal commands give equal bytes.
        let canonical = serde_json::to_vec(command)?;
        Ok(Self { key: key.into(), command: Sha256::digest(canonical).into() })
    }
}

/// The origin of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The conversation of the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The identity of the command that caused the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// The W3C trace context of the command's request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}
