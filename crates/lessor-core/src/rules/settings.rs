//! The limits and defaults of an engine, and the policies of an acquire.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::data::error::Error;
use crate::data::failure::Failure;
use crate::data::value::{check_size, json_value};
use crate::data::view::MAX_RETRY_AFTER;
use crate::rules::keep::Keep;

/// The settings of an engine: the limits of its leases and records, the schedule of its background
/// work, and the label of its holders.
///
/// In serialised form, durations are text such as `"5m"`, `"24h"` or `"7days"`. All engines that
/// share records should have the same limits. If they differ, each engine applies its own to the
/// records that it writes. Creating an engine checks the settings.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use lessor_core::{Engine, Settings};
/// use lessor_memory::MemoryStore;
///
/// let settings = Settings::new()
///     .default_ttl(Duration::from_secs(30))
///     .retention(Duration::from_hours(24))
///     .holder("worker-1");
/// let engine = Engine::with_settings(Arc::new(MemoryStore::new()), settings)?;
/// assert_eq!(engine.settings().limits.max_result, 1 << 20);
///
/// let settings = Settings::new().max_ttl(Duration::from_secs(10));
/// let settings = settings.default_ttl(Duration::from_secs(30));
/// let error = Engine::with_settings(Arc::new(MemoryStore::new()), settings).unwrap_err();
/// assert_eq!(error.to_string(), "invalid default_ttl: 30s is not between 1ms and 10s");
/// # Ok::<(), lessor_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The limits and defaults of leases and records.
    pub limits: Limits,
    /// The schedule of the background work.
    pub schedule: Schedule,
    /// The label of holders that give none, at most 1024 bytes. Default: none.
    pub holder: Option<String>,
    /// The form in which spans and events show keys. Default: plain.
    pub keys_in_logs: KeysInLogs,
}

/// The form in which the spans and events of `tracing` show keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeysInLogs {
    /// As they are.
    #[default]
    Plain,
    /// The first eight bytes of their SHA-256, in hex. Lines of one key can still be found together.
    Hashed,
    /// Not at all.
    Omitted,
}

/// The limits and defaults of leases and records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// The ttl of a lease if the caller gives none. Default: 5 min.
    #[serde(with = "humantime_serde")]
    pub default_ttl: Duration,
    /// The maximum ttl of a lease. Default: 24 h.
    #[serde(with = "humantime_serde")]
    pub max_ttl: Duration,
    /// The maximum time for which keep-alive renews one grant. Default: 24 h.
    #[serde(with = "humantime_serde")]
    pub max_hold: Duration,
    /// The time for which finished, released and abandoned records stay readable. Default: 7 days.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// The maximum size of a result, in bytes, at least 1. Default: 1 MiB.
    pub max_result: usize,
    /// The maximum size of an error detail, in bytes. 0 allows none. Default: 1 MiB. Details that
    /// the engine itself records are truncated to 4 KiB and never refused.
    pub max_error_detail: usize,
    /// The maximum size of a checkpoint, in bytes. 0 allows none. Default: 1 MiB.
    pub max_checkpoint: usize,
    /// The maximum size of metadata, in bytes of JSON. 0 allows none. Default: 2048.
    pub max_metadata: usize,
    /// The maximum number of entries of a record's history, from 0 to 64. Below 7, nothing is kept
    /// about grants before the last one. With 0, only what follows from the record's other fields.
    /// Default: 16.
    pub max_history: u8,
}

/// The schedule of an engine's background work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Schedule {
    /// The interval between purges of records whose retention has ended. Default: 1 min.
    #[serde(with = "humantime_serde")]
    pub purge_every: Duration,
    /// The interval at which the records of waiters and watched leases are read, to find changes
    /// without a notification. At most 5 s. Default: 1 s.
    #[serde(with = "humantime_serde")]
    pub poll_every: Duration,
    /// The interval between [surveys](crate::Engine::survey) of the store, of which the metrics
    /// report the result. Each reads all records, so one engine of a store suffices. The first one
    /// follows the creation of the engine. Default: none.
    #[serde(with = "humantime_serde::option")]
    pub survey_every: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            default_ttl: Duration::from_secs(300),
            max_ttl: 24 * HOUR,
            max_hold: 24 * HOUR,
            retention: 7 * 24 * HOUR,
            max_result: 1 << 20,
            max_error_detail: 1 << 20,
            max_checkpoint: 1 << 20,
            max_metadata: 2048,
            max_history: Keep::HISTORY,
        }
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self { purge_every: Duration::from_secs(60), poll_every: Duration::from_secs(1), survey_every: None }
    }
}

