//! Parses the URLs of stores. Ambiguous parts and parts without an effect are refused, and the
//! error names them.

use lessor_core::Error;

pub(crate) fn invalid(reason: impl Into<String>) -> Error {
    Error::invalid("store URL", reason)
}

/// Refuses characters that no URL contains. The text may contain a password, so the error does not
/// quote it.
pub(crate) fn check(url: &str) -> Result<(), Error> {
    if url.trim() != url || url.chars().any(char::is_control) {
        return Err(invalid(
            "it begins or ends with a space, or contains a line break or another control character; remove it",
        ));
    }
    Ok(())
}

#[cfg(feature = "file")]
pub(crate) use file::{FileUrl, parse};

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
    pub(crate) struct FileUrl {
        pub(crate) folder: PathBuf,
        pub(crate) settings: file::Settings,
    }

    const KNOWN: &str = "write sync=disk or sync=process";

    /// Parses a folder, and optional settings after a `?`.
    pub(crate) fn parse(rest: &str) -> Result<FileUrl, Error> {
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
