//! Asks whether a refresh token is still good (RFC 7662), before one that may have been used up is sent again. Spends
//! nothing. Anything but a plain yes or no counts as no answer.

use super::{
    Question,
    client_auth::Asking,
    line::Line,
    request::{Forget, Form},
};
use crate::domain::{asking::Known, failure::Evidence, strict};
use http::header;
use serde_json::Value;

/// What one request came to.
pub(super) enum Told {
    Known(Known),
    /// Another secret of the client may do better.
    ClientRefused,
}

pub(super) async fn ask(line: &Line, question: &Question<'_>, asking: &Asking<'_>) -> Told {
    let profile = question.profile;
    let alias = profile.mtls_endpoint_aliases.introspection_endpoint.as_ref();
    let endpoint = asking.endpoint(profile.introspection_endpoint.as_ref(), alias);
    let Some(endpoint) = endpoint.filter(|_| profile.introspects()) else {
        return Told::Known(Known::Nothing);
    };
    // The form is that of a revocation: `token` and its kind (RFC 7662 §2.1, RFC 7009 §2.1).
    let form = Form::revocation(&Forget::RefreshToken(question.refresh_token));
    let Ok(request) = asking.request(endpoint, form) else {
        return Told::Known(Known::Nothing);
    };
    match line.fetch(profile, request).await {
        Ok(reply) if reply.status == 401 => Told::ClientRefused,
        Ok(reply) => {
            let kind = reply.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            Told::Known(read(reply.status, kind, &reply.body))
        }
        Err(
            Evidence::NotSent(_)
            | Evidence::Lost(_)
            | Evidence::HostRefused { .. }
            | Evidence::Redirected { .. }
            | Evidence::Unreadable { .. }
            | Evidence::Unusable(_)
            | Evidence::Refused(_),
        ) => Told::Known(Known::Nothing),
    }
}

/// RFC 7662 §2.2. Whether a grant is spent again hangs on this, so it is read strictly.
fn read(status: u16, kind: Option<&str>, body: &[u8]) -> Known {
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    let is_json = essence.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let active = strict::object(body).filter(|_| status == 200 && is_json);
    match active.as_ref().and_then(|members| members.get("active")) {
        Some(Value::Bool(true)) => Known::Active,
        Some(Value::Bool(false)) => Known::Inactive,
        Some(_) | None => Known::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::profile::{ClientAuth, Introspection, Profile},
        domain::token::{RefreshToken, Secret},
        provider::{
            Providers,
            rig::{self, FakeServer},
        },
    };

    const JSON: &str = "application/json";

    async fn asked(profile: &Profile, secrets: &[&str]) -> Known {
        let client = rig::client(ClientAuth::ClientSecretPost, secrets);
        let token = RefreshToken(Secret::new("r1"));
        let question = Question { profile, client: &client, refresh_token: &token };
        let providers: Providers = rig::providers();
        providers.ask(&question).await
    }

    fn profile(server: &FakeServer) -> Profile {
        let endpoint = url::Url::parse(&format!("{}/introspect", server.base)).unwrap();
        Profile {
            introspection: Introspection::Rfc7662,
            introspection_endpoint: Some(endpoint),
            ..rig::plain(server, "")
        }
    }

    #[tokio::test]
    async fn only_a_plain_word_of_the_server_counts() {
        let server = FakeServer::start().await;
        let profile = profile(&server);
        let deep = format!("{{\"active\":true,\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
        for (status, kind, body, want) in [
            (200, JSON, r#"{"active":true,"scope":"x"}"#, Known::Active),
            (200, "application/json; charset=utf-8", r#"{"active":true}"#, Known::Active),
            (200, JSON, r#"{"active":false}"#, Known::Inactive),
            (200, JSON, r#"{"active":"true"}"#, Known::Nothing),
            (200, JSON, r#"{"active":1}"#, Known::Nothing),
            (200, JSON, r#"{"active":null}"#, Known::Nothing),
            (200, JSON, "{}", Known::Nothing),
            (200, JSON, r#"{"active":false,"active":true}"#, Known::Nothing),
            (200, JSON, r#"[{"active":false}]"#, Known::Nothing),
            (200, JSON, "", Known::Nothing),
            (200, JSON, deep.as_str(), Known::Nothing),
            (200, "text/html", r#"{"active":false}"#, Known::Nothing),
            (200, "application/token-introspection+jwt", "e30.e30.", Known::Nothing),
            (201, JSON, r#"{"active":false}"#, Known::Nothing),
            (400, JSON, r#"{"active":false}"#, Known::Nothing),
            (403, JSON, r#"{"active":false}"#, Known::Nothing),
            (404, JSON, r#"{"active":false}"#, Known::Nothing),
            (302, JSON, r#"{"active":false}"#, Known::Nothing),
            (503, JSON, r#"{"active":false}"#, Known::Nothing),
        ] {
            server.then_with(status, &[("content-type", kind)], body);
            assert_eq!(asked(&profile, &["s"]).await, want, "{status} {kind} {body}");
        }
        let seen = &server.seen()[0];
        assert_eq!(seen.path, "/introspect");
        assert_eq!(seen.body, "token=r1&token_type_hint=refresh_token&client_id=client-1&client_secret=s");
    }

    #[tokio::test]
    async fn a_refused_client_asks_with_its_other_secret_and_then_knows_nothing() {
        let server = FakeServer::start().await;
        let profile = profile(&server);
        server.then(401, "").then(200, r#"{"active":true}"#);
        assert_eq!(asked(&profile, &["s1", "s2"]).await, Known::Active);
        server.then(401, "").then(401, "");
        assert_eq!(asked(&profile, &["s1", "s2"]).await, Known::Nothing);
        assert_eq!(
            asked(&Profile { introspection: Introspection::None, ..profile }, &["s"]).await,
            Known::Nothing
        );
        assert_eq!(server.seen().len(), 4);
    }
}
