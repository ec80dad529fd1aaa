//! The threads around the projector: two fetch pages and check them, one applies them.
//!
//! One fetching thread serves the front, and sits in the feed's long poll at the head of the log;
//! the other serves what is behind, so that a rebuild neither waits for the poll nor ends it. Each
//! reads the next page ahead while the one before is applied, so a replay costs the slower of the
//! two, not their sum. All pages come through one inbox, and with them rebuilds and the stop.
//!
//! **Invariant:** each fetching thread is asked for one page at most, and reads one more ahead:
//! memory is bounded by the size of a few pages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::es::Feed;
use crate::es::MAX_PAGE;
use crate::es::projection::checked_page::CheckedPage;
use crate::es::projection::event::{CatchUpError, Notice};
use crate::es::projection::pace::{Demand, Pace};
use crate::es::projection::projector::{Projector, Purpose, Request};
use crate::es::projection::status::{ProjectionStatus, Published, RebuildRefused};
use crate::watch::Watch;

/// The first pause after a failure, and the longest. Short, because a look at a feed that is
/// away costs next to nothing, and a service that comes back should be followed at once.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Two pages, the stop, the word that somebody asks, and a rebuild of each projection that can be
/// claimed: never full with a dozen projections. Where it is full, who sends a page, a rebuild or the
/// stop waits until the applying thread has taken one; that somebody asks need not be said then.
const INBOX: usize = 16;

/// The longest poll: two requests a second cost the feed next to nothing.
const LONGEST_POLL: Duration = Duration::from_millis(500);

/// How long a caller waits until its rebuild is given up: far longer than a commit takes.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// So few events are not worth a page that is read ahead.
const FEW: u64 = 500;

/// So long an open transaction waits for its next page.
const LONGEST_OPEN: Duration = Duration::from_millis(20);

enum Message {
    Page(Place, Request, Result<CheckedPage, NoPage>),
    Rebuild(usize),
    /// A rebuild is not wanted any more; the answer says that it is gone.
    Cancel(usize, SyncSender<()>),
    /// Somebody asks: the rest is over.
    Asked,
    Stop,
}

/// Where in the log a fetching thread reads.
#[derive(Clone, Copy, Debug)]
enum Place {
    Front,
    Behind,
}

/// A projector that follows its feed on threads of its own.
#[derive(Debug)]
pub struct RunningProjector {
    published: Arc<Published>,
    demand: Arc<Demand>,
    inbox: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Projector {
    /// Follows `feed` until stopped, looking at it again after `poll` or half a second, whichever is
    /// sooner; no rest is longer than `poll` either. A clone of the feed serves what is behind.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        self,
        feed: impl Feed + Clone + 'static,
        poll: Duration,
    ) -> std::io::Result<RunningProjector> {
        let (inbox, messages) = sync_channel(INBOX);
        let published = Arc::clone(&self.published);
        let front = Fetcher::start("feed", Place::Front, feed.clone(), inbox.clone())?;
        let behind = Fetcher::start("replay", Place::Behind, feed, inbox.clone())?;
        let pace = Pace::with_rests_of(self.rest.min(poll));
        let demand = Arc::clone(pace.demand());
        let thread = thread::Builder::new().name("projector".into()).spawn(move || {
            let published = Arc::clone(&self.published);
            let follower = Follower {
                projector: self,
                front,
                behind,
                poll: poll.min(LONGEST_POLL),
                pace,
                pause: FIRST_PAUSE,
                resume_at: None,
            };
            if catch_unwind(AssertUnwindSafe(|| follower.follow(&messages))).is_err() {
                published.feed_is_unsound("the projector has panicked; restart the service".into());
            }
        })?;
        Ok(RunningProjector { published, demand, inbox, thread: Mutex::new(Some(thread)) })
    }
}

impl RunningProjector {
    /// How each projection stands, in the order of the definitions.
    pub fn status(&self) -> Vec<ProjectionStatus> {
        self.published.statuses()
    }

