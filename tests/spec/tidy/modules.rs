//! The tree of modules of `src/`: which module a path such as `super::file::Item` names.
//!
//! A path is followed through re-exports to the module that defines the item: an import of
//! `crate::es::Projector` counts for `es::projection::projector`.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Source, bare};

/// More steps than any chain of re-exports in the crate has.
const MAX_REEXPORTS: usize = 8;

type Name = Vec<String>;

/// A path in the code.
pub(super) struct Mention {
    pub(super) path: Vec<String>,
    /// Its name in this module, when the path stands in a `use`.
    imported_as: Option<String>,
    pub(super) is_reexport: bool,
}

pub(super) struct Module {
    pub(super) children: BTreeSet<String>,
    pub(super) mentions: Vec<Mention>,
}

/// All modules without tests and binaries, by name; the crate itself is `[]`.
pub(super) struct Modules(pub(super) BTreeMap<Name, Module>);

impl Modules {
    pub(super) fn read() -> Self {
        let files = Source::files("src");
        let code = files.iter().filter(|source| !source.is_test() && !source.is_binary());
        Self(code.map(|source| (name(source), Module::read(&bare(&source.text)))).collect())
    }

    /// Returns the module that defines what `path`, as written in `from`, names; nothing for other crates.
    pub(super) fn definer(&self, from: &[String], path: &[String]) -> Option<Name> {
        self.follow(from, path, MAX_REEXPORTS)
    }

    fn follow(&self, from: &[String], path: &[String], steps: usize) -> Option<Name> {
        let (mut at, mut rest) = self.start(from, path)?;
        while let Some((next, after)) = rest.split_first() {
            let module = self.0.get(&at)?;
            if module.children.contains(next) {
                at.push(next.clone());
                rest = after;
                continue;
            }
            let mut imports =
                module.mentions.iter().filter(|mention| mention.imported_as.as_ref() == Some(next));
            let reexport = imports.next().filter(|_| steps > 0);
            return reexport.and_then(|mention| self.follow(&at, &mention.path, steps - 1)).or(Some(at));
        }
        Some(at)
    }

    /// Returns the module at which `path` begins, and the path from there.
    fn start<'a>(&self, from: &[String], path: &'a [String]) -> Option<(Name, &'a [String])> {
        let mut at = from.to_vec();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => (at, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|part| part == "super") {
                    at.pop();
                    rest = &rest[1..];
                }
            }
            first if self.0.get(from)?.children.contains(first) => (),
            _ => return None,
        }
        Some((at, rest))
    }
}

fn name(source: &Source) -> Name {
    let mut parts = source.parts();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib")) {
        parts.pop();
    }
    parts
}

impl Module {
    pub(super) fn read(code: &str) -> Self {
        let tokens = tokens(code);
        let mut module = Self { children: BTreeSet::new(), mentions: Vec::new() };
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "mod" && tokens.get(at + 2) == Some(&";") {
                module.children.insert(tokens[at + 1].to_owned());
            }
            let is_use = tokens[at] == "use";
            let begins_path = is_word(tokens[at]) && tokens.get(at + 1) == Some(&"::");
            // `pub(in crate::es)` names no item.
            if at > 0 && tokens[at - 1] == "in" || !is_use && !begins_path {
                at += 1;
                continue;
            }
            let is_reexport = is_use && at > 0 && matches!(tokens[at - 1], "pub" | ")");
            at += usize::from(is_use);
            module.read_tree(&tokens, &mut at, Vec::new(), (is_use, is_reexport));
        }
        module
    }

    /// Reads one path, or all that a group in braces stands for.
    fn read_tree(&mut self, tokens: &[&str], at: &mut usize, mut path: Name, kind: (bool, bool)) {
        let (is_use, is_reexport) = kind;
        while let Some(token) = tokens.get(*at) {
            *at += 1;
            if *token == "{" {
                while tokens.get(*at).is_some_and(|token| *token != "}") {
                    self.read_tree(tokens, at, path.clone(), kind);
                    *at += usize::from(tokens.get(*at) == Some(&","));
                }
                *at += 1;
                return;
            }
            // `a::{self}` is `a`.
            if *token != "self" || path.is_empty() {
                path.push((*token).to_owned());
            }
            let goes_on = tokens.get(*at) == Some(&"::")
                && tokens
                    .get(*at + 1)
                    .is_some_and(|next| is_word(next) || is_use && matches!(*next, "{" | "*"));
            if !goes_on {
                break;
            }
            *at += 1;
        }
        let alias = (is_use && tokens.get(*at) == Some(&"as")).then(|| tokens[*at + 1].to_owned());
        *at += if alias.is_some() { 2 } else { 0 };
        let imported_as = alias.or_else(|| path.last().cloned()).filter(|_| is_use);
        self.mentions.push(Mention { path, imported_as, is_reexport });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Splits code into words, `::` and single signs.
pub(super) fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let length = match rest.find(|c| !is_part(c)).unwrap_or(rest.len()) {
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            word => word,
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

#[test]
fn the_reader_of_imports_finds_them_all() {
    let code = "pub(in crate::es) mod a;\nuse crate::es::Page;\npub use super::{\n    http::{self, Request as R},\n    b,\n};\n\
                fn f() { crate::metrics::f::<u8>(); a::g() }";
    let module = Module::read(code);
    let paths: Vec<_> = module.mentions.iter().map(|mention| mention.path.join("::")).collect();
    assert_eq!(
        paths,
        ["crate::es::Page", "super::http", "super::http::Request", "super::b", "crate::metrics::f", "a::g"]
    );
    assert_eq!(module.mentions.iter().filter(|mention| mention.is_reexport).count(), 3);
    assert!(module.children.contains("a"));
}

#[test]
fn a_path_is_followed_through_re_exports_to_the_module_that_defines_the_item() {
    let name =
        |path: &str| path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect::<Name>();
    let modules = Modules(BTreeMap::from([
        (name(""), Module::read("pub mod es;")),
        (name("es"), Module::read("mod log; mod page; pub use log::Log as EventLog;")),
        (name("es::log"), Module::read("mod file; pub use file::Log;")),
        (name("es::log::file"), Module::read("pub struct Log;")),
        (name("es::page"), Module::read("pub struct Page;")),
    ]));
    let definer =
        |from: &str, path: &str| modules.definer(&name(from), &name(path)).map(|name| name.join("::"));
    assert_eq!(definer("es::page", "super::EventLog").as_deref(), Some("es::log::file"));
    assert_eq!(definer("es::log::file", "crate::es::page::Page").as_deref(), Some("es::page"));
    assert_eq!(definer("es::log::file", "super::super::page").as_deref(), Some("es::page"));
    assert_eq!(definer("es::page", "std::fs"), None);
}
