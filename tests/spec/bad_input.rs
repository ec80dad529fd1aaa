//! Bad input: each kind has its code and names what is bad, and none of it does any harm.

mod admission;
mod fields;
mod headers;
mod hostile;
mod parameters;

use crate::every_service::{Service, assert_problem};

/// Sends a JSON body that must be refused because of that field.
#[track_caller]
fn assert_refuses_field(service: &mut Service, method: &str, path: &str, body: &str, field: &str) {
    let reply = service.wire.send_json(method, path, body);
    let problem = assert_problem(&reply, 400, "invalid-field");
    assert_eq!(problem["field"], field, "{path}: {body}");
}
