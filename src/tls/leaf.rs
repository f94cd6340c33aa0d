//! Who a client certificate says its holder is: the leaf alone, as a pure function. Whether anybody vouches for it is
//! decided elsewhere, by the anchors that this names.

use crate::{
    access::caller::Identity,
    clock::Timestamp,
    domain::spiffe::{SpiffeError, SpiffeId, TrustDomain},
};
use std::collections::BTreeSet;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// What a leaf claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub identity: Identity,
    /// Who has to vouch for it.
    pub anchor: Anchor,
    /// When the certificate ends.
    pub ends_at: Timestamp,
}

/// Which authorities may vouch for a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchor {
    /// Those of its own trust domain, and no others.
    TrustDomain(TrustDomain),
    /// Those of the ordinary PKI.
    Pki,
}

/// Why a leaf names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("client certificate cannot be read")]
    Unreadable,
    #[error("client certificate is that of an authority")]
    Authority,
    #[error("client certificate may not be used for signing (key usage digitalSignature)")]
    NotForSigning,
    #[error("client certificate may sign certificates or revocation lists")]
    SignsCertificates,
    #[error("client certificate is not for clients (extended key usage clientAuth)")]
    NotForClients,
    #[error("client certificate has a SPIFFE ID and another URI")]
    SeveralUris,
    #[error("client certificate has a URI that is no SPIFFE ID: it {0}")]
    NotSpiffe(#[from] SpiffeError),
    #[error("client certificate has a SPIFFE ID without a path")]
    NoPath,
    #[error("client certificate has neither a SPIFFE ID nor a name of identity.dns.names")]
    Nobody,
    #[error("client certificate has several names of identity.dns.names")]
    SeveralNames,
}

/// Reads the leaf's name. One with a URI of the scheme `spiffe`, however it is written, is an X.509-SVID and is held to
/// its rules (X509-SVID sections 2, 4 and 5.2); any other is known by the one of its DNS names that is in `names`.
pub fn claimed(der: &[u8], names: &BTreeSet<String>) -> Result<Claimed, LeafError> {
    let leaf = read(der)?;
    let ends_at = u64::try_from(leaf.validity().not_after.timestamp()).unwrap_or(0);
    let ends_at = Timestamp::from_secs(ends_at);
    let given = names_of(&leaf)?;
    if given.iter().filter_map(as_uri).any(is_spiffe) {
        purposes(&leaf, Usage::Required)?;
        let id = only_id(given)?;
        let anchor = Anchor::TrustDomain(id.trust_domain());
        return Ok(Claimed { identity: Identity::Spiffe(id.to_string()), anchor, ends_at });
    }
    purposes(&leaf, Usage::IfPresent)?;
    let known: BTreeSet<String> = given
        .iter()
        .filter_map(as_dns)
        .map(str::to_ascii_lowercase)
        .filter(|name| names.contains(name))
        .collect();
    let mut known = known.into_iter();
    match (known.next(), known.next()) {
        (Some(name), None) => Ok(Claimed { identity: Identity::Dns(name), anchor: Anchor::Pki, ends_at }),
        (None, _) => Err(LeafError::Nobody),
        (Some(_), Some(_)) => Err(LeafError::SeveralNames),
    }
}

/// The SPIFFE ID of a leaf that somebody else judges for what its key may do; `None` if it has none.
pub fn spiffe_id(der: &[u8]) -> Result<Option<SpiffeId>, LeafError> {
    let leaf = read(der)?;
    let given = names_of(&leaf)?;
    if given.iter().filter_map(as_uri).any(is_spiffe) { only_id(given).map(Some) } else { Ok(None) }
}

fn read(der: &[u8]) -> Result<X509Certificate<'_>, LeafError> {
    match X509Certificate::from_der(der) {
        Ok(([], leaf)) => Ok(leaf),
        Ok(_) | Err(_) => Err(LeafError::Unreadable),
    }
}

fn names_of<'l, 'd>(leaf: &'l X509Certificate<'d>) -> Result<&'l [GeneralName<'d>], LeafError> {
    let alternative = leaf.subject_alternative_name().map_err(|_| LeafError::Unreadable)?;
    let given = alternative.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    // A name that cannot be read might be a second URI.
    if given.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(LeafError::Unreadable);
    }
    Ok(given)
}

/// One URI and no other, with a path.
fn only_id(given: &[GeneralName<'_>]) -> Result<SpiffeId, LeafError> {
    let mut uris = given.iter().filter_map(as_uri);
    let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(LeafError::SeveralUris) };
    let id: SpiffeId = uri.parse()?;
    if id.path().is_empty() { Err(LeafError::NoPath) } else { Ok(id) }
}

/// Whether a leaf has to say what its key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Usage {
    Required,
    IfPresent,
}

fn purposes(leaf: &X509Certificate<'_>, usage: Usage) -> Result<(), LeafError> {
    let constraints = leaf.basic_constraints().map_err(|_| LeafError::Unreadable)?;
    if constraints.is_some_and(|extension| extension.value.ca) {
        return Err(LeafError::Authority);
    }
    match leaf.key_usage().map_err(|_| LeafError::Unreadable)? {
        Some(uses) if uses.value.key_cert_sign() || uses.value.crl_sign() => {
            return Err(LeafError::SignsCertificates);
        }
        Some(uses) if !uses.value.digital_signature() => return Err(LeafError::NotForSigning),
        None if usage == Usage::Required => return Err(LeafError::NotForSigning),
        Some(_) | None => {}
    }
    match leaf.extended_key_usage().map_err(|_| LeafError::Unreadable)? {
        Some(uses) if !uses.value.client_auth => Err(LeafError::NotForClients),
        Some(_) | None => Ok(()),
    }
}

fn as_uri<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::URI(uri) = name { Some(uri) } else { None }
}

fn as_dns<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    if let GeneralName::DNSName(name) = name { Some(name) } else { None }
}

/// The scheme in any case: what looks like a SPIFFE ID is judged as one.
fn is_spiffe(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("spiffe"))
}

#[cfg(test)]
#[path = "leaf_tests.rs"]
mod tests;
