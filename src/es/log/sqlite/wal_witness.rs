//! The check that a write-ahead log (WAL) still holds every commit that it is known to have held.
//!
//! After a crash SQLite reads the WAL up to the last whole transaction, and drops the rest silently. For the
//! last transaction that is right: the crash cut the transaction off before any receipt. But SQLite drops
//! acknowledged commits of a truncated or overwritten WAL just as silently.
//!
//! The shared-memory file beside the WAL is the witness: the file has the number of committed frames, and
//! SQLite writes that number only after the frames are synced. So the WAL on the disk never has fewer
//! frames, however the process or the machine ended. A WAL with fewer frames was damaged later.
//!
//! <https://www.sqlite.org/walformat.html> describes both formats.
//!
//! **Invariant:** no file is changed. Without a witness no WAL is refused: a follower of the feed that has
//! seen the hash of a lost event still finds the loss.
//!
//! Read next: nothing here; skip this file at first reading.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use crate::es::Error;
use crate::es::database_file::{DatabaseFile, DatabasePath};

const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The magic number without the last bit, which is set for big-endian checksums.
const WAL_MAGIC: u32 = 0x377f_0682;
const FORMAT: u32 = 3_007_000;
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Checks the write-ahead log of the database at `path`, which no process has open; `file` is None for a
/// missing database.
///
/// # Errors
/// [`Error::Unusable`] when commits are missing.
pub(super) fn check(path: &DatabasePath, file: Option<&DatabaseFile>) -> Result<(), Error> {
    let wal_path = path.beside("-wal");
    let cannot_read = |error: io::Error| Error::unusable(&wal_path, &format!("it cannot be read: {error}"));
    let wal = Wal::read(&wal_path).map_err(cannot_read)?;
    let database = Header::read(file).map_err(cannot_read)?;
    check_owner(path, &wal_path, &wal, &database)?;
    let refuse = |what: &str| Err(commits_missing(path, &wal_path, what));
    let witness = Witness::read(&path.beside("-shm"));
    match (wal, witness) {
        (Wal::Damaged, _) => refuse("its header is overwritten"),
        // No witness, as after an orderly stop: no count contradicts the WAL.
        (_, None) => Ok(()),
        (Wal::Nothing, Some(witness)) if witness.moved < witness.frames => refuse("it is empty"),
        // All frames were copied into the database before the WAL was emptied.
        (Wal::Nothing, Some(_)) => Ok(()),
        // The WAL began again after the witness was last written.
        (Wal::Frames { salts, .. }, Some(witness)) if salts != witness.salts => Ok(()),
        // All frames were copied, and a crash tore the first new transaction.
        (Wal::Frames { committed: 0, .. }, Some(witness)) if witness.moved >= witness.frames => Ok(()),
        (Wal::Frames { committed, .. }, Some(witness)) if committed < witness.frames => {
            refuse(&format!("it holds {committed} whole frames of {}", witness.frames))
        }
        (Wal::Frames { .. }, Some(_)) => Ok(()),
    }
}

/// Checks that a write-ahead log that is there belongs to the database.
fn check_owner(path: &DatabasePath, wal_path: &Path, wal: &Wal, database: &Header) -> Result<(), Error> {
    // Both cases need no witness: SQLite would lose or mix commits whatever the counters say.
    match database {
        Header::Empty if *wal != Wal::Nothing => {
            let what = "it is empty or missing, but its write-ahead log is there, and would be deleted: \
                        put the database back, or restore a backup";
            Err(Error::unusable(path, what))
        }
        Header::WithoutWal if *wal != Wal::Nothing => {
            let what = format!(
                "the write-ahead log beside it belongs to another database, and would be mixed into this one; \
                 if this is a restored backup, delete {} and the -shm file",
                wal_path.display()
            );
            Err(Error::unusable(path, &what))
        }
        Header::Empty | Header::WithoutWal | Header::WithWal => Ok(()),
    }
}

/// Refuses a database whose write-ahead log lacks commits; `what` is the state of the write-ahead log.
fn commits_missing(path: &DatabasePath, wal_path: &Path, what: &str) -> Error {
    let shm = path.beside("-shm");
    let what = format!(
        "commits that were acknowledged are missing from {} ({what}): put it back as it was, or restore a \
         backup; to go on without them, delete {}",
        wal_path.display(),
        shm.display()
    );
    Error::unusable(path, &what)
}

