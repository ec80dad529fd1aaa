//! A real browser, driven over the WebDriver protocol: Debian's chromium and its chromedriver.
//!
//! **Invariant:** the browser, the driver and the profile end with the value, also when a test fails. A missing
//! browser fails the test: a suite that skips would not say so.
//!
//! Protocol: <https://www.w3.org/TR/webdriver2/>.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Directory, wait_for, wait_within};

/// No page of the console takes longer for one step; a driver that hangs fails the test.
const STEP_LIMIT: Duration = Duration::from_secs(60);
/// After which the driver is killed that does not end its session.
const END_LIMIT: Duration = Duration::from_secs(10);
/// Longer than a step of the page takes on a busy machine.
const PAGE_LIMIT: Duration = Duration::from_secs(40);

/// For elements that the protocol names by this key.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(super) const ENTER: &str = "\u{e007}";
pub(super) const TAB: &str = "\u{e004}";
pub(super) const SPACE: &str = " ";
pub(super) const LEFT: &str = "\u{e012}";
pub(super) const RIGHT: &str = "\u{e014}";

/// One browser with one page.
pub(super) struct Browser {
    driver: Child,
    agent: ureq::Agent,
    session: String,
    profile: Directory,
}

impl Browser {
    /// Starts a browser whose page is `width` CSS pixels wide.
    pub(super) fn start(width: u32) -> Self {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let started = command.spawn();
        let mut driver =
            started.expect("chromedriver is installed (apt-get install chromium chromium-driver)");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("started successfully on port"));
        let line = line.expect("chromedriver names its port");
        let port: String = line.chars().filter(char::is_ascii_digit).collect();
        // Read to its end, or the driver would block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false);
        let agent = config.timeout_global(Some(STEP_LIMIT)).build().new_agent();
        let session = format!("http://127.0.0.1:{port}/session");
        let mut browser = Self { driver, agent, session, profile: Directory::fresh() };
        let begun = browser.send("", Some(&browser.capabilities()));
        browser.session = format!("{}/{}", browser.session, begun["sessionId"].as_str().unwrap());
        browser.resize(width);
        browser
    }

    fn capabilities(&self) -> Value {
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let mut flags = vec![profile.as_str(), "--headless", "--no-sandbox", "--disable-gpu"];
        // It asks nobody on the internet, and nothing of it stays.
        flags.extend(["--disable-quic", "--no-first-run", "--disable-background-networking"]);
        flags.extend(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]);
        let options = json!({ "args": flags });
        json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
            "unhandledPromptBehavior": "ignore",
        } } })
    }

    /// Sends a command of the protocol: a POST with a body, a GET without.
    #[track_caller]
    fn send(&self, path: &str, body: Option<&Value>) -> Value {
        self.try_send(path, body).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn try_send(&self, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let url = format!("{}{path}", self.session);
        let response = match body {
            Some(body) => self.agent.post(url).send(body.to_string()),
            None => self.agent.get(url).call(),
        };
        let mut response = response.map_err(|error| error.to_string())?;
        let text = response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap();
        let value = serde_json::from_str::<Value>(&text).unwrap()["value"].take();
        if response.status() == 200 { Ok(value) } else { Err(value["message"].to_string()) }
    }

    /// A command of the Chrome DevTools Protocol.
    pub(super) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.send("/goog/cdp/execute", Some(&json!({ "cmd": command, "params": parameters })))
    }

    pub(super) fn resize(&self, width: u32) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Pretends that the person prefers `scheme` (light, dark), and no motion.
    pub(super) fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    pub(super) fn go(&self, url: &str) {
        self.send("/url", Some(&json!({ "url": url })));
    }

    /// Runs a function body in the page and returns its value.
    #[track_caller]
    pub(super) fn run(&self, script: &str) -> Value {
        self.send("/execute/sync", Some(&json!({ "script": script, "args": [] })))
    }

    /// Runs a function body that calls its last argument with its value.
    #[track_caller]
    pub(super) fn run_later(&self, script: &str) -> Value {
        self.send("/execute/async", Some(&json!({ "script": script, "args": [] })))
    }

    fn element(&self, selector: &str) -> String {
        let place = json!({ "using": "css selector", "value": selector });
        wait_for(&format!("{selector} is on the page"), || {
            let found = self.try_send("/element", Some(&place)).ok()?;
            Some(found[ELEMENT].as_str().unwrap().to_owned())
        })
    }

    /// Clicks as a person does: an element that is covered or hidden is not clicked.
    #[track_caller]
    pub(super) fn click(&self, selector: &str) {
        wait_within(PAGE_LIMIT, &format!("{selector} can be clicked"), || {
            // In the middle of the window, away from the header that stays on top.
            self.run(&format!(
                "document.querySelector({selector:?})?.scrollIntoView({{block: 'center', behavior: 'instant'}})"
            ));
            self.try_send(&format!("/element/{}/click", self.element(selector)), Some(&json!({}))).ok()
        });
    }

    /// Replaces what a field holds.
    pub(super) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.send(&format!("/element/{element}/clear"), Some(&json!({})));
        self.send(&format!("/element/{element}/value"), Some(&json!({ "text": text })));
    }

    /// Types into what has the focus.
    pub(super) fn press(&self, key: &str) {
        let stroke = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": stroke }] });
        self.send("/actions", Some(&actions));
    }

    /// The text of an element, as a person sees it.
    pub(super) fn text(&self, selector: &str) -> String {
        self.send(&format!("/element/{}/text", self.element(selector)), None).as_str().unwrap().to_owned()
    }

    /// Waits until an expression is true in the page.
    #[track_caller]
    pub(super) fn wait(&self, what: &str, expression: &str) {
        let script = format!("return Boolean({expression})");
        wait_within(PAGE_LIMIT, what, || (self.run(&script) == true).then_some(()));
    }

    /// Waits until an element's text has these words.
    #[track_caller]
    pub(super) fn wait_for_text(&self, selector: &str, words: &str) {
        let what = format!("{selector} says {words:?}");
        self.wait(&what, &format!("document.querySelector({selector:?})?.textContent.includes({words:?})"));
    }

    /// What the browser has complained of since the last call: errors of scripts, and refusals by the policy.
    /// A request that failed is not among them: services die in these tests.
    pub(super) fn complaints(&self) -> Vec<String> {
        let lines = self.send("/se/log", Some(&json!({ "type": "browser" })));
        let lines = lines.as_array().unwrap().iter();
        let bad = lines.filter(|line| line["level"] != "INFO" && line["source"] != "network");
        bad.map(|line| line["message"].to_string()).collect()
    }

    /// The browser's processes: each has the profile on its command line.
    fn processes(&self) -> Vec<String> {
        let profile = self.profile.path().to_string_lossy().into_owned();
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let has_profile = |id: &String| {
            let line = std::fs::read(Path::new("/proc").join(id).join("cmdline"));
            line.is_ok_and(|line| String::from_utf8_lossy(&line).contains(&profile))
        };
        ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())).filter(has_profile).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let page = "return document.body.innerText.slice(0, 4000)";
            let page = self.try_send("/execute/sync", Some(&json!({ "script": page, "args": [] })));
            eprintln!("--- the page\n{}", page.unwrap_or_default().as_str().unwrap_or_default());
        }
        // Each step may fail when the browser is gone already.
        let ending = self.agent.delete(&self.session).config().timeout_global(Some(END_LIMIT)).build();
        drop(ending.call());
        drop(self.driver.kill());
        drop(self.driver.wait());
        for id in self.processes() {
            drop(Command::new("kill").args(["-KILL", &id]).stderr(Stdio::null()).status());
        }
    }
}
