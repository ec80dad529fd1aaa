//! A file as the rules read it: code without comments, comments without code.

use std::path::{Path, PathBuf};

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) struct Source {
    /// Relative to the repository: `src/http/router.rs`.
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// Returns all Rust files in a folder and its subfolders, in order of their paths.
    pub(super) fn files(under: &str) -> Vec<Self> {
        let mut directories = vec![root().join(under)];
        let mut files = Vec::new();
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    files.push(Self::at(&path));
                }
            }
        }
        assert!(!files.is_empty(), "no Rust file under {under}");
        files.sort_by(|one, other| one.path.cmp(&other.path));
        files
    }

    fn at(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        Self { path: path.strip_prefix(root()).unwrap().to_owned(), text }
    }

    /// The folders and the file, without `src` and `.rs`: `["http", "router"]`.
    pub(super) fn parts(&self) -> Vec<String> {
        let inside = self.path.with_extension("");
        inside.components().skip(1).map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    }

    /// The module of `src/` to which the file belongs: `http` for `src/http/router.rs`.
    pub(super) fn module(&self) -> String {
        self.parts().swap_remove(0)
    }

    pub(super) fn is_test(&self) -> bool {
        self.parts().iter().any(|part| part == "tests" || part == "fixtures")
    }

    pub(super) fn is_binary(&self) -> bool {
        self.path.starts_with("src/bin")
    }

    /// The lines of code: no comments, and so no links of the documentation.
    pub(super) fn code(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter(|line| !line.trim_start().starts_with("//"))
    }

    /// The lines before the tests.
    pub(super) fn lines_without_tests(&self) -> Vec<&str> {
        if self.is_test() {
            return Vec::new();
        }
        self.text.lines().take_while(|line| *line != "mod tests {").collect()
    }

    /// The lines of code before the tests.
    pub(super) fn code_without_tests(&self) -> Vec<&str> {
        let mut lines = self.lines_without_tests();
        lines.retain(|line| !line.trim_start().starts_with("//"));
        lines
    }

    /// The comments, each with the sign that begins it: `//`, `///` or `//!`.
    pub(super) fn comments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.lines().filter_map(comment)
    }
}

/// Returns the sign and the text of the comment in a line of code, at the end of the line too.
fn comment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let trailing = || line.find(" // ").map(|at| &line[at + 1..]);
    let comment = Some(line).filter(|line| line.starts_with("//")).or_else(trailing)?;
    let is_doc = comment.starts_with("///") || comment.starts_with("//!");
    let (sign, text) = comment.split_at(if is_doc { 3 } else { 2 });
    Some((sign, text.trim()))
}

/// Returns the code alone: no comments, no content of texts, no items for tests, no attributes.
pub(super) fn bare(code: &str) -> String {
    without_attributes(&without_texts(code))
}

/// Removes comments, and the content of string and character literals.
fn without_texts(code: &str) -> String {
    let mut bare = String::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let skipped = literal(rest);
        bare.push_str(match skipped {
            0 => &rest[..first.len_utf8()],
            _ if rest.starts_with("//") => "",
            _ => "\"\"",
        });
        rest = &rest[skipped.max(first.len_utf8())..];
    }
    bare
}

/// Returns the bytes of the comment or literal that begins `rest`; 0 when other code does.
fn literal(rest: &str) -> usize {
    let closed_by =
        |from: usize, end: &str| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("r\"") {
        return closed_by(2, "\"");
    }
    if rest.starts_with("r#\"") {
        return closed_by(3, "\"#");
    }
    if rest.starts_with('"') {
        return text_length(rest);
    }
    let mut after_quote = rest.strip_prefix('\'').unwrap_or("").chars();
    match (after_quote.next(), after_quote.next()) {
        (Some('\\'), _) => closed_by(3, "'"),
        (Some(character), Some('\'')) => 2 + character.len_utf8(),
        _ => 0,
    }
}

fn text_length(rest: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    rest.len()
}

/// Removes attributes, and after `#[cfg(test)]` the whole item.
fn without_attributes(code: &str) -> String {
    let mut bare = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[").or_else(|| rest.find("#![")) {
        let at = rest.find("#![").map_or(at, |inner| inner.min(at));
        bare.push_str(&rest[..at]);
        let is_test = rest[at..].starts_with("#[cfg(test)]");
        rest = &rest[at + balanced(&rest[at..], '[', ']')..];
        if is_test {
            rest = &rest[item_length(rest)..];
        }
    }
    bare + rest
}

/// Returns the bytes up to and with the bracket that closes the first one.
fn balanced(text: &str, open: char, close: char) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    text.len()
}

fn item_length(rest: &str) -> usize {
    match rest.find(['{', ';']) {
        // The braces of `use a::{b, c};` do not end it.
        Some(at) if rest[at..].starts_with('{') && !rest[..at].contains("use ") => {
            at + balanced(&rest[at..], '{', '}')
        }
        _ => rest.find(';').map_or(rest.len(), |at| at + 1),
    }
}

#[test]
fn code_is_read_without_comments_texts_attributes_and_tests() {
    let code = "#![doc = concat!(\"]\")]\nfn f() { g('\"', \"a // b\", r#\"\"x\"\"#) } // c\n\
                #[cfg(test)]\nmod tests { fn g() {} }\n#[cfg(test)]\nuse a::{b};\n#[must_use]\nfn h<'a>() {}\n";
    let bare: String = bare(code).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(bare, "fn f() { g(\"\", \"\", \"\") } fn h<'a>() {}");
}

#[test]
fn comments_are_read_with_their_sign_at_the_end_of_a_line_too() {
    let text = "//! a\nlet x = 1; // b\n/// c\n// d\nlet url = \"http://e\";\n";
    let source = Source { path: "src/x.rs".into(), text: text.to_owned() };
    let comments: Vec<_> = source.comments().collect();
    assert_eq!(comments, [("//!", "a"), ("//", "b"), ("///", "c"), ("//", "d")]);
}
