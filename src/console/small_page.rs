//! The small pages of every service: its index, its problems, its health. The style is the console's.
//!
//! **Invariant:** a small page has no script.
//!
//! Read next: `service/about.rs`, which writes the pages.

use std::sync::OnceLock;

use super::policy::Texts;
use crate::http::Response;

const STYLE: &str = include_str!("base.css");

/// Returns a page with the title (text) and the body (markup).
pub fn small_page(status: u16, title: &str, body: &str) -> Response {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| Texts::of(STYLE, None));
    let title = escaped(title);
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main class=\"plain\">\n<h1>{title}</h1>\n{body}</main>\n</body>\n</html>\n"
    );
    Response::new(status, "text/html; charset=utf-8", page.into_bytes())
        .with_header("Content-Security-Policy", texts.policy([]))
}

/// Returns a text as markup that shows the text.
pub fn escaped(text: &str) -> String {
    // `&` first: the `&` of `&lt;` must not be escaped again.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}
