//! The default engine: blocking sockets, a thread for each open connection, no async.
//!
//! One thread accepts. It never waits for a client: it hands a connection to an idle thread or to
//! a new one, and when all are taken it makes room or refuses. Threads that have no connection
//! wait a while for the next, so that short connections do not pay for a thread each; the last to
//! come is the first to go on, so that those who are too many grow old, and leave.
//!
//! **Invariant:** at most [`Options::max_connections`] connections are served at once, each by one
//! thread, whatever clients do; only threads that are ending a connection come on top. Only what
//! waits for a client (for a request, for the rest of one, for an answer to be taken) can be ended
//! to make room; a running handler never is.
//!
//! Read next: `connection.rs`.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::refuse;
use super::server::Service;
use super::slot::{Phase, Slot};
use crate::http::Options;

/// Room for deep handlers (SQLite, JSON) in unoptimised builds; only the pages that are touched
/// cost memory, and a stack this small is never backed by a huge page.
pub(super) const STACK_BYTES: usize = 512 * 1024;
/// How long a thread without a connection stays.
const THREAD_IDLE: Duration = Duration::from_secs(10);
/// A connection must have waited that long for its client before it is ended to make room: a
/// client that is busy talking keeps its connection, however many others knock.
const EVICTION_AGE: Duration = Duration::from_secs(1);
/// Pause after a failed accept: without one, a lack of descriptors would be a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How often such failures are logged.
const FAILURE_LOGGED: Duration = Duration::from_secs(1);
/// Descriptors left for databases, logs and clients of our own, and for those who are refused.
const RESERVED_DESCRIPTORS: usize = 64 + refuse::MOST;
/// How long a stop waits after it has cut what did not end in time.
const AFTER_CUT: Duration = Duration::from_millis(200);

/// The running engine. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Running {
    address: SocketAddr,
    pool: Arc<Pool>,
    accepting: Option<JoinHandle<()>>,
    refusing: Option<JoinHandle<()>>,
}

pub(super) fn start(
    listener: TcpListener,
    mut options: Options,
    service: Arc<Service>,
) -> io::Result<Running> {
    listener.set_nonblocking(false)?;
    if let Some(descriptors) = descriptor_limit() {
        // Where there are so few that this is not enough, connections give way when they run out.
        let most = descriptors.saturating_sub(RESERVED_DESCRIPTORS).max(descriptors / 2).max(1);
        options.max_connections = options.max_connections.min(most);
    }
    let address = listener.local_addr()?;
    let (refused, refusing) = refuse::start()?;
    let pool = Arc::new(Pool::new(options));
    let door = Door { listener, pool: Arc::clone(&pool), service, refused };
    let accepting = Builder::new().name("http-accept".into()).stack_size(STACK_BYTES);
    let accepting = Some(accepting.spawn(move || door.accept_all())?);
    Ok(Running { address, pool, accepting, refusing: Some(refusing) })
}

impl Drop for Running {
    fn drop(&mut self) {
        let deadline = Instant::now() + self.pool.options.stop_timeout;
        self.pool.stopping.store(true, Ordering::SeqCst);
        self.end_accepting(deadline);
        self.pool.close(deadline);
    }
}

impl Running {
    /// Wakes the accepting thread with a connection, and waits for it to end.
    fn end_accepting(&mut self, deadline: Instant) {
        let Some(accepting) = self.accepting.take() else {
            return;
        };
        while !accepting.is_finished() && Instant::now() < deadline {
            let _ = TcpStream::connect_timeout(&reachable(self.address), ACCEPT_PAUSE);
            thread::sleep(Duration::from_millis(1));
        }
        if accepting.is_finished() {
            let _ = accepting.join();
            // It held the only way to the refusing thread, which ends when that is gone.
            let _ = self.refusing.take().map(JoinHandle::join);
        }
    }
}

/// An address to connect to for one that was bound, which may be "any".
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// The process's limit of open files, where the system tells it.
fn descriptor_limit() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Where connections come in.
struct Door {
    listener: TcpListener,
    pool: Arc<Pool>,
    service: Arc<Service>,
    refused: SyncSender<TcpStream>,
}

