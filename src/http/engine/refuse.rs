//! Saying no to connections that there is no room for.
//!
//! The thread that accepts may not wait for any client, and a socket closed at once would often lose
//! the answer (what the client had sent meanwhile turns the close into a reset). So one thread
//! answers all who are refused, without ever blocking on one, and keeps each for a moment.
//!
//! **Invariant:** bounded queue, bounded number kept, bounded time. Beyond the queue, the thread that
//! accepts waits for this one, which waits for nobody: everyone is told, at the pace of the processor.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::encode::{self, Content, Date, Delivery};
use super::head::Persistence;
use crate::http::{Problem, Response, problems};

/// Refused connections that wait for the refusing thread: enough to wake it once for many.
const QUEUE: usize = 64;
/// Refused connections kept open so that their clients can read why. Each holds a descriptor.
const KEPT: usize = 128;
/// The most descriptors that are held here.
pub(super) const MOST: usize = QUEUE + KEPT;
/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_millis(500);
/// How often it is seen to.
const SWEEP: Duration = Duration::from_millis(20);

pub(super) fn start() -> io::Result<(SyncSender<TcpStream>, JoinHandle<()>)> {
    let (sender, receiver) = sync_channel(QUEUE);
    let thread = Builder::new().name("http-refuse".into()).stack_size(super::blocking::STACK_BYTES);
    Ok((sender, thread.spawn(move || refuse_all(&receiver))?))
}

/// Runs until all senders are gone.
fn refuse_all(receiver: &Receiver<TcpStream>) {
    let mut kept = VecDeque::new();
    let mut date = Date::at(Instant::now());
    let problem = Problem::new(&problems::OVERLOADED, "all connections of the service are taken");
    let response = Response::from(problem.with_header("Retry-After", "1"));
    let mut next_sweep = Instant::now();
    loop {
        let pause = if kept.is_empty() { Duration::from_secs(60) } else { SWEEP };
        match receiver.recv_timeout(pause) {
            Ok(stream) => {
                if tell(&stream, &response, &mut date).is_ok() {
                    kept.push_back((stream, Instant::now() + KEPT_FOR));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        for (stream, _) in kept.drain(..kept.len().saturating_sub(KEPT)) {
            // Closed with bytes unread, it would be reset.
            still_there(&stream);
        }
        let now = Instant::now();
        if now >= next_sweep {
            kept.retain(|(stream, until)| *until > now && still_there(stream));
            next_sweep = now + SWEEP;
        }
    }
}

fn tell(mut stream: &TcpStream, response: &Response, date: &mut Date) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    let delivery = Delivery { content: Content::Body, persistence: Persistence::Close };
    let mut out = Vec::new();
    encode::head(&mut out, response, delivery, date, Instant::now());
    out.extend_from_slice(&response.body);
    // A new socket has room for a few hundred bytes.
    stream.write_all(&out)?;
    stream.shutdown(Shutdown::Write)
}

/// Reads what the client still sends, and says whether it can still be reading.
fn still_there(mut stream: &TcpStream) -> bool {
    match stream.read(&mut [0; 4096]) {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
