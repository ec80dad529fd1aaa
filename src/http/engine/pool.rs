//! The pool: open connections, and the threads that serve them.
//!
//! A connection goes to an idle thread or to a new thread. An idle thread stays for a while, so that
//! short connections do not pay for a thread each.
//!
//! **Invariant:** at most [`Options::max_connections`] connections are served at once, each by one
//! thread, regardless of the clients; only threads that end a connection come on top. Eviction ends
//! connections that wait for their client (for a request, the rest of a request, progress of a response);
//! a running handler is never evicted.
//!
//! Read next: `slot.rs`, then `connection.rs`.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{Thread, ThreadId};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::options::Options;
use super::service::Service;
use super::slot::{Phase, Slot};
use super::thread;
use crate::lock::{lock, wait_while};

/// Time that an idle thread stays: longer than the pauses within a burst of short connections.
const THREAD_IDLE: Duration = Duration::from_secs(10);
/// Minimum wait for a client before a connection may be evicted: an active client keeps the
/// connection, however many new connections arrive.
const EVICTION_AGE: Duration = Duration::from_secs(1);
/// Time that a stop waits for threads after the sockets were cut: a cut ends a read or write at once.
const AFTER_CUT: Duration = Duration::from_millis(200);

/// The connections and the threads that serve them.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) options: Options,
    pub(super) stopping: AtomicBool,
    epoch: Instant,
    state: Mutex<State>,
    /// Notified when a thread has ended.
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<u64, Arc<Slot>>,
    last_id: u64,
    /// Connections that wait for a thread; each has a thread under way.
    pending: VecDeque<(u64, Arc<Slot>)>,
    /// Threads without a connection, the most recent at the end.
    idle: Vec<(ThreadId, Thread)>,
    threads: usize,
    /// Before this moment, no connection can have waited for [`EVICTION_AGE`].
    no_eviction_before: Option<Instant>,
}

