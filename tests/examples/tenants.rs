//! Runs `examples/tenants.rs`: keeps tenants apart, closes and reopens them, damages and deletes one of them.

use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::directory::Directory;
use crate::quotes;

#[path = "../../examples/tenants.rs"]
mod program;

use program::Tenants;

#[test]
fn the_program_runs_to_its_end() {
    program::main().unwrap();
}

#[test]
fn the_program_takes_at_most_200_lines_and_its_page_quotes_it() {
    let tenants = include_str!("../../examples/tenants.rs");
    assert!(tenants.lines().count() <= 200);
    quotes::check(include_str!("../../docs/how-to/tenants.md"), tenants);
}

fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Tenants 1 to `count`, of which `most` are open at a time.
fn tenants(directory: &Directory, count: u128, most: usize) -> Tenants {
    let tenants = Tenants::open(directory.path(), most).unwrap();
    (1..=count).for_each(|number| tenants.create(id(number)).unwrap());
    tenants
}

fn take(tenants: &Tenants, number: u128) -> u64 {
    tenants.get(id(number), Instant::now()).unwrap().take(&format!("note of {number}")).unwrap()
}

fn open(tenants: &Tenants) -> Vec<u128> {
    let mut open: Vec<_> = tenants.opened().keys().map(Uuid::as_u128).collect();
    open.sort_unstable();
    open
}

fn why<T>(result: Result<T, Box<dyn std::error::Error>>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn each_tenant_has_its_own_history_and_rows() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 2, 2);
    assert_eq!((take(&tenants, 1), take(&tenants, 1), take(&tenants, 2)), (1, 2, 1));
    drop(tenants);
    let text =
        |number| String::from_utf8_lossy(&std::fs::read(log_of(&directory, number)).unwrap()).into_owned();
    assert!(text(1).contains("note of 1") && !text(1).contains("note of 2"));
    assert!(text(2).contains("note of 2") && !text(2).contains("note of 1"));
}

fn log_of(directory: &Directory, number: u128) -> std::path::PathBuf {
    directory.join(&id(number).to_string()).join("log")
}

#[test]
fn the_tenant_that_was_used_longest_ago_makes_room_and_is_reopened_as_it_was() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 3, 2);
    assert_eq!((take(&tenants, 1), take(&tenants, 2), take(&tenants, 1)), (1, 1, 2));
    assert_eq!((take(&tenants, 3), open(&tenants)), (1, vec![1, 3]));
    assert_eq!((take(&tenants, 2), open(&tenants)), (2, vec![2, 3]));
}

#[test]
fn a_tenant_in_use_is_neither_closed_nor_deleted() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 2, 1);
    let used = tenants.get(id(1), Instant::now()).unwrap();
    let later = Instant::now() + Duration::from_secs(3600);
    tenants.close_idle(later);
    assert_eq!(why(tenants.get(id(2), Instant::now())), "all open tenants are in use");
    assert_eq!(why(tenants.delete(id(1))), "the tenant is in use");
    assert_eq!(used.take("still here").unwrap(), 1);

    drop(used);
    tenants.close_idle(Instant::now() - Duration::from_secs(3600));
    assert_eq!(open(&tenants), [1], "it was asked for since");
    tenants.close_idle(later);
    assert_eq!(open(&tenants), [0; 0]);
    assert_eq!(take(&tenants, 1), 2);
}

#[test]
fn a_damaged_tenant_does_not_touch_the_others() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 2, 1);
    assert_eq!((take(&tenants, 1), take(&tenants, 2)), (1, 1));
    std::fs::write(log_of(&directory, 1), [0x5a; 8192]).unwrap();
    assert!(why(tenants.get(id(1), Instant::now())).contains("cannot be used"));
    assert!(tenants.back_up(id(1), &directory.join("copy1")).is_err());
    assert_eq!(take(&tenants, 2), 2);
    assert!(tenants.back_up(id(2), &directory.join("copy2")).unwrap().is_sound());
}

#[test]
fn a_deleted_tenant_is_gone_with_its_files_and_is_not_made_anew_by_a_request() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 2, 2);
    assert_eq!((take(&tenants, 1), take(&tenants, 2)), (1, 1));
    tenants.delete(id(1)).unwrap();
    assert!(!tenants.directory(id(1)).exists());
    assert!(why(tenants.get(id(1), Instant::now())).starts_with("there is no tenant"));
    assert_eq!((take(&tenants, 2), std::fs::read_dir(directory.path()).unwrap().count()), (2, 1));
}

#[test]
fn a_deletion_that_a_crash_cut_off_is_finished_at_the_next_start() {
    let directory = Directory::fresh();
    drop(tenants(&directory, 1, 1));
    let leaving = directory.join(&id(1).to_string()).with_extension("deleted");
    std::fs::rename(directory.join(&id(1).to_string()), &leaving).unwrap();
    Tenants::open(directory.path(), 1).unwrap();
    assert!(!leaving.exists());
}

#[test]
fn callers_of_many_tenants_share_few_places_and_no_note_is_lost() {
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 6, 3);
    let barrier = Barrier::new(3);
    thread::scope(|scope| {
        for first in 0..3 {
            let (tenants, barrier) = (&tenants, &barrier);
            scope.spawn(move || {
                barrier.wait();
                (0..6).for_each(|step| assert!(take(tenants, 1 + (first * 2 + step) % 6) > 0));
            });
        }
    });
    assert!(tenants.opened().len() <= 3);
    assert_eq!((1..=6).map(|number| take(&tenants, number)).collect::<Vec<_>>(), [4; 6]);
}

/// Set in the process that measures: threads of other tests would be counted, too.
const ALONE: &str = "TALLY_TENANTS_ALONE";

#[cfg(target_os = "linux")]
#[test]
fn an_open_tenant_costs_the_threads_and_files_that_the_page_says() {
    if std::env::var_os(ALONE).is_none() {
        let name = "tenants::an_open_tenant_costs_the_threads_and_files_that_the_page_says";
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output = alone.args(["--exact", name, "--nocapture"]).env(ALONE, "").output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let count = |of: &str| std::fs::read_dir(Path::new("/proc/self").join(of)).unwrap().count();
    let directory = Directory::fresh();
    let tenants = tenants(&directory, 10, 10);
    let before = (count("task"), count("fd"));
    (1..=10).for_each(|number| assert_eq!(take(&tenants, number), 1));
    let costs = (count("task") - before.0, count("fd") - before.1);
    tenants.close_idle(Instant::now());
    assert_eq!((count("task"), count("fd")), before, "a closed tenant costs nothing");
    let page = include_str!("../../docs/how-to/tenants.md");
    let sentence = format!("{} threads and {} file descriptors", costs.0 / 10, costs.1 / 10);
    assert!(page.contains(&sentence) && costs.0 % 10 == 0, "{costs:?}");
}
