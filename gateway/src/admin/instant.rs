//! A time as the API says it: RFC 3339 in UTC, in whole seconds.

use muster_protocol::UnixTime;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time that reads and writes itself as `2026-01-31T09:05:00Z`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(pub UnixTime);

impl From<UnixTime> for Instant {
    fn from(time: UnixTime) -> Self {
        Self(time)
    }
}

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&muster_terminal::time::rfc3339(self.0.0))
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Instant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| D::Error::custom("not a time like 2026-01-31T09:05:00Z"))
    }
}

/// Reads exactly what [`muster_terminal::time::rfc3339`] writes.
fn parse(text: &str) -> Option<UnixTime> {
    let shape = b"dddd-dd-ddTdd:dd:ddZ";
    let fits = |(found, wanted): (u8, u8)| if wanted == b'd' { found.is_ascii_digit() } else { found == wanted };
    if text.len() != shape.len() || !text.bytes().zip(*shape).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    // Years start in March, so that the leap day is a year's last (after Howard Hinnant's public algorithm).
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let time = days * 86_400 + hour * 3600 + minute * 60 + second;
    // A day that its month has not is another day.
    (muster_terminal::time::rfc3339(time) == text).then_some(UnixTime(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_their_text() {
        for seconds in [0, 951_782_400, 951_868_799, 1_700_000_000, 4_107_542_400, UnixTime::FOREVER.0] {
            let instant = Instant(UnixTime(seconds));
            assert_eq!(parse(&instant.to_string()), Some(UnixTime(seconds)));
        }
        for day in 0..100_000 {
            let seconds = day * 86_400 + day % 86_400;
            assert_eq!(parse(&Instant(UnixTime(seconds)).to_string()), Some(UnixTime(seconds)));
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in ["", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01 00:00:00Z", "1969-12-31T23:59:59Z"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
