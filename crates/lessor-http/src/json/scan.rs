//! The check of a JSON text beyond its syntax.

use std::collections::HashSet;

use serde_json::value::RawValue;

/// The maximum number of objects and arrays within each other.
pub(super) const MAX_DEPTH: usize = 128;

/// The reason for which a text is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotUtf8,
    NotJson,
    TooDeep,
    SameNameTwice,
}

/// Returns the JSON text without blanks between tokens. Numbers, strings and the order of names
/// remain as they are. Takes no stack space for nested values.
pub(super) fn compact(json: &[u8]) -> Result<String, Problem> {
    let json = std::str::from_utf8(json).map_err(|_| Problem::NotUtf8)?;
    serde_json::from_str::<&RawValue>(json).map_err(|_| Problem::NotJson)?;
    let bytes = json.as_bytes();
    let mut compact = String::with_capacity(json.len());
    // The names of each open object. `None` for an array.
    let mut open: Vec<Option<HashSet<String>>> = Vec::new();
    let (mut at, mut expects_name) = (0, false);
    while let Some(byte) = bytes.get(at).copied() {
        let end = if byte == b'"' { end_of_string(bytes, at) } else { at + 1 };
        let token = json.get(at..end).ok_or(Problem::NotJson)?;
        at = end;
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => continue,
            b'"' if expects_name => {
                let name = serde_json::from_str(token).map_err(|_| Problem::NotJson)?;
                if open
                    .last_mut()
                    .is_some_and(|names| names.as_mut().is_some_and(|names| !names.insert(name)))
                {
                    return Err(Problem::SameNameTwice);
                }
                expects_name = false;
            }
            b'{' => {
                open.push(Some(HashSet::new()));
                expects_name = true;
            }
            b'[' => open.push(None),
            b'}' | b']' => {
                open.pop();
                expects_name = false;
            }
            b',' => expects_name = matches!(open.last(), Some(Some(_))),
            _ => {}
        }
        if open.len() > MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        compact.push_str(token);
    }
    Ok(compact)
}

/// Returns the place after the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        [vec![b'['; depth], vec![b']'; depth]].concat()
    }

    #[test]
    fn only_blanks_between_tokens_are_removed() {
        let json = " { \"b\" : [ 1e400 , 18446744073709551616, -0.0 ] ,\n\t\"a \\\" { , b\" : \" x , y \" , \"ключ\":null } ";
        let expected = "{\"b\":[1e400,18446744073709551616,-0.0],\"a \\\" { , b\":\" x , y \",\"ключ\":null}";
        assert_eq!(compact(json.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn p12_a_name_that_occurs_twice_is_refused_in_every_object() {
        for json in
            [r#"{"a":1,"a":2}"#, r#"[{"x":{"a":1,"b":2,"\u0061":3}}]"#, r#"{"a":{},"b":[1,2],"a":""}"#]
        {
            assert_eq!(compact(json.as_bytes()), Err(Problem::SameNameTwice), "{json}");
        }
        for json in [r#"[{"a":1},{"a":1}]"#, r#"{"a":{"a":"a"},"b":["a","a"],"c":"a"}"#] {
            assert_eq!(compact(json.as_bytes()).unwrap(), json);
        }
    }

    #[test]
    fn p12_values_are_nested_up_to_128_levels() {
        assert!(compact(&nested(128)).is_ok());
        for depth in [129, 200, 500_000] {
            assert_eq!(compact(&nested(depth)), Err(Problem::TooDeep));
        }
        assert_eq!(compact(&vec![b'['; 500_000]), Err(Problem::NotJson));
    }

    #[test]
    fn p12_no_text_is_taken_that_is_no_json() {
        for json in [
            "",
            " ",
            "{",
            "{\"a\"}",
            "{\"a\":1,}",
            "nul",
            "01",
            "\"\n\"",
            "{'a':1}",
            "[1] 2",
            "NaN",
            "\"\\x\"",
        ] {
            assert_eq!(compact(json.as_bytes()), Err(Problem::NotJson), "{json}");
        }
        assert_eq!(compact(b"\"\xff\""), Err(Problem::NotUtf8));
    }
}
