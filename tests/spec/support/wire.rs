//! One connection and whatever bytes a test wants to send over it: what no HTTP client would send.

use std::io::{Read, Write};
use std::net::TcpStream;

use ureq::http::{HeaderMap, HeaderName, HeaderValue};

use super::{DEADLINE, Reply};

/// A connection that is kept for the next request, and opened anew when the server closes it.
#[derive(Debug)]
pub(crate) struct Wire {
    address: String,
    open: Option<TcpStream>,
}

impl Wire {
    pub(crate) fn to(address: &str) -> Self {
        Self { address: address.to_owned(), open: None }
    }

    /// Sends a request with its body, whatever they are, and reads the answer.
    ///
    /// # Panics
    /// When the server drops the connection without a whole answer.
    #[track_caller]
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        if !headers.iter().any(|(name, _)| *name == "Transfer-Encoding") {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        self.exchange_bytes(&[head.as_bytes(), b"\r\n", body].concat(), method)
    }

    /// Sends exactly that text and reads the answer to a request of that method.
    #[track_caller]
    pub(crate) fn exchange(&mut self, text: &str, method: &str) -> Reply {
        self.exchange_bytes(text.as_bytes(), method)
    }

    #[track_caller]
    fn exchange_bytes(&mut self, bytes: &[u8], method: &str) -> Reply {
        let mut stream = self.open.take().unwrap_or_else(|| connect(&self.address));
        // A server may answer and close before it has read all; then the answer tells why.
        let _ = stream.write_all(bytes);
        let reply = receive(&mut stream, method)
            .unwrap_or_else(|| panic!("no whole answer to {:?}", String::from_utf8_lossy(bytes)));
        if reply.header("Connection") != Some("close") {
            self.open = Some(stream);
        }
        reply
    }

    /// Sends a JSON body.
    #[track_caller]
    pub(crate) fn send_json(&mut self, method: &str, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.send(method, target, &[("Content-Type", "application/json")], body.as_ref())
    }
}

fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn receive(stream: &mut TcpStream, method: &str) -> Option<Reply> {
    let mut received = Vec::new();
    let end = loop {
        match received.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => receive_more(stream, &mut received)?,
        }
    };
    let body = received.split_off(end);
    let mut reply = head(&received)?;
    reply.body = body;
    let length = match (method, reply.header("Content-Length")) {
        ("HEAD", _) | (_, None) => 0,
        (_, Some(length)) => length.parse().ok()?,
    };
    while reply.body.len() < length {
        receive_more(stream, &mut reply.body)?;
    }
    assert_eq!(reply.body.len(), length, "more came than was announced");
    Some(reply)
}

fn receive_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 16 << 10];
    let count = stream.read(&mut buffer).ok().filter(|count| *count > 0)?;
    received.extend_from_slice(&buffer[..count]);
    Some(())
}

fn head(bytes: &[u8]) -> Option<Reply> {
    let text = std::str::from_utf8(bytes).ok()?;
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut headers = HeaderMap::new();
    for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some(Reply { status, headers, body: Vec::new() })
}
