use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::*;

fn refused<T: Serialize>(value: &T) -> String {
    let errors = [
        json_payload("result", value, 1000).unwrap_err(),
        json_value("result", value).unwrap_err(),
        json_text("result", value).unwrap_err(),
    ];
    let texts = errors.map(|error| error.to_string());
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    texts[0].clone()
}

#[derive(Serialize)]
struct Wrapped<T>(T);
#[derive(Serialize)]
struct Unit;
#[derive(Serialize)]
enum Shape<T> {
    Newtype(T),
    Tuple(u8, T),
    Struct { field: T },
}

/// Calls `check` with the error for `bad` in every position of a value.
fn everywhere<T: Serialize + Clone>(bad: T, check: impl Fn(String)) {
    check(refused(&bad));
    check(refused(&(bad.clone(),)));
    check(refused(&(1, bad.clone())));
    check(refused(&vec![bad.clone()]));
    check(refused(&Some(bad.clone())));
    check(refused(&Wrapped(bad.clone())));
    check(refused(&Shape::Newtype(bad.clone())));
    check(refused(&Shape::Tuple(1, bad.clone())));
    check(refused(&Shape::Struct { field: bad.clone() }));
    check(refused(&HashMap::from([("key", bad.clone())])));
    check(refused(&Box::new(bad)));
}

#[test]
fn floats_that_are_not_finite_are_refused_in_every_position() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        everywhere(bad, |text| assert!(text.contains("NaN or infinite"), "{text}"));
    }
    everywhere(f32::NAN, |text| assert!(text.contains("NaN or infinite"), "{text}"));
}

#[test]
fn some_of_null_is_refused_in_every_position() {
    let check = |text: String| assert!(text.contains("`Some`"), "{text}");
    everywhere(Some(None::<u8>), check);
    everywhere(Some(()), check);
    everywhere(Some(Value::Null), check);
    check(refused(&Some(Unit)));
    check(refused(&Some(Wrapped(None::<u8>))));
    check(refused(&Some(Wrapped(Wrapped(())))));
    check(refused(&Some(Some(None::<u8>))));
}

#[test]
fn map_keys_that_json_cannot_represent_are_refused() {
    for text in [refused(&HashMap::from([((1, 2), 3)])), refused(&HashMap::from([(None::<u8>, 3)]))] {
        assert!(text.contains("a map with a key"), "{text}");
    }
}

#[test]
fn the_error_of_a_failed_serialization_does_not_quote_the_value() {
    struct Secretive;
    impl Serialize for Secretive {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("s3cret"))
        }
    }
    let text = refused(&vec![Secretive]);
    assert!(!text.contains("s3cret") && text.contains("its implementation of Serialize"), "{text}");
}

/// A value that uses each kind of serde's data model.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    none: Option<u8>,
    some: Option<Vec<Option<i64>>>,
    unit: (),
    float: (f32, f64),
    large: (u64, i64, u128, i128),
    text: String,
    letter: char,
    map: BTreeMap<u16, Variant>,
    bytes: Box<[u8]>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Variant {
    Unit,
    Newtype(Box<Option<bool>>),
    Tuple(i8, i16),
    Struct { field: Option<String> },
}

#[test]
fn accepted_values_are_written_like_serde_json_and_read_back() {
    let rich = Rich {
        none: None,
        some: Some(vec![None, Some(-1)]),
        unit: (),
        float: (0.1, 5e-324),
        large: (u64::MAX, i64::MIN, u128::MAX, i128::MIN),
        text: "\u{0}\"é🦀".to_owned(),
        letter: '\u{1f}',
        map: BTreeMap::from([
            (0, Variant::Unit),
            (1, Variant::Newtype(Box::new(None))),
            (2, Variant::Tuple(-1, 1)),
            (65_535, Variant::Struct { field: None }),
        ]),
        bytes: [0, 255].into(),
    };
    let payload = json_payload_that_reads_back("result", &rich, 10_000).unwrap();
    assert_eq!(payload.bytes(), serde_json::to_vec(&rich).unwrap());
    assert_eq!(serde_json::from_slice::<Rich>(payload.bytes()).unwrap(), rich);
    assert!(json_value("result", &u128::MAX).unwrap_err().to_string().contains("64 bits"));
}

/// The first caller got a float, and later callers its neighbour, because `serde_json`'s faster
/// parser of floats is not always exact.
#[test]
fn floats_read_back_bit_for_bit() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..100_000 {
        bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let float = f64::from_bits(bits);
        if float.is_finite() {
            let payload = json_payload("result", &float, 1000).unwrap();
            let back: f64 = serde_json::from_slice(payload.bytes()).unwrap();
            assert_eq!(back.to_bits(), float.to_bits(), "{float:e}");
        }
    }
}

#[test]
fn a_value_that_does_not_read_back_is_refused() {
    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Skewed(#[serde(serialize_with = "as_text")] u8);
    fn as_text<S: serde::Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("number {number}"))
    }
    let error = json_payload_that_reads_back("result", &Skewed(1), 1000).unwrap_err();
    assert!(error.to_string().contains("cannot be read as its type"), "{error}");
    assert!(!error.to_string().contains("number"), "{error}");
}
