//! Nothing acknowledged is ever lost: every process is killed, again and again, in the middle of
//! a stream of commands, and then every promise is looked up.
//!
//! A failure prints the seed, and `TALLY_CRASH_SEED` repeats its commands and its kills. (What the
//! threads of the system make of them is not repeated; run it some times.)

mod files;
#[cfg(feature = "crash-points")]
mod points;
mod random;
mod workload;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::history::History;
use crate::support::{Binary, Directory, Launch, Process, System, free_address};

use random::Random;
use workload::{Bank, Told, check, follow};

const CLIENTS: u64 = 16;
/// The most commands that are answered between two kills.
const COMMANDS_BETWEEN_KILLS: u64 = 2000;
/// How long the slow suite goes on, in seconds.
const SECONDS: &str = "TALLY_CRASH_SECONDS";
const SEED: &str = "TALLY_CRASH_SEED";

#[test]
fn every_promise_is_kept_when_each_process_is_killed_in_the_middle_of_many_commands() {
    use Binary::{Read, Registry, Write};
    let seed = Random::seed_or_new(SEED);
    let mut victims = vec![Write, Write, Write, Write, Read, Read, Read, Registry, Registry];
    Random::from_seed(seed).shuffle(&mut victims);
    kill_and_check(seed, victims.into_iter());
}

#[test]
#[ignore = "slow suite: just crash-test"]
fn every_promise_is_kept_for_as_long_as_processes_are_killed() {
    use Binary::{Read, Registry, Write};
    let seconds = std::env::var(SECONDS).map_or(60, |seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut round = 0;
    while Instant::now() < end {
        // A new bank now and then, so that checking it takes no longer than filling it.
        let round_end = end.min(Instant::now() + Duration::from_secs(20));
        let seed = Random::seed_or_new(SEED).wrapping_add(round);
        let mut random = Random::from_seed(seed);
        let victims = std::iter::from_fn(|| {
            (Instant::now() < round_end).then(|| random.one_of(&[Write, Write, Write, Read, Read, Registry]))
        });
        kill_and_check(seed, victims);
        #[cfg(feature = "crash-points")]
        (0..20).for_each(|number| points::crash_somewhere(Random::from_seed(seed).part(1000 + number)));
        round += 1;
    }
}

/// Lets clients work while those processes are killed and started again, then checks everything.
fn kill_and_check(seed: u64, victims: impl Iterator<Item = Binary>) {
    work_and_check(seed, Target::start(), |target, bank, random| target.kill_all(victims, bank, random));
}

/// Lets clients work while `disturb` kills processes and says how many, then checks everything.
fn work_and_check(seed: u64, mut target: Target, disturb: impl FnOnce(&mut Target, &Bank, Random) -> u64) {
    let _told_on_failure = TellSeed(seed);
    let random = Random::from_seed(seed);
    let bank = Bank::of(target.write().client(), target.read().client());
    let (told, shown, kills) = std::thread::scope(|scope| {
        let follower = scope.spawn(|| follow(&bank));
        let client = |number| {
            let (bank, random) = (&bank, random.part(number));
            scope.spawn(move || bank.visit(number, random))
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        // However this ends, the clients must go home, or nobody learns how it ended.
        let at_closing_time = Closing(&bank);
        let kills = disturb(&mut target, &bank, random.part(CLIENTS));
        // And some commands that meet all processes alive again.
        bank.wait_for(CLIENTS);
        drop(at_closing_time);
        let told: Vec<Told> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        (told, follower.join().unwrap(), kills)
    });
    let history = History::read(&target.write().client());
    let counts = check(&told, &history);
    history.begins_with(&shown);
    history.is_answered_by(&target.read().client());
    eprintln!("{kills} kills, {} events, {counts:?}; {SEED}={seed}", history.head());
}

struct TellSeed(u64);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("repeat it with {SEED}={}", self.0);
        }
    }
}

struct Closing<'b>(&'b Bank);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closing_time.store(true, Ordering::Relaxed);
    }
}

/// The processes that are killed, and how each is started again.
struct Target {
    // In this order they are dropped: processes before the directory that they use.
    running: [(Binary, Launch, Option<Process>); 3],
    directory: Directory,
}

impl Target {
    fn start() -> Self {
        Self::start_with(|_, launch| launch)
    }

    /// With another way to start the first process of some binary.
    fn start_with(first: impl Fn(Binary, Launch) -> Launch) -> Self {
        let directory = Directory::fresh();
        let address = free_address();
        let url = format!("http://{address}");
        let running = [
            (Binary::Registry, Launch::of(Binary::Registry, &directory).flag("--listen", &address)),
            (Binary::Write, System::write(&directory, &url)),
            (Binary::Read, System::read(&directory, &url)),
        ];
        let running = running.map(|(binary, launch)| {
            let process = first(binary, launch.clone()).start();
            (binary, launch, Some(process))
        });
        Self { running, directory }
    }

    fn write(&self) -> &Process {
        self.running[1].2.as_ref().unwrap()
    }

    fn read(&self) -> &Process {
        self.running[2].2.as_ref().unwrap()
    }

    /// Kills one after another, each after some more commands were answered. Returns how many.
    fn kill_all(&mut self, victims: impl Iterator<Item = Binary>, bank: &Bank, mut random: Random) -> u64 {
        let mut kills = 0;
        for victim in victims {
            // Sometimes at once: while the last one is still coming back.
            let pause = random.below(4) * random.below(COMMANDS_BETWEEN_KILLS) / 3;
            bank.wait_for(pause);
            self.kill(victim, bank);
            kills += 1;
        }
        kills
    }

    fn kill(&mut self, victim: Binary, bank: &Bank) {
        self.kill_only(victim);
        self.start_again(victim, bank);
    }

    fn kill_only(&mut self, victim: Binary) {
        let (.., process) = self.running.iter_mut().find(|(binary, ..)| *binary == victim).unwrap();
        process.take().unwrap().kill();
    }

    fn start_again(&mut self, victim: Binary, bank: &Bank) {
        let started = self.launch(victim).start();
        self.put(victim, started, bank);
    }

    fn launch(&self, binary: Binary) -> &Launch {
        let (_, launch, _) = self.running.iter().find(|(running, ..)| *running == binary).unwrap();
        launch
    }

    /// Puts a process that was started in the place of one that has ended.
    fn put(&mut self, victim: Binary, started: Process, bank: &Bank) {
        let (.., process) = self.running.iter_mut().find(|(binary, ..)| *binary == victim).unwrap();
        let started = process.insert(started);
        match victim {
            Binary::Write => *bank.commands.write().unwrap() = started.client(),
            Binary::Read => *bank.queries.write().unwrap() = started.client(),
            Binary::Registry | Binary::Tally => {}
        }
    }
}
