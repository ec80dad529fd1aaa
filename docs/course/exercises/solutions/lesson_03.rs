//! Lesson 3: a client of the bank, over a line that loses answers, beside other clients.
//!
//! Each of the two functions makes a classic mistake: the first pays twice, the second decides on a balance that is
//! old. `Withdrawal` has the two fields that help.
//!
//! Read next: `docs/course/03-versions-and-conflicts.md`.

/// The bank as its client sees it. A request may be sent again.
pub trait Bank {
    /// Returns the account: `GET /accounts/{id}`.
    fn account(&self) -> Seen;

    /// Withdraws: `POST /accounts/{id}/withdraw`.
    ///
    /// # Errors
    /// [`Failure`] says why it is not known to have happened.
    fn withdraw(&self, withdrawal: &Withdrawal) -> Result<(), Failure>;
}

/// An account at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The balance, in cents.
    pub balance: u64,
    /// The version of the account.
    pub version: u64,
}

/// The command, and its two headers.
#[derive(Clone, Debug)]
pub struct Withdrawal {
    /// How much, in cents.
    pub amount: u64,
    /// `If-Match`: withdraw only if the account is at this version.
    pub if_match: Option<u64>,
    /// `Idempotency-Key`: under the same key, withdraw once.
    pub key: Option<String>,
}

/// Why a withdrawal is not known to have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// 412: the account is at another version, and nothing was withdrawn.
    VersionMismatch,
    /// No answer: the money may be withdrawn, or not.
    NoAnswer,
}

/// Pays an invoice out of the account, once.
pub fn pay_invoice(bank: &impl Bank, invoice: &str, amount: u64) {
    // No answer means that the outcome is unknown: ask again for the same payment, under the same key.
    // (Over a network, pause before each new attempt, longer each time.)
    let key = Some(format!("invoice-{invoice}"));
    while bank.withdraw(&Withdrawal { amount, if_match: None, key: key.clone() }).is_err() {}
}

/// Withdraws what the account holds above `rest` cents, also if other clients withdraw meanwhile.
pub fn withdraw_down_to(bank: &impl Bank, rest: u64) {
    loop {
        let seen = bank.account();
        let amount = seen.balance.saturating_sub(rest);
        if amount == 0 {
            return;
        }
        // The version that the amount was computed from. If the account has changed, compute again.
        let if_match = Some(seen.version);
        // After a failure of any kind, the next look at the account shows what is left to do.
        let _outcome = bank.withdraw(&Withdrawal { amount, if_match, key: None });
    }
}
