//! Bytes for storage and transport.
//!
//! Engines keep nothing but bytes in services and on the wire, so that what survives a crash is
//! what was written, corruption has something to corrupt, and the digest of an event is the digest
//! of real content. The format is postcard (compact, without field names). Real engines write JSON
//! or .NET data contracts, which are larger: the difference is an explicit envelope size that an
//! engine declares for each kind of message.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Bytes that are not the encoding of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("bytes do not decode: {0}")]
pub struct DecodeError(String);

/// Encodes `value`.
///
/// # Panics
/// Never for the types of this workspace: all of them have an encoding.
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    let bytes =
        postcard::to_stdvec(value).expect("invariant: stored types always have an encoding");
    Bytes::from(bytes)
}

/// Decodes a value from `bytes`.
///
/// # Errors
/// If the bytes are not the encoding of a `T`, for example after corruption.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes).map_err(|error| DecodeError(error.to_string()))
}
