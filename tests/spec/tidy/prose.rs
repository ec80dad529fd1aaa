//! The words of comments and documents: subject, verb and object are each a noun of the system.
//!
//! Words without a noun of their own (it, that, one, who ...) make a reader look back for the noun. Some are
//! needed; good technical prose has three to five in a hundred words.

use super::documents::{documents, prose_of};
use super::source::Source;

const NOUNLESS: [&str; 23] = [
    "it",
    "its",
    "that",
    "those",
    "one",
    "ones",
    "what",
    "whatever",
    "who",
    "whom",
    "whose",
    "whoever",
    "such",
    "so",
    "there",
    "nothing",
    "none",
    "somebody",
    "nobody",
    "anybody",
    "everything",
    "something",
    "where",
];
/// Percent of all words. redb has 4.5, toyDB 2.7, mini-redis 2.3.
const MAX_NOUNLESS: f64 = 5.0;

/// Percent of the lines of code: comments inside the code, which give the reason for a line. toyDB has 5.7.
const MIN_COMMENTS: f64 = 4.9;

/// Phrases that hide the subject or the noun. A space is any white space.
const RIDDLES: [&str; 14] = [
    "whoever",
    "somebody",
    "nobody",
    "anybody",
    "so many",
    "so long as",
    "so few",
    "told of",
    "tells of",
    "where there is none",
    "where there is one",
    "the same of",
    "what is so",
    "those who",
];
/// "X is no Y" negates a noun; "is not a Y" is what English says. These are comparisons.
const COMPARISONS: [&str; 8] = ["longer", "more", "less", "later", "earlier", "larger", "smaller", "other"];

/// The words of a text; code in backquotes and the targets of links are not words.
fn words(text: &str) -> Vec<String> {
    let prose: String = text.split('`').step_by(2).collect::<Vec<_>>().join(" x ");
    let is_part = |c: char| c.is_ascii_alphabetic() || c == '\'' || c == '-';
    let words = without_targets(&prose);
    let words =
        words.split(|c| !is_part(c)).filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()));
    words.map(str::to_lowercase).collect()
}

fn without_targets(text: &str) -> String {
    let mut pieces = text.split("](");
    let first = pieces.next().unwrap_or("").to_owned();
    pieces.fold(first, |text, piece| text + " " + piece.split_once(')').map_or("", |(_, rest)| rest))
}

fn nounless(words: &[String]) -> usize {
    words.iter().filter(|word| NOUNLESS.contains(&word.as_str())).count()
}

/// Returns the phrases of a text that hide a noun, each with the words after it.
fn riddles(text: &str) -> Vec<String> {
    let words = words(text);
    let text = format!(" {} ", words.join(" "));
    let mut found: Vec<_> = RIDDLES
        .iter()
        .flat_map(|riddle| {
            text.match_indices(&format!(" {riddle} ")).map(|(at, _)| excerpt(&text, at)).collect::<Vec<_>>()
        })
        .collect();
    for negation in [" is no ", " are no ", " was no ", " were no "] {
        let places = text.match_indices(negation).filter(|(at, _)| {
            let next = text[at + negation.len()..].split(' ').next().unwrap_or("");
            !COMPARISONS.contains(&next)
        });
        found.extend(places.map(|(at, _)| excerpt(&text, at)));
    }
    found
}

fn excerpt(text: &str, at: usize) -> String {
    text[at..].split(' ').skip(1).take(6).collect::<Vec<_>>().join(" ")
}

#[test]
fn words_without_a_noun_are_counted_and_riddles_are_found() {
    let text = "It is `that` one, [a link](http://it.is/that) away: who is no client tells so many \
                pages of nothing. This is no longer one.";
    assert_eq!(nounless(&words(text)), 6);
    assert_eq!(riddles(text), ["so many pages of nothing this", "is no client tells so many"]);
}

#[test]
fn a_comment_names_what_it_speaks_of() {
    let (mut all, mut bad) = (0, 0);
    let mut shares = Vec::new();
    for source in Source::files("src") {
        let words: Vec<_> = source.comments().flat_map(|(_, text)| words(text)).collect();
        let count = nounless(&words);
        (all, bad) = (all + words.len(), bad + count);
        shares.push((count * 100 / words.len().max(1), source.path));
    }
    shares.sort();
    let worst: Vec<_> =
        shares.iter().rev().take(12).map(|(share, path)| format!("{share} % {}", path.display())).collect();
    let share = 100.0 * bad as f64 / all as f64;
    assert!(share < MAX_NOUNLESS, "{share:.1} % of {all} words name no noun:\n{}", worst.join("\n"));
}

#[test]
fn no_comment_is_a_riddle() {
    let mut found = Vec::new();
    for source in Source::files("src") {
        let text: Vec<_> = source.comments().map(|(_, text)| text).collect();
        found.extend(
            riddles(&text.join(" ")).into_iter().map(|riddle| format!("{}: {riddle}", source.path.display())),
        );
    }
    assert!(found.is_empty(), "say who does what:\n{}", found.join("\n"));
}

#[test]
fn no_document_is_a_riddle() {
    for document in documents() {
        let found = riddles(&prose_of(&document));
        assert!(found.is_empty(), "{document}: say who does what:\n{}", found.join("\n"));
    }
}

#[test]
fn reasons_stand_at_the_line_that_needs_them() {
    let (mut comments, mut code) = (0, 0);
    for source in Source::files("src") {
        comments += source.lines_without_tests().iter().filter(|line| line.trim().starts_with("// ")).count();
        code += source.code_without_tests().iter().filter(|line| !line.trim().is_empty()).count();
    }
    let share = 100.0 * f64::from(u32::try_from(comments).unwrap()) / f64::from(u32::try_from(code).unwrap());
    assert!(
        share >= MIN_COMMENTS,
        "{comments} comments at the line beside {code} lines of code: {share:.1} %"
    );
}
