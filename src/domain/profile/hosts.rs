//! Who may be sent a secret, by host and port. Looks no names up.

use url::Url;

/// A host that may receive secrets: `api.example.com`, `*.api.example.com` (one label more, not none and not two),
/// `idp.example.com:8443`, or, for servers on this machine, `127.0.0.1:7611` or `127.0.0.1:*`. Without a port it
/// is the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(transparent)]
pub struct HostPattern(pub String);

impl HostPattern {
    /// Compares host and port; the scheme is looked at elsewhere.
    pub fn admits(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let (pattern, port) = split_port(&self.0);
        let port_fits = match port {
            Some("*") => true,
            Some(port) => url.port_or_known_default().is_some_and(|given| given.to_string() == port),
            None => url.port().is_none(),
        };
        let host_fits = match pattern.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(parent)),
            None => host.eq_ignore_ascii_case(pattern),
        };
        port_fits && host_fits
    }

    /// The host and the port as they are written.
    pub fn parts(&self) -> (&str, Option<&str>) {
        split_port(&self.0)
    }
}

/// `https`, or `http` to a host that is this machine by its very name.
pub fn secure(url: &Url) -> bool {
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback(url))
}

/// An IP literal of the loopback network, or `localhost`.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

fn split_port(pattern: &str) -> (&str, Option<&str>) {
    match pattern.rsplit_once(':') {
        // The colons of an IPv6 literal stand inside brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (pattern, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_pattern_admits_what_it_names_and_no_more() {
        let cases = [
            ("api.example.com", "https://api.example.com/x", true),
            ("api.example.com", "https://API.example.com", true),
            ("api.example.com", "https://api.example.com:443", true),
            ("api.example.com", "https://api.example.com:8443", false),
            ("api.example.com", "https://api.example.com.", false),
            ("api.example.com", "https://api.example.com.evil", false),
            ("api.example.com:8443", "https://api.example.com:8443", true),
            ("api.example.com:8443", "https://api.example.com", false),
            ("api.example.com:443", "https://api.example.com", true),
            ("*.api.example.com", "https://us.api.example.com", true),
            ("*.api.example.com", "https://api.example.com", false),
            ("*.api.example.com", "https://.api.example.com", false),
            ("*.api.example.com", "https://a.b.api.example.com", false),
            ("*.api.example.com", "https://evil-api.example.com", false),
            ("127.0.0.1:*", "http://127.0.0.1:7611", true),
            ("127.0.0.1:*", "http://127.0.0.2:7611", false),
            ("[::1]:*", "http://[::1]:7611", true),
            ("[::1]", "http://[::1]:7611", false),
        ];
        for (pattern, url, admitted) in cases {
            let url = Url::parse(url).unwrap();
            assert_eq!(HostPattern(pattern.into()).admits(&url), admitted, "{pattern} {url}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in ["https://a.example", "http://127.0.0.1:1", "http://[::1]", "http://localhost:9"] {
            assert!(secure(&Url::parse(good).unwrap()), "{good}");
        }
        for bad in [
            "http://a.example",
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "ftp://localhost",
            "ws://[::1]",
        ] {
            assert!(!secure(&Url::parse(bad).unwrap()), "{bad}");
        }
    }
}
