//! The Redis store over TLS: authorities that are trusted, and certificates that clients show.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, StoreError};
use lessor_redis::{Opener, RedisStore};
use nodes::Cluster;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use support::Server;

#[path = "support/cluster.rs"]
mod nodes;
mod support;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        // What has the name of its authority counts as signed by itself.
        params.distinguished_name.push(DnType::CommonName, host);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// What a server has to be given on its command line, and the folder that holds what that names.
struct Files {
    options: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Files {
    fn new(authority: &Authority, host: &str, clients: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.sign(host);
        let mut options = vec!["--tls-auth-clients".to_owned(), clients.to_owned()];
        for (option, content) in [
            ("--tls-cert-file", &certificate),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &authority.pem),
        ] {
            let path = folder.path().join(option.trim_start_matches('-'));
            std::fs::write(&path, content).unwrap();
            options.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
        }
        Self { options, _folder: folder }
    }

    /// A server, and the port on which it speaks TLS.
    fn start(&self) -> (Server, u16) {
        let port = support::free_port();
        let tls_port = port.to_string();
        let mut options = vec!["--tls-port", &tls_port];
        options.extend(self.options.iter().map(String::as_str));
        (Server::start(&options), port)
    }
}

fn opener() -> Opener {
    let mut settings = support::settings("tls");
    settings.deadline = Duration::from_secs(10);
    Opener::new().settings(settings)
}

fn url(port: u16) -> String {
    format!("rediss://127.0.0.1:{port}")
}

/// A lease that is acquired, extended, completed and replayed.
fn work(store: RedisStore, keys: usize) {
    let engine = Engine::new(Arc::new(store)).unwrap();
    for key in (0..keys).map(|number| format!("key {number}")) {
        let acquired = engine.acquire(&key).wait().unwrap();
        let Acquisition::Acquired(lease) = acquired else { panic!("{acquired:?}") };
        assert!(matches!(engine.acquire(&key).wait().unwrap(), Acquisition::InProgress(_)));
        lease.extend(Duration::from_secs(100)).wait().unwrap();
        lease.complete_bytes(b"done").wait().unwrap();
        assert!(matches!(engine.acquire(&key).wait().unwrap(), Acquisition::Completed(_)));
    }
    assert!(engine.close(Duration::from_secs(60)).wait().unwrap().is_complete());
}

fn refused(opened: Result<RedisStore, Error>) -> String {
    match opened {
        Err(Error::Store(StoreError::Unavailable { reason })) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_of_a_trusted_authority_is_used() {
    if !support::is_there() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "no");
    let (_server, port) = files.start();
    work(opener().trust(&*authority.pem).open(&url(port)).unwrap(), 3);
}

#[test]
fn a_server_whose_authority_is_not_trusted_is_refused_by_a_clear_error() {
    if !support::is_there() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "no");
    let (_server, port) = files.start();
    for opener in [opener(), opener().trust(Authority::new().pem)] {
        let reason = refused(opener.open(&url(port)));
        assert!(reason.contains("certificate is not trusted"), "{reason}");
    }
}

#[test]
fn a_server_whose_certificate_is_another_host_s_is_refused_by_a_clear_error() {
    if !support::is_there() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "other.example", "no");
    let (_server, port) = files.start();
    let reason = refused(opener().trust(&*authority.pem).open(&url(port)));
    assert!(reason.contains("certificate is not trusted"), "{reason}");
}

#[test]
fn a_server_that_asks_for_a_certificate_is_shown_one() {
    if !support::is_there() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "yes");
    let (_server, port) = files.start();
    let (certificate, key) = authority.sign("client");
    let open = |opener: Opener| opener.trust(&*authority.pem).open(&url(port));
    work(open(opener().identity(certificate, key)).unwrap(), 3);
    let reason = refused(open(opener()));
    assert!(reason.contains("TLS"), "{reason}");
    let (certificate, key) = Authority::new().sign("client");
    let reason = refused(open(opener().identity(certificate, key)));
    assert!(reason.contains("TLS"), "{reason}");
}

#[test]
fn a_server_that_does_not_speak_tls_is_refused() {
    if !support::is_there() {
        return;
    }
    let server = Server::volatile();
    // It waits for the rest of what it takes for a command.
    let mut settings = support::settings("tls");
    settings.deadline = Duration::from_millis(500);
    refused(opener().settings(settings).trust(Authority::new().pem).open(&url(server.port)));
}

#[test]
fn p12_what_is_no_certificate_is_an_error_that_does_not_show_it() {
    if !support::is_there() {
        return;
    }
    let server = Server::volatile();
    let garbage = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
    for opener in [opener().trust(garbage), opener().identity(garbage, garbage), opener().trust("")] {
        assert!(!format!("{opener:?}").contains("secret"));
        let mut settings = support::settings("tls");
        settings.deadline = Duration::from_millis(500);
        let error = opener.settings(settings).open(&url(server.port)).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn every_node_of_a_cluster_is_spoken_to_over_tls() {
    if !support::is_there() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "yes");
    let (certificate, key) = authority.sign("client");
    let (cluster, ports) = Cluster::start_with_tls(&files.options);
    let url = format!("rediss+cluster://127.0.0.1:{}", ports[0]);
    let open = || opener().trust(&*authority.pem).identity(&*certificate, &*key).open(&url).unwrap();
    work(open(), 20);
    for node in 0..nodes::NODES {
        assert!(cluster.size(node) > 0);
    }
}
