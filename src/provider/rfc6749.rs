//! Servers that keep to RFC 6749 and what was added to it: one request for a token.

use super::{
    Answer, Exchange, Grant, answer,
    client_auth::Asking,
    dpop::Nonces,
    line::{Line, Told, local},
    request::{Ask, Besides, Form},
};
use crate::{
    domain::{
        failure::{Class, Failure},
        profile::Offer,
    },
    egress::Outgoing,
};

pub(super) async fn exchange(
    line: &Line,
    nonces: &Nonces,
    exchange: &Exchange<'_>,
    asking: &Asking<'_>,
) -> Result<Answer, Failure> {
    let profile = exchange.profile;
    if exchange.dpop.is_none() && profile.dpop == Offer::Required {
        let why =
            "provider binds all tokens to a key and this connection has none: create the connection again";
        return Err(local(Class::Configuration, why));
    }
    let alias = profile.mtls_endpoint_aliases.token_endpoint.as_ref();
    let Some(endpoint) = asking.endpoint(profile.token_endpoint.as_ref(), alias) else {
        return Err(local(Class::Configuration, "provider profile has no token endpoint"));
    };
    let assertion = if let Grant::JwtSubject { subject } = exchange.grant {
        Some(asking.assertion(exchange.client, subject, endpoint)?)
    } else {
        None
    };
    let signed = assertion.as_ref().map(|assertion| Ask::JwtBearer { assertion });
    let Some(ask) = signed.or_else(|| exchange.grant.standard()) else {
        return Err(local(Class::Configuration, "provider does not know this grant"));
    };
    let besides = Besides::from(exchange);
    let form = || Form::token(&ask, besides);
    let told = sent(line, nonces, exchange, asking.request(endpoint, form())?).await?;
    // RFC 9449 §8: the server did not process the request. Once: a server that never has enough is not humoured.
    let told = match &told.response.dpop_nonce {
        Some(_) if told.response.wants_nonce() && exchange.dpop.is_some() => {
            sent(line, nonces, exchange, asking.request(endpoint, form())?).await?
        }
        Some(_) | None => told,
    };
    let correlation_id = told.response.correlation_id.clone();
    match told.response.granted() {
        Ok(fields) => Ok(answer::judged(exchange, fields, told.sent_at, correlation_id)),
        Err(evidence) => Err(answer::failure(exchange, &evidence, correlation_id.as_deref())),
    }
}

/// One request with its proof, if there is a key; remembers what the server wants in the next one.
async fn sent(
    line: &Line,
    nonces: &Nonces,
    exchange: &Exchange<'_>,
    mut request: Outgoing,
) -> Result<Told, Failure> {
    let server = request.url.clone();
    if let Some(key) = exchange.dpop {
        nonces
            .put_proof(&mut request, key, line.clock.now())
            .map_err(|_| local(Class::Configuration, "proof of the connection's key could not be signed"))?;
    }
    let told = line
        .send(exchange.profile, request)
        .await
        .map_err(|evidence| answer::failure(exchange, &evidence, None))?;
    if let Some(nonce) = told.response.dpop_nonce.as_deref().filter(|_| exchange.dpop.is_some()) {
        nonces.keep(&server, nonce);
    }
    Ok(told)
}

#[cfg(test)]
#[path = "rfc6749_tests.rs"]
mod tests;
