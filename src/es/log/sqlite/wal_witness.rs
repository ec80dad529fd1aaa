//! Whether a database's write-ahead log still holds every commit that it is known to have held.
//!
//! After a crash SQLite takes from the write-ahead log (WAL) what it can read, up to the last
//! whole transaction, and drops the rest without a word. For the last transaction that is right:
//! it was cut off by the crash and never acknowledged. But a WAL that was truncated or overwritten
//! would lose acknowledged commits in the same silence.
//!
//! There is a witness. The shared-memory file beside it says how many frames of the WAL are
//! committed, and SQLite writes that number only after they are synced. So the WAL on the disk never
//! has fewer, however the process or the machine ended; where it has, somebody has damaged it.
//!
//! The forms of both files are those of <https://www.sqlite.org/walformat.html>.
//!
//! **Invariant:** nothing is written. Without a witness nothing is refused: what cannot be known is
//! left to the reader of the feed, who has seen the hash of an event that is gone.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

use super::refusal::unusable;
use crate::es::Error;
use crate::es::database_file::{DatabaseFile, DatabasePath};

const WAL_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The magic number without its last bit, which says that checksums are big-endian.
const WAL_MAGIC: u32 = 0x377f_0682;
const FORMAT: u32 = 3_007_000;
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Checks the write-ahead log of the database at `path`, which no process has open; `file` is none where
/// there is only the write-ahead log.
///
/// # Errors
/// [`Error::Unusable`] when commits are missing.
pub(in crate::es) fn check(path: &DatabasePath, file: Option<&DatabaseFile>) -> Result<(), Error> {
    let wal_path = path.beside("-wal");
    let cannot_read = |error: io::Error| unusable(&wal_path, &format!("it cannot be read: {error}"));
    let wal = Wal::read(&wal_path).map_err(cannot_read)?;
    let database = Header::read(file).map_err(cannot_read)?;
    match database {
        Header::Empty if wal != Wal::Nothing => {
            let what = "it is empty or missing, but its write-ahead log is there, and would be deleted: \
                        put the database back, or restore a backup";
            return Err(unusable(path, what));
        }
        Header::WithoutWal if wal != Wal::Nothing => {
            let what = format!(
                "the write-ahead log beside it belongs to another database, and would be mixed into this one; \
                 if this is a restored backup, delete {} and the -shm file",
                wal_path.display()
            );
            return Err(unusable(path, &what));
        }
        Header::Empty | Header::WithoutWal | Header::WithWal => {}
    }
    let refuse = |what: &str| {
        let shm = path.beside("-shm");
        let what = format!(
            "commits that were acknowledged are missing from {} ({what}): put it back as it was, or restore a \
             backup; to go on without them, delete {}",
            wal_path.display(),
            shm.display()
        );
        Err(unusable(path, &what))
    };
    let witness = Witness::read(&path.beside("-shm"));
    match (wal, witness) {
        (Wal::Damaged, _) => refuse("its head is overwritten"),
        (_, None) => Ok(()),
        (Wal::Nothing, Some(witness)) if witness.moved < witness.frames => refuse("it is empty"),
        (Wal::Nothing, Some(_)) => Ok(()),
        // The WAL was begun anew after the witness last spoke.
        (Wal::Frames { salts, .. }, Some(witness)) if salts != witness.salts => Ok(()),
        (Wal::Frames { committed: 0, .. }, Some(witness)) if witness.moved >= witness.frames => Ok(()),
        (Wal::Frames { committed, .. }, Some(witness)) if committed < witness.frames => {
            refuse(&format!("it holds {committed} whole frames of {}", witness.frames))
        }
        (Wal::Frames { .. }, Some(_)) => Ok(()),
    }
}

/// The database file, as far as its header tells about a write-ahead log.
enum Header {
    Empty,
    /// In another journal mode, as backups are: SQLite would take whatever is beside it for its WAL.
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
    /// There is none, or nothing was written to it.
    Nothing,
    /// Frames up to the last whole transaction.
    Frames { salts: [u8; 8], committed: u32 },
    /// It has a content that is no write-ahead log.
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
        // Zeros are what a file system shows of a block that was allocated and not written.
        if !fill(&mut file, &mut header)? || header == [0; WAL_HEADER] {
            return Ok(Self::Nothing);
        }
        let (magic, page_size) = (big_endian(&header, 0), big_endian(&header, 8) as usize);
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

/// Frames up to the last one that ends a transaction, as SQLite's own recovery counts them.
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
        if frame[8..16] != salts || sum != (big_endian(&frame, 16), big_endian(&frame, 20)) {
            break;
        }
        frames += 1;
        if big_endian(&frame, 4) != 0 {
            committed = frames;
        }
    }
    Ok(committed)
}

/// Fills the buffer; false when the file ends before.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// What the shared-memory file says of the WAL.
struct Witness {
    salts: [u8; 8],
    /// Frames that are committed.
    frames: u32,
    /// Frames that were moved into the database already.
    moved: u32,
}

impl Witness {
    /// None where there is no such file, or it does not speak clearly: it is kept in two copies,
    /// and they must agree.
    fn read(path: &Path) -> Option<Self> {
        const COPY: usize = 48;
        let mut head = [0; 2 * COPY + 4];
        File::open(path).ok()?.read_exact(&mut head).ok()?;
        let (first, second) = head[..2 * COPY].split_at(COPY);
        let native = |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let initialised = head[12] != 0;
        if first != second || !initialised || native(0) != FORMAT {
            return None;
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&head[32..40]);
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
