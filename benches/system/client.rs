//! An HTTP client that costs next to nothing, since it shares the machine with what it measures:
//! requests are bytes made beforehand, one write sends one, and of the response only the status
//! and the length are looked at.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// How long a service may take for an answer before the run is given up.
const TIMEOUT: Duration = Duration::from_secs(40);

/// A request as it is sent.
pub(crate) type Request = Vec<u8>;

pub(crate) fn get(path: &str) -> Request {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

pub(crate) fn put(path: &str) -> Request {
    format!("PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

pub(crate) fn post(path: &str, body: &str) -> Request {
    let length = body.len();
    let head = "Host: localhost\r\nContent-Type: application/json";
    format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// One keep-alive connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

/// Where a response's parts are.
#[derive(Clone, Copy)]
struct Layout {
    status: u16,
    head: usize,
    whole: usize,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, buffer: vec![0; 4096] })
    }

    /// Sends a request and takes the whole answer, whatever its status.
    pub(crate) fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        let mut layout = None;
        loop {
            filled += self.read(filled)?;
            layout = layout.map_or_else(|| layout_of(&self.buffer[..filled]), |known| Ok(Some(known)))?;
            let Some(Layout { status, head, whole }) = layout else {
                continue;
            };
            if filled >= whole {
                return Ok(Answer { status, body: &self.buffer[head..whole] });
            }
            if whole > self.buffer.len() {
                self.buffer.resize(whole, 0);
            }
        }
    }

    /// The body of a successful answer.
    pub(crate) fn body_of(&mut self, request: &[u8]) -> Result<&[u8]> {
        let answer = self.exchange(request)?;
        answer.expect_success(request)?;
        Ok(answer.body)
    }

    fn read(&mut self, filled: usize) -> Result<usize> {
        if filled == self.buffer.len() {
            self.buffer.resize(2 * filled, 0);
        }
        match self.stream.read(&mut self.buffer[filled..])? {
            0 => Err("the connection was closed in an answer".into()),
            count => Ok(count),
        }
    }
}

impl Answer<'_> {
    /// # Errors
    /// When it is no success: a run that is refused measures nothing.
    pub(crate) fn expect_success(&self, request: &[u8]) -> Result<()> {
        if matches!(self.status, 200..=299) {
            return Ok(());
        }
        let request = String::from_utf8_lossy(request);
        let body = String::from_utf8_lossy(self.body);
        Err(format!("{} for {}: {body}", self.status, request.lines().next().unwrap_or_default()).into())
    }
}

/// `None` when the head is not complete yet.
fn layout_of(received: &[u8]) -> Result<Option<Layout>> {
    let mut length = 0;
    let mut start = 0;
    while let Some(line_length) = received[start..].iter().position(|byte| *byte == b'\n') {
        let line = &received[start..start + line_length];
        start += line_length + 1;
        if line.len() <= 1 {
            let status = number(received.get(9..12).unwrap_or_default())?;
            return Ok(Some(Layout { status: status as u16, head: start, whole: start + length }));
        }
        const NAME: &[u8] = b"content-length:";
        if line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME) {
            length = number(&line[NAME.len()..])?;
        }
    }
    Ok(None)
}

fn number(text: &[u8]) -> Result<usize> {
    Ok(std::str::from_utf8(text)?.trim().parse()?)
}
