//! Fingerprints of values, through their JSON.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::Fingerprint;
use crate::data::error::Error;
use crate::data::value::json_value;

impl Fingerprint {
    /// Returns the fingerprint of a value: the hash of its JSON, with the members of objects sorted
    /// by name. The iteration order of maps does not matter.
    ///
    /// # Errors
    ///
    /// [`Error::Json`] if the value contains something that JSON cannot represent unambiguously,
    /// such as `NaN` or `Some(None)`.
    pub fn of<T: Serialize + ?Sized>(request: &T) -> Result<Self, Error> {
        let request = json_value("fingerprint", request)?;
        let mut hasher = HashWriter(Sha256::new());
        write_canonical(&request, &mut hasher)
            .map_err(|error| Error::invalid("fingerprint", error.to_string()))?;
        Ok(Self(hasher.0.finalize().into()))
    }
}

struct HashWriter(Sha256);

impl Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes JSON with sorted members. `serde_json` sorts them by default, but any crate of the build
/// can disable that with a feature.
fn write_canonical(value: &Value, out: &mut HashWriter) -> io::Result<()> {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                out.write_all(if index == 0 { b"[" } else { b"," })?;
                write_canonical(item, out)?;
            }
            out.write_all(if items.is_empty() { b"[]" } else { b"]" })
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(name, _)| name.as_str());
            for (index, (name, member)) in sorted.iter().enumerate() {
                out.write_all(if index == 0 { b"{" } else { b"," })?;
                serde_json::to_writer(&mut *out, name)?;
                out.write_all(b":")?;
                write_canonical(member, out)?;
            }
            out.write_all(if members.is_empty() { b"{}" } else { b"}" })
        }
        scalar => Ok(serde_json::to_writer(out, scalar)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// `serde_json` writes NaN as null, so two different requests had the same fingerprint.
    #[test]
    fn ambiguous_json_has_no_fingerprint() {
        for error in [Fingerprint::of(&f64::NAN), Fingerprint::of(&[f32::INFINITY])] {
            let error = error.unwrap_err().to_string();
            assert!(error.contains("fingerprint") && error.contains("NaN"), "{error}");
        }
        assert!(Fingerprint::of(&Some(None::<u8>)).is_err());
        assert!(Fingerprint::of(&()).is_ok());
    }

    #[test]
    fn equal_json_has_equal_fingerprints_for_any_order_of_members() {
        let forward: HashMap<_, _> = (0..100).map(|n| (n.to_string(), vec![n])).collect();
        let backward: HashMap<_, _> = (0..100).rev().map(|n| (n.to_string(), vec![n])).collect();
        assert_eq!(Fingerprint::of(&forward).unwrap(), Fingerprint::of(&backward).unwrap());
        assert_ne!(Fingerprint::of(&forward).unwrap(), Fingerprint::of(&[1]).unwrap());
        assert_eq!(Fingerprint::of("a").unwrap(), Fingerprint::of_bytes(br#""a""#));
        assert_eq!(
            Fingerprint::of(&serde_json::json!({"b": [], "a": {"x": null}})).unwrap(),
            Fingerprint::of_bytes(br#"{"a":{"x":null},"b":[]}"#)
        );
    }
}