impl Pool {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            stopping: AtomicBool::new(false),
            epoch: Instant::now(),
            state: Mutex::default(),
            ended: Condvar::new(),
        }
    }

    /// Gives the connection a thread, or returns the connection when the pool is full.
    pub(super) fn serve(
        self: &Arc<Self>,
        stream: TcpStream,
        service: &Arc<Service>,
    ) -> Result<(), TcpStream> {
        let mut state = lock(&self.state);
        if state.open.len() >= self.options.max_connections && !state.evict_longest_waiting(&self.options) {
            return Err(stream);
        }
        let slot = Arc::new(Slot::new(stream, self.epoch));
        state.last_id += 1;
        let id = state.last_id;
        // The thread that became idle last is woken first, so surplus threads idle out.
        if let Some((_, thread)) = state.idle.pop() {
            // The woken thread blocks on the lock until the connection is in `pending`.
            thread.unpark();
        } else if let Err(error) = self.spawn(service) {
            log::warn!("cannot start a thread for a connection, answering 503: {error}");
            // The slot has a single owner here: the socket comes back for the 503.
            return Arc::into_inner(slot).map_or(Ok(()), |slot| Err(slot.into_stream()));
        } else {
            // Counted after the spawn: the new thread cannot count itself out without the lock held here.
            state.threads += 1;
        }
        state.pending.push_back((id, Arc::clone(&slot)));
        state.open.insert(id, slot);
        self.report(&state);
        Ok(())
    }

    fn spawn(self: &Arc<Self>, service: &Arc<Service>) -> io::Result<()> {
        let (pool, service) = (Arc::clone(self), Arc::clone(service));
        thread::builder("http").spawn(move || {
            // Drop order: the service goes before the thread is counted out, so that after a stop no
            // thread holds the service.
            let counted = CountedThread { pool };
            let service = service;
            counted.pool.work(&*service);
            drop(service);
        })?;
        Ok(())
    }

    /// Serves one connection after another until the thread has idled out.
    fn work(&self, service: &Service) {
        while let Some((id, slot)) = self.next_connection() {
            let _open = Open { pool: self, id };
            Connection::serve(&slot, &self.options, service, &self.stopping);
        }
    }

    fn next_connection(&self) -> Option<(u64, Arc<Slot>)> {
        let deadline = Instant::now() + THREAD_IDLE;
        let this = std::thread::current();
        let mut state = lock(&self.state);
        loop {
            if let Some(next) = state.pending.pop_front() {
                return Some(next);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stopping.load(Ordering::SeqCst) {
                return None;
            }
            state.idle.push((this.id(), this.clone()));
            // Parked without the lock. An unpark between here and the park is not lost: the park
            // returns at once. A condition variable could not choose the most recent thread.
            drop(state);
            std::thread::park_timeout(left);
            state = lock(&self.state);
            // A thread woken for a connection was already removed; a thread that timed out removes itself.
            state.idle.retain(|(id, _)| *id != this.id());
        }
    }

    /// Ends all connections, at `deadline` also those in flight, and waits for their threads.
    pub(super) fn close(&self, deadline: Instant) {
        let mut state = lock(&self.state);
        state.open.values().for_each(|slot| slot.close_if_waiting());
        // An idle thread would sleep on for the rest of `THREAD_IDLE`.
        state.idle.iter().for_each(|(_, thread)| thread.unpark());
        state = self.wait_for_threads(state, deadline);
        if state.threads > 0 {
            // Past the deadline, reads and writes end at once, and only running handlers remain.
            state.open.values().for_each(|slot| slot.cut());
            state = self.wait_for_threads(state, Instant::now() + AFTER_CUT);
        }
        if state.threads > 0 {
            // A handler is never interrupted: std has no safe way to end a thread.
            log::warn!("{} requests did not end in time and are abandoned", state.threads);
        }
    }

    fn wait_for_threads<'a>(&self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        wait_while(&self.ended, state, left, |state| state.threads > 0)
    }

    /// Evicts the connection that has waited longest, to free a descriptor.
    pub(super) fn evict_longest_waiting(&self) {
        lock(&self.state).evict_longest_waiting(&self.options);
    }

    /// Publishes the counts for the metrics.
    fn report(&self, state: &State) {
        let connections = &self.options.connections;
        connections.open.store(state.open.len(), Ordering::Relaxed);
        connections.threads.store(state.threads, Ordering::Relaxed);
    }
}

impl State {
    /// Evicts the connection that has waited longest for its client; returns whether one was evicted.
    /// Connections between two requests go first: their clients lose a handshake and no work.
    fn evict_longest_waiting(&mut self, options: &Options) -> bool {
        let now = Instant::now();
        // The search visits all connections. After a vain search, the next search waits until a
        // connection can be old enough: thousands of refusals per second must stay cheap.
        if self.no_eviction_before.is_some_and(|until| now < until) {
            return false;
        }
        // A failed eviction means a connection that has moved on; the next pass sees a wait of zero.
        while let Some((phase, _, id)) = self.waiting(now).filter(|(_, age, _)| age.0 >= EVICTION_AGE).min() {
            if self.evict(id, phase, now) {
                options.connections.evicted.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        let longest = self.waiting(now).map(|(_, age, _)| age.0).max().unwrap_or_default();
        self.no_eviction_before = Some(now + EVICTION_AGE.saturating_sub(longest));
        false
    }

    /// Returns the connections that wait for their clients; the minimum is the first to evict.
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
            // The evicted connection's thread ends in a moment; the new connection does not wait for the end.
            self.open.remove(&id);
        }
        evicted
    }
}

/// A connection that is being served; dropping this guard frees the connection's place.
struct Open<'a> {
    pool: &'a Pool,
    id: u64,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        // After an eviction the entry is gone already.
        state.open.remove(&self.id);
        self.pool.report(&state);
    }
}

/// A thread of the pool, counted until the thread ends, also after a panic of the engine.
struct CountedThread {
    pool: Arc<Pool>,
}

impl Drop for CountedThread {
    fn drop(&mut self) {
        let mut state = lock(&self.pool.state);
        state.threads -= 1;
        self.pool.report(&state);
        self.pool.ended.notify_all();
    }
}
