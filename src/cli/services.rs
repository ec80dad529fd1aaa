//! The services, as any client sees them: found through the registry, spoken to in HTTP and JSON.
//!
//! **Invariant:** every request has a deadline. An answer that is not a success is a [`Refusal`], and a
//! service that does not answer is a failure that names the address and the remedy.
//!
//! Read next: `discovery/client.rs`, which asks the registries.

use std::fmt::Display;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::Request;

use super::arguments::Arguments;
use super::failure::{CommandFailure, Refusal};
use crate::discovery::{BaseUrl, RegistryClient, http_agent};

/// Time limit of one request, in seconds: above the longest wait that a service grants (30 s).
const CALL_TIMEOUT: Duration = Duration::from_secs(40);
/// The longest accepted answer, in bytes: above the limit of a page of the feed.
const MAX_ANSWER_BYTES: u64 = 64 << 20;
/// The registry that is asked unless another one is named.
const DEFAULT_REGISTRY: &str = "http://127.0.0.1:7000";
/// The variable that names the registries.
const REGISTRY_VARIABLE: &str = "TALLY_REGISTRY";

/// The registered names of the two sides.
pub(super) const WRITE: &str = "write";
pub(super) const READ: &str = "read";

/// The services that the registries name.
#[derive(Debug)]
pub(super) struct Services {
    registries: Vec<BaseUrl>,
    client: RegistryClient,
    agent: Agent,
}

/// A successful answer.
#[derive(Debug)]
pub(super) struct Success {
    pub(super) status: u16,
    pub(super) body: String,
}

impl Success {
    #[inline(never)]
    pub(super) fn json(&self) -> Result<Value, CommandFailure> {
        serde_json::from_str(&self.body).map_err(|error| {
            CommandFailure::failed(format!("expected JSON from the service, got something else: {error}"))
        })
    }
}

/// Returns a field of a JSON object; null when the field is absent.
#[inline(never)]
pub(super) fn field<'v>(value: &'v Value, name: &str) -> &'v Value {
    // Not `value[name]`, which puts a search of the object's tree into each caller.
    value.get(name).unwrap_or(&Value::Null)
}

/// A header of a request.
pub(super) type SentHeader<'h> = (&'static str, &'h str);

impl Services {
    /// Returns the services that `--registry` names, or the variable, or the default.
    #[inline(never)]
    pub(super) fn of(given: &Arguments) -> Result<Self, CommandFailure> {
        let flags = given.all("registry").map(|text| text.to_string_lossy().into_owned());
        let mut texts: Vec<(&str, String)> = flags.map(|text| ("--registry", text)).collect();
        if texts.is_empty() {
            // An empty variable counts as absent, as for the services.
            let variable = std::env::var(REGISTRY_VARIABLE).ok().filter(|text| !text.is_empty());
            texts.push((REGISTRY_VARIABLE, variable.unwrap_or_else(|| DEFAULT_REGISTRY.to_owned())));
        }
        let mut registries: Vec<BaseUrl> = Vec::new();
        for (source, text) in &texts {
            // Commas too, as in the flag of the services.
            for url in text.split(',') {
                registries
                    .push(url.parse().map_err(|error| CommandFailure::usage(format!("{source}: {error}")))?);
            }
        }
        let client = RegistryClient::new(registries.clone());
        Ok(Self { registries, client, agent: http_agent(Some(CALL_TIMEOUT)) })
    }

    /// Returns the addresses of the live instances of a service, newest first; at least one.
    pub(super) fn instances(&self, name: &str) -> Result<Vec<BaseUrl>, CommandFailure> {
        let instances = self.client.instances(name).map_err(|error| no_registry(&error))?;
        // A registry of another make may name hosts that no client can reach.
        let urls: Vec<_> = instances.iter().filter_map(|instance| instance.base_url()).collect();
        if urls.is_empty() {
            return Err(CommandFailure::failed(format!(
                "no {name} service is registered at {}: start one (`{name}-service`, or `tally` for all), or wait \
                 until it has registered",
                self.registries.iter().map(BaseUrl::to_string).collect::<Vec<_>>().join(", ")
            )));
        }
        Ok(urls)
    }

