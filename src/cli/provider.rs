//! `bursar provider`: profiles are read-only over the API.

use super::{ApiArgs, console::Console, failure::Failure, session::Session, values::ListArgs};
use crate::{
    api::{GetProviderRequest, ListProvidersRequest},
    domain::names::ProviderName,
};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum ProviderCommand {
    /// List the profiles
    List(ListArgs),
    /// Show a profile
    Show {
        /// The provider, `providers/{provider}`
        name: ProviderName,
    },
}

impl ProviderCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        match self {
            Self::List(list) => {
                let listed = session
                    .pages(list.limit(), |page_size, page_token| {
                        let (mut providers, filter) = (session.providers(), list.filter());
                        let request = ListProvidersRequest { page_size, page_token, filter };
                        async move {
                            let answer = providers.list_providers(request).await?;
                            Ok(answer.map(|page| (page.providers, page.next_page_token)))
                        }
                    })
                    .await?;
                console.listed(&listed, api.output)
            }
            Self::Show { name } => {
                let request = GetProviderRequest { name: name.to_string() };
                let provider = session.wait(session.providers().get_provider(request)).await?;
                console.show(&provider, api.output)
            }
        }
    }
}
