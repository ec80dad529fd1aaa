//! The handle of a running projector, for queries and operators: state, waits, rebuilds, pause, stop.
//!
//! Everything that changes tables is a message to the applying thread, in one inbox with the pages. So an
//! order takes effect between two transactions, and the order of arrival decides.
//!
//! **Invariant:** every wait has a limit, and ends when the projector stops.
//!
//! Read next: `follower.rs`, which receives the messages.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::checked_page::{CheckedPage, PageRequest};
use super::feed::MAX_LOG_WAIT;
use super::projector_event::CatchUpError;
use super::refusal::{PauseError, RebuildError, RebuildRefused};
use super::status::{ProjectionStatus, RebuildOutcome, StatusBoard};
use crate::lock::{exclusive, lock};
use crate::watch::Watch;

/// How long a caller waits for the applying thread to follow an order: far longer than a commit takes.
const ORDER_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause between two attempts to put an order into a full inbox, in milliseconds: a page takes as long.
const FULL_INBOX_PAUSE: Duration = Duration::from_millis(2);

/// How long a drop waits for the fetching threads: three times as long as an event log in this process waits.
/// The thread of a feed over the network ends when the feed has answered.
const DROP_PATIENCE: Duration = MAX_LOG_WAIT.saturating_mul(3);

/// A message to the applying thread.
pub(super) enum Message {
    Page(Lane, PageRequest, Result<CheckedPage, CatchUpError>),
    Rebuild(usize),
    Cancel(usize),
    /// Answered when no event is applied any more. An order whose caller waits no longer has no effect.
    Pause(SyncSender<()>),
    /// Answered when events are applied again.
    Resume(SyncSender<()>),
    Stop,
}

/// Why a message did not reach the applying thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undelivered {
    Busy,
    Stopped,
}

impl From<Undelivered> for RebuildRefused {
    fn from(undelivered: Undelivered) -> Self {
        match undelivered {
            Undelivered::Busy => Self::Busy,
            Undelivered::Stopped => Self::Stopped,
        }
    }
}

/// The place in the log at which a fetching thread reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    Live,
    Backfill,
}

/// A projector with threads, following a feed.
#[derive(Debug)]
pub struct RunningProjector {
    pub(super) board: Arc<StatusBoard>,
    pub(super) inbox: SyncSender<Message>,
    pub(super) thread: Mutex<Option<JoinHandle<()>>>,
    /// Closed when both fetching threads have ended.
    pub(super) fetching: Mutex<Receiver<()>>,
}