/// Defines the setters of a part of the settings, on the part and on the settings. Each value is that
/// of the examples.
macro_rules! setters {
    ($part:ident: $Part:ident { $($name:ident: $type:ty = $value:literal,)* }) => {
        impl $Part {
            /// Returns the default values.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = concat!("assert_eq!(lessor_core::", stringify!($Part), "::new(), Default::default());")]
            /// ```
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            $(
                #[doc = concat!("Sets [`", stringify!($name), "`](field@Self::", stringify!($name), ").")]
                ///
                /// # Examples
                ///
                /// ```
                /// # use {lessor_core::*, std::time::Duration};
                #[doc = concat!(
                    "let ", stringify!($part), " = ", stringify!($Part), "::new().", stringify!($name), "(",
                    $value, ");"
                )]
                #[doc = concat!(
                    "assert_eq!(", stringify!($part), ".", stringify!($name), ", ", $value, ");"
                )]
                /// ```
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*
        }

        impl Settings {
            $(
                #[doc = concat!(
                    "Sets [`", stringify!($Part), "::", stringify!($name), "`](field@", stringify!($Part), "::",
                    stringify!($name), ")."
                )]
                ///
                /// # Examples
                ///
                /// ```
                /// # use {lessor_core::*, std::time::Duration};
                #[doc = concat!("let settings = Settings::new().", stringify!($name), "(", $value, ");")]
                #[doc = concat!(
                    "assert_eq!(settings.", stringify!($part), ".", stringify!($name), ", ", $value, ");"
                )]
                /// ```
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$part.$name = $name;
                    self
                }
            )*
        }
    };
}

setters!(limits: Limits {
    default_ttl: Duration = "Duration::from_secs(30)",
    max_ttl: Duration = "Duration::from_hours(1)",
    max_hold: Duration = "Duration::from_hours(12)",
    retention: Duration = "Duration::from_hours(24)",
    max_result: usize = "64 * 1024",
    max_error_detail: usize = "4096",
    max_checkpoint: usize = "64 * 1024",
    max_metadata: usize = "512",
    max_history: u8 = "32",
});

setters!(schedule: Schedule {
    purge_every: Duration = "Duration::from_secs(10)",
    poll_every: Duration = "Duration::from_millis(200)",
    survey_every: Option<Duration> = "Some(Duration::from_mins(10))",
});

const MIN_TTL: Duration = Duration::from_millis(1);
/// The maximum of all durations, about ten years, so that sums with timestamps stay in range.
const MAX_DURATION: Duration = Duration::from_secs(10 * 366 * 24 * 3600);
/// The maximum number of entries of a history.
const MAX_HISTORY: u8 = 64;
/// The maximum length of a holder's label, in bytes.
const MAX_HOLDER: usize = 1024;
/// The maximum length of a result hash, in characters.
const MAX_RESULT_HASH: usize = 128;
/// The maximum length of an error code, in characters.
const MAX_ERROR_CODE: usize = 256;

impl Settings {
    /// Returns the default settings.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// assert_eq!(Settings::new().limits.retention, Duration::from_hours(7 * 24));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the label of holders that give none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// assert_eq!(Settings::new().holder("worker-1").holder.as_deref(), Some("worker-1"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn holder(mut self, holder: impl Into<String>) -> Self {
        self.holder = Some(holder.into());
        self
    }

    /// Sets the form in which spans and events show keys.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// let settings = Settings::new().keys_in_logs(KeysInLogs::Hashed);
    /// assert_eq!(settings.keys_in_logs, KeysInLogs::Hashed);
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn keys_in_logs(mut self, keys: KeysInLogs) -> Self {
        self.keys_in_logs = keys;
        self
    }

    /// Checks that every setting is in its range. Creating an engine calls this.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] names the first setting that is not.
    ///
    /// # Examples
    ///
    /// ```
    /// # use {lessor_core::*, std::time::Duration};
    /// let settings = Settings::new().poll_every(Duration::from_secs(60));
    /// let error = settings.validate().unwrap_err();
    /// assert_eq!(error.to_string(), "invalid poll_every: 60s is not between 1ms and 5s");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        self.limits.validate()?;
        self.schedule.validate()?;
        self.holder.as_deref().map_or(Ok(()), |holder| check_holder(holder).map(drop))
    }
}

