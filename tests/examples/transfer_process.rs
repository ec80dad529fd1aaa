//! Runs `examples/transfer_process.rs`: kills it at every step, and lets commands race.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use serde::{Deserialize, Serialize};
use tally::es::rusqlite::Connection;
use tally::es::{
    Aggregate, Context, EventLog, ExecuteError, Executor, MemoryDatabase, SqliteDatabase, decode,
};
use uuid::Uuid;

use crate::directory::Directory;
use crate::quotes;

#[path = "../../examples/transfer_process.rs"]
mod program;

use program::Process;
use program::account::{Account, AccountCommand, AccountEvent, No, Transfer, send};

const CASH: Uuid = Uuid::from_u128(0);
const ADA: Uuid = Uuid::from_u128(1);
const BOB: Uuid = Uuid::from_u128(2);
const DEADLINE_MS: u64 = 1_000;
/// Programs that are killed side by side.
const WORKERS: u64 = 4;

#[test]
fn the_program_runs_to_its_end() {
    program::main().unwrap();
}

#[test]
fn each_file_of_the_program_takes_at_most_200_lines_and_its_page_quotes_it() {
    let process = include_str!("../../examples/transfer_process.rs");
    assert!(process.lines().count() <= 200);
    assert!(include_str!("../../examples/transfer_process/account.rs").lines().count() <= 200);
    quotes::check(include_str!("../../docs/how-to/react-to-events.md"), process);
}

fn transfer(number: u128, payer: Uuid, payee: Uuid, amount: u64) -> Transfer {
    Transfer { id: Uuid::from_u128(number), payer, payee, amount, deadline_ms: DEADLINE_MS }
}

struct Bank {
    log: Arc<EventLog>,
    executor: Executor,
}

impl Bank {
    fn open(directory: &Path) -> Self {
        let log = EventLog::open(SqliteDatabase::open(directory.join("log")).unwrap()).unwrap();
        let executor = Executor::start(Arc::clone(&log), |_| {}).unwrap();
        Self { log, executor }
    }

    /// Ada has 100.
    fn with_money(directory: &Path) -> Self {
        let bank = Self::open(directory);
        bank.send(AccountCommand::Receive(transfer(100, CASH, ADA, 100))).unwrap();
        bank
    }

    fn process(&self, directory: &Path, step: fn()) -> Process<'_> {
        let path = directory.join("transfers");
        Process::open(&path, Arc::clone(&self.log), &self.executor, step).unwrap()
    }

    /// Sends a client's command, under a key made from the command.
    fn send(&self, command: AccountCommand) -> Result<(), ExecuteError<No>> {
        send(&self.executor, format!("client:{command:?}"), command).map(drop)
    }

    /// Streams, types and data of all events.
    fn facts(&self) -> Vec<(Uuid, String, String)> {
        let facts = self.log.events_after(0).map(|event| {
            let event = event.unwrap();
            let event = event.as_recorded();
            (event.stream_id, event.event_type.to_owned(), event.data.to_owned())
        });
        facts.collect()
    }

    fn account(&self, id: Uuid) -> Account {
        let events = self.log.stream(id).map(|event| decode(&event.unwrap().as_recorded()).unwrap());
        events.fold(Account::default(), |account, event: AccountEvent| account.evolve(&event))
    }

    fn balances(&self) -> [u64; 2] {
        [ADA, BOB].map(|id| self.account(id).balance)
    }

    /// Checks that each transfer has ended once, and that the payee has received what was posted.
    fn check_endings(&self) -> BTreeMap<Uuid, &'static str> {
        let mut events: BTreeMap<Uuid, Vec<&'static str>> = BTreeMap::new();
        for event in self.log.events_after(0) {
            let (transfer, name) = match decode(&event.unwrap().as_recorded()).unwrap() {
                AccountEvent::Posted(transfer) => (transfer, "posted"),
                AccountEvent::Voided(transfer) => (transfer, "voided"),
                AccountEvent::Received(transfer) if transfer.payer != CASH => (transfer, "received"),
                AccountEvent::Reserved(_) | AccountEvent::Accepted(_) | AccountEvent::Received(_) => continue,
            };
            events.entry(transfer.id).or_default().push(name);
        }
        let ending = |(id, events): (Uuid, Vec<&'static str>)| match events[..] {
            ["posted", "received"] | ["voided"] => (id, events[0]),
            _ => panic!("transfer {id}: {events:?}"),
        };
        events.into_iter().map(ending).collect()
    }
}