impl RunningProjector {
    /// Returns the status of each projection, in the order of the definitions.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.board.statuses()
    }

    /// Waits for `position` in the projection's rows, for `patience` at most, and returns the
    /// position reached. Unlike a wait on [`RunningProjector::watch`], ends the pause in which the
    /// projector collects the events of a fast stream.
    pub fn wait_for(&self, projection: &str, position: u64, patience: Duration) -> Option<u64> {
        let watch = self.watch(projection)?;
        let _waiting = self.board.demand.begin_wait();
        Some(watch.wait_for(position, patience))
    }

    /// Returns the position of the projection's rows, to wait on: a query sees rows at least as new as a
    /// position raised before the query.
    pub fn watch(&self, projection: &str) -> Option<&Arc<Watch>> {
        self.board.watch(projection)
    }

    /// Begins to rebuild a projection from the first event, beside its live rows, which keep
    /// answering and following until the new rows replace them.
    ///
    /// # Errors
    /// See [`RebuildRefused`].
    pub fn rebuild(&self, projection: &str) -> Result<(), RebuildRefused> {
        self.claim_rebuild(projection).map(drop)
    }

    fn claim_rebuild(&self, projection: &str) -> Result<(usize, u64), RebuildRefused> {
        let claim = self.board.claim_rebuild(projection)?;
        // Without the message no rebuild runs, so the next request must find none.
        self.deliver(Message::Rebuild(claim.0)).inspect_err(|_| self.board.release_claim(claim.0))?;
        Ok(claim)
    }

    /// Rebuilds a projection as [`RunningProjector::rebuild`] does, and waits for `patience` at most until
    /// the new rows have replaced the live ones. While paused, the rebuild waits for the resume.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub fn rebuild_and_wait(&self, projection: &str, patience: Duration) -> Result<(), RebuildError> {
        let claim = self.claim_rebuild(projection)?;
        match self.board.wait_for_rebuild(claim, patience)? {
            RebuildOutcome::SwappedIn => Ok(()),
            RebuildOutcome::Cancelled => Err(RebuildError::GivenUp("the rebuild was cancelled".into())),
            RebuildOutcome::Failed(error) => Err(RebuildError::GivenUp(error)),
        }
    }

    /// Cancels the rebuild of a projection. The new rows are dropped, at the next commit at the latest.
    ///
    /// # Errors
    /// [`RebuildRefused::NotRunning`] when no rebuild is running; else see [`RebuildError`].
    pub fn cancel_rebuild(&self, projection: &str) -> Result<(), RebuildError> {
        let running = self.board.rebuilding(projection)?;
        self.deliver(Message::Cancel(running.0)).map_err(RebuildRefused::from)?;
        self.board.wait_for_rebuild(running, ORDER_TIMEOUT).map(drop)
    }

    /// Pauses: after the return, no event is applied until [`RunningProjector::resume`]; pages in flight are
    /// thrown away. Rows keep answering, and a rebuild pauses, too. The projector goes on learning the head,
    /// so the lag shows. Does nothing when paused already. A restart ends the pause.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub fn pause(&self) -> Result<(), PauseError> {
        self.order(Message::Pause)
    }

    /// Resumes following at the checkpoint. Does nothing without a pause.
    ///
    /// # Errors
    /// See [`PauseError`].
    pub fn resume(&self) -> Result<(), PauseError> {
        self.order(Message::Resume)
    }

    /// Returns whether following is paused.
    pub fn is_paused(&self) -> bool {
        self.board.is_paused()
    }

    fn order(&self, message: impl FnOnce(SyncSender<()>) -> Message) -> Result<(), PauseError> {
        let (followed, answer) = sync_channel(1);
        self.deliver(message(followed)).map_err(|error| match error {
            Undelivered::Busy => PauseError::TimedOut,
            Undelivered::Stopped => PauseError::Stopped,
        })?;
        answer.recv_timeout(ORDER_TIMEOUT).map_err(|error| match error {
            RecvTimeoutError::Timeout => PauseError::TimedOut,
            RecvTimeoutError::Disconnected => PauseError::Stopped,
        })
    }

    /// Puts a message into the inbox, which pages may fill for a moment.
    fn deliver(&self, mut message: Message) -> Result<(), Undelivered> {
        let deadline = Instant::now() + ORDER_TIMEOUT;
        loop {
            // Not `send`, which waits without a limit while the applying thread hangs in a write.
            message = match self.inbox.try_send(message) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(Undelivered::Stopped),
                Err(TrySendError::Full(_)) if Instant::now() >= deadline => return Err(Undelivered::Busy),
                Err(TrySendError::Full(undelivered)) => undelivered,
            };
            std::thread::sleep(FULL_INBOX_PAUSE);
        }
    }

    /// Returns whether the projection is filled for the first time, and does not answer yet.
    pub fn is_filling(&self, projection: &str) -> bool {
        self.board.is_filling(projection)
    }

    /// Ends all waits for positions and rebuilds, now and later. The projector goes on following.
    pub fn end_waits(&self) {
        self.board.close();
    }

    /// Ends all waits, stops after the transaction in progress, and closes the database. The fetching
    /// threads end when their feed has answered; a drop of this value waits three quarters of a second for them
    /// at most.
    pub fn stop(&self) {
        // First, or a query could wait for a position that is never reached.
        self.end_waits();
        // An error means: the thread has ended.
        drop(self.inbox.send(Message::Stop));
        let thread = lock(&self.thread).take();
        // A panic of the thread was reported on stderr.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for RunningProjector {
    fn drop(&mut self) {
        self.stop();
        let fetching = exclusive(&mut self.fetching);
        match fetching.recv_timeout(DROP_PATIENCE) {
            // No message is ever sent: both threads have ended, or the time is up.
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}
