//! What trails say about a question: who held a live token at some time, and which lines fit a filter. Pure but for
//! reading the files. Says nothing of whether a trail is genuine: that is what verifying is for.

use super::{
    chain::file_name,
    event::{Event, Name, Release, Step, Summary},
    hex::Tag,
    line::{self, Line},
    reading::Trail,
};
use crate::clock::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    io,
};
use uuid::Uuid;

/// Which lines are wanted; what is not set fits all.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `tenants/{tenant}`: lines about it and what belongs to it.
    pub tenant: Option<String>,
    pub connection: Option<String>,
    /// A caller's whole id.
    pub caller: Option<String>,
    pub action: Option<String>,
    pub token: Option<Tag>,
    pub kind: Kind,
    pub since: Option<Timestamp>,
    /// Not included.
    pub until: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    #[default]
    All,
    /// Refused callers, known and unknown.
    Denied,
    Releases,
    Changes,
}

/// A line that fits, and where it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Hit {
    pub file: String,
    #[serde(flatten)]
    pub line: Line,
}

/// A caller that was given a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    pub caller: Name,
    pub connection: Name,
    pub family: Uuid,
    pub generation: u64,
    pub token: Tag,
    #[serde(with = "super::event::rfc3339")]
    pub released_at: Timestamp,
    /// The last time that it was given the same token.
    #[serde(with = "super::event::rfc3339")]
    pub last_at: Timestamp,
    /// How often, as far as it has been written down.
    pub count: u64,
    #[serde(with = "super::event::rfc3339")]
    pub expires_at: Timestamp,
    pub state: Held,
}

/// What a token was at the time that was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Held {
    Live,
    /// The connection had been revoked. Whether its provider refuses tokens from then on is the provider's matter.
    Revoked,
}

/// The method that ends a grant at its provider.
const REVOKED_BY: &str = "RevokeConnection";
/// Most lines and holdings of an answer.
pub const HITS_MAX: usize = 100_000;

/// There is more than [`HITS_MAX`]: ask for less.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("more than {HITS_MAX} lines fit: narrow the question")]
    TooMany,
}

/// All lines that fit, in the order of their times.
pub fn lines(trails: &[Trail], filter: &Filter) -> Result<Vec<Hit>, QueryError> {
    let mut hits = Vec::new();
    each(trails, |file, line| {
        if filter.fits(&line) && hits.len() <= HITS_MAX {
            hits.push(Hit { file: file.to_owned(), line });
        }
    })?;
    if hits.len() > HITS_MAX {
        return Err(QueryError::TooMany);
    }
    hits.sort_by_key(|hit| hit.line.at);
    Ok(hits)
}

/// Who had been given a token that was not expired at `at`; or at any time, without one.
pub fn holders(trails: &[Trail], filter: &Filter, at: Option<Timestamp>) -> Result<Vec<Holding>, QueryError> {
    let mut book = Book::default();
    each(trails, |_, line| book.enter(line, filter, at))?;
    if book.holdings.len() > HITS_MAX {
        return Err(QueryError::TooMany);
    }
    Ok(book.closed(at))
}

#[derive(Default)]
struct Book {
    holdings: BTreeMap<(Name, Name, String), Holding>,
    revoked: HashMap<Name, Vec<Timestamp>>,
}

impl Book {
    fn enter(&mut self, line: Line, filter: &Filter, at: Option<Timestamp>) {
        let (release, count, first_at, last_at) = match line.event {
            Event::Release(release) => (release, 1, line.at, line.at),
            Event::ReleaseSummary(Summary { release, count, first_at, last_at }) => {
                (release, count, first_at, last_at)
            }
            Event::State { connection, to, .. } => {
                if to.as_str() == "revoked" {
                    self.revoked.entry(connection).or_default().push(line.at);
                }
                return;
            }
            Event::Change { action, target, step, .. } => {
                if (action.as_str(), step) == (REVOKED_BY, Step::Done) {
                    self.revoked.entry(target).or_default().push(line.at);
                }
                return;
            }
            Event::File(_)
            | Event::Start { .. }
            | Event::Stop { .. }
            | Event::Reload { .. }
            | Event::Denied { .. }
            | Event::Unauthenticated { .. }
            | Event::Throttled { .. }
            | Event::Key { .. }
            | Event::Dropped { .. } => return,
        };
        let is_live = at.is_none_or(|at| first_at <= at && at < release.expires_at);
        if !is_live || !filter.fits_release(&release) || self.holdings.len() > HITS_MAX {
            return;
        }
        let key = (release.caller.clone(), release.connection.clone(), release.token.to_string());
        let Release { caller, connection, family, generation, token, expires_at } = release;
        let held = self.holdings.entry(key).or_insert(Holding {
            caller,
            connection,
            family,
            generation,
            token,
            released_at: first_at,
            last_at,
            count: 0,
            expires_at,
            state: Held::Live,
        });
        held.count += count;
        held.released_at = held.released_at.min(first_at);
        held.last_at = held.last_at.max(last_at);
        held.expires_at = held.expires_at.max(expires_at);
    }

