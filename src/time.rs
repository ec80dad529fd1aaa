//! Moments in UTC to the microsecond: RFC 3339 for events and logs, HTTP dates for headers.
//!
//! Tally needs no time zones and no calendar arithmetic, only two spellings of a number: two short,
//! well-known functions replace three more crates.
//!
//! **Invariant:** a [`Timestamp`] lies in the years 0000 to 9999, so that its RFC 3339 text always
//! has 27 characters, and texts sort as the moments do.
//!
//! Read next: `civil_from_days`, the whole calendar.

use std::fmt;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// 1970-01-01 was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// A moment: microseconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    micros: i64,
}

impl Timestamp {
    /// 0000-01-01T00:00:00.000000Z
    pub const MIN: Self = Self { micros: days_from_civil(0, 1, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND };
    /// 9999-12-31T23:59:59.999999Z
    pub const MAX: Self =
        Self { micros: days_from_civil(10_000, 1, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND - 1 };

    /// Returns the time now, by the system's clock, which may be set back at any time: measure durations with
    /// [`std::time::Instant`].
    pub fn now() -> Self {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Self { micros: micros.clamp(Self::MIN.micros, Self::MAX.micros) }
    }

    /// Returns the moment `micros` microseconds after 1970-01-01T00:00:00Z; None outside the years 0000
    /// to 9999.
    pub fn from_micros(micros: i64) -> Option<Self> {
        let timestamp = Self { micros };
        (Self::MIN..=Self::MAX).contains(&timestamp).then_some(timestamp)
    }

    /// Returns the microseconds since 1970-01-01T00:00:00Z.
    pub fn as_micros(self) -> i64 {
        self.micros
    }

    /// Returns the moment `duration` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Self { micros: self.micros.saturating_add(micros).min(Self::MAX.micros) }
    }

    /// Returns the form of the `Date` header (RFC 9110, section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        let (days, second, _) = self.parts();
        let (year, month, day) = civil_from_days(days);
        let weekday = WEEKDAYS[usize::try_from(days.rem_euclid(7)).unwrap_or(0)];
        let month = MONTHS[usize::try_from(month - 1).unwrap_or(0)];
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    /// Days since 1970-01-01, seconds of that day, microseconds of that second.
    fn parts(self) -> (i64, i64, i64) {
        // Euclidean, so that a moment before 1970 has parts from 0 on as well.
        let seconds = self.micros.div_euclid(MICROS_PER_SECOND);
        let (days, second) = (seconds.div_euclid(SECONDS_PER_DAY), seconds.rem_euclid(SECONDS_PER_DAY));
        (days, second, self.micros.rem_euclid(MICROS_PER_SECOND))
    }
}

/// `2026-01-31T12:00:00.000123Z`
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second, micro) = self.parts();
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micro:06}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The error for a text that is not an RFC 3339 time of the years 0000 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTimestamp;

impl fmt::Display for NoTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be an RFC 3339 time, such as 2026-01-31T12:00:00Z")
    }
}

impl std::error::Error for NoTimestamp {}

/// Reads RFC 3339: any offset, any number of decimals (decimals beyond a microsecond are cut
/// off); a leap second counts as the second before it.
impl FromStr for Timestamp {
    type Err = NoTimestamp;

