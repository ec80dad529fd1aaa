//! Names of places in the texts for people: places move, and a document that names one must follow.

use std::path::{Path, PathBuf};

use super::source::{Source, root};

/// Returns the paths of the texts for people: every Markdown file of the tree.
pub(super) fn documents() -> Vec<String> {
    let mut found: Vec<_> = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(str::to_owned).into();
    let mut folders = vec![root().join("docs"), root().join("examples")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert!(found.len() > 15, "the guides and the course are not found");
    found
}

/// A view from above: a longer one is not kept true.
const MAX_ARCHITECTURE_LINES: usize = 160;

fn text_of(document: &str) -> String {
    std::fs::read_to_string(root().join(document)).unwrap()
}

/// Returns a document without its blocks of code.
pub(super) fn prose_of(document: &str) -> String {
    text_of(document).split("```").step_by(2).collect::<Vec<_>>().join("\n")
}

fn quoted(prose: &str) -> impl Iterator<Item = &str> {
    prose.split('`').skip(1).step_by(2)
}

#[test]
fn every_file_function_and_test_that_a_document_names_exists() {
    let mut wrong = Vec::new();
    for document in documents() {
        let prose = prose_of(&document);
        for name in quoted(&prose).filter(|quoted| is_a_place(quoted)) {
            let (file, function) =
                name.split_once("::").map_or((name, None), |(file, name)| (file, Some(name)));
            let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
            if !root().join(file).exists() {
                wrong.push(format!("{document} names {name}, but there is no {file}"));
            } else if function.is_some_and(|function| !defines(&text, function)) {
                wrong.push(format!("{document} names {name}, but {file} has no such function"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns whether a file has the function, generic or not.
fn defines(text: &str, function: &str) -> bool {
    let head = format!("fn {function}");
    text.match_indices(&head).any(|(at, _)| text[at + head.len()..].starts_with(['(', '<']))
}

/// `src/es/log/event_log.rs`, `schema.sql`, `tests/spec/tidy/rooms.rs::a_function_fits_on_a_screen`.
fn is_a_place(quoted: &str) -> bool {
    let file = quoted.split("::").next().unwrap_or(quoted);
    let ends = [".rs", ".sql", ".md", ".sh", ".toml", ".jsonl"].iter().any(|end| file.ends_with(end));
    let begins = ["src/", "tests/", "benches/", "examples/", "openapi/", "docs/", ".ci/"];
    let is_one_word = !file.contains([' ', '*', '{']);
    is_one_word && (ends || begins.iter().any(|begin| file.starts_with(begin)))
}

#[test]
fn every_link_of_a_document_leads_to_a_file_or_a_heading() {
    for document in documents() {
        let prose = prose_of(&document);
        let targets =
            prose.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let here = Path::new(&document);
            let path = if file.is_empty() { here.to_owned() } else { here.parent().unwrap().join(file) };
            assert!(
                root().join(&path).exists(),
                "{document} links to {target}, but there is no {}",
                path.display()
            );
            let has_heading = heading.is_empty()
                || text_of(&path.to_string_lossy()).lines().any(|line| anchor(line) == heading);
            assert!(has_heading, "{document} links to {target}, but there is no such heading");
        }
    }
}

/// Returns the name by which a link finds a heading: `the-way-of-a-command`.
fn anchor(line: &str) -> String {
    let heading = line.strip_prefix('#').map_or("", |line| line.trim_start_matches('#').trim());
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars().filter(|c| c.is_alphanumeric() || *c == '-' || *c == '_').collect()
}

#[test]
fn every_file_that_a_comment_names_exists() {
    let mut wrong = Vec::new();
    for source in Source::files("src") {
        let comments: Vec<_> = source.comments().map(|(_, text)| text).collect();
        let comments = comments.join("\n");
        for name in quoted(&comments).filter(|name| is_a_place(name) && name.ends_with(".rs")) {
            if !places(&source.path, name).iter().any(|path| root().join(path).exists()) {
                wrong.push(format!("{} names {name}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "no such files:\n{}", wrong.join("\n"));
}

/// Returns where a name in a comment may lead: from the file's folder, any folder above it, or its own.
fn places(file: &Path, name: &str) -> Vec<PathBuf> {
    let below = file.with_extension("").join(name);
    let above = file.ancestors().skip(1).map(|folder| folder.join(name));
    above.chain([below]).collect()
}

#[test]
fn the_architecture_is_told_on_a_few_pages() {
    let lines = text_of("ARCHITECTURE.md").lines().count();
    assert!(lines < MAX_ARCHITECTURE_LINES, "ARCHITECTURE.md has {lines} lines");
}
