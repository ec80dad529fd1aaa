//! Each service alone, with its route table: for rules that hold on every route of every service.

use serde_json::{Value, json};
use tally::http::Route;
use tally::service::about;

use crate::bank::NO_REGISTRY;
use crate::support::{Binary, Directory, Launch, Process, Reply, Wire};

/// A service that runs alone.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) wire: Wire,
    pub(crate) rows: Vec<Row>,
    /// Two accounts of a write service; of the others, nobody's.
    pub(crate) ids: [String; 2],
    process: Process,
    _directory: Directory,
}

/// One row of the route table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) method: String,
    pub(crate) pattern: &'static str,
}

pub(crate) const SERVICES: [Binary; 3] = [Binary::Registry, Binary::Write, Binary::Read];

impl Service {
    pub(crate) fn start(binary: Binary) -> Self {
        let directory = Directory::fresh();
        let launch = Launch::on_free_port(binary, &directory);
        let (launch, rows) = match binary {
            Binary::Registry => (launch, rows(tally::registry::ROUTES)),
            Binary::Write => (launch.flag("--registry", NO_REGISTRY), rows(tally::write_side::ROUTES)),
            Binary::Read => (launch.flag("--registry", NO_REGISTRY), rows(tally::read_side::routes())),
            Binary::Tally => unreachable!("it is the other three"),
        };
        let process = launch.start();
        let ids = ["1", "2"].map(|last| format!("01936d5e-8f2a-7000-8000-00000000000{last}"));
        let mut service =
            Self { wire: Wire::to(process.address()), rows, ids, process, _directory: directory };
        if binary == Binary::Write {
            service.open_accounts();
        }
        service
    }

    fn open_accounts(&mut self) {
        for id in self.ids.clone() {
            let open = json!({"owner": "Ada", "account_id": id}).to_string();
            assert_eq!(self.wire.send_json("POST", "/accounts", open).status, 201);
            let deposit = format!("/accounts/{id}/deposit");
            assert_eq!(self.wire.send_json("POST", &deposit, r#"{"amount":100}"#).status, 200);
        }
    }

    /// The row's path, with values for its segments that are good.
    pub(crate) fn path(&self, row: &Row) -> String {
        row.pattern
            .replace("{id}", &self.ids[0])
            .replace("{instance_id}", &self.ids[0])
            .replace("{name}", "accounts")
            .replace("{slug}", "not-found")
    }

    /// A body that the row's handler takes; `None` where the route takes no body.
    pub(crate) fn good_body(&self, row: &Row) -> Option<Value> {
        let body = match (row.method.as_str(), row.pattern) {
            ("POST", "/accounts") => {
                let id = "01936d5e-8f2a-7000-8000-000000000009";
                json!({"owner": "Ada", "currency": "EUR", "account_id": id})
            }
            ("POST", "/accounts/{id}/deposit" | "/accounts/{id}/withdraw") => {
                json!({"amount": 1, "description": "tea"})
            }
            ("POST", "/accounts/{id}/close" | "/projections/{name}/rebuild") => json!({}),
            ("POST", "/transfers") => {
                let [from, to] = &self.ids;
                json!({"from": from, "to": to, "amount": 1, "description": "tea", "transfer_id": from})
            }
            ("POST", "/services") => {
                let id = &self.ids[0];
                let metadata = json!({"zone": "a"});
                json!({"name": "write", "host": "::1", "port": 7001, "instance_id": id, "metadata": metadata})
            }
            _ => return None,
        };
        Some(body)
    }

    /// The rows that take a body, with their paths and good bodies.
    pub(crate) fn rows_with_bodies(&self) -> Vec<(Row, String, Value)> {
        let with_body = |row: &Row| Some((row.clone(), self.path(row), self.good_body(row)?));
        self.rows.iter().filter_map(with_body).collect()
    }

    /// What changes when the service records anything.
    pub(crate) fn recorded(&mut self) -> Value {
        let health = self.wire.send("GET", "/health", &[], b"");
        let health = health.expect(200).json();
        assert_eq!(health["status"], "ok");
        json!([health["head"], health["index"], health["position"]])
    }

    /// Ends it, and checks that it was well to the end.
    pub(crate) fn ends_in_order(self) {
        let ended = self.process.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

/// The service's own routes and those that every service has.
fn rows<S>(routes: &'static [Route<S>]) -> Vec<Row> {
    let own = routes.iter().map(|route| (&route.method, route.pattern));
    let common = about::ROUTES.iter().map(|route| (&route.method, route.pattern));
    own.chain(common).map(|(method, pattern)| Row { method: method.as_str().to_owned(), pattern }).collect()
}

/// Checks that it is a problem of that status and kind, complete, and returns it.
#[track_caller]
pub(crate) fn assert_problem(reply: &Reply, status: u16, slug: &str) -> Value {
    let problem = problem(reply);
    assert_eq!((reply.status, reply.problem().as_str()), (status, slug), "{problem}");
    problem
}

/// Checks that it is a problem, and complete.
#[track_caller]
pub(crate) fn problem(reply: &Reply) -> Value {
    assert_eq!(reply.header("Content-Type"), Some("application/problem+json"), "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status, "{problem}");
    assert!(problem["type"].as_str().is_some_and(|kind| kind.starts_with("/problems/")), "{problem}");
    for member in ["title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    problem
}
