//! Values that user code exchanges: JSON text, as in Durable Functions.
//!
//! Inputs, results and states are serialized to JSON once, by the code that produces them, and
//! stay text until user code reads them. Sizes in bytes are therefore those of the real encoding.

use crate::error::ApplicationError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A value as JSON text. Cloning is cheap.
///
/// ```
/// use sim_model::payload::Payload;
/// let payload = Payload::encode(&("Tokyo", 3)).unwrap();
/// assert_eq!(payload.as_str(), r#"["Tokyo",3]"#);
/// assert_eq!(payload.decode::<(String, u32)>().unwrap(), ("Tokyo".to_string(), 3));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Payload(Arc<str>);

impl Payload {
    /// Encodes `value`.
    ///
    /// # Errors
    /// If the value has no JSON form (for example a map whose keys are not text).
    pub fn encode<T: Serialize>(value: &T) -> Result<Payload, ApplicationError> {
        serde_json::to_string(value)
            .map(|text| Payload(text.into()))
            .map_err(|error| ApplicationError::data(format!("a value has no JSON form: {error}")))
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// If the text is not the JSON form of a `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, ApplicationError> {
        serde_json::from_str(&self.0).map_err(|error| {
            let shown: String = self.0.chars().take(60).collect();
            ApplicationError::data(format!("cannot read {shown:?}: {error}"))
        })
    }

    /// The list of some values.
    ///
    /// ```
    /// use sim_model::payload::Payload;
    /// let items = [Payload::encode(&1).unwrap(), Payload::encode(&"two").unwrap()];
    /// assert_eq!(Payload::list(&items).as_str(), r#"[1,"two"]"#);
    /// ```
    pub fn list<'a>(items: impl IntoIterator<Item = &'a Payload>) -> Payload {
        let mut text = String::from("[");
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            text.push_str(item.as_str());
        }
        text.push(']');
        Payload(text.into())
    }

    /// The JSON text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The size of the text in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the text is empty, which no encoded value is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
