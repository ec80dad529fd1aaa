//! The end of a process: an orderly stop on the first SIGTERM or SIGINT, at once on the second.
//!
//! A task that serves nobody (`--verify`, `--backup`) ends at the first signal, see
//! [`Shutdown::end_at_once`].
//!
//! **Invariant:** the end comes. A stop that takes longer than [`STOP_LIMIT`] is cut short, and a
//! second signal never waits for anything.

use std::cell::Cell;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// The longest that an orderly stop may take: ten seconds for requests in flight, five for
/// deregistering from a registry that does not answer, and some for closing the database.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Exit status when a stop was cut short by [`STOP_LIMIT`].
const EXIT_CUT_SHORT: i32 = 1;

/// By convention the exit status after death by a signal is this and its number: 130 after SIGINT, 143
/// after SIGTERM. So ends a service at the second signal, and a task at the first.
const EXIT_SIGNAL_BASE: i32 = 128;

/// The wish that this process ends.
#[derive(Debug)]
pub struct Shutdown {
    signals: Receiver<i32>,
    /// A signal that [`Shutdown::is_wished`] has seen.
    seen: Cell<Option<i32>>,
}

/// Watches for SIGTERM and SIGINT from now on. Call it before saying that the service is ready,
/// so that no signal is missed, and once in a process.
///
/// # Errors
/// When the system does not take the signal handlers or has no thread left.
pub fn on_signal() -> io::Result<Shutdown> {
    // A file that may not grow any further is an error of the write that hits the limit; unless the
    // signal is caught, it ends the process.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ])?;
    let (sender, receiver) = sync_channel(1);
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut received = signals.forever().filter(|signal| *signal != SIGXFSZ);
        if let Some(signal) = received.next() {
            // The receiver waits for this one, or the process is at its end anyway.
            let _ = sender.send(signal);
        }
        if let Some(signal) = received.next() {
            std::process::exit(EXIT_SIGNAL_BASE + signal);
        }
    })?;
    Ok(Shutdown { signals: receiver, seen: Cell::new(None) })
}

impl Shutdown {
    /// Whether the first signal has come, for what takes long before [`Shutdown::wait`].
    pub fn is_wished(&self) -> bool {
        if self.seen.get().is_none() {
            self.seen.set(self.signals.try_recv().ok());
        }
        self.seen.get().is_some()
    }

    /// Ends the process at the first signal from now on, after `clean_up`: for a task whose half is worth
    /// nothing. The exit status is 130 after SIGINT, 143 after SIGTERM.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn end_at_once(self, clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let Self { signals, seen } = self;
        std::thread::Builder::new().name("end-at-once".to_owned()).spawn(move || {
            // The thread that watches for signals lives as long as the process.
            if let Some(signal) = seen.take().or_else(|| signals.recv().ok()) {
                clean_up();
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                log::warn!("ended by {name} before the task was done; what it had made so far is removed");
                std::process::exit(EXIT_SIGNAL_BASE + signal);
            }
        })?;
        Ok(())
    }

    /// Waits for the first signal. What the caller does from then on until it drops the returned
    /// [`Stop`] may take [`STOP_LIMIT`].
    pub fn wait(&self) -> Stop {
        match self.seen.take().map_or_else(|| self.signals.recv(), Ok) {
            Ok(SIGINT) => log::info!("stopping on SIGINT"),
            Ok(_) => log::info!("stopping on SIGTERM"),
            Err(_) => log::error!("stopping: the thread that watches for signals has ended"),
        }
        Stop::within(STOP_LIMIT, || std::process::exit(EXIT_CUT_SHORT))
    }
}

/// An orderly stop that is going on; drop it when it is done.
#[derive(Debug)]
pub struct Stop {
    _done: SyncSender<()>,
}

impl Stop {
    fn within(limit: Duration, cut_short: impl FnOnce() + Send + 'static) -> Self {
        let (done, waiting) = sync_channel::<()>(1);
        let watchdog = std::thread::Builder::new().name("stop-limit".to_owned()).spawn(move || {
            if waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                log::error!("the stop took longer than {} s and is cut short", limit.as_secs());
                cut_short();
            }
        });
        if let Err(error) = watchdog {
            log::warn!("the stop has no time limit: {error}");
        }
        Self { _done: done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_takes_too_long_is_cut_short() {
        let (cut, is_cut) = sync_channel(1);
        let _stop = Stop::within(Duration::from_millis(1), move || cut.send(()).unwrap());
        assert_eq!(is_cut.recv_timeout(Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn a_stop_that_is_done_in_time_is_left_alone() {
        let (cut, is_cut) = sync_channel::<()>(1);
        drop(Stop::within(Duration::from_secs(3_600), move || cut.send(()).unwrap()));
        // The watchdog has ended without a word when the channel is closed.
        assert_eq!(is_cut.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
    }
}
