//! Entity tags in conditional requests (RFC 9110, 8.8.3 and 13.1), for both sides.
//!
//! **Invariant:** a malformed tag is refused, never skipped: the condition would change.
//!
//! Read next: `request.rs`.

use super::problem::Problem;
use super::request::Request;

/// Maximum number of tags in one request: a client knows one version, perhaps a few.
const MAX_TAGS: usize = 16;

/// An entity tag, such as `"3"` or `W/"3"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// Whether the tag is marked as weak.
    pub weak: bool,
    /// The text between the double quotes.
    pub opaque: &'a str,
}

/// The value of `If-Match` or `If-None-Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntityTags<'a> {
    /// `*`: any version.
    Any,
    /// A list of tags, with at least one tag.
    Tags(Vec<EntityTag<'a>>),
}

impl Request {
    /// Returns the entity tags of the header `name`; `None` without the header. Several headers of the
    /// name make one list, and a list may have empty elements (RFC 9110, 5.6.1).
    ///
    /// # Errors
    /// 400 `invalid-header` for anything but `*` or a list of 1 to 16 entity tags.
    pub fn entity_tags(&self, name: &str) -> Result<Option<EntityTags<'_>>, Problem> {
        let values: Vec<&str> = self.header_values(name).collect();
        if values.is_empty() {
            return Ok(None);
        }
        // `*` stands alone: beside a tag the header would have two meanings.
        if let [value] = values[..]
            && value.trim() == "*"
        {
            return Ok(Some(EntityTags::Any));
        }
        let malformed = || {
            let rule = format!("must be * or a list of 1 to {MAX_TAGS} entity tags, such as \"3\"");
            Problem::invalid_header(name, rule)
        };
        let mut tags = Vec::new();
        for value in values {
            list(value, &mut tags).ok_or_else(malformed)?;
        }
        if (1..=MAX_TAGS).contains(&tags.len()) { Ok(Some(EntityTags::Tags(tags))) } else { Err(malformed()) }
    }
}

/// Appends the tags of one list; `None` when the list is malformed.
fn list<'a>(value: &'a str, tags: &mut Vec<EntityTag<'a>>) -> Option<()> {
    // No split at commas: a tag may contain a comma.
    let mut rest = value.trim_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (weak, tag) = rest.strip_prefix("W/").map_or((false, rest), |tag| (true, tag));
        let (opaque, after) = tag.strip_prefix('"')?.split_once('"')?;
        // The characters of RFC 9110, 8.8.3.
        if !opaque.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80) {
            return None;
        }
        tags.push(EntityTag { weak, opaque });
        let after = after.trim_start_matches([' ', '\t']);
        if after.is_empty() {
            return Some(());
        }
        rest = after.strip_prefix(',')?.trim_start_matches([' ', '\t', ',']);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<Vec<(bool, String)>>, Problem> {
        let request =
            values.iter().fold(Request::get("/"), |request, value| request.with_header("If-Match", value));
        let tags = request.entity_tags("If-Match")?;
        Ok(tags.map(|tags| match tags {
            EntityTags::Any => vec![(false, "*".to_owned())],
            EntityTags::Tags(tags) => tags.iter().map(|tag| (tag.weak, tag.opaque.to_owned())).collect(),
        }))
    }

    #[test]
    fn a_list_may_be_spread_over_headers_and_have_empty_elements() {
        for (values, expected) in [
            (&["\"3\""][..], &["3"][..]),
            (&["\"1\","], &["1"]),
            (&[",\"1\" ,, \"2\""], &["1", "2"]),
            (&["\"1\"", "\"2\""], &["1", "2"]),
            (&["\"a,b\", \"3\" ,"], &["a,b", "3"]),
            (&["\"\""], &[""]),
        ] {
            let tags = read(values).unwrap().unwrap();
            let opaque: Vec<_> = tags.iter().map(|(_, opaque)| opaque.as_str()).collect();
            assert_eq!(opaque, expected, "{values:?}");
        }
        assert_eq!(read(&["W/\"3\""]).unwrap(), Some(vec![(true, "3".to_owned())]));
        assert_eq!(read(&[" * "]).unwrap(), Some(vec![(false, "*".to_owned())]));
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn a_malformed_list_is_refused_and_names_its_header() {
        let many = "\"1\",".repeat(17);
        for bad in [
            "",
            ",",
            "3",
            "\"3",
            "3\"",
            "\"3\" \"4\"",
            "*, \"3\"",
            "w/\"3\"",
            "\"a b\"",
            "W/",
            "\"3\";",
            &many,
        ] {
            assert_eq!(read(&[bad]).unwrap_err().members["header"], "If-Match", "{bad}");
        }
        assert!(read(&["*", "*"]).is_err(), "`*` is not a list element");
    }
}
