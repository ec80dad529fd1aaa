//! The tests of lesson 9: an answer is a promise that a crash does not break.
//!
//! Read next: `docs/course/09-crash-and-sync.md`, the chapter.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};

use course::lesson_09::{Command, Disk, Log};

/// A disk in memory. A clone is the same disk, as the test and the log see one file.
#[derive(Clone, Default)]
struct MemoryDisk(Rc<RefCell<Platter>>);

#[derive(Default)]
struct Platter {
    bytes: Vec<u8>,
    /// How many of the bytes survive the loss of power.
    safe: usize,
    syncs: usize,
    /// Whether the power fails at the next sync, before anything is safe.
    fails: bool,
}

impl Disk for MemoryDisk {
    fn contents(&self) -> Vec<u8> {
        self.0.borrow().bytes.clone()
    }

    fn truncate(&mut self, length: usize) {
        let mut platter = self.0.borrow_mut();
        platter.bytes.truncate(length);
        platter.safe = platter.safe.min(length);
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.borrow_mut().bytes.extend_from_slice(bytes);
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut platter = self.0.borrow_mut();
        if platter.fails {
            return Err(io::Error::other("the power failed"));
        }
        platter.syncs += 1;
        platter.safe = platter.bytes.len();
        Ok(())
    }
}

impl MemoryDisk {
    fn fail_at_next_sync(&self) {
        self.0.borrow_mut().fails = true;
    }

    /// Loses the power, and comes back. Of what was not safe, the first `torn` bytes happen to be on the disk.
    fn crash(&self, torn: usize) -> Self {
        let platter = self.0.borrow();
        let left = platter.bytes.len().min(platter.safe + torn);
        let bytes = platter.bytes[..left].to_vec();
        Self(Rc::new(RefCell::new(Platter { safe: left, bytes, syncs: 0, fails: false })))
    }
}

/// Commits the records as one batch, and returns where their callers wait.
fn commit(log: &mut Log<MemoryDisk>, records: &[&str]) -> (io::Result<()>, Vec<Receiver<usize>>) {
    let (batch, callers) = records
        .iter()
        .map(|record| {
            let (answer, caller) = channel();
            (Command { record: (*record).to_owned(), answer }, caller)
        })
        .unzip();
    (log.commit(batch), callers)
}

#[test]
fn what_a_caller_was_told_is_on_the_disk_after_the_power_failed() {
    let disk = MemoryDisk::default();
    let mut log = Log::open(disk.clone());
    disk.fail_at_next_sync();
    let (committed, callers) = commit(&mut log, &["deposit 50", "deposit 12", "withdraw 7"]);
    assert!(committed.is_err(), "the sync failed, and the commit reports success");

    let reopened = Log::open(disk.crash(0));
    for number in callers.iter().filter_map(|caller| caller.try_recv().ok()) {
        assert!(
            number <= reopened.records().len(),
            "a caller was told that its command is record {number}, and after the crash the log has the records \
             {:?}. Answer when the record is safe",
            reopened.records()
        );
    }
}

#[test]
fn callers_that_wait_together_share_one_sync_and_each_is_answered() {
    let disk = MemoryDisk::default();
    let mut log = Log::open(disk.clone());
    let (committed, callers) = commit(&mut log, &["deposit 50", "deposit 12", "withdraw 7"]);
    committed.expect("this disk has power");

    let syncs = disk.0.borrow().syncs;
    assert_eq!(
        syncs, 1,
        "three commands waited together and needed {syncs} syncs: the sync is the slow part, so share it"
    );
    let answers: Vec<_> = callers.iter().filter_map(|caller| caller.try_recv().ok()).collect();
    assert_eq!(answers, [1, 2, 3], "each caller gets the number of its own record");
}

#[test]
fn half_a_record_is_never_read_and_never_continued() {
    let batch = ["deposit 12", "withdraw 700"];
    let bytes = batch.join("\n").len() + 1;
    for torn in 0..=bytes {
        let disk = MemoryDisk::default();
        let mut log = Log::open(disk.clone());
        commit(&mut log, &["deposit 50"]).0.expect("this disk has power");
        disk.fail_at_next_sync();
        assert!(commit(&mut log, &batch).0.is_err(), "the sync failed, and the commit reports success");

        // A command without an answer may be recorded or not. A record is whole, and in its order.
        let disk = disk.crash(torn);
        let mut log = Log::open(disk.clone());
        let possible = ["deposit 50", "deposit 12", "withdraw 700"];
        let found = log.records().to_vec();
        assert!(
            possible.starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>()),
            "{torn} bytes of the last batch reached the disk, and the log reads {found:?}: a record was torn"
        );

        // The next record begins a line of its own.
        commit(&mut log, &["deposit 1"]).0.expect("this disk has power");
        let again = Log::open(disk.crash(0)).records().to_vec();
        assert_eq!(
            again,
            [found, vec!["deposit 1".to_owned()]].concat(),
            "{torn} bytes were left by the crash"
        );
    }
}
