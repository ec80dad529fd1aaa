//! Checks periodically that the path of a database still names the opened file.
//!
//! Commits and health reports check as well. The thread serves an idle service: the log reports a removed or
//! replaced database within half a second.
//!
//! **Invariant:** a failure is logged once, and its end once.
//!
//! Read next: `service/write.rs`, which starts the thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::process::ExitError;

/// Pause between two checks, in milliseconds: short for a person, long for a disk.
const PAUSE: Duration = Duration::from_millis(500);

/// The checking thread; dropping the value ends the thread.
#[derive(Debug)]
pub(super) struct FileWatch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// Starts the thread. `check` returns the fault of the file as an error.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(super) fn start(
        check: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, ExitError> {
        // No value is ever sent: closing the channel is the signal to stop.
        let (stop, stopped) = sync_channel(0);
        let thread = Builder::new().name("file-watch".into()).spawn(move || watch(&stopped, check))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        // Closing the channel ends the pause of the thread.
        drop(self.stop.take());
        // The panic hook has logged a panic of the thread.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn watch(stopped: &Receiver<()>, mut check: impl FnMut() -> Result<(), String>) {
    let mut is_displaced = false;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
        match check() {
            Err(fault) if !is_displaced => log::error!("the database needs attention: {fault}"),
            Ok(()) if is_displaced => log::info!("the database is in order again"),
            // Unchanged since the last check.
            Ok(()) | Err(_) => continue,
        }
        is_displaced = !is_displaced;
    }
}
