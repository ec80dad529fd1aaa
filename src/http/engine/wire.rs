//! One socket with an input buffer and deadlines.
//!
//! **Invariant:** whenever a request starts, the socket's read timeout is the idle timeout and the write
//! timeout is the progress timeout. A request that arrives in one piece and a response that leaves in one
//! piece therefore cost one system call each.
//!
//! Read next: `request_head.rs`.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::options::Options;
use super::request_head::invalid;
use crate::http::{Problem, problems};

/// Initial bytes of the input buffer: requests of our clients have a few hundred bytes, requests of browsers
/// about one thousand.
const SMALL_BUFFER: usize = 2 * 1024;
/// Maximum bytes that an idle connection keeps of each buffer.
pub(super) const MAX_IDLE_BUFFER: usize = 8 * 1024;
/// Maximum time of reading on after a refused request: a socket closed with unread bytes would give the
/// client a reset in place of the answer.
const MAX_LINGER: Duration = Duration::from_secs(2);
/// Maximum bytes of reading on after a refused request.
const MAX_LINGER_BYTES: usize = 1024 * 1024;

/// Minimum average rate of a client in bytes per second, after [`GRACE`]. Slower lines exist, but a client
/// at one byte per minute would hold a thread and an answer for weeks; at this rate the largest answer
/// takes half an hour.
const MIN_RATE: u64 = 4 * 1024;
/// Time before [`MIN_RATE`] applies: a stalled line often recovers within seconds.
const GRACE: Duration = Duration::from_secs(30);

/// The reason that a request was not received.
#[derive(Debug)]
pub(super) enum WireFailure {
    /// The client has closed the connection: no answer is possible.
    Gone,
    /// The client gets this problem, then the connection is closed.
    Refused(Problem),
}

impl From<Problem> for WireFailure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// A socket, the input buffer, and the state of the read timeout.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    options: &'a Options,
    buffer: Vec<u8>,
    // The range of received and unconsumed bytes in `buffer`.
    start: usize,
    end: usize,
    read_timeout: Timeout,
}

/// The setting of the socket's read timeout.
#[derive(Debug, PartialEq, Eq)]
enum Timeout {
    Quiet,
    RestOfDeadline,
}

