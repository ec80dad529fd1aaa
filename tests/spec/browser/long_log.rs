//! Long logs, and a page that follows one over the death of the write side.

use serde_json::json;

use super::console::Console;
use crate::bank;
use crate::support::{Client, Directory, Process, System, wait_until};

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_log_of_a_hundred_thousand_events_is_as_quick_and_as_small_as_a_short_one() {
    let directory = Directory::fresh();
    let id = bank::fill(&directory, 100_000).to_string();
    let console = Console::on(directory);
    let browser = &console.browser;
    let grouped = "100\u{202f}000";
    browser.wait_for_text("#projections", grouped);
    assert_eq!(browser.run("return $('events').rows.length"), 200);
    // Page by page into the past, and back.
    for page in 1..4 {
        browser.click("#log-older");
        let newest = 100_000 - 200 * page;
        browser
            .wait("the older page is shown", &format!("$('events').rows[0].dataset.position === '{newest}'"));
        assert_eq!(browser.run("return $('events').rows.length"), 200);
    }
    console.deposit(&id, &json!({ "amount": 1 }));
    browser.wait_for_text("#log-live", "1 new");
    browser.click("#log-live");
    browser.wait("the newest is shown", "$('events').rows[0].dataset.position === '100001'");
    // A stream of a hundred thousand events folds from where one looks.
    browser.click("#events tr:first-child button");
    browser.wait_for_text(".fold > :last-child", "1\u{202f}000.00");
    console.choose(&id);
    browser.run("$('travel').value = 50001; $('travel').dispatchEvent(new Event('input'))");
    browser.wait_for_text("#then", "500.00");
    let elements = browser.run("return document.querySelectorAll('*').length").as_u64().unwrap();
    assert!(elements < 4_000, "{elements} elements");
    // No step of the page held up the person for long.
    let longest = "const begun = performance.now(); requestAnimationFrame(() => setTimeout(() => arguments[0](performance.now() - begun)))";
    let frame = browser.run_later(longest).as_f64().unwrap();
    assert!(frame < 500.0, "a frame took {frame} ms");
    console.ends_well();
}

const EVENTS: u64 = 10_000;
const CLIENTS: usize = 8;

/// Sends deposits from several clients until the log has `events` events, and then kills the write side.
fn deposit_until(write: &Process, ids: &[String], events: u64) {
    std::thread::scope(|scope| {
        for id in ids {
            let client = write.client();
            let path = format!("/accounts/{id}/deposit");
            scope.spawn(move || while client.try_post(&path, &[], &json!({ "amount": 1 })).is_ok() {});
        }
        let client = write.client();
        wait_until("the log is so long", || head(&client) >= events);
        write.signal("KILL");
    });
}

fn head(write: &Client) -> u64 {
    write.get("/health").expect(200).json()["head"].as_u64().unwrap()
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn ten_thousand_events_are_followed_without_a_gap_over_a_restart_of_the_write_side() {
    let mut console = Console::start();
    let ids: Vec<_> = (0..CLIENTS).map(|_| console.account("Ada")).collect();
    deposit_until(&console.system.write, &ids, EVENTS / 2);
    // In the middle of many commands, and of what the page reads. The page finds the next one by discovery.
    console.system.write = System::write(&console.system.directory, &console.system.registry.url()).start();
    deposit_until(&console.system.write, &ids, EVENTS);
    console.system.write = System::write(&console.system.directory, &console.system.registry.url()).start();
    let browser = &console.browser;
    let head = head(&console.system.commands());
    assert!(head >= EVENTS);
    browser.wait("the page has all", &format!("$('followed').dataset.at === '{head}'"));
    assert_eq!(browser.run("return [feed.seen, feed.missing]"), json!([head, 0]));
    browser.wait_for_text("#followed", "none missing");
    let rows = "return [...$('events').rows].every((row, i) => Number(row.dataset.position) === feed.at - i)";
    assert_eq!(browser.run(rows), true);
    console.ends_well();
}
