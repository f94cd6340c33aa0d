//! The command line. Runs the server's entries of `app`; for all else it is an ordinary client of the API.
//! Never opens a store and never takes a secret from an argument.

mod advice;
mod audit;
mod authorize;
mod browser;
mod client;
mod client_secret;
mod connect;
mod connection;
mod console;
mod doctor;
mod failure;
mod grant;
mod import;
mod keys;
mod message;
mod policy;
mod progress;
mod provider;
mod resource;
mod secret;
mod server;
mod session;
mod table;
mod tenant;
mod times;
mod token;
mod values;

#[cfg(test)]
mod end_to_end_tests;

pub use console::{Console, Format, Input};
pub use failure::{Exit, Failure};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};
use std::{ffi::OsString, time::Duration};

/// Where `bursar dev` listens, and where commands look for a server.
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:7600";

/// Keeps OAuth refresh tokens sealed, refreshes ahead of expiry, and hands out short-lived access tokens.
#[derive(Debug, Parser)]
#[command(name = "bursar", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    api: ApiArgs,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 success, 1 failure, 2 usage, 3 the connection needs (re-)authorization, 4 denied, 130 stopped by Ctrl-C.
Secrets are read from a prompt, a file, an environment variable or standard input, never from an argument.";

/// How to reach the server and how to show its answers.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "API options")]
pub(crate) struct ApiArgs {
    /// Where the server is: https://HOST:PORT, http://HOST:PORT without TLS, or unix:/PATH; the default is
    /// http://127.0.0.1:7600
    #[arg(long, global = true, env = "BURSAR_ENDPOINT", hide_env_values = true, value_name = "URL")]
    endpoint: Option<String>,
    /// How to print answers and errors
    #[arg(long, global = true, env = "BURSAR_OUTPUT", value_enum, default_value = "table")]
    output: Format,
    /// Longest time for the whole of a command's calls, for example 10s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = times::parse_span)]
    timeout: Duration,
    #[command(flatten)]
    reach: connect::ReachArgs,
}

impl ApiArgs {
    fn endpoint(&self) -> &str {
        self.endpoint.as_deref().unwrap_or(ENDPOINT_DEFAULT)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker
    Serve(server::ServeArgs),
    /// Run a broker with a simulated provider, for trying things out
    Dev(server::DevArgs),
    /// Run a simulated provider alone
    #[command(subcommand)]
    Simulate(server::SimulateCommand),
    /// Get access tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Set up tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Register OAuth clients and change their secrets
    #[command(subcommand)]
    Client(client::ClientCommand),
    /// Set up authorizations and look after them
    #[command(subcommand)]
    Connection(connection::ConnectionCommand),
    /// Look at the profiles of authorization servers
    #[command(subcommand)]
    Provider(provider::ProviderCommand),
    /// Say what is wrong with a deployment, and the mend: configuration, keys, store, TLS, providers, connections
    Doctor(doctor::DoctorArgs),
    /// Check and explain what callers may do
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Check and search audit trails
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Look at keys, rotate and retire them; make and change keyset files
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Commands that call no server.
const LOCAL: &[&str] = &["serve", "dev", "simulate", "completions"];

/// The command line; commands that call no server do not show how one is reached.
pub fn command_line() -> clap::Command {
    let command = Cli::command();
    let hidden: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|each| each.is_global_set())
        .map(|each| each.clone().hide(true))
        .collect();
    // They answer as commands do that call a server.
    let hidden_but_output =
        hidden.iter().filter(|each| each.get_id() != "output").cloned().collect::<Vec<_>>();
    let command = ["audit", "policy"].into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, |local| local.args(hidden_but_output.clone()))
    });
    let command = command.mut_subcommand("keys", |keys| {
        keys.mut_subcommand("generate", |local| local.args(hidden.clone()))
            .mut_subcommand("keyset", |local| local.args(hidden_but_output.clone()))
    });
    LOCAL
        .iter()
        .fold(command, |command, name| command.mut_subcommand(name, |local| local.args(hidden.clone())))
}

/// Runs the command that the arguments name, the program's name first, and says how the process is to end.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, console: &mut Console) -> Exit {
    let parsed = command_line()
        .try_get_matches_from(arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(answer) => return refuse(&answer, console),
    };
    match dispatch(cli.command, &cli.api, console).await {
        Ok(()) => Exit::Success,
        Err(failure) => end(&failure, cli.api.output, console),
    }
}

/// Reports what went wrong outside of any command.
pub fn fail(console: &mut Console, error: anyhow::Error) -> Exit {
    end(&Failure::Local(error), Format::Table, console)
}

