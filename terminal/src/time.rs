//! Times and durations as people and scripts read them: RFC 3339 in UTC, `3 days ago`, `1.2 s`.
//!
//! The calendar is computed here in a few lines (days to civil date, after Howard Hinnant's public algorithm); a date
//! crate would bring time zones, parsing and a formatting language for one fixed format.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds since 1970 by the system's clock; zero when it stands before that.
pub fn now_unix_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `2026-01-31T09:05:00Z`. Years past 9999, which RFC 3339 cannot write, become its last second.
pub fn rfc3339(unix_secs: u64) -> String {
    let secs = unix_secs.min(LAST_SECOND);
    let (year, month, day) = civil_from_days(secs / DAY);
    let (hour, minute, second) = (secs % DAY / HOUR, secs % HOUR / MINUTE, secs % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// `3 days ago`, `in 2 hours`, `just now`; `never` for the certificate time that means no end.
pub fn relative(now_unix_secs: u64, then_unix_secs: u64) -> String {
    if then_unix_secs >= LAST_SECOND {
        return "never".to_owned();
    }
    let distance = now_unix_secs.abs_diff(then_unix_secs);
    let (count, unit) = match distance {
        0..5 => return "just now".to_owned(),
        5..MINUTE => (distance, "second"),
        MINUTE..HOUR => (distance / MINUTE, "minute"),
        HOUR..DAY => (distance / HOUR, "hour"),
        DAY..YEAR => (distance / DAY, "day"),
        _ => (distance / YEAR, "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    if then_unix_secs > now_unix_secs {
        format!("in {count} {unit}{plural}")
    } else {
        format!("{count} {unit}{plural} ago")
    }
}

/// Exact and relative together, as tables show times: `2026-01-31 09:05:00Z (3 days ago)`.
pub fn exact_and_relative(now_unix_secs: u64, then_unix_secs: u64) -> String {
    format!("{} ({})", rfc3339(then_unix_secs).replace('T', " "), relative(now_unix_secs, then_unix_secs))
}

/// A length of time with two or three digits that matter: `850 µs`, `340 ms`, `1.2 s`, `2 min 05 s`, `3 h 10 min`.
pub fn duration(length: Duration) -> String {
    let secs = length.as_secs();
    match secs {
        0 if length.as_micros() < 1000 => format!("{} µs", length.as_micros()),
        0 => format!("{} ms", length.as_millis()),
        1..MINUTE => format!("{}.{} s", secs, length.subsec_millis() / 100),
        MINUTE..HOUR => format!("{} min {:02} s", secs / MINUTE, secs % MINUTE),
        HOUR..DAY => format!("{} h {:02} min", secs / HOUR, secs % HOUR / MINUTE),
        _ => format!("{} d {:02} h", secs / DAY, secs % DAY / HOUR),
    }
}

/// Year, month and day of a count of days since 1970-01-01 in the Gregorian calendar.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Years start in March here, so that the leap day is a year's last; eras are 400 years of 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
/// 9999-12-31T23:59:59Z, which in a certificate means no end (RFC 5280, 4.1.2.5).
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_known_instants() {
        for (secs, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_700_000_000, "2023-11-14T22:13:20Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(secs), text);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut previous = civil_from_days(0);
        for days in 1..200_000 {
            let next = civil_from_days(days);
            let (year, month, day) = previous;
            let follows = [(year, month, day + 1), (year, month + 1, 1), (year + 1, 1, 1)].contains(&next);
            assert!(follows, "{previous:?} then {next:?}");
            previous = next;
        }
    }

    #[test]
    fn says_how_long_ago() {
        let now = 1_700_000_000;
        assert_eq!(relative(now, now - 1), "just now");
        assert_eq!(relative(now, now - 3 * DAY - 5), "3 days ago");
        assert_eq!(relative(now, now - DAY), "1 day ago");
        assert_eq!(relative(now, now + 2 * HOUR), "in 2 hours");
        assert_eq!(relative(now, LAST_SECOND), "never");
        assert_eq!(exact_and_relative(now, now - MINUTE), "2023-11-14 22:12:20Z (1 minute ago)");
    }

    #[test]
    fn shows_durations() {
        assert_eq!(duration(Duration::from_micros(850)), "850 µs");
        assert_eq!(duration(Duration::from_millis(340)), "340 ms");
        assert_eq!(duration(Duration::from_millis(1_290)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
        assert_eq!(duration(Duration::from_secs(11_400)), "3 h 10 min");
        assert_eq!(duration(Duration::from_secs(604_800)), "7 d 00 h");
    }
}
