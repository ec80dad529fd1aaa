//! What other threads see of a connection, and how they end it.
//!
//! **Invariant:** a connection whose handler runs is never ended to make room: it leaves the
//! phases in which it may be by one atomic step, and so does who ends it.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a connection is doing. Of those that wait for their clients, the first have least to lose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Waiting for a request to start.
    Waiting = 0,
    /// A part of a request has arrived.
    Receiving = 1,
    /// A handler runs.
    Working = 2,
    /// A response is on its way.
    Sending = 3,
    /// Told to end, to make room.
    Evicted = 4,
}

impl Phase {
    const ALL: [Self; 5] = [Self::Waiting, Self::Receiving, Self::Working, Self::Sending, Self::Evicted];
}

/// What other threads see of a connection: its socket, to shut it down, and since when it has
/// been doing what.
#[derive(Debug)]
pub(super) struct Slot {
    stream: TcpStream,
    /// Milliseconds since `epoch`, times 8, plus the phase: one word, so that both change at once.
    phase_since: AtomicU64,
    pub(super) epoch: Instant,
}

impl Slot {
    pub(super) fn new(stream: TcpStream, epoch: Instant) -> Self {
        let slot = Self { stream, phase_since: AtomicU64::new(0), epoch };
        slot.enter(Phase::Waiting, Instant::now());
        slot
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Changes the phase, and returns the one before.
    pub(super) fn enter(&self, phase: Phase, now: Instant) -> Phase {
        phase_of(self.phase_since.swap(self.word(phase, now), Ordering::SeqCst))
    }

    fn word(&self, phase: Phase, now: Instant) -> u64 {
        let millis = now.saturating_duration_since(self.epoch).as_millis();
        u64::try_from(millis).unwrap_or(u64::MAX) << 3 | phase as u64
    }

    /// The phase, and how long it has lasted.
    pub(super) fn phase(&self, now: Instant) -> (Phase, Duration) {
        let word = self.phase_since.load(Ordering::SeqCst);
        let since = self.epoch + Duration::from_millis(word >> 3);
        (phase_of(word), now.saturating_duration_since(since))
    }

    /// Ends the connection, unless it has gone on from `phase`. Its thread notices at once.
    pub(super) fn evict(&self, phase: Phase, now: Instant) -> Result<(), ()> {
        let word = self.phase_since.load(Ordering::SeqCst);
        if phase_of(word) != phase {
            return Err(());
        }
        let evicted = self.word(Phase::Evicted, now);
        self.phase_since
            .compare_exchange(word, evicted, Ordering::SeqCst, Ordering::SeqCst)
            .map_err(|_| ())?;
        self.cut();
        Ok(())
    }

    /// Ends the connection when it waits for a request. One that has arrived is still answered:
    /// the shutdown leaves what was received readable.
    pub(super) fn close_if_waiting(&self) {
        if phase_of(self.phase_since.load(Ordering::SeqCst)) == Phase::Waiting {
            let _ = self.stream.shutdown(Shutdown::Read);
        }
    }

    /// Ends the connection, whatever it is doing.
    pub(super) fn cut(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

fn phase_of(word: u64) -> Phase {
    let number = usize::try_from(word & 7).unwrap_or_default();
    Phase::ALL.get(number).copied().unwrap_or(Phase::Evicted)
}
