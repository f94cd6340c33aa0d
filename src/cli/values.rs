//! Flags and values that several commands share: enums of the API in kebab case, labels, lists and their parents.

use crate::{
    api::{ClientAuthMethod, Environment, GrantType, SigningAlgorithm, connection::ScopeNarrowing},
    domain::names::{NameError, TenantName},
};
use clap::{ArgGroup, Args, ValueEnum, builder::PossibleValue};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Resources that a list fetches unless told otherwise.
const LIMIT_DEFAULT: u32 = 10_000;
/// Resources that a list can be told to fetch: all are held in memory.
const LIMIT_MAX: u32 = 1_000_000;

/// What every list takes.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Conditions joined by AND, for example `state = NEEDS_REAUTHORIZATION`
    #[arg(long, value_name = "FILTER")]
    filter: Option<String>,
    /// Fetch at most so many
    #[arg(long, value_name = "N", default_value_t = LIMIT_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LIMIT_MAX)))]
    limit: u32,
}

/// Labels to set and to remove.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct LabelChanges {
    /// A label to set, repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(super) set_labels: Vec<(String, String)>,
    /// A label to remove, repeatable
    #[arg(long = "remove-label", value_name = "KEY")]
    removed_labels: Vec<String>,
}

impl ListArgs {
    pub(super) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    pub(super) fn filter(&self) -> String {
        self.filter.clone().unwrap_or_default()
    }
}

impl LabelChanges {
    /// Paths of the update mask: one for each label, so that the others stay as they are.
    pub(super) fn paths(&self) -> Vec<String> {
        let set = self.set_labels.iter().map(|(key, _)| key);
        set.chain(&self.removed_labels).map(|key| format!("labels.{key}")).collect()
    }
}

/// An update has to change something: at least one of these flags.
pub(super) fn change<const N: usize>(flags: [&'static str; N]) -> ArgGroup {
    ArgGroup::new("change").required(true).multiple(true).args(flags)
}

/// As the messages hold them; of one key the last value counts.
pub(super) fn labels(pairs: Vec<(String, String)>) -> BTreeMap<String, String> {
    pairs.into_iter().collect()
}

macro_rules! value_enum {
    ($type:ty { $($variant:ident = $name:literal,)+ }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),+]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                match self {
                    $(Self::$variant => Some(PossibleValue::new($name)),)+
                    Self::Unspecified => None,
                }
            }
        }
    };
}

value_enum!(GrantType {
    ClientCredentials = "client-credentials",
    RefreshToken = "refresh-token",
    AuthorizationCode = "authorization-code",
    DeviceCode = "device-code",
    Password = "password",
    Otp = "otp",
    CompanyRequestToken = "company-request-token",
    JwtBearer = "jwt-bearer",
    TokenExchange = "token-exchange",
    SamlBearer = "saml-bearer",
});

value_enum!(ClientAuthMethod {
    ClientSecretBasic = "client-secret-basic",
    ClientSecretPost = "client-secret-post",
    ClientSecretJwt = "client-secret-jwt",
    PrivateKeyJwt = "private-key-jwt",
    TlsClientAuth = "tls-client-auth",
    SelfSignedTlsClientAuth = "self-signed-tls-client-auth",
    None = "none",
});

value_enum!(Environment {
    Sandbox = "sandbox",
    Production = "production",
});

value_enum!(SigningAlgorithm {
    Es256 = "es256",
    Ps256 = "ps256",
    Eddsa = "eddsa",
    Rs256 = "rs256",
});

value_enum!(ScopeNarrowing {
    Strict = "strict",
    ServeWhole = "serve-whole",
});

/// Numbers of enum values, as repeated fields hold them.
pub(super) fn numbers<E: Into<i32>>(values: Vec<E>) -> Vec<i32> {
    values.into_iter().map(Into::into).collect()
}

/// `key=value`. The server says which keys it takes.
pub(super) fn parse_label(given: &str) -> Result<(String, String), String> {
    match given.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

/// Whose resources to list: one tenant's, or those of all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tenants {
    One(TenantName),
    All,
}

/// Whose clients to list: also the platform's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ClientParent {
    Tenants(Tenants),
    Platform,
}

impl FromStr for Tenants {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        if given == "tenants/-" { Ok(Self::All) } else { given.parse().map(Self::One) }
    }
}

impl FromStr for ClientParent {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        if given == "platform" { Ok(Self::Platform) } else { given.parse().map(Self::Tenants) }
    }
}

impl fmt::Display for Tenants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(tenant) => tenant.fmt(f),
            Self::All => f.write_str("tenants/-"),
        }
    }
}

impl fmt::Display for ClientParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenants(tenants) => tenants.fmt(f),
            Self::Platform => f.write_str("platform"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_of_lists_print_as_they_parse() {
        for given in ["tenants/acme", "tenants/-"] {
            assert_eq!(given.parse::<Tenants>().unwrap().to_string(), given);
            assert_eq!(given.parse::<ClientParent>().unwrap().to_string(), given);
        }
        assert_eq!("platform".parse::<ClientParent>().unwrap().to_string(), "platform");
        for given in ["", "-", "acme", "platform", "tenants/acme/connections", "tenants/--"] {
            assert!(given.parse::<Tenants>().is_err(), "{given}");
        }
    }

    #[test]
    fn a_label_may_have_an_empty_value_and_equal_signs_but_no_empty_key() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(parse_label("team=payroll"), pair("team", "payroll"));
        assert_eq!(parse_label("team="), pair("team", ""));
        assert_eq!(parse_label("query=a=b"), pair("query", "a=b"));
        assert!(parse_label("=payroll").is_err());
        assert!(parse_label("team").is_err());
    }

    #[test]
    fn the_names_of_enum_values_are_those_of_the_api() {
        fn check<E: ValueEnum + Copy>(prefix: &str, name: impl Fn(E) -> &'static str) {
            for each in E::value_variants() {
                let shown = each.to_possible_value().unwrap().get_name().to_uppercase().replace('-', "_");
                assert_eq!(format!("{prefix}{shown}"), name(*each));
            }
        }
        check("GRANT_TYPE_", |each: GrantType| each.as_str_name());
        check("CLIENT_AUTH_METHOD_", |each: ClientAuthMethod| each.as_str_name());
        check("ENVIRONMENT_", |each: Environment| each.as_str_name());
        check("SIGNING_ALGORITHM_", |each: SigningAlgorithm| each.as_str_name());
        check("SCOPE_NARROWING_", |each: ScopeNarrowing| each.as_str_name());
    }
}
