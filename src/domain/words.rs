//! The one word that each of our enumerations has in records, logs, configuration and messages.

use super::{
    authorization::{Fault, Presence, Principals, Stage, Taker},
    client::{Environment, HoldReason},
    connection::{Narrowing, PrincipalKind, State},
    credential::SecretKind,
    failure::{Class, Reason},
    profile::{
        AssertionAudience, ClientAuth, Dialect, Discovery, GrantKind, Introspection, MinimumTls,
        MissingTokenType, Offer, Overlap, Pkce, RefreshExpiry, RequestScopeSeparator, ResourceIndicators,
        ResponseIss, Reuse, Revocation, Rotation, ScopeSeparator, SigningAlg,
    },
    rotation::RotationStage,
};
use std::{fmt, str::FromStr};

/// A word that none of an enumeration's values has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not a {of}")]
pub struct UnknownWord {
    pub word: String,
    pub of: &'static str,
}

macro_rules! words {
    ($($name:ident as $of:literal { $($value:ident = $word:literal),* $(,)? })*) => {$(
        impl $name {
            pub const ALL: &[Self] = &[$(Self::$value),*];

            pub const fn word(self) -> &'static str {
                match self { $(Self::$value => $word),* }
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                match word {
                    $($word => Ok(Self::$value),)*
                    _ => Err(UnknownWord { word: word.chars().take(64).collect(), of: $of }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }
    )*};
}

words! {
    State as "connection state" {
        Pending = "pending", Active = "active", NeedsReauthorization = "needs_reauthorization",
        Disabled = "disabled", Revoking = "revoking", Revoked = "revoked",
    }
    Reason as "reason" {
        Revoked = "revoked", LostRotation = "lost_rotation", Expired = "expired",
        PrincipalDisabled = "principal_disabled", CompanyNotEnabled = "company_not_enabled",
        GrantOfAnotherClient = "grant_of_another_client", BootstrapLost = "bootstrap_lost",
        DisabledByOperator = "disabled_by_operator", RevokedByOperator = "revoked_by_operator",
        AwaitingAuthorization = "awaiting_authorization", AuthorizationExpired = "authorization_expired",
        AuthorizationDenied = "authorization_denied", AuthorizationFailed = "authorization_failed",
    }
    Class as "failure class" {
        NotSent = "not_sent", Suspect = "suspect", Client = "client", Configuration = "configuration",
        Throttled = "throttled", Down = "down", Ambiguous = "ambiguous", Malformed = "malformed",
        Policy = "policy",
    }
    GrantKind as "grant type" {
        ClientCredentials = "client_credentials", RefreshToken = "refresh_token",
        AuthorizationCode = "authorization_code", DeviceCode = "device_code", Password = "password",
        Otp = "otp", CompanyRequestToken = "company_request_token", JwtBearer = "jwt_bearer",
        TokenExchange = "token_exchange", SamlBearer = "saml_bearer",
    }
    PrincipalKind as "principal kind" { User = "user", Company = "company", App = "app" }
    Narrowing as "scope narrowing" { Refuse = "refuse", ServeWhole = "serve_whole" }
    ClientAuth as "client authentication method" {
        ClientSecretBasic = "client_secret_basic", ClientSecretPost = "client_secret_post",
        ClientSecretJwt = "client_secret_jwt", PrivateKeyJwt = "private_key_jwt",
        TlsClientAuth = "tls_client_auth", SelfSignedTlsClientAuth = "self_signed_tls_client_auth",
        None = "none",
    }
    Stage as "stage of an authorization" {
        Open = "open", Taken = "taken", Succeeded = "succeeded", Denied = "denied", Expired = "expired",
        Failed = "failed",
    }
    Fault as "fault of an authorization" {
        ProviderError = "provider_error", WrongIssuer = "wrong_issuer", Nonsense = "nonsense", Lost = "lost",
        OtherPrincipal = "other_principal", NotSent = "not_sent", Refused = "refused", Client = "client",
        Configuration = "configuration", Throttled = "throttled", Down = "down", Ambiguous = "ambiguous",
        Malformed = "malformed", Policy = "policy",
    }
    Taker as "taker of a redirect" { Broker = "broker", FrontEnd = "front_end" }
    Presence as "presence" { Required = "required", Optional = "optional" }
    Principals as "choice of principals" { Same = "same", Any = "any" }
    SecretKind as "kind of client secret" {
        SharedSecret = "shared_secret", PrivateKey = "private_key", Certificate = "certificate",
    }
    RotationStage as "stage of a rotation" {
        Begun = "begun", Created = "created", Activated = "activated", Proven = "proven",
        Deactivated = "deactivated", Deleted = "deleted",
    }
    HoldReason as "reason of a hold" {
        SecretsRefused = "secrets_refused", ClientUnknown = "client_unknown",
        ClientDisabled = "client_disabled", GrantNotAllowed = "grant_not_allowed",
        ManyGrantsRefused = "many_grants_refused",
    }
    Environment as "environment" { Sandbox = "sandbox", Production = "production" }
    Dialect as "dialect" { Rfc6749 = "rfc6749", SapConcur = "sap_concur" }
    Rotation as "rotation" {
        Never = "never", Always = "always", Sometimes = "sometimes", Unknown = "unknown",
    }
    Reuse as "reuse behaviour" {
        Ignore = "ignore", Reject = "reject", RevokeFamily = "revoke_family", Unknown = "unknown",
    }
    Overlap as "overlap" { OldAccessTokenSurvives = "old_access_token_survives", Dies = "dies" }
    RefreshExpiry as "refresh expiry" { None = "none", Relative = "relative", Epoch = "epoch" }
    Revocation as "revocation kind" {
        None = "none", Rfc7009 = "rfc7009", ConcurDelete = "concur_delete",
    }
    Discovery as "kind of discovery" { None = "none", Oidc = "oidc", Oauth = "oauth" }
    Pkce as "PKCE method" { S256 = "s256", None = "none" }
    ResponseIss as "word for `iss`" {
        Required = "required", Optional = "optional", Absent = "absent", Unknown = "unknown",
    }
    Offer as "kind of offer" { Never = "never", Offered = "offered", Required = "required" }
    ResourceIndicators as "place for resource indicators" {
        None = "none", Authorization = "authorization", Everywhere = "everywhere",
    }
    Introspection as "kind of introspection" { None = "none", Rfc7662 = "rfc7662" }
    RequestScopeSeparator as "scope separator" { Space = "space", Comma = "comma" }
    AssertionAudience as "audience" { Issuer = "issuer", TokenEndpoint = "token_endpoint" }
    SigningAlg as "signing algorithm" {
        Es256 = "ES256", Ps256 = "PS256", EdDsa = "EdDSA", Rs256 = "RS256",
    }
    MinimumTls as "version of TLS" { Tls12 = "1.2", Tls13 = "1.3" }
    MissingTokenType as "treatment" { Refuse = "refuse", MeansBearer = "means_bearer" }
    ScopeSeparator as "scope separator" {
        Whitespace = "whitespace", WhitespaceOrComma = "whitespace_or_comma",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_as_its_value_and_others_do_not() {
        for state in State::ALL {
            assert_eq!(state.word().parse(), Ok(*state));
        }
        for class in Class::ALL {
            assert_eq!(class.word().parse(), Ok(*class));
        }
        let err = "actve".parse::<State>().unwrap_err();
        assert_eq!(err.to_string(), "`actve` is not a connection state");
    }
}
