//! The Redis store over TLS: trusted certificate authorities, and client certificates.
#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use lessor_core::{Acquisition, Engine, Error, StoreError};
use lessor_redis::{Builder, RedisStore};
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

    /// Returns a certificate and its key.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        // A certificate with its authority's name would count as self-signed.
        params.distinguished_name.push(DnType::CommonName, host);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// The command-line options of a server, and the folder of the files that they name.
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

    /// Starts a server. Returns it with its TLS port.
    fn start(&self) -> (Server, u16) {
        let port = support::free_port();
        let tls_port = port.to_string();
        let mut options = vec!["--tls-port", &tls_port];
        options.extend(self.options.iter().map(String::as_str));
        (Server::start(&options), port)
    }
}

fn builder() -> Builder {
    let mut settings = support::settings("tls");
    settings.deadline = Duration::from_secs(10);
    RedisStore::builder().settings(settings)
}

fn url(port: u16) -> String {
    format!("rediss://127.0.0.1:{port}")
}

/// Acquires, extends, completes and replays a lease.
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
        Err(Error::Store(StoreError::Unavailable(cause))) => cause.reason().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_with_a_trusted_certificate_is_used() {
    if !support::is_available() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "no");
    let (_server, port) = files.start();
    work(builder().trust(&*authority.pem).open(&url(port)).unwrap(), 3);
}

#[test]
fn a_server_with_an_untrusted_certificate_is_a_clear_error() {
    if !support::is_available() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "no");
    let (_server, port) = files.start();
    for builder in [builder(), builder().trust(Authority::new().pem)] {
        let reason = refused(builder.open(&url(port)));
        assert!(reason.contains("certificate is not trusted"), "{reason}");
    }
}

#[test]
fn a_certificate_of_another_host_is_a_clear_error() {
    if !support::is_available() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "other.example", "no");
    let (_server, port) = files.start();
    let reason = refused(builder().trust(&*authority.pem).open(&url(port)));
    assert!(reason.contains("certificate is not trusted"), "{reason}");
}

#[test]
fn a_client_certificate_is_presented_when_the_server_requires_one() {
    if !support::is_available() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "yes");
    let (_server, port) = files.start();
    let (certificate, key) = authority.sign("client");
    let open = |builder: Builder| builder.trust(&*authority.pem).open(&url(port));
    work(open(builder().identity(certificate, key)).unwrap(), 3);
    let reason = refused(open(builder()));
    assert!(reason.contains("TLS"), "{reason}");
    let (certificate, key) = Authority::new().sign("client");
    let reason = refused(open(builder().identity(certificate, key)));
    assert!(reason.contains("TLS"), "{reason}");
}

#[test]
fn a_server_without_tls_is_rejected() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    // The server waits for the rest of the bytes that it takes for a command.
    let mut settings = support::settings("tls");
    settings.deadline = Duration::from_millis(500);
    refused(builder().settings(settings).trust(Authority::new().pem).open(&url(server.port)));
}

#[test]
fn p12_an_invalid_certificate_is_an_error_that_does_not_show_it() {
    if !support::is_available() {
        return;
    }
    let server = Server::volatile();
    let garbage = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";
    for builder in [builder().trust(garbage), builder().identity(garbage, garbage), builder().trust("")] {
        assert!(!format!("{builder:?}").contains("secret"));
        let mut settings = support::settings("tls");
        settings.deadline = Duration::from_millis(500);
        let error = builder.settings(settings).open(&url(server.port)).unwrap_err();
        assert!(!format!("{error} {error:#} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn every_node_of_a_cluster_is_reached_over_tls() {
    if !support::is_available() {
        return;
    }
    let authority = Authority::new();
    let files = Files::new(&authority, "127.0.0.1", "yes");
    let (certificate, key) = authority.sign("client");
    let (cluster, ports) = Cluster::start_with_tls(&files.options);
    let url = format!("rediss+cluster://127.0.0.1:{}", ports[0]);
    let open = || builder().trust(&*authority.pem).identity(&*certificate, &*key).open(&url).unwrap();
    work(open(), 20);
    for node in 0..nodes::NODES {
        assert!(cluster.size(node) > 0);
    }
}
