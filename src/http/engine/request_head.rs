//! Request heads: from bytes to a [`Request`] and the framing of its body.
//!
//! `httparse` reads the grammar; this file adds the rules on the headers that frame the body. Parsing is a
//! pure function, tested and fuzzed without a socket.
//!
//! **Invariant:** a request head that two readers could understand differently is refused, never repaired:
//! request smuggling exploits the difference (RFC 9112, 11.2).
//!
//! Read next: `body.rs`.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use httparse::Status;

use super::options::Options;
use crate::http::admission;
use crate::http::{Method, Problem, Request, problems};

/// Number of header slots on the stack: the upper limit of [`Options::max_headers`].
const MAX_HEADERS: usize = 128;

/// The facts of a request head that the engine needs besides the request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// Bytes of the request head, the empty line included.
    pub(super) length: usize,
    pub(super) framing: Framing,
    pub(super) persistence: Persistence,
    pub(super) expectation: Expectation,
}

/// The length of the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// Whether the connection stays open after the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Close,
    KeepAlive,
    /// Open on request of an HTTP/1.0 client: the response must confirm the choice.
    KeepAliveConfirmed,
}

/// Whether the client waits for `100 Continue` before sending the body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expectation {
    None,
    Continue,
}

/// Parses the request head at the start of `bytes` into `request`; `None` when more bytes are needed.
///
/// # Errors
/// The answer (400, 413, 431, 501, 505) after which the connection is closed: the start of the next
/// request is unknown.
pub(super) fn parse(
    bytes: &[u8],
    options: &Options,
    request: &mut Request,
) -> Result<Option<RequestHead>, Problem> {
    let mut slots = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let slots = &mut slots[..options.max_headers.min(MAX_HEADERS)];
    let mut raw = httparse::Request::new(&mut []);
    let length = match raw.parse_with_uninit_headers(bytes, slots) {
        Ok(Status::Complete(length)) if length <= options.max_head_bytes => length,
        Ok(Status::Partial) if bytes.len() < options.max_head_bytes => return Ok(None),
        Ok(Status::Complete(_) | Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(too_large(options));
        }
        Err(httparse::Error::Version) => return Err(refuse_version(bytes)),
        Err(error) => return Err(invalid(error.to_string())),
    };
    refuse_bare_line_feeds(&bytes[..length])?;
    let (Some(method), Some(target_text), Some(version)) = (raw.method, raw.path, raw.version) else {
        return Err(invalid("the request line is not complete"));
    };
    let method = parse_method(method)?;
    let Target { path_and_query, authority } = target(&method, target_text)?;
    request.reset(method, &path_and_query);
    let mut fields = FramingFields::default();
    for header in raw.headers.iter() {
        let value = header.value.trim_ascii();
        fields.note(header.name, value)?;
        // The authority of an absolute target replaces the field `Host` (RFC 9112, 3.2.2).
        if authority.is_none() || !header.name.eq_ignore_ascii_case("host") {
            request.push_header(header.name, &text(value));
        }
    }
    if let Some(authority) = authority {
        request.push_header("Host", authority);
    }
    fields.decide(length, version, options).map(Some)
}

/// Reads a method; any token is a method, and methods are case-sensitive (RFC 9110, 9.1).
pub(super) fn parse_method(name: &str) -> Result<Method, Problem> {
    Method::from_bytes(name.as_bytes()).map_err(|_| invalid("the method is malformed"))
}

/// Returns 400 `invalid-request`.
pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(&problems::INVALID_REQUEST, detail)
}

/// Returns 431 with the limits of a request head.
pub(super) fn too_large(options: &Options) -> Problem {
    let Options { max_head_bytes, max_headers, .. } = options;
    let detail = format!("a request head may have {max_head_bytes} bytes and {max_headers} headers");
    Problem::new(&problems::HEAD_TOO_LARGE, detail)
}

/// Returns 413 with the limit of a body.
pub(super) fn body_too_large(options: &Options) -> Problem {
    let detail = format!("a request body may have {} bytes", options.max_body_bytes);
    Problem::new(&problems::BODY_TOO_LARGE, detail)
}

/// Returns 505 for another version of HTTP (for example the HTTP/2 preface), else 400.
fn refuse_version(bytes: &[u8]) -> Problem {
    let line = bytes.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let word = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default().trim_ascii();
    match word.strip_prefix(b"HTTP/") {
        // The version is ours: the line has another error, for example two spaces in a row.
        Some(b"1.0" | b"1.1") => invalid("the request line is malformed"),
        Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']) => {
            Problem::new(&problems::VERSION_NOT_SUPPORTED, "speak HTTP/1.1 or HTTP/1.0")
        }
        _ => invalid("the request line must end in HTTP/1.1"),
    }
}

