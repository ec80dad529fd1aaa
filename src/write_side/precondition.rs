//! `If-Match`: carry the command out only when the account is at a version that the client has seen
//! (optimistic concurrency, RFC 9110, 13.1.1). The check runs on the writer thread, in the
//! transaction that appends: nothing can come between.

use uuid::Uuid;

use crate::account::{Account, AccountCommand, Rejection};
use crate::es::{Aggregate, ExecuteError, Work};
use crate::http::{Problem, Request};

/// Most versions in one header; a client knows one, perhaps a few.
const MAX_VERSIONS: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IfMatch {
    /// No header: any version will do.
    Absent,
    /// `*`: the account must exist.
    Exists,
    /// `"3"` or `"3", "4"`: the account must be at one of these.
    OneOf(Vec<u64>),
}

impl IfMatch {
    /// Reads the header.
    ///
    /// # Errors
    /// 400 when it is neither `*` nor a list of versions in double quotes. Our entity tags are
    /// versions, so any other tag is a mistake that the client should know of.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let mut values = request.header_values("If-Match").peekable();
        if values.peek().is_none() {
            return Ok(Self::Absent);
        }
        let tags: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
        if tags == ["*"] {
            return Ok(Self::Exists);
        }
        let versions: Option<Vec<u64>> = tags.iter().map(|tag| version(tag)).collect();
        versions.filter(|versions| versions.len() <= MAX_VERSIONS).map(Self::OneOf).ok_or_else(|| {
            Problem::invalid_header("If-Match", "must be a version in double quotes, such as \"3\", or *")
        })
    }

    /// Checks the account's version. The account's absence goes before: RFC 9110, 13.2.1 ignores
    /// preconditions where the answer would be an error without them.
    pub(super) fn check(
        &self,
        account_id: Uuid,
        command: &AccountCommand,
        work: &mut Work<'_>,
    ) -> Result<(), ExecuteError<Rejection>> {
        let (account, version) = work.load::<Account>(account_id)?;
        let holds = match self {
            Self::Absent => true,
            Self::Exists => version > 0,
            Self::OneOf(versions) => versions.contains(&version),
        };
        if holds {
            return Ok(());
        }
        match account.decide(command) {
            Err(absent_or_there @ (Rejection::AccountNotFound | Rejection::AccountExists)) => {
                Err(ExecuteError::Rejected(absent_or_there))
            }
            Ok(_) | Err(_) => Err(ExecuteError::VersionMismatch { stream_id: account_id, actual: version }),
        }
    }
}

fn version(tag: &str) -> Option<u64> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<IfMatch, Problem> {
        IfMatch::of(&Request::get("/").with_header("If-Match", value))
    }

    #[test]
    fn versions_come_in_double_quotes() {
        assert_eq!(read("\"3\"").unwrap(), IfMatch::OneOf(vec![3]));
        assert_eq!(read("\"3\", \"4\"").unwrap(), IfMatch::OneOf(vec![3, 4]));
        assert_eq!(read("*").unwrap(), IfMatch::Exists);
        assert_eq!(IfMatch::of(&Request::get("/")).unwrap(), IfMatch::Absent);
    }

    #[test]
    fn anything_else_is_refused_and_never_ignored() {
        for bad in
            ["", "3", "\"3", "W/\"3\"", "\"abc\"", "\"\"", "\"-1\"", "*, \"3\"", "\"99999999999999999999\""]
        {
            assert_eq!(read(bad).unwrap_err().members["header"], "If-Match", "{bad}");
        }
    }
}
