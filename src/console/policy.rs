//! The content security policy: which style and which script a browser runs, and to whom the page may talk.
//!
//! **Invariant:** a text that the policy does not name by its hash never runs, wherever the text came from.
//!
//! Read next: [`Content Security Policy Level 3`](https://www.w3.org/TR/CSP3/).

use sha2::{Digest, Sha256};

/// The most hosts in a policy: the header stays far below the limit of a browser.
const MAX_HOSTS: usize = 16;

/// The hashes of a page's style and script, as a policy names the hashes.
#[derive(Debug)]
pub(super) struct Texts {
    style: String,
    script: Option<String>,
}

impl Texts {
    pub(super) fn of(style: &str, script: Option<&str>) -> Self {
        Self { style: source(style), script: script.map(source) }
    }

    /// Returns the policy of a page that talks to services on `hosts` and on this machine.
    pub(super) fn policy<'a>(&self, hosts: impl IntoIterator<Item = &'a str>) -> String {
        let Self { style, script } = self;
        let fixed =
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; img-src data:";
        let Some(script) = script else {
            return format!("{fixed}; style-src {style}");
        };
        let mut talk = vec!["'self'".to_owned(), place("127.0.0.1"), place("localhost")];
        for host in hosts.into_iter().map(place).take(MAX_HOSTS) {
            if !talk.contains(&host) {
                talk.push(host);
            }
        }
        format!("{fixed}; style-src {style}; script-src {script}; connect-src {}", talk.join(" "))
    }
}

/// Returns the source expression for all ports of a host: a restarted service may have another port.
fn place(host: &str) -> String {
    // The grammar of a policy has neither IPv6 addresses nor underscores: such a host opens the scheme.
    let is_nameable = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    if is_nameable { format!("http://{host}:*") } else { "http:".to_owned() }
}

fn source(text: &str) -> String {
    format!("'sha256-{}'", base64(&Sha256::digest(text.as_bytes())))
}

/// Returns what stands between two tags of a page.
///
/// # Panics
/// When a tag is missing: a test builds every page.
pub(super) fn between<'a>(page: &'a str, open: &str, close: &str) -> &'a str {
    let inside = page.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inside.expect("the page has both tags").0
}

/// Returns the bytes in Base64 (RFC 4648, 4): twenty lines, against a dependency.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let sextet = (group >> (18 - 6 * digit)) & 63;
            // Two bytes fill three digits, one byte fills two; the rest is padding.
            text.push(if digit <= chunk.len() { char::from(ALPHABET[sextet as usize]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn the_hash_of_a_text_is_the_one_that_browsers_compute() {
        // The example of the specification of CSP.
        let script = "alert('Hello, world.');";
        assert_eq!(source(script), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
    }

    #[test]
    fn the_policy_names_each_host_once_and_this_machine_always() {
        let texts = Texts::of("a", Some("b"));
        let policy = texts.policy(["10.0.0.7", "10.0.0.7", "bank.example", "127.0.0.1"]);
        let talk = policy.split_once("connect-src ").unwrap().1;
        assert_eq!(
            talk,
            "'self' http://127.0.0.1:* http://localhost:* http://10.0.0.7:* http://bank.example:*"
        );
        assert!(texts.policy(["::1"]).ends_with(" http:"));
        assert!(Texts::of("a", None).policy([]).find("script-src").is_none());
    }
}
