//! A connection as other threads see the connection: the phase, and the ways to end the socket.
//!
//! **Invariant:** a connection with a running handler is never evicted. Both sides change the phase in
//! one atomic step: the connection's thread with a swap, the evicting thread with a compare-and-swap.
//!
//! Read next: `connection.rs`.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The activity of a connection. The order is the order of eviction: clients in an early phase lose least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Waiting for a request to start.
    Waiting = 0,
    /// Receiving the rest of a request.
    Receiving = 1,
    /// A handler runs.
    Working = 2,
    /// Sending a response.
    Sending = 3,
    /// Evicted to make room; the connection's thread ends.
    Evicted = 4,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Waiting, Self::Receiving, Self::Working, Self::Sending, Self::Evicted];
}

/// The socket of a connection, and the phase with its start.
#[derive(Debug)]
pub(super) struct Slot {
    stream: TcpStream,
    /// Start of the phase in milliseconds since `epoch`, times 8, plus the phase: both change in one step.
    phase_since: AtomicU64,
    pub(super) epoch: Instant,
}

impl Slot {
    pub(super) fn new(stream: TcpStream, epoch: Instant) -> Self {
        let slot = Self { stream, phase_since: AtomicU64::new(0), epoch };
        // The word 0 means a wait since `epoch`: without this call, a new connection would be evicted first.
        slot.enter(Phase::Waiting, Instant::now());
        slot
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Enters `phase`, and returns the previous phase.
    pub(super) fn enter(&self, phase: Phase, now: Instant) -> Phase {
        phase_of(self.phase_since.swap(self.word(phase, now), Ordering::SeqCst))
    }

    fn word(&self, phase: Phase, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX) << 3 | phase as u64
    }

    /// Returns the phase and its duration.
    pub(super) fn phase(&self, now: Instant) -> (Phase, Duration) {
        let word = self.phase_since.load(Ordering::SeqCst);
        let since = self.epoch + Duration::from_millis(word >> 3);
        (phase_of(word), now.saturating_duration_since(since))
    }

    /// Evicts the connection if the phase is still `phase`. The connection's thread notices at once.
    pub(super) fn evict(&self, phase: Phase, now: Instant) -> Result<(), ()> {
        let word = self.phase_since.load(Ordering::SeqCst);
        if phase_of(word) != phase {
            return Err(());
        }
        let evicted = self.word(Phase::Evicted, now);
        // Compares the whole word: a connection that left `phase` and came back has a new start.
        self.phase_since
            .compare_exchange(word, evicted, Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| ())?;
        // Wakes the thread from a blocked read or write; the next phase change returns `Evicted`.
        self.cut();
        Ok(())
    }

    /// Ends the connection in the phase [`Phase::Waiting`]. A request that has arrived is still answered:
    /// the shutdown leaves received bytes readable.
    pub(super) fn close_if_waiting(&self) {
        if phase_of(self.phase_since.load(Ordering::SeqCst)) == Phase::Waiting {
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection in any phase.
    pub(super) fn cut(&self) {
        // Fails only on a socket that has ended already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn phase_of(word: u64) -> Phase {
    let number = usize::try_from(word & 7).unwrap_or_default();
    // No word with the numbers 5 to 7 is ever written. `Evicted` ends the connection, the safe side.
    Phase::ALL.get(number).copied().unwrap_or(Phase::Evicted)
}
