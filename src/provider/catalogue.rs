//! Reads provider profiles from TOML. A file is checked as a whole: every mistake in it is told at once, with
//! the key and how to mend it. Never guesses: what is not written gets the most careful value.

mod check;

pub use check::EXCHANGE_TIMEOUT_MAX;

use crate::domain::{
    names::ProviderName,
    profile::{
        ClientAuth, Dialect, GrantKind, HostPattern, MissingTokenType, Overlap, Profile, RefreshExpiry,
        Reuse, Revocation, Rotation, Rule, ScopeSeparator,
    },
};
use std::{collections::BTreeMap, sync::Arc};
use toml::{Table, Value};

/// Largest profile file, in bytes.
pub const FILE_MAX: usize = 64 * 1024;
/// Most profiles in one catalogue.
pub const PROFILES_MAX: usize = 256;

const BUILT_IN: [(&str, &str); 2] = [
    ("generic-oauth2.toml", include_str!("../../providers/generic-oauth2.toml")),
    ("sap-concur.toml", include_str!("../../providers/sap-concur.toml")),
];

/// These tables are merged with those of the extended profile; every other key replaces what was there.
const MERGED: [&str; 4] = ["errors", "bootstrap_errors", "lifetimes", "quirks"];

/// All known providers.
#[derive(Debug, Clone)]
pub struct Catalogue {
    profiles: BTreeMap<ProviderName, Arc<Profile>>,
    /// The profiles as written, for others to extend; templates too.
    written: BTreeMap<String, Table>,
}

/// What is wrong with a profile file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider profile {file} cannot be used: {}", listed(.mistakes))]
pub struct ProfileError {
    pub file: String,
    pub mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub key: String,
    pub problem: String,
    /// What to write instead.
    pub mend: String,
}

/// A file as it is written. Every key is described in docs/providers.md.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    display_name: String,
    dialect: Dialect,
    #[serde(default)]
    template: bool,
    issuer: Option<String>,
    token_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    revocation: Revocation,
    #[serde(default)]
    data_centers: BTreeMap<String, String>,
    bootstrap_at: Option<String>,
    #[serde(default)]
    hosts: Vec<HostPattern>,
    client_auth: Vec<ClientAuth>,
    grants: Vec<GrantKind>,
    #[serde(default)]
    rotation: Rotation,
    #[serde(default)]
    reuse: Reuse,
    #[serde(default)]
    overlap: Overlap,
    grace: Option<String>,
    #[serde(default)]
    refresh_expiry: RefreshExpiry,
    #[serde(default)]
    lifetimes: WrittenLifetimes,
    #[serde(default)]
    quirks: WrittenQuirks,
    exchange_timeout: Option<String>,
    retry_ceiling: Option<String>,
    #[serde(default)]
    errors: BTreeMap<String, Rule>,
    #[serde(default)]
    bootstrap_errors: BTreeMap<String, Rule>,
    #[serde(default)]
    sources: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLifetimes {
    access_default: Option<String>,
    refresh_idle: Option<String>,
    refresh_absolute: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuirks {
    #[serde(default)]
    missing_token_type: MissingTokenType,
    #[serde(default)]
    scope_separator: ScopeSeparator,
    #[serde(default)]
    redirecting_hosts: Vec<HostPattern>,
}

impl Catalogue {
    /// The profiles that come with the program.
    pub fn built_in() -> Result<Self, ProfileError> {
        let mut catalogue = Self { profiles: BTreeMap::new(), written: BTreeMap::new() };
        for (file, text) in BUILT_IN {
            catalogue.add(file, text)?;
        }
        Ok(catalogue)
    }

    /// Adds an operator's files, each a name for messages and its text, in this order: a file may extend what
    /// comes before it, and replaces a profile of the same name. Gives every error, not only the first.
    pub fn with(mut self, files: &[(String, String)]) -> Result<Self, Vec<ProfileError>> {
        let errors: Vec<_> = files.iter().filter_map(|(file, text)| self.add(file, text).err()).collect();
        if errors.is_empty() { Ok(self) } else { Err(errors) }
    }

    /// `None` for an unknown provider and for a template, which nothing can connect to.
    pub fn get(&self, name: &ProviderName) -> Option<Arc<Profile>> {
        self.profiles.get(name).cloned()
    }

    /// All profiles that can be connected to, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.values().map(Arc::as_ref)
    }

    fn add(&mut self, file: &str, text: &str) -> Result<(), ProfileError> {
        self.checked(text)
            .map(|(table, profile)| self.keep(&table, profile))
            .map_err(|mistakes| ProfileError { file: file.to_owned(), mistakes })
    }

    fn checked(&self, text: &str) -> Result<(Table, Option<Profile>), Vec<Mistake>> {
        if text.len() > FILE_MAX {
            return Err(vec![Mistake::new(
                "",
                "is larger than 64 KiB",
                "split it, or drop what is not needed",
            )]);
        }
        if self.written.len() >= PROFILES_MAX {
            return Err(vec![Mistake::new("", "is one profile too many", "keep at most 256 profiles")]);
        }
        let table: Table = text.parse().map_err(|error| vec![Mistake::of_toml(&error)])?;
        let table = self.extended(table)?;
        let written: Written = table.clone().try_into().map_err(|error| vec![Mistake::of_toml(&error)])?;
        let template = written.template;
        let profile = check::profile(written)?;
        Ok((table, (!template).then_some(profile)))
    }

    /// Puts the table upon the one it extends, if it does. `template` is not inherited.
    fn extended(&self, mut table: Table) -> Result<Table, Vec<Mistake>> {
        let Some(base) = table.remove("extends") else { return Ok(table) };
        let Some(mut whole) = base.as_str().and_then(|name| self.written.get(name)).cloned() else {
            let known: Vec<_> = self.written.keys().map(String::as_str).collect();
            let mend = format!("name one of {}", known.join(", "));
            return Err(vec![Mistake::new("extends", "names no profile that was read before", mend)]);
        };
        // A file that forgets its name must not silently take the place of what it extends.
        whole.remove("template");
        whole.remove("name");
        for (key, value) in table {
            match (whole.get_mut(&key), value) {
                (Some(Value::Table(base)), Value::Table(upper)) if MERGED.contains(&key.as_str()) => {
                    base.extend(upper);
                }
                (_, value) => drop(whole.insert(key, value)),
            }
        }
        Ok(whole)
    }

    fn keep(&mut self, table: &Table, profile: Option<Profile>) {
        if let Some(name) = table.get("name").and_then(Value::as_str) {
            self.written.insert(name.to_owned(), table.clone());
        }
        if let Some(profile) = profile {
            self.profiles.insert(profile.name.clone(), Arc::new(profile));
        }
    }
}

impl Mistake {
    fn new(key: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into(), mend: mend.into() }
    }

    fn of_toml(error: &toml::de::Error) -> Self {
        Self::new("", error.message(), "see docs/providers.md for the keys and their values")
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    let each = |m: &Mistake| format!("`{}` {}; {}", m.key, m.problem, m.mend);
    mistakes.iter().map(each).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
