//! Request bodies, received whole before a handler runs: of a known length, or chunked.
//!
//! **Invariant:** a body is complete and within its limit, or the request is refused. The reserved memory
//! follows the received bytes, not the announced length.
//!
//! Read next: `encode.rs`.

use std::time::Instant;

use super::options::Options;
use super::request_head::{Framing, body_too_large, invalid, too_large};
use super::wire::{Wire, WireFailure};
use crate::http::Problem;

/// Maximum bytes of a chunk's size line with its extension. No known client sends extensions; an endless
/// extension is an attack.
const MAX_CHUNK_LINE_BYTES: usize = 1024;
/// Maximum bytes reserved ahead of the received part of a body.
const MAX_RESERVED_BYTES: usize = 8 * 1024;

/// Receives the body with that framing into `body`, before `deadline`.
pub(super) fn receive(
    wire: &mut Wire<'_>,
    framing: &Framing,
    options: &Options,
    body: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), WireFailure> {
    body.clear();
    match framing {
        Framing::Length(length) => receive_bytes(wire, *length, body, deadline),
        Framing::Chunked => receive_chunks(wire, options, body, deadline),
    }
}

fn receive_bytes(
    wire: &mut Wire<'_>,
    length: usize,
    body: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), WireFailure> {
    let end = body.len() + length;
    while body.len() < end {
        let start = body.len();
        // In steps: a client that announces the maximum and sends no byte costs one step of memory.
        body.resize(end.min(start + MAX_RESERVED_BYTES), 0);
        wire.receive_exactly(&mut body[start..], deadline)?;
    }
    Ok(())
}

fn receive_chunks(
    wire: &mut Wire<'_>,
    options: &Options,
    body: &mut Vec<u8>,
    deadline: Instant,
) -> Result<(), WireFailure> {
    // Extensions and trailers together may take as many bytes as a request head.
    let mut budget = options.max_head_bytes;
    loop {
        let size = receive_line(wire, deadline, MAX_CHUNK_LINE_BYTES, |line| {
            let (size, extension) = chunk_size(line)?;
            budget = budget.checked_sub(extension).ok_or_else(|| invalid("too many chunk extensions"))?;
            Ok(size)
        })?;
        if size == 0 {
            return receive_trailers(wire, options, budget, deadline);
        }
        // Saturates on a 32-bit machine; the limit below refuses such a chunk in any case.
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // Cannot underflow: this line has admitted all chunks before.
        if size > options.max_body_bytes - body.len() {
            return Err(body_too_large(options).into());
        }
        receive_bytes(wire, size, body, deadline)?;
        // Bytes between the chunk and its CR LF are refused: a proxy may read them as another request.
        receive_line(wire, deadline, 2, |line| match line {
            [] => Ok(()),
            [..] => Err(invalid("a chunk is longer than its size")),
        })?;
    }
}

/// Receives the trailers and discards them: no route reads trailers.
fn receive_trailers(
    wire: &mut Wire<'_>,
    options: &Options,
    mut budget: usize,
    deadline: Instant,
) -> Result<(), WireFailure> {
    // The empty line ends the body.
    while let length @ 1.. = receive_line(wire, deadline, options.max_head_bytes, trailer_length)? {
        budget = budget.checked_sub(length).ok_or_else(|| too_large(options))?;
    }
    Ok(())
}

fn trailer_length(line: &[u8]) -> Result<usize, Problem> {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    // Checked although discarded: a line without a colon may be the start of a smuggled request.
    if line.is_empty() || (name.len() < line.len() && name.iter().all(u8::is_ascii_graphic)) {
        return Ok(line.len());
    }
    Err(invalid("a trailer must have the form of a header"))
}

/// Receives a line of at most `limit` bytes and passes the line, without the line end, to `read`.
fn receive_line<T>(
    wire: &mut Wire<'_>,
    deadline: Instant,
    limit: usize,
    read: impl FnOnce(&[u8]) -> Result<T, Problem>,
) -> Result<T, WireFailure> {
    // The search resumes behind the searched bytes: a client that sends byte by byte would make a search from
    // the start quadratic.
    let mut searched = 0;
    loop {
        let received = wire.received();
        if let Some(at) = received[searched..].iter().position(|byte| *byte == b'\n') {
            // A bare carriage return or line feed is refused, as in the request head.
            let line = received[..searched + at].strip_suffix(b"\r").filter(|line| !line.contains(&b'\r'));
            let value = read(line.ok_or_else(|| invalid("a line of the chunked body must end with CR LF"))?)?;
            wire.consume(searched + at + 1);
            return Ok(value);
        }
        searched = received.len();
        if searched >= limit {
            return Err(invalid("a line of the chunked body is too long").into());
        }
        wire.receive_more(deadline)?;
    }
}

/// Reads a chunk's size and the length of its extension. Stricter than RFC 9112, 7.1 allows: no space
/// in between, no control characters, at most 16 digits.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), Problem> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let size = std::str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
    match (size, extension) {
        (Some(size), []) if digits <= 16 => Ok((size, 0)),
        (Some(size), [b';', rest @ ..]) if digits <= 16 && !rest.iter().any(u8::is_ascii_control) => {
            Ok((size, extension.len()))
        }
        _ => Err(invalid("the size of a chunk must be a hexadecimal number of at most 16 digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal_digits_and_an_extension() {
        assert_eq!(chunk_size(b"1aF").unwrap(), (0x1af, 0));
        assert_eq!(chunk_size(b"0;a=\"b\"").unwrap(), (0, 6));
        assert_eq!(chunk_size(b"ffffffffffffffff").unwrap(), (u64::MAX, 0));
        let bad: [&[u8]; 9] =
            [b"", b"+1", b"0x1", b"1 ", b" 1", b"-1", b"1;\x01", b"g", b"00000000000000001"];
        for bad in bad {
            assert!(chunk_size(bad).is_err(), "{bad:?}");
        }
    }
}
