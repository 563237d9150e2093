//! Record names: the prefix, followed by the key.
//!
//! ```text
//! name = prefix ":" key, with `%`, `{` and `}` of the key written as %25, %7B and %7D
//! ```
//!
//! A prefix contains no colon, so the names of two prefixes never collide. Without braces, names
//! have no hash tags, and a cluster distributes them over its nodes by the whole name.

use lessor_core::{Error, Key};

/// The maximum length of a prefix, in bytes.
const MAX_PREFIX_LEN: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    /// Validates a prefix and appends the colon.
    pub(crate) fn new(prefix: &str) -> Result<Self, Error> {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if prefix.is_empty() || prefix.len() > MAX_PREFIX_LEN || !prefix.bytes().all(is_valid) {
            let reason = format!(
                "it must consist of 1 to {MAX_PREFIX_LEN} letters, digits, '-', '_' or '.', such as `my-app`"
            );
            return Err(Error::invalid("prefix", reason));
        }
        Ok(Self(format!("{prefix}:")))
    }

    pub(crate) fn name(&self, key: &str) -> String {
        let mut name = String::with_capacity(self.0.len() + key.len());
        name.push_str(&self.0);
        escape(key, &mut name);
        name
    }

    /// Returns the key of a record name, or `None` if the name is not one of this prefix.
    pub(crate) fn key(&self, name: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(&self.0)?;
        let key = match name.contains('%') {
            false => Key::from_stored(name).ok()?,
            true => {
                let text = name.replace("%7B", "{").replace("%7D", "}").replace("%25", "%");
                Key::from_stored(&text).ok()?
            }
        };
        (self.name(&key).as_bytes().get(self.0.len()..) == Some(name.as_bytes())).then_some(key)
    }

    /// Returns a glob pattern that matches all names whose key begins with `prefix`.
    pub(crate) fn pattern(&self, prefix: &str) -> String {
        let mut pattern = String::new();
        for char in self.name(prefix).chars() {
            if "*?[]\\^".contains(char) {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push('*');
        pattern
    }
}

fn escape(key: &str, out: &mut String) {
    if !key.bytes().any(|byte| b"%{}".contains(&byte)) {
        return out.push_str(key);
    }
    for char in key.chars() {
        match char {
            '%' => out.push_str("%25"),
            '{' => out.push_str("%7B"),
            '}' => out.push_str("%7D"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn names_of_different_keys_differ_and_decode_to_the_same_keys() {
        let prefix = Prefix::new("app").unwrap();
        let keys = [
            "a",
            "a:b",
            "{a}b",
            "%7Ba%7Db",
            "%",
            "%25",
            "%257B",
            "{",
            "}",
            "ä 漢 \u{1F600}",
            " a ",
            "*?[x]\\",
            "app:a",
        ];
        for key in keys {
            let name = prefix.name(key);
            assert_eq!(&*prefix.key(name.as_bytes()).unwrap(), key, "{name}");
            assert!(!name.contains(['{', '}']));
        }
        let names: std::collections::BTreeSet<_> = keys.iter().map(|key| prefix.name(key)).collect();
        assert_eq!(names.len(), keys.len());
        assert_eq!(prefix.key(b"other:a"), None);
        assert_eq!(prefix.key(b"app:{a}"), None, "braces are always escaped in names");
    }

    #[test]
    fn a_prefix_whose_names_could_collide_is_rejected() {
        for prefix in ["", "a:b", "a b", "{a}", "ä", &"x".repeat(65)] {
            assert!(Prefix::new(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn p12_a_pattern_escapes_every_special_character() {
        assert_eq!(Prefix::new("app").unwrap().pattern("a*[{"), "app:a\\*\\[%7B*");
    }
}