impl Schedule {
    fn validate(&self) -> Result<(), Error> {
        check_duration("purge_every", self.purge_every, MAX_DURATION)?;
        check_duration("poll_every", self.poll_every, MAX_RETRY_AFTER)?;
        self.survey_every.map_or(Ok(()), |every| check_duration("survey_every", every, MAX_DURATION))
    }
}

impl Limits {
    fn validate(&self) -> Result<(), Error> {
        for (what, value, most) in [
            ("default_ttl", self.default_ttl, self.max_ttl),
            ("max_ttl", self.max_ttl, MAX_DURATION),
            ("max_hold", self.max_hold, MAX_DURATION),
            ("retention", self.retention, MAX_DURATION),
        ] {
            check_duration(what, value, most)?;
        }
        if self.max_history > MAX_HISTORY {
            let reason = format!("{} is more than {MAX_HISTORY}", self.max_history);
            return Err(Error::invalid("max_history", reason));
        }
        if self.max_result == 0 {
            let reason = "with 0 bytes no work could be completed; allow at least 1";
            return Err(Error::invalid("max_result", reason));
        }
        Ok(())
    }

    pub(crate) fn check_ttl(&self, ttl: Duration) -> Result<Duration, Error> {
        check_duration("ttl", ttl, self.max_ttl).map(|()| ttl)
    }

    pub(crate) fn check_detail(&self, detail: &str) -> Result<Box<str>, Error> {
        check_size("error detail", detail.len(), self.max_error_detail).map(|()| detail.into())
    }

    /// Returns metadata as JSON text, if it is an object and not too large.
    pub(crate) fn check_metadata<T: Serialize + ?Sized>(&self, metadata: &T) -> Result<Box<str>, Error> {
        let json = json_value("metadata", metadata)?;
        if !json.is_object() {
            return Err(no_object());
        }
        self.check_metadata_size(json.to_string().into())
    }

    /// Returns the JSON text as metadata, if it is an object and not too large.
    pub(crate) fn check_metadata_json(&self, json: &str) -> Result<Box<str>, Error> {
        let is_object = json.trim_ascii_start().starts_with('{');
        if !is_object || serde_json::from_str::<&RawValue>(json).is_err() {
            return Err(no_object());
        }
        self.check_metadata_size(json.into())
    }

    fn check_metadata_size(&self, text: Box<str>) -> Result<Box<str>, Error> {
        check_size("metadata", text.len(), self.max_metadata).map(|()| text)
    }
}

fn no_object() -> Error {
    Error::invalid("metadata", "it must be a JSON object, such as {\"ticket\": \"42\"}")
}

/// Returns the failure with this code and detail, if the limits allow them.
pub(crate) fn failure(limits: &Limits, code: &str, detail: Option<&str>) -> Result<Failure, Error> {
    let code = check_error_code(code)?;
    let detail = detail.map(|detail| limits.check_detail(detail)).transpose()?;
    Ok(Failure { code, detail, retry_after: None })
}

/// Checks the time without progress after which a lease is not renewed any more.
pub(crate) fn check_stall(stall_after: Duration) -> Result<Duration, Error> {
    check_duration("stall_after", stall_after, MAX_DURATION).map(|()| stall_after)
}

