//! The tests of lesson 3: a lost answer costs nothing twice, and an old balance decides nothing.

// Every failure here is to stop the test with its reason.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::sync::Arc;

use course::lesson_03::{Bank, Failure, Seen, Withdrawal, pay_invoice, withdraw_down_to};
use tally::account::{Account, AccountCommand, AccountEvent, Currency, Movement};
use tally::es::{Context, EventLog, ExecuteError, Executor, IdempotencyKey, MemoryDatabase, decode};
use uuid::Uuid;

const ADA: Uuid = Uuid::from_u128(1);

/// A bank with one account, on a log in memory. Its line loses answers, and another client is at work.
struct Branch {
    log: Arc<EventLog>,
    executor: Executor,
    /// How many of the next requests are lost on the way to the bank.
    lost_requests: Cell<u32>,
    /// How many of the next answers are lost.
    lost_answers: Cell<u32>,
    /// What another client withdraws as soon as an account was looked at.
    other_withdrawal: Cell<u64>,
}

fn movement(amount: u64) -> Movement {
    Movement { amount, description: None, transfer_id: None }
}

impl Branch {
    fn with_balance(cents: u64) -> Self {
        let log = EventLog::open(MemoryDatabase::default()).unwrap();
        let executor = Executor::start(log.clone(), |_commit| ()).unwrap();
        let open = AccountCommand::Open { owner: "Ada".into(), currency: Currency::default() };
        for command in [open, AccountCommand::Deposit(movement(cents))] {
            executor.execute::<Account>(ADA, command, Context::default()).unwrap();
        }
        let (lost_requests, lost_answers) = (Cell::new(0), Cell::new(0));
        Self { log, executor, lost_requests, lost_answers, other_withdrawal: Cell::new(0) }
    }

    fn now(&self) -> Seen {
        let mut seen = Seen { balance: 0, version: 0 };
        for event in self.log.stream(ADA) {
            match decode(&event.unwrap().as_recorded()).unwrap() {
                AccountEvent::MoneyDeposited(moved) => seen.balance += moved.amount,
                AccountEvent::MoneyWithdrawn(moved) => seen.balance -= moved.amount,
                _ => {}
            }
            seen.version += 1;
        }
        seen
    }

    fn execute(&self, withdrawal: &Withdrawal) -> Result<(), Failure> {
        let Withdrawal { amount, if_match, key } = withdrawal.clone();
        let key = key.map(|key| IdempotencyKey::of(key, &("withdraw", amount)).unwrap());
        let context = Context { keys: key.into_iter().collect(), ..Context::default() };
        let answer = self.executor.transact(context, move |work| {
            let (_, actual) = work.load::<Account>(ADA)?;
            if if_match.is_some_and(|expected| expected != actual) {
                return Err(ExecuteError::VersionMismatch { stream_id: ADA, actual });
            }
            work.decide::<Account>(ADA, &AccountCommand::Withdraw(movement(amount)))?;
            Ok(ADA)
        });
        match answer {
            Ok(_) => Ok(()),
            Err(ExecuteError::VersionMismatch { .. }) => Err(Failure::VersionMismatch),
            Err(refused) => panic!("the bank answers: {refused:?}"),
        }
    }
}

impl Bank for Branch {
    fn account(&self) -> Seen {
        let seen = self.now();
        let amount = self.other_withdrawal.take();
        if amount > 0 {
            self.execute(&Withdrawal { amount, if_match: None, key: None }).unwrap();
        }
        seen
    }

    fn withdraw(&self, withdrawal: &Withdrawal) -> Result<(), Failure> {
        if self.lost_requests.get() > 0 {
            self.lost_requests.set(self.lost_requests.get() - 1);
            return Err(Failure::NoAnswer);
        }
        self.execute(withdrawal)?;
        match self.lost_answers.get() {
            0 => Ok(()),
            lost => {
                self.lost_answers.set(lost - 1);
                Err(Failure::NoAnswer)
            }
        }
    }
}

#[test]
fn an_invoice_is_paid_once_although_a_request_and_two_answers_are_lost() {
    let bank = Branch::with_balance(5000);
    bank.lost_requests.set(1);
    bank.lost_answers.set(2);
    pay_invoice(&bank, "2026-17", 700);
    assert_eq!(
        bank.now().balance,
        4300,
        "the first request never arrived, and then the bank withdrew the money and two answers were lost on the way \
         back. Ask until there is an answer, and let each attempt name the same payment, or each is a payment of its own."
    );
}

#[test]
fn two_invoices_over_the_same_amount_are_two_payments() {
    let bank = Branch::with_balance(5000);
    for invoice in ["2026-17", "2026-18"] {
        bank.lost_answers.set(1);
        pay_invoice(&bank, invoice, 700);
    }
    assert_eq!(bank.now().balance, 3600, "the key names the invoice, so another invoice has another key");
}

#[test]
fn an_amount_that_was_computed_from_an_old_balance_is_not_withdrawn() {
    let bank = Branch::with_balance(5000);
    bank.other_withdrawal.set(300);
    withdraw_down_to(&bank, 1000);
    assert_eq!(
        bank.now().balance,
        1000,
        "another client withdrew 300 cents between your look at the balance and your withdrawal. The version in \
         `If-Match` must be the one that the amount was computed from; a version that is read later always matches."
    );
}
