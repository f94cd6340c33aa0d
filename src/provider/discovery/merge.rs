//! Puts what a server says of itself below what the profile says: written values win, and an address on a host that
//! nobody has approved is left out. The approval is the profile's `hosts`; the issuer's own host is approved by being
//! written down as `issuer`. That holds whenever the server changes its mind.

use super::metadata::{Endpoint, Metadata, Said};
use crate::domain::profile::{HostPattern, Offer, Profile, ResponseIss, Revocation};
use url::Url;

/// What DPoP proofs are signed with (RFC 9449 §5.1).
const DPOP_ALG: &str = "ES256";

/// A profile with its server's endpoints, and which of those were refused.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Merged {
    pub(super) profile: Profile,
    pub(super) refused: Vec<(Endpoint, String)>,
}

/// The profile, with the issuer's host among those that may be talked to.
pub(super) fn with_issuers_host(profile: &Profile) -> Profile {
    let mut profile = profile.clone();
    let own = profile.issuer.as_ref().and_then(|issuer| host_of(issuer.url()));
    if let Some(own) = own.filter(|own| !profile.hosts.contains(own)) {
        profile.hosts.push(own);
    }
    profile
}

pub(super) fn merged(profile: &Profile, metadata: &Metadata) -> Merged {
    let mut whole = Merged { profile: with_issuers_host(profile), refused: Vec::new() };
    for (endpoint, url) in &metadata.endpoints {
        whole.take(*endpoint, url);
    }
    for (endpoint, url) in &metadata.aliases {
        whole.take_alias(*endpoint, url);
    }
    let profile = &mut whole.profile;
    // What is announced is used to give grants back.
    if profile.revocation == Revocation::None && profile.revocation_endpoint.is_some() {
        profile.revocation = Revocation::Rfc7009;
    }
    match (metadata.response_iss, profile.response_iss) {
        (Said::Yes, ResponseIss::Unknown) => profile.response_iss = ResponseIss::Required,
        (Said::Yes | Said::No | Said::Nothing, _) => {}
    }
    match (metadata.pushed_required, profile.pushed_authorization) {
        (Said::Yes, _) => profile.pushed_authorization = Offer::Required,
        (Said::No | Said::Nothing, Offer::Never)
            if profile.pushed_authorization_request_endpoint.is_some() =>
        {
            profile.pushed_authorization = Offer::Offered;
        }
        (Said::No | Said::Nothing, Offer::Never | Offer::Offered | Offer::Required) => {}
    }
    let proofs = metadata.dpop_algs.iter().flatten().any(|alg| alg == DPOP_ALG);
    if proofs && profile.dpop == Offer::Never {
        profile.dpop = Offer::Offered;
    }
    whole
}

impl Merged {
    fn take(&mut self, endpoint: Endpoint, found: &Url) {
        let admitted = self.profile.admits(found);
        let place = place(&mut self.profile, endpoint);
        match (place.is_some(), admitted) {
            (true, _) => {}
            (false, true) => *place = Some(found.clone()),
            (false, false) => self.refused.push((endpoint, shown(found))),
        }
    }

    /// An alias that is refused leaves the plain endpoint in its place, which such clients may use as well.
    fn take_alias(&mut self, endpoint: Endpoint, found: &Url) {
        let admitted = self.profile.admits(found);
        let aliases = &mut self.profile.mtls_endpoint_aliases;
        let place = match endpoint {
            Endpoint::Token => &mut aliases.token_endpoint,
            Endpoint::DeviceAuthorization => &mut aliases.device_authorization_endpoint,
            Endpoint::PushedAuthorization => &mut aliases.pushed_authorization_request_endpoint,
            Endpoint::Introspection => &mut aliases.introspection_endpoint,
            Endpoint::Revocation => &mut aliases.revocation_endpoint,
            Endpoint::Authorization | Endpoint::Userinfo | Endpoint::Jwks => return,
        };
        if admitted && place.is_none() {
            *place = Some(found.clone());
        }
    }
}

fn place(profile: &mut Profile, endpoint: Endpoint) -> &mut Option<Url> {
    match endpoint {
        Endpoint::Token => &mut profile.token_endpoint,
        Endpoint::Authorization => &mut profile.authorization_endpoint,
        Endpoint::DeviceAuthorization => &mut profile.device_authorization_endpoint,
        Endpoint::PushedAuthorization => &mut profile.pushed_authorization_request_endpoint,
        Endpoint::Introspection => &mut profile.introspection_endpoint,
        Endpoint::Revocation => &mut profile.revocation_endpoint,
        Endpoint::Userinfo => &mut profile.userinfo_endpoint,
        Endpoint::Jwks => &mut profile.jwks_uri,
    }
}

/// Host and port as `hosts` would have them.
pub(crate) fn shown(url: &Url) -> String {
    host_of(url).map(|pattern| pattern.0).unwrap_or_default()
}

fn host_of(url: &Url) -> Option<HostPattern> {
    let host = url.host_str()?;
    Some(HostPattern(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))))
}
