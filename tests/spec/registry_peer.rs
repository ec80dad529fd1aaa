//! A registry behind a socket, and how to wait for it: shared by the tests of both sides.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::support::{wait_for as eventually, wait_until as until};
use tally::http::{Method, Request, Response, Router, Server, serve};
use tally::registry::{Gauges, Registry, RegistryOptions, router};

/// No test waits longer, and none should come near it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) struct LiveRegistry {
    service: Arc<Router<Arc<Registry>>>,
    server: Server,
}

impl LiveRegistry {
    pub(crate) fn start() -> Self {
        Self::start_with(RegistryOptions::default())
    }

    pub(crate) fn start_with(options: RegistryOptions) -> Self {
        Self::serve(TcpListener::bind("127.0.0.1:0").unwrap(), options)
    }

    /// Starts at an address that was used before.
    pub(crate) fn start_at(address: SocketAddr) -> Self {
        let listener = eventually("the address is free", || TcpListener::bind(address).ok());
        Self::serve(listener, RegistryOptions::default())
    }

    fn serve(listener: TcpListener, options: RegistryOptions) -> Self {
        let service = Arc::new(router(Arc::new(Registry::new(options))));
        let handler = Arc::clone(&service);
        let server = serve(listener, Default::default(), move |request| handler.handle(request)).unwrap();
        Self { service, server }
    }

    /// Ends as the binary does; its leases are forgotten.
    pub(crate) fn stop(self) -> SocketAddr {
        let address = self.address();
        self.service.state().close();
        self.server.stop();
        address
    }

    /// Answers a request that did not come over the socket.
    pub(crate) fn handle(&self, request: &Request) -> Response {
        self.service.handle(request)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    pub(crate) fn gauges(&self) -> Gauges {
        self.service.state().gauges()
    }

    pub(crate) fn live(&self, name: &str) -> usize {
        self.gauges().live.get(name).copied().unwrap_or(0)
    }

    /// The wall-clock time of the only instance's last sign of life.
    pub(crate) fn last_heartbeat(&self, name: &str) -> String {
        let response = self.service.handle(&Request::get(&format!("/services/{name}")));
        let answer: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        answer["instances"][0]["last_heartbeat_at"].as_str().unwrap().to_owned()
    }

    /// Forgets one lease, as if it had run out.
    pub(crate) fn forget(&self, name: &str, id: uuid::Uuid) {
        let request = Request::new(Method::DELETE, &format!("/services/{name}/{id}"));
        assert_eq!(self.service.handle(&request).status, 204);
    }
}
