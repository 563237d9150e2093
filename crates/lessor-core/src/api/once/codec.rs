//! [`Codec`], the encoding of results.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::error::Error;
use crate::data::value::{from_json, json_bytes};

/// An encoding of results. See [`Once::codec`](crate::Once::codec).
///
/// The engine decodes what was encoded before it stores it. A result that cannot be decoded is
/// refused, and the caller gets it back in [`OnceError::Refused`](crate::OnceError::Refused).
///
/// # Examples
///
/// A codec over any serde format is as long as this one:
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Codec, Engine, Error, Message};
/// use lessor_memory::MemoryStore;
///
/// struct BigEndian;
///
/// impl Codec<u64> for BigEndian {
///     fn encode(&self, value: &u64) -> Result<Vec<u8>, Error> {
///         Ok(value.to_be_bytes().to_vec())
///     }
///
///     fn decode(&self, bytes: &[u8]) -> Result<u64, Error> {
///         let bytes = bytes.try_into().map_err(|_| Error::codec("a number has 8 bytes"))?;
///         Ok(u64::from_be_bytes(bytes))
///     }
/// }
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// let counted = engine.once("count").codec(BigEndian).run(|_lease| Ok::<_, Message>(7));
/// assert_eq!(counted.unwrap().into_value(), 7);
/// assert_eq!(engine.status("count").wait()?.unwrap().result_bytes(), Some(&[0, 0, 0, 0, 0, 0, 0, 7][..]));
/// # Ok::<(), Error>(())
/// ```
pub trait Codec<T>: Send + Sync {
    /// Returns the bytes of a value.
    ///
    /// # Errors
    ///
    /// [`Error::codec`] with the reason for which the value has no encoding.
    fn encode(&self, value: &T) -> Result<Vec<u8>, Error>;

    /// Returns the value of stored bytes.
    ///
    /// # Errors
    ///
    /// [`Error::codec`] with the reason for which the bytes are no value. It must not quote them,
    /// because errors appear in logs.
    fn decode(&self, bytes: &[u8]) -> Result<T, Error>;
}

/// The default encoding: JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json;

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    fn encode(&self, value: &T) -> Result<Vec<u8>, Error> {
        json_bytes("result", value)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
        from_json("result", bytes)
    }
}

/// No encoding: the result of the work is a `Vec<u8>`, which is stored as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes;

impl Codec<Vec<u8>> for Bytes {
    fn encode(&self, value: &Vec<u8>) -> Result<Vec<u8>, Error> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(bytes.to_vec())
    }
}