/// Refuses bare line feeds. httparse accepts a bare line feed as a line end, as RFC 9112, 2.2 allows; a
/// proxy in front of the service may not.
fn refuse_bare_line_feeds(head: &[u8]) -> Result<(), Problem> {
    let after_another_byte =
        head.iter().zip(&head[1..]).filter(|(a, b)| **a != b'\r' && **b == b'\n').count();
    match (head.first(), after_another_byte) {
        (Some(b'\n'), _) | (_, 1..) => Err(invalid("a line of the head ends without a carriage return")),
        _ => Ok(()),
    }
}

/// The parts of a request target.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Path and query, as in [`Request`].
    pub(super) path_and_query: Cow<'a, str>,
    /// The authority of an absolute target, which replaces `Host` (RFC 9112, 3.2.2).
    pub(super) authority: Option<&'a str>,
}

/// Parses a request target.
pub(super) fn target<'a>(method: &Method, target: &'a str) -> Result<Target<'a>, Problem> {
    if target.contains('#') {
        return Err(invalid("the request target has a fragment"));
    }
    // The asterisk form asks about the whole server and exists for OPTIONS alone.
    if target == "*" && *method == Method::OPTIONS {
        return Ok(Target { path_and_query: Cow::Borrowed(target), authority: None });
    }
    if target.starts_with('/') {
        return Ok(Target { path_and_query: normal(target)?, authority: None });
    }
    let (scheme, rest) = target.split_once("://").unwrap_or(("", ""));
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if !is_http || admission::host(authority).is_none() {
        return Err(invalid("the request target must be a path or an http address"));
    }
    let path_and_query = match path {
        path if path.starts_with('/') => normal(path)?,
        query => Cow::Owned(format!("/{query}")),
    };
    Ok(Target { path_and_query, authority: Some(authority) })
}

/// Returns the target with a path in normal form: an encoded character that needs no encoding is decoded
/// (RFC 3986, 6.2.2.2). Other escapes stay encoded, with upper-case digits.
fn normal(target: &str) -> Result<Cow<'_, str>, Problem> {
    // The query keeps its escapes: a parameter may contain an encoded `&`.
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    if !path.contains('%') {
        return Ok(Cow::Borrowed(target));
    }
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part
            .split_at_checked(2)
            .ok_or_else(|| invalid("the path has a % without two hexadecimal digits"))?;
        let is_hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hexadecimal);
        match byte.ok_or_else(|| invalid("the path has a % without two hexadecimal digits"))? {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            _ => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
        }
        normal.push_str(rest);
    }
    normal.push_str(query);
    Ok(Cow::Owned(normal))
}

/// Decodes a header value: UTF-8, or else Latin-1, the older custom.
fn text(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(value.iter().map(|byte| char::from(*byte)).collect()),
    }
}

/// The headers that frame the message, collected one after another.
#[derive(Default)]
struct FramingFields {
    hosts: usize,
    length: Option<Length>,
    coding: Option<Coding>,
    closes: bool,
    keeps_alive: bool,
    expects_continue: bool,
}

enum Length {
    Bytes(usize),
    /// Digits of a number beyond `usize`.
    Huge,
}

enum Coding {
    Chunked,
    Unknown,
}

