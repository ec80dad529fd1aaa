//! The requests to registries, each with a deadline.
//!
//! **Invariant:** every request may be sent twice: registering, renewing and looking up are idempotent, and
//! ending a lease twice ends it once.
//!
//! Read next: `registry/routes.rs`, the server's side.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use uuid::Uuid;

use super::agent::http_agent;
use super::base_url::BaseUrl;

/// Time limit of one call, and of a look-up until the answer begins, in seconds: below a third of the
/// default TTL, so that one hanging call does not cost a lease.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// Time limit of the body of a look-up's answer, in seconds: [`MAX_ANSWER_BYTES`] at 150 kB/s. Only the
/// thread that looks services up waits.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Time limit of a deregistration, in seconds: short, because the lease expires anyway.
const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest accepted answer, in bytes: twice the limit of a registry for one name.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// The failure of a call to a registry. The caller keeps its last answer, and asks another registry now or
/// the same registry later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryError {
    /// No answer within the deadline.
    Unreachable {
        /// The registry.
        url: BaseUrl,
        /// The cause, for a person.
        cause: String,
    },
    /// An answer that no registry gives.
    Unexpected {
        /// The registry.
        url: BaseUrl,
        /// The answer, for a person.
        answer: String,
    },
    /// An answer longer than the limit.
    TooLong {
        /// The registry.
        url: BaseUrl,
        /// The limit, in bytes.
        max_bytes: u64,
    },
    /// No registry is configured.
    NoRegistry,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, cause } => write!(f, "the registry at {url} does not answer: {cause}"),
            Self::Unexpected { url, answer } => {
                write!(f, "expected the answer of a registry from {url}, got: {answer}")
            }
            Self::TooLong { url, max_bytes } => write!(
                f,
                "the answer of the registry at {url} is longer than {max_bytes} bytes: too many instances \
                 have this name; deregister some"
            ),
            Self::NoRegistry => f.write_str("no registry is configured"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// The entry that a service registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// The service: 1 to 63 of a-z, 0-9 and `-`.
    pub name: String,
    /// The host under which clients reach the service.
    pub host: String,
    /// The port under which clients reach the service.
    pub port: u16,
    /// Further facts for clients, within the registry's limits.
    pub metadata: BTreeMap<String, String>,
}

/// A live instance of a service, as a registry answers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct LiveInstance {
    /// Identifies the process among all instances of the service.
    pub instance_id: Uuid,
    /// The service.
    pub name: String,
    /// The host under which clients reach the instance.
    pub host: String,
    /// The port under which clients reach the instance.
    pub port: u16,
    /// Further facts for clients.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl LiveInstance {
    /// Returns the address, such as `http://127.0.0.1:7001` or `http://[::1]:7001`, or `None` when no client
    /// could connect: a registry of another make may not check hosts.
    pub fn base_url(&self) -> Option<BaseUrl> {
        BaseUrl::of(self.host.parse().ok()?, self.port)
    }
}

/// Looks services up in one or several registries.
#[derive(Debug)]
pub struct RegistryClient {
    registries: Vec<Endpoint>,
    /// Index of the registry to ask first. The last registry that answered: a hanging registry then costs
    /// its deadline once. After [`RegistryClient::ask_another_first`], the next registry.
    first: AtomicUsize,
}

impl RegistryClient {
    /// Returns a client of the registries at `urls`.
    pub fn new(urls: Vec<BaseUrl>) -> Self {
        // One agent for all registries: they share the connection pool.
        let agent = http_agent(Some(CALL_TIMEOUT));
        let registries = urls.into_iter().map(|url| Endpoint { agent: agent.clone(), url }).collect();
        Self { registries, first: AtomicUsize::new(0) }
    }

    /// Returns the addresses of the registries.
    pub fn urls(&self) -> impl Iterator<Item = &BaseUrl> {
        self.registries.iter().map(Endpoint::url)
    }

