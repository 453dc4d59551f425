//! Instants of the calendar: the RFC 3339 timestamps of the Amazon States Language, as
//! nanoseconds since 1970-01-01T00:00:00Z.
//!
//! Virtual time has no calendar of its own: [`START`] is the date of its zero unless the
//! description of the functions names another. Leap seconds do not exist.

/// Nanoseconds since 1970.
pub(super) type Instant = i128;

/// The date at which virtual time begins.
pub(super) const START: &str = "2026-01-01T00:00:00Z";

const NANOS_PER_S: i128 = 1_000_000_000;

/// Reads `2026-01-01T12:30:00.5Z` or the same with an offset such as `+01:00`.
pub(super) fn parse(text: &str) -> Option<Instant> {
    let bytes = text.as_bytes();
    if !text.is_ascii() || bytes.len() < 20 || bytes[10] != b'T' {
        return None;
    }
    let separated = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separated.iter().any(|(at, separator)| bytes[*at] != *separator) {
        return None;
    }
    let (year, month) = (digits(&text[..4])?, digits(&text[5..7])?);
    let (day, hour) = (digits(&text[8..10])?, digits(&text[11..13])?);
    let (minute, second) = (digits(&text[14..16])?, digits(&text[17..19])?);
    let fits = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let (fraction, zone) = fraction(&text[19..])?;
    let seconds = days_since_1970(year, month, day) * 86_400
        + (hour * 3_600 + minute * 60 + second)
        - offset_seconds(zone)?;
    fits.then_some(i128::from(seconds) * NANOS_PER_S + fraction)
}

fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Nanoseconds of `.123`, and what follows.
fn fraction(text: &str) -> Option<(i128, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let (written, zone) = rest.split_at(end);
    let nanos = format!("{written:0<9}");
    digits(written).filter(|_| written.len() <= 9)?;
    Some((i128::from(digits(&nanos)?), zone))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3_600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the given day; the months must be 1 to 12.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    // There are 719 162 days from 0001-01-01 to 1970-01-01.
    let years = 365 * before + leap_days - 719_162;
    years + (1..month).map(|month| days_in_month(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_counted_from_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59Z", -1),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-01-01T00:00:00+01:00", 1_767_222_000),
            ("2026-01-01T00:00:00-00:30", 1_767_227_400),
        ] {
            assert_eq!(parse(text), Some(seconds * NANOS_PER_S), "{text}");
        }
        assert_eq!(parse("1970-01-01T00:00:00.25Z"), Some(250_000_000));
        assert!(parse(START).is_some());
    }

    #[test]
    fn what_is_no_instant_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00.5",
            "2026-01-01T00:00:00+1",
            "2026-0101T00:00:0000Z",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
