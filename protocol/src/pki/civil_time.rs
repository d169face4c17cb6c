//! The two forms of a time in a certificate (RFC 5280, section 4.1.2.5): with seconds, in UTC, and nothing else.
//!
//! | form | octets |
//! |---|---|
//! | UTCTime | `YYMMDDhhmmssZ`; 50 to 99 are the years 1950 to 1999 |
//! | GeneralizedTime | `YYYYMMDDhhmmssZ` |
//!
//! A time before 1970, or one that no calendar has, is malformed.

use super::tlv::Malformed;
use crate::time::UnixTime;

/// Reads the content octets of a UTCTime.
pub(super) fn read_utc(value: &[u8]) -> Result<UnixTime, Malformed> {
    let (year, rest) = two_digits(value)?;
    since_1970(if year < 50 { 2000 + year } else { 1900 + year }, rest)
}

/// Reads the content octets of a GeneralizedTime.
pub(super) fn read_generalized(value: &[u8]) -> Result<UnixTime, Malformed> {
    let (century, rest) = two_digits(value)?;
    let (year, rest) = two_digits(rest)?;
    since_1970(100 * century + year, rest)
}

fn since_1970(year: u32, mut rest: &[u8]) -> Result<UnixTime, Malformed> {
    let mut fields = [0; 5];
    for field in &mut fields {
        (*field, rest) = two_digits(rest)?;
    }
    let [month, day, hour, minute, second] = fields;
    let is_leap_year = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days_of_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year => 29,
        2 => 28,
        _ => return Err(Malformed),
    };
    if rest != b"Z" || year < 1970 || day == 0 || day > days_of_month || hour > 23 || minute > 59 || second > 59 {
        return Err(Malformed);
    }
    // The months' lengths, summed: one in twelve days more than 30 for each, and February's missing days taken off.
    let days_missing = match month {
        1 | 2 => 0,
        _ if is_leap_year => 1,
        _ => 2,
    };
    let days_of_year = (367 * month - 362) / 12 - days_missing + day - 1;
    let days = (year - 1970) * 365 + leap_days_until(year - 1) - leap_days_until(1969) + days_of_year;
    Ok(UnixTime(u64::from(days) * 86_400 + u64::from(hour * 3_600 + minute * 60 + second)))
}

/// In all years up to and with this one.
const fn leap_days_until(year: u32) -> u32 {
    year / 4 - year / 100 + year / 400
}

fn two_digits(text: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    match text {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9', rest @ ..] => {
            Ok((u32::from(tens - b'0') * 10 + u32::from(ones - b'0'), rest))
        }
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{format, vec};

    use der::Decode as _;
    use der::asn1::{GeneralizedTime, UtcTime};
    use proptest::prelude::*;

    use super::*;

    /// As the der crate reads the element of this tag.
    fn peer(tag: u8, text: &str) -> Option<UnixTime> {
        let mut bytes = vec![tag, text.len() as u8];
        bytes.extend(text.bytes());
        let duration = match tag {
            0x17 => UtcTime::from_der(&bytes).ok()?.to_unix_duration(),
            _ => GeneralizedTime::from_der(&bytes).ok()?.to_unix_duration(),
        };
        Some(UnixTime(duration.as_secs()))
    }

    proptest! {
        #[test]
        fn every_time_is_judged_as_the_der_crate_does(
            year in 0..10_000_u32,
            month in 0..15_u32,
            day in 0..33_u32,
            (hour, minute, second) in (0..25_u32, 0..61_u32, 0..61_u32),
            end in prop_oneof![9 => Just("Z"), 1 => Just(""), 1 => Just("+"), 1 => Just("ZZ")],
        ) {
            let text = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{end}");
            prop_assert_eq!(read_generalized(text.as_bytes()).ok(), peer(0x18, &text), "{}", text);
            prop_assert_eq!(read_utc(&text.as_bytes()[2..]).ok(), peer(0x17, &text[2..]), "{}", text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_is_where_the_der_crate_has_it() {
        for year in 1970..2400 {
            for (month, day) in (1..=12).flat_map(|month| (1..=31).map(move |day| (month, day))) {
                let text = format!("{year}{month:02}{day:02}115959Z");
                assert_eq!(read_generalized(text.as_bytes()).ok(), peer(0x18, &text), "{text}");
            }
        }
    }

    #[test]
    fn the_first_and_last_seconds_of_both_forms() {
        for (text, seconds) in [
            ("700101000000Z", 0),
            ("991231235959Z", 946_684_799),
            ("000229120000Z", 951_825_600),
            ("491231235959Z", 2_524_607_999),
        ] {
            assert_eq!(read_utc(text.as_bytes()), Ok(UnixTime(seconds)), "{text}");
        }
        for (text, seconds) in [
            ("19700101000000Z", 0),
            ("20000301000000Z", 951_868_800),
            ("20380119031408Z", 2_147_483_648),
            ("21000228235959Z", 4_107_542_399),
            ("99991231235959Z", UnixTime::FOREVER.0),
        ] {
            assert_eq!(read_generalized(text.as_bytes()), Ok(UnixTime(seconds)), "{text}");
        }
    }

    #[test]
    fn what_no_calendar_has_is_no_time() {
        for text in
            ["501231235959Z", "691231235959Z", "250229000000Z", "250431000000Z", "250100000000Z", "250001000000Z"]
        {
            assert_eq!(read_utc(text.as_bytes()), Err(Malformed), "{text}");
        }
        for text in ["251301000000Z", "250101240000Z", "250101006000Z", "250101000060Z", "250101000000", "2501010000Z"]
        {
            assert_eq!(read_utc(text.as_bytes()), Err(Malformed), "{text}");
        }
        for text in
            ["21000229000000Z", "00000101000000Z", "2025010100000:Z", "20250101000000+", "20250101000000.5Z", ""]
        {
            assert_eq!(read_generalized(text.as_bytes()), Err(Malformed), "{text}");
        }
    }
}
