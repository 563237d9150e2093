//! [`Versioned`], a codec whose results outlive changes of their type.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::codec::Codec;
use crate::data::cause::Cause;
use crate::data::error::{Error, JsonError};
use crate::data::value::{from_json, json_bytes};

/// JSON with the version of its type, so that a program reads results that its earlier releases
/// stored.
///
/// A result of an older version is converted by the upgrade functions, one version at a time. A
/// result of a newer version, or of another type, is refused with an error that names it. A result
/// that was stored without a version, as plain JSON, has version 0.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use lessor_core::{Engine, Message, Versioned};
/// use lessor_memory::MemoryStore;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct ReceiptV1 {
///     cents: u64,
/// }
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct Receipt {
///     cents: u64,
///     currency: String,
/// }
///
/// let engine = Engine::new(Arc::new(MemoryStore::new()))?;
/// // The program of last week.
/// let old = engine.once("invoice-42").codec(Versioned::new("receipt", 1));
/// old.run(|_lease| Ok::<_, Message>(ReceiptV1 { cents: 4200 })).unwrap();
///
/// // The program of today replays its result.
/// let codec = Versioned::new("receipt", 2).upgrade(1, |old: ReceiptV1| {
///     Ok::<_, Message>(Receipt { cents: old.cents, currency: "EUR".to_owned() })
/// });
/// let again = engine.once("invoice-42").codec(codec);
/// let replay = again.run(|_lease| Err::<Receipt, _>(Message::new("a second charge")));
/// assert_eq!(replay.unwrap().into_value(), Receipt { cents: 4200, currency: "EUR".to_owned() });
/// # Ok::<(), lessor_core::Error>(())
/// ```
pub struct Versioned {
    name: &'static str,
    version: u32,
    upgrades: BTreeMap<u32, Upgrade>,
}

/// Converts the JSON of one version to that of the next. A `Value` in between would not have all
/// numbers that the text has.
type Upgrade = Box<dyn Fn(&[u8]) -> Result<Vec<u8>, Error> + Send + Sync>;

#[derive(Serialize, Deserialize)]
struct Envelope<V> {
    #[serde(rename = "$type")]
    name: String,
    #[serde(rename = "$version")]
    version: u32,
    #[serde(rename = "$value")]
    value: V,
}

impl Versioned {
    /// Returns the codec for the type with this name and current version. Count from 1.
    #[must_use]
    pub fn new(name: &'static str, version: u32) -> Self {
        Self { name, version, upgrades: BTreeMap::new() }
    }

    /// Adds the conversion from version `from` to the next one.
    #[must_use]
    pub fn upgrade<Old, New, E>(
        mut self,
        from: u32,
        convert: impl Fn(Old) -> Result<New, E> + Send + Sync + 'static,
    ) -> Self
    where
        Old: DeserializeOwned,
        New: Serialize,
        E: fmt::Display,
    {
        let name = self.name;
        let step = move |old: &[u8]| {
            let old = serde_json::from_slice(old).map_err(|error| {
                let reason =
                    format!("a {name:?} of version {from} is not of the type that its upgrade expects");
                Error::Codec(Cause::new(reason).with_source(JsonError::at(&error)))
            })?;
            let new = convert(old).map_err(|error| {
                Error::codec(format!("a {name:?} of version {from} could not be upgraded: {error}"))
            })?;
            json_bytes("upgraded result", &new)
        };
        self.upgrades.insert(from, Box::new(step));
        self
    }

    /// Returns the current value of the JSON of version `found`.
    fn upgraded<T: DeserializeOwned>(&self, found: u32, json: &[u8]) -> Result<T, Error> {
        let Self { name, version, .. } = self;
        let mut json = Cow::Borrowed(json);
        for from in found..*version {
            let upgrade = self.upgrades.get(&from).ok_or_else(|| {
                Error::codec(format!(
                    "the stored {name:?} has version {found}, and there is no upgrade from version {from} to {}; add it",
                    from + 1
                ))
            })?;
            json = Cow::Owned(upgrade(&json)?);
        }
        from_json("result", &json)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Versioned {
    fn encode(&self, value: &T) -> Result<Vec<u8>, Error> {
        let envelope = Envelope { name: self.name.to_owned(), version: self.version, value };
        json_bytes("result", &envelope)
    }

    fn decode(&self, bytes: &[u8]) -> Result<T, Error> {
        let Self { name, version, .. } = self;
        let header = match serde_json::from_slice::<Envelope<IgnoredAny>>(bytes) {
            Ok(header) => Some(header).filter(|header| header.version > 0),
            Err(_) => None,
        };
        match header {
            Some(header) if header.name != *name => Err(Error::codec(format!(
                "the stored result is a {:?} and not a {name:?}; use another key per type of result",
                header.name
            ))),
            Some(Envelope { version: found, .. }) if found > *version => Err(Error::codec(format!(
                "the stored {name:?} has version {found}, but this program reads up to version {version}; \
                 use the newer program"
            ))),
            Some(Envelope { version: found, .. }) if found == *version => {
                from_json::<Envelope<T>>("result", bytes).map(|envelope| envelope.value)
            }
            Some(Envelope { version: found, .. }) => {
                let old: Envelope<Box<RawValue>> = from_json("result", bytes)?;
                self.upgraded(found, old.value.get().as_bytes())
            }
            None => self.upgraded(0, bytes),
        }
    }
}

impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("upgrades", &self.upgrades.keys())
            .finish()
    }
}
