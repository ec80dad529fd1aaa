//! Answers 503 to connections beyond the limit.
//!
//! The acceptor may not wait for any client. The refusing thread therefore answers all refused connections,
//! without blocking on any, and keeps each connection open for a moment.
//!
//! **Invariant:** bounded queue, bounded number of kept connections, bounded time. When the queue is full,
//! the acceptor waits for the refusing thread, which never waits for a client: each connection gets an
//! answer, at the pace of the processor.
//!
//! Read next: `encode.rs`.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::encode::{self, Content, Date, Delivery};
use super::request_head::Persistence;
use super::thread;
use crate::http::{Problem, Response, problems};

/// Maximum number of refused connections in the queue: enough to wake the refusing thread once for many.
const MAX_QUEUED: usize = 64;
/// Maximum number of refused connections kept open, so that their clients can read the answer. Each holds
/// a descriptor.
const MAX_KEPT: usize = 128;
/// Maximum number of descriptors that refused connections hold.
pub(super) const MAX_DESCRIPTORS: usize = MAX_QUEUED + MAX_KEPT;
/// Time that a refused connection is kept, in milliseconds: several round trips of most networks.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// Pause between two checks of the kept connections, in milliseconds.
const SWEEP_INTERVAL: Duration = Duration::from_millis(20);

/// Starts the refusing thread, which ends when all senders are gone.
pub(super) fn start() -> io::Result<(SyncSender<TcpStream>, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(MAX_QUEUED);
    let refusing = thread::builder("http-refuse").spawn(move || refuse_all(&receiver))?;
    Ok((sender, refusing))
}

/// Answers refused connections until all senders are gone.
fn refuse_all(receiver: &Receiver<TcpStream>) {
    let mut kept = VecDeque::new();
    let mut date = Date::at(Instant::now());
    // Built once: a burst brings thousands of refusals.
    let problem = Problem::new(&problems::OVERLOADED, "all connections of the service are taken");
    let response = Response::from(problem.with_header("Retry-After", "1"));
    let mut next_sweep = Instant::now();
    loop {
        // Without kept connections no sweep is due: any long pause does.
        let pause = if kept.is_empty() { Duration::from_secs(60) } else { SWEEP_INTERVAL };
        match receiver.recv_timeout(pause) {
            Ok(stream) => {
                // A socket closed at once would often lose the answer: unread bytes from the client turn the
                // close into a reset.
                if send(&stream, &response, &mut date).is_ok() {
                    kept.push_back((stream, Instant::now() + KEPT_FOR));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for (stream, _) in kept.drain(..kept.len().saturating_sub(MAX_KEPT)) {
            // Unread bytes would turn the close into a reset.
            is_reading(&stream);
        }
        let now = Instant::now();
        // A burst arrives faster than the interval: one check per message would read every socket each time.
        if now >= next_sweep {
            kept.retain(|(stream, until)| *until > now && is_reading(stream));
            next_sweep = now + SWEEP_INTERVAL;
        }
    }
}

/// Sends the answer without blocking, then ends the sending half.
fn send(mut stream: &TcpStream, response: &Response, date: &mut Date) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let delivery = Delivery { content: Content::Body, persistence: Persistence::Close };
    let mut out = Vec::new();
    encode::push_status_and_headers(&mut out, response, delivery, date, Instant::now());
    out.extend_from_slice(&response.body);
    // The send buffer of a new socket has room for a few hundred bytes: no partial write.
    stream.write_all(&out)?;
    stream.shutdown(Shutdown::Write)
}

/// Discards received bytes, and returns whether the client can still be reading the answer.
fn is_reading(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
