//! Proof that the feed still is the history that was read: it has the last event that was taken, with
//! the hash that it had then.
//!
//! The next event would tell, by its hash. But a log that was restored from a backup may have come to
//! the same position by other events, and nothing may be coming: answers would be about events that
//! are no more, and say that they are fresh. So the event is asked for once more whenever the other
//! side may have been started anew meanwhile, and now and then.
//!
//! **Invariant:** after a failure, nothing is taken from the feed before it has given proof.

use std::time::{Duration, Instant};

use super::{CatchUpError, CheckedPage, Projector, Purpose, REMEDY, Request};

/// How long a proof is good for while nothing fails: who is started anew between two requests is not
/// missed by the next one. One request more in that time costs nobody anything.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// When there was a proof.
#[derive(Debug, Default)]
pub(in crate::es) struct Proof {
    last: Option<Instant>,
    /// How often there was doubt: a proof that was asked for before the last one says nothing about it.
    doubts: u64,
}

impl Proof {
    /// What is asked when a proof is due of a feed that was read up to `front`.
    pub(in crate::es) fn wanted(&self, front: u64) -> Option<Request> {
        let after = front.checked_sub(1)?;
        let is_due = self.last.is_none_or(|last| last.elapsed() > GOOD_FOR);
        let purpose = Purpose::Proof(self.doubts);
        is_due.then_some(Request { after, limit: 1, wait: Duration::ZERO, purpose })
    }
}

impl Projector {
    /// The feed may be another one, or begun anew: it must give proof before it is read on.
    pub(in crate::es) fn doubt(&mut self) {
        self.published.forget_feed();
        self.proof = Proof { last: None, doubts: self.proof.doubts + 1 };
    }

    /// Whether it has still to give proof. What was asked for before is not taken then.
    pub(in crate::es) fn is_in_doubt(&self) -> bool {
        self.proof.last.is_none() && self.positions().last().is_some_and(|front| *front > 0)
    }

    /// Notes that there are events after `position`, the first of which has it in its hash: where that
    /// is the front, they are proof enough.
    pub(in crate::es) fn goes_on(&mut self, position: u64) {
        if self.positions().last() == Some(&position) {
            self.proof.last = Some(Instant::now());
        }
    }

    /// Compares the event that was read last with the one that is there now. Proves nothing where there
    /// were other doubts meanwhile, or a rollback, so that nothing was read up to there: it is asked again.
    pub(in crate::es) fn prove(
        &mut self,
        doubts: u64,
        request: &Request,
        page: &CheckedPage,
    ) -> Result<(), CatchUpError> {
        let position = request.after + 1;
        if doubts != self.proof.doubts || self.at(position).next().is_none() {
            return Ok(());
        }
        self.check_log(position, page)?;
        let found = page.events().next().filter(|event| event.position == position);
        if self.at(position).any(|build| found.is_none_or(|event| event.hash != build.reached.hash)) {
            return Err(CatchUpError::Feed(format!(
                "event {position} of the feed is not the one that was read: the log was restored or altered, \
                 and two histories are never mixed. {REMEDY}"
            )));
        }
        self.proof.last = Some(Instant::now());
        Ok(self.learn_head(page)?)
    }

    /// Whether the page is of the log that was read up to `position`, as far as its ends can tell.
    pub(in crate::es) fn check_log(&self, position: u64, page: &CheckedPage) -> Result<(), CatchUpError> {
        if let Some(known) = self.log_id.filter(|known| *known != page.log_id) {
            return Err(CatchUpError::Feed(format!(
                "the feed is log {}, but these read models follow log {known}: two histories are never mixed. {REMEDY}",
                page.log_id
            )));
        }
        if page.head < position {
            return Err(CatchUpError::Feed(format!(
                "the log ends at {}, but was read up to {position}: it has lost events. {REMEDY}",
                page.head
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_due_at_first_and_again_when_the_last_one_is_old() {
        let given = |ago| Proof { last: Instant::now().checked_sub(ago), doubts: 0 };
        let request = Request { after: 6, limit: 1, wait: Duration::ZERO, purpose: Purpose::Proof(0) };
        assert_eq!(Proof::default().wanted(7), Some(request));
        assert_eq!(given(Duration::ZERO).wanted(7), None);
        assert_eq!(given(2 * GOOD_FOR).wanted(7), Some(request));
        assert_eq!(Proof::default().wanted(0), None, "nothing was read, nothing can be compared");
    }
}
