//! `bursar.v1.ProviderService`: the profiles, read-only.

use super::{
    filter::{Fields, Filter, Type, Value},
    from_proto as from,
    problem::Problem,
    to_proto as to,
};
use crate::{
    api::{self, ErrorReason, provider_service_server::ProviderService},
    domain::{names::ProviderName, profile::Profile},
    provider::catalogue::Catalogue,
    store::Key,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

pub struct Providers {
    pub catalogue: Arc<Catalogue>,
}

const FIELDS: Fields = &[("dialect", Type::Text), ("display_name", Type::Text), ("issuer", Type::Text)];

fn field(p: &Profile, path: &str) -> Value {
    match path {
        "dialect" => Value::Text(p.dialect.word().to_owned()),
        "display_name" => Value::Text(p.display_name.clone()),
        "issuer" => p.issuer.as_ref().map_or(Value::Unset, |url| Value::Text(url.to_string())),
        _ => Value::Unset,
    }
}

#[tonic::async_trait]
impl ProviderService for Providers {
    async fn get_provider(
        &self,
        request: Request<api::GetProviderRequest>,
    ) -> Result<Response<api::Provider>, Status> {
        let name: ProviderName = from::name("name", &request.into_inner().name)?;
        if let Some(profile) = self.catalogue.get(&name) {
            Ok(Response::new(to::provider(&profile)))
        } else {
            let text = format!("{name} does not exist: see ListProviders");
            Err(Problem::new(ErrorReason::ProviderNotFound, text).about(&name).into())
        }
    }

    async fn list_providers(
        &self,
        request: Request<api::ListProvidersRequest>,
    ) -> Result<Response<api::ListProvidersResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter::parse(&request.filter, FIELDS)?;
        let after = from::page_token(&request.page_token)?;
        let limit = from::page_size(request.page_size)?;
        let mut found: Vec<_> = self
            .catalogue
            .iter()
            .filter(|profile| after.as_ref().is_none_or(|key| profile.name.0.as_str() > key.as_str()))
            .filter(|profile| filter.matches(|path| field(profile, path)))
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
}
