//! `bursar.v1.TokenService`: what internal services call.

use super::{Unimplemented, errors, from_proto as from, to_proto as to, unimplemented};
use crate::{
    access::{Access, Caller},
    api::{self, ErrorReason, token_service_server::TokenService},
    broker::{Broker, Wish},
    domain::names::ConnectionName,
    grpc::problem::Problem,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

pub struct Tokens {
    pub broker: Arc<Broker>,
    pub access: Arc<Access>,
    /// Longest that a call may take.
    pub longest: Duration,
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
        };
        let permit = self.access.permit(Caller::Local, name).map_err(|_| {
            Status::from(Problem::new(
                ErrorReason::PermissionDenied,
                "the caller may not use this connection",
            ))
        })?;
        match self.broker.get_token(&permit, &wish).await {
            Ok(handed) => Ok(Response::new(to::token(handed, self.broker.ledger.now()))),
            Err(err) => Err(errors::get_token(permit.connection(), err)),
        }
    }

    async fn watch_token(
        &self,
        _: Request<api::WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(unimplemented("WatchToken"))
    }

    async fn report_rejected_token(
        &self,
        _: Request<api::ReportRejectedTokenRequest>,
    ) -> Result<Response<api::ReportRejectedTokenResponse>, Status> {
        Err(unimplemented("ReportRejectedToken"))
    }
}
