//! The three services, and a browser that shows the console.

use serde_json::{Value, json};

use super::driver::Browser;
use crate::support::{Directory, System};

pub(super) struct Console {
    // Dropped first: the browser's requests end before its services do.
    pub(super) browser: Browser,
    pub(super) system: System,
}

impl Console {
    pub(super) fn start() -> Self {
        Self::on(Directory::fresh())
    }

    /// On the data that is there.
    pub(super) fn on(directory: Directory) -> Self {
        let system = System::on(directory);
        let browser = Browser::start(1280);
        let console = Self { browser, system };
        console.open();
        console
    }

    /// Opens the page, and waits until it has found both sides.
    pub(super) fn open(&self) {
        self.browser.go(&self.system.registry.url());
        self.browser.wait("both sides are found", "document.querySelectorAll('.chip.away').length === 0");
        self.browser.wait("the page follows the log", "$('followed').dataset.at !== undefined");
    }

    /// Opens an account by a command of another client.
    pub(super) fn account(&self, owner: &str) -> String {
        let open = json!({ "owner": owner });
        let receipt = self.system.commands().post("/accounts", &open).expect(201).json();
        receipt["stream_id"].as_str().unwrap().to_owned()
    }

    pub(super) fn deposit(&self, id: &str, body: &Value) -> Value {
        self.system.commands().post(&format!("/accounts/{id}/deposit"), body).expect(200).json()
    }

    /// Chooses an account of the list.
    pub(super) fn choose(&self, id: &str) {
        self.browser.wait("the account is listed", &format!("document.querySelector('[data-id=\"{id}\"]')"));
        self.browser.click(&format!("[data-id='{id}']"));
        self.browser.wait("the account is shown", &format!("$('account').dataset.id === '{id}'"));
    }

    /// Sends the command of the form that is named so, with these fields.
    pub(super) fn send(&self, kind: &str, fields: &[(&str, &str)]) {
        let browser = &self.browser;
        browser.run(&format!("document.querySelector('#command [value={kind}]').click()"));
        fields.iter().for_each(|(name, value)| browser.fill(&format!("#command [name={name}]"), value));
        browser.run("$('answer').replaceChildren()");
        browser.click("#command button[type=submit]");
        browser.wait("the command is answered", "$('answer').textContent.includes('HTTP')");
    }

    /// Ends it, and checks that the browser had nothing to complain of.
    #[track_caller]
    pub(super) fn ends_well(self) {
        assert_eq!(self.browser.complaints(), [""; 0]);
    }
}
