//! A profile with one of its numbers changed by a factor: what analyses of sensitivity run.
//!
//! Of an entry with a value, the value is multiplied; whole numbers stay whole, and at least 1. Of a latency,
//! every parameter that is a time is, so that the distribution keeps its shape.

use super::{EMBEDDED, Profile, ProfileError, inherit, load, unknown};
use toml::{Table, Value};

impl Profile {
    /// The text of the embedded profile `name`.
    ///
    /// # Errors
    /// An unknown name; the error suggests the nearest known one.
    pub fn text(name: &str) -> Result<&'static str, ProfileError> {
        let found = EMBEDDED.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text).ok_or_else(|| unknown(name))
    }

    /// The text of the profile `text`, with what it has from its base, and with the entry at the dotted
    /// path `field` multiplied by `factor`.
    ///
    /// # Errors
    /// If the text is no profile, or has no such entry.
    pub fn scaled_text(
        name: &str,
        text: &str,
        field: &str,
        factor: f64,
    ) -> Result<String, ProfileError> {
        let mut table = inherit::complete(name, load::parse(name, text)?)?;
        let missing = || ProfileError::Field {
            profile: name.to_owned(),
            field: field.to_owned(),
            problem: "is not there, or no number that can be scaled".to_owned(),
        };
        let mut place = &mut table;
        for key in field.split('.') {
            place = place.get_mut(key).and_then(Value::as_table_mut).ok_or_else(missing)?;
        }
        match scale_entry(place, factor) {
            0 => Err(missing()),
            _ => Ok(table.to_string()),
        }
    }
}

/// Multiplies the numbers of an entry; how many there are.
fn scale_entry(entry: &mut Table, factor: f64) -> usize {
    let is_scaled = |key: &str| key == "value" || key.ends_with("_ms");
    let numbers = entry.iter_mut().filter(|(key, _)| is_scaled(key));
    numbers.map(|(_, value)| scale(value, factor)).sum()
}

fn scale(value: &mut Value, factor: f64) -> usize {
    match value {
        Value::Integer(0) => {}
        Value::Integer(whole) => *whole = ((*whole as f64 * factor).round() as i64).max(1),
        Value::Float(number) => *number *= factor,
        Value::Array(several) => {
            return several.iter_mut().map(|value| scale(value, factor)).sum();
        }
        _ => return 0,
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(field: &str, factor: f64) -> Result<Profile, ProfileError> {
        let text = Profile::text("azure-2021-10")?;
        Profile::parse("x", &Profile::scaled_text("x", text, field, factor)?)
    }

    fn quantity(profile: &Profile, field: &str) -> String {
        let entry = profile.entries.iter().find(|entry| entry.field == field);
        entry.expect("an entry").quantity.clone()
    }

    #[test]
    fn one_entry_changes_and_no_other() {
        let usual = Profile::named("azure-2021-10").expect("embedded");
        for (field, factor, expected) in [
            ("cpu.step", 2.0, "2.8 ms"),
            ("services.queue.get_max", 0.5, "16 count"),
            ("transport.retransmissions_max", 0.01, "1 count"),
            (
                "services.queue.latency.put",
                2.0,
                "kind = \"lognormal\", median_ms = 8, sigma = 0.45",
            ),
        ] {
            let changed = scaled(field, factor).expect(field);
            assert_eq!(quantity(&changed, field), expected);
            let others = usual.entries.iter().zip(&changed.entries).filter(|(one, two)| one != two);
            assert_eq!(others.count(), 1, "{field}");
        }
        let same = scaled("cpu.step", 1.0).expect("an entry");
        assert_eq!(same.entries, usual.entries);
    }

    #[test]
    fn every_number_of_every_profile_can_be_scaled_or_is_refused_with_its_place() {
        for name in Profile::names() {
            let text = Profile::text(name).expect("embedded");
            for entry in Profile::named(name).expect("embedded").entries {
                let scaled = Profile::scaled_text(name, text, &entry.field, 1.0).expect("an entry");
                assert!(Profile::parse(name, &scaled).is_ok(), "{}", entry.field);
            }
        }
        for bad in ["cpu", "cpu.stpe", "host.disk", ""] {
            let error = scaled(bad, 2.0).expect_err(bad).to_string();
            assert!(error.contains("is not there"), "{error}");
        }
    }
}
