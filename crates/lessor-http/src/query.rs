//! The parameters of a request's query.

use std::time::Duration;

use lessor_core::Key;
use percent_encoding::percent_decode_str;

use crate::error::Refusal;

/// The decoded parameters of a query, in which a `+` stands for a blank.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut found: Vec<(String, String)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if found.iter().any(|(other, _)| *other == name) {
                return Err(Refusal::malformed("query", "value_error", "a parameter occurs twice"));
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// Returns the parameter `key`, which must be present.
    pub(crate) fn key(&self) -> Result<&str, Refusal> {
        let key = self.get("key").ok_or_else(|| Refusal::missing("query", "key"))?;
        Key::check(key).map_err(|error| Refusal::field("query", "key", "value_error", error.to_string()))?;
        Ok(key)
    }

    /// Returns a number in this range.
    pub(crate) fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        // `u64::from_str` takes a leading `+` as well.
        let number = if value.starts_with('+') { None } else { value.parse().ok() };
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let message = format!("Input should be an integer from {least} to {most}");
                Err(Refusal::field("query", name, "int_parsing", message))
            }
        }
    }

    /// Returns a duration of whole seconds, at most `most`.
    pub(crate) fn seconds(&self, name: &str, most: u64) -> Result<Option<Duration>, Refusal> {
        Ok(self.whole(name, 0, most)?.map(Duration::from_secs))
    }
}

fn decode(text: &str) -> Result<String, Refusal> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    let decoded =
        decoded.map_err(|_| Refusal::malformed("query", "value_error", "the query is not UTF-8"))?;
    Ok(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_like_those_of_a_form() {
        let query = Query::parse("key=a+b%2Bc%3D%26%D0%BA=&other&").unwrap();
        assert_eq!(query.key().unwrap(), "a b+c=&к=");
        assert_eq!((query.get("other"), query.get("absent")), (Some(""), None));
    }

    #[test]
    fn p12_a_parameter_that_occurs_twice_or_is_not_utf_8_is_refused() {
        for query in ["key=a&key=b", "key=a&k%65y=b", "x=1&x=1", "key=%ff", "%c3=1", "key=%ed%a0%80"] {
            assert!(Query::parse(query).is_err(), "{query}");
        }
    }

    #[test]
    fn p12_numbers_out_of_range_are_refused() {
        for value in ["-1", "31", "1.0", "", "a", "%2B1", "99999999999999999999"] {
            assert!(Query::parse(&format!("wait={value}")).unwrap().whole("wait", 0, 30).is_err(), "{value}");
        }
        assert_eq!(Query::parse("wait=30").unwrap().whole("wait", 0, 30).unwrap(), Some(30));
    }
}
