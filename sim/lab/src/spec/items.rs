//! The items of `name:key=value,key=value`, each taken once and checked.

use super::SpecError;
use crate::span;
use std::collections::BTreeMap;
use std::time::Duration;

/// Items that were read and not taken yet.
pub(crate) struct Items {
    place: String,
    items: BTreeMap<String, String>,
}

impl Items {
    /// Reads the part after the colon. The first item may leave its key out if there is a
    /// `positional` one.
    ///
    /// # Errors
    /// If an item has no key, or two have the same.
    pub(crate) fn read(
        place: impl Into<String>,
        text: Option<&str>,
        positional: Option<&str>,
    ) -> Result<Items, SpecError> {
        let place = place.into();
        let mut items = BTreeMap::new();
        for (index, item) in text.into_iter().flat_map(|text| text.split(',')).enumerate() {
            let (key, value) = match (item.split_once('='), positional) {
                (Some((key, value)), _) if !key.is_empty() => (key, value),
                (None, Some(key)) if index == 0 && !item.is_empty() => (key, item),
                _ => return Err(SpecError::bad(place, item, "key=value")),
            };
            if items.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(SpecError::Twice { place: format!("{place}: {key}") });
            }
        }
        Ok(Items { place, items })
    }

    /// Items that were read elsewhere.
    pub(crate) fn of(place: impl Into<String>, items: BTreeMap<String, String>) -> Items {
        Items { place: place.into(), items }
    }

    /// Takes the value of `key`, read by `parse`.
    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, SpecError> {
        let Some(text) = self.items.remove(key) else { return Ok(None) };
        let place = || format!("{}: {key}", self.place);
        parse(&text).map(Some).ok_or_else(|| SpecError::bad(place(), text, expected))
    }

    /// Takes the value of `key`, which must be there.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<T, SpecError> {
        let value = self.take(key, parse, expected)?;
        value.ok_or_else(|| {
            let place = format!("{}: {key}", self.place);
            SpecError::Missing { place, expected: expected.to_owned() }
        })
    }

    /// Takes a span of time.
    pub(crate) fn span(
        &mut self,
        key: &'static str,
        default: Duration,
    ) -> Result<Duration, SpecError> {
        Ok(self.take(key, span::parse, span::EXPECTED)?.unwrap_or(default))
    }

    /// All items, with keys that are checked elsewhere.
    pub(crate) fn into_map(self) -> BTreeMap<String, String> {
        self.items
    }

    /// Checks that every key is among the `valid` ones.
    pub(crate) fn only(self, valid: &[&str]) -> Result<Items, SpecError> {
        match self.items.keys().find(|key| !valid.contains(&key.as_str())) {
            None => Ok(self),
            Some(key) => {
                let what = format!("key of {}", self.place);
                Err(SpecError::unknown(what, key, valid.iter().copied()))
            }
        }
    }
}
