//! `bursar doctor`: asks the broker to look, so that what is tried is the broker's own way out.

use super::{
    ApiArgs,
    console::Console,
    failure::Failure,
    message::Resource,
    session::{Listed, Rest, Session},
};
use crate::{
    api::{self, CheckProviderRequest, finding::Level},
    domain::names::{ClientName, ProviderName},
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum DoctorCommand {
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

impl DoctorCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
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
