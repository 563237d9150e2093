//! Limits and defaults of an engine, and the policies of an acquire.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::data::error::Error;
use crate::data::record::Failure;
use crate::data::time::Timestamp;
use crate::data::value::json_value;

/// Limits and defaults of an engine. Durations are written like `"5m"`, `"24h"` or `"7days"`.
///
/// All engines that share records should have the same settings; where they differ, each applies its own to what it writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Length of a lease where the caller names none. Default 5 min.
    #[serde(with = "humantime_serde")]
    pub default_ttl: Duration,
    /// The longest lease. Default 24 h.
    #[serde(with = "humantime_serde")]
    pub max_ttl: Duration,
    /// How long keep-alive goes on renewing one grant. Default 24 h.
    #[serde(with = "humantime_serde")]
    pub max_hold: Duration,
    /// How long finished, released and abandoned records stay readable. Default 7 days.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How often records whose retention has ended are purged. Default 1 min.
    #[serde(with = "humantime_serde")]
    pub purge_every: Duration,
    /// How often a waiter's reader looks for changes that nobody told it of, at most 5 s. Default 1 s.
    #[serde(with = "humantime_serde")]
    pub poll_every: Duration,
    /// The largest result, in bytes, at least 1. Default 1 MiB.
    pub max_result: usize,
    /// The largest error detail that a caller may give, in bytes; 0 allows none. Default 1 MiB. What the engine itself notes
    /// about a failure is cut to 4 KiB and is never refused.
    pub max_error_detail: usize,
    /// The largest checkpoint, in bytes; 0 allows none. Default 1 MiB.
    pub max_checkpoint: usize,
    /// The largest metadata, in bytes of JSON; 0 allows none. Default 2048.
    pub max_metadata: usize,
    /// The label of holders that name none. Default none.
    pub holder: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            default_ttl: Duration::from_secs(300),
            max_ttl: 24 * HOUR,
            max_hold: 24 * HOUR,
            retention: 7 * 24 * HOUR,
            purge_every: Duration::from_secs(60),
            poll_every: Duration::from_secs(1),
            max_result: 1 << 20,
            max_error_detail: 1 << 20,
            max_checkpoint: 1 << 20,
            max_metadata: 2048,
            holder: None,
        }
    }
}

const MIN_TTL: Duration = Duration::from_millis(1);
/// Every duration of the settings stays below ten years, far from the end of time.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// The longest label of a holder, in bytes.
const MAX_HOLDER: usize = 1024;
/// The longest word for a result, and the longest error code, in characters.
const MAX_RESULT_HASH: usize = 128;
const MAX_ERROR_CODE: usize = 256;

impl Settings {
    /// Refuses what no engine could keep.
    pub fn validate(&self) -> Result<(), Error> {
        let bounds = [
            ("default_ttl", self.default_ttl, MIN_TTL, self.max_ttl),
            ("max_ttl", self.max_ttl, MIN_TTL, LONGEST),
            ("max_hold", self.max_hold, MIN_TTL, LONGEST),
            ("retention", self.retention, MIN_TTL, LONGEST),
            ("purge_every", self.purge_every, MIN_TTL, LONGEST),
            ("poll_every", self.poll_every, MIN_TTL, crate::data::view::MAX_RETRY_AFTER),
        ];
        for (what, value, least, most) in bounds {
            if value < least || value > most {
                return Err(Error::invalid(what, format!("{value:?} is not between {least:?} and {most:?}")));
            }
        }
        if self.max_result == 0 {
            let reason = "no result fits into 0 bytes, so no work could be completed; allow at least 1";
            return Err(Error::invalid("max_result", reason));
        }
        self.holder.as_deref().map_or(Ok(()), |holder| check_holder(holder).map(drop))
    }

    pub(crate) fn check_ttl(&self, ttl: Duration) -> Result<Duration, Error> {
        if ttl < MIN_TTL || ttl > self.max_ttl {
            let most = self.max_ttl;
            return Err(Error::invalid("ttl", format!("{ttl:?} is not between {MIN_TTL:?} and {most:?}")));
        }
        Ok(ttl)
    }

