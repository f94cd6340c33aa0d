//! `bursar audit`: checks and searches audit trails where they lie. Needs no server; only reads, but for `key`, which
//! writes one new file.

mod shown;

use super::{ApiArgs, console::Console, failure::Failure, keys, times};
use crate::{
    audit::{
        Head, KeyError, Tag, key_of,
        query::{self, Filter, Kind, QueryError},
        reading::{self, Trail},
        tag_of,
        verify::{self, Against},
    },
    clock::Timestamp,
    domain::{
        names::{ConnectionName, TenantName},
        token::Secret,
    },
};
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Look whether trails are what was written: nothing altered, removed, moved or repeated
    Verify {
        #[command(flatten)]
        place: Place,
        /// File with the audit key, from `bursar audit key`: finds what was written by somebody without it
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
        /// A head that was noted elsewhere, `SEQ:HASH`: finds a trail that was cut or written anew
        #[arg(long = "head", value_name = "SEQ:HASH", value_parser = parse_head)]
        heads: Vec<Head>,
    },
    /// Print where trails have come to, to be noted elsewhere
    Head {
        #[command(flatten)]
        place: Place,
    },
    /// Find who held a live token at a time, or lines by what they are about
    Query(Box<QueryArgs>),
    /// Write the audit key to a file, with which lines are checked and tokens found
    Key {
        /// Configuration file of the broker, whose store holds the key; an embedded store must not be in use
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// File to write; it must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// Folders with trails in them or below them, or files of one
    #[arg(value_name = "DIR|FILE", default_value = "./bursar-data/audit")]
    paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    place: Place,
    /// Who held a token that was live at this time, in RFC 3339
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["since", "until", "action", "denied", "changes"])]
    at: Option<Timestamp>,
    /// Lines about this tenant and what belongs to it
    #[arg(long, value_name = "NAME")]
    tenant: Option<TenantName>,
    #[arg(long, value_name = "NAME")]
    connection: Option<ConnectionName>,
    /// A caller's whole id, as `spiffe://example.org/billing`
    #[arg(long, value_name = "ID")]
    caller: Option<String>,
    /// A method, as `GetToken`
    #[arg(long, value_name = "METHOD")]
    action: Option<String>,
    /// Refused calls only
    #[arg(long, conflicts_with_all = ["releases", "changes"])]
    denied: bool,
    /// Releases of tokens only
    #[arg(long, conflicts_with = "changes")]
    releases: bool,
    /// Administrative changes only
    #[arg(long)]
    changes: bool,
    /// Not before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<Timestamp>,
    /// File with a token: who was given it
    #[arg(long, value_name = "FILE", requires = "key_file")]
    token_file: Option<PathBuf>,
    /// File with the audit key, from `bursar audit key`
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

fn parse_time(given: &str) -> Result<Timestamp, String> {
    let time = times::parse_time(given)?;
    let before = || "before 1970".to_owned();
    let seconds = u64::try_from(time.seconds).map_err(|_| before())?;
    let millis = u64::try_from(time.nanos / 1_000_000).map_err(|_| before())?;
    Ok(Timestamp(seconds.saturating_mul(1000).saturating_add(millis)))
}

fn parse_head(given: &str) -> Result<Head, String> {
    let wrong = || "expected SEQ:HASH, as `bursar audit head` and the log print it".to_owned();
    let (seq, hash) = given.split_once(':').ok_or_else(wrong)?;
    Ok(Head { seq: seq.parse().map_err(|_| wrong())?, hash: hash.parse().map_err(|_| wrong())? })
}

