//! Everybody: keyboards, screen readers, small windows, light and dark.

use serde_json::{Value, json};

use super::console::Console;
use super::driver::{Browser, ENTER, RIGHT, SPACE, TAB};

/// Brings every section into a state with something to see.
fn fill(console: &Console) {
    let browser = &console.browser;
    let id = console.account(&"Wolfeschlegelsteinhausenbergerdorff".repeat(5));
    console.deposit(&id, &json!({ "amount": 9_007_199_254_740_000_u64, "description": "d".repeat(500) }));
    console.choose(&id);
    browser.click("#events tr:first-child button");
    browser.wait("the fold is shown", "document.querySelector('.fold')");
    console.send("deposit", &[("amount", "1")]);
    browser.wait_for_text("#path-title", "visible in every query after");
    browser.click("#try-refused");
    browser.wait("the problem is shown", "!$('path-problem').hidden");
    browser.wait(
        "the tables are filled",
        "$('projections').rows.length === 3 && $('instances').children.length > 1",
    );
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn no_window_from_360_pixels_on_scrolls_sideways() {
    let console = Console::start();
    fill(&console);
    for width in [360, 560, 600, 900, 1100, 1280, 1920] {
        console.browser.resize(width);
        let widths = console
            .browser
            .run("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]");
        assert_eq!(widths[0], widths[1], "{width}");
        let cut = "return [...document.querySelectorAll('button, input, select, label, h2, h3, p')]
            .filter((node) => node.offsetWidth && !node.closest('.scroll, nav, .skip, .tabs'))
            .filter((node) => { const box = node.getBoundingClientRect(); return box.right > document.documentElement.clientWidth + 1 || box.left < -1 })
            .map((node) => node.outerHTML.slice(0, 120))";
        assert_eq!(console.browser.run(cut), json!([]), "{width}");
    }
    console.ends_well();
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn a_keyboard_alone_does_everything() {
    let console = Console::start();
    let browser = &console.browser;
    let focused = || {
        browser.run("const now = document.activeElement; return now.id || now.name || now.className || now.textContent")
    };
    let reach = |goal: &str| {
        for _ in 0..80 {
            if focused() == goal {
                return;
            }
            browser.press(TAB);
            let ring = browser.run("const now = document.activeElement; const shown = now.closest('.tabs label') ?? now; return getComputedStyle(shown).outlineStyle");
            assert_ne!(ring, "none", "{} shows no focus", focused());
        }
        panic!("{goal} is not reached by Tab");
    };
    browser.press(TAB);
    assert_eq!(focused(), "skip", "first of all, over the header");
    reach("try-open");
    browser.press(ENTER);
    browser.wait_for_text("#path-title", "visible in every query after");
    browser.wait("the event is listed", "$('events').rows.length === 1");
    reach("link mono");
    browser.press(ENTER);
    browser.wait("the event is unfolded, and has the focus", "document.activeElement === $('event')");
    browser.wait("the fold is shown", "document.querySelector('.fold')");
    reach("fold-version");
    reach("pause");
    browser.press(SPACE);
    browser.wait_for_text("#projections", "paused");
    browser.press(SPACE);
    browser.wait_for_text("#projections", "live");
    reach("kind");
    browser.press(RIGHT);
    browser.wait("deposit is chosen", "kind() === 'deposit'");
    reach("amount");
    browser.press(ENTER);
    browser.wait_for_text("#answer", "HTTP 200");
    reach("rate");
    browser.press(RIGHT);
    browser.wait_for_text("#rate-shown", "21");
    reach("tap-button");
    browser.press(ENTER);
    browser.wait("money moves", "tap.ok > 10");
    browser.press(ENTER);
    browser.wait("the tap is closed", "!tap.open");
    console.ends_well();
}

/// The rules of axe-core, as `npm ci` has laid them into `target/`.
fn axe() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/browser/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(path).expect("axe-core is installed: tests/browser/install.sh")
}

/// The serious and critical faults of the page, each with the elements that have it.
fn faults(browser: &Browser, axe: &str) -> Vec<String> {
    browser.run(axe);
    let found = browser.run_later("axe.run(document).then(({ violations }) => arguments[0](violations))");
    let is_serious =
        |fault: &&Value| ["serious", "critical"].contains(&fault["impact"].as_str().unwrap_or_default());
    let shown = |fault: &Value| {
        let nodes = fault["nodes"].as_array().unwrap().iter();
        let nodes: Vec<_> =
            nodes.take(4).map(|node| format!("{} {}", node["html"], node["failureSummary"])).collect();
        format!("{}: {}\n{}", fault["id"], fault["help"], nodes.join("\n"))
    };
    found.as_array().unwrap().iter().filter(is_serious).map(shown).collect()
}

#[test]
#[ignore = "needs a browser: just console-test"]
fn axe_finds_no_serious_fault_in_light_and_dark() {
    let console = Console::start();
    let axe = axe();
    fill(&console);
    let browser = &console.browser;
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for width in [1280, 360] {
            browser.resize(width);
            assert_eq!(faults(browser, &axe), [""; 0], "{scheme}, {width} pixels");
        }
    }
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        for path in ["/", "/health", "/problems/read-model-behind"] {
            browser.go(&format!("{}{path}", console.system.read.url()));
            assert_eq!(faults(browser, &axe), [""; 0], "{scheme} {path}");
        }
    }
    console.ends_well();
}