impl<'a> Wire<'a> {
    /// Prepares the socket of a new connection.
    ///
    /// # Errors
    /// When the socket is dead already.
    pub(super) fn new(stream: &'a TcpStream, options: &'a Options) -> io::Result<Self> {
        // A response leaves in one call: Nagle's algorithm could only delay the last packet.
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(options.idle_timeout))?;
        stream.set_write_timeout(Some(options.write_timeout))?;
        let read_timeout = Timeout::Quiet;
        let buffer = vec![0; SMALL_BUFFER];
        Ok(Self { stream, options, buffer, start: 0, end: 0, read_timeout })
    }

    /// Returns the received and unconsumed bytes.
    pub(super) fn received(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
    }

    /// Waits for the first bytes of a request, at most for the idle timeout.
    pub(super) fn wait_for_request(&mut self) -> Result<(), WireFailure> {
        // After a large request: a thousand idle connections must not keep their largest buffers.
        if self.buffer.len() > MAX_IDLE_BUFFER {
            self.buffer = vec![0; SMALL_BUFFER];
        }
        // Set only after a slow request: the common case saves a system call.
        if self.read_timeout != Timeout::Quiet {
            self.read_timeout = Timeout::Quiet;
            self.stream.set_read_timeout(Some(self.options.idle_timeout)).map_err(|_| WireFailure::Gone)?;
        }
        match self.fill() {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(WireFailure::Gone),
        }
    }

    /// Receives at least one more byte of a request before `deadline`.
    pub(super) fn receive_more(&mut self, deadline: Instant) -> Result<(), WireFailure> {
        self.limit_read(deadline)?;
        whole(self.fill())
    }

    /// Fills `target` from the buffer and then from the socket, before `deadline`.
    pub(super) fn receive_exactly(
        &mut self,
        mut target: &mut [u8],
        deadline: Instant,
    ) -> Result<(), WireFailure> {
        let here = target.len().min(self.end - self.start);
        target[..here].copy_from_slice(&self.received()[..here]);
        self.consume(here);
        target = &mut target[here..];
        while !target.is_empty() {
            self.limit_read(deadline)?;
            // Past the buffer: a large body is copied once.
            let read = retry(|| (&mut &*self.stream).read(target));
            let received = *read.as_ref().unwrap_or(&0);
            whole(read)?;
            target = &mut target[received..];
        }
        Ok(())
    }

    /// Sends a whole response, `head` then `body`; with room in the send buffer, in one system call.
    ///
    /// [`Options::write_timeout`] limits the time without progress of each system call, not the time of the
    /// whole response: a slow line gets the whole answer.
    ///
    /// # Errors
    /// When the peer is gone, makes no progress within the write timeout, or receives less than [`MIN_RATE`]
    /// after [`GRACE`]. Close the connection: a part of the response may have been sent.
    pub(super) fn send(&mut self, head: &[u8], body: &[u8], now: Instant) -> io::Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut parts = if body.is_empty() { &mut parts[..1] } else { &mut parts[..] };
        let mut taken = 0;
        loop {
            let sent = retry(|| match &*parts {
                [head] => (&mut &*self.stream).write(head),
                all => (&mut &*self.stream).write_vectored(all),
            })?;
            // An endless loop otherwise: `advance_slices` by 0 leaves the same parts.
            if sent == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, sent);
            if parts.is_empty() {
                return Ok(());
            }
            taken += sent as u64;
            let beyond_grace = now.elapsed().saturating_sub(GRACE);
            // The write timeout limits each call alone: a client that reads a byte per timeout makes progress
            // for ever.
            if taken < beyond_grace.as_secs() * MIN_RATE {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Ends the sending half and discards received bytes for a while, so that the client can read the last
    /// answer.
    pub(super) fn linger(&mut self) {
        let deadline = Instant::now() + MAX_LINGER;
        let mut left = MAX_LINGER_BYTES;
        // The client sees the end of the answer, and as a rule closes its side: the loop then ends early.
        let _ = self.stream.shutdown(Shutdown::Write);
        self.start = self.end;
        while self.limit_read(deadline).is_ok() {
            match self.fill() {
                Ok(bytes @ 1..) if bytes < left => left -= bytes,
                Ok(_) | Err(_) => return,
            }
            self.start = self.end;
        }
    }

    /// Limits the next read to the rest of the deadline.
    fn limit_read(&mut self, deadline: Instant) -> Result<(), WireFailure> {
        // A system call for each further read of a slow peer. Under a fixed timeout, a client that sends a
        // byte per timeout would never meet the deadline.
        let left = time_left(deadline).map_err(|_| too_slow())?;
        self.read_timeout = Timeout::RestOfDeadline;
        self.stream.set_read_timeout(Some(left)).map_err(|_| WireFailure::Gone)
    }

    /// Reads once. A full buffer grows; the callers limit the unconsumed bytes.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            // Move the rest to the front first; grow only a buffer that is still more than half full.
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end * 2 > self.buffer.len() {
                self.buffer.resize(self.buffer.len() * 2, 0);
            }
        }
        let read = retry(|| (&mut &*self.stream).read(&mut self.buffer[self.end..]))?;
        self.end += read;
        Ok(read)
    }
}

/// Returns the time until `deadline`; at least 1 ms, since a timeout of zero means no timeout.
fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left.max(Duration::from_millis(1))),
    }
}

/// Treats the end of the stream within a request as the client's mistake.
fn whole(read: io::Result<usize>) -> Result<(), WireFailure> {
    match read {
        Ok(1..) => Ok(()),
        Ok(0) => Err(invalid("the request was cut off").into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(too_slow()),
        // A reset: no answer can reach the client.
        Err(_) => Err(WireFailure::Gone),
    }
}

fn too_slow() -> WireFailure {
    Problem::new(&problems::REQUEST_TIMEOUT, "the request did not arrive in time").into()
}

/// Repeats a system call that a signal interrupted.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
