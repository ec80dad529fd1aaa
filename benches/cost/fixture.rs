//! One history, always the same: an event is a function of its position, and of the hash before it.
//!
//! The accounts take turns. Each is opened first, and then money goes in and out, so that the
//! history is lawful and every account keeps a small balance.

use tally::account::{AccountCreated, AccountEvent, Currency, MoneyMoved};
use tally::es::{Event, Feed, FeedError, Hash, Page, RecordedEvent, chain};
use uuid::Uuid;

use crate::Result;

/// Enough that a page of events does not touch one leaf of each table alone.
pub(crate) const ACCOUNTS: u64 = 500;
/// Events of one page of the feed: as many as it has where nothing is said.
pub(crate) const PAGE: u64 = 1_000;
/// Of every event: the clock is no part of the workload.
const RECORDED_AT: &str = "2026-01-31T12:00:00.000000Z";
const METADATA: &str = r#"{"causation_id":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;

/// One event that stands for all.
pub(crate) const DEPOSIT: RecordedEvent<'static> = RecordedEvent {
    position: 4_711,
    event_id: Uuid::from_u128(0x0189_0a5e_0000_7000_8000_0000_0000_1267),
    stream_id: Uuid::from_u128(0x0189_0a5d_ac96_774b_8000_0000_0000_0007),
    stream_type: "account",
    version: 12,
    event_type: "MoneyDeposited",
    schema_version: 1,
    data: r#"{"amount":12345,"currency":"EUR","description":"for the bicycle"}"#,
    metadata: METADATA,
    recorded_at: RECORDED_AT,
    hash: Hash::ZERO,
};

/// The id of an account, from 0. Ids that are made from the time sort by it, and so do these.
pub(crate) fn account_id(account: u64) -> Uuid {
    Uuid::from_u128((0x0189_0a5d_ac96_774b << 64) | u128::from(account))
}

/// What happened at that version of any account.
pub(crate) fn event_at(version: u64) -> AccountEvent {
    let moved = |amount| MoneyMoved {
        amount,
        currency: Currency::default(),
        description: Some("for the bicycle".to_owned()),
        transfer_id: None,
    };
    match version {
        1 => AccountEvent::AccountCreated(AccountCreated {
            owner: "Ada Lovelace".to_owned(),
            currency: Currency::default(),
        }),
        _ if version.is_multiple_of(2) => AccountEvent::MoneyDeposited(moved(12_345)),
        _ => AccountEvent::MoneyWithdrawn(moved(12_000)),
    }
}

/// A history that is told from its first event on.
pub(crate) struct History {
    position: u64,
    hash: Hash,
}

impl History {
    pub(crate) const START: Self = Self { position: 0, hash: Hash::ZERO };

    /// Shows `visit` the next event.
    pub(crate) fn next<T>(&mut self, visit: impl FnOnce(&RecordedEvent<'_>) -> Result<T>) -> Result<T> {
        let (turn, account) = (self.position / ACCOUNTS, self.position % ACCOUNTS);
        let happened = event_at(turn + 1);
        let data = happened.to_json()?;
        self.position += 1;
        let mut event = RecordedEvent {
            position: self.position,
            event_id: Uuid::from_u128((0x0189_0a5e_0000_7000 << 64) | u128::from(self.position)),
            stream_id: account_id(account),
            stream_type: "account",
            version: turn + 1,
            event_type: happened.event_type(),
            schema_version: 1,
            data: &data,
            metadata: METADATA,
            recorded_at: RECORDED_AT,
            hash: Hash::ZERO,
        };
        event.hash = chain(&self.hash, &event);
        self.hash = event.hash;
        visit(&event)
    }

    /// The next [`PAGE`] events as the feed tells them.
    pub(crate) fn page(&mut self) -> Result<Page> {
        let mut json = format!(r#"{{"log_id":"{}","events":["#, Uuid::from_u128(7)).into_bytes();
        for number in 0..PAGE {
            if number > 0 {
                json.push(b',');
            }
            self.next(|event| {
                event.write_json(&mut json);
                Ok(())
            })?;
        }
        json.extend_from_slice(format!(r#"],"head":{}}}"#, self.position).as_bytes());
        Ok(Page { json })
    }
}

/// Pages made beforehand, each to be had once.
pub(crate) struct Pages(Vec<Page>);

impl Pages {
    pub(crate) fn of(count: u32) -> Result<Self> {
        let mut history = History::START;
        Ok(Self((0..count).map(|_| history.page()).collect::<Result<_>>()?))
    }
}

impl Feed for Pages {
    fn next_page(
        &mut self,
        after: u64,
        _limit: u32,
        _wait: std::time::Duration,
    ) -> std::result::Result<Page, FeedError> {
        let page = usize::try_from(after / PAGE).ok().and_then(|number| self.0.get_mut(number));
        let page = page.ok_or_else(|| FeedError::new("the history ends here"))?;
        Ok(Page { json: std::mem::take(&mut page.json) })
    }
}
