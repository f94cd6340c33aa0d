//! What the log says of an exchange that brought a token.

use crate::domain::{
    connection::{Connection, Token},
    lifecycle::running_out,
};
use std::time::Duration;

pub(super) fn told_of_success(connection: &Connection, correlation_id: Option<&str>) {
    let lifetime = connection.token.as_ref().map_or(Duration::ZERO, Token::lifetime);
    tracing::info!(
        connection = %connection.name,
        generation = connection.generation,
        lifetime_s = lifetime.as_secs(),
        next_refresh = connection.token.as_ref().map(|token| token.soft_at.to_string()),
        api_base_url = connection.api_base_url,
        correlation_id,
        "token refreshed"
    );
}

/// A refresh token whose end comes near in spite of refreshes: nobody but a person can do something about it.
pub(super) fn told_of_an_end(before: &Connection, after: &Connection) {
    let Some(left) = running_out(before, after) else { return };
    tracing::warn!(
        connection = %after.name,
        refresh_token_expires = after.refresh_expires_at.map(|at| at.to_string()),
        days_left = left.as_secs() / (24 * 3600),
        "refresh token runs out and refreshing does not prolong it; have the connection authorized again before it ends"
    );
}
