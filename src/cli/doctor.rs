//! `bursar doctor`: looks at a deployment from here (`app`), asks the broker that runs, and tells what is wrong with the
//! mend. `bursar doctor provider` asks the broker to look, so that what is tried is the broker's own way out. Changes
//! nothing.

mod running;
mod told;

use super::{
    ApiArgs,
    console::Console,
    failure::Failure,
    message::Resource,
    session::{Listed, Rest, Session},
};
use crate::{
    api::{self, CheckProviderRequest},
    app::{Deployment, Listens, WhichProviders},
    doctor::{Check, Counts, Finding, Level, Strictness, broker},
    domain::names::{ClientName, ProviderName},
};
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    #[command(subcommand)]
    command: Option<DoctorCommand>,
    /// Configuration file of the broker; run this as the broker's account, where the broker runs
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Look at every provider that the configuration describes, not only at those in use
    #[arg(long)]
    all_providers: bool,
    /// Fail if anything is worth a warning
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// Look whether a provider can be worked with: TLS, endpoints, clocks, metadata, client authentication
    Provider {
        /// The provider, `providers/{provider}`
        name: ProviderName,
        /// A client whose authentication is tried too, with a request that changes nothing
        #[arg(long, value_name = "NAME")]
        client: Option<ClientName>,
    },
}

impl Resource for api::Finding {
    const TYPE: &str = "bursar.v1.Finding";
    const COLUMNS: &[(&str, &str)] =
        &[("LEVEL", "level"), ("WHAT", "subject"), ("FOUND", "text"), ("WHAT TO DO", "mend")];
}

impl DoctorArgs {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let Self { command, config, all_providers, strict } = self;
        match command {
            None => {}
            Some(_) if config.is_some() || all_providers || strict => {
                let words = "--config, --all-providers and --strict are for `bursar doctor` alone".to_owned();
                return Err(Failure::Usage(words));
            }
            Some(command) => return command.run(api, console).await,
        }
        let providers = if all_providers { WhichProviders::All } else { WhichProviders::InUse };
        let findings = match Deployment::read(config.as_deref()) {
            Ok(deployment) => {
                let at = at(api, deployment.listens());
                let (mut findings, of_broker) =
                    tokio::join!(deployment.examined(providers), running(at.as_ref()));
                let of_broker = of_broker?;
                let serves = of_broker.iter().any(|one| (one.check, one.level) == (Check::Broker, Level::Ok));
                if let (Ok((api, _)), true) = (&at, serves) {
                    heard(api, console, &mut findings).await;
                }
                findings.extend(of_broker);
                findings
            }
            Err(mut findings) => {
                let at = at(api, Listens::Unknown("the configuration was not understood"));
                findings.extend(running(at.as_ref()).await?);
                findings
            }
        };
        console.print(&told::told(&findings, api.output))?;
        let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
        match Counts::of(&findings).to_mend(strictness) {
            0 => Ok(()),
            1 => Err(Failure::Local(anyhow::anyhow!("1 of these has to be mended"))),
            many => Err(Failure::Local(anyhow::anyhow!("{many} of these have to be mended"))),
        }
    }
}

/// Where to ask the broker that runs: the one that is named, or the one that the configuration would start; or why that is
/// not known.
fn at(api: &ApiArgs, listens: Listens) -> Result<(ApiArgs, broker::Endpoint), &'static str> {
    let (endpoint, of) = match (&api.endpoint, listens) {
        (Some(endpoint), _) => (endpoint.clone(), broker::Endpoint::Named),
        (None, Listens::At(endpoint)) => (endpoint, broker::Endpoint::Configured),
        (None, Listens::Unknown(why)) => return Err(why),
    };
    let timeout = api.timeout.min(running::ANSWER_MAX);
    Ok((ApiArgs { endpoint: Some(endpoint), timeout, ..api.clone() }, of))
}

async fn running(at: Result<&(ApiArgs, broker::Endpoint), &&'static str>) -> Result<Vec<Finding>, Failure> {
    match at {
        Ok((api, of)) => running::asked(api, *of).await,
        Err(why) => Ok(vec![broker::nowhere(why)]),
    }
}

/// Where the store could not be looked at, the broker knows of the connections. What it does not tell stays skipped.
async fn heard(api: &ApiArgs, console: &Console, findings: &mut Vec<Finding>) {
    let skipped = |one: &Finding| (one.check, one.level) == (Check::Connections, Level::Skipped);
    let Some(place) = findings.iter().position(skipped) else { return };
    if let Ok(heard) = running::connections(api, &(console.now)()).await {
        findings.splice(place..=place, heard);
    }
}

impl DoctorCommand {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        let Self::Provider { name, client } = self;
        let request = CheckProviderRequest {
            name: name.to_string(),
            client: client.map(|client| client.to_string()).unwrap_or_default(),
        };
        let answer = session.wait(session.providers().check_provider(request)).await?;
        let failing =
            answer.findings.iter().filter(|found| found.level() == api::finding::Level::Fail).count();
        console.listed(&Listed { items: answer.findings, rest: Rest::Nothing }, api.output)?;
        match failing {
            0 => Ok(()),
            _ => Err(Failure::Local(anyhow::anyhow!("{failing} of these have to be mended"))),
        }
    }
}
