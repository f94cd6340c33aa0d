//! `bursar.v1.KeyService`.

use super::{
    errors, from_proto as from,
    guard::{Guard, Lasting},
    problem::Problem,
    to_proto as to,
};
use crate::{
    access::{Chain, Permit},
    api::{self, ErrorReason, key_service_server::KeyService},
    broker::{
        custodian::{ChainView, Custodian, KeysError},
        heartbeat::Heartbeat,
    },
    domain::names::Owner,
};
use futures_util::{StreamExt, stream, stream::BoxStream};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

/// Between two looks at a chain that is watched.
const WATCHED_EVERY: Duration = Duration::from_secs(1);

pub struct Keys {
    pub guard: Arc<Guard>,
    pub custodian: Arc<Custodian>,
    pub heartbeat: Arc<Heartbeat>,
    /// Streams end with it.
    pub stopping: CancellationToken,
}

/// Whose keys a name stands for.
fn chain(name: &str) -> Result<Chain, Problem> {
    match (name, name.strip_suffix("/keyChain")) {
        ("keyChains/kek", _) => Ok(Chain::Kek),
        ("keyChains/root", _) => Ok(Chain::Root),
        (_, Some(owner)) => from::name::<Owner>("name", owner).map(Chain::Of),
        (_, None) => Err(Problem::field(
            "name",
            "is no key chain: keyChains/kek, keyChains/root, platform/keyChain or tenants/{tenant}/keyChain",
        )),
    }
}

impl Keys {
    fn permit<T>(&self, request: &Request<T>, chain: Chain) -> Result<Permit<Chain>, Status> {
        self.guard.permit(&self.guard.call(request)?, chain)
    }

    /// The same for a change, which is on record when this returns.
    async fn change<T>(&self, request: &Request<T>, chain: Chain) -> Result<(), Status> {
        let call = self.guard.call(request)?;
        self.guard.change(&call, chain).await.map(drop)
    }

    async fn rotate(&self, chain: &Chain, etag: &str) -> Result<Response<api::KeyChain>, Status> {
        let rotated = self.custodian.rotate(chain, etag).await;
        let view = rotated.map_err(|err| errors::keys(chain, err))?;
        Ok(Response::new(self.shown(&view)))
    }

    fn shown(&self, view: &ChainView) -> api::KeyChain {
        to::key_chain(view, &self.heartbeat.health(), self.custodian.ledger.now())
    }
}

/// A chain that is watched.
struct Watched {
    chain: Chain,
    right: Lasting,
    custodian: Arc<Custodian>,
    heartbeat: Arc<Heartbeat>,
    stopping: CancellationToken,
    last: Option<api::KeyChain>,
    next_look: Instant,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    NotYet,
    Reached,
}

impl Watched {
    /// What is different from what was last told; `None` at the end.
    async fn news(&mut self) -> Option<Result<api::KeyChain, Status>> {
        while self.end == End::NotYet {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {
                    self.end = End::Reached;
                    let text = "this replica is stopping: watch on another one";
                    return Some(Err(Problem::new(ErrorReason::ShuttingDown, text).into()));
                }
                () = sleep_until(self.next_look) => {}
            }
            self.next_look = Instant::now() + WATCHED_EVERY;
            let view = match self.look().await {
                Ok(view) => view,
                Err(status) => {
                    self.end = End::Reached;
                    return Some(Err(status));
                }
            };
            if view.is_settled() {
                self.end = End::Reached;
            }
            let now = self.custodian.ledger.now();
            let told = to::key_chain(&view, &self.heartbeat.health(), now);
            if self.last.as_ref().is_none_or(|last| !is_same(last, &told)) {
                self.last = Some(told.clone());
                return Some(Ok(told));
            }
        }
        None
    }

    /// For whoever may look at it now.
    async fn look(&self) -> Result<ChainView, Status> {
        self.right.still(self.chain.clone()).await?;
        self.custodian.view(&self.chain).await.map_err(|err| errors::keys(&self.chain, err))
    }
}

/// Whether versions and progress are the same; when the KEK was last tried is no news.
fn is_same(one: &api::KeyChain, other: &api::KeyChain) -> bool {
    let plain = |chain: &api::KeyChain| api::KeyChain { kek: None, ..chain.clone() };
    plain(one) == plain(other)
}

#[tonic::async_trait]
impl KeyService for Keys {
    type WatchKeyChainStream = BoxStream<'static, Result<api::KeyChain, Status>>;

    async fn get_key_chain(
        &self,
        request: Request<api::GetKeyChainRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        let chain = chain(&request.get_ref().name)?;
        drop(self.permit(&request, chain.clone())?);
        let view = self.custodian.view(&chain).await.map_err(|err| errors::keys(&chain, err))?;
        Ok(Response::new(self.shown(&view)))
    }

    async fn watch_key_chain(
        &self,
        request: Request<api::WatchKeyChainRequest>,
    ) -> Result<Response<Self::WatchKeyChainStream>, Status> {
        let (chain, call) = (chain(&request.get_ref().name)?, self.guard.call(&request)?);
        drop(self.guard.permit(&call, chain.clone())?);
        let watched = Watched {
            chain,
            right: Lasting::of(&self.guard, &call),
            custodian: self.custodian.clone(),
            heartbeat: self.heartbeat.clone(),
            stopping: self.stopping.clone(),
            last: None,
            next_look: Instant::now(),
            end: End::NotYet,
        };
        let news =
            stream::unfold(watched, |mut watched| async { watched.news().await.map(|told| (told, watched)) });
        Ok(Response::new(news.boxed()))
    }

    async fn rotate_tenant_key(
        &self,
        request: Request<api::RotateTenantKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        let chain = chain(&request.get_ref().name)?;
        self.change(&request, chain.clone()).await?;
        match &chain {
            Chain::Of(_) => self.rotate(&chain, &request.get_ref().etag).await,
            Chain::Kek | Chain::Root => Err(Problem::field(
                "name",
                "is not the chain of an owner: call RotateRootKey or RotateKek for this one",
            )
            .into()),
        }
    }

    async fn rotate_root_key(
        &self,
        request: Request<api::RotateRootKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.change(&request, Chain::Root).await?;
        self.rotate(&Chain::Root, &request.get_ref().etag).await
    }

    async fn rotate_kek(
        &self,
        request: Request<api::RotateKekRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        self.change(&request, Chain::Kek).await?;
        self.rotate(&Chain::Kek, &request.get_ref().etag).await
    }

    async fn retire_key_version(
        &self,
        request: Request<api::RetireKeyVersionRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        let chain = chain(&request.get_ref().name)?;
        let api::RetireKeyVersionRequest { version, ref etag, .. } = *request.get_ref();
        if version == 0 {
            return Err(Problem::field("version", "is required: a number from 1, see GetKeyChain").into());
        }
        self.change(&request, chain.clone()).await?;
        let retired: Result<ChainView, KeysError> = self.custodian.retire(&chain, version, etag).await;
        let view = retired.map_err(|err| errors::keys(&chain, err))?;
        Ok(Response::new(self.shown(&view)))
    }
}
