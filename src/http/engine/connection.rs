//! The life of one connection: request, response, request, response, until one side closes.
//!
//! All of this file runs on the connection's own thread. Other threads see only the [`Slot`].
//!
//! **Invariant:** a handler runs only with a whole request within the limits, and every phase change
//! checks for an eviction.
//!
//! Read next: `wire.rs` (deadlines), `request_head.rs` (the request head), `body.rs`, `encode.rs`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::body;
use super::encode::{self, Content, Date, Delivery};
use super::options::Options;
use super::request_head::{self, Expectation, Framing, Persistence, RequestHead};
use super::service::{Service, call, within_budget};
use super::slot::{Phase, Slot};
use super::wire::{MAX_IDLE_BUFFER, Wire, WireFailure};
use crate::http::{Method, Problem, Request, Response};

/// Maximum bytes of a body that is copied behind the headers: one copy is cheaper than a second buffer in
/// the system call. A larger body is sent from its own memory.
const MAX_COPIED_BODY: usize = 8 * 1024;

/// The next step of a connection after a response.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
}

/// A connection and the buffers of its thread.
pub(super) struct Connection<'a> {
    slot: &'a Slot,
    options: &'a Options,
    service: &'a Service,
    stopping: &'a AtomicBool,
    wire: Wire<'a>,
    // Reused by all requests of the connection, to save allocations.
    request: Request,
    out: Vec<u8>,
    date: Date,
}

impl<'a> Connection<'a> {
    /// Serves the connection of `slot` until one side closes, or until the request in flight is answered
    /// once the server is `stopping`.
    pub(super) fn serve(
        slot: &'a Slot,
        options: &'a Options,
        service: &'a Service,
        stopping: &'a AtomicBool,
    ) {
        let Ok(wire) = Wire::new(slot.stream(), options) else {
            return;
        };
        let request = Request::new(Method::GET, "");
        let date = Date::at(Instant::now());
        let mut connection = Self { slot, options, service, stopping, wire, request, out: Vec::new(), date };
        while connection.exchange() == Next::Request {}
    }

    /// Serves one request.
    fn exchange(&mut self) -> Next {
        match self.receive() {
            Ok(head) => self.answer(&head),
            Err(WireFailure::Gone) => Next::End,
            Err(WireFailure::Refused(problem)) => {
                self.refuse(problem);
                Next::End
            }
        }
    }

    fn receive(&mut self) -> Result<RequestHead, WireFailure> {
        // Bytes that are here already belong to the next request (pipelining), which needs no wait.
        if self.wire.received().is_empty() {
            self.release_memory();
            self.wire.wait_for_request()?;
        }
        // A refused request head still needs the method: the answer to a HEAD has no body.
        self.request.reset(method_of_head(self.wire.received()), "");
        let head = self.receive_head()?;
        self.wire.consume(head.length);
        self.receive_body(&head)?;
        Ok(head)
    }

    fn receive_head(&mut self) -> Result<RequestHead, WireFailure> {
        if let Some(head) = request_head::parse(self.wire.received(), self.options, &mut self.request)? {
            return Ok(head);
        }
        let now = Instant::now();
        // A request that arrived in one piece skips this phase, and with the phase the reading of the clock.
        self.enter(Phase::Receiving, now)?;
        let deadline = now + self.options.head_timeout;
        loop {
            let seen = self.wire.received().len();
            self.wire.receive_more(deadline)?;
            // Only a line feed can complete a request head. Without this check, a client that sends single
            // bytes would make the server parse the whole head again for each byte.
            let received = self.wire.received();
            let may_be_whole =
                received[seen..].contains(&b'\n') || received.len() >= self.options.max_head_bytes;
            if may_be_whole
                && let Some(head) = request_head::parse(received, self.options, &mut self.request)?
            {
                return Ok(head);
            }
        }
    }