/// Four transfers: two are accepted, two are not accepted in time. Begun again after a crash, the clients
/// repeat their commands, and the process goes on.
fn scenario(directory: &Path, step: fn()) -> Bank {
    let bank = Bank::open(directory);
    let client = |command| {
        step();
        bank.send(command).unwrap();
    };
    let [first, second, third, fourth] = [
        transfer(1, ADA, BOB, 30),
        transfer(2, ADA, BOB, 20),
        transfer(3, ADA, BOB, 25),
        transfer(4, BOB, ADA, 10),
    ];
    client(AccountCommand::Receive(transfer(100, CASH, ADA, 100)));
    [first, second, third].into_iter().map(AccountCommand::Reserve).for_each(client);
    client(AccountCommand::Accept(first));
    let mut process = bank.process(directory, step);
    process.work(0).unwrap();
    // From the money of the first transfer.
    client(AccountCommand::Reserve(fourth));
    client(AccountCommand::Accept(fourth));
    process.work(DEADLINE_MS).unwrap();
    client(AccountCommand::Accept(second));
    process.work(DEADLINE_MS).unwrap();
    drop(process);
    bank
}

/// In a child: the steps to go until the parent kills it.
static STEPS: AtomicU64 = AtomicU64::new(0);
const DIRECTORY: &str = "TALLY_EXAMPLE_DIRECTORY";
const KILL_AT: &str = "TALLY_EXAMPLE_KILL_AT";
const WAITING: &str = "waiting to be killed";

fn step_of_a_child() {
    if STEPS.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Past the capture of the test harness, to the parent.
        std::io::stdout().write_all(format!("{WAITING}\n").as_bytes()).unwrap();
        loop {
            thread::park();
        }
    }
}

#[test]
fn the_scenario_runs_to_its_end_and_in_a_child_to_the_step_where_it_is_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        STEPS.store(std::env::var(KILL_AT).unwrap().parse().unwrap(), Ordering::Relaxed);
        scenario(&PathBuf::from(directory), step_of_a_child);
        return;
    }
    let directory = Directory::fresh();
    let bank = scenario(directory.path(), || ());
    let endings = ["posted", "voided", "voided", "posted"];
    assert_eq!(bank.check_endings().into_values().collect::<Vec<_>>(), endings);
    assert_eq!(bank.balances(), [80, 20]);
}

/// A child that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail for a child that has ended.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs the scenario in a process of its own, and kills the process at a step with SIGKILL; returns whether
/// the process came to the step.
fn is_killed_at(step: u64, directory: &Directory) -> bool {
    let name = "the_scenario_runs_to_its_end_and_in_a_child_to_the_step_where_it_is_killed";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("transfer_process::{name}"), "--nocapture"])
        .env(DIRECTORY, directory.path())
        .env(KILL_AT, step.to_string())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = Killed(child.unwrap());
    let output = BufReader::new(child.0.stdout.take().unwrap());
    let is_there = output.lines().any(|line| line.unwrap().ends_with(WAITING));
    if is_there {
        child.0.kill().unwrap();
    }
    assert_eq!(child.0.wait().unwrap().success(), !is_there);
    is_there
}

#[test]
fn killed_at_any_step_and_started_again_the_program_records_what_it_records_undisturbed() {
    let undisturbed = Directory::fresh();
    let expected = scenario(undisturbed.path(), || ()).facts();
    let next = AtomicU64::new(1);
    // Each worker waits for the disk most of the time.
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope
                .spawn(|| while killed_and_started_again(next.fetch_add(1, Ordering::Relaxed), &expected) {});
        }
    });
    let steps = next.into_inner() - 1 - WORKERS;
    assert!(steps > 40, "{steps} steps");
}

