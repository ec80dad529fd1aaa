//! Looks now and then whether the database file of a service is still the file that its path names.
//!
//! Each commit and each health report look too. This thread is for a service that nobody asks: the log
//! tells of a database that was removed or replaced within half a second, and tells it once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::service::process::StartError;

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct FileWatch {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    /// Starts it. `check` says what is wrong with the file.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub(super) fn start(
        check: impl FnMut() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, StartError> {
        let (stop, stopped) = sync_channel(0);
        let thread = Builder::new().name("file-watch".into()).spawn(move || watch(&stopped, check))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread was reported on stderr.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn watch(stopped: &Receiver<()>, mut check: impl FnMut() -> Result<(), String>) {
    let mut is_displaced = false;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
        match check() {
            Err(what) if !is_displaced => log::error!("the database needs attention: {what}"),
            Ok(()) if is_displaced => log::info!("the database is in order again"),
            Ok(()) | Err(_) => continue,
        }
        is_displaced = !is_displaced;
    }
}
