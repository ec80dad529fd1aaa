//! The threads around the projector: two fetch pages and check them, one applies them.
//!
//! The thread of the live lane serves the front, and waits in the feed's long poll at the head of the log;
//! the thread of the backfill lane serves the sets behind, so a rebuild neither waits for the poll nor ends
//! the poll. The applying thread asks for the next page before it applies the last one, so a replay costs
//! the slower of the two steps, not their sum. All pages arrive in one inbox, and with them rebuilds and
//! the stop.
//!
//! **Invariant:** each fetching thread has one request at most, so memory is bounded by a few pages.
//!
//! Read next: `projector.rs`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::checked_page::{CheckedPage, PageRequest};
use super::demand::{Demand, SeenDemand};
use super::feed::Feed;
use super::projector::Projector;
use super::projector_event::{CatchUpError, ProjectorEvent};
use super::running_projector::{Lane, Message, RunningProjector};
use super::status::Changed;

/// The first wait after a failure, and the longest. Short, because a request to an absent feed is
/// cheap, and rows should follow as soon as the feed is back.
const MIN_BACK_OFF: Duration = Duration::from_millis(25);
const MAX_BACK_OFF: Duration = Duration::from_millis(500);

/// How long the live lane pauses after a page of a fast stream, while no query waits: a page costs a request
/// and a transaction, whether it has ten events or five hundred.
const COALESCE: Duration = Duration::from_millis(50);

/// Events on a page from which on the stream counts as fast. Fewer events are cheap to apply at once.
const FAST_STREAM_EVENTS: usize = 16;

/// How long an open transaction waits for its next page.
const MAX_OPEN: Duration = Duration::from_millis(20);

/// How long the applying thread waits for a message without a deadline. Every message wakes it.
const IDLE: Duration = Duration::from_secs(3600);

/// How long the live lane rests after a page of which only the head was learnt: four looks a second are
/// enough for a display, however many events a second the log grows by.
const WATCH_INTERVAL: Duration = Duration::from_millis(250);

/// Messages in the inbox: two pages, the stop, and a rebuild of each projection, for a dozen projections.
/// A sender waits while the inbox is full.
const INBOX: usize = 16;

/// A task of a fetching thread.
enum Order {
    Fetch(PageRequest),
    /// Tell the feed about the rejection of the last page.
    Reject,
}

impl Projector {
    /// Follows `feed` until stopped. At the end of the log, asks `feed` to wait for an event for `poll` at most.
    /// A clone of the feed serves lagging table sets.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        self,
        feed: impl Feed + Clone + 'static,
        poll: Duration,
    ) -> std::io::Result<RunningProjector> {
        let (inbox, messages) = sync_channel(INBOX);
        let (alive, fetching) = sync_channel(1);
        let start = |name: &str, lane: Lane, mut feed| {
            let (orders, received) = sync_channel(2);
            let (inbox, alive, board) = (inbox.clone(), alive.clone(), Arc::clone(&self.board));
            let fetch = move || {
                fetch_until_closed(&mut feed, lane, &received, &inbox, &board.demand);
                // The feed first: after a drop of the projector, the log must be closed.
                drop(feed);
                drop(alive);
            };
            thread::Builder::new().name(name.into()).spawn(fetch)?;
            Ok::<_, std::io::Error>(Fetcher { orders, is_busy: false })
        };
        let (live, backfill) =
            (start("feed", Lane::Live, feed.clone())?, start("replay", Lane::Backfill, feed)?);
        let board = Arc::clone(&self.board);
        let follower =
            Follower { projector: self, live, backfill, poll, back_off: MIN_BACK_OFF, fetch_at: None };
        let thread = thread::Builder::new().name("projector".into()).spawn(move || {
            let board = Arc::clone(&follower.projector.board);
            if catch_unwind(AssertUnwindSafe(|| follower.follow(&messages))).is_err() {
                board.record_failure("the projector has panicked; restart the service");
            }
        })?;
        Ok(RunningProjector {
            board,
            inbox,
            thread: Mutex::new(Some(thread)),
            fetching: Mutex::new(fetching),
        })
    }
}

/// The applying thread.
struct Follower {
    projector: Projector,
    live: Fetcher,
    backfill: Fetcher,
    poll: Duration,
    back_off: Duration,
    /// No page is requested before this time: the last one failed, or only the head is learnt.
    fetch_at: Option<Instant>,
}

/// A fetching thread, for the applying thread.
struct Fetcher {
    orders: SyncSender<Order>,
    is_busy: bool,
}

impl Fetcher {
    fn fetch(&mut self, request: Option<PageRequest>) {
        if let Some(request) = request.filter(|_| !self.is_busy) {
            self.is_busy = self.orders.send(Order::Fetch(request)).is_ok();
        }
    }
}

