//! Several kinds of aggregates on one log: one writer, one transaction, one history.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tally::es::{
    Aggregate, Context, Error, EventLog, ExecuteError, Executor, KnownKinds, SqliteDatabase, Work, backup,
    verify,
};
use uuid::Uuid;

use crate::counter::{Count, Counted, Counter, Refused};
use crate::support::{Directory, wait_until};

const COUNTER: Uuid = Uuid::from_u128(1);
const TANK: Uuid = Uuid::from_u128(2);

tally::es::events! {
    #[derive(Clone, Debug, PartialEq)]
    enum TankEvent {
        Filled(Filled) = "TankFilled",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Filled {
    litres: u64,
}

/// A tank of ten litres. Its state has the form of a [`Counter`]'s.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Tank {
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Overflows;

impl Aggregate for Tank {
    const STREAM_TYPE: &'static str = "tank";
    type Command = u64;
    type Event = TankEvent;
    type Rejection = Overflows;

    fn decide(&self, litres: &u64) -> Result<Vec<TankEvent>, Overflows> {
        if self.count + litres > 10 {
            Err(Overflows)
        } else {
            Ok(vec![TankEvent::Filled(Filled { litres: *litres })])
        }
    }

    fn evolve(self, TankEvent::Filled(filled): &TankEvent) -> Self {
        Self { count: self.count + filled.litres }
    }
}

/// Claims the stream type of [`Counter`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Impostor {}

impl Aggregate for Impostor {
    const STREAM_TYPE: &'static str = Counter::STREAM_TYPE;
    type Command = ();
    type Event = Counted;
    type Rejection = ();

    fn decide(&self, (): &()) -> Result<Vec<Counted>, ()> {
        Ok(vec![Counted { to: 0 }])
    }

    fn evolve(self, _: &Counted) -> Self {
        self
    }
}

#[derive(Debug, PartialEq)]
enum No {
    Counter(Refused),
    Tank(Overflows),
}

struct Fixture {
    log: Arc<EventLog>,
    executor: Executor,
    directory: Directory,
}

impl Fixture {
    fn on(directory: Directory) -> Self {
        let log = EventLog::open(SqliteDatabase::open(directory.join("log.sqlite3")).unwrap()).unwrap();
        let executor = Executor::start(Arc::clone(&log), |_| {}).unwrap();
        Self { log, executor, directory }
    }

    fn restarted(self) -> Self {
        let Self { log, executor, directory } = self;
        drop((executor, log));
        Self::on(directory)
    }

    fn up(&self, stream_id: Uuid, times: u64) -> Result<u64, ExecuteError<Refused>> {
        let executed = self.executor.execute::<Counter>(stream_id, Count::Up(times), Context::default());
        executed.map(|execution| execution.version())
    }

    fn fill(&self, stream_id: Uuid, litres: u64) -> Result<u64, ExecuteError<Overflows>> {
        let executed = self.executor.execute::<Tank>(stream_id, litres, Context::default());
        executed.map(|execution| execution.version())
    }

    /// Counts one up for each litre, in one transaction.
    fn fill_and_count(&self, litres: u64) -> Result<u64, ExecuteError<No>> {
        let executed = self.executor.transact(Context::default(), move |work| {
            let counted = work.decide::<Counter>(COUNTER, &Count::Up(litres));
            counted.map_err(|error| error.map_rejection(No::Counter))?;
            work.decide::<Tank>(TANK, &litres).map_err(|error| error.map_rejection(No::Tank))?;
            Ok(TANK)
        });
        executed.map(|execution| execution.version())
    }

    fn kinds_in_the_log(&self) -> Vec<String> {
        let page = self.log.page(0, 1_000, Duration::ZERO).unwrap();
        page.content().unwrap().events.iter().map(|event| event.stream_type.to_owned()).collect()
    }
}

#[test]
fn commands_on_several_kinds_share_one_log_and_each_kind_keeps_its_states() {
    let mut fixture = Fixture::on(Directory::fresh());
    for round in 0..3 {
        assert_eq!(fixture.up(COUNTER, 1).unwrap(), round + 1);
        assert_eq!(fixture.fill(TANK, 3).unwrap(), round + 1);
        fixture = fixture.restarted();
    }
    assert_eq!(fixture.fill(TANK, 3), Err(ExecuteError::Rejected(Overflows)));
    assert_eq!(fixture.kinds_in_the_log(), ["counter", "tank"].repeat(3));
}

#[test]
fn a_transaction_over_two_kinds_is_recorded_whole_or_not_at_all() {
    let fixture = Fixture::on(Directory::fresh());
    assert_eq!(fixture.fill_and_count(6).unwrap(), 1);
    assert_eq!(fixture.fill_and_count(6), Err(ExecuteError::Rejected(No::Tank(Overflows))));
    assert_eq!(fixture.log.head().value(), 7);
    assert_eq!(fixture.up(COUNTER, 1).unwrap(), 7, "the refused transaction changed no state in memory");
    assert_eq!(fixture.fill_and_count(4).unwrap(), 2);
}

#[test]
fn a_stream_belongs_to_the_kind_that_began_it() {
    let fixture = Fixture::on(Directory::fresh());
    fixture.up(COUNTER, 40).unwrap();
    // Also from the snapshot, which has the form of a tank, and also after a restart.
    let fixture = fixture.restarted();
    for _ in 0..2 {
        let Err(ExecuteError::Failed(error)) = fixture.fill(COUNTER, 1) else {
            panic!("a counter was filled");
        };
        assert_eq!(error, Error::WrongKind { stream_id: COUNTER, found: "counter".into(), asked: "tank" });
        assert!(error.to_string().contains("so use \"counter\", or another stream"), "{error}");
    }
    assert_eq!(fixture.up(COUNTER, 1).unwrap(), 41);
}

#[test]
fn a_kind_that_has_seen_a_stream_empty_learns_that_another_kind_began_it() {
    let fixture = Fixture::on(Directory::fresh());
    let refused = fixture.executor.execute::<Counter>(TANK, Count::Refuse, Context::default());
    assert!(matches!(refused, Err(ExecuteError::Rejected(_))), "the empty state is in memory now");
    fixture.fill(TANK, 1).unwrap();
    // Both commands share a commit: what is wrong with one is no fault of the other.
    let (running, queued) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    std::thread::scope(|scope| {
        let (running_in_command, queued_in_command) = (Arc::clone(&running), Arc::clone(&queued));
        scope.spawn(|| {
            let held_up = move |_: &mut Work<'_>| {
                running_in_command.wait();
                queued_in_command.wait();
                Ok(TANK)
            };
            fixture.executor.transact::<()>(Context::default(), held_up).unwrap()
        });
        running.wait();
        let wrong = scope.spawn(|| fixture.up(TANK, 1));
        let neighbour = scope.spawn(|| fixture.fill(Uuid::from_u128(3), 1));
        wait_until("both are queued", || fixture.executor.waiting() == 2);
        queued.wait();
        assert!(matches!(wrong.join().unwrap(), Err(ExecuteError::Failed(Error::WrongKind { .. }))));
        assert_eq!(neighbour.join().unwrap(), Ok(1));
    });
    assert_eq!(fixture.fill(TANK, 1).unwrap(), 2);
}

#[test]
fn one_command_cannot_use_a_stream_as_two_kinds() {
    let fixture = Fixture::on(Directory::fresh());
    let both = fixture.executor.transact::<()>(Context::default(), |work| {
        work.stage::<Counter>(COUNTER, vec![Counted { to: 1 }])?;
        work.stage::<Tank>(COUNTER, vec![TankEvent::Filled(Filled { litres: 1 })])?;
        Ok(COUNTER)
    });
    let wrong = Error::WrongKind { stream_id: COUNTER, found: "counter".into(), asked: "tank" };
    assert_eq!(both, Err(ExecuteError::Failed(wrong)));
    assert_eq!(fixture.log.head().value(), 0);
}

#[test]
fn two_types_cannot_claim_one_stream_type() {
    let fixture = Fixture::on(Directory::fresh());
    fixture.up(COUNTER, 1).unwrap();
    let claimed = fixture.executor.execute::<Impostor>(COUNTER, (), Context::default());
    let Err(ExecuteError::Failed(Error::Unusable(what))) = claimed else { panic!("{claimed:?}") };
    assert!(what.contains("\"counter\""), "{what}");
    assert_eq!(fixture.up(COUNTER, 1).unwrap(), 2);
}

#[test]
fn a_log_of_several_kinds_is_verified_and_backed_up_by_a_build_that_knows_them() {
    let fixture = Fixture::on(Directory::fresh());
    (0..20).for_each(|_| assert!(fixture.up(COUNTER, 2).is_ok()));
    fixture.fill_and_count(5).unwrap();
    let kinds =
        KnownKinds::new().and::<Counter>(|_, _| Ok(())).and::<Tank>(|tank, TankEvent::Filled(filled)| {
            if tank.count + filled.litres > 10 { Err("it overflows".into()) } else { Ok(()) }
        });
    let report = verify(&fixture.directory.join("log.sqlite3"), &kinds).unwrap();
    assert_eq!((report.events, report.streams, report.snapshots), (46, 2, 1));
    assert!(report.is_sound() && report.unknown.is_empty(), "{report}");
    let copy = fixture.directory.join("copy.sqlite3");
    assert!(backup(&fixture.directory.join("log.sqlite3"), &copy, &kinds).unwrap().is_sound());
    assert!(copy.exists());
    let twice = kinds.and::<Counter>(|_, _| Ok(()));
    let Err(Error::InvalidDefinition(what)) = verify(&copy, &twice) else { panic!("verified by two rules") };
    assert!(what.contains("the kind \"counter\" was added twice"), "{what}");
}

#[test]
fn events_that_a_build_does_not_know_are_named_and_are_no_damage() {
    let fixture = Fixture::on(Directory::fresh());
    fixture.up(COUNTER, 3).unwrap();
    fixture.fill(TANK, 5).unwrap();
    let path = fixture.directory.join("log.sqlite3");
    let report = verify(&path, &KnownKinds::new().and::<Counter>(|_, _| Ok(()))).unwrap();
    assert!(report.is_sound(), "{report}");
    assert_eq!(report.unknown, BTreeMap::from([("the kind \"tank\"".to_owned(), 1)]));
    assert!(report.to_string().contains("nothing is damaged"), "{report}");
    let none = verify(&path, &KnownKinds::new()).unwrap();
    assert_eq!((none.is_sound(), none.unknown.len()), (true, 2), "{none}");
}
