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
    api::{self, CheckProviderRequest, finding::Level},
    app::{Deployment, Listens, WhichProviders},
    doctor::{Counts, Finding, Strictness, broker},
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
                let (mut findings, of_broker) =
                    tokio::join!(deployment.examined(providers), running(api, deployment.listens()));
                findings.extend(of_broker?);
                findings
            }
            Err(mut findings) => {
                findings
                    .extend(running(api, Listens::Unknown("the configuration was not understood")).await?);
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

/// The broker that runs: the one that is named, or the one that the configuration would start.
async fn running(api: &ApiArgs, listens: Listens) -> Result<Vec<Finding>, Failure> {
    match (&api.endpoint, listens) {
        (Some(_), _) => running::asked(api.clone(), broker::Endpoint::Named).await,
        (None, Listens::At(endpoint)) => {
            let api = ApiArgs { endpoint: Some(endpoint), ..api.clone() };
            running::asked(api, broker::Endpoint::Configured).await
        }
        (None, Listens::Unknown(why)) => Ok(vec![broker::nowhere(why)]),
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
        let failing = answer.findings.iter().filter(|found| found.level() == Level::Fail).count();
        console.listed(&Listed { items: answer.findings, rest: Rest::Nothing }, api.output)?;
        match failing {
            0 => Ok(()),
            _ => Err(Failure::Local(anyhow::anyhow!("{failing} of these have to be mended"))),
        }
    }
}
