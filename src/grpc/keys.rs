//! `bursar.v1.KeyService`: its methods are in the API and not in this version.

use super::{Unimplemented, unimplemented};
use crate::api::{self, key_service_server::KeyService};
use tonic::{Request, Response, Status};

pub struct Keys;

#[tonic::async_trait]
impl KeyService for Keys {
    type WatchKeyChainStream = Unimplemented<api::KeyChain>;

    async fn get_key_chain(
        &self,
        _: Request<api::GetKeyChainRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        Err(unimplemented("GetKeyChain"))
    }

    async fn watch_key_chain(
        &self,
        _: Request<api::WatchKeyChainRequest>,
    ) -> Result<Response<Self::WatchKeyChainStream>, Status> {
        Err(unimplemented("WatchKeyChain"))
    }

    async fn rotate_tenant_key(
        &self,
        _: Request<api::RotateTenantKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        Err(unimplemented("RotateTenantKey"))
    }

    async fn rotate_root_key(
        &self,
        _: Request<api::RotateRootKeyRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        Err(unimplemented("RotateRootKey"))
    }

    async fn rotate_kek(&self, _: Request<api::RotateKekRequest>) -> Result<Response<api::KeyChain>, Status> {
        Err(unimplemented("RotateKek"))
    }

    async fn retire_key_version(
        &self,
        _: Request<api::RetireKeyVersionRequest>,
    ) -> Result<Response<api::KeyChain>, Status> {
        Err(unimplemented("RetireKeyVersion"))
    }
}
