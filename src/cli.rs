//! The command line. Runs the server's entries of `app`; for all else it is an ordinary client of the API.
//! Never opens a store and never takes a secret from an argument.

mod advice;
mod client;
mod client_secret;
mod connection;
mod console;
mod failure;
mod grant;
mod keys;
mod message;
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

use clap::{CommandFactory, Parser, Subcommand, error::ErrorKind};
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
Exit codes: 0 success, 1 failure, 2 usage, 3 the connection needs re-authorization, 4 denied.
Secrets are read from a prompt, a file, an environment variable or standard input, never from an argument.";

/// How to reach the server and how to show its answers.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "API options")]
pub(crate) struct ApiArgs {
    /// URL of the server
    #[arg(long, global = true, env = "BURSAR_ENDPOINT", hide_env_values = true, value_name = "URL", default_value = ENDPOINT_DEFAULT)]
    endpoint: String,
    /// How to print answers and errors
    #[arg(long, global = true, env = "BURSAR_OUTPUT", value_enum, default_value = "table")]
    output: Format,
    /// Longest time for the whole of a command's calls, for example 10s or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = times::parse_span)]
    timeout: Duration,
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
    /// Make key-encryption keys
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Print a completion script for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Runs the command that the arguments name, the program's name first, and says how the process is to end.
pub async fn run(arguments: impl IntoIterator<Item = OsString>, console: &mut Console) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
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
        Command::Connection(command) => command.run(api, console).await,
        Command::Provider(command) => command.run(api, console).await,
        Command::Keys(command) => command.run(console),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bursar", &mut script);
            console.print(&String::from_utf8_lossy(&script))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
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
            let indirect = ["-file", "-env", "-expire-time", "-host"].iter().any(|end| flag.ends_with(end));
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
        let text = include_str!("../docs/cli.md");
        let examples: Vec<&str> = text.lines().filter(|line| line.starts_with("bursar ")).collect();
        for line in &examples {
            if let Err(error) = Cli::try_parse_from(words(line)) {
                panic!("{line}: {error}");
            }
        }
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        let grants = ["client-credentials", "refresh-token", "company-request-token"];
        for path in found.iter().filter(|path| !grants.iter().any(|grant| path.ends_with(grant))) {
            assert!(examples.iter().any(|line| line.starts_with(path.as_str())), "{path} has no example");
        }
    }
}
