//! `bursar connection import`: takes over refresh tokens that another system held, each proven by one refresh. The
//! whole file is checked before anything is sent. What is there already is passed over, so a second run goes on where
//! the first one stopped. No token is ever written, shown or sent twice.

mod entry;
mod lines;
mod objects;
mod pace;
mod source;
mod summary;
mod work;

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    progress::Progress,
    session::Session,
    values::parse_label,
};
use crate::{
    api::{Client, GetClientRequest, GrantType},
    domain::names::{ClientName, TenantName},
};
use clap::{Args, ValueEnum};
use entry::{Defaults, Entry, Mistake};
use futures_util::{StreamExt as _, stream};
use pace::{Gate, Rate};
use prost_types::Timestamp;
use source::Input;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};
use summary::{FailuresFile, Summary};

/// Connections that are verified at the same time unless told otherwise, and at most.
const PARALLEL_DEFAULT: u8 = 4;
const PARALLEL_MAX: i64 = 32;

const COLUMNS: &str = "\
A CSV file has a line of headings, JSON is an array of objects (or one object a line), with these fields:
  connection                 tenants/{tenant}/connections/{connection}, or with --tenant its last part alone
  client                     tenants/{tenant}/clients/{client} or platform/clients/{client}; or --client for all
  refresh_token              the token
  api_base_url               optional; where it was good (SAP Concur: the geolocation)
  refresh_token_expire_time  optional, RFC 3339
  scopes                     optional, separated by spaces: what to ask for when it is authorized again
  labels                     optional, key=value separated by semicolons; in JSON an object

Exit codes: 0 all are active, 1 some are not, 2 the file has to be mended (nothing was sent), 130 stopped.";

/// Files of other systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Connections of Nango with their credentials, as its API gives them
    Nango,
    /// Credentials of vault-plugin-secrets-oauthapp, as it stores them
    VaultOauthapp,
}

#[derive(Debug, Args)]
#[command(after_help = COLUMNS)]
pub(super) struct Import {
    /// CSV or JSON; - is standard input
    file: PathBuf,
    /// The file is of another system
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// Tenant of the connections that are given without one, `tenants/{tenant}`
    #[arg(long)]
    tenant: Option<TenantName>,
    /// Client of the connections that are given without one
    #[arg(long)]
    client: Option<ClientName>,
    /// With --preset: client for what the other system calls KEY (Nango: an integration, Vault: a server); repeatable
    #[arg(long = "client-for", value_name = "KEY=CLIENT", value_parser = parse_client_for, requires = "preset")]
    clients_for: Vec<(String, ClientName)>,
    /// A label for all of them, repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Check the file and the clients, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// How many to begin in a second or a minute, such as 5/s or 30/m
    #[arg(long, default_value = "5/s", value_name = "N/UNIT")]
    rate: Rate,
    /// How many to verify at the same time
    #[arg(long, value_name = "N", default_value_t = PARALLEL_DEFAULT,
        value_parser = clap::value_parser!(u8).range(1..=PARALLEL_MAX))]
    parallel: u8,
    /// Write what is not active afterwards to a CSV file, without tokens
    #[arg(long, value_name = "FILE")]
    failures: Option<PathBuf>,
}

/// `KEY=CLIENT`; keys of other systems may hold anything but `=`.
fn parse_client_for(given: &str) -> Result<(String, ClientName), String> {
    let (key, client) = given.split_once('=').ok_or("expected KEY=CLIENT")?;
    let client = client.parse().map_err(|error| format!("{error}"))?;
    Ok((key.to_owned(), client))
}