    pub(crate) fn check_detail(&self, detail: &str) -> Result<Box<str>, Error> {
        check_size("error detail", detail.len(), self.max_error_detail).map(|()| detail.into())
    }

    /// Metadata is a JSON object of limited size, kept as text.
    pub(crate) fn check_metadata<T: Serialize + ?Sized>(&self, metadata: &T) -> Result<Box<str>, Error> {
        let json = json_value("metadata", metadata)?;
        if !json.is_object() {
            return Err(Error::invalid(
                "metadata",
                "it has to be a JSON object, such as {\"ticket\": \"42\"}",
            ));
        }
        let text = json.to_string();
        check_size("metadata", text.len(), self.max_metadata)?;
        Ok(text.into())
    }
}

/// Returns the failure with this code and detail, if the settings allow them.
pub(crate) fn failure(settings: &Settings, code: &str, detail: Option<&str>) -> Result<Failure, Error> {
    let code = check_error_code(code)?;
    let detail = detail.map(|detail| settings.check_detail(detail)).transpose()?;
    Ok(Failure { code, detail })
}

fn check_size(what: &'static str, size: usize, limit: usize) -> Result<(), Error> {
    if size > limit { Err(Error::TooLarge { what, size, limit }) } else { Ok(()) }
}

pub(crate) fn check_holder(holder: &str) -> Result<Box<str>, Error> {
    check_size("holder label", holder.len(), MAX_HOLDER)?;
    check_controls("holder label", holder)?;
    Ok(holder.into())
}

pub(crate) fn check_result_hash(hash: &str) -> Result<Box<str>, Error> {
    check_chars("result hash", hash, MAX_RESULT_HASH)
}

pub(crate) fn check_error_code(code: &str) -> Result<Box<str>, Error> {
    check_controls("error code", code)?;
    check_chars("error code", code, MAX_ERROR_CODE)
}

/// What is shown in logs and listings is one line.
fn check_controls(what: &'static str, text: &str) -> Result<(), Error> {
    match text.char_indices().find(|(_, found)| found.is_control()) {
        None => Ok(()),
        Some((at, found)) => {
            let reason = format!(
                "it has the control character {found:?} at byte {at}; leave it out, or replace it by a blank"
            );
            Err(Error::invalid(what, reason))
        }
    }
}

fn check_chars(what: &'static str, text: &str, most: usize) -> Result<Box<str>, Error> {
    match text.chars().count() {
        chars if (1..=most).contains(&chars) => Ok(text.into()),
        chars => Err(Error::invalid(what, format!("it has {chars} characters; give 1 to {most}"))),
    }
}

/// What an acquire does where the work has failed before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailed {
    /// Answer with the failure, until its retention ends. Blind reruns are the user's decision.
    #[default]
    Replay,
    /// Grant the key anew, until the record has seen `max_attempts` grants.
    Retry {
        /// Grants in all, the first included: at least 1.
        max_attempts: u32,
        /// How long to wait after a failure.
        backoff: Backoff,
    },
}

impl OnFailed {
    /// Refuses a policy that allows no attempt at all.
    pub(crate) fn check(self) -> Result<Self, Error> {
        match self {
            Self::Retry { max_attempts: 0, .. } => {
                let reason =
                    "0 attempts would not even allow the first; give at least 1, or use OnFailed::Replay";
                Err(Error::invalid("max_attempts", reason))
            }
            policy => Ok(policy),
        }
    }

    /// From when on the work that failed at `done_at` may be tried again, if ever.
    pub(crate) fn retry_at(self, attempt: u32, done_at: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Retry { max_attempts, backoff } if attempt < max_attempts => {
                Some(done_at.saturating_add(backoff.after(attempt)))
            }
            _ => None,
        }
    }
}

