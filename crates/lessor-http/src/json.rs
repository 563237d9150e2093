//! The fields of a request's body.

mod scan;

use std::fmt;
use std::time::Duration;

use lessor_core::Key;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::error::Refusal;
use scan::{MAX_DEPTH, Problem, compact};

/// The fields of a JSON object, each as its text without blanks between tokens. A field that is
/// `null` counts as absent.
pub(crate) struct Fields(Vec<(String, Box<RawValue>)>);

/// The type of a refused value, in the words of the errors.
const NO_STRING: &str = "string_type";

impl Fields {
    /// Returns the fields of a body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let text =
            compact(body).map_err(|problem| Refusal::malformed("body", "json_invalid", message(problem)))?;
        Self::of(&text)
            .ok_or_else(|| Refusal::malformed("body", "dict_type", "Input should be a JSON object"))
    }

    /// Returns the fields of a text that was checked. `None` if it is no object.
    fn of(text: &str) -> Option<Self> {
        serde_json::Deserializer::from_str(text).deserialize_map(Entries).ok().map(Self)
    }

    /// Returns the text of a field.
    pub(crate) fn json(&self, name: &str) -> Option<&RawValue> {
        let (_, value) = self.0.iter().find(|(found, _)| found == name)?;
        (value.get() != "null").then_some(value)
    }

    /// Returns the text of a field that is an object.
    pub(crate) fn object(&self, name: &str) -> Result<Option<&RawValue>, Refusal> {
        match self.json(name) {
            Some(value) if !value.get().starts_with('{') => {
                Err(Refusal::field("body", name, "dict_type", "Input should be a JSON object"))
            }
            value => Ok(value),
        }
    }

    /// Returns the fields of a field that is an object.
    pub(crate) fn fields(&self, name: &str) -> Result<Option<Self>, Refusal> {
        Ok(self.object(name)?.and_then(|value| Self::of(value.get())))
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.json(name) else { return Ok(None) };
        let text = serde_json::from_str(value.get());
        text.map(Some).map_err(|_| Refusal::field("body", name, NO_STRING, "Input should be a valid string"))
    }

    /// Returns a text of 1 to `most` characters.
    pub(crate) fn text_up_to(&self, name: &str, most: usize) -> Result<Option<String>, Refusal> {
        let text = self.text(name)?;
        match text.as_deref().map_or(1, |text| text.chars().count()) {
            chars if (1..=most).contains(&chars) => Ok(text),
            _ => {
                let message = format!("String should have 1 to {most} characters");
                Err(Refusal::field("body", name, "string_length", message))
            }
        }
    }

    /// Returns the text of a field that must be present.
    pub(crate) fn required(&self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| Refusal::missing("body", name))
    }

    /// Returns the field `key`, which must be present.
    pub(crate) fn key(&self) -> Result<String, Refusal> {
        let key = self.required("key")?;
        Key::check(&key).map_err(|error| Refusal::field("body", "key", "value_error", error.to_string()))?;
        Ok(key)
    }

    /// Returns a number of at least `least`.
    pub(crate) fn whole(&self, name: &str, least: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.json(name) else { return Ok(None) };
        match value.get().parse() {
            Ok(number) if number >= least => Ok(Some(number)),
            _ => {
                let message = format!("Input should be an integer from {least} on");
                Err(Refusal::field("body", name, "int_type", message))
            }
        }
    }

    /// Returns a duration of whole seconds, at least one.
    pub(crate) fn seconds(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        Ok(self.whole(name, 1)?.map(Duration::from_secs))
    }

    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.json(name).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(Refusal::field("body", name, "bool_type", "Input should be true or false")),
        }
    }
}

fn message(problem: Problem) -> String {
    match problem {
        Problem::NotUtf8 => "JSON decode error: the body is not UTF-8".to_owned(),
        Problem::NotJson => "JSON decode error: the body is not JSON".to_owned(),
        Problem::TooDeep => format!("JSON decode error: values are nested more than {MAX_DEPTH} levels"),
        Problem::SameNameTwice => "JSON decode error: an object has the same name twice".to_owned(),
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Box<RawValue>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}
