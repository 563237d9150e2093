//! TLS for the served form.

use std::future::Future;
use std::sync::Arc;

use lessor_core::Engine;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::accept::{ServeError, accept, router_for};
use crate::config::Config;

/// The reason for which a certificate or its key is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The text is not PEM, or has no certificate.
    #[error("the certificate chain is not PEM; give certificates, the server's first")]
    Certificates,
    /// The text is not PEM, or has no private key.
    #[error("the private key is not PEM; give one PKCS#8, PKCS#1 or SEC1 key")]
    Key,
    /// The certificate and the key are refused.
    #[error("the certificate and its key are refused")]
    Refused(#[source] rustls::Error),
}

/// Returns settings of TLS with this chain of certificates and private key, both in PEM.
///
/// # Errors
///
/// A [`TlsError`] if one of them cannot be used. It contains nothing of the key.
pub fn tls_config(certificates: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Certificates)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    Ok(Arc::new(config.map_err(TlsError::Refused)?))
}

/// Serves the HTTP API like [`serve`](crate::serve()), with TLS.
///
/// # Errors
///
/// Those of [`serve`](crate::serve()).
///
/// # Cancellation safety
///
/// Dropping the future closes all connections immediately.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    engine: &Engine,
    config: &Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let router = router_for(&listener, engine, config)?;
    let acceptor = TlsAcceptor::from(tls);
    let prepare = move |stream| {
        let handshake = acceptor.accept(stream);
        async move { handshake.await.ok() }
    };
    accept(listener, router, config, shutdown, prepare).await;
    Ok(())
}
