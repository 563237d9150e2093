//! The texts under which stores keep the keys of a namespace.
//!
//! ```text
//! key outside of a namespace:  key
//! key of a namespace:          \u{1} name \u{1} key
//! quota of a namespace:        \u{1} name \u{2}
//! ```
//!
//! Names and keys contain no control characters, so no two of these are ever equal, and those of
//! one namespace are adjacent in the order of keys.

use crate::data::error::Error;
use crate::data::key_text::{KeyError, check};

/// The maximum length of the name of a namespace, in characters.
pub const MAX_NAMESPACE_CHARS: usize = 64;

/// Stands before the name of a namespace, and between the name and a key.
const MARK: char = '\u{1}';
/// Follows the name in the text of the quota.
const QUOTA: char = '\u{2}';
/// Sorts after everything of a namespace, and before longer names with the same beginning.
const END: char = '\u{3}';

/// Checks the name of a namespace.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let reason = match check(name) {
        Ok(()) if name.chars().count() <= MAX_NAMESPACE_CHARS => return Ok(()),
        Ok(()) | Err(KeyError::TooLong { .. }) => {
            format!(
                "its name has more than {MAX_NAMESPACE_CHARS} characters; use a shorter one, such as a hash"
            )
        }
        Err(KeyError::Control { found, at }) => {
            format!("its name has the control character {found:?} at byte {at}; remove or encode it")
        }
        Err(KeyError::Empty | KeyError::Blank) => {
            "its name is empty or blank; give one such as \"tenant-7\"".to_owned()
        }
    };
    Err(Error::invalid("namespace", reason))
}

/// Returns the text before the keys of a namespace.
pub(crate) fn prefix(name: &str) -> String {
    format!("{MARK}{name}{MARK}")
}

/// Returns the text of the record that counts the grants of a namespace.
pub(crate) fn quota_text(name: &str) -> String {
    format!("{MARK}{name}{QUOTA}")
}

/// Returns a text that sorts after all texts of a namespace, and before those of the next one.
pub(crate) fn end_text(name: &str) -> String {
    format!("{MARK}{name}{END}")
}

/// The text before which all namespaces sort, and after which all keys outside of them do.
pub(crate) const AFTER_NAMESPACES: &str = "\u{2}";

/// The text with which all texts of namespaces begin.
pub(crate) const NAMESPACES: &str = "\u{1}";

/// Returns the namespace of a stored text, if it has one, and the key. The key of a quota is empty.
pub(crate) fn split(text: &str) -> (Option<&str>, &str) {
    match text.strip_prefix(MARK).and_then(|rest| rest.split_once([MARK, QUOTA])) {
        Some((name, key)) => (Some(name), key),
        None => (None, text),
    }
}

/// Checks a text that a store has read.
pub(crate) fn check_stored(text: &str) -> Result<(), KeyError> {
    let is_name = |name: &str| check_name(name).is_ok();
    match text.strip_prefix(MARK) {
        None => check(text),
        Some(rest) => match (rest.split_once(MARK), rest.strip_suffix(QUOTA)) {
            (Some((name, key)), _) if is_name(name) => check(key),
            (None, Some(name)) if is_name(name) => Ok(()),
            _ => Err(KeyError::Control { found: MARK, at: 0 }),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::key::Key;

    #[test]
    fn texts_of_different_namespaces_keys_and_quotas_never_meet() {
        let names = ["a", "a:", "ab", "quota", "é", &"x".repeat(64)];
        let keys = ["a", "b", "a:a", "quota", "\u{10ffff}"];
        let mut texts: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        for name in names {
            texts.extend(keys.iter().map(|key| prefix(name) + key));
            texts.push(quota_text(name));
        }
        let distinct: std::collections::BTreeSet<&String> = texts.iter().collect();
        assert_eq!(distinct.len(), texts.len());
        for text in &texts {
            check_stored(text).unwrap();
            assert_eq!(Key::from_stored(text).unwrap().as_str(), text);
        }
        for name in names {
            for key in keys {
                assert_eq!(split(&(prefix(name) + key)), (Some(name), key));
            }
            assert_eq!(split(&quota_text(name)), (Some(name), ""));
        }
        assert_eq!(split("a"), (None, "a"));
    }

    #[test]
    fn everything_of_a_namespace_sorts_before_its_end_and_no_other_namespace_lies_between() {
        let names = ["a", "a ", "aa", "b", "é"];
        for name in names {
            let first = prefix(name);
            for text in [prefix(name) + "\u{10ffff}", quota_text(name)] {
                assert!(first < text && text < end_text(name), "{text:?}");
            }
            for other in names.iter().filter(|other| **other != name) {
                let between = first.clone()..end_text(name);
                assert!(!between.contains(&prefix(other)) && !between.contains(&quota_text(other)));
            }
            assert!(end_text(name).as_str() < AFTER_NAMESPACES);
        }
        assert!(AFTER_NAMESPACES < " ");
    }

    #[test]
    fn p12_texts_that_no_engine_writes_are_no_stored_keys() {
        for text in [
            "",
            "\u{1}",
            "\u{1}\u{1}",
            "\u{1}\u{1}key",
            "\u{1}name",
            "\u{1}name\u{1}",
            "\u{1}name\u{1}key\u{1}",
            "\u{1}name\u{2}key",
            "\u{1}\u{2}",
            "\u{1} \u{2}",
            "\u{2}",
            "a\u{1}b",
            "\u{1}na\u{2}me\u{1}key",
        ] {
            assert!(check_stored(text).is_err(), "{text:?}");
        }
        let longest = prefix(&"é".repeat(64)) + &"é".repeat(256);
        check_stored(&longest).unwrap();
        check_stored(&(longest + "é")).unwrap_err();
    }

    #[test]
    fn p12_names_of_namespaces_out_of_their_range_are_refused_with_a_solution() {
        for (name, solution) in
            [("", "give one"), ("  ", "give one"), ("a\nb", "remove"), (&"x".repeat(65), "shorter")]
        {
            let error = check_name(name).unwrap_err().to_string();
            assert!(error.contains("namespace") && error.contains(solution), "{error}");
        }
    }
}
