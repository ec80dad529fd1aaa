//! Pause and resume: rows stand still, and the lag shows.

use std::sync::mpsc::{SyncSender, sync_channel};

use super::super::running_projector::Message;
use super::running::{PATIENCE, until};
use super::*;

fn states(running: &RunningProjector) -> Vec<ProjectionState> {
    running.status().iter().map(|status| status.state).collect()
}

/// Waits until the paused projector has processed a page with the head `head`.
fn knows(running: &RunningProjector, head: u64) {
    until("the head is learnt", || running.status().iter().all(|status| status.head == Some(head)));
    // Answered after the page, of which the head is the first part.
    running.pause().unwrap();
}

#[test]
fn a_paused_projector_applies_nothing_and_learns_the_head_until_it_is_resumed() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let running = open(&path).start(feed.clone(), PATIENCE).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    assert_eq!((running.pause(), running.pause()), (Ok(()), Ok(())));
    assert!(running.is_paused());
    for position in 3..6 {
        // The first one ends the poll that was on its way.
        assert_eq!(feed.append(7, "Added", "1"), position);
        knows(&running, position);
        assert_eq!((sum(&path), count(&path)), (3, 2));
    }
    for status in running.status() {
        assert_eq!((status.state, status.position, status.lag()), (ProjectionState::Paused, 2, Some(3)));
        assert!(status.behind_for > Duration::ZERO);
    }
    assert_eq!((running.resume(), running.resume()), (Ok(()), Ok(())));
    assert_eq!(running.watch("sums").unwrap().wait_for(5, PATIENCE), 5);
    until("it is live", || states(&running) == [ProjectionState::Live; 2]);
    assert_eq!((sum(&path), running.is_paused()), (6, false));
}

#[test]
fn a_pause_and_a_resume_are_told_of_once_each() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let (path, seen) = (TempPath::new(), Arc::clone(&events));
    let projector = open(&path).with_events(move |event| seen.lock().unwrap().push(event));
    let running = projector.start(LogFeed::new(log_of(&["1"])), PATIENCE).unwrap();
    for order in [RunningProjector::resume, RunningProjector::pause] {
        (0..2).for_each(|_| order(&running).unwrap());
    }
    running.resume().unwrap();
    assert_eq!(*events.lock().unwrap(), [ProjectorEvent::Paused, ProjectorEvent::Resumed]);
}

/// Waits for the test before each page.
#[derive(Clone)]
struct Held(LogFeed, Arc<Mutex<()>>);

impl Feed for Held {
    fn next_page(&mut self, after: u64, limit: u32, wait: Duration) -> Result<Page, FeedError> {
        let page = self.0.next_page(after, limit, wait);
        drop(self.1.lock());
        page
    }
}

#[test]
fn a_page_that_was_on_its_way_at_the_pause_is_not_applied() {
    let (path, gate) = (TempPath::new(), Arc::new(Mutex::new(())));
    let feed = LogFeed::new(log_of(&["1", "2", "3"]));
    let held = gate.lock().unwrap();
    let running = open(&path).start(Held(feed.clone(), Arc::clone(&gate)), PATIENCE).unwrap();
    until("a page is on its way", || !feed.asked.lock().unwrap().is_empty());
    running.pause().unwrap();
    drop(held);
    knows(&running, 3);
    assert_eq!((count(&path), states(&running)), (0, vec![ProjectionState::Paused; 2]));
    running.resume().unwrap();
    assert_eq!(running.watch("count").unwrap().wait_for(3, PATIENCE), 3);
}

