//! Runs `examples/pitfalls/`: each mistake fails by the figures that its story tells, and each right way
//! does not.

#[path = "../../examples/pitfalls/main.rs"]
#[expect(dead_code, reason = "the tests call what `main` calls")]
mod program;

use std::path::{Path, PathBuf};

use program::*;

#[test]
fn a_position_taken_before_the_commit_is_skipped_by_a_reader() {
    use skipped_event::{Outcome, mistake, right_way};
    assert_eq!(mistake().unwrap(), Outcome { recorded: vec![1, 2], read: vec![2] });
    assert_eq!(right_way().unwrap(), Outcome { recorded: vec![1, 2], read: vec![1, 2] });
}

#[test]
fn a_second_write_that_fails_leaves_the_read_model_wrong() {
    use dual_write::{Outcome, mistake, right_way};
    assert_eq!(mistake().unwrap(), Outcome { log: 100, rows: 70 });
    assert_eq!(right_way().unwrap(), Outcome { log: 100, rows: 100 });
}

#[test]
fn ten_times_a_tenth_does_not_pay_for_one() {
    use float_money::{Outcome, mistake, right_way};
    assert_eq!(mistake().unwrap(), Outcome { folded: 0.999_999_999_999_999_9, summed: 1.0, pays: false });
    assert_eq!(right_way().unwrap(), Outcome { folded: 100, summed: 100, pays: true });
}

#[test]
fn a_retry_without_a_key_pays_twice() {
    use retry_without_key::{mistake, right_way};
    assert_eq!((mistake().unwrap(), right_way().unwrap()), (20, 60));
}

#[test]
fn a_replacing_insert_rewrites_history_behind_the_triggers() {
    use replaced_history::{Outcome, mistake, right_way};
    let answers = ["append-only", "append-only", "done"].map(str::to_owned);
    assert_eq!(mistake().unwrap(), Outcome { answers, cents: 1_000_000 });
    let answers = [
        "events are append-only: no UPDATE",
        "events are append-only: no DELETE",
        "events are append-only: position must be head + 1",
    ];
    assert_eq!(right_way().unwrap(), Outcome { answers: answers.map(str::to_owned), cents: 100 });
}

#[cfg(feature = "services")]
#[test]
fn a_lease_whose_duration_is_added_twice_lives_twice() {
    use double_lease::{mistake, right_way};
    assert_eq!((mistake(), right_way().unwrap()), (60, 30));
}

#[test]
fn a_replay_in_the_order_of_the_clock_ends_with_an_old_event() {
    use replay_by_time::{mistake, right_way};
    assert_eq!((mistake().unwrap(), right_way().unwrap()), (500, 100));
}

#[test]
fn a_checkpoint_in_its_own_transaction_counts_an_event_twice_or_never() {
    use checkpoint_apart::{mistake, right_way};
    assert_eq!(mistake().unwrap(), [200, 0]);
    assert_eq!(right_way().unwrap(), [[0, 100], [100, 100]]);
}

#[test]
fn a_rule_in_the_fold_makes_old_history_unloadable() {
    use rule_in_fold::{Outcome, mistake, right_way};
    assert_eq!(mistake(), Err("a payment of 800 is over the limit of 500".to_owned()));
    assert_eq!(right_way().unwrap(), Outcome { loaded: 1200, refuses: true, left: 1100 });
}

#[test]
fn a_rebuild_in_place_shows_an_empty_table() {
    use rebuild_in_place::{mistake, right_way};
    assert_eq!(mistake().unwrap(), [200, 0, 100, 200, 150]);
    let answers = right_way().unwrap();
    let (after, before) = answers.split_last().unwrap();
    assert!(before.len() >= 3 && before.iter().all(|cents| *cents == 200), "{answers:?}");
    assert_eq!(*after, 150);
}

#[test]
fn a_version_that_is_read_again_before_the_append_protects_nothing() {
    use version_read_again::{Outcome, mistake, right_way};
    assert_eq!(mistake().unwrap(), Outcome { paid: 2, left: -60 });
    assert_eq!(right_way().unwrap(), Outcome { paid: 1, left: 20 });
}

#[test]
fn a_poison_event_that_is_skipped_is_lost_for_a_mended_build_too() {
    use skipped_poison::{Shown, mistake, right_way};
    let shown = |cents| Shown { cents, error: None };
    assert_eq!(mistake().unwrap(), [shown(110), shown(110)]);
    let [old, mended] = right_way().unwrap();
    let error = old.error.unwrap();
    assert!(error.contains("unknown event PurseSpent"), "{error}");
    assert_eq!((old.cents, mended), (100, shown(70)));
}

#[test]
fn a_replay_of_the_whole_stream_makes_each_command_dearer_than_the_last() {
    use whole_replay::{Outcome, mistake, right_way};
    assert_eq!(mistake().unwrap(), Outcome { commands: 5050, first_after_restart: 101 });
    assert_eq!(right_way().unwrap(), Outcome { commands: 100, first_after_restart: 5 });
}

#[test]
fn clients_that_retry_in_step_arrive_together() {
    use thundering_herd::{Outcome, mistake, right_way};
    assert_eq!(mistake(), Outcome { requests: 5500, peak: 1000, seconds: 181 });
    // Random pauses: a fifth of the clients in each tenth of a second, give or take a few dozen.
    let right = right_way();
    assert!(right.requests < 2500 && right.peak < 300 && right.seconds < 15, "{right:?}");
}

/// Where the programs are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/pitfalls")
}

#[test]
fn every_file_of_tally_that_a_pitfall_names_exists() {
    let mut named = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let quoted = text.split('`').skip(1).step_by(2);
        for file in quoted.filter(|quoted| quoted.starts_with("src/") || *quoted == "schema.sql") {
            named += 1;
            let exists = Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
            assert!(exists, "{} names {file}", path.display());
        }
    }
    assert!(named >= PITFALLS.len(), "only {named} files are named");
}

#[test]
fn the_program_lists_its_pitfalls_and_runs_them_by_name() {
    let told = |asked: &[&str]| {
        let asked: Vec<_> = asked.iter().map(|name| (*name).to_owned()).collect();
        let mut out = Vec::new();
        run(&asked, &mut out).map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
    };
    let (list, all) = (told(&[]).unwrap(), told(&["all"]).unwrap());
    let overview = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for Pitfall { name, .. } in PITFALLS {
        assert!(list.contains(name) && all.contains(&format!("{name}: ")), "{name}");
        let file = format!("{}.rs", name.replace('-', "_"));
        assert!(folder().join(&file).exists(), "{file}");
        assert!(overview.contains(&format!("[{name}]({file})")), "README.md lists {name} and its file");
    }
    let one = told(&["retry-without-key"]).unwrap();
    assert!(one.contains("mistake    of 100 cents, an order of 40 leaves 20\n"), "{one}");
    assert!(one.contains("right way  of 100 cents, an order of 40 leaves 60\n"), "{one}");
    assert_eq!(
        told(&["no"]),
        Err("there is no pitfall \"no\"; without arguments, all are listed".to_owned())
    );
}
