//! [`Config`], the settings of the HTTP API.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lessor_core::{Limits, OnFailed, OnLapsed};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

/// The settings of the HTTP API: namespaces with their keys, and the limits of the server.
///
/// # Examples
///
/// ```
/// use lessor_http::{Config, KeyHash};
///
/// let hash = KeyHash::of("once_live_secret");
/// let config = Config::from_toml(&format!(
///     r#"
///     healthz = true
///
///     [namespaces.shop]
///     plan = "starter"
///     quota = {{ ai = 3000 }}
///     limits = {{ max_ttl = "24h", default_ttl = "1h" }}
///
///     [[namespaces.shop.keys]]
///     sha256 = "{hash}"
///     "#
/// ))?;
/// assert_eq!(config.namespaces["shop"].keys[0].sha256, hash);
///
/// let error = Config::from_toml("healthy = true").unwrap_err();
/// assert!(error.to_string().contains("line 1") && error.to_string().contains("healthz"));
/// # Ok::<(), lessor_http::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The namespaces, by their names. A name has 1 to 59 of the characters `A` to `Z`, `a` to `z`,
    /// `0` to `9`, `_`, `-` and `.`. Keys of leases in two namespaces never meet.
    pub namespaces: BTreeMap<String, Namespace>,
    /// Whether `GET /healthz` replies. It has no authorization. Default: no.
    pub healthz: bool,
    /// Whether `GET /metrics` replies. It has no authorization. Default: no.
    pub metrics: bool,
    /// Whether any bearer key is taken, for the namespace `default`, if no namespace has a key.
    /// Such a caller has all rights. [`serve`](crate::serve()) sets this for loopback addresses, and
    /// refuses it for others. Default: no.
    pub any_key: bool,
    /// The limits on connections and requests.
    pub server: Server,
}

/// The settings of a namespace.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Namespace {
    /// The label that the replies show as the plan. Default: `embedded`.
    pub plan: String,
    /// The address that the reply about a used-up quota shows. Default: none.
    pub upgrade_url: String,
    /// The keys of its callers. Default: none.
    pub keys: Vec<ApiKey>,
    /// The limits on grants per calendar month. Default: none.
    pub quota: Quotas,
    /// The limits and defaults of leases. Default: those of the engine.
    pub limits: Option<Limits>,
    /// The policy for work that failed before, unless a request has its own.
    pub on_failed: OnFailed,
    /// The policy for a lease that lapsed, unless a request has its own: `TakeOver` or `InDoubt`.
    pub on_lapsed: OnLapsed,
    /// The status of the reply to a repeated check-lock: 200 or 409. Default: 200.
    pub duplicate_status: u16,
}

/// A key of a namespace's callers. The key itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ApiKey {
    /// The SHA-256 of the key, in hex.
    pub sha256: KeyHash,
    /// Whether its callers may forget and resolve keys of leases. Default: no.
    #[serde(default)]
    pub operator: bool,
    /// Whether its callers are refused. Default: no.
    #[serde(default)]
    pub disabled: bool,
}

/// The maximum numbers of grants of a namespace per calendar month, in UTC. `None` sets no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Quotas {
    /// The maximum number of granted leases.
    pub ai: Option<u64>,
    /// The maximum number of `locked` replies to check-lock.
    pub make: Option<u64>,
}

/// The limits on connections and requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Server {
    /// The maximum number of connections. When there are as many, an idle one is closed for each
    /// new one. Default: 512.
    pub max_connections: usize,
    /// The maximum time for the head of a request, and between two requests. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// The maximum time for the body of a request. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
    /// The maximum memory for bodies of more than 16 KiB, in bytes. Further ones are refused with
    /// 429. Default: 64 MiB.
    pub max_buffered: usize,
    /// The time after which a reply says that the store is unavailable. Default: 4 s.
    #[serde(with = "humantime_serde")]
    pub store_timeout: Duration,
    /// The maximum time for which a shutdown waits for requests under way. Default: 30 s.
    #[serde(with = "humantime_serde")]
    pub shutdown_timeout: Duration,
}