#[test]
fn what_was_taken_before_the_pause_is_committed_by_it_or_applied_again_after_it() {
    for is_refused in [false, true] {
        let (path, mut feed) = (TempPath::new(), LogFeed::new(faults::long_log()));
        let mut projector = open(&path);
        if is_refused {
            faults::sabotage(&path, "UPDATE ON checkpoints");
        }
        let request = projector.wanted_at_front(Duration::ZERO).unwrap();
        let page = request.fetch(&mut feed).unwrap();
        projector.process(Some((&request, &page))).unwrap();
        assert!(projector.is_open());
        assert_eq!(projector.pause().is_err(), is_refused);
        assert_eq!((projector.is_open(), projector.board.is_paused()), (false, true));
        assert_eq!(count(&path), if is_refused { 0 } else { i64::from(MAX_PAGE) });
        if is_refused {
            faults::heal(&path);
        }
        projector.resume();
        projector.catch_up(&mut feed, u64::MAX).unwrap();
        assert_eq!(count(&path), i64::from(MAX_PAGE) + NEAR as i64);
    }
}

#[test]
fn a_rebuild_pauses_too_and_ends_after_the_resume() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2", "3"])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(3, PATIENCE), 3);
    running.pause().unwrap();
    feed.append(7, "Added", "4");
    let waiting = running.rebuild_and_wait("sums", Duration::from_millis(50));
    assert_eq!(waiting, Err(RebuildError::TimedOut));
    feed.asked.lock().unwrap().clear();
    feed.append(7, "Added", "5");
    // The head was asked for since, so a replay would have been asked for as well.
    knows(&running, 5);
    assert!(!feed.asked.lock().unwrap().contains(&0));
    assert_eq!(running.status()[0].rebuild.unwrap().position, 0);
    running.resume().unwrap();
    until("the rebuild ends", || running.status()[0].rebuild.is_none());
    assert_eq!(running.watch("sums").unwrap().wait_for(5, PATIENCE), 5);
    assert_eq!(running.watch("count").unwrap().wait_for(5, PATIENCE), 5);
    assert_eq!((sum(&path), count(&path)), (15, 5));
}

#[test]
fn a_log_that_was_restored_during_a_pause_is_refused() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "2"])));
    let running = open(&path).start(feed.clone(), Duration::from_millis(20)).unwrap();
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2);
    running.pause().unwrap();
    restored(&feed, &["1", "20", "3"]);
    running.resume().unwrap();
    until("it is found", || states(&running) == [ProjectionState::Stalled; 2]);
    assert_eq!(sum(&path), 3);
}

#[test]
fn a_projector_that_has_stopped_refuses_a_pause() {
    let path = TempPath::new();
    let running = open(&path).start(LogFeed::new(log_of(&["1"])), PATIENCE).unwrap();
    running.stop();
    assert_eq!((running.pause(), running.resume()), (Err(PauseError::Stopped), Err(PauseError::Stopped)));
}

#[test]
fn a_projector_that_is_poisoned_stays_stalled_during_a_pause() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1", "null"])));
    let running = open(&path).start(feed, Duration::from_millis(20)).unwrap();
    until("it stalls", || states(&running)[0] == ProjectionState::Stalled);
    running.pause().unwrap();
    assert_eq!(states(&running), [ProjectionState::Stalled, ProjectionState::Paused]);
}

/// An order of a caller that waits no longer.
fn given_up(order: impl FnOnce(SyncSender<()>) -> Message) -> Message {
    order(sync_channel(1).0)
}

#[test]
fn an_order_whose_caller_waits_no_longer_has_no_effect() {
    let (path, feed) = (TempPath::new(), LogFeed::new(log_of(&["1"])));
    let running = open(&path).start(feed.clone(), PATIENCE).unwrap();
    running.inbox.send(given_up(Message::Pause)).unwrap();
    feed.append(7, "Added", "1");
    assert_eq!(running.watch("sums").unwrap().wait_for(2, PATIENCE), 2, "the pause has no effect");
    running.pause().unwrap();
    running.inbox.send(given_up(Message::Resume)).unwrap();
    feed.append(7, "Added", "1");
    until("the head is learnt", || running.status().iter().all(|status| status.head == Some(3)));
    assert!(running.is_paused(), "the resume has no effect");
    assert_eq!(count(&path), 2);
}
