//! One socket with its input buffer and its deadlines.
//!
//! **Invariant:** the socket's own timeouts are those of a quiet connection (idle to read, no progress to
//! write) whenever a request starts. A request that arrives in one piece and a
//! response that leaves in one therefore cost one system call each; only a slow peer costs more,
//! because each further wait gets what is left of the deadline.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::head::invalid;
use crate::http::{Options, Problem, problems};

/// A buffer to start with: requests of our clients have a few hundred bytes, those of browsers
/// about one thousand.
const SMALL_BUFFER: usize = 2 * 1024;
/// What an idle connection may keep of any of its buffers.
pub(super) const KEPT_WHEN_IDLE: usize = 8 * 1024;
/// How long, and for how many bytes, we listen to a client whose request was refused: were the
/// socket closed with bytes unread, the client would get a reset in place of the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;

/// Bytes a second that a client must take on average, once an answer is under way for longer than
/// [`GRACE`]. Slower lines exist, but a client that takes one byte a minute would hold a thread and an
/// answer for weeks; at this rate the largest answer takes half an hour.
const MIN_RATE: u64 = 4 * 1024;
const GRACE: Duration = Duration::from_secs(30);

/// Why there is no request.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client is gone, or has nothing more to say: nobody to answer.
    Gone,
    /// The client gets this answer, then the connection is closed.
    Refused(Problem),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

#[derive(Debug)]
pub(super) struct Wire<'a> {
    stream: &'a TcpStream,
    options: &'a Options,
    buffer: Vec<u8>,
    // The bytes received and not consumed yet.
    start: usize,
    end: usize,
    read_timeout: Timeout,
}

/// What a timeout of the socket is set to.
#[derive(Debug, PartialEq, Eq)]
enum Timeout {
    Quiet,
    RestOfDeadline,
}

impl<'a> Wire<'a> {
    /// # Errors
    /// When the socket is dead already.
    pub(super) fn new(stream: &'a TcpStream, options: &'a Options) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(options.idle_timeout))?;
        stream.set_write_timeout(Some(options.write_timeout))?;
        let read_timeout = Timeout::Quiet;
        let buffer = vec![0; SMALL_BUFFER];
        Ok(Self { stream, options, buffer, start: 0, end: 0, read_timeout })
    }

    /// What was received and not consumed yet.
    pub(super) fn received(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
    }

    /// Waits for the first bytes of a request, as long as a connection may be idle.
    pub(super) fn wait_for_request(&mut self) -> Result<(), Failure> {
        if self.buffer.len() > KEPT_WHEN_IDLE {
            self.buffer = vec![0; SMALL_BUFFER];
        }
        if self.read_timeout != Timeout::Quiet {
            self.read_timeout = Timeout::Quiet;
            self.stream.set_read_timeout(Some(self.options.idle_timeout)).map_err(|_| Failure::Gone)?;
        }
        match self.fill() {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err(Failure::Gone),
        }
    }

    /// Receives at least one more byte of a request before `deadline`.
    pub(super) fn receive_more(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.limit_read(deadline)?;
        whole(self.fill())
    }

    /// Fills `target` from what was received and then from the socket, before `deadline`.
    pub(super) fn receive_exactly(
        &mut self,
        mut target: &mut [u8],
        deadline: Instant,
    ) -> Result<(), Failure> {
        let here = target.len().min(self.end - self.start);
        target[..here].copy_from_slice(&self.received()[..here]);
        self.consume(here);
        target = &mut target[here..];
        while !target.is_empty() {
            self.limit_read(deadline)?;
            let read = retry(|| (&mut &*self.stream).read(target));
            let received = *read.as_ref().unwrap_or(&0);
            whole(read)?;
            target = &mut target[received..];
        }
        Ok(())
    }

    /// Sends a whole response, `head` then `body`, in one system call where the peer takes it.
    ///
    /// The deadline is one of progress: the system waits in each call until the peer has taken something,
    /// for [`Options::write_timeout`] at most. A slow line gets the whole answer however long that is.
    ///
    /// # Errors
    /// When the peer is gone, takes nothing for the write timeout, or takes less than [`MIN_RATE`] for
    /// longer than [`GRACE`]: the connection is of no more use.
    pub(super) fn send(&mut self, head: &[u8], body: &[u8], now: Instant) -> io::Result<()> {
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut parts = if body.is_empty() { &mut parts[..1] } else { &mut parts[..] };
        let mut taken = 0;
        loop {
            let sent = retry(|| match &*parts {
                [head] => (&mut &*self.stream).write(head),
                all => (&mut &*self.stream).write_vectored(all),
            })?;
            if sent == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut parts, sent);
            if parts.is_empty() {
                return Ok(());
            }
            taken += sent as u64;
            let beyond_grace = now.elapsed().saturating_sub(GRACE);
            if taken < beyond_grace.as_secs() * MIN_RATE {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Says that nothing more will be sent, and listens for a while, so that the client can read
    /// the answer that was sent last.
    pub(super) fn linger(&mut self) {
        let deadline = Instant::now() + LINGER;
        let mut left = LINGER_BYTES;
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

    fn limit_read(&mut self, deadline: Instant) -> Result<(), Failure> {
        let left = time_left(deadline).map_err(|_| too_slow())?;
        self.read_timeout = Timeout::RestOfDeadline;
        self.stream.set_read_timeout(Some(left)).map_err(|_| Failure::Gone)
    }

    /// One read. The buffer grows when it is full; the callers limit what they leave in it.
    fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
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

/// The time until `deadline`; never zero, which sockets take for "for ever".
fn time_left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left.max(Duration::from_millis(1))),
    }
}

/// The end of the stream in the middle of a request is the client's mistake.
fn whole(read: io::Result<usize>) -> Result<(), Failure> {
    match read {
        Ok(1..) => Ok(()),
        Ok(0) => Err(invalid("the request was cut off").into()),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Err(too_slow()),
        Err(_) => Err(Failure::Gone),
    }
}

fn too_slow() -> Failure {
    Problem::new(&problems::REQUEST_TIMEOUT, "the request did not arrive in time").into()
}

fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
