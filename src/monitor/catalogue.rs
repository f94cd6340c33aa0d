//! Every metric there is: what it is called, what it counts, in which unit, and what tells its series apart. The table of
//! docs/metrics.md is written from here, and tests compare with it what is scraped. Names are those of the OpenTelemetry
//! semantic conventions where there is one, as Prometheus writes them.

use prometheus_client::registry::Unit as Written;
use std::fmt::Write as _;

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Without unit and ending.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    pub labels: &'static [&'static str],
    /// One sentence, without its full stop.
    pub meaning: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    Gauge,
    Histogram,
    Info,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    Seconds,
    Bytes,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    unit: Unit,
    labels: &'static [&'static str],
    meaning: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, meaning }
}

use Kind::{Counter, Gauge, Histogram, Info};
use Unit::{Bytes, Count, Seconds};

// Calls.
pub const CALLS: Metric = metric(
    "rpc_server_call_duration",
    Histogram,
    Seconds,
    &["rpc_method", "rpc_response_status_code"],
    "How long calls of the API took until their answer began, by method and gRPC status; `_OTHER` are methods that do \
     not exist, and CANCELLED is also a call that ran out of time. Health checks and reflection are not counted",
);
pub const SERVED: Metric = metric(
    "bursar_tokens_served",
    Counter,
    Count,
    &["degraded_reason"],
    "Tokens handed to callers, by what they were told is wrong with it as in `Token.degraded_reason`; `none` is a token in order",
);
pub const LATE: Metric = metric(
    "bursar_tokens_served_late",
    Counter,
    Count,
    &["past"],
    "Tokens handed to callers although they should have been renewed: past their `soft` point, which a refresh that is \
     under way explains, or past their `hard` point, which it does not",
);
pub const LIMITED: Metric = metric(
    "bursar_calls_limited",
    Counter,
    Count,
    &["limit"],
    "Calls refused as their caller or tenant had its share, by the key of the bound that was met",
);
pub const DENIED: Metric = metric(
    "bursar_policy_denials",
    Counter,
    Count,
    &["action"],
    "Calls refused by policies, by the action that was asked for",
);
pub const STRANGERS: Metric = metric(
    "bursar_unauthenticated_calls",
    Counter,
    Count,
    &["transport", "reason"],
    "Calls of nobody who is known, by the way they came and why; as in the audit trail",
);

// Warm copies.
pub const LOOKS: Metric = metric(
    "bursar_cache_looks",
    Counter,
    Count,
    &["outcome"],
    "Looks for a connection in memory: `current`, `doubtful` (there, and read again) or `missing`; a call may look more than once",
);
pub const COPIES: Metric =
    metric("bursar_cache_connections", Gauge, Count, &[], "Connections that this replica has in memory");

// Refreshes.
pub const EXCHANGES: Metric = metric(
    "bursar_exchange_duration",
    Histogram,
    Seconds,
    &["provider", "grant", "outcome"],
    "How long this replica's exchanges with providers took, refreshes of what is `stored` and `one_time` credentials, by what \
     the answer was taken for: `ok`, a class of failure as in ARCHITECTURE.md, or `timeout`",
);
pub const UNDER_WAY: Metric = metric(
    "bursar_refreshes_under_way",
    Gauge,
    Count,
    &[],
    "Refreshes that this replica is at, waiting ones included",
);
pub const CLAIMS: Metric = metric(
    "bursar_claims",
    Counter,
    Count,
    &["outcome"],
    "Tries to claim a connection for an exchange: `won`; lost to another replica (`busy`) or to something newer (`moved`); \
     `held` back after a failure; `ended` connections",
);
pub const DUE: Metric = metric(
    "bursar_refresh_due",
    Gauge,
    Count,
    &[],
    "Connections in the due queues when this replica last looked, which is every `refresh.tick`; at most 64 of each queue are \
     counted",
);
pub const DUE_LAG: Metric = metric(
    "bursar_refresh_due_lag",
    Gauge,
    Seconds,
    &[],
    "How long the connection waits that is due for longest; 0 when none is",
);
pub const SHUNNED: Metric = metric(
    "bursar_refreshes_shunned",
    Gauge,
    Count,
    &[],
    "Connections that this replica cannot refresh and passes over for a minute each: broken or newer records, profiles that are \
     missing",
);

// Connections.
pub const CONNECTIONS: Metric = metric(
    "bursar_connections",
    Gauge,
    Count,
    &["provider", "state"],
    "Connections in the store, as this replica last counted them; those of deleted tenants are not",
);
pub const UNREADABLE: Metric = metric(
    "bursar_connections_unreadable",
    Gauge,
    Count,
    &[],
    "Stored connections that could not be opened when they were last counted: forged, broken or newer than this program",
);
pub const TOKEN_LEFT: Metric = metric(
    "bursar_access_token_time_to_expiry",
    Gauge,
    Seconds,
    &["provider"],
    "What is left of the access token that expires first, of active connections as last counted; negative when that has \
     expired, or was renewed since the count: add `bursar_census_age_seconds` before comparing with 0",
);
pub const REFRESH_TOKEN_LEFT: Metric = metric(
    "bursar_refresh_token_time_to_expiry",
    Gauge,
    Seconds,
    &["provider"],
    "The same of refresh tokens whose end is known",
);
pub const CENSUS_AGE: Metric = metric(
    "bursar_census_age",
    Gauge,
    Seconds,
    &[],
    "How long ago the last count of connections began that came to its end",
);
pub const STATE_CHANGES: Metric = metric(
    "bursar_connection_state_changes",
    Counter,
    Count,
    &["state"],
    "Connections that went into another state by themselves, by the state they went into; counted by the replica that saw it",
);

