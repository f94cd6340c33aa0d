//! What only the whole profile shows: keys that need each other, addresses that `hosts` leaves out.

use super::{Findings, addresses::host_of};
use crate::domain::profile::{
    Dialect, Discovery, GrantKind, HostPattern, Introspection, Offer, Profile, Revocation,
};
use url::Url;

impl Findings {
    pub(super) fn whole(&mut self, profile: &Profile) {
        match profile.dialect {
            Dialect::Rfc6749 => self.standard(profile),
            Dialect::SapConcur => self.concur(profile),
        }
        if profile.revocation == Revocation::Rfc7009
            && profile.revocation_endpoint.is_none()
            && !profile.discovers()
        {
            let mend = "write the RFC 7009 endpoint, or revocation = \"none\"";
            self.missing("revocation_endpoint", mend);
        }
        for (key, url) in reached(profile) {
            if !profile.admits(&url) {
                let host = url.host_str().unwrap_or_default();
                self.note(key, "is not admitted by `hosts`", format!("add `{host}` to hosts"));
            }
        }
    }

    fn standard(&mut self, profile: &Profile) {
        if profile.authorize_at.is_some() {
            let mend = "write authorization_endpoint, or set dialect = \"sap_concur\"";
            self.note("authorize_at", "is a key of SAP Concur", mend);
        }
        if profile.discovers() {
            if profile.issuer.is_none() {
                self.missing(
                    "issuer",
                    "write the issuer that discovery starts from, or discovery = \"none\"",
                );
            }
            return;
        }
        let has = |grant| profile.grants.contains(&grant);
        let needs = [
            ("token_endpoint", profile.token_endpoint.is_none(), "write the server's token endpoint URL"),
            (
                "authorization_endpoint",
                has(GrantKind::AuthorizationCode) && profile.authorization_endpoint.is_none(),
                "write where a browser is sent, or leave authorization_code out of grants",
            ),
            (
                "device_authorization_endpoint",
                has(GrantKind::DeviceCode) && profile.device_authorization_endpoint.is_none(),
                "write the RFC 8628 endpoint, or leave device_code out of grants",
            ),
            (
                "pushed_authorization_request_endpoint",
                profile.pushed_authorization != Offer::Never
                    && profile.pushed_authorization_request_endpoint.is_none(),
                "write the RFC 9126 endpoint, or pushed_authorization = \"never\"",
            ),
            (
                "introspection_endpoint",
                profile.introspection != Introspection::None && profile.introspection_endpoint.is_none(),
                "write the RFC 7662 endpoint, or introspection = \"none\"",
            ),
        ];
        for (key, _, mend) in needs.iter().filter(|(_, needed, _)| *needed) {
            self.missing(key, mend);
        }
    }

    fn concur(&mut self, profile: &Profile) {
        if profile.bootstrap_at.is_none() {
            self.missing("bootstrap_at", "write the base URI where a bootstrap starts");
        }
        if profile.grants.contains(&GrantKind::AuthorizationCode) && profile.authorize_at.is_none() {
            let mend = "write the base URI for browsers, or leave authorization_code out of grants";
            self.missing("authorize_at", mend);
        }
        // All of SAP Concur lies on hosts of one list: who leads requests elsewhere means the browsers, too.
        if let Some(url) = profile.authorize_at.as_ref().filter(|url| !profile.admits(url)) {
            let host = url.host_str().unwrap_or_default();
            let mend = format!("write the base URI for browsers there, or add `{host}` to hosts");
            self.note("authorize_at", "is not admitted by `hosts`", mend);
        }
        match profile.discovery {
            Discovery::None => {}
            Discovery::Oidc | Discovery::Oauth => {
                self.note("discovery", "is nothing that SAP Concur publishes", "leave it out");
            }
        }
    }
}

/// The hosts of a profile that names none: those of its own addresses.
pub(super) fn own_hosts(profile: &Profile) -> Vec<HostPattern> {
    let mut hosts: Vec<_> = reached(profile).into_iter().filter_map(|(_, url)| host_of(&url)).collect();
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|pattern| seen.insert(pattern.0.clone()));
    hosts
}

/// Every address in the profile that the broker itself asks. Browsers go elsewhere, too.
fn reached(profile: &Profile) -> Vec<(String, Url)> {
    let aliases = &profile.mtls_endpoint_aliases;
    let single = [
        ("token_endpoint", &profile.token_endpoint),
        ("device_authorization_endpoint", &profile.device_authorization_endpoint),
        ("pushed_authorization_request_endpoint", &profile.pushed_authorization_request_endpoint),
        ("introspection_endpoint", &profile.introspection_endpoint),
        ("revocation_endpoint", &profile.revocation_endpoint),
        ("jwks_uri", &profile.jwks_uri),
        ("userinfo_endpoint", &profile.userinfo_endpoint),
        ("mtls_endpoint_aliases.token_endpoint", &aliases.token_endpoint),
        ("mtls_endpoint_aliases.revocation_endpoint", &aliases.revocation_endpoint),
        ("mtls_endpoint_aliases.introspection_endpoint", &aliases.introspection_endpoint),
        ("mtls_endpoint_aliases.device_authorization_endpoint", &aliases.device_authorization_endpoint),
        (
            "mtls_endpoint_aliases.pushed_authorization_request_endpoint",
            &aliases.pushed_authorization_request_endpoint,
        ),
        ("bootstrap_at", &profile.bootstrap_at),
    ];
    let single = single.into_iter().filter_map(|(key, url)| Some((key.to_owned(), url.clone()?)));
    let issuer = profile.issuer.as_ref().filter(|_| profile.discovers());
    let issuer = issuer.map(|issuer| ("issuer".to_owned(), issuer.url().clone()));
    let centers =
        profile.data_centers.iter().map(|(name, url)| (format!("data_centers.{name}"), url.clone()));
    single.chain(issuer).chain(centers).collect()
}
