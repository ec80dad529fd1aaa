//! The load: so many clients, each with a connection and a thread of its own, for so long.
//!
//! A *closed* loop sends the next request when the last is answered: it finds the highest rate. But
//! it goes easy on a service that stalls, because all clients wait with it. An *open* loop sends at
//! fixed times whatever comes back, and counts a latency from the time at which the request was
//! due: what a client sees who does not know that the service is busy.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::{Client, Request};
use crate::histogram::Histogram;

/// A client keeps next to nothing on its stack.
const STACK_BYTES: usize = 128 * 1024;

/// When a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When the last request was answered.
    Closed,
    /// So many a second, all clients together.
    Open(f64),
}

/// How long a load lasts, and how long before that it runs unmeasured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) clients: usize,
    /// Each client picks from these at random.
    pub(crate) requests: &'a [Request],
    pub(crate) pace: Pace,
    pub(crate) span: Span,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) latency: Histogram,
}

impl<'a> Load<'a> {
    /// A closed loop.
    pub(crate) fn closed(address: SocketAddr, clients: usize, requests: &'a [Request], span: Span) -> Self {
        Self { address, clients, requests, pace: Pace::Closed, span }
    }

    /// The same load at half of that rate, whatever comes back.
    pub(crate) fn at_half(self, per_second: f64) -> Self {
        Self { pace: Pace::Open(per_second / 2.0), ..self }
    }

    /// # Errors
    /// When a connection fails or any answer is no success.
    pub(crate) fn run(&self) -> Result<Measured> {
        let start = Barrier::new(self.clients);
        let start = &start;
        let histograms: Vec<Histogram> = thread::scope(|scope| -> Result<_> {
            let clients: Vec<_> = (0..self.clients)
                .map(|index| {
                    let builder = thread::Builder::new().stack_size(STACK_BYTES);
                    builder.spawn_scoped(scope, move || self.client(index, start))
                })
                .collect::<std::io::Result<_>>()?;
            clients.into_iter().map(|client| client.join().map_err(|_| "a client panicked")?).collect()
        })?;
        let mut latency = Histogram::default();
        histograms.iter().for_each(|histogram| latency.add(histogram));
        Ok(Measured { per_second: latency.count() as f64 / self.span.measured.as_secs_f64(), latency })
    }

    fn client(&self, index: usize, start: &Barrier) -> Result<Histogram> {
        let connected = Client::connect(self.address);
        // Also when it failed: the others wait for all.
        start.wait();
        let client = connected?;
        let begin = Instant::now() + self.span.warm_up;
        let run = Run { load: self, client, pick: Pick::new(index), begin, end: begin + self.span.measured };
        match self.pace {
            Pace::Closed => run.closed(),
            Pace::Open(per_second) => {
                let interval = Duration::from_secs_f64(self.clients as f64 / per_second);
                // The clients take turns, or all would send at once.
                let first = Instant::now() + interval.mul_f64(index as f64 / self.clients as f64);
                run.open(first, interval)
            }
        }
    }
}

/// One client's part of a load.
struct Run<'a> {
    load: &'a Load<'a>,
    client: Client,
    pick: Pick,
    begin: Instant,
    end: Instant,
}

impl Run<'_> {
    fn closed(mut self) -> Result<Histogram> {
        let mut latency = Histogram::default();
        let mut sent = Instant::now();
        while sent < self.end {
            self.exchange()?;
            let answered = Instant::now();
            if sent >= self.begin && answered < self.end {
                latency.record(answered - sent);
            }
            sent = answered;
        }
        Ok(latency)
    }

    fn open(mut self, first: Instant, interval: Duration) -> Result<Histogram> {
        let mut latency = Histogram::default();
        let mut due = first;
        while due < self.end {
            let now = Instant::now();
            if now < due {
                thread::sleep(due - now);
            } else if now >= self.end {
                break;
            }
            self.exchange()?;
            if due >= self.begin {
                latency.record(due.elapsed());
            }
            due += interval;
        }
        // What was due and could not be sent any more has waited at least until now.
        while due < self.end {
            latency.record(due.elapsed());
            due += interval;
        }
        Ok(latency)
    }

    fn exchange(&mut self) -> Result<()> {
        let request = &self.load.requests[self.pick.below(self.load.requests.len())];
        self.client.exchange(request)?.expect_success(request)
    }
}

/// Random numbers (xorshift), the same in each run.
#[derive(Debug)]
pub(crate) struct Pick {
    state: u64,
}

impl Pick {
    pub(crate) fn new(seed: usize) -> Self {
        Self { state: (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) }
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((u128::from(self.state) * limit as u128) >> 64) as usize
    }
}

/// Sends each of the requests once, over a few connections.
///
/// # Errors
/// When one is refused.
pub(crate) fn send_all(address: SocketAddr, requests: &[Request]) -> Result<()> {
    const CLIENTS: usize = 64;
    let share = requests.len().div_ceil(CLIENTS).max(1);
    thread::scope(|scope| {
        let senders: Vec<_> = requests
            .chunks(share)
            .map(|requests| {
                scope.spawn(move || -> Result<()> {
                    let mut client = Client::connect(address)?;
                    requests.iter().try_for_each(|request| client.body_of(request).map(drop))
                })
            })
            .collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a client panicked")?)
    })
}
