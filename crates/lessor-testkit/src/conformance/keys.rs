//! Keys that a store could confuse or change.

use lessor_core::Key;

use super::Factory;
use super::tools::*;
use crate::subject::Subject;

fn hostile() -> Vec<Key> {
    let texts = [
        " x ",
        " y",
        " a",
        "a ",
        "a",
        "A",
        "{a}",
        "{}",
        "}{",
        "{a}{b}",
        "a:b",
        "a/b",
        "a\\b",
        "..",
        "../a",
        ".",
        "/",
        "\\",
        "*",
        "?",
        "[a]",
        "%",
        "_",
        "%00",
        "\\0",
        "'",
        "\"",
        "';--",
        "$1",
        "${a}",
        "`a`",
        "null",
        "NULL",
        "0",
        "00",
        "-0",
        "1e3",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "ss",
        "ﬁ",
        "fi",
        "İ",
        "i",
        "ı",
        "ключ",
        "鍵",
        "\u{1F980}",
        "\u{1F468}\u{200D}\u{1F469}",
        "\u{202E}abc",
        "\u{200B}",
        "\u{FEFF}",
        "\u{FEFF}a",
        "\u{FFFD}",
        "\u{E000}",
        "\u{10FFFF}",
        "aux",
        "CON",
        "a.",
        "a,b",
        "a;b",
        "a\u{a0}b",
        "a b",
        "Ω",
        "\u{2126}",
    ];
    texts.into_iter().map(key).collect()
}

fn long() -> Vec<Key> {
    ["x", "é", "鍵", "\u{1F980}"].into_iter().map(|one| key(&one.repeat(256))).collect()
}

fn fill(subject: &Subject, keys: &[Key]) {
    let store = &**subject.store();
    let records: Vec<_> = keys.iter().map(|_| some(subject.now())).collect();
    for (key, record) in keys.iter().zip(&records) {
        put(store, key, record);
    }
    for (key, record) in keys.iter().zip(&records) {
        assert_eq!(load(store, key).record.as_ref(), Some(record), "{key:?}");
    }
}

/// Each key with braces, spaces, quotes, slashes, wildcards and unusual characters has its own
/// record.
pub fn unusual_keys_are_stored_unchanged(factory: Factory<'_>) {
    let keys = hostile();
    fill(&factory(), &keys);
}

/// Keys that differ only in case, normalisation, spaces or a suffix are different keys.
pub fn similar_keys_are_distinct(factory: Factory<'_>) {
    let subject = factory();
    let store = &**subject.store();
    for (one, other) in [
        ("key", "KEY"),
        ("é", "e\u{301}"),
        ("Ω", "\u{2126}"),
        ("key", "key "),
        ("key", " key"),
        ("key", "key2"),
        ("key", "ke"),
        ("a:b", "a::b"),
        ("{a}", "a"),
        ("ss", "ß"),
        ("a\u{200B}", "a"),
        ("1", "01"),
        ("%41", "A"),
        ("\\u0041", "A"),
    ] {
        let one = key(&format!("{other}|{one}"));
        let other = key(&format!("{other}|{other}"));
        put(store, &one, &some(subject.now()));
        assert_eq!(load(store, &other).record, None, "{one:?} is taken for {other:?}");
    }
}

/// Keys of 256 characters, up to 1,024 bytes, are stored completely.
pub fn the_longest_keys_can_be_stored(factory: Factory<'_>) {
    let subject = factory();
    let mut keys = long();
    let last = "x".repeat(255);
    keys.extend([key(&last), key(&format!("{last}y"))]);
    fill(&subject, &keys);
}

/// A listing returns unusual keys unchanged, in byte order.
pub fn scan_returns_unusual_keys_unchanged(factory: Factory<'_>) {
    let subject = factory();
    let mut keys = hostile();
    keys.extend(long());
    fill(&subject, &keys);
    keys.sort_unstable();
    for limit in [2, 1000] {
        let listed: Vec<Key> = list(&**subject.store(), "", limit).into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, keys);
    }
}