impl Import {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let Input { text, warning } = source::read(&self.file, console)?;
        if let Some(warning) = warning {
            console.note(&warning);
        }
        let found = self.entries(text.expose(), (console.now)())?;
        for note in &found.left_out {
            console.note(note);
        }
        let session = Session::open(api).await?;
        let mut mistakes = found.mistakes;
        mistakes.extend(unusable_clients(&session, &found.entries).await?);
        if !mistakes.is_empty() {
            return Err(refusal(&mut mistakes, found.entries.len()));
        }
        let there = work::already_there(&session, &found.entries).await?;
        if self.dry_run {
            return self.only_checked(&found.entries, &there, api.output, console);
        }
        let failures = self.failures.as_deref().map(FailuresFile::begin).transpose()?;
        let summary = self.carry_out(&session, found.entries, &there, console).await;
        let written = failures.map_or(Ok(()), |file| summary.write(file));
        // Whatever became of the file.
        console.print(&summary.shown(api.output))?;
        written?;
        summary.ending()
    }

    fn entries(&self, text: &str, now: Timestamp) -> Result<entry::Found, Failure> {
        let raw = match self.preset {
            None if source::looks_like_json(text) => objects::plain(text),
            None => lines::read(text),
            Some(Preset::Nango) => objects::nango(text),
            Some(Preset::VaultOauthapp) => objects::vault_oauthapp(text),
        };
        let raw = raw.map_err(Failure::Usage)?;
        let clients_for: BTreeMap<_, _> = self.clients_for.iter().cloned().collect();
        let defaults = Defaults {
            tenant: self.tenant.as_ref(),
            client: self.client.as_ref(),
            clients_for: &clients_for,
            labels: &self.labels,
            now,
        };
        Ok(entry::check_all(raw, &defaults))
    }

    fn only_checked(
        &self,
        entries: &[Entry],
        there: &work::Known,
        format: Format,
        console: &mut Console,
    ) -> Result<(), Failure> {
        let known = entries.iter().filter(|entry| there.contains_key(&entry.connection)).count();
        let (new, seconds) = (entries.len() - known, self.rate.span_of(entries.len() - known).as_secs());
        let text = match format {
            Format::Table => format!(
                "the file is in order: {new} to import, which takes {seconds} s or more; {known} there already; \
                 nothing was sent\n"
            ),
            Format::Json | Format::Yaml => super::console::structured(
                &serde_json::json!({ "to_import": new, "there_already": known, "seconds_at_least": seconds }),
                format,
            ),
        };
        console.print(&text)
    }

    async fn carry_out(
        &self,
        session: &Session,
        entries: Vec<Entry>,
        there: &work::Known,
        console: &Console,
    ) -> Summary {
        let progress = Progress::steps(console, entries.len());
        let gate = Gate::new(self.rate);
        let mut summary = Summary::new(entries.len());
        let work = stream::iter(&entries).map(|entry| {
            let gate = &gate;
            async move {
                let outcome = match there.get(&entry.connection) {
                    Some(known) => work::there_already(entry, known),
                    None => work::import(session, gate, entry).await,
                };
                (entry, outcome)
            }
        });
        let mut work = std::pin::pin!(work.buffer_unordered(self.parallel.into()));
        let mut stopped = std::pin::pin!(stopped());
        loop {
            tokio::select! {
                ended = work.next() => match ended {
                    Some((entry, outcome)) => {
                        summary.add(entry, outcome);
                        progress.step(format!("{} not active so far", summary.open()));
                    }
                    None => break,
                },
                // What is under way is brought to its end: its outcome would be unknown otherwise.
                () = &mut stopped, if gate.is_open() => gate.close(),
            }
        }
        summary
    }
}

/// Until Ctrl-C. Without a handler one ends the process anyway.
async fn stopped() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Every client has to exist and to allow the grant: said once for a client, not once for an entry.
async fn unusable_clients(session: &Session, entries: &[Entry]) -> Result<Vec<Mistake>, Failure> {
    let mut mistakes = Vec::new();
    let mut seen = BTreeSet::new();
    for entry in entries {
        if !seen.insert(entry.client.to_string()) {
            continue;
        }
        let session = session.renewed();
        let request = GetClientRequest { name: entry.client.to_string() };
        let wrong = match session.wait(session.clients().get_client(request)).await {
            Ok(client) if allows_import(&client) => continue,
            Ok(_) => format!(
                "{} does not allow the grant: `bursar client update {} --allowed-grant refresh-token …` with all \
                 grants it is to have",
                entry.client, entry.client
            ),
            Err(Failure::Refused(status)) if status.code() == tonic::Code::NotFound => {
                format!("{} does not exist: create it with `bursar client create`", entry.client)
            }
            Err(failure) => return Err(failure),
        };
        mistakes.push(Mistake { place: entry.place, field: "client", problem: wrong });
    }
    Ok(mistakes)
}

fn allows_import(client: &Client) -> bool {
    client.allowed_grants.is_empty() || client.allowed_grants.contains(&GrantType::RefreshToken.into())
}

/// Most mistakes that are listed.
const MISTAKES_MAX: usize = 100;

fn refusal(mistakes: &mut [Mistake], good: usize) -> Failure {
    mistakes.sort_by_key(|mistake| mistake.place);
    let head = format!(
        "the file has {} mistakes; nothing was sent, not of the {good} others either",
        mistakes.len()
    );
    let shown = mistakes.iter().take(MISTAKES_MAX);
    let mut lines: Vec<_> =
        shown.map(|mistake| format!("  {}: {} {}", mistake.place, mistake.field, mistake.problem)).collect();
    if mistakes.len() > MISTAKES_MAX {
        lines.push(format!("  and {} more", mistakes.len() - MISTAKES_MAX));
    }
    Failure::Usage(format!("{head}\n{}", lines.join("\n")))
}
