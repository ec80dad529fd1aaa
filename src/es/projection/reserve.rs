//! Disk space set aside for the end of a rebuild.
//!
//! A rebuild is given up when the disk is full, and the live rows go on. But dropping the tables
//! writes too: SQLite lists the pages as free, and the write-ahead log must be flushed into the
//! database before the space of the log can be used again. Therefore a file beside the database occupies
//! the space during a rebuild, and is removed before the tables are dropped. A disk without space for
//! the file counts as full in time.
//!
//! **Invariant:** the file never holds less than the flush after the next commit may write.
//!
//! Read next: `rebuild.rs`.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use crate::es::database_file::DatabaseFile;

/// Bytes written by dropping the tables of a small database: a few dozen pages.
const MIN_BYTES: u64 = 128 << 10;

/// One byte is kept for this many bytes of the database. SQLite's list of free pages takes one page for
/// about 1000 free pages; the reserve has two.
const DATABASE_SHARE: u64 = 500;

/// Bytes written at once: few system calls for tens of megabytes.
const BLOCK_BYTES: usize = 64 << 10;

/// The file of the reserve. Dropping the value removes the file.
#[derive(Debug)]
pub(super) struct Reserve {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// The state of the pseudo-random generator: a compressing file system would hardly store zeros.
    noise: u64,
}

impl Reserve {
    /// Sets space aside for the database. Overwrites the file of a killed process.
    ///
    /// # Errors
    /// When the disk has too little space.
    pub(super) fn beside(database: &DatabaseFile) -> io::Result<Self> {
        let path = database.path().beside("-reserve");
        let mut reserve = Self { file: File::create(&path)?, path, bytes: 0, noise: 1 };
        reserve.grow_with(database)?;
        Ok(reserve)
    }

    /// Grows to the present need of the database: space for the write-ahead log, and for as much again
    /// in the next commit.
    ///
    /// # Errors
    /// When the disk has too little space.
    pub(super) fn grow_with(&mut self, database: &DatabaseFile) -> io::Result<()> {
        let size = database.bytes();
        let wanted = MIN_BYTES + size.database / DATABASE_SHARE + 2 * size.write_ahead_log;
        let mut block = [0; BLOCK_BYTES];
        while self.bytes < wanted {
            for word in block.as_chunks_mut().0 {
                // Knuth's linear congruential generator (MMIX), all eight bytes.
                self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *word = self.noise.to_be_bytes();
            }
            // Written, not only allocated: a sparse file would reserve no space.
            self.file.write_all(&block)?;
            self.bytes += BLOCK_BYTES as u64;
        }
        Ok(())
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // The next rebuild overwrites a file left here.
        drop(std::fs::remove_file(&self.path));
    }
}
