//! The ceiling of the write-ahead log (WAL), and the sizes at which each part of the program reacts.
//!
//! ```text
//! 0 ── 1/16 ───── 1/4 ────────── 1/2 ─────────────── 3/4 ───────── 7/8 ──── 1
//!      kept when  the flusher    readers wait for    the writer    the writer  the limit
//!      idle       copies pages   a flush             copies too    waits for a flush
//! ```
//!
//! Read next: `wal_flusher.rs`.

use crate::es::Error;

/// Bytes of a page of the database and its header in the WAL.
pub(super) const FRAME_BYTES: u64 = 4096 + 24;

/// The ceiling of a write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalLimit(u64);

impl WalLimit {
    /// 64 MiB: some seconds of commands at the highest rate, so a flush writes each page once for many
    /// commits; and some tenths of a second for a start after a crash, which reads the whole WAL.
    pub(super) const DEFAULT: Self = Self(64 << 20);

    /// 1 MiB: with less, every few commits would wait for a flush.
    const MIN_BYTES: u64 = 1 << 20;

    /// 1 GiB: a start after a crash would read for several seconds.
    const MAX_BYTES: u64 = 1 << 30;

    pub(super) fn of(bytes: u64) -> Result<Self, Error> {
        if (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes) {
            return Ok(Self(bytes));
        }
        let (min, max) = (Self::MIN_BYTES, Self::MAX_BYTES);
        Err(Error::Unusable(format!(
            "a limit of {bytes} bytes for the write-ahead log cannot be used: give {min} to {max} bytes"
        )))
    }

    /// Pages between two flushes.
    pub(super) fn flush_pages(self) -> u64 {
        self.0 / 4 / FRAME_BYTES
    }

    /// Bytes above which a flush closes the readers' gate.
    pub(super) fn restart_bytes(self) -> u64 {
        self.0 / 2
    }

    /// Bytes above which a commit of the writer flushes the WAL itself.
    pub(super) fn writer_bytes(self) -> u64 {
        self.0 / 4 * 3
    }

    /// The same in pages, as SQLite counts them.
    pub(super) fn writer_pages(self) -> u64 {
        self.writer_bytes() / FRAME_BYTES
    }

    /// Bytes above which the writer waits for a flush: overlapping readers kept the writer from beginning the
    /// WAL again.
    pub(super) fn urgent_bytes(self) -> u64 {
        self.0 / 8 * 7
    }

    /// Bytes that an idle log keeps: the next burst overwrites them, and a file that does not grow syncs
    /// faster.
    pub(super) fn idle_bytes(self) -> u64 {
        self.0 / 16
    }
}
