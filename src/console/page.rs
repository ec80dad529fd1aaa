//! The page of the console: one document with its style and its script.
//!
//! **Invariant:** the document needs no other file: the registry serves the page without a disk and a network.
//!
//! Read next: `index.html`; `policy.rs`.

use std::sync::OnceLock;

use super::policy::{Texts, between};
use crate::http::Response;

/// The document. The parts stand in the order in which a browser needs the parts.
pub const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Tally</title>\n",
    // Without an icon of its own, the page would make a browser ask for /favicon.ico.
    "<link rel=\"icon\" href=\"data:,\">\n<style>",
    include_str!("base.css"),
    include_str!("style.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("index.html"),
    "<script>",
    include_str!("dom.js"),
    include_str!("net.js"),
    include_str!("feed.js"),
    include_str!("path.js"),
    include_str!("fold.js"),
    include_str!("log.js"),
    include_str!("sides.js"),
    include_str!("accounts.js"),
    include_str!("who.js"),
    include_str!("tap.js"),
    include_str!("start.js"),
    "</script>\n</body>\n</html>\n",
);

/// Returns the page, with a policy that lets the page talk to services on `hosts` and on this machine.
pub fn page<'a>(hosts: impl IntoIterator<Item = &'a str>) -> Response {
    /// Hashed on the first request: most registries get none.
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let part = |open, close| between(PAGE, open, close);
        Texts::of(part("<style>", "</style>"), Some(part("<script>", "</script>")))
    });
    Response::new(200, "text/html; charset=utf-8", PAGE.as_bytes().to_vec())
        .with_header("Content-Security-Policy", texts.policy(hosts))
        // A page of an older version would not fit the services.
        .with_header("Cache-Control", "no-cache")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limit of all texts of the page, in bytes: a page that a person can read, and a phone loads at once.
    const MAX_BYTES: usize = 80 << 10;

    #[test]
    fn the_page_is_small() {
        assert!(PAGE.len() < MAX_BYTES, "{} bytes", PAGE.len());
    }

    #[test]
    fn the_page_loads_nothing_and_makes_no_markup_from_data() {
        for word in
            ["src=", "@import", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            assert!(!PAGE.contains(word), "{word}");
        }
        for word in [" style=", " onclick="] {
            assert!(!include_str!("index.html").contains(word), "the policy refuses {word}");
        }
    }

    #[test]
    fn style_and_script_stand_once_so_the_hashes_are_those_of_the_whole_texts() {
        for tag in ["<style>", "</style>", "<script>", "</script>"] {
            assert_eq!(PAGE.matches(tag).count(), 1, "{tag}");
        }
    }
}