    /// The position of that projection's rows, to wait on: a query that begins after it was
    /// raised sees rows that are at least as new.
    pub fn watch(&self, projection: &str) -> Option<&Arc<Watch>> {
        self.published.watch(projection)
    }

    /// Says that the rows are about to be read: a projector that rests goes on at once. Of use only
    /// with [`Projector::with_rests_of`].
    pub fn hurry(&self) {
        if self.demand.rises() {
            self.wake();
        }
    }

    /// Does `wait`, and says for as long that somebody waits for rows: there is no rest meanwhile.
    pub fn hurry_while<T>(&self, wait: impl FnOnce() -> T) -> T {
        let waits = self.demand.lasts();
        if waits.wakes {
            self.wake();
        }
        wait()
    }

    fn wake(&self) {
        // A full inbox wakes it as well.
        drop(self.inbox.try_send(Message::Asked));
    }

    /// Begins to rebuild a projection from the first event, beside its live rows, which go on
    /// answering and following until they are replaced.
    ///
    /// # Errors
    /// See [`RebuildRefused`].
    pub fn rebuild(&self, projection: &str) -> Result<(), RebuildRefused> {
        let index = self.published.claim_rebuild(projection)?;
        self.inbox.send(Message::Rebuild(index)).map_err(|_| RebuildRefused::Stopped)
    }

    /// Gives the rebuild of a projection up, and returns when its rows are gone or will be at the next commit.
    ///
    /// # Errors
    /// [`RebuildRefused::NotRunning`] when none is running; else see [`RebuildRefused`].
    pub fn cancel_rebuild(&self, projection: &str) -> Result<(), RebuildRefused> {
        if self.published.watch(projection).is_none() {
            return Err(RebuildRefused::UnknownProjection);
        }
        let index = self.published.rebuilding(projection).ok_or(RebuildRefused::NotRunning)?;
        let (done, cancelled) = sync_channel(1);
        self.inbox.send(Message::Cancel(index, done)).map_err(|_| RebuildRefused::Stopped)?;
        cancelled.recv_timeout(CANCEL_TIMEOUT).map_err(|_| RebuildRefused::Stopped)
    }

    /// Whether the rows of that projection are being made for the first time, and do not answer yet.
    pub fn is_filling(&self, projection: &str) -> bool {
        self.published.is_filling(projection)
    }

    /// Ends all waits for positions, now and later. It goes on following.
    pub fn end_waits(&self) {
        self.published.close();
    }

    /// Ends all waits for positions, stops after the transaction that is under way, and waits for
    /// that. The fetching threads end by themselves when their feed has answered.
    pub fn stop(&self) {
        self.end_waits();
        // An error means that it has stopped.
        drop(self.inbox.send(Message::Stop));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread was reported on stderr.
        drop(thread.map(JoinHandle::join));
    }
}

impl Drop for RunningProjector {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The applying thread.
struct Follower {
    projector: Projector,
    front: Fetcher,
    behind: Fetcher,
    poll: Duration,
    pace: Pace,
    pause: Duration,
    /// No page is asked for before then, because the last one failed.
    resume_at: Option<Instant>,
}

impl Follower {
    fn follow(mut self, messages: &Receiver<Message>) {
        loop {
            self.ask();
            match messages.recv_timeout(self.patience()) {
                Ok(Message::Page(place, request, page)) => {
                    match place {
                        Place::Front => self.front.is_asked = false,
                        Place::Behind => self.behind.is_asked = false,
                    }
                    self.take(place, &request, page);
                }
                Ok(Message::Rebuild(index)) => self.rebuild(index),
                Ok(Message::Cancel(index, done)) => {
                    self.cancel(index);
                    // A caller that has given up waiting is no error.
                    if done.send(()).is_err() {}
                }
                Ok(Message::Asked) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.commit(),
                Err(RecvTimeoutError::Timeout) => self.commit(),
            }
        }
    }

