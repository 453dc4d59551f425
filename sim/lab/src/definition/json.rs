//! JSON text to a value, more strictly than usual: a key that stands twice in one object is an
//! error, since one of its two values would be lost without a word.
//!
//! Objects keep the order of the text. Values nest 128 deep at most, the limit of the reader.

use super::problem::{Problem, quoted};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Reads one JSON value.
///
/// # Errors
/// The first place at which the text is not JSON.
pub(super) fn read(text: &str) -> Result<Value, Problem> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| {
        let place = match error.line() {
            0 => "document".to_owned(),
            line => format!("line {line}, column {}", error.column()),
        };
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(said, _)| said);
        let message = format!("not valid JSON: {message}");
        Problem { place, message }
    })
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if object.contains_key(&key) {
                let said = format!("the key {} stands twice in one object", quoted(&key));
                return Err(A::Error::custom(said));
            }
            let value = entries.next_value_seed(Strict)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read(text).expect_err(text).to_string()
    }

    #[test]
    fn values_are_what_the_text_says_in_its_order() {
        let text = r#"{"b":[1,-2,2.5,null,true,"é"],"a":{"c":18446744073709551615}}"#;
        assert_eq!(read(text).expect("JSON").to_string(), text);
    }

    #[test]
    fn what_is_no_json_is_named_with_its_line() {
        assert_eq!(
            refused("{\"a\": 1,\n \"a\": 2}"),
            "line 2, column 4: not valid JSON: the key \"a\" stands twice in one object"
        );
        assert!(refused("{\"a\":").starts_with("line 1, column 5: not valid JSON: EOF"));
        assert!(refused("").starts_with("line 1, column 0: not valid JSON"));
        assert!(refused("1e999").contains("number out of range"));
        assert!(refused("{} {}").contains("trailing characters"));
        assert!(refused(&"[".repeat(200)).contains("recursion limit exceeded"));
    }
}
