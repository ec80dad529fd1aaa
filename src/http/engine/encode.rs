//! Responses as bytes.
//!
//! **Invariant:** a header value of a handler cannot become another header or another response: a control
//! character in a value turns the whole response into a 500.
//!
//! Read next: `refuse.rs`, which sends the one response without a request.

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use ::http::StatusCode;

use super::request_head::Persistence;
use crate::http::{Problem, Response, problems};
use crate::time::Timestamp;

/// The way to send a response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) content: Content,
    pub(super) persistence: Persistence,
}

/// Whether to send the body: a HEAD gets the headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Body,
    HeadOnly,
}

/// The value of the `Date` header, formatted once a second.
#[derive(Debug)]
pub(super) struct Date {
    text: String,
    good_until: Instant,
}

impl Date {
    pub(super) fn at(now: Instant) -> Self {
        let time = SystemTime::now();
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // The text changes with the next whole second of the clock, not a second from now.
        let rest = Duration::from_nanos(1_000_000_000 - u64::from(since_epoch.subsec_nanos()));
        Self { text: Timestamp::now().http_date(), good_until: now + rest }
    }

    fn text(&mut self, now: Instant) -> &str {
        if now >= self.good_until {
            *self = Self::at(now);
        }
        &self.text
    }
}

/// Returns the response, or a 500 when the response would break the protocol.
pub(super) fn checked(response: Response) -> Response {
    match flaw(&response) {
        None => response,
        Some(flaw) => {
            log::error!("a handler returned a response that cannot be sent: {flaw}");
            Problem::new(&problems::INTERNAL_ERROR, "the response cannot be sent").into()
        }
    }
}

/// Returns the reason that the response cannot be sent.
fn flaw(response: &Response) -> Option<&'static str> {
    // A 1xx is an interim response: the client would wait on for the final response.
    if !(200..=599).contains(&response.status) {
        return Some("the status must be from 200 to 599");
    }
    for (name, value) in &response.headers {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Some("a header name must be letters, digits and hyphens");
        }
        // RFC 9110, 5.5 allows a tab. CR LF would begin another header.
        if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return Some("a header value must not have a control character");
        }
        // A second Content-Length lets two programs see two ends of the response (response splitting).
        if is_the_engines(name) {
            return Some("the engine alone sends Date, Connection, Content-Length and Transfer-Encoding");
        }
    }
    None
}

/// Whether the engine alone sends the header.
fn is_the_engines(name: &str) -> bool {
    // By length first: most headers match none.
    match name.len() {
        4 => name.eq_ignore_ascii_case("date"),
        10 => name.eq_ignore_ascii_case("connection"),
        14 => name.eq_ignore_ascii_case("content-length"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    }
}

/// Appends the status line and the headers of `response` to `out`.
pub(super) fn push_status_and_headers(
    out: &mut Vec<u8>,
    response: &Response,
    delivery: Delivery,
    date: &mut Date,
    now: Instant,
) {
    out.extend_from_slice(b"HTTP/1.1 ");
    push_number(out, usize::from(response.status));
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\nDate: ");
    out.extend_from_slice(date.text(now).as_bytes());
    // RFC 9110, 8.6: a 204 has no length; a 304 would need the length of the 200, unknown here.
    if has_content(response.status) {
        out.extend_from_slice(b"\r\nContent-Length: ");
        push_number(out, response.body.len());
    }
    for (name, value) in &response.headers {
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
    }
    out.extend_from_slice(match delivery.persistence {
        Persistence::Close => b"\r\nConnection: close\r\n\r\n",
        // HTTP/1.1 keeps the connection by default; only an HTTP/1.0 client waits for a confirmation.
        Persistence::KeepAlive => b"\r\n\r\n",
        Persistence::KeepAliveConfirmed => b"\r\nConnection: keep-alive\r\n\r\n",
    });
}

/// Returns the bytes of the body to send.
pub(super) fn content(response: &Response, delivery: Delivery) -> &[u8] {
    match delivery.content {
        Content::Body if has_content(response.status) => &response.body,
        // RFC 9110, 9.3.2: a HEAD gets the headers of the GET alone, `Content-Length` included.
        Content::Body | Content::HeadOnly => &[],
    }
}

fn has_content(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

fn push_number(out: &mut Vec<u8>, number: usize) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

/// Returns the reason phrase, which people read and programs ignore. The crate `http` has two phrases of
/// the older RFC 7231.
fn reason(status: u16) -> &'static str {
    match status {
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        _ => StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(response: &Response, content: Content, persistence: Persistence) -> String {
        let now = Instant::now();
        let mut out = Vec::new();
        push_status_and_headers(
            &mut out,
            response,
            Delivery { content, persistence },
            &mut Date::at(now),
            now,
        );
        out.extend_from_slice(super::content(response, Delivery { content, persistence }));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_response_has_its_length_its_date_and_its_headers() {
        let response = Response::new(200, "text/plain", b"hello".to_vec());
        let text = encoded(&response, Content::Body, Persistence::KeepAlive);
        assert!(text.starts_with("HTTP/1.1 200 OK\r\nDate: "), "{text}");
        assert!(
            text.ends_with("GMT\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"),
            "{text}"
        );
        let text = encoded(&response, Content::HeadOnly, Persistence::Close);
        assert!(text.ends_with("Content-Length: 5\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn responses_without_content_have_neither_a_body_nor_a_length() {
        for status in [204, 304] {
            let mut response = Response::empty(status);
            response.body = b"never".to_vec();
            let text = encoded(&response, Content::Body, Persistence::KeepAlive);
            assert!(!text.contains("Content-Length") && !text.contains("never"), "{text}");
        }
    }

    #[test]
    fn what_could_split_a_response_makes_it_a_500() {
        for (name, value) in
            [("A", "b\r\nC: d"), ("A", "\0"), ("A b", "c"), ("", "c"), ("Content-Length", "3"), ("date", "x")]
        {
            let response = Response::empty(200).with_header(name, value);
            assert_eq!(checked(response).status, 500, "{name}: {value}");
        }
        for status in [0, 100, 101, 600] {
            assert_eq!(checked(Response::empty(status)).status, 500);
        }
        assert_eq!(checked(Response::empty(200).with_header("A", "b\tc ö")).status, 200);
    }

    #[test]
    fn the_date_is_formatted_once_a_second() {
        let now = Instant::now();
        let mut date = Date { text: "old".to_owned(), good_until: now + Duration::from_secs(1) };
        assert_eq!(date.text(now), "old");
        assert!(date.text(now + Duration::from_secs(1)).ends_with(" GMT"));
    }
}