    fn ask(&mut self) {
        if self.resume_at.is_some_and(|at| at > Instant::now()) {
            return;
        }
        self.resume_at = None;
        let Self { projector, poll, .. } = &self;
        let (front, behind) = (projector.wanted_at_front(*poll), projector.wanted_behind());
        self.front.ask(front.filter(|_| self.pace.rests_for().is_none()));
        self.behind.ask(behind);
    }

    fn patience(&self) -> Duration {
        match self.resume_at {
            _ if self.projector.is_open() => LONGEST_OPEN,
            Some(at) => at.saturating_duration_since(Instant::now()),
            // Longer than any poll; what comes earlier wakes it.
            None => self.pace.rests_for().unwrap_or(Duration::from_secs(3600)),
        }
    }

    fn commit(&mut self) {
        if self.projector.is_open() {
            match self.projector.commit() {
                Ok(()) => self.pause = FIRST_PAUSE,
                Err(error) => self.pause(NoPage::Refused(error)),
            }
        }
    }

    fn take(&mut self, place: Place, request: &Request, page: Result<CheckedPage, NoPage>) {
        // A failure counts all the same: whatever was asked for, the feed may be another one now.
        if page.is_ok() && !self.projector.is_of_use(request) {
            return;
        }
        let taken = page.and_then(|page| {
            let is_near_the_end = next_of(request, &page).is_none();
            if let (Place::Front, Purpose::Follow, true) = (place, request.purpose, is_near_the_end) {
                self.pace.rest_after(page.len());
            }
            self.projector.take(request, &page).map_err(NoPage::Refused)
        });
        match taken {
            // No progress yet: what comes next may be refused, and must then be asked for less often.
            Ok(()) if matches!(request.purpose, Purpose::Proof(_)) || self.projector.is_open() => {}
            Ok(()) => self.pause = FIRST_PAUSE,
            Err(why) => self.pause(why),
        }
    }

