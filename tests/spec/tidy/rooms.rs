//! The rooms: each folder has a face, each file can be held in the head, each name and constant stands once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::modules::tokens;
use super::source::{Source, bare, root};

const MAX_FILE_LINES: usize = 500;
/// For the files of `src/`, tests that stand beside the code aside.
const MAX_SOURCE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 46;
/// A test may list more cases than fit into a function of the code.
const MAX_TEST_LINES: usize = 60;

/// Folders whose face stands beside them, by a name that is asked for.
const FACES_BESIDE: [(&str, &str); 1] = [("src/http", "src/http.rs")];

/// Faces that list their parts for the program, too, and the beginning of the list: a part is declared and listed in
/// one file.
const FACES_WITH_A_LIST: [(&str, &str); 1] = [("src/read_side/models/mod.rs", "pub(super) fn read_models()")];

/// What every face has: on which threads its code runs, and the next page to open.
const FACE_LINES: [&str; 2] = ["Threads:", "Read next:"];

/// Type names that may stand more than once, each with the reason.
const TWICE: [(&str, &str); 1] = [("State", "the data behind a lock, private to its file")];

/// What stands in one file of `src/`, each as the code writes it.
const ONCE: [(&str, &[&str]); 3] = [
    ("the largest exact integer", &["1 << 53", "9_007_199_254_740_991"]),
    ("the handling of a poisoned lock", &["PoisonError::into_inner"]),
    ("the range of a TTL", &["0.05..=86_400.0", "0.05, 86_400.0"]),
];

/// The parts of the core that work with any database.
const WITHOUT_SQLITE: [&str; 4] =
    ["src/es/audit/log.rs", "src/es/audit/backup.rs", "src/es/error.rs", "src/es/command"];

#[test]
fn a_file_says_first_what_it_is_and_can_be_held_in_the_head() {
    for source in Source::files("src").iter().chain(&Source::files("tests")) {
        assert!(source.text.starts_with("//! "), "{}: begin with what it is", source.path.display());
        let lines = source.text.lines().count();
        assert!(lines <= MAX_FILE_LINES, "{}: {lines} lines", source.path.display());
    }
}

#[test]
fn a_source_file_is_shorter_than_a_file_of_tests() {
    for source in Source::files("src").iter().filter(|source| !source.is_test()) {
        let lines = source.text.lines().count();
        assert!(lines <= MAX_SOURCE_LINES, "{}: {lines} lines", source.path.display());
    }
}

#[test]
fn a_function_fits_on_a_screen() {
    for source in Source::files("src").iter().chain(&Source::files("tests")) {
        let lines: Vec<_> = source.text.lines().collect();
        let tests_begin = if source.path.starts_with("src") { source.lines_without_tests().len() } else { 0 };
        for first in (0..lines.len()).filter(|first| is_function(&lines[*first..])) {
            // The code is formatted, so a function ends where its indentation comes back.
            let indent = lines[first].len() - lines[first].trim_start().len();
            let end = format!("{}}}", &lines[first][..indent]);
            let length = lines[first..].iter().position(|line| *line == end).map_or(1, |last| last + 1);
            let place = format!("{}:{}", source.path.display(), first + 1);
            let most = if first < tests_begin { MAX_FUNCTION_LINES } else { MAX_TEST_LINES };
            assert!(length <= most, "{place}: {length} lines: {}", lines[first].trim());
        }
    }
}

/// Returns whether a function with a body begins at the first of `lines`.
fn is_function(lines: &[&str]) -> bool {
    let item = without_visibility(lines[0].trim_start());
    let opening = lines.iter().find(|line| line.ends_with(['{', ';']));
    item.strip_prefix("const ").unwrap_or(item).starts_with("fn ")
        && opening.is_some_and(|line| line.ends_with('{'))
}

fn without_visibility(item: &str) -> &str {
    match item.strip_prefix("pub(") {
        Some(restricted) => restricted.split_once(") ").map_or("", |(_, rest)| rest),
        None => item.strip_prefix("pub ").unwrap_or(item),
    }
}

/// The folders of `src/` that hold more than binaries and tests.
fn folders() -> BTreeSet<PathBuf> {
    let files = Source::files("src");
    let code = files.iter().filter(|source| !source.is_test() && !source.is_binary());
    let folders = code.flat_map(|source| source.path.ancestors().skip(1).map(Path::to_owned));
    folders.filter(|folder| folder.starts_with("src") && folder != Path::new("src")).collect()
}

