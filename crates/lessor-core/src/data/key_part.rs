//! Keys that name a call of a function by its arguments.

use std::borrow::Cow;
use std::fmt::Write;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use crate::data::hash::{hex, sha256};
use crate::data::key::Key;
use crate::data::key_text::MAX_KEY_CHARS;

/// The number of hexadecimal digits of a SHA-256 hash.
const HASH_DIGITS: usize = 64;
/// The number of characters of a shortened key before `#` and the hash.
const HEAD: usize = MAX_KEY_CHARS - 1 - HASH_DIGITS;

/// A value that can be a part of a key. See [`Key::of_call`].
///
/// Implemented for integers, `bool`, `char`, texts, [`Key`]s, and options, sequences and tuples of
/// parts. Floating-point numbers are no parts, because equal ones can have different texts.
///
/// # Examples
///
/// A custom type writes itself as one of these types:
///
/// ```
/// use lessor_core::{Key, KeyPart, PartWriter};
///
/// struct OrderId {
///     shop: String,
///     number: u64,
/// }
///
/// impl KeyPart for OrderId {
///     fn write_part(&self, writer: PartWriter<'_>) {
///         (&self.shop, self.number).write_part(writer);
///     }
/// }
///
/// let order = OrderId { shop: "berlin".to_owned(), number: 42 };
/// assert_eq!(Key::of_call("charge", &[&order]).as_str(), r#"charge(("berlin",42))"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a part of a key",
    label = "not a part of a key",
    note = "integers, `bool`, `char`, texts, and options, sequences and tuples of them are parts of keys",
    note = "a custom type can implement `KeyPart`, and other values can be written as a text"
)]
pub trait KeyPart {
    /// Writes the value. Values that are not equal must be written differently.
    fn write_part(&self, writer: PartWriter<'_>);
}

/// The place of one part in a key. [`KeyPart::write_part`] passes it on to the part that it writes.
#[derive(Debug)]
pub struct PartWriter<'a>(&'a mut String);

impl Key {
    /// Returns the key that names the call of a function with these arguments.
    ///
    /// The key is the call as Rust code writes it, without spaces: `charge(42,"acme")`. Different
    /// arguments of the same types give different keys.
    ///
    /// | part | form |
    /// |---|---|
    /// | integer, `bool` | `42`, `-1`, `true` |
    /// | text, [`Key`] | `"acme"`, with `\"`, `\\`, and `\u{a}` for a control character |
    /// | `char` | `'x'`, with `\'`, `\\`, and `\u{a}` for a control character |
    /// | option | `None`, `Some(42)` |
    /// | slice, array, vector | `[1,2]` |
    /// | tuple | `(1,"a")`, `(1,)`, `()` |
    ///
    /// Texts are not trimmed, case folded or normalized. Both `42_u8` and `42_u64` are `42`, so a
    /// wider type gives the same keys. In `name`, `(` is `\(`, and `\` and control characters are
    /// escaped as in a text.
    ///
    /// A key has at most [`MAX_KEY_CHARS`] (256) characters. A longer one consists of its first 191
    /// characters, `#`, and the SHA-256 of the whole text as 64 lowercase hexadecimal digits. It
    /// cannot equal the key of another call, because a complete one ends in `)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use lessor_core::Key;
    ///
    /// assert_eq!(Key::of_call("charge", &[&42, &"acme"]).as_str(), r#"charge(42,"acme")"#);
    /// assert_ne!(Key::of_call("f", &[&"a", &"bc"]), Key::of_call("f", &[&"ab", &"c"]));
    /// assert_ne!(Key::of_call("f", &[&"a\",\"b"]), Key::of_call("f", &[&"a", &"b"]));
    ///
    /// let long = Key::of_call("import", &[&"x".repeat(1000)]);
    /// assert!(long.starts_with("import(\"xxx") && long.chars().count() == 256);
    /// ```
    #[must_use]
    pub fn of_call(name: &str, parts: &[&dyn KeyPart]) -> Self {
        let mut text = String::with_capacity(64);
        write_escaped(&mut text, name, '(');
        text.push('(');
        write_list(&mut text, parts.iter().copied());
        text.push(')');
        if let Some((cut, _)) = text.char_indices().nth(MAX_KEY_CHARS) {
            let head = text.char_indices().nth(HEAD).map_or(cut, |(at, _)| at);
            let hash = hex(&sha256(text.as_bytes()));
            text.truncate(head);
            text.push('#');
            text.push_str(&hash);
        }
        Self::checked(&text)
    }
}

