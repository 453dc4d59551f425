//! Spans of time as people write them: `30s`, `1.5s`, `250ms`, `2m`.
//!
//! One number with one unit (`us`, `ms`, `s`, `m`, `h`), to the microsecond, without floating
//! point: a span that is printed and read again is the same span. Engine settings are written in
//! the same way.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

/// What [`parse`] accepts, for a person.
pub const EXPECTED: &str = "a span such as 30s, 1.5s, 250ms or 2m";

/// Reads a span; `None` if it is not one, is finer than a microsecond or longer than 10,000 hours.
pub fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
    let (number, unit) = text.split_at(unit_at);
    let (_, micros_per_unit) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if fraction.is_empty() || fraction.len() > 10 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let tenths: u64 = fraction.parse().ok()?;
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(tenths) * u128::from(*micros_per_unit);
    if part % u128::from(scale) != 0 {
        return None;
    }
    let part = u64::try_from(part / u128::from(scale)).ok()?;
    let micros = whole.checked_mul(*micros_per_unit)?.checked_add(part)?;
    (micros <= 10_000 * UNITS[0].1).then(|| Duration::from_micros(micros))
}

/// Writes a span with the largest unit that makes it a whole number; finer parts than a
/// microsecond are cut off.
pub fn format(span: Duration) -> String {
    let micros = span.as_micros();
    if micros == 0 {
        return "0s".to_owned();
    }
    let (unit, micros_per_unit) = UNITS
        .into_iter()
        .find(|(_, micros_per_unit)| micros.is_multiple_of(u128::from(*micros_per_unit)))
        .expect("invariant: every count is a multiple of one");
    format!("{}{unit}", micros / u128::from(micros_per_unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(parse("30s"), Some(Duration::from_secs(30)));
        assert_eq!(parse("1.5s"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse("0.25ms"), Some(Duration::from_micros(250)));
        assert_eq!(parse("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        for bad in [
            "",
            "s",
            "5",
            "-1s",
            "1.s",
            ".5s",
            "1.2.3s",
            "NaNs",
            "1e3s",
            "1 s",
            "5d",
            "0.0000001s",
            "99999999999999999999s",
            "20000h",
            "1.00000000001s",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_span_survives_being_printed(micros in 0u64..36_000_000_000_000) {
            let span = Duration::from_micros(micros);
            prop_assert_eq!(parse(&format(span)), Some(span));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,30}|[0-9.]{0,25}(us|ms|s|m|h)") {
            let _ = parse(&text);
        }
    }
}