    fn closed(self, at: Option<Timestamp>) -> Vec<Holding> {
        let Self { holdings, revoked } = self;
        let mut all: Vec<Holding> = holdings.into_values().collect();
        for held in &mut all {
            let until = at.unwrap_or(Timestamp::MAX);
            let times = revoked.get(&held.connection).map(Vec::as_slice).unwrap_or_default();
            if times.iter().any(|&revoked| held.released_at <= revoked && revoked <= until) {
                held.state = Held::Revoked;
            }
        }
        all.sort_by_key(|held| held.released_at);
        all
    }
}

impl Filter {
    fn fits(&self, line: &Line) -> bool {
        let about = About::of(&line.event);
        let asked = |wanted: &Option<String>, is: Option<&Name>| {
            wanted.as_ref().is_none_or(|wanted| is.is_some_and(|is| is.as_str() == wanted))
        };
        self.since.is_none_or(|since| since <= line.at)
            && self.until.is_none_or(|until| line.at < until)
            && asked(&self.caller, about.caller)
            && asked(&self.action, about.action)
            && asked(&self.connection, about.target)
            && self.token.is_none_or(|token| about.token == Some(token))
            && self
                .tenant
                .as_ref()
                .is_none_or(|tenant| about.target.is_some_and(|name| belongs(name, tenant)))
            && (self.kind == Kind::All || self.kind == about.kind)
    }

    fn fits_release(&self, release: &Release) -> bool {
        self.caller.as_ref().is_none_or(|caller| release.caller.as_str() == caller)
            && self.connection.as_ref().is_none_or(|name| release.connection.as_str() == name)
            && self.tenant.as_ref().is_none_or(|tenant| belongs(&release.connection, tenant))
            && self.token.is_none_or(|token| token == release.token)
    }
}

/// Whether a name is the tenant's or of something in it.
fn belongs(name: &Name, tenant: &str) -> bool {
    name.as_str().strip_prefix(tenant).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What of an event can be asked about, and how it is told in a table.
pub struct About<'a> {
    pub word: &'static str,
    pub kind: Kind,
    pub caller: Option<&'a Name>,
    pub action: Option<&'a Name>,
    pub target: Option<&'a Name>,
    pub token: Option<Tag>,
    /// Whatever else there is to say, in short.
    pub detail: String,
}

impl<'a> About<'a> {
    pub fn of(event: &'a Event) -> Self {
        let about = |word, kind, detail| About {
            word,
            kind,
            caller: None,
            action: None,
            target: None,
            token: None,
            detail,
        };
        let of_release = |word, release: &'a Release, detail| About {
            caller: Some(&release.caller),
            target: Some(&release.connection),
            token: Some(release.token),
            ..about(word, Kind::Releases, detail)
        };
        match event {
            Event::File(start) => about("file", Kind::All, format!("number {}", start.number)),
            Event::Start { replica, version, .. } => {
                about("start", Kind::All, format!("{replica}, version {version}"))
            }
            Event::Stop { replica } => about("stop", Kind::All, replica.to_string()),
            Event::Reload { what, outcome } => {
                about("reload", Kind::All, format!("{what:?} {outcome:?}").to_lowercase())
            }
            Event::Release(release) => {
                of_release("release", release, format!("generation {}", release.generation))
            }
            Event::ReleaseSummary(summary) => {
                of_release("release_summary", &summary.release, format!("{} times more", summary.count))
            }
            Event::Denied { caller, action, target, reason } => About {
                caller: Some(caller),
                action: Some(action),
                target: Some(target),
                ..about("denied", Kind::Denied, reason.to_string())
            },
            Event::Unauthenticated { transport, reason, count } => {
                about("unauthenticated", Kind::Denied, format!("{reason} over {transport}, {count} times"))
            }
            Event::Throttled { caller, limit, count } => About {
                caller: Some(caller),
                ..about("throttled", Kind::Denied, format!("{limit}, {count} times"))
            },
            Event::Change { caller, action, target, step, reason, .. } => About {
                caller: Some(caller),
                action: Some(action),
                target: Some(target),
                ..about("change", Kind::Changes, outcome(*step, reason.as_ref()))
            },
            Event::State { connection, to, reason } => About {
                target: Some(connection),
                ..about("state", Kind::All, with_reason(to.as_str(), reason.as_ref()))
            },
            Event::Key { owner, version, step } => About {
                target: Some(owner),
                ..about("key", Kind::Changes, format!("version {version} {step}"))
            },
            Event::Dropped { sink, count } => about("dropped", Kind::All, format!("{count} lines by {sink}")),
        }
    }
}

fn outcome(step: Step, reason: Option<&Name>) -> String {
    let word = match step {
        Step::Asked => "asked",
        Step::Done => "done",
        Step::Refused => "refused",
        Step::Failed => "failed",
    };
    with_reason(word, reason)
}

fn with_reason(word: &str, reason: Option<&Name>) -> String {
    reason.map_or_else(|| word.to_owned(), |reason| format!("{word}: {reason}"))
}

/// Every line that counts and can be read.
fn each(trails: &[Trail], mut see: impl FnMut(&str, Line)) -> io::Result<()> {
    for trail in trails {
        trail.each(|part| {
            let name = trail.folder.join(file_name(part.number)).display().to_string();
            let (lines, _) = part.split();
            for line in lines.split(|&byte| byte == b'\n').filter_map(line::read) {
                see(&name, line);
            }
        })?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