impl AuditCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Verify { place, key_file, heads } => {
                let trails = place.trails()?;
                let key = key_file.as_deref().map(secret).transpose()?;
                let key = key.as_ref().map(key_of).transpose().map_err(|KeyError| not_a_key())?;
                let against = Against { key: key.as_ref(), anchors: &heads };
                let reports: Result<Vec<_>, _> = if heads.is_empty() || trails.len() == 1 {
                    trails.iter().map(|trail| verify::verify(trail, &against)).collect()
                } else {
                    return Err(Failure::Usage("--head belongs to one trail: name its folder".to_owned()));
                };
                let reports = reports.context("a trail could not be read").map_err(Failure::Local)?;
                console.print(&shown::reports(&reports, api.output))?;
                match reports.iter().map(verify::Report::problems).sum::<usize>() {
                    0 => Ok(()),
                    1 => Err(Failure::Local(anyhow!("there is 1 problem"))),
                    problems => Err(Failure::Local(anyhow!("there are {problems} problems"))),
                }
            }
            Self::Head { place } => {
                let reports = place.trails()?;
                let reports: Result<Vec<_>, _> =
                    reports.iter().map(|trail| verify::verify(trail, &Against::default())).collect();
                let reports = reports.context("a trail could not be read").map_err(Failure::Local)?;
                console.print(&shown::heads(&reports, api.output))
            }
            Self::Query(query) => query.run(api, console),
            Self::Key { config, out } => {
                let key = crate::app::audit_key(config.as_deref()).await.map_err(Failure::Local)?;
                keys::keyset::generate(&out, || Ok(key))?;
                let path = super::table::plain(&out.display().to_string());
                console.print(&format!(
                    "The audit key is in {path}, readable by its owner only.\n\
                     Whoever has it can write lines that pass for the broker's, and tell whether a token is in a trail: \
                     keep it where neither the trails nor the tokens are.\n"
                ))
            }
        }
    }
}

impl Place {
    fn trails(&self) -> Result<Vec<Trail>, Failure> {
        let trails = reading::trails(&self.paths).context("the trails could not be listed");
        let trails = trails.map_err(Failure::Local)?;
        if trails.is_empty() {
            return Err(Failure::Usage(
                "no trail is there: name the folder of audit.dir, or its files".to_owned(),
            ));
        }
        Ok(trails)
    }
}

impl QueryArgs {
    fn run(&self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let trails = self.place.trails()?;
        let filter = Filter {
            tenant: self.tenant.as_ref().map(ToString::to_string),
            connection: self.connection.as_ref().map(ToString::to_string),
            caller: self.caller.clone(),
            action: self.action.clone(),
            token: self.token()?,
            kind: match (self.denied, self.releases, self.changes) {
                (true, _, _) => Kind::Denied,
                (_, true, _) => Kind::Releases,
                (_, _, true) => Kind::Changes,
                (false, false, false) => Kind::All,
            },
            since: self.since,
            until: self.until,
        };
        let failed = |err: QueryError| match err {
            QueryError::TooMany => Failure::Usage(err.to_string()),
            QueryError::Io(_) => Failure::Local(anyhow::Error::new(err).context("a trail could not be read")),
        };
        // Who held it is what is asked where a time or a token is named.
        if self.at.is_some() || (filter.token.is_some() && filter.kind == Kind::All) {
            let holdings = query::holders(&trails, &filter, self.at).map_err(failed)?;
            return console.print(&shown::holdings(&holdings, api.output));
        }
        let hits = query::lines(&trails, &filter).map_err(failed)?;
        console.print(&shown::hits(&hits, api.output))
    }

    fn token(&self) -> Result<Option<Tag>, Failure> {
        let (Some(token), Some(key)) = (&self.token_file, &self.key_file) else { return Ok(None) };
        let key = key_of(&secret(key)?).map_err(|KeyError| not_a_key())?;
        let token = secret(token)?;
        Ok(Some(tag_of(&key, &Secret::new(token.expose().trim()))))
    }
}

fn not_a_key() -> Failure {
    Failure::Usage("--key-file holds no audit key: use a file that `bursar audit key` wrote".to_owned())
}

fn secret(path: &Path) -> Result<Secret, Failure> {
    let read = fs::read_to_string(path).with_context(|| format!("{} could not be read", path.display()));
    read.map(Secret::new).map_err(Failure::Local)
}