    /// Sends a query to a service: to the first of its instances that answers.
    #[inline(never)]
    pub(super) fn get(&self, name: &str, path: &str) -> Result<Success, CommandFailure> {
        self.get_from(&self.instances(name)?, path)
    }

    /// Sends a query to the first registry that answers.
    #[inline(never)]
    pub(super) fn get_from_registry(&self, path: &str) -> Result<Success, CommandFailure> {
        self.get_from(&self.registries, path).map_err(|failure| {
            if let CommandFailure::Failed(what) = &failure { no_registry(what) } else { failure }
        })
    }

    fn get_from(&self, urls: &[BaseUrl], path: &str) -> Result<Success, CommandFailure> {
        let mut last = CommandFailure::failed("there is no service to ask");
        for url in urls {
            match self.send("GET", url, path, &[], None) {
                // An instance that has just died is still registered: its neighbour may answer.
                Err(failure @ CommandFailure::Failed(_)) => last = failure,
                answered => return answered,
            }
        }
        Err(last)
    }

    /// Sends one request to one instance.
    #[inline(never)]
    pub(super) fn send(
        &self,
        method: &str,
        url: &BaseUrl,
        path: &str,
        headers: &[SentHeader<'_>],
        body: Option<&str>,
    ) -> Result<Success, CommandFailure> {
        let failed = |error: &dyn Display| CommandFailure::failed(format!("{url} does not answer: {error}"));
        let request = Request::builder().method(method).uri(format!("{url}{path}"));
        // Invalid header values surface when the body is added.
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let sent = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json");
                request.body(body).map_err(ureq::Error::from).and_then(|request| self.agent.run(request))
            }
            None => request.body(()).map_err(ureq::Error::from).and_then(|request| self.agent.run(request)),
        };
        let mut response = sent.map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        let read = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let body = String::from_utf8(read.map_err(|error| failed(&error))?)
            .map_err(|_| failed(&"its answer is not UTF-8"))?;
        // The client follows no redirect, so every other status is a refusal.
        if (200..300).contains(&status) {
            return Ok(Success { status, body });
        }
        Err(CommandFailure::Refused(Box::new(self.refusal(url, status, body))))
    }

    /// Returns the problem of an answer, with the remedy of the problem's own page.
    #[cold]
    #[inline(never)]
    fn refusal(&self, url: &BaseUrl, status: u16, document: String) -> Refusal {
        // A proxy may answer with another document; its status still counts.
        let problem: Value = serde_json::from_str(&document).unwrap_or_default();
        let text = |name: &str| field(&problem, name).as_str().unwrap_or_default().to_owned();
        let slug = text("type").strip_prefix("/problems/").unwrap_or_default().to_owned();
        let remedy = if slug.is_empty() { None } else { self.remedy(url, &slug) };
        let title = match text("title") {
            title if title.is_empty() => "The answer is not a problem document".to_owned(),
            title => title,
        };
        Refusal { status, title, detail: text("detail"), remedy: remedy.unwrap_or_default(), slug, document }
    }

    /// Asks the service what a client can do about a problem.
    fn remedy(&self, url: &BaseUrl, slug: &str) -> Option<String> {
        let mut page = self
            .agent
            .get(format!("{url}/problems/{slug}"))
            .header("Accept", "application/json")
            .call()
            .ok()?;
        let page: Value = serde_json::from_slice(&page.body_mut().read_to_vec().ok()?).ok()?;
        field(&page, "meaning").as_str().map(str::to_owned)
    }
}

#[cold]
#[inline(never)]
fn no_registry(error: &dyn Display) -> CommandFailure {
    CommandFailure::failed(format!(
        "{error}; start the services (`tally`), or name a registry with --registry URL"
    ))
}