impl Default for Namespace {
    fn default() -> Self {
        Self {
            plan: "embedded".to_owned(),
            upgrade_url: String::new(),
            keys: Vec::new(),
            quota: Quotas::default(),
            limits: None,
            on_failed: OnFailed::default(),
            on_lapsed: OnLapsed::default(),
            duplicate_status: 200,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            max_connections: 512,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            max_buffered: 64 << 20,
            store_timeout: Duration::from_secs(4),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl ApiKey {
    /// Returns the entry for a key, without further rights.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self { sha256: KeyHash::of(key), operator: false, disabled: false }
    }

    /// Allows its callers to forget and resolve keys of leases.
    #[must_use]
    pub fn operator(self) -> Self {
        Self { operator: true, ..self }
    }
}

/// The SHA-256 of an API key. Its text has 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Returns the hash of a key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self::of_bytes(key.as_bytes())
    }

    pub(crate) fn of_bytes(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(redacted)")
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const FORM: &str = "not a hash; give the SHA-256 of the key, as 64 hexadecimal digits";
        let text = String::deserialize(deserializer)?;
        bytes_of_hex(&text).map(Self).ok_or_else(|| serde::de::Error::custom(FORM))
    }
}

/// Returns the bytes of 64 hexadecimal digits.
pub(crate) fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| digit.try_into().ok())).collect();
    let bytes: Vec<u8> =
        digits?.chunks_exact(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
    if text.len() == 64 { bytes.try_into().ok() } else { None }
}

/// The reason for which settings are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(field: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self(format!("{field}: {reason}"))
    }
}

/// The name of the only namespace if no key is configured.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";
/// The maximum length of a namespace's name.
const MAX_NAME: usize = 59;
const MAX_TIME: Duration = Duration::from_secs(3600);

impl Config {
    /// Returns the default settings, which have no namespace and no key.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the settings in a TOML text.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] names the line, or the field, and what to change.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError(error.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// Adds a namespace.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>, namespace: Namespace) -> Self {
        self.namespaces.insert(name.into(), namespace);
        self
    }

    /// Sets [`any_key`](field@Self::any_key).
    #[must_use]
    pub fn any_key(mut self) -> Self {
        self.any_key = true;
        self
    }

    /// Returns whether a namespace has a key.
    #[must_use]
    pub fn has_keys(&self) -> bool {
        self.namespaces.values().any(|namespace| !namespace.keys.is_empty())
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] names the field and what to change.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut hashes = BTreeMap::new();
        for (name, namespace) in &self.namespaces {
            let field = format!("namespaces.{name}");
            check_name(name).map_err(|reason| ConfigError::new(&field, reason))?;
            namespace.validate(&field)?;
            for (at, key) in namespace.keys.iter().enumerate() {
                let here = format!("{field}.keys[{at}].sha256");
                if let Some(other) = hashes.insert(key.sha256, here.clone()) {
                    return Err(ConfigError::new(
                        here,
                        format!("the key is also that of {other}; remove one"),
                    ));
                }
            }
        }
        if self.any_key && self.has_keys() {
            return Err(ConfigError::new("any_key", "there are keys; remove them, or set it to false"));
        }
        self.server.validate()
    }
}

impl Namespace {
    fn validate(&self, field: &str) -> Result<(), ConfigError> {
        if !matches!(self.duplicate_status, 200 | 409) {
            let reason = format!("{} is neither 200 nor 409", self.duplicate_status);
            return Err(ConfigError::new(format!("{field}.duplicate_status"), reason));
        }
        if !matches!(self.on_lapsed, OnLapsed::TakeOver | OnLapsed::InDoubt) {
            let reason = "a caller over HTTP cannot reconcile; use `TakeOver` or `InDoubt`";
            return Err(ConfigError::new(format!("{field}.on_lapsed"), reason));
        }
        if self.plan.chars().any(|found| !(' '..='~').contains(&found)) {
            return Err(ConfigError::new(format!("{field}.plan"), "use visible ASCII characters and blanks"));
        }
        Ok(())
    }
}

impl Server {
    fn validate(&self) -> Result<(), ConfigError> {
        if self.max_connections == 0 {
            return Err(ConfigError::new(
                "server.max_connections",
                "0 allows no connection; give at least 1",
            ));
        }
        for (name, time) in [
            ("head_timeout", self.head_timeout),
            ("body_timeout", self.body_timeout),
            ("store_timeout", self.store_timeout),
            ("shutdown_timeout", self.shutdown_timeout),
        ] {
            if time.is_zero() || time > MAX_TIME {
                let reason = format!("{time:?} is not between 1ns and {MAX_TIME:?}");
                return Err(ConfigError::new(format!("server.{name}"), reason));
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let allowed = |found: char| found.is_ascii_alphanumeric() || "_-.".contains(found);
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!("the name must have 1 to {MAX_NAME} of the characters A-Z, a-z, 0-9, `_`, `-` and `.`"))
}
