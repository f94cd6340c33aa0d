//! The section `[audit]`.

use super::{Audit, Releases, SecondSink, gather::Settings};
use std::net::SocketAddr;

impl Settings {
    pub(super) fn audit(&mut self) -> Audit {
        let (udp, socket) = ("audit.syslog_address", "audit.syslog_socket");
        let address: Option<SocketAddr> = self.optional(udp);
        if address.is_some_and(|address| !address.ip().is_loopback()) {
            self.object(
                udp,
                "is not on this machine, and what goes there is neither encrypted nor acknowledged",
                "run a system logger on this machine, like \"127.0.0.1:514\", and let it forward",
            );
        }
        let second = self.choice("audit.second");
        for key in [udp, socket] {
            if second != "syslog" && self.changed_in("audit").contains(&key) {
                self.object(
                    key,
                    format!("has no effect: `audit.second` is \"{second}\""),
                    "remove it, or set audit.second = \"syslog\"",
                );
            }
        }
        Audit {
            dir: self.optional("audit.dir"),
            releases: match self.choice("audit.releases").as_str() {
                "every" => Releases::Every,
                _ => Releases::First,
            },
            rotate_bytes: self.get("audit.rotate_bytes"),
            write_timeout: self.get("audit.write_timeout"),
            second: match (second.as_str(), address) {
                ("stdout", _) => Some(SecondSink::Stdout),
                ("syslog", Some(address)) => Some(SecondSink::SyslogUdp(address)),
                ("syslog", None) => Some(SecondSink::SyslogSocket(self.get(socket))),
                _ => None,
            },
        }
    }
}