fn face(folder: &Path) -> PathBuf {
    let beside = FACES_BESIDE.iter().find(|(name, _)| folder == Path::new(name));
    beside.map_or_else(|| folder.join("mod.rs"), |(_, face)| face.into())
}

#[test]
fn every_folder_has_a_face_that_declares_its_parts_and_nothing_else() {
    let mut wrong = Vec::new();
    for face in folders().iter().map(|folder| face(folder)) {
        let Ok(text) = std::fs::read_to_string(root().join(&face)) else {
            wrong.push(format!("{}: missing", face.display()));
            continue;
        };
        for line in FACE_LINES.iter().filter(|line| !text.contains(**line)) {
            wrong.push(format!("{}: no line with \"{line}\"", face.display()));
        }
        let listing = FACES_WITH_A_LIST.iter().find(|(listing, _)| face == Path::new(listing));
        let code = bare(&text);
        let declarations = listing.and_then(|(_, list)| code.split(list).next()).unwrap_or(&code);
        if let Some(statement) = other_statement(declarations) {
            wrong.push(format!("{}: a face has no code, but this has {statement:?}", face.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the first statement of a face that is neither `mod` nor `use`.
fn other_statement(code: &str) -> Option<String> {
    let mut statements = code.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let is_declaration = |item: &str| {
        let item = without_visibility(item);
        item.starts_with("mod ") && !item.contains('{') || item.starts_with("use ")
    };
    statements.find(|item| !is_declaration(item)).and_then(|item| item.lines().next()).map(str::to_owned)
}

#[test]
fn a_statement_that_does_not_belong_into_a_face_is_found() {
    assert_eq!(other_statement("mod a;\npub(in crate::es) mod b;\npub use a::{A, B};\n"), None);
    assert_eq!(other_statement("mod a;\nfn f() {\n g();\n}").as_deref(), Some("fn f() {"));
    assert_eq!(other_statement("mod a { fn f() {} }").as_deref(), Some("mod a { fn f() {} }"));
}

/// Every file of `src/` without tests.
fn code() -> impl Iterator<Item = (PathBuf, String)> {
    let sources = Source::files("src").into_iter().filter(|source| !source.is_test());
    sources.map(|source| (source.path, bare(&source.text)))
}

#[test]
fn a_type_name_means_one_thing() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for (path, code) in code() {
        for name in type_names(&code) {
            places.entry(name).or_default().push(path.clone());
        }
    }
    places.retain(|name, places| places.len() > 1 && !TWICE.iter().any(|(allowed, _)| allowed == name));
    assert!(places.is_empty(), "these names stand for several types: {places:#?}");
}

/// Returns the names of the types and traits that code defines outside of functions and implementations.
fn type_names(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    for pair in tokens(code).windows(2) {
        match pair[0] {
            "{" => depth += 1,
            "}" => depth -= 1,
            "struct" | "enum" | "trait" | "type" if depth == 0 => names.push(pair[1].to_owned()),
            _ => (),
        }
    }
    names
}

#[test]
fn types_are_found_and_associated_types_are_not() {
    let code = "pub struct A { b: u8 }\nenum B {}\nimpl T for A { type C = u8; }\ntype D = u8;\npub trait T { type E; }";
    assert_eq!(type_names(code), ["A", "B", "D", "T"]);
}

#[test]
fn a_constant_stands_once() {
    for (what, forms) in ONCE {
        let has_it = |(_, code): &(PathBuf, String)| forms.iter().any(|form| code.contains(form));
        let places: BTreeSet<_> = code().filter(has_it).map(|(path, _)| path).collect();
        assert_eq!(places.len(), 1, "{what} stands in one file, not here: {places:#?}");
    }
}

#[test]
fn the_core_knows_sqlite_in_its_own_rooms_alone() {
    let mut found = Vec::new();
    for source in Source::files("src") {
        if WITHOUT_SQLITE.iter().any(|part| source.path.starts_with(part)) {
            let lines = source.text.lines().filter(|line| line.contains("rusqlite"));
            found.extend(lines.map(|line| format!("{}: {}", source.path.display(), line.trim())));
        }
    }
    assert!(found.is_empty(), "these work with any database:\n{}", found.join("\n"));
    for part in WITHOUT_SQLITE {
        assert!(root().join(part).exists(), "{part} was moved: name its new place here");
    }
}
