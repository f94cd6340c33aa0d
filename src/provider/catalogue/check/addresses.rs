//! Checks URLs and host patterns: what is sent to them may be secret.

use super::{Findings, ID_MEND};
use crate::{
    domain::{
        names::Id,
        profile::{HostPattern, Issuer, Network, is_loopback, secure},
    },
    egress::is_private,
};
use std::collections::BTreeMap;
use url::Url;

impl Findings {
    /// As it is written, since it is compared that way.
    pub(super) fn issuer(&mut self, given: Option<&str>) -> Option<Issuer> {
        let url = self.url("issuer", given)?;
        if url.query().is_some() {
            self.note(
                "issuer",
                "has a query",
                "write it as the server's own metadata does (RFC 8414 section 2)",
            );
            return None;
        }
        Some(Issuer::new(given?, url))
    }

    pub(super) fn url(&mut self, key: &str, given: Option<&str>) -> Option<Url> {
        let given = given?;
        let problem = match Url::parse(given) {
            Err(_) => "is not a URL",
            Ok(url) if url.host_str().is_none() => "has no host",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => "has credentials in it",
            Ok(url) if url.fragment().is_some() => "has a fragment",
            Ok(url) if !secure(&url) => "sends secrets in the clear",
            Ok(url) => return Some(url),
        };
        self.note(key, problem, "write an https URL (http only to 127.0.0.1, [::1] or localhost)");
        None
    }

    /// A URL that is scheme, host and port only.
    pub(super) fn base(&mut self, key: &str, given: Option<&str>) -> Option<Url> {
        let url = self.url(key, given)?;
        if url.path() == "/" && url.query().is_none() {
            return Some(url);
        }
        self.note(key, "has a path or a query", "write scheme and host only, as https://eu.api.example.com");
        None
    }

    pub(super) fn data_centers(&mut self, given: &BTreeMap<String, String>) -> BTreeMap<String, Url> {
        let mut read = BTreeMap::new();
        for (name, url) in given {
            let key = format!("data_centers.{name}");
            if name.parse::<Id>().is_err() {
                self.note(&key, "is not an id", ID_MEND);
            }
            if let Some(url) = self.base(&key, Some(url)) {
                read.insert(name.clone(), url);
            }
        }
        read
    }

    pub(super) fn hosts(&mut self, key: &str, given: Vec<HostPattern>) -> Vec<HostPattern> {
        for pattern in &given {
            if let Some(problem) = trouble_with(pattern) {
                let mend = "write a host, `*.` and a domain of at least two labels, or a loopback address with a port";
                self.note(key, format!("has `{}`, which {problem}", pattern.0), mend);
            }
        }
        given
    }
}

impl Findings {
    /// Only what is private can be opened: the Internet is open, and link-local addresses and this machine never are.
    pub(super) fn networks(&mut self, given: &[String]) -> Vec<Network> {
        let mut read = Vec::new();
        for text in given {
            match text.parse::<Network>() {
                Ok(network) if is_private(&network) => read.push(network),
                Ok(network) => {
                    let mend = "write networks of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7";
                    self.note("private_networks", format!("has `{network}`, which is not private"), mend);
                }
                Err(problem) => {
                    let mend = "write networks as \"10.20.0.0/16\" or \"fd12:3456::/32\"";
                    self.note("private_networks", format!("has an entry that {problem}"), mend);
                }
            }
        }
        read
    }
}

/// The pattern that admits this address and its like.
pub(super) fn host_of(url: &Url) -> Option<HostPattern> {
    let host = url.host_str()?;
    Some(HostPattern(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))))
}

/// Patterns that would admit more than their author meant.
fn trouble_with(pattern: &HostPattern) -> Option<&'static str> {
    let (host, port) = pattern.parts();
    let (stars, name) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
    let Ok(url) = Url::parse(&format!("https://{name}")) else { return Some("is not a host") };
    if url.host_str() != Some(name) {
        return Some("is not written as hosts are compared (lower case, no path, no port words)");
    }
    let labels = name.split('.').filter(|label| !label.is_empty()).count();
    let is_name = url.domain().is_some();
    if is_name && (name.starts_with('.') || name.ends_with('.') || name.contains('*')) {
        return Some("has a dot or star where none may be");
    }
    if stars && (!is_name || labels < 2) {
        return Some("has a star over more than one domain");
    }
    match port {
        Some("*") if !is_loopback(&url) => Some("opens every port of another machine"),
        Some(port) if port != "*" && port.parse::<u16>().is_err() => Some("has a port that is none"),
        _ => None,
    }
}
