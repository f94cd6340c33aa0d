//! `bursar.v1.ProviderService`: the profiles, read-only, and a look at their servers.

use super::{
    errors,
    filter::{Fields, Filter, Type, Value},
    from_proto as from,
    guard::{Guard, Use},
    problem::Problem,
    to_proto as to,
};
use crate::{
    access::{Action, Target},
    api::{self, ErrorReason, provider_service_server::ProviderService},
    broker::admin::{Admin, Shown},
    domain::{
        finding::{Finding, Level},
        names::{ClientName, ProviderName},
        profile::Profile,
    },
    provider::catalogue::Catalogue,
    store::Key,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Providers {
    pub guard: Arc<Guard>,
    pub catalogue: Arc<Catalogue>,
    pub admin: Arc<Admin>,
}

const FIELDS: Fields = &[("dialect", Type::Text), ("display_name", Type::Text), ("issuer", Type::Text)];

fn field(p: &Profile, path: &str) -> Value {
    match path {
        "dialect" => Value::Text(p.dialect.word().to_owned()),
        "display_name" => Value::Text(p.display_name.clone()),
        "issuer" => p.issuer.as_ref().map_or(Value::Unset, |issuer| Value::Text(issuer.as_str().to_owned())),
        _ => Value::Unset,
    }
}

impl Providers {
    fn profile(&self, name: &ProviderName) -> Result<Arc<Profile>, Problem> {
        self.catalogue.get(name).ok_or_else(|| {
            let text = format!("{name} does not exist: see ListProviders");
            Problem::new(ErrorReason::ProviderNotFound, text).about(name)
        })
    }
}

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn get_provider(
        &self,
        request: Request<api::GetProviderRequest>,
    ) -> Result<Response<api::Provider>, Status> {
        let call = self.guard.call(&request)?;
        let name: ProviderName = from::name("name", &request.into_inner().name)?;
        drop(self.guard.permit(&call, name.clone())?);
        let profile = self.profile(&name)?;
        Ok(Response::new(to::provider(&profile)))
    }

    async fn list_providers(
        &self,
        request: Request<api::ListProvidersRequest>,
    ) -> Result<Response<api::ListProvidersResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let after = from::page_token(&request.page_token)?;
        let limit = from::page_size(request.page_size)?;
        drop(self.guard.permit(&call, Target::Deployment)?);
        let sight = self.guard.sight(&call, Action::GetProvider);
        let mut found: Vec<_> = self
            .catalogue
            .iter()
            .filter(|profile| after.as_ref().is_none_or(|key| profile.name.0.as_str() > key.as_str()))
            .filter(|profile| filter.matches(|path| field(profile, path)))
            .filter(|profile| sight.shows(&profile.name.clone().into()) == Shown::Yes)
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).and_then(|last| Key::new(last.name.0.as_str()).ok());
        Ok(Response::new(api::ListProvidersResponse {
            providers: found.iter().map(|profile| to::provider(profile)).collect(),
            next_page_token: from::to_page_token(next.as_ref()),
        }))
    }

    async fn check_provider(
        &self,
        request: Request<api::CheckProviderRequest>,
    ) -> Result<Response<api::CheckProviderResponse>, Status> {
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ProviderName = from::name("name", &request.name)?;
        let client: Option<ClientName> = match request.client.as_str() {
            "" => None,
            given => Some(from::name("client", given)?),
        };
        drop(self.guard.permit(&call, name.clone())?);
        // First: that it is missing is told whatever client is named, there or not.
        drop(self.profile(&name)?);
        if let Some(client) = &client
            && let Use::OfNone(unseen) = self.guard.use_of_client(&call, client, &call.asked()).await?
        {
            return Err(call.unseen(unseen));
        }
        let found = self.admin.check_provider(&name, client.as_ref()).await;
        let findings = found.map_err(|err| errors::admin(&name, err))?.into_iter().map(finding).collect();
        Ok(Response::new(api::CheckProviderResponse { findings }))
    }
}

fn finding(found: Finding) -> api::Finding {
    use api::finding::Level as L;
    let level = match found.level {
        Level::Ok => L::Ok,
        Level::Warn => L::Warn,
        Level::Fail => L::Fail,
    };
    api::Finding { level: level.into(), subject: found.subject, text: found.text, mend: found.mend }
}
