//! Hostile data, and services that die while a person looks.

use serde_json::json;

use super::console::Console;
use crate::support::{Binary, Launch, System, wait_until};

/// Names that would do something if any of them were markup, an attribute, or an address.
const HOSTILE: [&str; 6] = [
    "<img src=x onerror=\"document.title='hacked'\">",
    "</script><script>document.title='hacked'</script>",
    "</td></table><h1 id=hacked>hacked</h1>",
    "\" onclick=\"document.title='hacked'",
    "javascript:document.title='hacked'",
    "\u{202e}\u{1f4a3}&lt;b&gt;{{7*7}}${7*7}",
];

#[test]
#[ignore = "needs a browser: just console-test"]
fn hostile_names_are_shown_as_text_and_do_nothing() {
    let console = Console::start();
    let browser = &console.browser;
    for text in HOSTILE {
        let id = console.account(text);
        let receipt = console.deposit(&id, &json!({ "amount": 1, "description": text }));
        let position = receipt["position"].as_u64().unwrap();
        let shown = serde_json::to_string(text).unwrap();
        let row = format!(
            "$('events').rows[0]?.dataset.position === '{position}' && $('events').textContent.includes({shown})"
        );
        browser.wait("the event is listed with the name", &row);
        browser.click("#events tr:first-child button");
        browser.wait(
            "the data are shown",
            &format!("JSON.parse(document.querySelector('#event pre').textContent).description === {shown}"),
        );
        browser.wait(
            "the fold has the owner",
            &format!("document.querySelector('.fold')?.textContent.includes({shown})"),
        );
        console.choose(&id);
        browser.wait(
            "the account is shown",
            &format!("document.querySelector('#account h3').textContent.includes({shown})"),
        );
        browser.wait("the statement has it", &format!("$('statement').textContent.includes({shown})"));
        browser.click("#try-deposit");
        browser.wait("the way names it", &format!("$('path-title').textContent.includes({shown})"));
    }
    let traces = "return [document.title, document.images.length, document.querySelectorAll('h1').length, document.scripts.length]";
    assert_eq!(browser.run(traces), json!(["Tally", 0, 1, 1]));
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_text_that_the_policy_does_not_name_does_not_run() {
    let console = Console::start();
    let browser = &console.browser;
    let injected = "const script = document.createElement('script'); script.textContent = \"document.title = 'ran'\";
        document.body.append(script); document.body.setAttribute('style', 'color: red'); return document.title";
    assert_eq!(browser.run(injected), "Tally");
    wait_until("the browser says that it refused", || {
        browser.complaints().iter().any(|line| line.contains("Content Security Policy"))
    });
    let elsewhere =
        "fetch('http://192.0.2.1/').then(() => arguments[0]('sent'), (error) => arguments[0]('refused'))";
    assert_eq!(browser.run_later(elsewhere), "refused");
    browser.wait_for_text("#notice", "Reload the page");
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn the_page_says_which_service_died_and_recovers_by_itself() {
    let mut console = Console::start();
    let ada = console.account("Ada");
    let browser = &console.browser;
    browser.wait("the account is listed", "$('account-list').rows.length === 1");

    let address = console.system.registry.address().to_owned();
    let url = console.system.registry.url();
    console.system.read.kill();
    browser.wait("the read side is away", "document.querySelector('.chip.read.away')");
    browser.wait_for_text("#notice", "The read side does not answer");
    // Commands go on meanwhile, and the log with them.
    let commands = console.system.write.client();
    commands.post(&format!("/accounts/{ada}/deposit"), &json!({ "amount": 700 })).expect(200);
    browser.wait("the deposit is listed", "$('events').rows.length === 2");
    browser.wait("the instance is grey", "document.querySelector('.instance.read.gone')");
    browser.wait_for_text(".instance.read.gone", "Its lease ran out");
    browser.wait_for_text(".instance.write:not(.gone)", "left of 2.0 s");
    // At another address: the page finds it as any client does.
    console.system.read = System::read(&console.system.directory, &url).start();
    browser.wait_for_text("#notice", "The read side answers again");
    browser.wait_for_text("#account-list", "7.00");

    console.system.registry.kill();
    browser.wait("the registry is away", "document.querySelector('.chip.registry.away')");
    // The sides work with what they know.
    browser.click("#try-deposit");
    browser.wait_for_text("#path-title", "visible in every query after");
    let registry = Launch::of(Binary::Registry, &console.system.directory);
    console.system.registry = registry.flag("--listen", &address).flag("--ttl", "2").start();
    browser.wait("the registry is back", "!document.querySelector('.chip.registry.away')");
    browser.wait("all are registered anew", "document.querySelectorAll('.instance:not(.gone)').length === 2");
    console.ends_well();
}

/// Counts the requests of the page from now on, in `asked`.
const COUNTED: &str = "if (!window.real) { window.real = fetch; window.fetch = (...request) => { window.asked += 1; return real(...request) } }
    window.asked = 0";

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_page_asks_seldom_while_services_are_away_and_never_while_hidden() {
    let mut console = Console::start();
    let browser = &console.browser;
    let url = console.system.registry.url();
    console.system.write.kill();
    console.system.read.kill();
    browser.wait("both are away", "document.querySelectorAll('.chip.away').length === 2");
    browser.run(COUNTED);
    let asked = browser.run_later("setTimeout(() => arguments[0](asked), 5000)").as_u64().unwrap();
    assert!(asked < 40, "{asked} requests in five seconds");
    let hide = |hidden: bool| {
        browser.run(&format!(
            "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }});
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    hide(true);
    // One request of each loop may be under way, or between two looks at the visibility.
    let asked = browser
        .run_later("setTimeout(() => { asked = 0; setTimeout(() => arguments[0](asked), 3000) }, 6000)");
    assert_eq!(asked, 0);
    console.system.write = System::write(&console.system.directory, &url).start();
    console.system.read = System::read(&console.system.directory, &url).start();
    hide(false);
    browser.wait("all answer again", "document.querySelectorAll('.chip.away').length === 0");
    console.ends_well();
}
