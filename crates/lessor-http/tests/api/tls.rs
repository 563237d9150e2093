//! The server with TLS.

use std::sync::Arc;

use lessor_http::{TlsError, serve_tls, tls_config};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

use crate::server::{Server, shop};

#[tokio::test]
async fn a_client_reads_a_reply_over_tls() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = tls_config(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let engine = Server::new().engine;
    tokio::spawn(async move { serve_tls(listener, tls, &engine, &shop(), std::future::pending()).await });

    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await.unwrap();
    let request = "GET /v1/me HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer key-shop\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"namespace\":\"shop\""), "{reply}");
}

#[test]
fn a_certificate_or_key_that_cannot_be_used_is_refused() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    assert!(matches!(tls_config(b"", key.as_bytes()), Err(TlsError::Certificates)));
    assert!(matches!(tls_config(certificate.as_bytes(), b"secret"), Err(TlsError::Key)));
    let error = tls_config(certificate.as_bytes(), other.signing_key.serialize_pem().as_bytes()).unwrap_err();
    assert!(matches!(error, TlsError::Refused(_)));
}
