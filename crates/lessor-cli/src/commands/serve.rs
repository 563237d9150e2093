//! `lessor serve`.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use lessor::Settings;
use lessor_http::{Config, ServeError, serve, serve_tls, tls_config};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Code;
use crate::output::Shown;
use crate::place::Global;
use crate::problem::Problem;

/// Serve the leases of the store over HTTP
///
/// Clients of the hosted lease API work unchanged: give them the address that is printed. On TERM and
/// INT, the requests under way are answered before the server ends.
#[derive(Debug, Args)]
#[command(after_long_help = CONFIG)]
pub(crate) struct Serve {
    /// The address to listen on. Port 0 chooses a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8787")]
    listen: SocketAddr,
    /// A TOML file with namespaces, their keys and quotas. Without keys, any key is taken, which is
    /// allowed on a loopback address only
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The certificate chain for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The private key for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

/// An example of a file, for the help.
const CONFIG: &str = r#"A file for --config:

    healthz = true                        # GET /healthz replies
    metrics = true                        # GET /metrics replies

    [namespaces.shop]
    quota = { ai = 3000 }                 # grants per month
    limits = { default_ttl = "10m", max_ttl = "24h" }

    [[namespaces.shop.keys]]
    sha256 = "HASH"                       # printf %s KEY | sha256sum
    operator = true                       # may forget and resolve keys"#;

#[derive(Debug, Serialize)]
struct Listening {
    listening: String,
}

impl Serve {
    pub(crate) fn run(&self, global: &Global) -> Result<Code, Problem> {
        let config = match &self.config {
            None => Config::new(),
            Some(file) => {
                let text = String::from_utf8(read(file)?).map_err(|_| refused(file, "it is not UTF-8"))?;
                Config::from_toml(&text).map_err(|error| refused(file, error))?
            }
        };
        let tls = match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), Some(key)) => Some(
                tls_config(&read(certificate)?, &read(key)?).map_err(|error| refused(certificate, error))?,
            ),
            _ => None,
        };
        let engine = global.place()?.whole("serve")?.open(Settings::default())?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            // Before the address is printed, so that a signal after it ends the server orderly.
            let (mut terminate, mut interrupt) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let shutdown = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            let listener = TcpListener::bind(self.listen).await.map_err(|error| {
                Problem::new(Code::Usage, format!("{} cannot be listened on: {error}", self.listen))
            })?;
            let scheme = if tls.is_some() { "https" } else { "http" };
            let listening = format!("{scheme}://{}", listener.local_addr()?);
            global.output().show(&Listening { listening })?;
            match tls {
                None => serve(listener, &engine, &config, shutdown).await,
                Some(tls) => serve_tls(listener, tls, &engine, &config, shutdown).await,
            }
            .map_err(|error| match error {
                ServeError::Config(error) => Problem::new(Code::Usage, error.to_string()),
                error => Problem::new(Code::Error, error.to_string()),
            })
        })?;
        Ok(Code::Done)
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error| refused(file, error))
}

fn refused(file: &Path, reason: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Usage, format!("{}: {reason}", file.display()))
}

impl Shown for Listening {
    fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "listening on {}", self.listening)
    }
}
