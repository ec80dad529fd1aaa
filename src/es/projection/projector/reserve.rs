//! Space on the disk that a rebuild sets aside for its own end.
//!
//! A rebuild that fills the disk is given up so that the rows that answer go on. But dropping its tables
//! writes too: SQLite lists their pages as free, and what the write-ahead log holds of them must still be
//! moved into the database before the log's space can be used again. So a file beside the database holds
//! that much space while a rebuild goes on, and is removed before the tables are dropped. A disk that
//! cannot hold it is full in time.
//!
//! Read next: `rebuild.rs`, which takes the space and gives it back.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::DatabaseFile;

/// What dropping the tables of a small database writes: a few dozen pages.
const LEAST: u64 = 128 << 10;

/// SQLite's list of free pages takes one page for about 1000 that were used; twice that is kept.
const SHARE: u64 = 500;

/// See the module. Dropping it gives the space back.
#[derive(Debug)]
pub(in crate::es) struct Reserve {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// The state of the generator of what is written: a file system that compresses would keep next to
    /// nothing for zeros.
    noise: u64,
}

impl Reserve {
    /// Sets space aside for that database. A file that a killed process left is used again.
    ///
    /// # Errors
    /// When there is not so much space.
    pub(in crate::es) fn beside(database: &DatabaseFile) -> io::Result<Self> {
        let path = database.path().beside("-reserve");
        let mut reserve = Self { file: File::create(&path)?, path, bytes: 0, noise: 1 };
        reserve.grow_with(database)?;
        Ok(reserve)
    }

    /// Sets aside what the database needs by now: room for the write-ahead log, and for as much again
    /// that the next commit may add to it.
    ///
    /// # Errors
    /// When there is not so much space.
    pub(in crate::es) fn grow_with(&mut self, database: &DatabaseFile) -> io::Result<()> {
        let size = database.bytes();
        let wanted = LEAST + size.database / SHARE + 2 * size.write_ahead_log;
        let mut block = [0; 4096];
        while self.bytes < wanted {
            for byte in &mut block {
                // Knuth's linear congruential generator (MMIX); its high bits are the random ones.
                self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                [*byte, ..] = self.noise.to_be_bytes();
            }
            self.file.write_all(&block)?;
            self.bytes += 4096;
        }
        Ok(())
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // One that cannot be removed is used again by the next rebuild.
        drop(std::fs::remove_file(&self.path));
    }
}
