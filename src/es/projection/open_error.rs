//! Why a read database cannot be opened.
//!
//! **Invariant:** after an error the file is as it was.
//!
//! Read next: `read_db.rs`.

use std::fmt;
use std::path::PathBuf;

use crate::es::database_file::PathError;

/// Why a read database cannot be opened. The file is unchanged.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has the database. Stop that process, or give another path.
    InUse {
        /// The file.
        path: PathBuf,
        /// The process, where the system reports it.
        process: Option<u32>,
    },
    /// The file is not a read database for this program, or cannot be read. The text gives the finding and
    /// the remedy.
    Unusable(String),
    /// A projection contradicts the contract of [`Projection`](super::Projection). Correct the program.
    Definition {
        /// The projection.
        projection: &'static str,
        /// The contradiction.
        fault: String,
    },
    /// SQLite refused. Delete a damaged file: the rows are replayed from the log.
    Sqlite(rusqlite::Error),
}

impl From<PathError> for OpenError {
    fn from(error: PathError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { path, process: Some(process) } => write!(
                f,
                "{} is the read database of another process (process {process}): stop that one first, or give \
                 another path",
                path.display()
            ),
            // The system names no holder for a lock of this process.
            Self::InUse { path, process: None } => {
                write!(f, "{} is open in this program or another: close it there first", path.display())
            }
            Self::Unusable(what) => f.write_str(what),
            Self::Definition { projection, fault } => write!(f, "projection {projection}: {fault}"),
            Self::Sqlite(error) => write!(
                f,
                "the read database cannot be opened: {error}. If it is damaged, delete it: it is rebuilt from \
                 the log"
            ),
        }
    }
}

impl std::error::Error for OpenError {}
