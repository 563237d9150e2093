//! Client-side caching: the server reports changes to the keys that this connection has read.

use redis::{Cmd, cmd};

use crate::transport::connection::Connection;

/// Enables tracking on a connection. Returns whether the server accepted it.
///
/// Changes made on the same connection are reported too (there is no `NOLOOP`): each of them ends
/// the tracking of its key, so a waiter has to read the key again.
pub(crate) async fn enable_tracking(endpoint: &str, connection: &mut Connection) -> bool {
    let mut tracking = cmd("CLIENT");
    tracking.arg("TRACKING").arg("ON").arg("OPTIN");
    let mut reply = connection.send(&[&tracking], || {}).await;
    if reply.is_ok() {
        // Each load sends this command first, where its refusal would go unnoticed.
        reply = connection.send(&[&client_caching()], || {}).await;
    }
    match reply {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(
                endpoint,
                reason = error.category(),
                "the server does not report changes; waiters poll instead"
            );
            false
        }
    }
}

/// Returns the command that makes the server track the keys read by the command that follows it.
pub(crate) fn client_caching() -> Cmd {
    let mut command = cmd("CLIENT");
    command.arg("CACHING").arg("YES");
    command
}
