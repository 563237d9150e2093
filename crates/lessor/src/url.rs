//! Parses the URLs of stores. Ambiguous parts and parts without an effect are refused, and the
//! error names them.

use std::fmt;
#[cfg(feature = "file")]
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use lessor_core::{Error, Store};

/// The place of a store, parsed from a URL. [`open`](crate::open) lists the forms of the URL.
///
/// A program that offers more for one kind of store than for the others parses the URL itself.
/// Parsing does not access the store. `Debug` shows no password.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "file")] {
/// use lessor::StoreUrl;
///
/// let url: StoreUrl = "file:./leases?sync=process".parse()?;
/// assert!(matches!(url, StoreUrl::File { folder, .. } if folder.ends_with("leases")));
/// # }
/// # Ok::<(), lessor::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// The memory of this process.
    #[cfg(feature = "memory")]
    Memory,
    /// A log in a folder.
    #[cfg(feature = "file")]
    #[non_exhaustive]
    File {
        /// The folder.
        folder: PathBuf,
        /// The settings of the store, which may be changed before it is opened.
        settings: lessor_file::Settings,
    },
    /// A Redis server or cluster, with its URL, which may contain a password.
    #[cfg(feature = "redis")]
    Redis(String),
}

impl StoreUrl {
    /// Opens the store.
    ///
    /// # Errors
    ///
    /// The errors of [`open`](crate::open).
    pub fn open(&self) -> Result<Arc<dyn Store>, Error> {
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory => Ok(Arc::new(lessor_memory::MemoryStore::new())),
            #[cfg(feature = "file")]
            Self::File { ref folder, ref settings } => {
                Ok(Arc::new(lessor_file::FileStore::builder().settings(settings.clone()).open(folder)?))
            }
            #[cfg(feature = "redis")]
            Self::Redis(ref url) => Ok(Arc::new(lessor_redis::RedisStore::open(url)?)),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = Error;

    /// Parses a URL. The URL of a Redis server is checked when it is opened.
    fn from_str(url: &str) -> Result<Self, Error> {
        check(url)?;
        let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
        match (scheme, rest) {
            #[cfg(feature = "file")]
            ("file", _) => {
                let file::FileUrl { folder, settings } = file::parse(rest)?;
                Ok(Self::File { folder, settings })
            }
            #[cfg(feature = "memory")]
            ("memory", "") => Ok(Self::Memory),
            #[cfg(feature = "memory")]
            ("memory", _) => Err(invalid("the in-memory store takes no arguments; write `memory:`")),
            #[cfg(feature = "redis")]
            ("redis" | "rediss" | "redis+cluster" | "rediss+cluster", _) => Ok(Self::Redis(url.to_owned())),
            // The rest of the URL may contain a password, so the message does not quote it.
            _ => {
                let reason = format!("there is no store for the scheme {scheme:?}; supported are: {KNOWN}");
                Err(invalid(reason))
            }
        }
    }
}

impl fmt::Debug for StoreUrl {
    #[allow(unused_variables, reason = "without any store there is nothing to show")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            #[cfg(feature = "memory")]
            Self::Memory => f.write_str("Memory"),
            #[cfg(feature = "file")]
            Self::File { ref folder, ref settings } => {
                f.debug_struct("File").field("folder", folder).field("settings", settings).finish()
            }
            #[cfg(feature = "redis")]
            Self::Redis(_) => f.write_str("Redis"),
        }
    }
}

const KNOWN: &str = match (cfg!(feature = "memory"), cfg!(feature = "file"), cfg!(feature = "redis")) {
    (true, true, true) => "file:FOLDER, redis://HOST and memory:",
    (true, true, false) => "file:FOLDER and memory:, and redis://HOST with the feature `redis`",
    (true, false, true) => "redis://HOST and memory:",
    (false, true, true) => "file:FOLDER and redis://HOST",
    (true, false, false) => "memory:",
    (false, true, false) => "file:FOLDER",
    (false, false, true) => "redis://HOST",
    (false, false, false) => "none, because no store's feature is enabled",
};

fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid("store URL", reason)
}

/// Refuses characters that no URL contains. The text may contain a password, so the error does not
/// quote it.
fn check(url: &str) -> Result<(), Error> {
    if url.trim() != url || url.chars().any(char::is_control) {
        return Err(invalid(
            "it begins or ends with a space, or contains a line break or another control character; remove it",
        ));
    }
    Ok(())
}