// Store.
pub const STORE: Metric = metric(
    "db_client_operation_duration",
    Histogram,
    Seconds,
    &["db_system_name", "db_operation_name", "error_type"],
    "How long operations of the store took, by what became of them; `error_type` is empty where they went well",
);
pub const CONFLICTS: Metric = metric(
    "bursar_store_conflicts",
    Counter,
    Count,
    &[],
    "Conditional writes that somebody else was faster with; they are decided anew",
);
pub const STORE_UP: Metric =
    metric("bursar_store_up", Gauge, Count, &[], "1 if the store answered what it was asked last, else 0");
/// Any node of it: it is full, misses replicas, or cannot save.
pub const STORE_WRITABLE: Metric =
    metric("bursar_store_writable", Gauge, Count, &[], "0 if the store refused a write lately, else 1");
pub const FEED_UP: Metric =
    metric("bursar_change_feed_up", Gauge, Count, &[], "1 if the store's change feed hears, else 0");

// Keys.
pub const KEK: Metric = metric(
    "bursar_kek_operation_duration",
    Histogram,
    Seconds,
    &["operation", "error_type"],
    "How long the key-encryption key's owner took; a `probe` every 30 s, the others at start and for rotations",
);
pub const KEK_UP: Metric = metric(
    "bursar_kek_up",
    Gauge,
    Count,
    &[],
    "1 if the last operation of the key-encryption key's owner went well, else 0",
);
pub const CERTIFICATE_LEFT: Metric = metric(
    "bursar_tls_certificate_time_to_expiry",
    Gauge,
    Seconds,
    &[],
    "What is left of the certificate that callers are shown; negative when it has expired. Only where there is TLS",
);
pub const CERTIFICATE_SOON: Metric = metric(
    "bursar_tls_certificate_renewal_margin",
    Gauge,
    Seconds,
    &[],
    "What should be left of that certificate when it is renewed: a third of its life, 14 days at most",
);

// Audit.
pub const AUDIT_EVENTS: Metric = metric(
    "bursar_audit_events",
    Counter,
    Count,
    &["event"],
    "What was handed to the audit trail, by the kind of event; a release that is counted, and has no line of its own, is one too",
);
pub const AUDIT_FAILURES: Metric = metric(
    "bursar_audit_failures",
    Counter,
    Count,
    &[],
    "Events that could not be put on record: nothing was released or changed",
);
pub const AUDIT_LINES: Metric =
    metric("bursar_audit_lines", Counter, Count, &[], "Lines appended to the audit trail's files");
pub const AUDIT_SUMMARIES: Metric = metric(
    "bursar_audit_summaries",
    Counter,
    Count,
    &[],
    "Lines that sum up releases of a token that had been released to the same caller before",
);
pub const AUDIT_SYNC: Metric = metric(
    "bursar_audit_sync_duration",
    Histogram,
    Seconds,
    &["outcome"],
    "How long the disk took to make a group of lines durable; first releases and changes wait for it",
);

// The replica.
pub const READY: Metric = metric("bursar_ready", Gauge, Count, &[], "1 if /readyz says ready, else 0");
pub const BUILD: Metric = metric(
    "bursar_build",
    Info,
    Count,
    &["version", "store"],
    "Which program runs here, over which kind of store",
);
pub const STARTED: Metric =
    metric("process_start_time", Gauge, Seconds, &[], "When the process started, in seconds since 1970");
pub const PROCESSOR: Metric =
    metric("process_cpu", Counter, Seconds, &[], "Processor time spent, in user mode and in the kernel's");
pub const MEMORY: Metric =
    metric("process_resident_memory", Gauge, Bytes, &[], "Memory that the process has in RAM");

/// In the order of the document.
pub const ALL: &[Metric] = &[
    CALLS,
    SERVED,
    LATE,
    LIMITED,
    DENIED,
    STRANGERS,
    LOOKS,
    COPIES,
    EXCHANGES,
    UNDER_WAY,
    CLAIMS,
    DUE,
    DUE_LAG,
    SHUNNED,
    CONNECTIONS,
    UNREADABLE,
    TOKEN_LEFT,
    REFRESH_TOKEN_LEFT,
    CENSUS_AGE,
    STATE_CHANGES,
    STORE,
    CONFLICTS,
    STORE_UP,
    STORE_WRITABLE,
    FEED_UP,
    KEK,
    KEK_UP,
    CERTIFICATE_LEFT,
    CERTIFICATE_SOON,
    AUDIT_EVENTS,
    AUDIT_FAILURES,
    AUDIT_LINES,
    AUDIT_SUMMARIES,
    AUDIT_SYNC,
    READY,
    BUILD,
    STARTED,
    PROCESSOR,
    MEMORY,
];

impl Unit {
    pub(super) fn written(self) -> Option<Written> {
        match self {
            Self::Count => None,
            Self::Seconds => Some(Written::Seconds),
            Self::Bytes => Some(Written::Bytes),
        }
    }

    const fn ending(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Seconds => "_seconds",
            Self::Bytes => "_bytes",
        }
    }
}

impl Metric {
    /// As queries name it; of a histogram without `_bucket`, `_count` and `_sum`.
    pub fn full_name(&self) -> String {
        let ending = match self.kind {
            Counter => "_total",
            Info => "_info",
            Gauge | Histogram => "",
        };
        [self.name, self.unit.ending(), ending].concat()
    }
}

/// The table of the document, as Markdown.
pub fn table() -> String {
    let mut table = "| metric | type | labels | what it tells |\n|---|---|---|---|\n".to_owned();
    for metric in ALL {
        let kind = match metric.kind {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
            Info => "info",
        };
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a `String` does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {kind} | {} | {}. |",
            metric.full_name(),
            labels.join(", "),
            metric.meaning
        );
    }
    table
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
