//! The life of one connection: request, response, request, response, until one side has enough.
//!
//! Everything runs on the connection's own thread. Other threads see only its [`Slot`].
//!
//! Read next: `blocking.rs`, which gives connections their threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::body;
use super::encode::{self, Content, Date, Delivery};
use super::head::{self, Expectation, Framing, Head, Persistence};
use super::server::{Service, call, within_budget};
use super::slot::{Phase, Slot};
use super::wire::{Failure, KEPT_WHEN_IDLE, Wire};
use crate::http::{Method, Options, Problem, Request, Response};

/// Above this, a body is sent from where it is; below, one copy is cheaper than a second range.
const COPIED_BODY: usize = 8 * 1024;

/// Whether a connection goes on after a response.
#[derive(PartialEq, Eq)]
enum Next {
    Request,
    End,
}

/// Serves one connection to its end.
pub(super) struct Connection<'a> {
    slot: &'a Slot,
    options: &'a Options,
    service: &'a Service,
    stopping: &'a AtomicBool,
    wire: Wire<'a>,
    // Kept from request to request, so that their memory is.
    request: Request,
    out: Vec<u8>,
    date: Date,
}

impl<'a> Connection<'a> {
    /// Serves the connection of `slot` until it ends; once the server is `stopping`, after the
    /// request in flight.
    pub(super) fn serve(
        slot: &'a Slot,
        options: &'a Options,
        service: &'a Service,
        stopping: &'a AtomicBool,
    ) {
        let Ok(wire) = Wire::new(slot.stream(), options) else {
            return;
        };
        let request = Request::new(Method::Get, "");
        let date = Date::at(Instant::now());
        let mut connection = Self { slot, options, service, stopping, wire, request, out: Vec::new(), date };
        while connection.exchange() == Next::Request {}
    }

    /// One request and its response.
    fn exchange(&mut self) -> Next {
        match self.receive() {
            Ok(head) => self.answer(&head),
            Err(Failure::Gone) => Next::End,
            Err(Failure::Refused(problem)) => {
                self.refuse(problem);
                Next::End
            }
        }
    }

    fn receive(&mut self) -> Result<Head, Failure> {
        if self.wire.received().is_empty() {
            self.release_memory();
            self.wire.wait_for_request()?;
        }
        self.request.reset(method_of_head(self.wire.received()), "");
        let head = self.receive_head()?;
        self.wire.consume(head.length);
        self.receive_body(&head)?;
        Ok(head)
    }

    fn receive_head(&mut self) -> Result<Head, Failure> {
        if let Some(head) = head::parse(self.wire.received(), self.options, &mut self.request)? {
            return Ok(head);
        }
        let now = Instant::now();
        self.enter(Phase::Receiving, now)?;
        let deadline = now + self.options.head_timeout;
        loop {
            let seen = self.wire.received().len();
            self.wire.receive_more(deadline)?;
            // Only a line's end can complete a head: a client that sends it byte by byte does not
            // make us read all of it again for each of them.
            let received = self.wire.received();
            let may_be_whole =
                received[seen..].contains(&b'\n') || received.len() >= self.options.max_head_bytes;
            if may_be_whole && let Some(head) = head::parse(received, self.options, &mut self.request)? {
                return Ok(head);
            }
        }
    }

    fn receive_body(&mut self, head: &Head) -> Result<(), Failure> {
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
        if head.expectation == Expectation::Continue && self.wire.received().is_empty() {
            let sent = self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n", &[], now);
            sent.map_err(|_| Failure::Gone)?;
        }
        let deadline = now + self.options.body_timeout;
        body::receive(&mut self.wire, &head.framing, self.options, &mut self.request.body, deadline)
    }

    fn answer(&mut self, head: &Head) -> Next {
        // No clock is read for this phase: it is never ended from outside, however long it lasts.
        if self.enter(Phase::Working, self.slot.epoch).is_err() {
            return Next::End;
        }
        let response = encode::checked(call(self.service, &self.request, &self.options.connections));
        let (response, _share) = within_budget(response, &self.options.answers);
        let stopping = self.stopping.load(Ordering::SeqCst);
        let persistence = if stopping { Persistence::Close } else { head.persistence };
        let now = Instant::now();
        if self.send(&response, Delivery { content: self.content(), persistence }, now).is_err() {
            return Next::End;
        }
        match persistence {
            Persistence::Close => self.close(),
            Persistence::KeepAlive | Persistence::KeepAliveSaid => self.go_on(now),
        }
    }

    fn go_on(&self, now: Instant) -> Next {
        if self.enter(Phase::Waiting, now).is_err() {
            return Next::End;
        }
        // Whoever stops the server says so first and then looks for those who wait. If we were
        // missed there, we find it said here.
        if self.stopping.load(Ordering::SeqCst) {
            self.slot.close_if_waiting();
        }
        Next::Request
    }

    fn close(&mut self) -> Next {
        if !self.wire.received().is_empty() {
            self.wire.linger();
        }
        Next::End
    }

    fn content(&self) -> Content {
        if self.request.method == Method::Head { Content::HeadOnly } else { Content::Body }
    }

    fn send(&mut self, response: &Response, delivery: Delivery, now: Instant) -> Result<(), Failure> {
        self.enter(Phase::Sending, now)?;
        self.out.clear();
        encode::head(&mut self.out, response, delivery, &mut self.date, now);
        let mut content = encode::content(response, delivery);
        if content.len() <= COPIED_BODY {
            self.out.extend_from_slice(content);
            content = &[];
        }
        self.wire.send(&self.out, content, now).map_err(|_| Failure::Gone)
    }

    /// Answers what was no proper request, and closes.
    fn refuse(&mut self, problem: Problem) {
        let delivery = Delivery { content: self.content(), persistence: Persistence::Close };
        let now = Instant::now();
        if self.send(&problem.into(), delivery, now).is_ok() && self.enter(Phase::Receiving, now).is_ok() {
            self.wire.linger();
        }
    }

    fn enter(&self, phase: Phase, now: Instant) -> Result<(), Failure> {
        match self.slot.enter(phase, now) {
            Phase::Evicted => Err(Failure::Gone),
            Phase::Waiting | Phase::Receiving | Phase::Working | Phase::Sending => Ok(()),
        }
    }

    /// A thousand idle connections keep what they keep a thousand times.
    fn release_memory(&mut self) {
        self.request.release_memory(KEPT_WHEN_IDLE);
        if self.out.capacity() > KEPT_WHEN_IDLE + COPIED_BODY {
            self.out = Vec::new();
        }
    }
}

/// What matters of the method when the rest of the head may never be understood.
fn method_of_head(received: &[u8]) -> Method {
    if received.starts_with(b"HEAD ") { Method::Head } else { Method::Get }
}
