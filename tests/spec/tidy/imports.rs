//! Which module may use which. The import rules are the architecture: pure modules do no I/O, mechanisms
//! know neither the domain nor each other, the write side and the read side meet over HTTP alone, and the
//! files of a folder stand in an order.

use std::collections::{BTreeMap, BTreeSet};

use super::modules::{Module, Modules};
use super::source::Source;

/// What each module of `src/` may use of the others. A module that is absent here is wiring and may use
/// all but what [`APART`] forbids.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("account", &["es", "limits"]),
    ("es", &["gate", "jitter", "lock", "time", "watch"]),
    ("http", &["gate", "host", "lock", "time", "watch"]),
    ("console", &["http"]),
    ("limits", &[]),
    ("jitter", &[]),
    ("lock", &[]),
    ("time", &[]),
    ("watch", &["lock"]),
    ("host", &[]),
    ("registry", &["console", "gate", "host", "http", "limits", "lock", "time", "watch"]),
    ("discovery", &["host", "jitter", "lock", "watch"]),
    ("gate", &["lock"]),
    // A client: of the services it knows their interface, not their code. `service` for exit codes and file tasks.
    ("cli", &["account", "discovery", "es", "limits", "lock", "service", "time"]),
];

/// The import rule that is CQRS.
const APART: [(&str, &str); 2] = [("write_side", "read_side"), ("read_side", "write_side")];

/// Modules that compute and do nothing else, and what they must not name.
const PURE: [&str; 1] = ["account"];
const EFFECTS: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "SystemTime",
    "Instant::now",
    "now_v7",
];

/// The face of a folder among its files.
const FACE: &str = "mod.rs";

/// The modules of this crate that the code of a file names, tests included.
fn uses(source: &Source) -> BTreeSet<String> {
    let code: Vec<_> = source.code().collect();
    let mentions = Module::read(&code.join("\n")).mentions;
    let of_crate =
        mentions.into_iter().filter(|mention| mention.path[0] == "crate" && mention.path.len() > 1);
    of_crate.map(|mut mention| mention.path.swap_remove(1)).collect()
}

#[test]
fn mechanisms_know_neither_the_domain_nor_each_other() {
    for source in Source::files("src") {
        let module = source.module();
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for used in uses(&source) {
            assert!(
                used == module || allowed.contains(&used.as_str()),
                "{}: {module} must not use {used}",
                source.path.display()
            );
        }
    }
}

#[test]
fn the_write_side_and_the_read_side_never_import_each_other() {
    for source in Source::files("src") {
        for (side, other) in APART.iter().filter(|(side, _)| *side == source.module()) {
            assert!(
                !uses(&source).contains(*other),
                "{}: {side} must not use {other}",
                source.path.display()
            );
        }
    }
}

#[test]
fn pure_modules_do_nothing_but_compute() {
    for source in Source::files("src").iter().filter(|source| PURE.contains(&source.module().as_str())) {
        for line in source.code() {
            let effect = EFFECTS.iter().find(|effect| line.contains(**effect));
            assert_eq!(effect, None, "{}: {line}", source.path.display());
        }
    }
}

/// Who imports whom among the parts of one folder: its files, its subfolders, and its face.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

/// Returns the edges inside `folder`; each edge keeps one place at which it is written.
fn edges(modules: &Modules, folder: &[String]) -> Edges {
    let mut edges = Edges::new();
    for (name, module) in modules.0.iter().filter(|(name, _)| name.starts_with(folder)) {
        let from = part(folder, name);
        for mention in &module.mentions {
            // A face re-exports its parts; that is what it is for.
            if from == FACE && mention.is_reexport {
                continue;
            }
            let Some(definer) = modules.definer(name, &mention.path) else { continue };
            let to = part(folder, &definer);
            if definer.starts_with(folder) && to != from {
                let place = format!("{} names {}", name.join("::"), mention.path.join("::"));
                edges.entry(from.clone()).or_default().entry(to).or_insert(place);
            }
        }
    }
    edges
}

/// Returns the part of `folder` to which a module belongs.
fn part(folder: &[String], name: &[String]) -> String {
    name.get(folder.len()).cloned().unwrap_or_else(|| FACE.to_owned())
}

/// Returns the edges that lie on a circle.
fn circles(edges: &Edges) -> Vec<String> {
    let mut found = Vec::new();
    for (from, targets) in edges {
        for (to, place) in targets.iter().filter(|(to, _)| reaches(edges, to, from)) {
            found.push(format!("{from} -> {to}: {place}"));
        }
    }
    found
}

fn reaches(edges: &Edges, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(next) = open.pop() {
        if next == to {
            return true;
        }
        if seen.insert(next) {
            open.extend(edges.get(next).into_iter().flat_map(BTreeMap::keys).map(String::as_str));
        }
    }
    false
}

#[test]
fn no_two_files_of_a_folder_import_each_other() {
    let modules = Modules::read();
    let folders = modules.0.iter().filter(|(_, module)| !module.children.is_empty());
    let found: Vec<_> = folders
        .flat_map(|(folder, _)| {
            let circles = circles(&edges(&modules, folder));
            circles.into_iter().map(|edge| format!("src/{}: {edge}", folder.join("/")))
        })
        .collect();
    assert!(found.is_empty(), "these imports form circles:\n{}", found.join("\n"));
}

#[test]
fn a_circle_is_found_however_long_it_is() {
    let name = |path: &str| path.split("::").map(str::to_owned).collect::<Vec<_>>();
    let modules = |last: &str| {
        Modules(BTreeMap::from([
            (Vec::new(), Module::read("mod es;")),
            (name("es"), Module::read("mod a; mod b; mod c; pub use a::A;")),
            (name("es::a"), Module::read("use super::b::B;")),
            (name("es::b"), Module::read("fn f() { crate::es::c::g() }")),
            (name("es::c"), Module::read(last)),
        ]))
    };
    let circles = |last| circles(&edges(&modules(last), &name("es")));
    assert_eq!(circles("use super::A;").len(), 3, "c -> a through the re-export");
    assert!(circles("use std::fs;").is_empty());
}
