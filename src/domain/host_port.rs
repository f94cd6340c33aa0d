//! A host and a port, as a server is named in a configuration or by another server.

use std::{fmt, net::IpAddr, str::FromStr};

/// Longest DNS name, in bytes (RFC 1035 section 2.3.4).
const NAME_MAX: usize = 253;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    host: Box<str>,
    port: u16,
}

/// Why a text is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoHostPort {
    #[error("has no port")]
    NoPort,
    #[error("has a port that is none")]
    Port,
    #[error("has a host that is neither a DNS name nor an IP address")]
    Host,
}

impl HostPort {
    /// `host` is a DNS name or an IP address, without brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, NoHostPort> {
        if port == 0 {
            return Err(NoHostPort::Port);
        }
        if host.parse::<IpAddr>().is_err() && !is_name(host) {
            return Err(NoHostPort::Host);
        }
        Ok(Self { host: host.to_ascii_lowercase().into(), port })
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

/// As hosts are named (RFC 1123 section 2.1), and with the underscore that some networks add.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= NAME_MAX && host.split('.').all(label)
}

impl FromStr for HostPort {
    type Err = NoHostPort;

    /// `host:port`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, NoHostPort> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, port) = rest.split_once("]:").ok_or(NoHostPort::NoPort)?;
            (host.parse::<std::net::Ipv6Addr>().is_ok().then_some(host), port)
        } else {
            let (host, port) = text.rsplit_once(':').ok_or(NoHostPort::NoPort)?;
            (Some(host).filter(|host| !host.contains(':')), port)
        };
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(NoHostPort::Port)?;
        Self::new(host.ok_or(NoHostPort::Host)?, port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_read_and_written_alike() {
        for text in [
            "redis-0.redis.svc.cluster.local:6379",
            "10.0.0.7:6380",
            "[2001:db8::1]:6379",
            "a_b:1",
            "h:65535",
        ] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        assert_eq!("HOST:1".parse::<HostPort>().unwrap().host(), "host");
    }

    #[test]
    fn what_is_none_is_told_by_its_part() {
        use NoHostPort as N;
        let cases = [
            ("", N::NoPort),
            ("host", N::NoPort),
            ("[::1]", N::NoPort),
            ("host:", N::Port),
            ("host:0", N::Port),
            ("host:+1", N::Port),
            ("host:65536", N::Port),
            ("host:x", N::Port),
            (":6379", N::Host),
            ("::1:6379", N::Host),
            ("[host]:1", N::Host),
            ("-a:1", N::Host),
            ("a..b:1", N::Host),
            ("redis://h:1", N::Host),
            ("user@h:1", N::Host),
        ];
        for (text, want) in cases {
            assert_eq!(text.parse::<HostPort>(), Err(want), "{text}");
        }
    }
}
