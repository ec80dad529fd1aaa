//! One conversation with a registry over HTTP, with a deadline for everything.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use uuid::Uuid;

use super::{Advertised, BaseUrl};

/// How long one call may take in all, and a look-up without a byte of its answer. Below a third of the default TTL, so that one
/// hanging call does not cost a lease.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the answer to a look-up may take to arrive once it has begun: [`MAX_ANSWER_BYTES`] on a
/// line of 150 kB/s. Nothing waits for it but the thread that looks services up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to be made: registries are near.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a farewell may take: the lease runs out anyway.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest answer that is read, in bytes: twice what a registry keeps of one name.
const MAX_ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Why a registry gave no answer that could be used. The caller goes on with what it knows, asks
/// another registry, or the same one later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryError {
    /// Nobody answered within the deadline.
    Unreachable {
        /// The registry.
        url: BaseUrl,
        /// What happened, for a person.
        cause: String,
    },
    /// Somebody answered, but not as a registry does.
    Unexpected {
        /// The registry.
        url: BaseUrl,
        /// What it answered, for a person.
        answer: String,
    },
    /// A registry answered with more than is read of any answer.
    TooLong {
        /// The registry.
        url: BaseUrl,
        /// The longest answer that is read, in bytes.
        max_bytes: u64,
    },
    /// There is no registry to ask.
    NoRegistry,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, cause } => write!(f, "the registry at {url} does not answer: {cause}"),
            Self::Unexpected { url, answer } => {
                write!(f, "the registry at {url} answered what was not expected: {answer}")
            }
            Self::TooLong { url, max_bytes } => write!(
                f,
                "the answer of the registry at {url} is longer than {max_bytes} bytes, which is the most \
                 that is read: too many instances have the name"
            ),
            Self::NoRegistry => f.write_str("no registry is configured"),
        }
    }
}

impl std::error::Error for DiscoveryError {}

/// A live instance of a service, as a registry answers it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Instance {
    /// Names this process among all that serve the same name.
    pub instance_id: Uuid,
    /// Its service.
    pub name: String,
    /// Where it listens.
    pub host: String,
    /// Where it listens.
    pub port: u16,
    /// What else it said about itself.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
}

impl Instance {
    /// Returns its address, such as `http://127.0.0.1:7001` or `http://[::1]:7001`, or nothing if no
    /// client could connect to it: another registry than ours may not check what it is told.
    pub fn base_url(&self) -> Option<BaseUrl> {
        BaseUrl::of(self.host.parse().ok()?, self.port)
    }
}

/// Looks services up, in one or several registries.
#[derive(Debug)]
pub struct RegistryClient {
    registries: Vec<Endpoint>,
    /// Asked first: the one that answered last, so that one that hangs costs its deadline only once;
    /// or its neighbour, when what it said led nowhere.
    first: AtomicUsize,
}

impl RegistryClient {
    /// A client of these registries.
    pub fn new(urls: Vec<BaseUrl>) -> Self {
        let agent = agent();
        let registries = urls.into_iter().map(|url| Endpoint { agent: agent.clone(), url }).collect();
        Self { registries, first: AtomicUsize::new(0) }
    }

    /// The live instances of a service, newest first where ids are UUIDv7.
    ///
    /// Asks each registry in turn until one knows an instance: one that was just restarted
    /// knows none yet, while its neighbour still does.
    ///
    /// # Errors
    /// When not a single registry answered; the error is that of the last one.
    pub fn instances(&self, name: &str) -> Result<Vec<Instance>, DiscoveryError> {
        let mut result = Err(DiscoveryError::NoRegistry);
        let first = self.first.load(Ordering::Relaxed);
        for turn in 0..self.registries.len() {
            let number = (first + turn) % self.registries.len();
            match self.registries[number].instances(name, ANSWER_TIMEOUT) {
                Ok(instances) if instances.is_empty() => result = Ok(instances),
                Ok(mut instances) => {
                    self.first.store(number, Ordering::Relaxed);
                    instances.sort_by_key(|instance| std::cmp::Reverse(instance.instance_id));
                    return Ok(instances);
                }
                Err(error) if result.is_err() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    /// Asks another registry first from now on: what the first one says leads nowhere.
    pub fn ask_another_first(&self) {
        self.first.fetch_add(1, Ordering::Relaxed);
    }
}

/// Whether a registry still has our lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lease {
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
        Self { agent: agent(), url }
    }

    pub(super) fn url(&self) -> &BaseUrl {
        &self.url
    }

    /// Looks up the live instances of a service. The answer may take `patience` to arrive once it has
    /// begun.
    pub(super) fn instances(&self, name: &str, patience: Duration) -> Result<Vec<Instance>, DiscoveryError> {
        #[derive(Deserialize)]
        struct Answer {
            instances: Vec<Instance>,
        }
        let url = format!("{}/services/{name}", self.url);
        let response = self.twice_if_cut_off(|| {
            let request = self.agent.get(&url).config().timeout_global(None);
            let request = request.timeout_recv_response(Some(CALL_TIMEOUT));
            let request = request.timeout_per_read(Some(CALL_TIMEOUT));
            request.timeout_recv_body(Some(patience)).build().call()
        })?;
        self.read::<Answer>(response, StatusCode::OK).map(|answer| answer.instances)
    }

    /// Registers and returns the interval of heartbeats that this registry wishes. Registering
    /// twice with one id is registering once, so that it may be repeated.
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
            self.twice_if_cut_off(|| self.agent.post(&url).content_type("application/json").send(&body))?;
        let answer: Answer = self.read(response, StatusCode::CREATED)?;
        Duration::try_from_secs_f64(answer.heartbeat_seconds)
            .map_err(|error| self.unexpected(format!("heartbeat_seconds: {error}")))
    }

    pub(super) fn heartbeat(&self, name: &str, id: Uuid) -> Result<Lease, DiscoveryError> {
        let url = format!("{}/services/{name}/{id}/heartbeat", self.url);
        let response = self.twice_if_cut_off(|| self.agent.put(&url).send_empty())?;
        match response.status() {
            StatusCode::NO_CONTENT => Ok(Lease::Renewed),
            StatusCode::NOT_FOUND => Ok(Lease::Unknown),
            status => Err(self.unexpected(status)),
        }
    }

    /// Ends the lease. It is not repeated: it would run out by itself.
    pub(super) fn deregister(&self, name: &str, id: Uuid) -> Result<(), DiscoveryError> {
        let url = format!("{}/services/{name}/{id}", self.url);
        let request = self.agent.delete(&url).config().timeout_global(Some(FAREWELL_TIMEOUT)).build();
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::NOT_FOUND => Ok(()),
            status => Err(self.unexpected(status)),
        }
    }

    /// A kept-alive connection may be closed by the other side just when the next request goes
    /// out on it. That says nothing about the registry, and all calls here may be repeated.
    fn twice_if_cut_off<T>(&self, call: impl Fn() -> Result<T, ureq::Error>) -> Result<T, DiscoveryError> {
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
        [BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof].contains(&error.kind())
    } else {
        false
    }
}

/// ureq waits for ever, follows redirects and takes a proxy from the environment unless told.
pub(super) fn agent() -> Agent {
    Agent::config_builder()
        .timeout_global(Some(CALL_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("tally/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_host_gets_its_brackets() {
        let at = |host: &str| Instance {
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
