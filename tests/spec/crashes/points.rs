//! The same promises, with processes that end at each named point of their own code.

use std::os::unix::process::ExitStatusExt;

use serde_json::json;
use tally::es::CRASH_POINTS;
use tally::read_side::projections;

use super::{Bank, Random, SEED, Target, work_and_check};
use crate::support::{Binary, Directory, Ended, Launch, Process, System};

const VARIABLE: &str = "TALLY_CRASH_POINT";
const SIGABRT: i32 = 6;
/// Commands that are answered before a rebuild is asked for.
const COMMANDS_BEFORE_REBUILD: u64 = 300;

/// When a point is reached. Each is visited by the test of that name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    /// By any command, again and again, in the write side.
    Commands,
    /// By any page of events, in the read side.
    Events,
    Rebuild,
    /// Once, when the process of that binary makes its database.
    Creation(Binary),
    Backup,
}

fn visit(point: &str) -> Visit {
    match point {
        "log-created-before-commit" => Visit::Creation(Binary::Write),
        "read-database-created-before-commit" => Visit::Creation(Binary::Read),
        "between-two-events"
        | "between-events-and-key"
        | "in-snapshot"
        | "before-sync"
        | "after-sync-before-receipt" => Visit::Commands,
        "between-rows-and-checkpoint" | "before-checkpoint-commit" | "after-checkpoint-commit" => {
            Visit::Events
        }
        "rebuild-begun-before-commit" | "in-rebuild" | "in-swap-before-commit" | "after-swap" => {
            Visit::Rebuild
        }
        "backup-copied-before-name" => Visit::Backup,
        unknown => panic!("no test visits {unknown}"),
    }
}

/// One of the points that a running system passes, chosen by the seed.
pub(super) fn crash_somewhere(mut random: Random) {
    let running = |point: &&str| matches!(visit(point), Visit::Commands | Visit::Events);
    let point = random.one_of(&CRASH_POINTS.into_iter().filter(running).collect::<Vec<_>>());
    let victim = if visit(point) == Visit::Commands { Binary::Write } else { Binary::Read };
    let times = 1 + passed_at_start(point) + random.below(200);
    crash_and_check(victim, &format!("{point}:{times}"), |_, _| ());
}

/// How often a start passes the point before it takes commands: it asks the log whether it was ever read for
/// the ids of its transfers.
fn passed_at_start(point: &str) -> u64 {
    u64::from(["between-events-and-key", "before-sync", "after-sync-before-receipt"].contains(&point))
}

fn points(wanted: Visit) -> impl Iterator<Item = &'static str> {
    CRASH_POINTS.into_iter().filter(move |point| visit(point) == wanted)
}

#[track_caller]
fn assert_crashed(point: &str, ended: &Ended) {
    assert_eq!(ended.status.signal(), Some(SIGABRT), "{point}: {ended:?}");
}

/// Lets clients work until the victim ends at that point, starts it again, and checks everything.
fn crash_and_check(victim: Binary, point: &str, provoke: impl FnOnce(&Target, &Bank)) {
    let target = Target::start_with(|binary, launch| {
        if binary != victim {
            return launch;
        }
        // The first start records a mark in a new log, and is no command of a client.
        assert_eq!(launch.start().stop().status.code(), Some(0));
        launch.variable(VARIABLE, point)
    });
    eprintln!("{} at {point}", victim.name());
    work_and_check(Random::seed_or_new(SEED), target, |target, bank, _| {
        provoke(target, bank);
        assert_crashed(point, &target.await_end(victim));
        let (_, launch, _) = target.running.iter().find(|(binary, ..)| *binary == victim).unwrap();
        let started = launch.start();
        target.put(victim, started, bank);
        1
    });
}

impl Target {
    fn await_end(&mut self, victim: Binary) -> Ended {
        let (.., process) = self.running.iter_mut().find(|(binary, ..)| *binary == victim).unwrap();
        process.take().map(Process::ended).unwrap()
    }
}

#[test]
fn every_promise_is_kept_when_the_write_side_ends_at_each_point_of_a_command() {
    for point in points(Visit::Commands) {
        for times in [1, 2, 30] {
            let times = times + passed_at_start(point);
            crash_and_check(Binary::Write, &format!("{point}:{times}"), |_, _| ());
        }
    }
}

#[test]
fn every_promise_is_kept_when_the_read_side_ends_between_rows_and_checkpoint() {
    for point in points(Visit::Events) {
        for times in [1, 2, 60] {
            crash_and_check(Binary::Read, &format!("{point}:{times}"), |_, _| ());
        }
    }
}

#[test]
fn every_promise_is_kept_when_the_read_side_ends_in_the_middle_of_a_rebuild() {
    for point in points(Visit::Rebuild) {
        for projection in projections().iter().map(|projection| projection.name) {
            crash_and_check(Binary::Read, point, |target, bank| {
                bank.wait_for(COMMANDS_BEFORE_REBUILD);
                let rebuild = format!("/projections/{projection}/rebuild");
                // It may end before it has answered.
                if let Ok(reply) = target.read().client().try_post(&rebuild, &[], &json!({})) {
                    reply.expect(202);
                }
            });
        }
    }
}

#[test]
fn a_database_whose_creation_was_cut_short_is_created_again() {
    for binary in [Binary::Write, Binary::Read] {
        for point in points(Visit::Creation(binary)) {
            let directory = Directory::fresh();
            let launch =
                Launch::on_free_port(binary, &directory).flag("--registry", crate::bank::NO_REGISTRY);
            assert_crashed(point, &launch.clone().variable(VARIABLE, point).run());
            launch.start();
        }
    }
}

#[test]
fn a_backup_that_was_cut_short_leaves_no_file_of_that_name_and_can_be_made_again() {
    for point in points(Visit::Backup) {
        let directory = Directory::fresh();
        let write = System::write(&directory, crate::bank::NO_REGISTRY).start();
        write.client().post("/accounts", &json!({"owner": "Ada"})).expect(201);
        let backup = Launch::of(Binary::Write, &directory).flag("--backup", "copy");
        assert_crashed(point, &backup.clone().variable(VARIABLE, point).run());
        assert!(!directory.join("copy").exists());
        assert_eq!(backup.run().status.code(), Some(0));
    }
}
