//! Reads provider profiles from TOML. A file is checked as a whole: every mistake in it is told at once, with
//! the key and how to mend it. Never guesses: what is not written gets the most careful value.

mod built_in;
mod check;
#[cfg(test)]
mod page;
mod shape;
mod variables;
mod written;

pub use check::EXCHANGE_TIMEOUT_MAX;

use crate::domain::{names::ProviderName, profile::Profile};
use built_in::BUILT_IN;
use shape::Shape;
use std::{collections::BTreeMap, fmt, sync::Arc};
use toml::{Table, Value};
use written::Written;

/// Largest profile file, in bytes.
pub const FILE_MAX: usize = 64 * 1024;
/// Most profiles in one catalogue.
pub const PROFILES_MAX: usize = 256;

/// These tables are merged with those of the extended profile; every other key replaces what was there.
const MERGED: [&str; 8] = [
    "authorization_parameters",
    "bootstrap_errors",
    "errors",
    "lifetimes",
    "mtls_endpoint_aliases",
    "quirks",
    "token_parameters",
    "variables",
];

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
    /// Where it stands, counted from 1; `None` for what is missing or was inherited.
    pub line: Option<usize>,
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

    /// A profile's file as text and its name, as it comes with the program.
    #[cfg(test)]
    pub(super) fn built_in_files() -> &'static [(&'static str, &'static str)] {
        &BUILT_IN
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
        let (table, mut shape) = Shape::of(text)?;
        let mut found = std::mem::take(&mut shape.mistakes);
        if found.iter().any(|mistake| mistake.key == "extends") {
            return Err(placed(found, &shape));
        }
        let table = match self.extended(table) {
            Ok(table) => table,
            // Without what it extends, most of the profile looks missing.
            Err(mistake) => {
                found.push(mistake);
                return Err(placed(found, &shape));
            }
        };
        let filled = variables::filled(table.clone(), &mut found);
        let written: Written = match filled.try_into() {
            Ok(written) => written,
            Err(error) => {
                let mend = "see docs/providers.md for the keys and their values";
                found.push(Mistake::new("", toml::de::Error::message(&error), mend));
                return Err(placed(found, &shape));
            }
        };
        let template = written.template;
        let profile = check::profile(written, found).map_err(|found| placed(found, &shape))?;
        Ok((table, (!template).then_some(profile)))
    }

    /// Puts the table upon the one it extends, if it does. `template` is not inherited.
    fn extended(&self, mut table: Table) -> Result<Table, Mistake> {
        let Some(base) = table.remove("extends") else { return Ok(table) };
        let Some(mut whole) = base.as_str().and_then(|name| self.written.get(name)).cloned() else {
            let known: Vec<_> = self.written.keys().map(String::as_str).collect();
            let mend = format!("name one of {}", known.join(", "));
            return Err(Mistake::new("extends", "names no profile that was read before", mend));
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
        Self { key: key.into(), problem: problem.into(), mend: mend.into(), line: None }
    }
}

/// `grace, line 7, is too long; write at most 86400s`.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.key.as_str(), self.line) {
            ("", None) => f.write_str("the file ")?,
            ("", Some(line)) => write!(f, "line {line}: ")?,
            (key, None) => write!(f, "`{key}` ")?,
            (key, Some(line)) => write!(f, "`{key}` (line {line}) ")?,
        }
        write!(f, "{}; {}", self.problem, self.mend)
    }
}

/// Says where each mistake stands, in the order of the lines.
fn placed(mut found: Vec<Mistake>, shape: &Shape) -> Vec<Mistake> {
    for mistake in &mut found {
        mistake.line = mistake.line.or_else(|| shape.line_of(&mistake.key));
    }
    found.sort_by_key(|mistake| mistake.line.unwrap_or(usize::MAX));
    found
}

fn listed(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
