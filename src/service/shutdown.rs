//! The end of a process: an orderly stop on the first SIGTERM or SIGINT, at once on the second.
//!
//! A task (`--verify`, `--backup`) ends at the first signal, see [`Shutdown::end_at_once`].
//!
//! **Invariant:** the process ends. A stop that takes longer than [`STOP_LIMIT`] is cut short, and a second
//! signal ends the process without waiting.
//!
//! Read next: `service/process.rs`.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;

/// Time limit of an orderly stop, in seconds: ten for requests in flight, nine for deregistering from an
/// unreachable registry, the rest for closing the database.
pub const STOP_LIMIT: Duration = Duration::from_secs(20);

/// Exit status when a stop was cut short by [`STOP_LIMIT`].
const EXIT_CUT_SHORT: i32 = 1;

/// The exit status after a signal is this number plus the number of the signal, by convention of the shells:
/// 130 after SIGINT, 143 after SIGTERM.
const EXIT_SIGNAL_BASE: i32 = 128;

/// The termination signals of this process.
#[derive(Debug)]
pub struct Shutdown {
    signals: Receiver<i32>,
}

/// Starts to watch for SIGTERM and SIGINT. Call once in a process, before the service reports that it is
/// ready, so that no signal is missed.
///
/// # Errors
/// When the system rejects the signal handlers or cannot start a thread.
pub fn on_signal() -> io::Result<Shutdown> {
    // SIGXFSZ is caught and ignored: a write beyond the file size limit then returns an error; uncaught, the
    // signal would end the process.
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ])?;
    let (sender, receiver) = sync_channel(1);
    // A thread may block, log and exit; a signal handler may not.
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut received = signals.forever().filter(|signal| *signal != SIGXFSZ);
        if let Some(signal) = received.next() {
            // Fails only after the receiver is gone, when the process ends anyway.
            let _ = sender.send(signal);
        }
        if let Some(signal) = received.next() {
            std::process::exit(EXIT_SIGNAL_BASE + signal);
        }
    })?;
    Ok(Shutdown { signals: receiver })
}

impl Shutdown {
    /// Ends the process at the first signal, after `clean_up`; for a task whose partial result is useless.
    /// The exit status is 130 after SIGINT, 143 after SIGTERM.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn end_at_once(self, clean_up: impl FnOnce() + Send + 'static) -> io::Result<()> {
        // On another thread: the task itself never checks for signals.
        std::thread::Builder::new().name("end-at-once".to_owned()).spawn(move || {
            // `recv` cannot fail: the sending thread lives as long as the process.
            if let Ok(signal) = self.signals.recv() {
                clean_up();
                let name = if signal == SIGINT { "SIGINT" } else { "SIGTERM" };
                log::warn!("{name} ended the task before it was done; its partial result is removed");
                std::process::exit(EXIT_SIGNAL_BASE + signal);
            }
        })?;
        Ok(())
    }

    /// Waits for the first signal. From then on, the caller has [`STOP_LIMIT`] until it drops the returned
    /// [`Stop`].
    pub fn wait(&self) -> Stop {
        let cause = match self.signals.recv() {
            Ok(SIGINT) => "SIGINT",
            Ok(_) => "SIGTERM",
            Err(_) => {
                log::error!("the thread that watches for signals has ended");
                "the loss of that thread"
            }
        };
        log::info!("stopping on {cause}");
        Stop::within(STOP_LIMIT, cause, || std::process::exit(EXIT_CUT_SHORT))
    }
}

/// An orderly stop in progress; drop it at the end of the stop.
#[derive(Debug)]
pub struct Stop {
    cause: &'static str,
    begun: Instant,
    _done: SyncSender<()>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        log::info!("stopped on {} within {:.3} s", self.cause, self.begun.elapsed().as_secs_f64());
    }
}

impl Stop {
    fn within(limit: Duration, cause: &'static str, cut_short: impl FnOnce() + Send + 'static) -> Self {
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
        Self { cause, begun: Instant::now(), _done: done }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_that_takes_too_long_is_cut_short() {
        let (cut, is_cut) = sync_channel(1);
        let _stop = Stop::within(Duration::from_millis(1), "a test", move || cut.send(()).unwrap());
        assert_eq!(is_cut.recv_timeout(Duration::from_secs(30)), Ok(()));
    }

    #[test]
    fn a_stop_that_is_done_in_time_is_left_alone() {
        let (cut, is_cut) = sync_channel::<()>(1);
        drop(Stop::within(Duration::from_secs(3_600), "a test", move || cut.send(()).unwrap()));
        // The channel closes when the watchdog ends without cutting the stop short.
        assert_eq!(is_cut.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
    }
}