impl Follower {
    fn follow(mut self, messages: &Receiver<Message>) {
        loop {
            if self.fetch_at.is_none_or(|at| at <= Instant::now()) {
                self.fetch_at = None;
                // A busy lane ignores the request: the page in flight comes first.
                self.live.fetch(self.projector.wanted_at_front(self.poll));
                self.backfill.fetch(self.projector.wanted_behind());
            }
            match messages.recv_timeout(self.patience()) {
                Ok(Message::Page(lane, request, page)) => self.receive(lane, &request, page),
                Ok(Message::Rebuild(index)) => {
                    if let Err(error) = self.projector.begin_rebuild(index) {
                        let error = format!("a rebuild could not begin: {error}");
                        (self.projector.on_event)(ProjectorEvent::Waiting(error));
                    }
                }
                Ok(Message::Cancel(index)) => {
                    let cancelled = self.projector.cancel_rebuild(index);
                    cancelled.unwrap_or_else(|error| self.back_off(&error));
                }
                Ok(Message::Pause(paused)) => {
                    let was_paused = self.projector.board.is_paused();
                    self.projector.pause().unwrap_or_else(|error| self.back_off(&error));
                    // The caller was told that the order failed, so the order must have no effect.
                    if !answer(&paused) && !was_paused {
                        self.projector.resume();
                    }
                }
                Ok(Message::Resume(resumed)) => {
                    let was_paused = self.projector.board.is_paused();
                    self.projector.resume();
                    self.fetch_at = None;
                    if !answer(&resumed) && was_paused {
                        self.projector.pause().unwrap_or_else(|error| self.back_off(&error));
                    }
                }
                // The next page is late: rows applied already do not wait for a slow feed.
                Err(RecvTimeoutError::Timeout) => self.commit(),
                // A restart then fetches no page again.
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return self.commit(),
            }
        }
    }

    fn patience(&self) -> Duration {
        match self.fetch_at {
            // Also during a pause: the failure may concern the other lane.
            _ if self.projector.is_open() => MAX_OPEN,
            Some(at) => at.saturating_duration_since(Instant::now()),
            None => IDLE,
        }
    }

    fn commit(&mut self) {
        if self.projector.is_open() {
            self.projector.commit().unwrap_or_else(|error| self.back_off(&error));
        }
    }

    fn receive(&mut self, lane: Lane, request: &PageRequest, page: Result<CheckedPage, CatchUpError>) {
        let is_watching_only = self.projector.is_watching_only();
        let fetcher = self.fetcher(lane);
        fetcher.is_busy = false;
        // The thread fetches the next page while this one is applied.
        let following = page.as_ref().ok().and_then(|page| request.following(page));
        fetcher.fetch(following.filter(|_| !is_watching_only));
        let processed = page.and_then(|page| self.projector.process(Some((request, &page))));
        match processed {
            // No progress yet: the commit of an open transaction may be refused, and a prefetched page of the
            // time before a failure is ignored.
            Ok(()) if self.projector.is_open() || self.projector.is_in_doubt() => {}
            Ok(()) if is_watching_only => self.fetch_at = Some(Instant::now() + WATCH_INTERVAL),
            Ok(()) => self.back_off = MIN_BACK_OFF,
            Err(error) => {
                if matches!(error, CatchUpError::PageRejected(_)) {
                    // An error means: the thread has ended.
                    drop(self.fetcher(lane).orders.send(Order::Reject));
                }
                self.back_off(&error);
            }
        }
    }

    fn fetcher(&mut self, lane: Lane) -> &mut Fetcher {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Backfill => &mut self.backfill,
        }
    }

    /// Doubts the feed, reports the failure, and requests no page for a while.
    fn back_off(&mut self, error: &CatchUpError) {
        self.projector.doubt();
        match error {
            // Lagging rows keep answering, and report the lag.
            CatchUpError::FeedAway(_) => {}
            CatchUpError::PageRejected(_) | CatchUpError::Database(_) => {
                let error = error.to_string();
                if self.projector.board.record_failure(&error) == Changed::Yes {
                    (self.projector.on_event)(ProjectorEvent::Waiting(error));
                }
            }
        }
        self.fetch_at = Some(Instant::now() + jittered(self.back_off));
        // Doubled: a feed away for long is asked less often.
        self.back_off = (self.back_off * 2).min(MAX_BACK_OFF);
    }
}

/// Tells the caller that the order was followed. Returns whether the caller still waits.
fn answer(caller: &SyncSender<()>) -> bool {
    caller.send(()).is_ok()
}

/// The fetching thread of a lane.
fn fetch_until_closed(
    feed: &mut impl Feed,
    lane: Lane,
    orders: &Receiver<Order>,
    inbox: &SyncSender<Message>,
    demand: &Demand,
) {
    let (mut seen, mut is_fast) = (SeenDemand::default(), false);
    while let Ok(order) = orders.recv() {
        let request = match order {
            Order::Reject => {
                feed.rejected();
                continue;
            }
            Order::Fetch(request) => request,
        };
        if is_fast {
            // Where polls are frequent, a pause longer than a poll would make rows late.
            seen.pause(demand, COALESCE.min(request.wait));
        }
        // Read before the page is fetched: the page may miss the event of a later query.
        seen.look(demand);
        // The program brings the feed. If a panic there ended this thread, the projector would wait for ever.
        let page = catch_unwind(AssertUnwindSafe(|| request.fetch(feed)))
            .unwrap_or_else(|_| Err(CatchUpError::PageRejected("the feed has panicked".into())));
        is_fast = matches!((lane, &page), (Lane::Live, Ok(page))
            if request.following(page).is_none() && page.events().count() >= FAST_STREAM_EVENTS);
        if inbox.send(Message::Page(lane, request, page)).is_err() {
            return;
        }
    }
}

/// Returns half to all of `wait`, to spread the retries of many followers.
fn jittered(wait: Duration) -> Duration {
    crate::jitter::shortened(wait, 0.5)
}
