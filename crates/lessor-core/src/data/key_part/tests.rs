use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn key(parts: &[&dyn KeyPart]) -> String {
    Key::of_call("f", parts).as_str().to_owned()
}

/// The forms are stored by applications, so they must not change.
#[test]
fn each_part_has_its_documented_form() {
    let forms: &[(&dyn KeyPart, &str)] = &[
        (&42_u8, "42"),
        (&-1_i64, "-1"),
        (&u128::MAX, "340282366920938463463374607431768211455"),
        (&NonZero::<u32>::MIN, "1"),
        (&true, "true"),
        (&"acme", r#""acme""#),
        (&"it's \"\\\n", r#""it's \"\\\u{a}""#),
        (&"\u{7f}\u{85}é", r#""\u{7f}\u{85}é""#),
        (&'x', "'x'"),
        (&'\'', r"'\''"),
        (&'"', r#"'"'"#),
        (&'\n', r"'\u{a}'"),
        (&None::<u8>, "None"),
        (&Some("a"), r#"Some("a")"#),
        (&Some(None::<u8>), "Some(None)"),
        (&[1, 2], "[1,2]"),
        (&Vec::<u8>::new(), "[]"),
        (&(1, "a".to_owned()), r#"(1,"a")"#),
        (&(1,), "(1,)"),
        (&(), "()"),
        (&Key::checked("invoice:42"), r#""invoice:42""#),
        (&Cow::Borrowed("a"), r#""a""#),
        (&Box::<str>::from("a"), r#""a""#),
        (&Rc::new(Arc::new(1)), "1"),
    ];
    for (part, form) in forms {
        assert_eq!(key(&[*part]), format!("f({form})"));
    }
    assert_eq!(key(&[]), "f()");
    assert_eq!(key(&[&1, &2]), "f(1,2)");
}

#[test]
fn parts_that_join_to_the_same_text_have_different_keys() {
    let calls: &[&[&dyn KeyPart]] = &[
        &[],
        &[&""],
        &[&()],
        &[&"a", &"bc"],
        &[&"ab", &"c"],
        &[&"abc"],
        &[&"a,bc"],
        &[&"a\",\"bc"],
        &[&"a\\", &"bc"],
        &[&("a", "bc")],
        &[&("a", "bc"), &()],
        &[&["a", "bc"]],
        &[&1],
        &[&"1"],
        &[&'1'],
        &[&(1,)],
        &[&Some(1)],
        &[&12, &3],
        &[&1, &23],
        &[&None::<u8>],
        &[&"None"],
        &[&"\n"],
        &[&"\\n"],
        &[&"\\u{a}"],
    ];
    let mut seen = HashMap::new();
    for (at, call) in calls.iter().enumerate() {
        assert_eq!(seen.insert(key(call), at), None, "call {at}");
    }
}

#[test]
fn a_name_cannot_pass_for_a_part() {
    assert_eq!(Key::of_call("a(1,", &[&2]).as_str(), r"a\(1,(2)");
    assert_eq!(Key::of_call("a\n\\", &[]).as_str(), r"a\u{a}\\()");
    assert_eq!(Key::of_call("", &[]).as_str(), "()");
}

/// `f("` and `")` take five characters.
#[test]
fn a_call_of_more_than_256_characters_ends_in_its_hash() {
    let whole = key(&[&"é".repeat(251)]);
    assert!(whole.ends_with("é\")") && whole.chars().count() == 256);
    let shortened = key(&[&"é".repeat(252)]);
    let hash = hex(&sha256(format!("f(\"{}\")", "é".repeat(252)).as_bytes()));
    assert_eq!(shortened, format!("f(\"{}#{hash}", "é".repeat(HEAD - 3)));
    assert_eq!(shortened.chars().count(), MAX_KEY_CHARS);
    assert_ne!(key(&[&"é".repeat(1000)]), key(&[&"é".repeat(1001)]));
}

/// A text that equals a shortened key is written with quotes, and ends in `)`.
#[test]
fn no_complete_key_equals_a_shortened_one() {
    let shortened = Key::of_call("f", &[&"x".repeat(1000)]);
    assert_ne!(Key::of_call(shortened.as_str(), &[]), shortened);
    assert!(!shortened.ends_with(')'));
}

/// Values that contain each other, and texts with every character that has a meaning in a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Value {
    Number(i16),
    Text(String),
    Letter(char),
    Maybe(Option<Box<Value>>),
    List(Vec<Value>),
}

impl KeyPart for Value {
    fn write_part(&self, writer: PartWriter<'_>) {
        match self {
            Self::Number(part) => part.write_part(writer),
            Self::Text(part) => part.write_part(writer),
            Self::Letter(part) => part.write_part(writer),
            Self::Maybe(part) => part.write_part(writer),
            Self::List(part) => part.write_part(writer),
        }
    }
}

fn values() -> impl Strategy<Value = Vec<Value>> {
    let leaf = prop_oneof![
        (-12_i16..12).prop_map(Value::Number),
        r#"["\\,()\[\]'1a\n]{0,4}"#.prop_map(Value::Text),
        r#"["\\,']"#.prop_map(|text: String| Value::Letter(text.chars().next().unwrap())),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::option::of(inner.clone().prop_map(Box::new)).prop_map(Value::Maybe),
            prop::collection::vec(inner, 0..3).prop_map(Value::List),
        ]
    });
    prop::collection::vec(value, 0..4)
}

proptest! {
    #[test]
    fn calls_have_the_same_key_only_if_all_arguments_are_equal(one in values(), other in values()) {
        let of = |call: &[Value]| key(&call.iter().map(|part| part as &dyn KeyPart).collect::<Vec<_>>());
        prop_assert_eq!(of(&one) == of(&other), one == other);
        // Random calls are rarely close to each other, so the arguments are also joined and split.
        let joined = Value::List(one.clone());
        prop_assert_ne!(key(&[&joined]), of(&one));
        if let [first, rest @ ..] = &one[..] {
            let nested = [Value::List(vec![first.clone()]), Value::List(rest.to_vec())];
            prop_assert_ne!(of(&nested), of(&one));
        }
    }

    #[test]
    fn every_call_has_a_valid_key(name in ".{0,300}", text in any::<String>(), letter in any::<char>()) {
        let key = Key::of_call(&name, &[&text, &letter]);
        prop_assert_eq!(Key::check(key.as_str()), Ok(()));
    }

    /// A reader that knows the form finds the argument again, so no two arguments share a key.
    #[test]
    fn a_text_can_be_read_back_from_its_key(text in r#"["\\\n\u{0}-\u{9f}a(){}u]{0,20}"#) {
        let key = key(&[&text]);
        prop_assert_eq!(unescape(&key[3..key.len() - 2]), text);
    }
}

fn unescape(escaped: &str) -> String {
    let mut chars = escaped.chars();
    let mut text = String::new();
    while let Some(next) = chars.next() {
        text.push(match next {
            '\\' => match chars.next().unwrap() {
                'u' => {
                    assert_eq!(chars.next(), Some('{'));
                    let digits: String = chars.by_ref().take_while(|digit| *digit != '}').collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap()
                }
                escaped => escaped,
            },
            plain => plain,
        });
    }
    text
}
