//! Lesson 6: a client that reads its own writes.
//!
//! The client has the receipts of its commands, and asks any of several read sides. The lesson begins with a client
//! that hopes that each read side is up to date; `just lesson 6` shows old balances.
//!
//! Read next: `docs/course/06-eventual-consistency.md`.

/// A read side, as its clients see it: `GET /accounts/{id}?min_position=`.
pub trait ReadSide {
    /// Returns the balance, from rows that have reached `min_position`. The read side waits a moment for the position.
    ///
    /// # Errors
    /// [`Behind`] when the rows do not reach the position in time.
    fn balance(&mut self, min_position: u64) -> Result<Answer, Behind>;
}

/// The answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The balance, in cents.
    pub balance: u64,
    /// The header `Event-Position`: how far the rows had come.
    pub position: u64,
}

/// 503 `read-model-behind`, with the position of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind(pub u64);

/// The memory of one client, from request to request.
#[derive(Debug, Default)]
pub struct Session {
    /// The newest position that the client knows; 0 at first.
    pub newest: u64,
}

impl Session {
    /// Notes the position of a receipt. Receipts may arrive in another order than their commands were recorded in.
    pub fn note_receipt(&mut self, position: u64) {
        self.newest = self.newest.max(position);
    }

    /// Asks a read side for the balance. The answer includes every command whose receipt the client has, and is never
    /// older than an answer before it.
    ///
    /// # Errors
    /// [`Behind`] when the read side cannot answer so.
    pub fn balance(&mut self, read_side: &mut impl ReadSide) -> Result<Answer, Behind> {
        let answer = read_side.balance(self.newest)?;
        self.newest = answer.position;
        Ok(answer)
    }
}
