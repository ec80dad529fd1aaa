//! Each section of the page, as a person uses it.

use std::process::Command;

use serde_json::json;

use super::console::Console;
use super::driver::{LEFT, RIGHT};
use crate::bank;
use crate::support::Directory;

const MODELS: [&str; 3] = ["accounts", "transactions", "summary"];

#[test]
#[ignore = "needs a browser: just console-test"]
fn the_way_of_a_command_is_drawn_from_the_request_to_every_query() {
    let console = Console::start();
    let browser = &console.browser;
    browser.click("#try-open");
    browser.wait_for_text("#path-title", "visible in every query after");
    for stage in ["request", "aggregate", "events", "sync", "feed", "visible"].iter().chain(&MODELS) {
        let done = format!("[data-stage={stage}].done .ms");
        assert_ne!(browser.text(&done), "", "{stage}");
    }
    assert_eq!(browser.text("[data-stage=events] .ms"), "1");
    // The write side tells these, so they are not what was left over.
    let said = browser.text("[data-stage=aggregate] .what");
    assert!(said.starts_with("queued ") && said.contains("decided in "), "{said}");
    browser.wait(
        "a sync takes time",
        "parseFloat(document.querySelector('[data-stage=sync] .ms').textContent) > 0",
    );
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_refused_command_ends_at_the_aggregate_and_its_problem_is_explained() {
    let console = Console::start();
    console.account("Ada");
    let browser = &console.browser;
    browser.wait("the account is listed", "$('account-list').rows.length === 1");
    browser.click("#try-refused");
    browser.wait_for_text("#path-title", "refused");
    browser.wait_for_text("[data-stage=aggregate].stop .ms", "422");
    browser.wait_for_text("[data-stage=sync].never .ms", "not reached");
    let problem = console.system.commands().get("/problems/insufficient-funds").expect(200).json();
    for text in [&problem["title"], &problem["meaning"]] {
        browser.wait_for_text("#path-problem", text.as_str().unwrap());
    }
    // A value that no account sees ends at the request.
    console.send("open", &[("owner", "")]);
    browser.wait_for_text("[data-stage=request].stop .ms", "400");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn an_event_unfolds_with_its_data_its_causes_and_its_stream_step_by_step() {
    let console = Console::start();
    let [ada, bob] = ["Ada", "Bob"].map(|owner| console.account(owner));
    console.deposit(&ada, &json!({ "amount": 5000 }));
    let transfer = json!({ "from": ada, "to": bob, "amount": 1250 });
    let commands = console.system.commands();
    commands.post_with("/transfers", &[("X-Correlation-Id", "rent-7")], &transfer).expect(200);
    let browser = &console.browser;
    browser.wait("the transfer is listed", "$('events').rows.length === 5");
    assert_eq!(browser.text("#events tr:first-child td:first-child"), "5", "the newest comes first");
    browser.click("#events tr[data-position='4'] button");
    browser.wait_for_text("#event", "MoneyWithdrawn at position 4");
    browser.wait_for_text("#event .tree", "MoneyDeposited at 5, Bob");
    browser.wait_for_text("#event .tree", "rent-7");
    browser.wait_for_text("#event pre", "\"amount\": 1250");
    let served = commands.get("/events?after=3&limit=1").expect(200).json();
    browser.wait_for_text("#event .facts", served["events"][0]["hash"].as_str().unwrap());
    // The state before and after each event, as the read side knows it too.
    browser.wait_for_text(".fold", "version 3");
    browser.run("document.querySelector('#fold-version').focus()");
    for (key, version, before, after) in [
        (LEFT, 2, "0.00", "50.00"),
        (LEFT, 1, "nothing yet", "0.00"),
        (RIGHT, 2, "0.00", "50.00"),
        (RIGHT, 3, "50.00", "37.50"),
    ] {
        browser.press(key);
        browser.wait_for_text(".fold", &format!("version {version}"));
        browser.wait_for_text(".fold > :first-child", before);
        browser.wait_for_text(".fold > :last-child", after);
    }
    let then = console.system.queries().get(&format!("/accounts/{ada}?at_version=3&min_position=5"));
    assert_eq!(then.expect(200).json()["balance"], 3750);
    // From one half of the transfer to the other.
    browser.click("#event .tree button");
    browser.wait_for_text("#event", "MoneyDeposited at position 5");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn the_log_is_filtered_by_type_and_by_correlation() {
    let console = Console::start();
    let ada = console.account("Ada");
    for (amount, correlation) in [(1, "one"), (2, "two"), (3, "two")] {
        let path = format!("/accounts/{ada}/deposit");
        let body = json!({ "amount": amount });
        console.system.commands().post_with(&path, &[("X-Correlation-Id", correlation)], &body).expect(200);
    }
    let browser = &console.browser;
    browser.wait("all are listed", "$('events').rows.length === 4");
    browser
        .wait("the types are listed", "document.querySelector('#log-filter [name=type]').options.length > 4");
    browser.run("document.querySelector('#log-filter [name=type]').value = 'MoneyDeposited'");
    browser.click("#log-filter [type=submit]");
    browser.wait("the deposits are listed", "$('events').rows.length === 3");
    browser.fill("#log-filter [name=correlation_id]", "two");
    browser.click("#log-filter [type=submit]");
    browser.wait("two deposits are listed", "$('events').rows.length === 2");
    // A live event that does not match stays away; a matching one comes.
    console.account("Bob");
    let body = json!({ "amount": 9 });
    let path = format!("/accounts/{ada}/deposit");
    console.system.commands().post_with(&path, &[("X-Correlation-Id", "two")], &body).expect(200);
    browser.wait("the new deposit is listed", "$('events').rows.length === 3");
    browser.click("#log-filter [type=reset]");
    browser.wait("all are listed again", "$('events').rows.length === 6");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_pause_lets_the_lag_show_and_a_query_wait() {
    let console = Console::start();
    let ada = console.account("Ada");
    let browser = &console.browser;
    browser.wait_for_text("#projections", "live");
    browser.click("#pause");
    browser.wait_for_text("#projections", "paused");
    browser.click("#try-deposit");
    browser.wait_for_text("[data-stage=accounts] .ms", "waiting");
    browser.wait_for_text("#projections", "1 event,");
    browser.click("#ask-head");
    browser.wait_for_text("#ask-answer", "waits for the read side");
    assert_eq!(browser.run("return document.querySelectorAll('[data-stage=accounts].done').length"), 0);
    let now = console.system.queries().get(&format!("/accounts/{ada}")).expect(200).json();
    assert_eq!(now["balance"], 0, "queries show the past");
    browser.click("#pause");
    browser.wait_for_text("#ask-answer", "was answered after");
    browser.wait_for_text("#path-title", "visible in every query after");
    browser.wait_for_text("#projections", "live");
    // The picture knows the lag for a minute, and says it in words.
    let picture = "picture.samples.some(({ head, positions }) => positions.accounts < head)";
    browser.wait("the lag was drawn", picture);
    browser.wait("the picture has words", "/Head 2; accounts at 2, 0 behind/.test($('chart').ariaLabel)");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_rebuild_is_begun_by_a_button_and_shows_its_progress() {
    let directory = Directory::fresh();
    bank::fill(&directory, 30_000);
    let console = Console::on(directory);
    let browser = &console.browser;
    browser.wait_for_text("#projections", "30\u{202f}000");
    browser.click("#projections tr:last-child button");
    browser.wait_for_text("#notice", "is rebuilt from the first event");
    browser.wait_for_text("#projections tr:last-child", "Give up");
    browser.wait(
        "the progress is shown",
        "document.querySelector('#projections progress:not([hidden])')?.max === 30000",
    );
    browser.wait_for_text("#projections tr:last-child", "Rebuild");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn an_account_is_shown_as_it_was_at_any_version() {
    let console = Console::start();
    let ada = console.account("Ada");
    for amount in [1000, 200, 30] {
        console.deposit(&ada, &json!({ "amount": amount, "description": format!("gift of {amount}") }));
    }
    console.choose(&ada);
    let browser = &console.browser;
    browser.wait_for_text("#balance", "12.30\u{a0}EUR");
    browser.wait_for_text("#statement tr:first-child", "gift of 30");
    browser.run("$('travel').focus()");
    for (key, version, balance) in
        [(LEFT, 3, "12.00"), (LEFT, 2, "10.00"), (LEFT, 1, "0.00"), (RIGHT, 2, "10.00")]
    {
        browser.press(key);
        browser.wait_for_text("#then", &format!("{version} of 4"));
        browser.wait_for_text("#then", balance);
    }
    // The present goes on; the past stays where the person looks.
    console.deposit(&ada, &json!({ "amount": 1 }));
    browser.wait_for_text("#balance", "12.31");
    browser.wait_for_text("#then", "2 of 4");
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn each_command_has_a_form_an_answer_and_a_curl_line_that_works() {
    let console = Console::start();
    let browser = &console.browser;
    console.send("open", &[("owner", "Emmy O'Noether"), ("currency", "CHF")]);
    browser.wait_for_text("#answer", "HTTP 201");
    browser.wait_for_text("#answer", "etag: \"1\"");
    browser.wait_for_text("#answer", "event-position: 1");
    browser.wait_for_text("#account", "Emmy O'Noether");
    let emmy = browser.run("return accounts.id");
    let bob = console
        .system
        .commands()
        .post("/accounts", &json!({ "owner": "Bob", "currency": "CHF" }))
        .expect(201)
        .json();
    let bob = bob["stream_id"].as_str().unwrap();
    console.send("deposit", &[("amount", "5000"), ("description", "a 'gift'"), ("key", "k-1")]);
    browser.wait_for_text("#answer", "HTTP 200");
    // The same line in a shell is the same request: its key is known.
    let line = browser.text("#curl");
    let ran = Command::new("sh").args(["-c", &format!("{line} --silent --noproxy '*'")]).output().unwrap();
    let answer = String::from_utf8_lossy(&ran.stdout).to_lowercase();
    assert!(
        answer.contains("http/1.1 200") && answer.contains("idempotency-replayed: true"),
        "{line}\n{answer}"
    );
    console.send("withdraw", &[("amount", "1000"), ("key", ""), ("match", "1")]);
    browser.wait_for_text("#answer", "HTTP 412");
    console.send("withdraw", &[("match", "2")]);
    browser.wait_for_text("#answer", "HTTP 200");
    console.send("transfer", &[("to", bob), ("amount", "4000"), ("match", "")]);
    browser.wait_for_text("#answer", "HTTP 200");
    console.send("close", &[]);
    browser.wait_for_text("#answer", "HTTP 200");
    browser.wait_for_text("#then", "closed");
    let queries = console.system.queries();
    let emmy = queries.get(&format!("/accounts/{}", emmy.as_str().unwrap())).expect(200).json();
    assert_eq!((&emmy["status"], &emmy["balance"]), (&json!("closed"), &json!(0)));
    assert_eq!(queries.get(&format!("/accounts/{bob}")).json()["balance"], 4000);
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn the_tap_opens_accounts_and_moves_money_at_the_rate_that_is_chosen() {
    let console = Console::start();
    let browser = &console.browser;
    browser.run("$('rate').value = 60; $('rate').dispatchEvent(new Event('input'))");
    browser.wait_for_text("#rate-shown", "60");
    browser.click("#tap-button");
    browser.wait("money moves", "tap.ok > 150");
    browser.wait_for_text("#path-title", "visible in every query after");
    // Over a hundred commands: the rate is that of the clock, with room for a busy machine, never above.
    let timed = "const done = arguments[0], [ok, begun] = [tap.ok, performance.now()];
        const look = () => tap.ok < ok + 120 ? setTimeout(look, 5) : done((tap.ok - ok) * 1000 / (performance.now() - begun));
        look();";
    let rate = browser.run_later(timed).as_f64().unwrap();
    assert!(rate < 75.0, "{rate} a second");
    browser.click("#tap-button");
    browser.wait("all answers are in", "tap.flights === 0");
    let health = console.system.commands().get("/health").expect(200).json();
    browser.wait(
        "the page has seen all of it",
        &format!("feed.at === {} && feed.missing === 0", health["head"]),
    );
    assert!(browser.run("return [tap.failed, $('events').rows.length <= 200]") == json!([0, true]));
    console.ends_well();
}
