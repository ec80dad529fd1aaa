//! `If-Match` and `If-None-Match`: a command that depends on the version which its client has seen
//! (optimistic concurrency, RFC 9110, 13.1). The writer thread checks the version in the transaction
//! that appends: no other command comes between.

use uuid::Uuid;

use crate::account::{Account, AccountCommand, Rejection};
use crate::es::{Aggregate, ExecuteError, Work};
use crate::http::{EntityTags, Problem, Request};

/// The versions that a command depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Precondition {
    /// The account must be at one of these versions.
    matching: Option<Versions>,
    /// The account must be at none of these versions.
    none_matching: Option<Versions>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Versions {
    /// Every version of an account that exists.
    All,
    These(Vec<u64>),
}

impl Versions {
    /// Whether the account at `version` is among them; 0 is the version of an absent account.
    fn contain(&self, version: u64) -> bool {
        match self {
            Self::All => version > 0,
            Self::These(versions) => versions.contains(&version),
        }
    }
}

impl Precondition {
    /// Reads both headers.
    ///
    /// # Errors
    /// 400 when a header is neither `*` nor a list of versions in double quotes. Entity tags of the
    /// write side are versions, so any other tag is a mistake of the client.
    pub(super) fn of(request: &Request) -> Result<Self, Problem> {
        let versions = |name: &str| {
            let tags = request.entity_tags(name)?;
            tags.map(|tags| versions(name, &tags)).transpose()
        };
        Ok(Self { matching: versions("If-Match")?, none_matching: versions("If-None-Match")? })
    }

    /// Checks the account's version. An account that is absent, or exists and is to be opened, is
    /// reported first: RFC 9110, 13.2.1 ignores preconditions where the answer would be an error
    /// without them.
    pub(super) fn check(
        &self,
        account_id: Uuid,
        command: &AccountCommand,
        work: &mut Work<'_>,
    ) -> Result<(), ExecuteError<Rejection>> {
        let (account, version) = work.load::<Account>(account_id)?;
        let matches = self.matching.as_ref().is_none_or(|versions| versions.contain(version));
        let differs = !self.none_matching.as_ref().is_some_and(|versions| versions.contain(version));
        if matches && differs {
            return Ok(());
        }
        match account.decide(command) {
            Err(first @ (Rejection::AccountNotFound | Rejection::AccountExists)) => {
                Err(ExecuteError::Rejected(first))
            }
            Ok(_) | Err(_) => Err(ExecuteError::VersionMismatch { stream_id: account_id, actual: version }),
        }
    }
}

fn versions(name: &str, tags: &EntityTags<'_>) -> Result<Versions, Problem> {
    let tags = match tags {
        EntityTags::Any => return Ok(Versions::All),
        EntityTags::Tags(tags) => tags,
    };
    let version = |opaque: &str| {
        opaque.parse::<u64>().ok().filter(|_| opaque.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let versions = tags.iter().map(|tag| version(tag.opaque).filter(|_| !tag.weak));
    versions
        .collect::<Option<Vec<_>>>()
        .map(Versions::These)
        .ok_or_else(|| Problem::invalid_header(name, "must be * or versions in double quotes, such as \"3\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<Versions>, Problem> {
        Precondition::of(&Request::get("/").with_header("If-Match", value)).map(|read| read.matching)
    }

    #[test]
    fn versions_come_in_double_quotes() {
        assert_eq!(read("\"3\"").unwrap(), Some(Versions::These(vec![3])));
        assert_eq!(read("\"3\", \"4\",").unwrap(), Some(Versions::These(vec![3, 4])));
        assert_eq!(read("*").unwrap(), Some(Versions::All));
        assert_eq!(Precondition::of(&Request::get("/")).unwrap(), Precondition::default());
    }

    #[test]
    fn anything_else_is_refused_and_never_ignored() {
        for bad in [
            "",
            "3",
            "\"3",
            "W/\"3\"",
            "\"abc\"",
            "\"\"",
            "\"-1\"",
            "\"+1\"",
            "*, \"3\"",
            "\"99999999999999999999\"",
        ] {
            assert_eq!(read(bad).unwrap_err().members["header"], "If-Match", "{bad}");
        }
    }
}