/// Writes the parts with commas between them.
fn write_list<'a>(text: &mut String, parts: impl Iterator<Item = &'a dyn KeyPart>) {
    for (index, part) in parts.enumerate() {
        if index > 0 {
            text.push(',');
        }
        part.write_part(PartWriter(text));
    }
}

/// Writes a text with escapes for control characters, `\` and `delimiter`.
fn write_escaped(text: &mut String, raw: &str, delimiter: char) {
    for next in raw.chars() {
        if next.is_control() {
            // Writing to a `String` does not fail.
            let _ = write!(text, "\\u{{{:x}}}", u32::from(next));
        } else {
            if next == '\\' || next == delimiter {
                text.push('\\');
            }
            text.push(next);
        }
    }
}

fn write_quoted(writer: PartWriter<'_>, raw: &str, delimiter: char) {
    writer.0.push(delimiter);
    write_escaped(writer.0, raw, delimiter);
    writer.0.push(delimiter);
}

impl KeyPart for str {
    fn write_part(&self, writer: PartWriter<'_>) {
        write_quoted(writer, self, '"');
    }
}

impl KeyPart for char {
    fn write_part(&self, writer: PartWriter<'_>) {
        write_quoted(writer, self.encode_utf8(&mut [0; 4]), '\'');
    }
}

impl<T: KeyPart> KeyPart for Option<T> {
    fn write_part(&self, writer: PartWriter<'_>) {
        match self {
            None => writer.0.push_str("None"),
            Some(part) => {
                writer.0.push_str("Some(");
                part.write_part(PartWriter(writer.0));
                writer.0.push(')');
            }
        }
    }
}

impl<T: KeyPart> KeyPart for [T] {
    fn write_part(&self, writer: PartWriter<'_>) {
        writer.0.push('[');
        write_list(writer.0, self.iter().map(|part| part as &dyn KeyPart));
        writer.0.push(']');
    }
}

impl<T: KeyPart, const LENGTH: usize> KeyPart for [T; LENGTH] {
    fn write_part(&self, writer: PartWriter<'_>) {
        self.as_slice().write_part(writer);
    }
}

/// Implements [`KeyPart`] for types whose texts are decimal digits or a word.
macro_rules! plain {
    ($($type:ty),* $(,)?) => { $(
        impl KeyPart for $type {
            fn write_part(&self, writer: PartWriter<'_>) {
                // Writing to a `String` does not fail.
                let _ = write!(writer.0, "{self}");
            }
        }
    )* };
}

plain!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, bool);
plain!(NonZero<u8>, NonZero<u16>, NonZero<u32>, NonZero<u64>, NonZero<u128>, NonZero<usize>);
plain!(NonZero<i8>, NonZero<i16>, NonZero<i32>, NonZero<i64>, NonZero<i128>, NonZero<isize>);

/// Implements [`KeyPart`] for types that are written as the value that they refer to.
macro_rules! by_value {
    ($([$($generics:tt)*] $type:ty => $value:ty),* $(,)?) => { $(
        impl<$($generics)*> KeyPart for $type {
            fn write_part(&self, writer: PartWriter<'_>) {
                <$value as KeyPart>::write_part(self, writer);
            }
        }
    )* };
}

by_value! {
    [] String => str,
    [] Key => str,
    [T: KeyPart + ToOwned + ?Sized] Cow<'_, T> => T,
    [T: KeyPart] Vec<T> => [T],
    [T: KeyPart + ?Sized] &T => T,
    [T: KeyPart + ?Sized] &mut T => T,
    [T: KeyPart + ?Sized] Box<T> => T,
    [T: KeyPart + ?Sized] Rc<T> => T,
    [T: KeyPart + ?Sized] Arc<T> => T,
}

/// Implements [`KeyPart`] for tuples. A tuple of one part ends in a comma, which distinguishes it
/// from the part itself.
macro_rules! tuples {
    ($([$($part:ident)*] $last:literal),* $(,)?) => { $(
        impl<$($part: KeyPart),*> KeyPart for ($($part,)*) {
            #[allow(non_snake_case, reason = "a part is named after its type")]
            fn write_part(&self, writer: PartWriter<'_>) {
                let ($($part,)*) = self;
                let parts: &[&dyn KeyPart] = &[$($part),*];
                writer.0.push('(');
                write_list(writer.0, parts.iter().copied());
                writer.0.push_str($last);
            }
        }
    )* };
}

tuples! {
    [] ")",
    [A] ",)",
    [A B] ")",
    [A B C] ")",
    [A B C D] ")",
    [A B C D E] ")",
    [A B C D E F] ")",
    [A B C D E F G] ")",
    [A B C D E F G H] ")",
}

#[cfg(test)]
mod tests;
