//! Checks addresses that an answer, a record or a caller names, before anything is sent there: what is not on the
//! provider's list of hosts is refused, whoever says it.

use crate::{
    domain::{
        failure::{Evidence, harmless},
        profile::Profile,
    },
    egress::{Destination, Roots},
};
use url::Url;

/// Longest address that is looked at, in bytes.
const ADDRESS_MAX: usize = 256;

/// What a profile says of where requests may go.
pub(super) fn destination(profile: &Profile) -> Destination<'_> {
    Destination {
        hosts: &profile.hosts,
        roots: profile.ca_certificates.as_deref().map_or(Roots::System, Roots::Also),
        minimum_tls: profile.minimum_tls,
        networks: &profile.private_networks,
    }
}

/// A base URI as a caller gives it, in the form in which it is kept. The error says what to give instead.
pub fn base_url(profile: &Profile, given: &str) -> Result<String, String> {
    let refused = |_| {
        format!("is not a base URL of an allowed host of {}: give https and one of its hosts", profile.name)
    };
    allowed(profile, given).map(|url| kept(&url)).map_err(refused)
}

/// Scheme, host and port of an address that may be sent secrets; its path and query are dropped.
pub(super) fn allowed(profile: &Profile, given: &str) -> Result<Url, Evidence> {
    let refused = |host: &str| Evidence::HostRefused { host: harmless(host).unwrap_or_default() };
    // The URL standard repairs backslashes, blanks and line breaks; nobody honest sends them.
    let plain = given.len() <= ADDRESS_MAX
        && given.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'\\' | b'@' | b'%'));
    let Some(mut url) = Url::parse(given).ok().filter(|_| plain) else { return Err(refused(given)) };
    url.set_query(None);
    url.set_fragment(None);
    if url.cannot_be_a_base() || !profile.admits(&url) {
        return Err(refused(url.host_str().unwrap_or(given)));
    }
    url.set_path("/");
    Ok(url)
}

/// How a base URI is kept: without a trailing slash.
pub(super) fn kept(base: &Url) -> String {
    base.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::catalogue::Catalogue;

    #[test]
    fn geolocations_of_sap_concur_are_normalised() {
        let catalogue = Catalogue::built_in().unwrap();
        let profile = &*catalogue.get(&"providers/sap-concur".parse().unwrap()).unwrap();
        for (given, want) in [
            ("https://us2.api.concursolutions.com", "https://us2.api.concursolutions.com"),
            ("https://us.api.Concursolutions.com", "https://us.api.concursolutions.com"),
            ("HTTPS://EU2.API.CONCURSOLUTIONS.COM/", "https://eu2.api.concursolutions.com"),
            ("https://eu2.api.concursolutions.com/oauth2/v0/token", "https://eu2.api.concursolutions.com"),
            ("https://eu2.api.concursolutions.com:443/?a=b#c", "https://eu2.api.concursolutions.com"),
            ("https://www-us2.api.concursolutions.com", "https://www-us2.api.concursolutions.com"),
        ] {
            assert_eq!(base_url(profile, given), Ok(want.to_owned()), "{given}");
        }
    }

    #[test]
    fn hostile_geolocations_are_refused() {
        let catalogue = Catalogue::built_in().unwrap();
        let profile = &*catalogue.get(&"providers/sap-concur".parse().unwrap()).unwrap();
        let long = format!("https://us2.api.concursolutions.com/{}", "a".repeat(300));
        for given in [
            "",
            "us2.api.concursolutions.com",
            "http://us2.api.concursolutions.com",
            "ftp://us2.api.concursolutions.com",
            "data:us2.api.concursolutions.com",
            "https://us2.api.concursolutions.com:8443",
            "https://us2.api.concursolutions.com.",
            "https://user@us2.api.concursolutions.com",
            "https://user:pass@us2.api.concursolutions.com",
            "https://us2.api.concursolutions.com@evil.example",
            "https://evil.example/us2.api.concursolutions.com",
            "https://evil.example#us2.api.concursolutions.com",
            "https://evil.example\\@us2.api.concursolutions.com",
            "https://evil-api.concursolutions.com.example",
            "https://evil-api.concursolutions.com",
            "https://us2.api.concursolutions.com.example",
            "https://us2.evil.api.concursolutions.com",
            "https://api.concursolutions.com",
            "https://us2.api.concursolutions.co",
            "https://us2.api.c\u{43e}ncursolutions.com",
            "https://us2.api.xn--cncursolutions-9fh.com",
            "https://us2%2eapi.concursolutions.com",
            "https://us2.api.concursolutions.com\n.evil.example",
            "https://127.0.0.1",
            "http://127.0.0.1",
            "https://[::1]",
            "https://2130706433",
            "//us2.api.concursolutions.com",
            long.as_str(),
        ] {
            assert!(matches!(allowed(profile, given), Err(Evidence::HostRefused { .. })), "{given}");
            assert!(base_url(profile, given).is_err_and(|problem| !problem.contains("evil")), "{given}");
        }
    }
}
