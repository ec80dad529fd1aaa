//! A client that can be as wrong as it likes: bytes in, bytes out, on a raw socket. And a service
//! for it to talk to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use tally::http::{Engine, LongPolls, Method, Options, Request, Response, Server, serve};
use tally::watch::Watch;

use crate::support::wait_within;

/// What a rule runs on.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) engine: Engine,
    /// How long a peer waits for the server. Long, for a server that will answer; it decides
    /// nothing but how late a broken one is noticed.
    pub(crate) patience: Duration,
}

/// The service under test, with what its handlers report and wait for.
pub(crate) struct Service {
    pub(crate) server: Server,
    /// How many handlers of `/wait` have started.
    pub(crate) waiting: Arc<Watch>,
    /// They end when this reaches 1.
    pub(crate) gate: Arc<Watch>,
    /// How many requests have reached a handler.
    pub(crate) handled: Arc<Watch>,
    patience: Duration,
}

impl Setup {
    pub(crate) fn on(engine: Engine) -> Self {
        Self { engine, patience: Duration::from_secs(20) }
    }

    pub(crate) fn start(self) -> Service {
        self.start_with(|_| ())
    }

    pub(crate) fn start_with(self, change: impl FnOnce(&mut Options)) -> Service {
        let mut options = Options { engine: self.engine, ..Options::default() };
        options.stop_timeout = options.stop_timeout.min(self.patience);
        change(&mut options);
        let [waiting, gate, handled] = [(); 3].map(|()| Arc::new(Watch::at(0)));
        let service = {
            let (waiting, gate, handled) = (Arc::clone(&waiting), Arc::clone(&gate), Arc::clone(&handled));
            let polls = LongPolls::new(MAX_POLLS);
            move |request: &Request| {
                handled.raise(handled.value() + 1);
                match request.path() {
                    "/poll" => polls.enter().map_or_else(Response::from, |_permit| wait(&waiting, &gate)),
                    "/wait" => wait(&waiting, &gate),
                    _ => respond(request),
                }
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = serve(listener, options, service).unwrap();
        Service { server, waiting, gate, handled, patience: self.patience }
    }
}

fn respond(request: &Request) -> Response {
    let text = |text: String| Response::new(200, "text/plain", text.into_bytes());
    match request.path() {
        "/hello" => text("hello".to_owned()),
        "/echo" => Response::new(200, "application/octet-stream", request.body.clone()),
        "/target" => text(format!("{} {}?{}", request.method.as_str(), request.path(), request.query())),
        "/nothing" => Response::empty(204),
        "/unchanged" => Response::empty(304).with_header("ETag", "\"1\""),
        "/large" => Response::new(200, "application/octet-stream", vec![b'x'; LARGE]),
        "/split" => Response::empty(200).with_header("X", "a\r\nInjected: yes"),
        "/panic" if request.method == Method::GET => panic!("as asked"),
        "/medium" => Response::new(200, "application/octet-stream", vec![b'x'; 64 * 1024]),
        _ => Response::empty(404),
    }
}

fn wait(waiting: &Watch, gate: &Watch) -> Response {
    waiting.raise(waiting.value() + 1);
    gate.wait_for(1, Duration::from_secs(60));
    Response::new(200, "text/plain", b"waited".to_vec())
}

/// How many may wait on `/poll` at once.
pub(crate) const MAX_POLLS: usize = 16;

/// More than the buffers of two sockets hold.
pub(crate) const LARGE: usize = 16 * 1024 * 1024;

impl Service {
    pub(crate) fn peer(&self) -> Peer {
        Peer::at(self.server.local_addr(), self.patience)
    }

    /// The answer to `bytes` on a connection of its own.
    pub(crate) fn answer(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut peer = self.peer();
        peer.send(bytes);
        peer.answer()
    }

    /// Waits until `condition` holds for the server's connections.
    pub(crate) fn wait_until(&self, condition: impl Fn(tally::http::ConnectionStats) -> bool) {
        wait_within(self.patience, "the server's connections are so", || {
            condition(self.server.connections()).then_some(())
        });
    }
}

/// One connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

/// A response as it came over the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Peer {
    pub(crate) fn at(address: SocketAddr, patience: Duration) -> Self {
        Self::on(TcpStream::connect(address).unwrap(), patience)
    }

    pub(crate) fn on(stream: TcpStream, patience: Duration) -> Self {
        stream.set_read_timeout(Some(patience)).unwrap();
        stream.set_write_timeout(Some(patience)).unwrap();
        Self { stream, received: Vec::new() }
    }

    /// Sends bytes. That the server has closed meanwhile is for the answer to tell.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    pub(crate) fn end_sending(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    pub(crate) fn answer(&mut self) -> Answer {
        self.try_answer().expect("the server answers in time")
    }

    pub(crate) fn try_answer(&mut self) -> Result<Answer, String> {
        self.receive(|head, status| match status {
            100..200 | 204 | 304 => 0,
            _ => head.parse().unwrap(),
        })
    }

    pub(crate) fn answer_to_head(&mut self) -> Answer {
        self.receive(|_, _| 0).expect("the server answers in time")
    }

    fn receive(&mut self, body_length: impl FnOnce(&str, u16) -> usize) -> Result<Answer, String> {
        let end = loop {
            match self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.receive_more()?,
            }
        };
        let head: Vec<u8> = self.received.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = body_length(answer.header("Content-Length").unwrap_or("no length"), status);
        while self.received.len() < length {
            self.receive_more()?;
        }
        answer.body = self.received.drain(..length).collect();
        Ok(answer)
    }

    fn receive_more(&mut self) -> Result<(), String> {
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(format!("closed after {:?}", String::from_utf8_lossy(&self.received))),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The server closes, having sent nothing more.
    pub(crate) fn is_closed(&mut self) {
        assert!(self.received.is_empty(), "more came: {:?}", String::from_utf8_lossy(&self.received));
        match self.stream.read(&mut [0; 100]) {
            Ok(0) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {}
            other => panic!("not closed: {other:?}"),
        }
    }

    /// The connection still serves requests.
    pub(crate) fn is_open(&mut self) {
        self.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(self.answer().text(), "hello");
    }
}