impl FramingFields {
    /// Records a header.
    fn note(&mut self, name: &str, value: &[u8]) -> Result<(), Problem> {
        // By length first: almost no header frames the message.
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => self.note_host(value),
            6 if name.eq_ignore_ascii_case("expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                Ok(())
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.note_connection(value);
                Ok(())
            }
            14 if name.eq_ignore_ascii_case("content-length") => self.note_length(value),
            17 if name.eq_ignore_ascii_case("transfer-encoding") => self.note_coding(value),
            _ => Ok(()),
        }
    }

    fn note_host(&mut self, value: &[u8]) -> Result<(), Problem> {
        self.hosts += 1;
        let host = std::str::from_utf8(value).ok().and_then(admission::host);
        host.map(drop).ok_or_else(|| {
            invalid("the Host header must be a host name or an address, with or without a port")
        })
    }

    fn note_connection(&mut self, value: &[u8]) {
        for word in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if word.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if word.eq_ignore_ascii_case(b"keep-alive") {
                self.keeps_alive = true;
            }
        }
    }

    fn note_length(&mut self, value: &[u8]) -> Result<(), Problem> {
        if self.length.is_some() {
            return Err(invalid("Content-Length is given twice"));
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(invalid("Content-Length must be a number of digits alone"));
        }
        let number = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
        self.length = Some(number.map_or(Length::Huge, Length::Bytes));
        Ok(())
    }

    fn note_coding(&mut self, value: &[u8]) -> Result<(), Problem> {
        if self.coding.is_some() || value.is_empty() {
            return Err(invalid("Transfer-Encoding is empty or given twice"));
        }
        let is_chunked = value.eq_ignore_ascii_case(b"chunked");
        self.coding = Some(if is_chunked { Coding::Chunked } else { Coding::Unknown });
        Ok(())
    }

    /// Combines the recorded headers into the framing of the message.
    fn decide(self, length: usize, version: u8, options: &Options) -> Result<RequestHead, Problem> {
        match (version, self.hosts) {
            (0, 0) | (_, 1) => {}
            _ => return Err(invalid("an HTTP/1.1 request must have exactly one Host header")),
        }
        let persistence = match (version, self.closes, self.keeps_alive) {
            (_, true, _) | (0, false, false) => Persistence::Close,
            (0, false, true) => Persistence::KeepAliveConfirmed,
            (_, false, _) => Persistence::KeepAlive,
        };
        // RFC 9110, 10.1.1: from an HTTP/1.0 client the expectation is ignored.
        let expectation = match (version, self.expects_continue) {
            (1, true) => Expectation::Continue,
            _ => Expectation::None,
        };
        Ok(RequestHead { length, framing: self.framing(version, options)?, persistence, expectation })
    }

    fn framing(self, version: u8, options: &Options) -> Result<Framing, Problem> {
        match (self.coding, self.length) {
            // RFC 9112, 6.3 lets the coding win. A proxy that trusts the length would see another end.
            (Some(_), Some(_)) => Err(invalid("Content-Length and Transfer-Encoding exclude each other")),
            (Some(_), None) if version == 0 => Err(invalid("HTTP/1.0 has no Transfer-Encoding")),
            (Some(Coding::Unknown), None) => {
                Err(Problem::new(&problems::NOT_IMPLEMENTED, "the only transfer coding known is chunked"))
            }
            (Some(Coding::Chunked), None) => Ok(Framing::Chunked),
            (None, Some(Length::Bytes(bytes))) if bytes <= options.max_body_bytes => {
                Ok(Framing::Length(bytes))
            }
            (None, Some(Length::Bytes(_) | Length::Huge)) => Err(body_too_large(options)),
            (None, None) => Ok(Framing::Length(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> (Result<Option<RequestHead>, u16>, Request) {
        let mut request = Request::get("/");
        let result = parse(text.as_bytes(), &Options::default(), &mut request);
        (result.map_err(|problem| problem.kind.status), request)
    }

    #[test]
    fn every_prefix_of_a_head_is_partial_and_the_whole_is_a_request() {
        let text = "POST /a?b HTTP/1.1\r\nHost: h\r\nX-One:  1 \r\nContent-Length: 3\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse_text(&text[..end]).0, Ok(None), "{end}");
        }
        let (head, request) = parse_text(&format!("{text}abc"));
        let head = head.unwrap().unwrap();
        assert_eq!((head.length, head.framing), (text.len(), Framing::Length(3)));
        assert_eq!((request.path(), request.query()), ("/a", "b"));
        assert_eq!((request.method.as_str(), request.header("x-one")), ("POST", Some("1")));
    }

    #[test]
    fn an_absolute_target_is_reduced_to_its_path_and_query() {
        for (target, path, query) in [
            ("http://h/a?b", "/a", "b"),
            ("HTTP://h", "/", ""),
            ("https://h:1?b=/c", "/", "b=/c"),
            ("/http://h/", "/http://h/", ""),
        ] {
            let (head, request) = parse_text(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert!(matches!(head, Ok(Some(_))), "{target}");
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
        }
        for target in ["a", "*", "h:80", "ftp://h/", "http://", "http:///a", "/a#b"] {
            let (head, _) = parse_text(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
            assert_eq!(head, Err(400), "{target}");
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        let seeds = ["GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"];
        let mut request = Request::get("/");
        for seed in seeds {
            for index in 0..seed.len() {
                for byte in 0..=u8::MAX {
                    let mut bytes = seed.as_bytes().to_vec();
                    bytes[index] = byte;
                    let _ = parse(&bytes, &Options::default(), &mut request);
                }
            }
        }
    }

    #[test]
    fn values_that_are_not_utf_8_are_read_as_latin_1() {
        let mut request = Request::get("/");
        parse(b"GET / HTTP/1.1\r\nHost: h\r\nX-Name: L\xf6v\r\n\r\n", &Options::default(), &mut request)
            .unwrap();
        assert_eq!(request.header("X-Name"), Some("Löv"));
    }
}