    fn receive_body(&mut self, head: &RequestHead) -> Result<(), WireFailure> {
        let here = self.wire.received();
        if let Framing::Length(length) = head.framing
            && length <= here.len()
        {
            self.request.body.clear();
            self.request.body.extend_from_slice(&here[..length]);
            self.wire.consume(length);
            return Ok(());
        }
        let now = Instant::now();
        self.enter(Phase::Receiving, now)?;
        // A client that sent a part of the body does not wait for the interim response.
        if head.expectation == Expectation::Continue && self.wire.received().is_empty() {
            let sent = self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n", &[], now);
            sent.map_err(|_| WireFailure::Gone)?;
        }
        let deadline = now + self.options.body_timeout;
        body::receive(&mut self.wire, &head.framing, self.options, &mut self.request.body, deadline)
    }

    fn answer(&mut self, head: &RequestHead) -> Next {
        // No clock is read for this phase: no thread evicts a running handler.
        if self.enter(Phase::Working, self.slot.epoch).is_err() {
            return Next::End;
        }
        let response = encode::checked(call(self.service, &self.request, &self.options.connections));
        // The share is held until the client has received the response.
        let (response, _share) = within_budget(response, &self.options.answers);
        // Read after the handler: the answer to a long poll that the stop has ended closes the connection.
        let stopping = self.stopping.load(Ordering::SeqCst);
        let persistence = if stopping { Persistence::Close } else { head.persistence };
        let now = Instant::now();
        if self.send(&response, Delivery { content: self.content(), persistence }, now).is_err() {
            return Next::End;
        }
        match persistence {
            Persistence::Close => self.close(),
            Persistence::KeepAlive | Persistence::KeepAliveConfirmed => self.wait_for_next(now),
        }
    }

    fn wait_for_next(&self, now: Instant) -> Next {
        if self.enter(Phase::Waiting, now).is_err() {
            return Next::End;
        }
        // Order: this thread sets the phase, then reads the flag; the stopping thread sets the flag, then
        // reads the phases. At least one of the two threads sees the other's change.
        if self.stopping.load(Ordering::SeqCst) {
            self.slot.close_if_waiting();
        }
        Next::Request
    }

    fn close(&mut self) -> Next {
        // Unread bytes would turn the close into a reset and destroy the answer.
        if !self.wire.received().is_empty() {
            self.wire.linger();
        }
        Next::End
    }

    fn content(&self) -> Content {
        if self.request.method == Method::HEAD { Content::HeadOnly } else { Content::Body }
    }

    fn send(&mut self, response: &Response, delivery: Delivery, now: Instant) -> Result<(), WireFailure> {
        self.enter(Phase::Sending, now)?;
        self.out.clear();
        encode::push_status_and_headers(&mut self.out, response, delivery, &mut self.date, now);
        let mut content = encode::content(response, delivery);
        if content.len() <= MAX_COPIED_BODY {
            self.out.extend_from_slice(content);
            content = &[];
        }
        self.wire.send(&self.out, content, now).map_err(|_| WireFailure::Gone)
    }

    /// Answers a malformed request with `problem`, and closes.
    fn refuse(&mut self, problem: Problem) {
        let delivery = Delivery { content: self.content(), persistence: Persistence::Close };
        let now = Instant::now();
        // `Receiving` again: a connection that lingers may be evicted.
        if self.send(&problem.into(), delivery, now).is_ok() && self.enter(Phase::Receiving, now).is_ok() {
            self.wire.linger();
        }
    }

    fn enter(&self, phase: Phase, now: Instant) -> Result<(), WireFailure> {
        match self.slot.enter(phase, now) {
            Phase::Evicted => Err(WireFailure::Gone),
            Phase::Waiting | Phase::Receiving | Phase::Working | Phase::Sending => Ok(()),
        }
    }

    /// Releases large buffers: a thousand idle connections hold a thousand buffers.
    fn release_memory(&mut self) {
        self.request.release_memory(MAX_IDLE_BUFFER);
        if self.out.capacity() > MAX_IDLE_BUFFER + MAX_COPIED_BODY {
            self.out = Vec::new();
        }
    }
}

/// Returns HEAD or GET from the first bytes, before the request head is parsed.
fn method_of_head(received: &[u8]) -> Method {
    if received.starts_with(b"HEAD ") { Method::HEAD } else { Method::GET }
}
