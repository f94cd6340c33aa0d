//! The section `[policy]`: where the policies lie, and where nobody may do without. Reads a set as a whole; what its
//! files say is judged elsewhere.

use super::{
    BearerTokens, Disk, Files, SocketAccess, Tls, UnixSocket, files, files::Trouble, gather::Settings,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Largest file of a set, in bytes.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Most files of one kind in a set.
const FILES_MAX: usize = 256;
/// Policies, and what is said of workloads.
const ENDINGS: [&str; 2] = ["cedar", "toml"];
/// How often a folder is read until it was the same twice.
const READS_MAX: usize = 5;

const DIR: &str = "policy.dir";
const SHADOW_DIR: &str = "policy.shadow_dir";

/// What callers may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `None`: everything, to this machine, as nobody else gets to a listener.
    pub set: Option<PolicyFolder>,
    /// Tried out beside it.
    pub shadow: Option<PolicyFolder>,
    /// How often the folders are looked at.
    pub reload: Duration,
}

/// A folder with a set of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFolder {
    /// What names it: a key of the configuration, or an argument.
    pub key: &'static str,
    pub path: PathBuf,
}

/// A file of a set, not judged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// Its name without its folder.
    pub name: String,
    pub text: String,
}

/// A set that cannot be read: what is wrong with which file, and the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}\n    mend: {mend}")]
pub struct PolicyTrouble {
    pub key: &'static str,
    pub problem: String,
    pub mend: String,
}

impl PolicyFolder {
    /// All files of the set at one moment, by name: Kubernetes swaps the folder behind the path. One trouble for each
    /// file that cannot be read.
    pub fn read(&self, files: &dyn Files) -> Result<Vec<PolicyText>, Vec<PolicyTrouble>> {
        let mut before = self.read_once(files)?;
        for _ in 1..READS_MAX {
            let again = self.read_once(files)?;
            if again == before {
                return Ok(again);
            }
            before = again;
        }
        let problem = "changes while it is read".to_owned();
        Err(vec![self.trouble((problem, "write it anew in one step: rename the folder's link".to_owned()))])
    }

    fn read_once(&self, files: &dyn Files) -> Result<Vec<PolicyText>, Vec<PolicyTrouble>> {
        let mut names = Vec::new();
        for ending in ENDINGS {
            let found = files::named(files, &self.path, ending, FILES_MAX);
            names.append(&mut found.map_err(|trouble| vec![self.trouble(trouble)])?);
        }
        if names.is_empty() {
            let problem = "has neither *.cedar nor *.toml files".to_owned();
            let mend = "write policies there: docs/policies.md has sets to start from".to_owned();
            return Err(vec![self.trouble((problem, mend))]);
        }
        let (mut read, mut troubles) = (Vec::new(), Vec::new());
        for name in names {
            match files::text(files, &self.path.join(&name), FILE_BYTES_MAX) {
                Ok(text) => read.push(PolicyText { name, text }),
                Err((problem, mend)) => {
                    troubles.push(self.trouble((format!("`{}`: {problem}", name.escape_debug()), mend)));
                }
            }
        }
        if troubles.is_empty() { Ok(read) } else { Err(troubles) }
    }

    fn trouble(&self, (problem, mend): Trouble) -> PolicyTrouble {
        PolicyTrouble { key: self.key, problem, mend }
    }
}

/// Files and folders that a person names, as one set. A file is called by its path, those of a folder by folder and name.
pub fn policy_files(paths: &[PathBuf]) -> Result<Vec<PolicyText>, Vec<PolicyTrouble>> {
    let (mut all, mut troubles) = (Vec::new(), Vec::new());
    for path in paths {
        let shown = |name: &Path| name.display().to_string();
        let told = |(problem, mend): Trouble| PolicyTrouble {
            key: "PATH",
            problem: format!("{} {problem}", shown(path).escape_debug()),
            mend,
        };
        if path.is_dir() {
            match (PolicyFolder { key: "PATH", path: path.clone() }).read(&Disk) {
                Ok(texts) => all.extend(
                    texts.into_iter().map(|text| PolicyText { name: shown(&path.join(&text.name)), ..text }),
                ),
                Err(found) => {
                    troubles.extend(found.into_iter().map(|trouble| told((trouble.problem, trouble.mend))));
                }
            }
        } else if path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known)) {
            match files::text(&Disk, path, FILE_BYTES_MAX) {
                Ok(text) => all.push(PolicyText { name: shown(path), text }),
                Err(trouble) => troubles.push(told(trouble)),
            }
        } else {
            let problem = "is neither a folder nor named *.cedar or *.toml".to_owned();
            troubles.push(told((problem, "name a set's folder, or its files".to_owned())));
        }
    }
    if troubles.is_empty() { Ok(all) } else { Err(troubles) }
}

/// Who would come without anything that says what each may do.
fn unruled(tls: Option<&Tls>, unix: Option<&UnixSocket>, tokens: BearerTokens) -> Option<&'static str> {
    if tls.is_some() {
        return Some("callers of `listen` prove who they are, and nothing says what each of them may do");
    }
    if unix.is_some_and(|unix| unix.access == SocketAccess::Group) {
        return Some("`unix.access` is \"group\", and nothing says what each user of the group may do");
    }
    match tokens {
        BearerTokens::Taken => Some("callers bring tokens, and nothing says what each of them may do"),
        BearerTokens::NotTaken => None,
    }
}

impl Settings {
    pub(super) fn policy(
        &mut self,
        (tls, unix): (Option<&Tls>, Option<&UnixSocket>),
        tokens: BearerTokens,
        files: &dyn Files,
    ) -> Policy {
        let [set, shadow] = [DIR, SHADOW_DIR].map(|key| {
            let folder = PolicyFolder { key, path: self.optional::<PathBuf>(key)? };
            for PolicyTrouble { key, problem, mend } in folder.read(files).err().into_iter().flatten() {
                self.object(key, problem, mend);
            }
            Some(folder)
        });
        let sound = self.sound(&[DIR, "listen", "unix.access"]);
        if let Some(why) = unruled(tls, unix, tokens).filter(|_| set.is_none() && sound) {
            let mend = "name the folder with the policies: docs/policies.md has sets to start from. Only this machine's \
                        loopback without TLS, and a socket with unix.access = \"owner\", do without";
            self.object(DIR, format!("is empty: {why}"), mend);
        }
        if set.is_none() && shadow.is_some() && sound {
            let mend = "set policy.dir: what is in use now, for the others to be compared with";
            self.object(SHADOW_DIR, "is set without `policy.dir`", mend);
        }
        Policy { set, shadow, reload: self.get("policy.reload") }
    }
}
