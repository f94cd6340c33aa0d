//! `bursar.v1.TokenService`: what internal services call.

use super::{
    Unimplemented, errors, from_proto as from,
    guard::{Guard, Unreadable},
    to_proto as to, unimplemented,
};
use crate::{
    access::Asked,
    api::{self, ErrorReason, token_service_server::TokenService},
    broker::{Broker, Possession, Wish},
    clock::Timestamp,
    domain::names::ConnectionName,
    grpc::problem::Problem,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

pub struct Tokens {
    pub broker: Arc<Broker>,
    pub guard: Arc<Guard>,
    /// Longest that a call may take.
    pub longest: Duration,
}

impl Tokens {
    /// The answer of a method that is not there yet. What is missing is missing all the same, says the guard: else what
    /// is hidden would show by its difference.
    async fn not_yet<T>(&self, request: &Request<T>, name: &str, method: &str) -> Result<Status, Status> {
        let call = self.guard.call(request)?;
        let name: ConnectionName = from::name("name", name)?;
        drop(self.guard.connection(&call, &name).await?);
        Ok(unimplemented(method))
    }
}

fn possession(proof: String, at: Timestamp) -> Option<Possession> {
    (!proof.is_empty()).then_some(Possession { proof, at })
}

#[tonic::async_trait]
impl TokenService for Tokens {
    type WatchTokenStream = Unimplemented<api::WatchTokenResponse>;

    async fn get_token(
        &self,
        request: Request<api::GetTokenRequest>,
    ) -> Result<Response<api::Token>, Status> {
        let left = from::deadline(request.metadata()).map_or(self.longest, |left| left.min(self.longest));
        let deadline = Some(Instant::now() + left);
        let call = self.guard.call(&request)?;
        let request = request.into_inner();
        let name: ConnectionName = from::name("name", &request.name)?;
        if !request.audience.is_empty() {
            let text = "this connection has no allowed audiences: ask without one";
            return Err(Problem::new(ErrorReason::AudienceNotAllowed, text).about(&name).into());
        }
        let wish = Wish {
            min_lifetime: from::min_lifetime(request.min_lifetime)?,
            scopes: from::scopes("scopes", request.scopes)?,
            deadline,
            proof: possession(request.dpop_proof, self.broker.clock.now()),
            seat: call.seat.clone(),
        };
        let asked = Asked { scopes: wish.scopes.clone(), ..call.asked() };
        let permit = self.guard.connection_for(&call, &name, &asked, Unreadable::Fails).await?;
        match self.broker.get_token(&permit, &wish).await {
            Ok(handed) => {
                self.guard.still(&call, &permit, &handed.connection, &asked).await?;
                Ok(Response::new(to::token(handed, self.broker.ledger.now())))
            }
            Err(err) => Err(errors::get_token(permit.on(), err)),
        }
    }

    async fn watch_token(
        &self,
        request: Request<api::WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(self.not_yet(&request, &request.get_ref().name, "WatchToken").await?)
    }

    async fn report_rejected_token(
        &self,
        request: Request<api::ReportRejectedTokenRequest>,
    ) -> Result<Response<api::ReportRejectedTokenResponse>, Status> {
        Err(self.not_yet(&request, &request.get_ref().name, "ReportRejectedToken").await?)
    }
}