/// Returns false for a step to which the program does not come.
fn killed_and_started_again(step: u64, expected: &[(Uuid, String, String)]) -> bool {
    let directory = Directory::fresh();
    let is_killed = is_killed_at(step, &directory);
    if is_killed {
        // The second life ends early, too; a life without an end comes last.
        is_killed_at(step.div_ceil(2), &directory);
        assert!(!is_killed_at(u64::MAX, &directory));
    }
    let bank = Bank::open(directory.path());
    assert_eq!(bank.facts(), expected, "killed at step {step}");
    assert_eq!(own_file(&directory), (bank.log.head().value(), 0), "killed at step {step}");
    is_killed
}

/// Returns the checkpoint, and the number of transfers whose deadlines are watched.
fn own_file(directory: &Directory) -> (u64, u64) {
    let file = Connection::open(directory.join("transfers")).unwrap();
    let both = "SELECT position, (SELECT count(*) FROM open_transfers) FROM checkpoint";
    file.query_row(both, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

#[test]
fn a_process_that_has_lost_its_file_begins_again_and_records_nothing_twice() {
    let directory = Directory::fresh();
    let expected = scenario(directory.path(), || ()).facts();
    std::fs::remove_file(directory.join("transfers")).unwrap();
    assert_eq!(scenario(directory.path(), || ()).facts(), expected);
    assert_eq!(own_file(&directory), (expected.len() as u64, 0));
}

#[test]
fn the_money_of_a_transfer_that_is_not_accepted_returns_at_the_deadline() {
    let directory = Directory::fresh();
    let bank = Bank::with_money(directory.path());
    let mut process = bank.process(directory.path(), || ());
    let unanswered = transfer(1, ADA, BOB, 30);
    bank.send(AccountCommand::Reserve(unanswered)).unwrap();
    process.work(DEADLINE_MS - 1).unwrap();
    assert_eq!(bank.balances(), [70, 0]);
    process.work(DEADLINE_MS).unwrap();
    assert_eq!(bank.balances(), [100, 0]);
    // The acceptance comes late: the process looks at it, and goes on.
    bank.send(AccountCommand::Accept(unanswered)).unwrap();
    process.work(DEADLINE_MS).unwrap();
    drop(process);
    assert_eq!((bank.balances(), own_file(&directory)), ([100, 0], (4, 0)));
}

#[test]
fn an_acceptance_before_the_deadline_counts_although_the_process_was_away() {
    let directory = Directory::fresh();
    let bank = Bank::with_money(directory.path());
    let accepted = transfer(1, ADA, BOB, 30);
    bank.send(AccountCommand::Reserve(accepted)).unwrap();
    bank.process(directory.path(), || ()).work(0).unwrap();
    bank.send(AccountCommand::Accept(accepted)).unwrap();
    bank.process(directory.path(), || ()).work(DEADLINE_MS * 100).unwrap();
    assert_eq!((bank.balances(), bank.account(ADA).reserved.len()), ([70, 30], 0));
    let late = bank.send(AccountCommand::Void(accepted));
    assert_eq!(late, Err(ExecuteError::Rejected(No::NotReserved)));
}

#[test]
fn of_a_void_that_races_a_post_one_is_recorded() {
    let directory = Directory::fresh();
    let bank = Bank::with_money(directory.path());
    let transfers: Vec<_> = (1..=50).map(|number| transfer(number, ADA, BOB, 2)).collect();
    for &transfer in &transfers {
        bank.send(AccountCommand::Reserve(transfer)).unwrap();
        bank.send(AccountCommand::Accept(transfer)).unwrap();
    }
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            bank.process(directory.path(), || ()).work(0).unwrap();
        });
        // Against the order of the process, so that both meet in the middle.
        start.wait();
        for &transfer in transfers.iter().rev() {
            match bank.send(AccountCommand::Void(transfer)) {
                Ok(()) | Err(ExecuteError::Rejected(No::NotReserved)) => (),
                Err(error) => panic!("{error}"),
            }
        }
    });
    bank.process(directory.path(), || ()).work(0).unwrap();
    let endings = bank.check_endings();
    let posted = endings.values().filter(|ending| **ending == "posted").count() as u64;
    assert_eq!((endings.len(), bank.balances()), (50, [100 - 2 * posted, 2 * posted]));
    assert_eq!(own_file(&directory), (bank.log.head().value(), 0));
}

