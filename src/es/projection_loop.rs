//! The threads around the projector: one fetches pages and checks them, one applies them.
//!
//! The fetching thread reads the next page ahead while the one before is applied, so a replay
//! costs the slower of the two, not their sum. At the head of the log it sits in the feed's long
//! poll; rebuilds and the stop reach the applying thread meanwhile, since all its messages come
//! through one inbox.
//!
//! **Invariant:** at most one page is asked for, and one more is read ahead: memory is bounded by
//! the size of a few pages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::Feed;
use super::projection::MAX_PAGE;
use super::projection_notice::Notice;
use super::projection_page::CheckedPage;
use super::projection_status::{ProjectionStatus, Published, RebuildRefused};
use super::projector::{Projector, Purpose, Request};
use crate::watch::Watch;

/// The first pause after a failure, and the longest. Short, because a look at a feed that is
/// away costs next to nothing, and a service that comes back should be followed at once.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// One page, the stop, and a rebuild of each projection that can be claimed: never full with
/// fewer projections than this, and nobody but the fetching thread would notice.
const INBOX: usize = 16;

/// The longest poll. A rebuild that is asked for meanwhile waits for its end, since there is one
/// fetching thread; two requests a second cost the feed next to nothing.
const LONGEST_POLL: Duration = Duration::from_millis(500);

enum Message {
    Page(Request, Result<CheckedPage, NoPage>),
    Rebuild(usize),
    Stop,
}

/// A projector that follows its feed on threads of its own.
#[derive(Debug)]
pub struct RunningProjector {
    published: Arc<Published>,
    inbox: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Projector {
    /// Follows `feed` until stopped, looking at it again after `poll` or half a second, whichever is
    /// sooner.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(self, feed: impl Feed + 'static, poll: Duration) -> std::io::Result<RunningProjector> {
        let (inbox, messages) = sync_channel(INBOX);
        let (ask, requests) = sync_channel(1);
        let published = Arc::clone(&self.published);
        let answers = inbox.clone();
        thread::Builder::new().name("feed".into()).spawn(move || fetch(feed, &requests, &answers))?;
        let thread = thread::Builder::new().name("projector".into()).spawn(move || {
            let published = Arc::clone(&self.published);
            let follower = Follower {
                projector: self,
                ask,
                poll: poll.min(LONGEST_POLL),
                pause: FIRST_PAUSE,
                resume_at: None,
            };
            if catch_unwind(AssertUnwindSafe(|| follower.follow(&messages))).is_err() {
                published.feed_is_unsound("the projector has panicked; restart the service".into());
            }
        })?;
        Ok(RunningProjector { published, inbox, thread: Mutex::new(Some(thread)) })
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

    /// Begins to rebuild a projection from the first event, beside its live rows, which go on
    /// answering and following until they are replaced.
    ///
    /// # Errors
    /// See [`RebuildRefused`].
    pub fn rebuild(&self, projection: &str) -> Result<(), RebuildRefused> {
        let index = self.published.claim_rebuild(projection)?;
        self.inbox.send(Message::Rebuild(index)).map_err(|_| RebuildRefused::Stopped)
    }

    /// Ends all waits for positions, now and later. It goes on following.
    pub fn end_waits(&self) {
        self.published.close();
    }

    /// Ends all waits for positions, stops after the transaction that is under way, and waits for
    /// that. The fetching thread ends by itself when its feed has answered.
    pub fn stop(&self) {
        self.end_waits();
        // An error means that it has stopped.
        let _ = self.inbox.send(Message::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
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
    ask: SyncSender<Request>,
    poll: Duration,
    pause: Duration,
    /// No page is asked for before then, because the last one failed.
    resume_at: Option<Instant>,
}

impl Follower {
    fn follow(mut self, messages: &Receiver<Message>) {
        let mut asked = false;
        loop {
            if !asked && self.resume_at.is_none_or(|at| at <= Instant::now()) {
                self.resume_at = None;
                if let Some(request) = self.projector.wanted(self.poll) {
                    asked = self.ask.send(request).is_ok();
                }
            }
            // Long enough for any poll; what comes earlier wakes it.
            let idle = if asked { Duration::from_secs(3600) } else { self.idle() };
            match messages.recv_timeout(idle) {
                Ok(Message::Page(request, page)) => {
                    asked = false;
                    self.take(&request, page);
                }
                Ok(Message::Rebuild(index)) => self.rebuild(index),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn idle(&self) -> Duration {
        self.resume_at.map_or(self.poll, |at| at.saturating_duration_since(Instant::now()))
    }

    fn take(&mut self, request: &Request, page: Result<CheckedPage, NoPage>) {
        let taken = page.and_then(|page| {
            self.projector.take(request, &page).map_err(|error| NoPage::Refused(error.to_string()))
        });
        match taken {
            // No progress yet: what comes next may be refused, and must then be asked for less often.
            Ok(()) if request.purpose == Purpose::Proof => {}
            Ok(()) => self.pause = FIRST_PAUSE,
            Err(why) => self.pause(why),
        }
    }

    fn pause(&mut self, why: NoPage) {
        self.projector.doubt();
        match why {
            NoPage::Away => {}
            NoPage::Refused(error) => {
                if self.projector.published.feed_is_unsound(error.clone()) {
                    (self.projector.notice)(Notice::FeedFails(error));
                }
            }
        }
        self.resume_at = Some(Instant::now() + jittered(self.pause));
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
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
    Refused(String),
}

/// The fetching thread.
fn fetch(mut feed: impl Feed, requests: &Receiver<Request>, answers: &SyncSender<Message>) {
    let mut ahead: Option<(u64, CheckedPage)> = None;
    while let Ok(request) = requests.recv() {
        let page = match ahead.take() {
            Some((after, page)) if after == request.after && request.purpose == Purpose::Follow => Ok(page),
            other => {
                ahead = other;
                read(&mut feed, &request)
            }
        };
        if page.is_err() {
            ahead = None; // It may be of a log that is no more.
        }
        let next = page.as_ref().ok().and_then(next_of);
        if answers.send(Message::Page(request, page)).is_err() {
            return;
        }
        if let Some(next) = next.filter(|next| ahead.as_ref().is_none_or(|(after, _)| *after != next.after)) {
            // An empty page is worth nothing later, and a failure is met again when it counts.
            ahead = read(&mut feed, &next).ok().filter(|page| page.len() > 0).map(|page| (next.after, page));
        }
    }
}

fn read(feed: &mut impl Feed, request: &Request) -> Result<CheckedPage, NoPage> {
    let page = feed.page(request.after, request.limit, request.wait).map_err(|_| NoPage::Away)?;
    CheckedPage::read(page).map_err(|error| NoPage::Refused(error.to_string()))
}

/// What is probably wanted after a page that did not reach the end of the log.
fn next_of(page: &CheckedPage) -> Option<Request> {
    let after = page.last_position().filter(|last| *last < page.head)?;
    Some(Request { after, limit: MAX_PAGE, wait: Duration::ZERO, purpose: Purpose::Follow })
}

/// Half to all of `pause`, so that many followers of one feed do not come back in step.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    // Each RandomState is seeded anew: enough randomness to spread retries.
    let random = RandomState::new().hash_one(0) % 1024;
    pause / 2 + pause * random as u32 / 2048
}
