//! The default engine: blocking sockets, a thread for each open connection, no async.
//!
//! The acceptor never waits for a client: each connection goes to a thread of the pool, or to the
//! refusing thread when the pool is full.
//!
//! **Invariant:** the acceptor always accepts. A burst of connections, a lack of descriptors and clients
//! that never read do not stop the loop.
//!
//! Read next: `pool.rs`.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::options::Options;
use super::pool::Pool;
use super::refuse;
use super::service::Service;
use super::thread;

/// Pause after a failed accept, in milliseconds: without a pause, a lack of descriptors would be a busy
/// loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Pause between two log lines about failed accepts: one per second shows the trouble without a flood.
const FAILURE_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Pause between two attempts to wake the acceptor at the stop.
const WAKE_PAUSE: Duration = Duration::from_millis(1);
/// Descriptors left for databases, logs, our own clients and refused connections.
const RESERVED_DESCRIPTORS: usize = 64 + refuse::MAX_DESCRIPTORS;

/// The running engine. Dropping the engine stops all threads.
#[derive(Debug)]
pub(super) struct BlockingEngine {
    address: SocketAddr,
    pool: Arc<Pool>,
    accepting: Option<JoinHandle<()>>,
    refusing: Option<JoinHandle<()>>,
}

/// Starts the acceptor and the refusing thread; the pool starts threads as connections arrive.
pub(super) fn start(
    listener: TcpListener,
    mut options: Options,
    service: Arc<Service>,
) -> io::Result<BlockingEngine> {
    listener.set_nonblocking(false)?;
    if let Some(descriptors) = descriptor_limit() {
        // A very low limit leaves half of the descriptors for connections, and an accept without a free
        // descriptor evicts a waiting connection.
        let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2).max(1);
        options.max_connections = options.max_connections.min(most);
    }
    let address = listener.local_addr()?;
    let (refused, refusing) = refuse::start()?;
    let pool = Arc::new(Pool::new(options));
    let acceptor = Acceptor { listener, pool: Arc::clone(&pool), service, refused };
    let accepting = Some(thread::builder("http-accept").spawn(move || acceptor.accept_all())?);
    Ok(BlockingEngine { address, pool, accepting, refusing: Some(refusing) })
}

impl Drop for BlockingEngine {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.pool.options.stop_timeout;
        // Before all else: every thread reads the flag after its next step.
        self.pool.stopping.store(true, Ordering::SeqCst);
        self.end_accepting(deadline);
        self.pool.close(deadline);
    }
}

impl BlockingEngine {
    /// Wakes the acceptor with a connection and waits until the thread has ended.
    fn end_accepting(&mut self, deadline: Instant) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        while !accepting.is_finished() && Instant::now() < deadline {
            // std cannot interrupt an accept; a failed connect is repeated.
            let _ = TcpStream::connect_timeout(&reachable(self.address), ACCEPT_PAUSE);
            std::thread::sleep(WAKE_PAUSE);
        }
        if accepting.is_finished() {
            let _ = accepting.join();
            // The acceptor held the only sender: without a sender, the refusing thread ends.
            let _ = self.refusing.take().map(JoinHandle::join);
        }
    }
}

/// Returns an address that reaches a listener on `address`, which may be "any".
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Returns the process's limit of open files, on systems with `/proc`.
fn descriptor_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// The state of the accepting thread.
struct Acceptor {
    listener: TcpListener,
    pool: Arc<Pool>,
    service: Arc<Service>,
    refused: SyncSender<TcpStream>,
}

impl Acceptor {
    fn accept_all(&self) {
        let mut last_logged = None;
        loop {
            let accepted = self.listener.accept();
            if self.pool.stopping.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                // The client left before the accept.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // Most likely the process has no free descriptor: a waiting connection gives up its own.
                Err(error) => {
                    if last_logged.is_none_or(|last: Instant| last.elapsed() > FAILURE_LOG_INTERVAL) {
                        log::warn!("cannot accept connections: {error}");
                        last_logged = Some(Instant::now());
                    }
                    self.pool.evict_longest_waiting();
                    std::thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let connections = &self.pool.options.connections;
        connections.accepted.fetch_add(1, Ordering::Relaxed);
        if let Err(stream) = self.pool.serve(stream, &self.service) {
            connections.refused.fetch_add(1, Ordering::Relaxed);
            // A full queue blocks the acceptor for processor time alone, since the refusing thread waits
            // for no client. New connections meanwhile stay in the backlog, and each gets an answer.
            let _ = self.refused.send(stream);
        }
    }
}
