//! Content negotiation (RFC 9110, 12.5.1): which of several forms of an answer a client wants.

use super::Request;

impl Request {
    /// Which of the media types in `offers` the client prefers: an index into `offers`, which names
    /// its default first. Where the client has no preference, or wants none of them, it gets the
    /// default: an answer in another form is of more use than a refusal.
    pub fn preferred(&self, offers: &[&str]) -> usize {
        let ranges: Vec<Range<'_>> =
            self.header_values("Accept").flat_map(|value| value.split(',')).filter_map(Range::of).collect();
        let weights = offers.iter().map(|offer| weight(&ranges, offer));
        let best = weights.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.filter(|(_, weight)| *weight > 0).map_or(0, |(index, _)| index)
    }
}

/// One media range of an `Accept` header.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// The quality in thousandths, the finest that there is.
    weight: u16,
}

impl<'a> Range<'a> {
    /// `None` for what is no media range: the rest of the header still says what the client wants.
    fn of(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = quality.map_or(Some(1000), thousandths)?;
        Some(Self { kind, subtype, weight })
    }

    /// How exactly the range names that media type, if it does.
    fn specificity(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (own, "*") if own.eq_ignore_ascii_case(kind) => Some(1),
            (own, name) if own.eq_ignore_ascii_case(kind) && name.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

/// The weight that the most exact of the ranges gives to a media type.
fn weight(ranges: &[Range<'_>], offer: &str) -> u16 {
    let (kind, subtype) = offer.split_once('/').unwrap_or((offer, ""));
    let exactness = |range: &Range<'_>| range.specificity(kind, subtype).map(|exact| (exact, range.weight));
    ranges.iter().filter_map(exactness).max().map_or(0, |(_, weight)| weight)
}

/// `1`, `0.5`, `0.123`: at most three decimals.
fn thousandths(quality: &str) -> Option<u16> {
    let digits = quality.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let value = quality.parse::<f32>().ok().filter(|value| digits && (0.0..=1.0).contains(value))?;
    // In range by the line before.
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