    fn pause(&mut self, why: NoPage) {
        self.projector.doubt();
        match why {
            NoPage::Away => {}
            NoPage::Refused(error) => {
                match error {
                    CatchUpError::Feed(_) => (self.projector.notice)(Notice::PageRefused),
                    CatchUpError::Database(_) => {}
                }
                let error = error.to_string();
                if self.projector.published.feed_is_unsound(error.clone()) {
                    (self.projector.notice)(Notice::FeedFails(error));
                }
            }
        }
        self.resume_at = Some(Instant::now() + jittered(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn cancel(&mut self, index: usize) {
        if let Err(error) = self.projector.cancel_rebuild(index) {
            self.pause(NoPage::Refused(error));
        }
    }

    fn rebuild(&mut self, index: usize) {
        if let Err(error) = self.projector.begin_rebuild(index) {
            (self.projector.notice)(Notice::FeedFails(format!("a rebuild could not begin: {error}")));
        }
    }
}

/// Why there is no page.
enum NoPage {
    /// The feed is away. Rows that are merely old still answer, and say how old they are.
    Away,
    /// What it says must not be applied, or cannot be now.
    Refused(CatchUpError),
}

/// A fetching thread, as the applying one sees it.
struct Fetcher {
    requests: SyncSender<Request>,
    is_asked: bool,
}

impl Fetcher {
    fn start(
        name: &str,
        place: Place,
        feed: impl Feed + 'static,
        answers: SyncSender<Message>,
    ) -> std::io::Result<Self> {
        let (requests, asked) = sync_channel(1);
        thread::Builder::new().name(name.into()).spawn(move || fetch(feed, place, &asked, &answers))?;
        Ok(Self { requests, is_asked: false })
    }

    fn ask(&mut self, request: Option<Request>) {
        if let Some(request) = request.filter(|_| !self.is_asked) {
            self.is_asked = self.requests.send(request).is_ok();
        }
    }
}

fn fetch(mut feed: impl Feed, place: Place, requests: &Receiver<Request>, answers: &SyncSender<Message>) {
    let mut ahead: Option<Result<(u64, CheckedPage), NoPage>> = None;
    while let Ok(request) = requests.recv() {
        let page = match ahead.take() {
            Some(Ok((after, page))) if after == request.after && request.purpose == Purpose::Follow => {
                Ok(page)
            }
            // Whatever is asked for now: a feed may say only once that it has become another one.
            Some(Err(why)) => Err(why),
            Some(Ok(_)) | None => read(&mut feed, &request),
        };
        let next = page.as_ref().ok().and_then(|page| next_of(&request, page));
        if answers.send(Message::Page(place, request, page)).is_err() {
            return;
        }
        ahead = next.map(|next| read(&mut feed, &next).map(|page| (next.after, page)));
        // An empty page is worth nothing later.
        ahead = ahead.filter(|ahead| !matches!(ahead, Ok((_, page)) if page.len() == 0));
    }
}

fn read(feed: &mut impl Feed, request: &Request) -> Result<CheckedPage, NoPage> {
    // Somebody else wrote the feed. If its thread ended, nobody would be told that no page comes any more.
    let asked = Instant::now();
    let page = catch_unwind(AssertUnwindSafe(|| feed.page(request.after, request.limit, request.wait)));
    let page = page.map_err(|_| NoPage::Refused(CatchUpError::Feed("the feed has panicked".into())))?;
    let page = page.map_err(|_| NoPage::Away)?;
    CheckedPage::read(page, asked).map_err(|error| NoPage::Refused(CatchUpError::Feed(error.to_string())))
}

/// What is probably wanted after a page that reached neither the end of what was asked for nor,
/// but for a few events, that of the log: those few are taken with the ones that come next.
fn next_of(request: &Request, page: &CheckedPage) -> Option<Request> {
    let after = page.last_position().filter(|last| page.head.saturating_sub(*last) >= FEW)?;
    let is_short = request.limit < MAX_PAGE || request.purpose == Purpose::Head;
    (!is_short).then_some(Request { after, limit: MAX_PAGE, wait: Duration::ZERO, purpose: Purpose::Follow })
}

/// Half to all of `pause`, so that many followers of one feed do not come back in step.
fn jittered(pause: Duration) -> Duration {
    crate::jitter::shortened(pause, 0.5)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use rusqlite::Connection;

    use super::*;
    use crate::es::projection::projector::tests::{definitions, log_of};
    use crate::es::tests::{LogFeed, TempPath};

    /// What a projector says, up to its first failure.
    fn notices(path: &TempPath, feed: LogFeed) -> Vec<Notice> {
        let (notices, said) = channel();
        let projector = Projector::open(path, &definitions()).unwrap();
        let projector = projector.with_notice(move |notice| drop(notices.send(notice)));
        let _running = projector.start(feed, Duration::from_millis(20)).unwrap();
        let mut all = Vec::new();
        while !matches!(all.last(), Some(Notice::FeedFails(_))) {
            all.push(said.recv_timeout(Duration::from_secs(20)).unwrap());
        }
        all
    }

    #[test]
    fn a_database_that_fails_is_not_held_against_the_feed_and_a_gap_is() {
        let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
        drop(Projector::open(&path, &definitions()).unwrap());
        let full = "CREATE TRIGGER full BEFORE UPDATE ON checkpoints BEGIN SELECT RAISE(ABORT, 'full'); END";
        Connection::open(&*path).unwrap().execute_batch(full).unwrap();
        let said = notices(&path, feed.clone());
        assert!(!said.contains(&Notice::PageRefused), "{said:?}");
        feed.log.lock().unwrap().events.remove(1);
        let said = notices(&path, feed);
        assert!(said.contains(&Notice::PageRefused), "{said:?}");
    }
}
