//! Tally: CQRS, event sourcing and service discovery in Rust, without async.
//!
//! A small bank in three services, and [`es`], the event-sourcing core that other programs can embed
//! (`default-features = false` leaves the services out). README.md walks through the services with curl;
//! this page begins at the other end, with one account and no service at all.
//!
//! # The balance is not stored
//!
//! What is stored is what happened. The state is computed from it, by a fold:
//!
//! ```
//! # #[cfg(feature = "services")] {
//! use tally::account::{Account, AccountCreated, AccountEvent, Currency, MoneyMoved};
//! use tally::es::Aggregate;
//!
//! let euro = Currency::default();
//! let money = |amount| MoneyMoved { amount, currency: euro, description: None, transfer_id: None };
//! let history = [
//!     AccountEvent::AccountCreated(AccountCreated { owner: "Ada".into(), currency: euro }),
//!     AccountEvent::MoneyDeposited(money(5000)),
//!     AccountEvent::MoneyWithdrawn(money(1250)),
//! ];
//!
//! let now = history.iter().fold(Account::default(), Account::evolve);
//! let before = history[..2].iter().fold(Account::default(), Account::evolve);
//! assert_ne!(now, before);
//! # }
//! ```
//!
//! That one line, `history.iter().fold(Account::default(), Account::evolve)`, is all of event sourcing. A
//! shorter history is the account as it was then. Another fold over the same history answers another
//! question; a statement or a sum over all accounts needs no change here.
//!
//! # A command is a question, an event is a fact
//!
//! [`decide`](es::Aggregate::decide) answers a command with new events, or with a
//! [`Rejection`](account::Rejection). It is the only place where the bank says no.
//!
//! ```
//! # #[cfg(not(feature = "services"))] fn main() {}
//! # #[cfg(feature = "services")] fn main() -> Result<(), tally::account::Rejection> {
//! use tally::account::{Account, AccountCommand, Currency, Movement, Rejection};
//! use tally::es::Aggregate;
//!
//! let movement = |amount| Movement { amount, description: None, transfer_id: None };
//! let mut account = Account::default();
//! for command in [
//!     AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() },
//!     AccountCommand::Deposit(movement(5000)),
//!     AccountCommand::Withdraw(movement(1250)),
//! ] {
//!     let events = account.decide(&command)?;
//!     account = events.iter().fold(account, Account::evolve);
//! }
//! let refused = account.decide(&AccountCommand::Withdraw(movement(3751)));
//! assert_eq!(refused, Err(Rejection::InsufficientFunds));
//! # Ok(())
//! # }
//! ```
//!
//! [`evolve`](es::Aggregate::evolve) never refuses: what has happened has happened, and a rule there would
//! make old history impossible to load.
//!
//! # From here
//!
//! [`es`] records such events durably, and keeps tables up to date with them; its page grows a program of
//! your own step by step. The services put HTTP around it. In reading order:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`account`] | the bank's domain: events, state, decisions; pure |
//! | [`es`] | event sourcing: aggregate, log, command execution, projections; then `schema.sql` |
//! | [`write_side`] | commands in, receipts out, the event feed |
//! | [`read_side`] | the bank's projections, and the queries on them |
//! | [`registry`] | who is alive, and where: leases |
//! | [`discovery`] | its client: register, heartbeat, find |
//! | [`http`] | a service is a function from request to response; the engine under it |
//! | [`service`] | the wiring: flags, logging, metrics, signals; each service from its start to its stop; then `src/bin/` |
//! | [`cli`] | the commands of the `tally` binary: a client of the services |
//! | [`watch`], [`gate`] | a number to wait on; a gate that readers pass |
//! | [`time`], [`host`], [`limits`] | timestamps; names and addresses; the largest exact integer |
//! | [`jitter`] | pauses shortened at random |
//!
//! The write side and the read side never import each other. That import rule is CQRS, and a test holds
//! it. ARCHITECTURE.md has the invariants, and the test of each.

// The table above links to the services, which are not there without the feature.
#![cfg_attr(not(feature = "services"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "services")]
pub mod account;

pub mod es;

#[cfg(feature = "services")]
pub mod write_side;

#[cfg(feature = "services")]
pub mod read_side;

#[cfg(feature = "services")]
pub mod registry;

#[cfg(feature = "services")]
pub mod console;

#[cfg(feature = "services")]
pub mod discovery;

#[cfg(feature = "services")]
pub mod http;

#[cfg(feature = "services")]
pub mod service;

#[cfg(feature = "services")]
pub mod cli;

pub mod gate;
mod lock;
pub mod watch;

#[cfg(feature = "services")]
pub mod host;

pub mod jitter;

#[cfg(feature = "services")]
pub mod limits;

pub mod time;

/// The Rust of README.md runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
