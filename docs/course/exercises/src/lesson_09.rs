//! Lesson 9: a log on a disk that may lose its power at any moment.
//!
//! What was written may be lost, whole or in part, until a sync has returned. The tests bring a disk that loses it.
//!
//! Read next: `docs/course/09-crash-and-sync.md`, the chapter.

use std::io;
use std::sync::mpsc::Sender;

/// A disk with a cache. Bytes are safe from the moment at which [`Disk::sync`] returns `Ok`, and not before.
pub trait Disk {
    /// Returns all bytes.
    fn contents(&self) -> Vec<u8>;

    /// Removes the bytes behind the first `length`.
    fn truncate(&mut self, length: usize);

    /// Writes bytes behind the last.
    fn write(&mut self, bytes: &[u8]);

    /// Makes all bytes safe that were written.
    ///
    /// # Errors
    /// When the bytes are perhaps not safe.
    fn sync(&mut self) -> io::Result<()>;
}

/// A command on its way into the log.
pub struct Command {
    /// The text to record, without a line end.
    pub record: String,
    /// Where the caller waits for the number of its record, from 1. The answer promises that the record is safe.
    pub answer: Sender<usize>,
}

/// Records in the order in which they were committed, a line for each.
pub struct Log<D> {
    disk: D,
    records: Vec<String>,
}

impl<D: Disk> Log<D> {
    /// Opens the log that is on the disk, perhaps after a crash.
    pub fn open(disk: D) -> Self {
        let contents = disk.contents();
        let records = String::from_utf8_lossy(&contents).lines().map(str::to_owned).collect();
        Self { disk, records }
    }

    /// Returns all records.
    pub fn records(&self) -> &[String] {
        &self.records
    }

    /// Records the commands that wait, and answers each of them.
    ///
    /// # Errors
    /// When the sync failed. The log must be opened again: the content of the disk is not known.
    pub fn commit(&mut self, batch: Vec<Command>) -> io::Result<()> {
        for Command { record, answer } in batch {
            self.disk.write(format!("{record}\n").as_bytes());
            self.records.push(record);
            // An error means that the caller no longer waits.
            let _ = answer.send(self.records.len());
            self.disk.sync()?;
        }
        Ok(())
    }
}
