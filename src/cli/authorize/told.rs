//! What was granted, for people.

use crate::{
    api::{Connection, principal::Kind},
    cli::{
        table::{aligned, plain},
        times,
    },
};
use prost_types::Timestamp;

/// A headline and a line for each thing that is known.
pub(super) fn granted(connection: &Connection, now: &Timestamp) -> String {
    let mut lines = Vec::new();
    let mut line = |key: &str, value: String| lines.push(vec![format!("  {key}"), value]);
    if let Some(principal) = &connection.principal {
        let kind = match principal.kind() {
            Kind::User => "user",
            Kind::Company => "company",
            Kind::App => "the client itself",
            Kind::Unspecified => "",
        };
        line("on behalf of", format!("{kind} {}", plain(&principal.id)).trim().to_owned());
    }
    line("scopes", scopes(connection));
    if !connection.api_base_url.is_empty() {
        line("API base URL", plain(&connection.api_base_url));
    }
    let expiry = |at: &Timestamp| format!("expires {} ({at})", times::relative(at, now));
    match &connection.refresh_token_expire_time {
        Some(at) => line("refresh token", expiry(at)),
        None => line("refresh token", "no expiry known".into()),
    }
    if let Some(at) = &connection.access_token_expire_time {
        line("access token", expiry(at));
    }
    if let Some(at) = &connection.next_refresh_time {
        line("next refresh", times::relative(at, now));
    }
    format!("{} is authorized\n{}", plain(&connection.name), aligned(lines))
}

/// What was granted, and what was asked for beside it.
fn scopes(connection: &Connection) -> String {
    let listed = |scopes: Vec<&String>| scopes.into_iter().map(|s| plain(s)).collect::<Vec<_>>().join(" ");
    let (granted, asked) = (&connection.scopes, &connection.requested_scopes);
    let missing: Vec<_> = asked.iter().filter(|scope| !granted.contains(scope)).collect();
    match (granted.is_empty(), missing.is_empty()) {
        (true, _) => "the provider did not say which".into(),
        (false, true) => listed(granted.iter().collect()),
        (false, false) => {
            let granted = listed(granted.iter().collect());
            format!("{granted} (asked for and not granted: {})", listed(missing))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Principal;

    #[test]
    fn what_was_granted_is_told_beside_what_was_asked_for() {
        let now = Timestamp { seconds: 1_800_000_000, nanos: 0 };
        let at = |seconds: i64| Some(Timestamp { seconds: now.seconds + seconds, nanos: 0 });
        let connection = Connection {
            name: "tenants/demo/connections/travel".into(),
            principal: Some(Principal { kind: Kind::User.into(), id: "u-1\u{1b}".into() }),
            scopes: vec!["openid".into(), "user.read".into()],
            requested_scopes: vec!["user.read".into(), "expense.write".into()],
            api_base_url: "https://us2.example.com".into(),
            refresh_token_expire_time: at(180 * 86_400),
            access_token_expire_time: at(3600),
            next_refresh_time: at(2700),
            ..Connection::default()
        };
        let want = "\
tenants/demo/connections/travel is authorized
  on behalf of   user u-1\u{fffd}
  scopes         openid user.read (asked for and not granted: expense.write)
  API base URL   https://us2.example.com
  refresh token  expires in 180 d (2027-07-14T08:00:00Z)
  access token   expires in 60 min (2027-01-15T09:00:00Z)
  next refresh   in 45 min
";
        assert_eq!(granted(&connection, &now), want);
        let bare = granted(&Connection { name: "n".into(), ..Connection::default() }, &now);
        let want = "n is authorized\n  scopes         the provider did not say which\n  refresh token  no expiry known\n";
        assert_eq!(bare, want);
    }
}