    fn from_str(text: &str) -> Result<Self, NoTimestamp> {
        parse(text.as_bytes()).ok_or(NoTimestamp)
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (date_and_time, mut rest) = text.split_at_checked(19)?;
    let separators = [(4, "-"), (7, "-"), (10, "Tt "), (13, ":"), (16, ":")];
    if !separators.iter().all(|(at, allowed)| allowed.as_bytes().contains(&date_and_time[*at])) {
        return None;
    }
    let field = |from, to, low, high| number(&date_and_time[from..to], low, high);
    let (year, month) = (field(0, 4, 0, 9_999)?, field(5, 7, 1, 12)?);
    let day = field(8, 10, 1, days_of_month(year, month))?;
    let (hour, minute, second) = (field(11, 13, 0, 23)?, field(14, 16, 0, 59)?, field(17, 19, 0, 60)?);
    let mut micro = 0;
    if let Some(decimals) = rest.strip_prefix(b".") {
        let length = decimals.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Further digits are cut, and never rounded up into the next second.
        micro = first_six(decimals.get(..length).filter(|digits| !digits.is_empty())?);
        rest = &decimals[length..];
    }
    // A leap second counts as the second before: the system's clock knows no second 60.
    let seconds =
        days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second.min(59);
    Timestamp::from_micros((seconds - offset_seconds(rest)?) * MICROS_PER_SECOND + micro)
}

/// Returns the first six decimals as microseconds.
fn first_six(digits: &[u8]) -> i64 {
    let zeros = std::iter::repeat(&b'0');
    digits.iter().chain(zeros).take(6).fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

/// `Z`, `+02:00`, `-05:30`.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', tens, ones] if hours.len() == 2 => {
            let seconds = number(hours, 0, 23)? * 3_600 + number(&[*tens, *ones], 0, 59)? * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn number(digits: &[u8], low: i64, high: i64) -> Option<i64> {
    let mut number = 0;
    for digit in digits {
        number = number * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
    }
    (low..=high).contains(&number).then_some(number)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    let next =
        if month == 12 { days_from_civil(year + 1, 1, 1) } else { days_from_civil(year, month + 1, 1) };
    next - days_from_civil(year, month, 1)
}

/// Returns the days since 1970-01-01 in the Gregorian calendar. The year begins in March, so that
/// the leap day is the last day: <https://howardhinnant.github.io/date_algorithms.html>.
const fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Returns year, month and day of the day `days` after 1970-01-01: the inverse of [`days_from_civil`].
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        text.parse::<Timestamp>().map_or_else(|_| "none".to_owned(), |timestamp| timestamp.to_string())
    }

    #[test]
    fn a_moment_has_one_text_of_27_characters() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (951_782_400_000_001, "2000-02-29T00:00:00.000001Z"),
            (4_102_444_799_999_999, "2099-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(Timestamp::from_micros(micros).unwrap().to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap().as_micros(), micros);
        }
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn offsets_decimals_and_leap_seconds_are_read() {
        for (text, expected) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
            ("2026-01-31t12:00:00.5z", "2026-01-31T12:00:00.500000Z"),
            ("2026-01-31 12:00:00.1234569+02:00", "2026-01-31T10:00:00.123456Z"),
            ("2026-01-31T23:30:00-05:30", "2026-02-01T05:00:00.000000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000000Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000000Z"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31T12:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T12:60:00Z",
            "2026-01-31T12:00:61Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+2:00",
            "2026-01-31T12:00:00 Z",
            "+026-01-31T12:00:00Z",
            "2026-01-31T12:00:00Zé",
            "2026-01-31T12:00:0éZ",
            "0000-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }

    #[test]
    fn every_day_of_ten_thousand_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (0, 1, 1);
        for days in days_from_civil(0, 1, 1)..=days_from_civil(9_999, 12, 31) {
            assert_eq!(civil_from_days(days), (year, month, day));
            assert_eq!(days_from_civil(year, month, day), days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length =
                [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, last) if last == length => (year, month + 1, 1),
                (_, day) => (year, month, day + 1),
            };
        }
    }

    #[test]
    fn http_dates_are_those_of_the_specification() {
        let timestamp: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        assert_eq!(timestamp.http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(Timestamp::from_micros(-1).unwrap().http_date(), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn json_is_the_text() {
        let timestamp = Timestamp::from_micros(1).unwrap();
        let json = serde_json::to_string(&timestamp).unwrap();
        assert_eq!(json, "\"1970-01-01T00:00:00.000001Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), timestamp);
        assert!(serde_json::from_str::<Timestamp>("\"soon\"").is_err());
    }
}
