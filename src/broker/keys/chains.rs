//! Chains of keys between what the seal knows and the bytes that lie in the store.

use crate::{
    clock::Timestamp,
    seal::{DeploymentId, KeyChain, KeyVersion, RootChain, Stamp},
    store::{Document, Key, StoreError, record as pb},
};
use prost::Message;
use uuid::Uuid;

fn broken(key: &Key, cause: &str) -> StoreError {
    StoreError::Broken { key: key.to_string(), cause: cause.to_owned() }
}

fn chain_to(chain: &KeyChain) -> pb::KeyChain {
    let version = |held: &KeyVersion| pb::KeyVersion {
        version: held.version,
        state: held.state.word().to_owned(),
        wrapped: held.wrapped.clone(),
        created_at: held.created_at.0,
        activated_at: held.activated_at.map(|at| at.0),
        destroyed_at: held.destroyed_at.map(|at| at.0),
    };
    pb::KeyChain {
        versions: chain.versions.iter().map(version).collect(),
        stamp_key_version: chain.stamp.key_version,
        stamp: chain.stamp.tag.to_vec(),
        shut_at: chain.shut_at.map(|at| at.0),
        revision: chain.revision,
    }
}

pub(super) fn encode_chain(chain: &KeyChain) -> Vec<u8> {
    chain_to(chain).encode_to_vec()
}

fn chain_of(key: &Key, chain: pb::KeyChain) -> Result<KeyChain, StoreError> {
    let versions = chain.versions.into_iter().map(|held| {
        Ok(KeyVersion {
            version: held.version,
            state: held
                .state
                .parse()
                .map_err(|_| broken(key, "has a key state that this program does not know"))?,
            wrapped: held.wrapped,
            created_at: Timestamp(held.created_at),
            activated_at: held.activated_at.map(Timestamp),
            destroyed_at: held.destroyed_at.map(Timestamp),
        })
    });
    let tag = chain.stamp.as_slice().try_into().map_err(|_| broken(key, "has a stamp of a wrong length"))?;
    Ok(KeyChain {
        versions: versions.collect::<Result<_, StoreError>>()?,
        shut_at: chain.shut_at.map(Timestamp),
        revision: chain.revision,
        stamp: Stamp { key_version: chain.stamp_key_version, tag },
    })
}

pub(super) fn decode_chain(document: &Document) -> Result<KeyChain, StoreError> {
    let chain =
        pb::KeyChain::decode(&*document.body).map_err(|_| broken(&document.key, "is no key chain"))?;
    chain_of(&document.key, chain)
}

pub(super) fn encode_root(root: &RootChain) -> Vec<u8> {
    pb::RootChain { deployment: root.deployment.0.as_bytes().to_vec(), chain: Some(chain_to(&root.chain)) }
        .encode_to_vec()
}

pub(super) fn decode_root(document: &Document) -> Result<RootChain, StoreError> {
    let wrong = || broken(&document.key, "is no root chain");
    let root = pb::RootChain::decode(&*document.body).map_err(|_| wrong())?;
    Ok(RootChain {
        deployment: DeploymentId(Uuid::from_slice(&root.deployment).map_err(|_| wrong())?),
        chain: chain_of(&document.key, root.chain.ok_or_else(wrong)?)?,
    })
}