/// How long to wait after a failure before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    #[serde(with = "humantime_serde")]
    first: Duration,
    #[serde(with = "humantime_serde")]
    most: Duration,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self::fixed(Duration::ZERO);

    /// The same wait after each failure.
    #[must_use]
    pub const fn fixed(wait: Duration) -> Self {
        Self { first: wait, most: wait }
    }

    /// `first` after the first failure, then twice as long each time, up to `most`.
    #[must_use]
    pub const fn exponential(first: Duration, most: Duration) -> Self {
        Self { first, most }
    }

    fn after(self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.most)
    }
}

/// What an acquire does where the last holder's lease lapsed before the work was finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnLapsed {
    /// Take over: the work is done at least once, and may be done twice.
    #[default]
    TakeOver,
    /// Leave it in doubt until an operator resolves it: the work is done at most once.
    InDoubt,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_contract_and_valid() {
        let settings = Settings::default();
        settings.validate().unwrap();
        assert_eq!(settings.default_ttl, Duration::from_secs(300));
        assert_eq!(settings.max_ttl, Duration::from_secs(86_400));
        assert_eq!(settings.retention, Duration::from_secs(7 * 86_400));
        assert_eq!((settings.max_result, settings.max_metadata), (1_048_576, 2048));
    }

    #[test]
    fn p12_ttls_and_settings_out_of_range_are_refused() {
        let settings = Settings::default();
        for bad in [Duration::ZERO, Duration::from_micros(999), Duration::from_secs(86_401), Duration::MAX] {
            assert!(settings.check_ttl(bad).is_err(), "{bad:?}");
        }
        for good in [MIN_TTL, settings.max_ttl] {
            assert_eq!(settings.check_ttl(good).unwrap(), good);
        }
        assert!(Settings { retention: Duration::ZERO, ..Settings::default() }.validate().is_err());
        assert!(Settings { poll_every: Duration::from_secs(6), ..Settings::default() }.validate().is_err());
        assert!(Settings { default_ttl: Duration::MAX, ..Settings::default() }.validate().is_err());
    }

    #[test]
    fn p12_settings_and_policies_that_allow_nothing_are_refused() {
        let error = Settings { max_result: 0, ..Settings::default() }.validate().unwrap_err();
        assert!(error.to_string().contains("max_result"), "{error}");
        Settings { max_result: 1, max_checkpoint: 0, max_metadata: 0, ..Settings::default() }
            .validate()
            .unwrap();
        let retry = |max_attempts| OnFailed::Retry { max_attempts, backoff: Backoff::NONE };
        let error = retry(0).check().unwrap_err();
        assert!(error.to_string().contains("max_attempts"), "{error}");
        assert_eq!(retry(1).check().unwrap(), retry(1));
    }

    #[test]
    fn p12_labels_and_codes_of_several_lines_are_refused() {
        for bad in ["a\nb", "a\rb", "\u{1b}[31m", "\0", "\u{7f}", "\u{85}"] {
            for error in [check_holder(bad).unwrap_err(), check_error_code(bad).unwrap_err()] {
                assert!(error.to_string().contains("control character"), "{error}");
            }
            assert!(Settings { holder: Some(bad.to_owned()), ..Settings::default() }.validate().is_err());
        }
        for good in ["host-1 (worker 2)", "ключ", "🦀"] {
            assert_eq!(&*check_holder(good).unwrap(), good);
            assert_eq!(&*check_error_code(good).unwrap(), good);
        }
    }

    #[test]
    fn settings_are_written_as_a_person_would() {
        let text = r#"{"default_ttl": "30s", "retention": "3days"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        assert_eq!(settings.default_ttl, Duration::from_secs(30));
        assert_eq!(settings.max_ttl, Duration::from_secs(86_400));
        let again = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
        assert_eq!(settings, again);
        assert!(serde_json::from_str::<Settings>(r#"{"default_tll": "30s"}"#).is_err());
    }

    #[test]
    fn backoff_doubles_up_to_its_most_and_never_overflows() {
        let backoff = Backoff::exponential(Duration::from_secs(1), Duration::from_secs(10));
        let waits: Vec<_> = (1..=6).map(|attempt| backoff.after(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 10, 10]);
        assert_eq!(backoff.after(u32::MAX), Duration::from_secs(10));
    }
}
