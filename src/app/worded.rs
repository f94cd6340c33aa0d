//! What the configuration says, in the words of the rooms that it is said to.

use crate::{
    broker::admin::consent::{ConsentRules, RedirectUris},
    config::{self, Addresses, Config},
    egress::{AddressPolicy, Egress},
    grpc::{Limits, listening::Bounds},
    limits::{Rates, Rules},
};
use std::{process, time::Duration};

/// Longest wait for the first byte of a connection without TLS.
const FIRST_BYTE: Duration = Duration::from_secs(5);

/// To providers.
pub(super) fn way_out(config: &Config) -> anyhow::Result<Egress> {
    let policy = match config.egress.addresses {
        Addresses::Public => AddressPolicy::Public,
        Addresses::Private => AddressPolicy::Private,
        Addresses::Loopback => AddressPolicy::LoopbackOnly,
    };
    Ok(Egress::through(policy, config.egress.proxy.clone())?)
}

/// Who this process is in the eyes of the others.
pub(super) fn replica(config: &Config) -> String {
    config.replica.clone().unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let host = host.trim();
        format!("{}-{}", if host.is_empty() { "bursar" } else { host }, process::id())
    })
}

pub(super) fn consent_rules(config: &Config) -> ConsentRules {
    let given = &config.authorization;
    ConsentRules {
        public_url: given.callback.as_ref().map(|callback| callback.public_url.clone()),
        redirect: match given.redirect {
            config::RedirectUris::PerConnection => RedirectUris::PerConnection,
            config::RedirectUris::Shared => RedirectUris::Shared,
        },
        redirect_uris: given.redirect_uris.clone(),
        return_uris: given.return_uris.clone(),
        open_for: given.open_for,
    }
}

pub(super) fn limits(config: &Config) -> Limits {
    let given = &config.limits;
    Limits {
        rules: Rules {
            calls: given.concurrent_requests,
            calls_per_caller: given.concurrent_requests_per_caller,
            waiting: given.waiting_requests,
            waiting_per_caller: given.waiting_requests_per_caller,
            waiting_per_tenant: given.waiting_requests_per_tenant,
            streams_per_caller: given.streams_per_caller,
            strangers: given.strangers_per_second,
            rates: Rates {
                serve: given.serve_per_second,
                read: given.read_per_second,
                write: given.write_per_second,
                exchange: given.exchange_per_second,
            },
            burst: given.burst,
        },
        concurrent_requests_per_connection: config.limits.concurrent_requests_per_connection,
        message_bytes: config.limits.message_bytes,
        request_timeout: config.limits.request_timeout,
        connection_age: config.limits.connection_age,
        listening: bounds(config),
    }
}

pub(super) fn bounds(config: &Config) -> Bounds {
    Bounds {
        handshake: config.tls.as_ref().map_or(FIRST_BYTE, |tls| tls.handshake_timeout),
        handshakes: config.limits.handshakes,
        connections: config.limits.connections,
        // Calls that were begun in time may end; whoever has not left by then is put out.
        longest: config.limits.connection_age + config.limits.request_timeout,
    }
}
