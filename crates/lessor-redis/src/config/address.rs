//! Addresses of servers, parsed from URLs.

use std::collections::BTreeSet;
use std::fmt;

use lessor_core::Error;
use redis::{ConnectionInfo, IntoConnectionInfo, ProtocolVersion};

use super::settings::{Check, Settings};

/// The address of a server, or of the first nodes of a cluster. It contains passwords, so its
/// `Debug` output shows the endpoint only.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) nodes: Vec<ConnectionInfo>,
    pub(crate) is_cluster: bool,
    /// The host and port, for messages.
    pub(crate) endpoint: String,
    /// The user that the store authenticates as.
    pub(crate) user: String,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.endpoint).finish()
    }
}

fn invalid(reason: &str) -> Error {
    Error::invalid("store URL", reason)
}

const FORM: &str = "write `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE][?prefix=NAME]`, with `rediss:` for TLS, or \
                    `redis+cluster://HOST:PORT,HOST:PORT`";

impl Address {
    /// Parses a URL. The settings in its query are applied to `settings`. No error repeats a part
    /// of the URL that may be a password.
    pub(crate) fn parse(url: &str, settings: &mut Settings) -> Result<Self, Error> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let mut is_set = BTreeSet::new();
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            set(settings, name, value)?;
            if !is_set.insert(name) {
                return Err(invalid(&format!("`{name}` is set more than once; write it once")));
            }
        }
        let (scheme, rest) = address.split_once("://").ok_or_else(|| invalid(FORM))?;
        let (scheme, is_cluster) = match scheme.strip_suffix("+cluster") {
            Some(scheme) => (scheme, true),
            None => (scheme, false),
        };
        match (scheme, cfg!(feature = "tls")) {
            ("redis", _) | ("rediss", true) => {}
            ("rediss", false) => {
                return Err(invalid("TLS needs the feature `redis-tls` of lessor, or `tls` of lessor-redis"));
            }
            _ => return Err(invalid(FORM)),
        }
        let (credentials, hosts) = match rest.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), rest),
        };
        if hosts.is_empty() || (!is_cluster && hosts.contains(',')) {
            return Err(invalid(FORM));
        }
        let node = |host: &str| {
            let info = format!("{scheme}://{credentials}{host}").into_connection_info();
            let info = info.map_err(|_| invalid(FORM))?;
            let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok(info.set_redis_settings(settings))
        };
        let nodes = hosts.split(',').map(node).collect::<Result<Vec<ConnectionInfo>, Error>>()?;
        let user = nodes.first().and_then(|node| node.redis_settings().username()).unwrap_or("default");
        let user = user.to_owned();
        Ok(Self { nodes, is_cluster, endpoint: hosts.to_owned(), user })
    }
}

fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), Error> {
    let check = || match value {
        "require" => Ok(Check::Require),
        "warn" => Ok(Check::Warn),
        "ignore" => Ok(Check::Ignore),
        _ => Err(invalid(&format!("`{name}` must be `require`, `warn` or `ignore`"))),
    };
    match name {
        "prefix" => value.clone_into(&mut settings.prefix),
        "persistence" => settings.persistence = check()?,
        "eviction" => settings.eviction = check()?,
        "role" => settings.role = check()?,
        _ => {
            return Err(invalid(
                "unknown setting in the query; the settings are prefix=NAME, and persistence, eviction and role, each \
                 with require, warn or ignore",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn p11_no_error_and_no_debug_shows_a_password() {
        let mut settings = Settings::default();
        for url in [
            "redis://user:secret@host:99999/x",
            "redis://:secret@/",
            "http://:secret@host",
            "redis://:secret@h?x=secret",
        ] {
            match Address::parse(url, &mut settings) {
                Err(error) => assert!(!error.to_string().contains("secret"), "{error}"),
                Ok(address) => assert!(!format!("{address:?}").contains("secret"), "{address:?}"),
            }
        }
        let address =
            Address::parse("redis://user:secret@host:7000/3?prefix=app&role=warn", &mut settings).unwrap();
        assert_eq!(format!("{address:?}"), "Address(\"host:7000/3\")");
        assert_eq!((&*settings.prefix, settings.role), ("app", Check::Warn));
        assert_eq!(address.nodes[0].redis_settings().db(), 3);
    }

    /// Regression: the last of two contradictory settings was used, and a setting without a name or
    /// a value was ignored.
    #[test]
    fn p12_contradictory_and_empty_settings_are_refused_with_their_name() {
        for (query, part) in [
            ("prefix=a&prefix=b", "`prefix` is set more than once"),
            ("prefix=a&role=warn&prefix=a", "`prefix` is set more than once"),
            ("role=require&role=ignore", "`role` is set more than once"),
            ("role=", "`role` must be `require`, `warn` or `ignore`"),
            ("eviction", "`eviction` must be `require`, `warn` or `ignore`"),
            ("prefix=a&", "unknown setting"),
            ("&prefix=a", "unknown setting"),
            ("Prefix=a", "unknown setting"),
        ] {
            let parsed = Address::parse(&format!("redis://h/0?{query}"), &mut Settings::default());
            let error = parsed.unwrap_err().to_string();
            assert!(error.contains(part), "{query}: {error}");
        }
        assert!(Address::parse("redis://h/0?", &mut Settings::default()).is_ok());
    }

    #[test]
    fn a_cluster_url_lists_several_nodes() {
        let address = Address::parse("redis+cluster://u:p@a:1,b:2,c:3", &mut Settings::default()).unwrap();
        assert!(address.is_cluster && address.nodes.len() == 3);
        assert!(Address::parse("redis://a:1,b:2", &mut Settings::default()).is_err());
    }
}