#[test]
fn an_open_transfer_keeps_the_terms_that_the_payer_reserved() {
    let directory = Directory::fresh();
    let bank = Bank::with_money(directory.path());
    let reserved = transfer(1, ADA, BOB, 30);
    bank.send(AccountCommand::Reserve(reserved)).unwrap();
    for forged in [Transfer { amount: 31, ..reserved }, Transfer { payee: CASH, ..reserved }] {
        assert_eq!(bank.send(AccountCommand::Reserve(forged)), Err(ExecuteError::Rejected(No::Reserved)));
        bank.send(AccountCommand::Accept(forged)).unwrap();
    }
    bank.process(directory.path(), || ()).work(0).unwrap();
    assert_eq!(bank.balances(), [70, 0]);
}

tally::es::events! {
    enum Unheard {
        Frozen(Frozen) = "AccountFrozen",
    }
}

#[derive(Serialize, Deserialize)]
struct Frozen {}

/// An account of a later build, whose event today's build does not know; a kind of its own with `NEXT` false.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Later<const NEXT: bool> {}

impl<const NEXT: bool> Aggregate for Later<NEXT> {
    const STREAM_TYPE: &'static str = if NEXT { Account::STREAM_TYPE } else { "safe" };
    type Command = ();
    type Event = Unheard;
    type Rejection = ();

    fn decide(&self, (): &()) -> Result<Vec<Unheard>, ()> {
        Ok(vec![Unheard::Frozen(Frozen {})])
    }

    fn evolve(self, _: &Unheard) -> Self {
        self
    }
}

#[test]
fn an_event_that_this_build_cannot_read_stops_the_process_and_an_event_of_another_kind_does_not() {
    let directory = Directory::fresh();
    drop(Bank::with_money(directory.path()));
    let bank = Bank::open(directory.path());
    bank.executor.execute::<Later<false>>(Uuid::from_u128(7), (), Context::default()).unwrap();
    bank.executor.execute::<Later<true>>(Uuid::from_u128(8), (), Context::default()).unwrap();
    for _ in 0..2 {
        let stopped = bank.process(directory.path(), || ()).work(0).unwrap_err().to_string();
        assert_eq!(stopped, "event 3: this build knows no event of that type");
        assert_eq!(own_file(&directory).0, 2);
    }
}

#[test]
fn a_second_process_and_a_checkpoint_of_another_history_are_refused() {
    let directory = Directory::fresh();
    let [log, backup] = ["log", "backup"].map(|name| directory.join(name));
    drop(Bank::with_money(directory.path()));
    std::fs::copy(&log, &backup).unwrap();
    let open = |bank: &Bank, log: &Arc<EventLog>| {
        let path = directory.join("transfers");
        let opened = Process::open(&path, Arc::clone(log), &bank.executor, || ());
        opened.map(drop).map_err(|error| error.to_string())
    };
    let bank = Bank::open(directory.path());
    bank.send(AccountCommand::Reserve(transfer(1, ADA, BOB, 30))).unwrap();
    let mut process = bank.process(directory.path(), || ());
    process.work(0).unwrap();
    assert_eq!(open(&bank, &bank.log), Err("database is locked".into()));
    drop(process);
    assert_eq!(open(&bank, &bank.log), Ok(()));
    let refusal =
        Err("the checkpoint is of another log, or of a history that this log does not have".to_owned());
    assert_eq!(open(&bank, &EventLog::open(MemoryDatabase::default()).unwrap()), refusal);

    drop(bank);
    std::fs::copy(&backup, &log).unwrap();
    let restored = Bank::open(directory.path());
    // Without the event of the checkpoint; then with another event at its position; then with more events.
    for number in 2..=4 {
        assert_eq!(open(&restored, &restored.log), refusal);
        restored.send(AccountCommand::Reserve(transfer(number, ADA, BOB, 30))).unwrap();
    }
}