/// What the header of the database says about a write-ahead log.
enum Header {
    Empty,
    /// In another journal mode, as backups are: SQLite would mix any file under the WAL's name into the
    /// database.
    WithoutWal,
    WithWal,
}

impl Header {
    fn read(file: Option<&DatabaseFile>) -> io::Result<Self> {
        let mut header = [0; 19];
        let is_whole = file.map_or(Ok(false), |file| file.read_header(&mut header))?;
        if !is_whole {
            return Ok(Self::Empty);
        }
        // "Database file format", section 1.3.3: 1 is a rollback journal, 2 a write-ahead log.
        Ok(if header[18] == 1 { Self::WithoutWal } else { Self::WithWal })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wal {
    /// No file, or a file without frames.
    Nothing,
    /// Frames up to the last whole transaction.
    Frames { salts: [u8; 8], committed: u32 },
    /// The header is not the header of a write-ahead log.
    Damaged,
}

impl Wal {
    fn read(path: &Path) -> io::Result<Self> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::new(file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Nothing),
            Err(error) => return Err(error),
        };
        let mut header = [0; WAL_HEADER];
        // After a power cut, a file system shows zeros for a block that was allocated and not written.
        if !fill(&mut file, &mut header)? || header == [0; WAL_HEADER] {
            return Ok(Self::Nothing);
        }
        let (magic, page_size) = (big_endian(&header, 0), big_endian(&header, 8) as usize);
        // The lowest bit of the magic number gives the byte order of the checksums ("Database file format",
        // section 4.2); all other numbers are big-endian.
        let order = if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
        let sum = checksum(order, &header[..24], (0, 0));
        let sound = magic & !1 == WAL_MAGIC
            && big_endian(&header, 4) == FORMAT
            && PAGE_SIZES.contains(&page_size)
            && page_size.is_power_of_two()
            && sum == (big_endian(&header, 24), big_endian(&header, 28));
        if !sound {
            return Ok(Self::Damaged);
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        let committed = committed_frames(&mut file, page_size, order, sum, salts)?;
        Ok(Self::Frames { salts, committed })
    }
}

/// Counts the frames up to the last end of a transaction, as SQLite's own recovery does.
fn committed_frames(
    file: &mut impl Read,
    page_size: usize,
    order: fn([u8; 4]) -> u32,
    mut sum: (u32, u32),
    salts: [u8; 8],
) -> io::Result<u32> {
    let mut frame = vec![0; FRAME_HEADER + page_size];
    let (mut frames, mut committed) = (0, 0);
    while fill(file, &mut frame)? {
        sum = checksum(order, &frame[..8], sum);
        sum = checksum(order, &frame[FRAME_HEADER..], sum);
        // An older salt or a wrong checksum ends the log: a frame of a former round, or a torn write.
        if frame[8..16] != salts || sum != (big_endian(&frame, 16), big_endian(&frame, 20)) {
            break;
        }
        frames += 1;
        // The last frame of a transaction has the size of the database here. Frames after the last such frame
        // belong to a transaction that was cut off.
        if big_endian(&frame, 4) != 0 {
            committed = frames;
        }
    }
    Ok(committed)
}

/// Fills the buffer; returns false at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The counters of the WAL in the shared-memory file.
struct Witness {
    salts: [u8; 8],
    /// Committed frames.
    frames: u32,
    /// Frames that were copied into the database already.
    moved: u32,
}

impl Witness {
    /// Returns None without a readable file, and when the two copies of the counters differ.
    fn read(path: &Path) -> Option<Self> {
        const COPY: usize = 48;
        let mut header = [0; 2 * COPY + 4];
        File::open(path).ok()?.read_exact(&mut header).ok()?;
        let (first, second) = header[..2 * COPY].split_at(COPY);
        // Shared memory has the byte order of the machine.
        let native =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let initialised = header[12] != 0;
        // SQLite writes the header twice, so unequal copies are an interrupted write.
        if first != second || !initialised || native(0) != FORMAT {
            return None;
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[32..40]);
        Some(Self { salts, frames: native(16), moved: native(2 * COPY) })
    }
}

fn big_endian(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn checksum(order: fn([u8; 4]) -> u32, bytes: &[u8], (mut a, mut b): (u32, u32)) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(order([pair[0], pair[1], pair[2], pair[3]])).wrapping_add(b);
        b = b.wrapping_add(order([pair[4], pair[5], pair[6], pair[7]])).wrapping_add(a);
    }
    (a, b)
}