fn end(failure: &Failure, format: Format, console: &mut Console) -> Exit {
    if !matches!(failure, Failure::OutputClosed) {
        console.report(&failure.report(), format);
    }
    failure.exit()
}

/// Help and version are answers, all else that clap gives is a refusal.
fn refuse(answer: &clap::Error, console: &mut Console) -> Exit {
    let text = answer.render().to_string();
    match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match console.print(&text) {
            Ok(()) => Exit::Success,
            Err(failure) => end(&failure, Format::Table, console),
        },
        _ => {
            console.complain(&text);
            Exit::Usage
        }
    }
}

async fn dispatch(command: Command, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => args.run().await,
        Command::Dev(args) => args.run().await,
        Command::Simulate(command) => command.run().await,
        Command::Token(command) => command.run(api, console).await,
        Command::Tenant(command) => command.run(api, console).await,
        Command::Client(command) => command.run(api, console).await,
        // Boxed: what leads a person or imports holds a lot while it waits.
        Command::Connection(command) => Box::pin(command.run(api, console)).await,
        Command::Provider(command) => command.run(api, console).await,
        Command::Doctor(args) => Box::pin(args.run(api, console)).await,
        Command::Policy(command) => command.run(api, console),
        Command::Audit(command) => Box::pin(command.run(api, console)).await,
        Command::Keys(command) => command.run(api, console).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command_line(), "bursar", &mut script);
            console.print(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command_line().debug_assert();
    }

    #[test]
    fn how_a_server_is_reached_is_shown_where_one_is_called() {
        let help = |arguments: &[&str]| {
            let all = ["bursar"].iter().chain(arguments).chain(&["--help"]);
            command_line().try_get_matches_from(all).unwrap_err().to_string()
        };
        for local in
            [&["serve"][..], &["dev"], &["simulate", "oauth"], &["keys", "generate"], &["completions"]]
        {
            let shown = help(local);
            assert!(!shown.contains("--endpoint") && shown.contains("--help"), "{shown}");
        }
        for remote in
            [&["token", "get"][..], &["connection", "import"], &["connection", "create"], &["tenant", "list"]]
        {
            assert!(help(remote).contains("--endpoint"), "{remote:?}");
        }
    }

    #[test]
    fn no_flag_takes_a_secret_as_its_value() {
        fn walk(command: &clap::Command, seen: &mut Vec<String>) {
            for argument in command.get_arguments() {
                seen.extend(argument.get_long().map(ToOwned::to_owned));
            }
            command.get_subcommands().for_each(|each| walk(each, seen));
        }
        let mut flags = Vec::new();
        walk(&Cli::command(), &mut flags);
        assert!(flags.iter().any(|flag| flag == "client-secret-file"));
        for flag in flags {
            let secret =
                ["secret", "password", "token", "private-key"].iter().any(|word| flag.contains(word));
            let indirect = ["-file", "-env", "-expire-time", "-host", "-type", "-id"]
                .iter()
                .any(|end| flag.ends_with(end));
            assert!(!secret || indirect, "--{flag} looks as if it took a secret");
        }
    }

    /// Words of a line of shell as far as the examples need it: separated by spaces, single quotes keep together.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (index, part) in line.split('\'').enumerate() {
            let mut pieces = if index % 2 == 0 { part.split(' ').collect() } else { vec![part] }.into_iter();
            let first = pieces.next().unwrap();
            words.last_mut().unwrap().push_str(first);
            words.extend(pieces.map(str::to_owned));
        }
        words.retain(|word| !word.is_empty());
        words
    }

    /// Every command that has no commands below it, as it is typed.
    fn leaves(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name()).trim().to_owned();
        if command.get_subcommands().next().is_none() {
            found.push(path.clone());
        }
        command.get_subcommands().for_each(|each| leaves(each, &path, found));
    }

    #[test]
    fn every_example_of_the_documentation_is_a_command_line() {
        let text = concat!(
            include_str!("../docs/cli.md"),
            include_str!("../docs/grants.md"),
            include_str!("../docs/audit.md"),
            include_str!("../docs/doctor.md"),
            include_str!("../docs/policies.md"),
            include_str!("../docs/keys.md")
        );
        let text = text.replace("\\\n", " ");
        let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("bursar ")).collect();
        for line in &examples {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{line}: {error}");
            }
        }
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        let grants = ["bursar connection create ", "bursar connection authorize "];
        for path in found {
            // A grant comes after the arguments of the command that it belongs to.
            let shown = match grants.iter().find_map(|command| path.strip_prefix(command)) {
                Some(grant) => examples.iter().any(|line| line.split(' ').any(|word| word == grant)),
                None => examples.iter().any(|line| line.starts_with(path.as_str())),
            };
            assert!(shown, "{path} has no example");
        }
    }
}
