//! Recognisable secrets, and a search for all forms in which `Debug` could show one.

use std::cell::RefCell;
use std::fmt::Debug;

pub(crate) const LEASE_ID: [u8; 16] = *b"\xa1\xb2\xc3\xd4\xe5\xf6\x17\x28\x39\x4a\x5b\x6c\x7d\x8e\x9f\xa0";
pub(crate) const OTHER_LEASE_ID: [u8; 16] =
    *b"\x0f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0";
pub(crate) const RESULT: &str = "hidden-result";
pub(crate) const METADATA: &str = "hidden-metadata";
pub(crate) const CHECKPOINT: &str = "hidden-checkpoint";
pub(crate) const DETAIL: &str = "hidden-detail";

/// Counts the checked values.
#[derive(Default)]
pub(crate) struct Looks {
    kinds: RefCell<Vec<String>>,
}

impl Looks {
    /// Asserts that neither form of `Debug` shows a secret.
    #[track_caller]
    pub(crate) fn at(&self, what: &str, value: &dyn Debug) {
        self.text(what, &format!("{value:?}"));
        self.text(what, &format!("{value:#?}"));
        self.kinds.borrow_mut().push(what.to_owned());
    }

    #[track_caller]
    pub(crate) fn text(&self, what: &str, text: &str) {
        let found = found_in(text);
        assert!(found.is_empty(), "{what} shows {found:?}:\n{text}");
    }

    pub(crate) fn count(&self) -> usize {
        self.kinds.borrow().len()
    }
}

/// Returns the secrets in `text`, and the form in which they appear.
pub(crate) fn found_in(text: &str) -> Vec<(&'static str, String)> {
    let squeezed: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    let squeezed = squeezed.to_lowercase();
    let secrets: [(&str, &[u8]); 6] = [
        ("a lease id", &LEASE_ID),
        ("another lease id", &OTHER_LEASE_ID),
        ("a result", RESULT.as_bytes()),
        ("metadata", METADATA.as_bytes()),
        ("a checkpoint", CHECKPOINT.as_bytes()),
        ("an error's detail", DETAIL.as_bytes()),
    ];
    let shows = |(name, secret): (&'static str, &[u8])| {
        forms(secret).into_iter().filter(|form| squeezed.contains(form)).map(|form| (name, form)).collect()
    };
    secrets.into_iter().flat_map::<Vec<_>, _>(shows).collect()
}

/// Returns hexadecimal digits, lists of numbers, and text, of only the first bytes.
fn forms(secret: &[u8]) -> Vec<String> {
    let first = &secret[..11];
    let list = |number: fn(&u8) -> String| first.iter().map(number).collect::<Vec<_>>();
    let mut forms = vec![
        list(|byte| format!("{byte:02x}")).concat(),
        list(|byte| byte.to_string()).join(","),
        list(|byte| format!("{byte:x}")).join(","),
        list(|byte| format!("{byte:02x}")).join(","),
        list(|byte| format!("0x{byte:x}")).join(","),
        first.escape_ascii().to_string().to_lowercase(),
    ];
    if let Ok(number) = <[u8; 16]>::try_from(secret) {
        forms.extend([u128::from_be_bytes(number), u128::from_le_bytes(number)].map(|n| n.to_string()));
        forms.extend([u128::from_le_bytes(number)].map(|n| format!("{n:x}")));
    }
    forms
}

#[test]
fn the_search_finds_every_form_of_a_secret() {
    let number = u128::from_be_bytes(LEASE_ID);
    for told in [
        format!("{LEASE_ID:?}"),
        format!("{LEASE_ID:#?}"),
        format!("{LEASE_ID:x?}"),
        format!("{LEASE_ID:02X?}"),
        format!("{LEASE_ID:#x?}"),
        format!("lease_{number:032x}"),
        format!("{number:X}"),
        format!("{number}"),
        LEASE_ID.escape_ascii().to_string(),
        RESULT.to_owned(),
        format!("{:?}", RESULT.as_bytes()),
        format!("{:?}", format!("{{\"a\":\"{METADATA}\"}}")),
    ] {
        assert!(!found_in(&told).is_empty(), "{told}");
    }
    assert!(found_in("LeaseId(redacted) Payload(13 bytes)").is_empty());
}