fn check_duration(what: &'static str, value: Duration, most: Duration) -> Result<(), Error> {
    if value < MIN_TTL || value > most {
        return Err(Error::invalid(what, format!("{value:?} is not between {MIN_TTL:?} and {most:?}")));
    }
    Ok(())
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

/// Refuses control characters, so that the text is a single line in logs and listings.
fn check_controls(what: &'static str, text: &str) -> Result<(), Error> {
    match text.char_indices().find(|(_, found)| found.is_control()) {
        None => Ok(()),
        Some((at, found)) => {
            let reason = format!(
                "it contains the control character {found:?} at byte {at}; remove it or replace it with a space"
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::policies::{Backoff, OnFailed};

    #[test]
    fn the_defaults_are_those_of_the_contract_and_valid() {
        let settings = Settings::default();
        settings.validate().unwrap();
        let limits = settings.limits;
        assert_eq!(limits.default_ttl, Duration::from_secs(300));
        assert_eq!(limits.max_ttl, Duration::from_secs(86_400));
        assert_eq!(limits.retention, Duration::from_secs(7 * 86_400));
        assert_eq!((limits.max_result, limits.max_metadata), (1_048_576, 2048));
    }

    #[test]
    fn p12_ttls_and_settings_out_of_range_are_refused() {
        let limits = Limits::new();
        for bad in [Duration::ZERO, Duration::from_micros(999), Duration::from_secs(86_401), Duration::MAX] {
            assert!(limits.check_ttl(bad).is_err(), "{bad:?}");
        }
        for good in [MIN_TTL, limits.max_ttl] {
            assert_eq!(limits.check_ttl(good).unwrap(), good);
        }
        for (name, settings) in [
            ("retention", Settings::new().retention(Duration::ZERO)),
            ("default_ttl", Settings::new().default_ttl(Duration::MAX)),
            ("poll_every", Settings::new().poll_every(Duration::from_secs(6))),
            ("purge_every", Settings::new().purge_every(Duration::ZERO)),
            ("max_history", Settings::new().max_history(65)),
        ] {
            let error = settings.validate().unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn p12_settings_and_policies_that_allow_nothing_are_refused() {
        let error = Settings::new().max_result(0).validate().unwrap_err();
        assert!(error.to_string().contains("max_result"), "{error}");
        Settings::new().max_result(1).max_checkpoint(0).max_metadata(0).validate().unwrap();
        let retry = |max_attempts| OnFailed::Retry { max_attempts, backoff: Backoff::NONE };
        let error = retry(0).check().unwrap_err();
        assert!(error.to_string().contains("max_attempts"), "{error}");
        assert_eq!(retry(1).check().unwrap(), retry(1));
    }

    #[test]
    fn p12_labels_and_codes_with_control_characters_are_refused() {
        for bad in ["a\nb", "a\rb", "\u{1b}[31m", "\0", "\u{7f}", "\u{85}"] {
            for error in [check_holder(bad).unwrap_err(), check_error_code(bad).unwrap_err()] {
                assert!(error.to_string().contains("control character"), "{error}");
            }
            assert!(Settings::new().holder(bad).validate().is_err());
        }
        for good in ["host-1 (worker 2)", "ключ", "🦀"] {
            assert_eq!(&*check_holder(good).unwrap(), good);
            assert_eq!(&*check_error_code(good).unwrap(), good);
        }
    }

    #[test]
    fn settings_are_serialised_with_readable_durations() {
        let text = r#"{"limits": {"default_ttl": "30s", "retention": "3days"}, "holder": "worker-1"}"#;
        let settings: Settings = serde_json::from_str(text).unwrap();
        let expected = Settings::new().default_ttl(Duration::from_secs(30)).holder("worker-1");
        assert_eq!(settings, expected.retention(Duration::from_secs(3 * 86_400)));
        let again = serde_json::from_str(&serde_json::to_string(&settings).unwrap()).unwrap();
        assert_eq!(settings, again);
        for unknown in [r#"{"limits": {"default_tll": "30s"}}"#, r#"{"default_ttl": "30s"}"#] {
            assert!(serde_json::from_str::<Settings>(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn a_part_of_the_settings_can_be_built_apart() {
        let mut settings = Settings::new();
        settings.limits = Limits::new().retention(Duration::from_secs(9)).max_result(7);
        settings.schedule = Schedule::new().poll_every(Duration::from_secs(2));
        let expected = Settings::new().retention(Duration::from_secs(9)).max_result(7);
        assert_eq!(settings, expected.poll_every(Duration::from_secs(2)));
    }
}
