//! Every span and every attribute that there is. What OpenTelemetry has a name for is called that (semantic conventions,
//! 1.42); the rest begins with `bursar.`. docs/tracing.md describes them, and a test compares both.

use opentelemetry::trace::SpanKind;
use opentelemetry_semantic_conventions::attribute as otel;

/// The name of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(&'static str);

/// Who does what a span tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// We, for a caller.
    Server,
    /// Somebody else, for us.
    Client,
    /// We.
    Internal,
}

/// A span.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    pub name: &'static str,
    pub kind: Kind,
    /// Those that it can have.
    pub attributes: &'static [Key],
}

pub const RPC_SYSTEM: Key = Key(otel::RPC_SYSTEM_NAME);
pub const RPC_METHOD: Key = Key(otel::RPC_METHOD);
pub const RPC_STATUS: Key = Key(otel::RPC_RESPONSE_STATUS_CODE);
pub const HTTP_METHOD: Key = Key(otel::HTTP_REQUEST_METHOD);
pub const HTTP_STATUS: Key = Key(otel::HTTP_RESPONSE_STATUS_CODE);
pub const SERVER_ADDRESS: Key = Key(otel::SERVER_ADDRESS);
pub const SERVER_PORT: Key = Key(otel::SERVER_PORT);
pub const ERROR_TYPE: Key = Key(otel::ERROR_TYPE);
/// What a call was about, as the audit trail has it.
pub const TARGET: Key = Key("bursar.target");
pub const CONNECTION: Key = Key("bursar.connection");
pub const PROVIDER: Key = Key("bursar.provider");
/// Who wanted a refresh.
pub const TRIGGER: Key = Key("bursar.refresh.trigger");
pub const GENERATION: Key = Key("bursar.generation");
pub const OUTCOME: Key = Key("bursar.outcome");
/// Ours, as it is sent where a provider takes one.
pub const ATTEMPT: Key = Key("bursar.attempt");
/// The provider's, which its support asks for.
pub const CORRELATION_ID: Key = Key("bursar.provider.correlation_id");
/// The provider's own code for what it refused.
pub const CODE: Key = Key("bursar.provider.code");

pub const CALL: Shape = Shape {
    name: "{rpc.method}",
    kind: Kind::Server,
    attributes: &[RPC_SYSTEM, RPC_METHOD, RPC_STATUS, TARGET, ERROR_TYPE],
};
pub const REFRESH: Shape = Shape {
    name: "refresh",
    kind: Kind::Internal,
    attributes: &[CONNECTION, PROVIDER, TRIGGER, GENERATION, OUTCOME, ERROR_TYPE],
};
pub const PREPARE: Shape = Shape { name: "prepare", kind: Kind::Internal, attributes: &[ERROR_TYPE] };
pub const CLAIM: Shape = Shape { name: "claim", kind: Kind::Internal, attributes: &[OUTCOME, ERROR_TYPE] };
pub const EXCHANGE: Shape = Shape {
    name: "exchange",
    kind: Kind::Internal,
    attributes: &[PROVIDER, ATTEMPT, CORRELATION_ID, CODE, ERROR_TYPE],
};
pub const COMMIT: Shape = Shape { name: "commit", kind: Kind::Internal, attributes: &[OUTCOME] };
pub const SET_BACK: Shape = Shape { name: "set_back", kind: Kind::Internal, attributes: &[ERROR_TYPE] };
pub const INTROSPECT: Shape =
    Shape { name: "introspect", kind: Kind::Internal, attributes: &[PROVIDER, OUTCOME] };
pub const REVOKE: Shape = Shape {
    name: "revoke",
    kind: Kind::Internal,
    attributes: &[PROVIDER, ATTEMPT, CORRELATION_ID, CODE, ERROR_TYPE],
};
pub const BEGIN_CONSENT: Shape = Shape {
    name: "begin_consent",
    kind: Kind::Internal,
    attributes: &[PROVIDER, CORRELATION_ID, CODE, ERROR_TYPE],
};
pub const MANAGE_SECRETS: Shape = Shape {
    name: "manage_secrets",
    kind: Kind::Internal,
    attributes: &[PROVIDER, ATTEMPT, CORRELATION_ID, CODE, ERROR_TYPE],
};
pub const REQUEST: Shape = Shape {
    name: "{http.request.method}",
    kind: Kind::Client,
    attributes: &[HTTP_METHOD, HTTP_STATUS, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE],
};

pub const ALL: &[&Shape] = &[
    &CALL,
    &REFRESH,
    &PREPARE,
    &CLAIM,
    &EXCHANGE,
    &COMMIT,
    &SET_BACK,
    &INTROSPECT,
    &REVOKE,
    &BEGIN_CONSENT,
    &MANAGE_SECRETS,
    &REQUEST,
];

impl Key {
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl Kind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
            Self::Internal => "internal",
        }
    }
}

impl From<Kind> for SpanKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Server => Self::Server,
            Kind::Client => Self::Client,
            Kind::Internal => Self::Internal,
        }
    }
}
