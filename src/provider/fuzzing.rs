//! Opens to `fuzz/` what reads the answers of foreign servers. Compiled with the feature `fuzzing` only; nothing of the
//! program calls it.

use super::{
    ClientIdentity, Exchange, Grant, Verdicts,
    answer::{self, Response},
    discovery::metadata::{Endpoint, Metadata},
    echo::Credentials,
};
use crate::{
    clock::Timestamp,
    domain::{
        failure::Failure,
        profile::{ClientAuth, Profile},
        token::{RefreshToken, Secret},
    },
    egress::{Outgoing, Reply},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::Duration;
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

/// When every answer comes in.
pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// What was made of a token response. In the clear, to be looked at.
#[derive(Debug)]
pub struct Told {
    /// The access token, and how long it lives.
    pub access: Result<(String, Duration), Failure>,
    pub refresh_token: Option<String>,
    pub correlation_id: Option<String>,
}

/// A refresh at a server of this profile, with `sent` as the refresh token, which answers with these bytes.
pub fn token_answer(
    profile: &Profile,
    sent: &str,
    status: u16,
    headers: &[(&'static str, &[u8])],
    body: &[u8],
) -> Told {
    let client = ClientIdentity {
        client_id: "client".to_owned(),
        auth: ClientAuth::None,
        credentials: Vec::new(),
        verdicts: Verdicts::default(),
    };
    let grant = Grant::RefreshToken(RefreshToken(Secret::new(sent)));
    let exchange = Exchange {
        profile,
        client: &client,
        grant: &grant,
        scopes: &[],
        resources: &[],
        granted: &[],
        api_base_url: None,
        dpop: None,
        principal: None,
        correlation_id: Uuid::nil(),
    };
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            map.append(HeaderName::from_static(name), value);
        }
    }
    let form =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("refresh_token", sent).finish();
    let request = Outgoing {
        method: Method::POST,
        url: Url::parse("https://example.com/token").expect("an address"),
        headers: HeaderMap::new(),
        body: form.into_bytes(),
        presenting: None,
    };
    let reply = Reply { status, headers: map, body: Zeroizing::new(body.to_vec()) };
    let response = Response::read(&reply, &profile.quirks, Credentials::sent(&request), NOW);
    let correlation_id = response.correlation_id.clone();
    match response.granted() {
        Ok(fields) => {
            let answer = answer::judged(&exchange, fields, NOW, correlation_id.clone());
            Told {
                access: answer.access.map(|issued| {
                    (issued.access_token.0.expose().to_owned(), issued.issued_at.until(issued.expires_at))
                }),
                refresh_token: answer.refresh_token.map(|token| token.0.expose().to_owned()),
                correlation_id,
            }
        }
        Err(evidence) => Told {
            access: Err(answer::failure(&exchange, &evidence, correlation_id.as_deref())),
            refresh_token: None,
            correlation_id,
        },
    }
}

/// The addresses that a server's metadata gives, if it is taken at all.
pub fn metadata(body: &[u8], issuer: &str) -> Option<Vec<(Endpoint, Url)>> {
    Metadata::read(body, issuer).ok().map(|found| [found.endpoints, found.aliases].concat())
}
