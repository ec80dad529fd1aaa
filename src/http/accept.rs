//! Content negotiation (RFC 9110, 12.5.1): the choice between several forms of an answer.
//!
//! **Invariant:** a header that cannot be satisfied never leads to a refusal, but to the default form.
//!
//! Read next: `response.rs`.

use super::request::Request;

impl Request {
    /// Returns the index of the media type in `offers` that the client prefers. The default is the first
    /// offer, also for a client that accepts no offer: an answer in another form is more useful than a
    /// refusal.
    pub fn preferred(&self, offers: &[&str]) -> usize {
        let ranges: Vec<Range<'_>> =
            self.header_values("Accept").flat_map(|value| value.split(',')).filter_map(Range::of).collect();
        let weights = offers.iter().map(|offer| weight(&ranges, offer));
        // The first of several equal weights wins, hence `>`: the service's order breaks the tie.
        let best = weights.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|(_, weight)| *weight > 0).map_or(0, |(index, _)| index)
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// The quality in thousandths, the finest unit of the header.
    weight: u16,
}

impl<'a> Range<'a> {
    /// Parses a media range; None for a malformed range, which leaves the other ranges valid.
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = quality.map_or(Some(1000), thousandths)?;
        Some(Self { kind, subtype, weight })
    }

    /// Returns the exactness of the match: 2 for the type itself, 0 for `*/*`, None without a match.
    fn specificity(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, name) if own.eq_ignore_ascii_case(kind) && name.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

/// Returns the weight of a media type by the most exact range.
fn weight(ranges: &[Range<'_>], offer: &str) -> u16 {
    let (kind, subtype) = offer.split_once('/').unwrap_or((offer, ""));
    let exactness = |range: &Range<'_>| range.specificity(kind, subtype).map(|exact| (exact, range.weight));
    ranges.iter().filter_map(exactness).max().map_or(0, |(_, weight)| weight)
}

/// Parses `1`, `0.5`, `0.123`.
fn thousandths(quality: &str) -> Option<u16> {
    // `parse` alone also accepts `+0.5`, `1e-3` and `nan`.
    let digits = quality.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = quality.parse::<f32>().ok().filter(|value| digits && (0.0..=1.0).contains(value))?;
    // No truncation: the line above has checked the range.
    Some((value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERS: [&str; 2] = ["application/json", "text/html"];

    fn preferred(accept: &str) -> &'static str {
        OFFERS[Request::get("/").with_header("Accept", accept).preferred(&OFFERS)]
    }

    #[test]
    fn a_client_gets_the_form_that_it_gives_the_greatest_weight() {
        for (accept, expected) in [
            ("text/html", "text/html"),
            ("Text/HTML; charset=utf-8", "text/html"),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html"),
            ("text/html;q=0.5, application/json;q=0.4", "text/html"),
            ("text/html;q=0.4, application/json;q=0.5", "application/json"),
            ("text/*, application/json;q=0.9", "text/html"),
            ("*/*, application/json;q=0", "text/html"),
        ] {
            assert_eq!(preferred(accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_default_answers_those_without_a_preference() {
        for accept in
            ["", "*/*", "application/*", "image/png", "text/html;q=0", "nonsense", "text/html;q=2", ";;,"]
        {
            assert_eq!(preferred(accept), "application/json", "{accept}");
        }
        assert_eq!(Request::get("/").preferred(&OFFERS), 0);
    }

    #[test]
    fn the_header_may_come_in_several_lines() {
        let request =
            Request::get("/").with_header("Accept", "image/png").with_header("Accept", "text/html;q=0.1");
        assert_eq!(request.preferred(&OFFERS), 1);
    }
}
