//! Connecting to a server and authenticating.

use std::sync::Arc;

use lessor_core::StoreError;
use redis::{Client, ConnectionInfo, PushInfo, RedisConnectionInfo, RedisError, cmd};

use super::context::ConnectionContext;
use crate::protocol::errors::{Effect, RequestInfo, classify, client_cause, is_denied};
use crate::transport::connection::Connection;

/// Classifies an error that occurred before any request of the store was sent.
pub(crate) fn connect_error(error: &RedisError, request: RequestInfo<'_>) -> StoreError {
    let endpoint = request.endpoint;
    if error.code().is_some() {
        return classify(error, request, Effect::Read).error;
    }
    if error.kind() == redis::ErrorKind::AuthenticationFailed {
        let reason = format!("{endpoint} rejects the user or the password");
        return StoreError::misconfigured(reason);
    }
    StoreError::Unavailable(client_cause(format_args!("no connection to {endpoint}"), error))
}

/// Connects and authenticates, without checking the server. `on_disconnect` is called when the
/// connection is closed.
pub(crate) async fn connect(
    context: &ConnectionContext,
    node: ConnectionInfo,
    endpoint: &str,
    on_disconnect: impl Fn() + Send + Sync + 'static,
) -> Result<Connection, StoreError> {
    let invalidation = Arc::clone(&context.invalidation);
    let login = node.redis_settings().clone();
    #[cfg(feature = "tls")]
    let client = match &context.certificates {
        Some(certificates) => Client::build_with_tls(node, certificates.clone()),
        None => Client::open(node),
    };
    #[cfg(not(feature = "tls"))]
    let client = Client::open(node);
    let connect_error = |error: RedisError| match error.to_string().contains("switch database") {
        true => no_database(endpoint, login.db(), "the server does not say why"),
        false => connect_error(&error, context.request_info(endpoint, "HELLO")),
    };
    let on_push = move |push: &PushInfo| invalidation.on_push(push);
    let runtime = context.runtime.clone();
    let connection = Connection::connect(
        client.map_err(connect_error)?,
        context.settings.deadline,
        runtime,
        context.notifier.clone(),
        on_push,
        on_disconnect,
    )
    .await;
    let mut connection = connection.map_err(connect_error)?;
    if connection.is_authenticated() {
        return Ok(connection);
    }
    log_in(context, endpoint, &login, &mut connection).await?;
    Ok(connection)
}

fn no_database(endpoint: &str, number: i64, message: &str) -> StoreError {
    let reason = format!(
        "{endpoint} has no database {number} ({message}); name one that it has at the end of the URL, or raise its setting `databases`. A \
         cluster has database 0 only"
    );
    StoreError::misconfigured(reason)
}

/// Authenticates and selects the database, as the client library does on its own connections.
async fn log_in(
    context: &ConnectionContext,
    endpoint: &str,
    login: &RedisConnectionInfo,
    connection: &mut Connection,
) -> Result<(), StoreError> {
    let mut hello = cmd("HELLO");
    hello.arg(3);
    if let Some(password) = login.password() {
        hello.arg("AUTH").arg(login.username().unwrap_or("default")).arg(password);
    }
    connection
        .send(&[&hello], || {})
        .await
        .map_err(|error| connect_error(&error, context.request_info(endpoint, "HELLO")))?;
    if login.db() != 0 {
        let selected = connection.send(&[cmd("SELECT").arg(login.db())], || {}).await;
        selected.map_err(|error| match error.code() {
            Some("ERR") if !is_denied(&error) => {
                no_database(endpoint, login.db(), error.detail().unwrap_or_default())
            }
            _ => connect_error(&error, context.request_info(endpoint, "SELECT")),
        })?;
    }
    Ok(())
}