#[cfg(feature = "file")]
mod file {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Component, Path, PathBuf};

    use super::invalid;
    use lessor_core::Error;
    use lessor_file as file;

    /// The part of a URL after `file:`.
    #[derive(Debug)]
    pub(super) struct FileUrl {
        pub(super) folder: PathBuf,
        pub(super) settings: file::Settings,
    }

    const KNOWN: &str = "write sync=disk or sync=process";

    /// Parses a folder, and optional settings after a `?`.
    pub(super) fn parse(rest: &str) -> Result<FileUrl, Error> {
        if rest.contains('#') {
            return Err(invalid("it contains `#`, which has no meaning here; write %23 for `#` in a name"));
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(FileUrl { folder: folder(path)?, settings: settings(query)? })
    }

    fn folder(text: &str) -> Result<PathBuf, Error> {
        // Accepts `file:///var/lib/app`, `file:/var/lib/app` and `file:leases`.
        let path = match text.strip_prefix("//") {
            Some(path) if path.is_empty() || path.starts_with('/') => path,
            Some(path) => {
                return Err(invalid(format!(
                    "it names a host after `//`, but the file store is always on this machine; write `file:{path}`, or \
                     `file:///` and an absolute path"
                )));
            }
            None => text,
        };
        if path.is_empty() {
            return Err(invalid("the file store needs a folder; write for example `file:./leases`"));
        }
        if path.starts_with('~') {
            return Err(invalid(format!(
                "{path:?} begins with `~`, which only a shell replaces by the home folder; write the full path, such as \
                 `file:/home/NAME/leases`, or `file:./{path}` for a folder with that name"
            )));
        }
        let folder = PathBuf::from(OsString::from_vec(decode(path)?));
        if is_root(&folder) {
            return Err(invalid(
                "it names the root of the file system; write a folder below it, such as `file:/var/lib/app/leases`",
            ));
        }
        Ok(folder)
    }

    fn is_root(folder: &Path) -> bool {
        folder.has_root() && !folder.components().any(|part| matches!(part, Component::Normal(_)))
    }

    fn settings(query: &str) -> Result<file::Settings, Error> {
        let mut sync = None;
        for pair in query.split('&').filter(|_| !query.is_empty()) {
            let unknown = || invalid(format!("{pair:?} is not a setting of the file store; {KNOWN}"));
            let (name, value) = pair.split_once('=').ok_or_else(unknown)?;
            let value = match (name, &*decode(value)?) {
                ("sync", b"disk") => file::SyncMode::Disk,
                ("sync", b"process") => file::SyncMode::Process,
                _ => return Err(unknown()),
            };
            if sync.replace(value).is_some() {
                return Err(invalid(format!("`{name}` is set more than once; {KNOWN}, once")));
            }
        }
        let mut settings = file::Settings::default();
        settings.sync = sync.unwrap_or(settings.sync);
        Ok(settings)
    }

    /// Replaces each `%` and two hexadecimal digits by their byte.
    fn decode(text: &str) -> Result<Vec<u8>, Error> {
        let mut parts = text.split('%');
        let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
        for part in parts {
            let digits = part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
            let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            match byte {
                Some(byte) if byte != 0 => bytes.push(byte),
                _ => {
                    return Err(invalid(format!(
                        "in {text:?} a `%` is not followed by two hexadecimal digits of a nonzero byte; write %25 for a \
                         percent sign"
                    )));
                }
            }
            bytes.extend_from_slice(part.get(2..).unwrap_or_default().as_bytes());
        }
        Ok(bytes)
    }

    #[cfg(test)]
    mod tests {
        use std::os::unix::ffi::OsStrExt;

        use super::*;

        #[test]
        fn p12_a_path_is_decoded_byte_by_byte_or_refused() {
            for (text, bytes) in [
                ("a%20b", &b"a b"[..]),
                ("a%3Fb%23c", b"a?b#c"),
                ("%25", b"%"),
                ("%7e/x", b"~/x"),
                ("%FFx", b"\xffx"),
                ("ä%C3%A4", "ää".as_bytes()),
            ] {
                assert_eq!(parse(text).unwrap().folder.as_os_str().as_bytes(), bytes, "{text}");
            }
            for text in ["%", "a%", "a%2", "a%zz", "a%+1", "a%%", "a%2ä", "a%00", "a%-1b", "ä%ä"] {
                let error = parse(text).unwrap_err().to_string();
                assert!(error.contains("%25"), "{text}: {error}");
            }
        }
    }
}
