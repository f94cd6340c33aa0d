//! `bursar policy`: checks and explains sets of policies where they lie. Asks no server: what a thing is like is said by
//! flags. Only reads.

mod explain;

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::Failure,
    table::{aligned, plain},
};
use crate::{
    access::{
        policies::{Mistake, entities::SCHEMA_TEXT, naming},
        rpcs::{self, AuditClass, Rate, Rpc},
    },
    app::{self, PoliciesChecked},
};
use anyhow::anyhow;
use clap::Subcommand;
use serde::Serialize;
use std::{fmt::Write as _, path::PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Check a set of policies as the broker does when it loads it; exit code 1 if there are mistakes
    Check {
        /// Folder of a set, or its files, *.cedar and *.toml
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Say what the policies answer to a call, which of them decided, and what came nearest
    Explain(Box<explain::ExplainArgs>),
    /// Print the schema: what policies can speak of, with comments
    Schema,
    /// List the actions: their groups, what they are done to, how they count and are recorded
    Actions,
}

/// A mistake or remark as JSON and YAML have it.
#[derive(Serialize)]
struct Told<'a> {
    level: &'static str,
    file: &'a str,
    line: usize,
    problem: &'a str,
}

/// An action as JSON and YAML have it.
#[derive(Serialize)]
struct ActionRow {
    action: &'static str,
    groups: Vec<String>,
    resources: Vec<String>,
    /// None: it is no method.
    method: Option<&'static str>,
    rate: Option<&'static str>,
    audit: Option<&'static str>,
}

impl PolicyCommand {
    pub(super) fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Check { paths } => check(&paths, api.output, console),
            Self::Explain(explain) => explain.run(api.output, console),
            Self::Schema => console.print(SCHEMA_TEXT),
            Self::Actions => actions(api.output, console),
        }
    }
}

fn load(paths: &[PathBuf]) -> Result<PoliciesChecked, Failure> {
    app::check_policies(paths).map_err(|error| Failure::Usage(plain_lines(&error.to_string())))
}

fn check(paths: &[PathBuf], format: Format, console: &mut Console) -> Result<(), Failure> {
    let PoliciesChecked { policies, mistakes, remarks } = load(paths)?;
    let levels = [("error", ""), ("warning", "warning: ")];
    match format {
        Format::Table => {
            let mut text = String::new();
            // Writing to a `String` does not fail.
            for (found, (_, word)) in [&mistakes, &remarks].into_iter().zip(levels) {
                for Mistake { at, problem } in found {
                    let _ = writeln!(text, "{}: {word}{}", plain(&at.to_string()), plain(problem));
                }
            }
            if let Some(policies) = &policies {
                let (count, workloads) = (policies.count(), policies.workloads());
                let _ = writeln!(
                    text,
                    "no mistakes: {} and {}",
                    counted(count, "policy", "policies"),
                    counted(workloads, "workload", "workloads")
                );
            }
            console.print(&text)?;
        }
        Format::Json | Format::Yaml => {
            let found = [&mistakes, &remarks].into_iter().zip(levels);
            let told: Vec<_> = found
                .flat_map(|(found, (level, _))| {
                    found.iter().map(move |Mistake { at, problem }| Told {
                        level,
                        file: &at.file,
                        line: at.line,
                        problem,
                    })
                })
                .collect();
            console.data(&told, format)?;
        }
    }
    refuse(&mistakes)
}

/// The end of a command whose set has mistakes.
fn refuse(mistakes: &[Mistake]) -> Result<(), Failure> {
    match mistakes.len() {
        0 => Ok(()),
        1 => Err(Failure::Local(anyhow!("there is 1 mistake"))),
        many => Err(Failure::Local(anyhow!("there are {many} mistakes"))),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

fn actions(format: Format, console: &mut Console) -> Result<(), Failure> {
    let rows: Vec<_> = rpcs::actions()
        .map(|action| {
            let rpc: Option<&Rpc> = rpcs::RPCS.iter().find(|rpc| rpc.action == action);
            ActionRow {
                action: action.word(),
                groups: naming::groups(action),
                resources: naming::resources(action),
                method: rpc.map(|rpc| rpc.path),
                rate: rpc.map(|rpc| rate(rpc.rate)),
                audit: rpc.map(|rpc| audit(rpc.audit)),
            }
        })
        .collect();
    if format != Format::Table {
        return console.data(&rows, format);
    }
    let head = ["ACTION", "GROUPS", "RESOURCES", "RATE", "AUDIT"].map(str::to_owned).to_vec();
    let row = |row: &ActionRow| {
        let [rate, audit] = [row.rate, row.audit].map(|word| word.unwrap_or("-").to_owned());
        vec![row.action.to_owned(), row.groups.join(" "), row.resources.join(" "), rate, audit]
    };
    console.print(&aligned(std::iter::once(head).chain(rows.iter().map(row)).collect()))
}

/// Control characters of a text with several lines are shown.
fn plain_lines(text: &str) -> String {
    text.lines().map(plain).collect::<Vec<_>>().join("\n")
}

const fn rate(rate: Rate) -> &'static str {
    match rate {
        Rate::Serve => "serve",
        Rate::Read => "read",
        Rate::Write => "write",
        Rate::Exchange => "exchange",
        Rate::Watch => "watch",
    }
}

const fn audit(class: AuditClass) -> &'static str {
    match class {
        AuditClass::Release => "release",
        AuditClass::Change => "change",
        AuditClass::Read => "read",
    }
}