    /// Returns the live instances of a service, newest first if their ids are UUIDv7.
    ///
    /// # Errors
    /// The error of the last registry, when none answered.
    pub fn instances(&self, name: &str) -> Result<Vec<LiveInstance>, DiscoveryError> {
        let mut result = Err(DiscoveryError::NoRegistry);
        // Relaxed: an outdated index costs one more call.
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..self.registries.len() {
            let number = (first + turn) % self.registries.len();
            match self.registries[number].instances(name, ANSWER_TIMEOUT) {
                // A registry that just restarted knows no instance yet; its neighbour still does.
                Ok(instances) if instances.is_empty() => result = Ok(instances),
                Ok(mut instances) => {
                    self.first.store(number, Ordering::Relaxed);
                    // Version 7 ids sort by time: a restarted process comes before the dying lease of its
                    // predecessor.
                    instances.sort_by_key(|instance| std::cmp::Reverse(instance.instance_id));
                    return Ok(instances);
                }
                // An empty answer is better than a failure.
                Err(error) if result.is_err() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    /// Asks another registry first from now on. Called when all addresses from the first registry failed.
    pub fn ask_another_first(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether a registry still has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeartbeatAnswer {
    Renewed,
    Unknown,
}

/// One registry.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    agent: Agent,
    url: BaseUrl,
}

impl Endpoint {
    pub(super) fn new(url: BaseUrl) -> Self {
        // Own agent per heartbeat thread: the connection stays open from one heartbeat to the next.
        Self { agent: http_agent(Some(CALL_TIMEOUT)), url }
    }

    pub(super) fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Returns the live instances of a service. Once the answer has begun, its body may take
    /// `body_timeout`.
    pub(super) fn instances(
        &self,
        name: &str,
        body_timeout: Duration,
    ) -> Result<Vec<LiveInstance>, DiscoveryError> {
        #[derive(Deserialize)]
        struct Answer {
            instances: Vec<LiveInstance>,
        }
        let url = format!("{}/services/{name}", self.url);
        let response = self.retry_if_cut_off(|| {
            // No limit for the whole call: a long list on a slow line is not an unreachable registry.
            let request = self.agent.get(&url).config().timeout_global(None);
            let request = request.timeout_recv_response(Some(CALL_TIMEOUT));
            let request = request.timeout_per_read(Some(CALL_TIMEOUT));
            request.timeout_recv_body(Some(body_timeout)).build().call()
        })?;
        self.read::<Answer>(response, StatusCode::OK).map(|answer| answer.instances)
    }

    /// Registers, and returns the heartbeat interval that the registry asks for.
    pub(super) fn register(&self, service: &Advertised, id: Uuid) -> Result<Duration, DiscoveryError> {
        #[derive(Deserialize)]
        struct Answer {
            heartbeat_seconds: f64,
        }
        let url = format!("{}/services", self.url);
        let body = serde_json::json!({
            "name": service.name, "host": service.host, "port": service.port,
            "metadata": service.metadata, "instance_id": id,
        });
        let body = body.to_string();
        let response =
            self.retry_if_cut_off(|| self.agent.post(&url).content_type("application/json").send(&body))?;
        let answer: Answer = self.read(response, StatusCode::CREATED)?;
        // Rejects negative and infinite answers, on which `from_secs_f64` would panic.
        Duration::try_from_secs_f64(answer.heartbeat_seconds)
            .map_err(|error| self.unexpected(format!("heartbeat_seconds: {error}")))
    }

    pub(super) fn heartbeat(&self, name: &str, id: Uuid) -> Result<HeartbeatAnswer, DiscoveryError> {
        let url = format!("{}/services/{name}/{id}/heartbeat", self.url);
        let response = self.retry_if_cut_off(|| self.agent.put(&url).send_empty())?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(HeartbeatAnswer::Renewed),
            // The registry restarted, or the lease expired while this process was suspended.
            StatusCode::NOT_FOUND => Ok(HeartbeatAnswer::Unknown),
            status => Err(self.unexpected(status)),
        }
    }

    /// Ends the lease. Not retried: the lease expires anyway.
    pub(super) fn deregister(&self, name: &str, id: Uuid) -> Result<(), DiscoveryError> {
        let url = format!("{}/services/{name}/{id}", self.url);
        let request = self.agent.delete(&url).config().timeout_global(Some(DEREGISTER_TIMEOUT)).build();
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        match response.status() {
            // 404: the lease has expired already.
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            status => Err(self.unexpected(status)),
        }
    }

    /// Sends a request, once more when the connection was cut off: a registry may close an idle connection
    /// at the moment at which the next request goes out.
    fn retry_if_cut_off<T>(&self, call: impl Fn() -> Result<T, ureq::Error>) -> Result<T, DiscoveryError> {
        call()
            .or_else(|error| if is_cut_off(&error) { call() } else { Err(error) })
            .map_err(|error| self.unreachable(&error))
    }

    fn read<T: DeserializeOwned>(
        &self,
        response: Response<ureq::Body>,
        expected: StatusCode,
    ) -> Result<T, DiscoveryError> {
        let status = response.status();
        if status != expected {
            return Err(self.unexpected(status));
        }
        // Limited: a foreign server on this port may send an endless body.
        let body = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = body.map_err(|error| self.unreadable(&error))?;
        serde_json::from_slice(&body).map_err(|error| self.unexpected(error))
    }

    fn unreadable(&self, error: &ureq::Error) -> DiscoveryError {
        if let ureq::Error::BodyExceedsLimit(max_bytes) = *error {
            return DiscoveryError::TooLong { url: self.url.clone(), max_bytes };
        }
        self.unreachable(error)
    }

    fn unreachable(&self, error: &ureq::Error) -> DiscoveryError {
        DiscoveryError::Unreachable { url: self.url.clone(), cause: error.to_string() }
    }

    fn unexpected(&self, answer: impl fmt::Display) -> DiscoveryError {
        DiscoveryError::Unexpected { url: self.url.clone(), answer: answer.to_string() }
    }
}

fn is_cut_off(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    if let ureq::Error::Io(error) = error {
        // A timeout is not in the list: waiting twice could cost the lease.
        [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_gets_its_brackets() {
        let at = |host: &str| LiveInstance {
            instance_id: Uuid::nil(),
            name: "write".into(),
            host: host.into(),
            port: 7001,
            metadata: BTreeMap::new(),
        };
        let url = |host: &str| at(host).base_url().map(|url| url.to_string());
        assert_eq!(url("::1").as_deref(), Some("http://[::1]:7001"));
        assert_eq!(url("[::1]").as_deref(), Some("http://[::1]:7001"));
        assert_eq!(url("host").as_deref(), Some("http://host:7001"));
        for host in ["evil.example/x", "u@host", "0.0.0.0", "host:80", ""] {
            assert_eq!(url(host), None, "{host}");
        }
    }

    #[test]
    fn without_a_registry_there_is_nobody_to_ask() {
        assert_eq!(RegistryClient::new(Vec::new()).instances("write"), Err(DiscoveryError::NoRegistry));
    }
}
