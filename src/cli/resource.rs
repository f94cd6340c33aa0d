//! Which messages are shown, and the columns of their lists.

use super::message::Resource;
use crate::api;

impl Resource for api::Token {
    const TYPE: &str = "bursar.v1.Token";
    const COLUMNS: &[(&str, &str)] = &[];
}

impl Resource for api::Tenant {
    const TYPE: &str = "bursar.v1.Tenant";
    const COLUMNS: &[(&str, &str)] = &[
        ("NAME", "name"),
        ("DISPLAY NAME", "display_name"),
        ("CREATED", "create_time"),
        ("DELETED", "delete_time"),
        ("PURGE", "purge_time"),
    ];
}

impl Resource for api::Client {
    const TYPE: &str = "bursar.v1.Client";
    const COLUMNS: &[(&str, &str)] = &[
        ("NAME", "name"),
        ("PROVIDER", "provider"),
        ("CLIENT ID", "client_id"),
        ("ENVIRONMENT", "environment"),
        ("GRANTS", "allowed_grants"),
        ("SECRETS", "secrets.state"),
        ("HELD BECAUSE", "hold.reason"),
        ("HELD UNTIL", "hold.until"),
    ];
}

impl Resource for api::Connection {
    const TYPE: &str = "bursar.v1.Connection";
    const COLUMNS: &[(&str, &str)] = &[
        ("NAME", "name"),
        ("STATE", "state"),
        ("REASON", "state_reason.reason"),
        ("FAILED TRIES", "last_failure.attempts_since_success"),
        ("PROVIDER", "provider"),
        ("TOKEN EXPIRES", "access_token_expire_time"),
        ("NEXT REFRESH", "next_refresh_time"),
        ("LAST SUCCESS", "last_success_time"),
    ];
}

impl Resource for api::KeyChain {
    const TYPE: &str = "bursar.v1.KeyChain";
    const COLUMNS: &[(&str, &str)] = &[];
}

impl Resource for api::StartAuthorizationResponse {
    const TYPE: &str = "bursar.v1.StartAuthorizationResponse";
    const COLUMNS: &[(&str, &str)] = &[];
}

impl Resource for api::Provider {
    const TYPE: &str = "bursar.v1.Provider";
    const COLUMNS: &[(&str, &str)] = &[
        ("NAME", "name"),
        ("DISPLAY NAME", "display_name"),
        ("DIALECT", "dialect"),
        ("ROTATION", "rotation"),
        ("GRANTS", "grants"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::message::descriptor;
    use prost_reflect::Kind;

    fn check<R: Resource>() {
        for (heading, path) in R::COLUMNS {
            let mut message = Some(descriptor::<R>());
            for name in path.split('.') {
                let field = message.take().and_then(|message| message.get_field_by_name(name));
                let field = field.unwrap_or_else(|| panic!("{} {heading}: {path}", R::TYPE));
                if let Kind::Message(inner) = field.kind() {
                    message = Some(inner);
                }
            }
        }
    }

    #[test]
    fn every_column_is_a_field_of_its_message() {
        check::<api::Tenant>();
        check::<api::Client>();
        check::<api::Connection>();
        check::<api::Provider>();
    }
}