impl Door {
    fn accept_all(&self) {
        let mut last_failure = None;
        loop {
            let accepted = self.listener.accept();
            if self.pool.stopping.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok((stream, _)) => self.admit(stream),
                // The client went away before we came to it.
                Err(error)
                    if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
                // Most likely no descriptors are left: those who only wait give theirs up.
                Err(error) => {
                    if last_failure.is_none_or(|last: Instant| last.elapsed() > FAILURE_LOGGED) {
                        log::warn!("cannot accept connections: {error}");
                        last_failure = Some(Instant::now());
                    }
                    self.pool.lock().evict_longest_waiting(&self.pool.options);
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream) {
        let connections = &self.pool.options.connections;
        connections.accepted.fetch_add(1, Ordering::Relaxed);
        if let Err(stream) = self.pool.take_in(stream, &self.service) {
            connections.refused.fetch_add(1, Ordering::Relaxed);
            // Waits only for the processor: the refusing thread waits for nobody. Who comes
            // meanwhile is in the system's queue (`BACKLOG`), and nobody is closed without a word.
            let _ = self.refused.send(stream);
        }
    }
}

/// The connections and the threads that serve them.
#[derive(Debug)]
struct Pool {
    options: Options,
    stopping: AtomicBool,
    epoch: Instant,
    state: Mutex<State>,
    /// A thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Arc<Slot>>,
    last_id: u64,
    /// Connections that no thread has taken yet; a thread is on its way for each.
    pending: VecDeque<(u64, Arc<Slot>)>,
    /// Threads without a connection, the one that came last at the end.
    idle: Vec<(ThreadId, thread::Thread)>,
    threads: usize,
    /// Until then nobody can have waited for [`EVICTION_AGE`].
    nobody_until: Option<Instant>,
}

impl Pool {
    fn new(options: Options) -> Self {
        Self {
            options,
            stopping: AtomicBool::new(false),
            epoch: Instant::now(),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Nothing that holds this lock can panic half-way through a change.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection a thread, or gives it back when there is no room for it.
    fn take_in(self: &Arc<Self>, stream: TcpStream, service: &Arc<Service>) -> Result<(), TcpStream> {
        let mut state = self.lock();
        if state.open.len() >= self.options.max_connections && !state.evict_longest_waiting(&self.options) {
            return Err(stream);
        }
        let slot = Arc::new(Slot::new(stream, self.epoch));
        state.last_id += 1;
        let id = state.last_id;
        if let Some((_, thread)) = state.idle.pop() {
            thread.unpark();
        } else if let Err(error) = self.spawn(service) {
            log::warn!("cannot start a thread for a connection: {error}");
            return Arc::into_inner(slot).map_or(Ok(()), |slot| Err(slot.into_stream()));
        } else {
            state.threads += 1;
        }
        state.pending.push_back((id, Arc::clone(&slot)));
        state.open.insert(id, slot);
        self.report(&state);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, service: &Arc<Service>) -> io::Result<()> {
        let (pool, service) = (Arc::clone(self), Arc::clone(service));
        let builder = Builder::new().name("http".into()).stack_size(STACK_BYTES);
        builder.spawn(move || {
            // Dropped in this order: the service first, so that after a stop nobody holds it.
            let thread = Thread { pool };
            let service = service;
            thread.pool.work(&*service);
            drop(service);
        })?;
        Ok(())
    }

    /// A thread's life: one connection after the other.
    fn work(&self, service: &Service) {
        while let Some((id, slot)) = self.next_connection() {
            let _open = Open { pool: self, id };
            Connection::serve(&slot, &self.options, service, &self.stopping);
        }
    }

    fn next_connection(&self) -> Option<(u64, Arc<Slot>)> {
        let deadline = Instant::now() + THREAD_IDLE;
        let this = thread::current();
        let mut state = self.lock();
        loop {
            if let Some(next) = state.pending.pop_front() {
                return Some(next);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping.load(Ordering::SeqCst) {
                return None;
            }
            state.idle.push((this.id(), this.clone()));
            drop(state);
            thread::park_timeout(left);
            state = self.lock();
            // Who was woken for a connection was taken from the list; others take themselves.
            state.idle.retain(|(id, _)| *id != this.id());
        }
    }

    /// Ends all connections, those in flight by `deadline` at the latest, and waits for their
    /// threads.
    fn close(&self, deadline: Instant) {
        let mut state = self.lock();
        state.open.values().for_each(|slot| slot.close_if_waiting());
        state.idle.iter().for_each(|(_, thread)| thread.unpark());
        state = self.wait_for_threads(state, deadline);
        if state.threads > 0 {
            state.open.values().for_each(|slot| slot.cut());
            state = self.wait_for_threads(state, Instant::now() + AFTER_CUT);
        }
        if state.threads > 0 {
            log::warn!("{} requests did not end in time and are abandoned", state.threads);
        }
    }

    fn wait_for_threads<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> MutexGuard<'a, State> {
        while state.threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn report(&self, state: &State) {
        let connections = &self.options.connections;
        connections.open.store(state.open.len(), Ordering::Relaxed);
        connections.threads.store(state.threads, Ordering::Relaxed);
    }
}

impl State {
    /// Ends the connection that has waited longest for its client, and says whether there was one.
    /// Those between two requests go first: they lose nothing but a new handshake.
    ///
    /// All connections are looked at, but after a look in vain not again before it can be of use:
    /// to refuse thousands each second must stay cheap.
    fn evict_longest_waiting(&mut self, options: &Options) -> bool {
        let now = Instant::now();
        if self.nobody_until.is_some_and(|until| now < until) {
            return false;
        }
        // One that has gone on meanwhile has not waited at all when it is looked at again.
        while let Some((phase, _, id)) = self.waiting(now).filter(|(_, age, _)| age.0 >= EVICTION_AGE).min() {
            if self.evict(id, phase, now) {
                options.connections.evicted.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        let longest = self.waiting(now).map(|(_, age, _)| age.0).max().unwrap_or_default();
        self.nobody_until = Some(now + EVICTION_AGE.saturating_sub(longest));
        false
    }

    /// The connections that wait for their clients, in an order of who is to go first.
    fn waiting(&self, now: Instant) -> impl Iterator<Item = (Phase, Reverse<Duration>, u64)> {
        self.open.iter().filter_map(move |(id, slot)| match slot.phase(now) {
            (phase @ (Phase::Waiting | Phase::Receiving | Phase::Sending), age) => {
                Some((phase, Reverse(age), *id))
            }
            (Phase::Working | Phase::Evicted, _) => None,
        })
    }

    fn evict(&mut self, id: u64, phase: Phase, now: Instant) -> bool {
        let evicted = self.open.get(&id).is_some_and(|slot| slot.evict(phase, now).is_ok());
        if evicted {
            // Its thread ends in a moment; the newcomer need not wait for it.
            self.open.remove(&id);
        }
        evicted
    }
}

/// A connection that is being served; dropping it makes its room free.
struct Open<'a> {
    pool: &'a Pool,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.open.remove(&self.id);
        self.pool.report(&state);
    }
}

/// A thread that serves connections; counted until it ends, even if by a panic of the engine.
struct Thread {
    pool: Arc<Pool>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.threads -= 1;
        self.pool.report(&state);
        self.pool.ended.notify_all();
    }
}
