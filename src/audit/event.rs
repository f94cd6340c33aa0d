//! What can be on record. Every field is a name that passed its validation, a word of ours, a number, a time or a
//! keyed digest: no text from outside and no secret fits in. docs/audit.md is the specification, field by field.

use super::hex::{Hash, Tag};
use crate::clock::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::{self, Display, Write as _};
use uuid::Uuid;

/// Longest name, in bytes: that of a SPIFFE ID (SPIFFE-ID §2.3).
pub const NAME_MAX: usize = 2048;

/// A caller's id, a resource name or a word: visible ASCII without quotes and backslashes, at most [`NAME_MAX`] bytes.
/// What is given was validated before; this is the second wall, behind which nothing else can stand in the trail.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// First line of every file: which chain it belongs to and what came before it.
    File(FileStart),
    /// The process began to serve.
    Start {
        replica: Name,
        version: Name,
        releases: Releases,
        /// Names the key of `mac` and `token`.
        key: Name,
    },
    /// The process ends and has written all that it had counted.
    Stop { replica: Name },
    /// Something was read anew while the process ran.
    Reload { what: Reloaded, outcome: Outcome },
    /// A token is about to leave.
    Release(Release),
    /// It left again, to the same caller.
    ReleaseSummary(Summary),
    /// A caller that is known may not do this.
    Denied { caller: Name, action: Name, target: Name, reason: Name },
    /// Nobody knows who asked.
    Unauthenticated {
        transport: Name,
        reason: Name,
        /// Calls that this line stands for.
        count: u64,
    },
    /// A caller had had its share, or its tenant's was taken; counted, and never a line for each.
    Throttled {
        caller: Name,
        /// Which bound, as the configuration calls it.
        limit: Name,
        /// Calls that this line stands for.
        count: u64,
    },
    /// An administrative change: `asked` before anything is done, then what came of it, with the same `call`.
    Change {
        call: Uuid,
        caller: Name,
        action: Name,
        target: Name,
        step: Step,
        /// Of a change that did not come about: the reason in the caller's error.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Name>,
    },
    /// A connection went into another state.
    State {
        connection: Name,
        to: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Name>,
    },
    /// A key took a step of its life.
    Key { owner: Name, version: u32, step: Name },
    /// Lines that the second sink did not take; they are all here.
    Dropped { sink: Name, count: u64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStart {
    /// Made once, with the first file.
    pub chain: Uuid,
    /// Counts from 1; also the file's name.
    pub number: u64,
    pub replica: Name,
    /// Of the first file there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
}

/// How the file before ends. Bytes behind that were never confirmed to anybody: a crash or a disk that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    pub number: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub caller: Name,
    pub connection: Name,
    /// The consent that the token descends from.
    pub family: Uuid,
    /// Which answer of that consent.
    pub generation: u64,
    pub token: Tag,
    #[serde(with = "rfc3339")]
    pub expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    #[serde(flatten)]
    pub release: Release,
    /// Releases after the one that has a line of its own.
    pub count: u64,
    #[serde(with = "rfc3339")]
    pub first_at: Timestamp,
    #[serde(with = "rfc3339")]
    pub last_at: Timestamp,
}

/// Which releases have a line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Releases {
    /// The first of a token to a caller; more are counted.
    First,
    Every,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reloaded {
    Certificates,
    Policies,
    Jwks,
    Issuers,
    Keyset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// What was in use before stays in use.
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// On record before anything is done. Without a later line of the same call, what came of it is not known.
    Asked,
    Done,
    /// Nothing was changed.
    Refused,
    /// It may have been changed in part.
    Failed,
}

impl Name {
    /// Characters that do not belong into a name become `?`, and the end of a longer one is left out.
    pub fn of(given: &impl Display) -> Self {
        struct Filter(String);
        impl fmt::Write for Filter {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    if self.0.len() >= NAME_MAX {
                        break;
                    }
                    self.0.push(if c.is_ascii_graphic() && c != '"' && c != '\\' { c } else { '?' });
                }
                Ok(())
            }
        }
        let mut filter = Filter(String::new());
        // Fails if the given thing's own `Display` does.
        let _ = write!(filter, "{given}");
        Self(filter.0.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    /// A trail may have been written over by anybody: what is read passes the same wall.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&String::deserialize(deserializer)?))
    }
}

pub(super) mod rfc3339 {
    //! Times as [`Timestamp`] prints them.

    use crate::clock::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
    pub(in super::super) fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Digest of a line; what the next one carries.
pub type LineHash = Hash;
