//! The HTTP client that every call between the services uses.
//!
//! **Invariant:** an agent connects to the given address only: it follows no redirect and ignores the proxy
//! variables of the environment.
//!
//! Read next: `discovery/client.rs`.

use std::time::Duration;

use ureq::Agent;

/// Time limit of a connect, in seconds: services and registries run on one site.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns an HTTP client. A call takes at most `call_timeout` unless the request sets its own limits;
/// `None` leaves all limits but the connect timeout to the request.
pub fn http_agent(call_timeout: Option<Duration>) -> Agent {
    // Without these settings ureq waits for ever, follows redirects and reads HTTP_PROXY.
    Agent::config_builder()
        .timeout_global(call_timeout)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}
