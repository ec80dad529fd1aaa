//! The second engine: tiny_http, for embedders that link tiny_http already and serve a trusted network.
//!
//! An adapter: tiny_http accepts connections, parses request heads and orders the answers of a connection;
//! the service and the bytes of each answer are the same as with the default engine.
//! `tests/spec/http_engine.rs` lists the promises that tiny_http cannot keep, with the reasons. Above all,
//! tiny_http has no deadlines and no limit on connections, and one request with a huge `Content-Length`
//! ends the process.
//!
//! **Invariant:** a request waits for a free thread, never for another request: the number of threads grows
//! with the requests in flight, up to [`Options::max_connections`].
//!
//! Read next: `encode.rs`.

use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::encode::{self, Content, Date, Delivery};
use super::options::Options;
use super::request_head::{self, Persistence, Target};
use super::service::{Service, call, within_budget};
use super::thread;
use crate::http::{Method, Problem, Request, Response};

/// Pause between two checks of a stop, in milliseconds: tiny_http offers no way to wait for its end.
const STOP_CHECK: Duration = Duration::from_millis(1);

/// The running engine. Dropping the engine stops all threads.
pub(super) struct TinyEngine(Arc<Crew>);

impl std::fmt::Debug for TinyEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("tiny_http")
    }
}

/// The threads that receive requests from tiny_http's queue.
struct Crew {
    server: tiny_http::Server,
    options: Options,
    service: Arc<Service>,
    idle: AtomicUsize,
    stopping: AtomicBool,
}

/// Starts tiny_http and the first thread.
pub(super) fn start(
    listener: TcpListener,
    options: Options,
    service: Arc<Service>,
) -> io::Result<TinyEngine> {
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    let (idle, stopping) = (AtomicUsize::new(0), AtomicBool::new(false));
    let crew = Arc::new(Crew { server, options, service, idle, stopping });
    crew.grow()?;
    Ok(TinyEngine(crew))
}

impl Drop for TinyEngine {
    fn drop(&mut self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let deadline = Instant::now() + self.0.options.stop_timeout;
        let threads = &self.0.options.connections.threads;
        while threads.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            // One call wakes one thread: repeated until the last thread has counted itself out.
            self.0.server.unblock();
            std::thread::sleep(STOP_CHECK);
        }
    }
}

impl Crew {
    /// Starts one more thread.
    fn grow(self: &Arc<Self>) -> io::Result<()> {
        let crew = Arc::clone(self);
        // Counted before the start: the new thread subtracts itself with its first request.
        self.idle.fetch_add(1, Ordering::SeqCst);
        self.options.connections.threads.fetch_add(1, Ordering::SeqCst);
        let started = thread::builder("tiny-http").spawn(move || crew.work()).map(drop);
        if started.is_err() {
            self.idle.fetch_sub(1, Ordering::SeqCst);
            self.options.connections.threads.fetch_sub(1, Ordering::SeqCst);
        }
        started
    }

    fn work(self: &Arc<Self>) {
        while !self.stopping.load(Ordering::SeqCst) {
            match self.server.recv() {
                Ok(request) => self.take(request),
                Err(_) if self.stopping.load(Ordering::SeqCst) => {}
                // tiny_http accepts no connection after an error, and cannot be restarted.
                Err(error) => {
                    log::error!("tiny_http stopped accepting connections, restart the service: {error}")
                }
            }
        }
        self.options.connections.threads.fetch_sub(1, Ordering::SeqCst);
    }

    fn take(self: &Arc<Self>, request: tiny_http::Request) {
        let threads = self.options.connections.threads.load(Ordering::SeqCst);
        if self.idle.fetch_sub(1, Ordering::SeqCst) == 1 && threads < self.options.max_connections {
            // A failed start does not stop the service: the running threads serve all requests, more slowly.
            let _ = self.grow();
        }
        // An error means that the client has left.
        let _ = self.answer(request);
        self.idle.fetch_add(1, Ordering::SeqCst);
    }

    fn answer(&self, mut raw: tiny_http::Request) -> io::Result<()> {
        let (response, content) = match self.receive(&mut raw) {
            Ok(request) => (call(&*self.service, &request, &self.options.connections), content(&request)),
            Err(problem) => (problem.into(), Content::Body),
        };
        let delivery = Delivery { content, persistence: persistence(&raw) };
        // The share lives until `write` returns: until then, the answer is in memory.
        let (response, _share) = within_budget(encode::checked(response), &self.options.answers);
        write(raw, &response, delivery)
    }

    fn receive(&self, raw: &mut tiny_http::Request) -> Result<Request, Problem> {
        let method = request_head::parse_method(raw.method().as_str())?;
        let Target { path_and_query, authority } = request_head::target(&method, raw.url())?;
        let authority = authority.map(str::to_owned);
        let mut request = Request::new(method, &path_and_query);
        for header in raw.headers() {
            // RFC 9112, 3.2.2: the host of a target in absolute form replaces the header.
            if authority.is_none() || !header.field.equiv("Host") {
                request.push_header(header.field.as_str().as_str(), header.value.as_str());
            }
        }
        if let Some(authority) = authority {
            request.push_header("Host", &authority);
        }
        let max = self.options.max_body_bytes;
        // One byte beyond the limit shows that the body is too large.
        let read = raw.as_reader().take(max as u64 + 1).read_to_end(&mut request.body);
        match read {
            Ok(bytes) if bytes <= max => Ok(request),
            Ok(_) => Err(request_head::body_too_large(&self.options)),
            Err(_) => Err(request_head::invalid("the body cannot be read")),
        }
    }
}

fn content(request: &Request) -> Content {
    if request.method == Method::HEAD { Content::HeadOnly } else { Content::Body }
}

/// Returns whether tiny_http keeps the connection open; the adapter has no say in the choice.
fn persistence(raw: &tiny_http::Request) -> Persistence {
    let header = raw.headers().iter().find(|header| header.field.equiv("Connection"));
    let value = header.map(|header| header.value.as_str().to_ascii_lowercase()).unwrap_or_default();
    match raw.http_version() {
        _ if value.contains("close") => Persistence::Close,
        version if *version >= (1, 1) => Persistence::KeepAlive,
        _ if value.contains("keep-alive") => Persistence::KeepAliveConfirmed,
        _ => Persistence::Close,
    }
}

/// Writes the bytes of the default engine: tiny_http would send a chunked body above 32 KiB.
fn write(raw: tiny_http::Request, response: &Response, delivery: Delivery) -> io::Result<()> {
    let now = Instant::now();
    let mut out = Vec::new();
    encode::push_status_and_headers(&mut out, response, delivery, &mut Date::at(now), now);
    out.extend_from_slice(encode::content(response, delivery));
    let mut writer = raw.into_writer();
    writer.write_all(&out)?;
    writer.flush()
}
