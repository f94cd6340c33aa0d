//! Resource names, checked once where they enter. A name that exists is well-formed.

use std::{fmt, str::FromStr};

/// Longest id, in bytes: what fits a DNS label.
pub const ID_MAX: usize = 63;

/// `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, as for a DNS label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(Box<str>);

/// `tenants/{tenant}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(pub Id);

/// `providers/{provider}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderName(pub Id);

/// `tenants/{tenant}/connections/{connection}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionName {
    pub tenant: TenantName,
    pub id: Id,
}

/// Whose keys seal a thing, and who may see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    Platform,
    Tenant(TenantName),
}

/// `tenants/{tenant}/clients/{client}` or `platform/clients/{client}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientName {
    pub owner: Owner,
    pub id: Id,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The id has a character, a length or an edge that ids do not have.
    #[error("`{0}` is not an id: use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit")]
    Id(String),
    /// The words between the slashes are not those of this resource.
    #[error("`{given}` is not a resource name of the form `{form}`")]
    Form { given: String, form: &'static str },
}

/// Error texts echo what was given, cut to this many characters.
const ECHO_MAX: usize = 120;

fn echo(given: &str) -> String {
    given.chars().filter(|c| !c.is_control()).take(ECHO_MAX).collect()
}

impl Id {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Id {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let well_formed = (1..=ID_MAX).contains(&given.len())
            && given.bytes().all(inner)
            && !given.starts_with('-')
            && !given.ends_with('-');
        if well_formed { Ok(Self(given.into())) } else { Err(NameError::Id(echo(given))) }
    }
}

/// Splits a name into the ids at the `{}` places of `form`.
fn ids<const N: usize>(given: &str, form: &'static str) -> Result<[Id; N], NameError> {
    let wrong = || NameError::Form { given: echo(given), form };
    let (mut words, mut found) = (given.split('/'), Vec::with_capacity(N));
    for expected in form.split('/') {
        let word = words.next().ok_or_else(wrong)?;
        if expected.starts_with('{') {
            found.push(word.parse()?);
        } else if word != expected {
            return Err(wrong());
        }
    }
    if words.next().is_some() {
        return Err(wrong());
    }
    found.try_into().map_err(|_| wrong())
}

impl FromStr for TenantName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        let [id] = ids(given, "tenants/{tenant}")?;
        Ok(Self(id))
    }
}

impl FromStr for ProviderName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        let [id] = ids(given, "providers/{provider}")?;
        Ok(Self(id))
    }
}

impl FromStr for ConnectionName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        let [tenant, id] = ids(given, "tenants/{tenant}/connections/{connection}")?;
        Ok(Self { tenant: TenantName(tenant), id })
    }
}

impl FromStr for Owner {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        if given == "platform" { Ok(Self::Platform) } else { given.parse().map(Self::Tenant) }
    }
}

impl FromStr for ClientName {
    type Err = NameError;

    fn from_str(given: &str) -> Result<Self, NameError> {
        if given.starts_with("platform/") {
            let [id] = ids(given, "platform/clients/{client}")?;
            return Ok(Self { owner: Owner::Platform, id });
        }
        let [tenant, id] = ids(given, "tenants/{tenant}/clients/{client}")?;
        Ok(Self { owner: Owner::Tenant(TenantName(tenant)), id })
    }
}

impl ConnectionName {
    pub fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant.clone())
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tenants/{}", self.0)
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "providers/{}", self.0)
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/connections/{}", self.tenant, self.id)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str("platform"),
            Self::Tenant(tenant) => tenant.fmt(f),
        }
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/clients/{}", self.owner, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dns_labels() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "a-b", "acme-2", longest.as_str()] {
            assert_eq!(good.parse::<Id>().unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a/b", "a\n", too_long.as_str()] {
            assert!(bad.parse::<Id>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_print_as_they_parse() {
        for name in ["tenants/acme/connections/concur", "tenants/a/connections/b"] {
            assert_eq!(name.parse::<ConnectionName>().unwrap().to_string(), name);
        }
        for name in ["tenants/acme/clients/app", "platform/clients/app"] {
            assert_eq!(name.parse::<ClientName>().unwrap().to_string(), name);
        }
    }

    #[test]
    fn a_name_of_another_form_is_refused() {
        for bad in [
            "",
            "tenants/acme",
            "tenants/acme/connections",
            "tenants/acme/connections/",
            "tenants//connections/concur",
            "tenants/acme/clients/concur",
            "tenants/acme/connections/concur/x",
            "/tenants/acme/connections/concur",
            "tenants/../connections/concur",
        ] {
            assert!(bad.parse::<ConnectionName>().is_err(), "{bad}");
        }
    }
}
