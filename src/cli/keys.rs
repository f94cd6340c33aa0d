//! `bursar keys`: key chains at the server, and keyset files here. Prints no key.

pub(super) mod keyset;

use super::{
    ApiArgs,
    console::{Console, Format},
    failure::{Failure, known_reason},
    progress::Progress,
    session::Session,
    table,
};
use crate::{
    api::{
        ErrorReason, GetKeyChainRequest, KeyChain, RetireKeyVersionRequest, RotateKekRequest,
        RotateRootKeyRequest, RotateTenantKeyRequest, WatchKeyChainRequest, key_version::State,
    },
    domain::names::Owner,
};
use clap::{Args, Subcommand};
use keyset::KeysetCommand;
use std::{path::PathBuf, time::Duration};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Show a key chain: its versions, and how far a rotation is
    Chain(Named),
    /// Watch a rotation until nothing is left to seal anew
    Watch(Named),
    /// Rotate a key
    #[command(subcommand)]
    Rotate(RotateCommand),
    /// Destroy a key version, once nothing needs it
    Retire(Retire),
    /// Make a keyset with one new key-encryption key
    Generate {
        /// File to write; it must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Look at a keyset file, or change it
    #[command(subcommand)]
    Keyset(KeysetCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum RotateCommand {
    /// The key of a tenant or of the platform: everything that it sealed is sealed anew
    Tenant {
        /// Whose, `tenants/{tenant}` or `platform`
        owner: Owner,
        #[command(flatten)]
        guarded: Guarded,
    },
    /// The root key: the keys of all tenants and of the platform are wrapped anew
    Root(Guarded),
    /// The key-encryption key: root keys are wrapped by the one that its owner names now
    Kek(Guarded),
}

#[derive(Debug, Args)]
pub(super) struct Named {
    /// The key chain: `keyChains/kek`, `keyChains/root`, `platform/keyChain` or `tenants/{tenant}/keyChain`
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Guarded {
    /// Rotate only if this is still the chain's etag
    #[arg(long)]
    etag: Option<String>,
    /// Watch until nothing is left to seal anew
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct Retire {
    #[command(flatten)]
    chain: Named,
    /// Number of the version
    version: u32,
    /// Retire it only if this is still the chain's etag
    #[arg(long)]
    etag: Option<String>,
}

impl KeysCommand {
    pub(super) async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Generate { out } => keyset::generated(&out, console),
            Self::Keyset(command) => command.run(api, console),
            Self::Chain(Named { name }) => {
                let session = Session::open(api).await?;
                let request = GetKeyChainRequest { name };
                let chain = session.wait(session.keys().get_key_chain(request)).await?;
                console.show(&chain, api.output)
            }
            Self::Watch(Named { name }) => {
                let session = Session::open(api).await?;
                let chain = watched(&session, name, api, console).await?;
                console.show(&chain, api.output)
            }
            Self::Rotate(command) => command.run(api, console).await,
            Self::Retire(Retire { chain: Named { name }, version, etag }) => {
                let session = Session::open(api).await?;
                let request = RetireKeyVersionRequest { name, version, etag: etag.unwrap_or_default() };
                let chain = session.wait(session.keys().retire_key_version(request)).await?;
                console.show(&chain, api.output)
            }
        }
    }
}

impl RotateCommand {
    async fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        let session = Session::open(api).await?;
        let mut keys = session.keys();
        let text = |etag: Option<String>| etag.unwrap_or_default();
        let (chain, wait) = match self {
            Self::Tenant { owner, guarded: Guarded { etag, wait } } => {
                let request = RotateTenantKeyRequest { name: format!("{owner}/keyChain"), etag: text(etag) };
                (session.wait(keys.rotate_tenant_key(request)).await?, wait)
            }
            Self::Root(Guarded { etag, wait }) => {
                let request = RotateRootKeyRequest { etag: text(etag) };
                (session.wait(keys.rotate_root_key(request)).await?, wait)
            }
            Self::Kek(Guarded { etag, wait }) => {
                let request = RotateKekRequest { etag: text(etag) };
                (session.wait(keys.rotate_kek(request)).await?, wait)
            }
        };
        let chain = if wait { watched(&session, chain.name, api, console).await? } else { chain };
        console.show(&chain, api.output)
    }
}

/// How often a watch is opened again whose connection ended: more often than connections grow old in the time that is
/// watched at most.
const REOPENED_MAX: u32 = 1000;

/// Before a watch is opened again: a replica that is stopping is gone by then.
const REOPENED_AFTER: Duration = Duration::from_secs(1);

/// Whether only the stream ended, and the rest is to be heard on a new one: servers end connections that are old, replicas
/// stop, and a caller's token lasts less long than a rotation.
fn goes_on(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Refused(status) => {
            matches!(known_reason(status), Some(ErrorReason::Unauthenticated | ErrorReason::ShuttingDown))
        }
        Failure::Usage(_)
        | Failure::NotTrusted { .. }
        | Failure::TimedOut { .. }
        | Failure::OutputClosed
        | Failure::NotAuthorized { .. }
        | Failure::StoppedWaiting { .. }
        | Failure::NotAllImported { .. }
        | Failure::Local(_) => false,
    }
}

/// When the KEK was last tried is no news.
fn is_same(one: &KeyChain, other: &KeyChain) -> bool {
    let plain = |chain: &KeyChain| KeyChain { kek: None, ..chain.clone() };
    plain(one) == plain(other)
}

/// Shows what is new until the stream ends; gives the last state.
async fn watched(
    session: &Session,
    name: String,
    api: &ApiArgs,
    console: &mut Console,
) -> Result<KeyChain, Failure> {
    let session = session.lasting();
    let open = async || {
        let request = WatchKeyChainRequest { name: name.clone() };
        session.wait(session.keys().watch_key_chain(request)).await
    };
    let mut news = open().await?;
    let progress = Progress::waiting(console, &format!("watching {}", table::plain(&name)));
    let (mut last, mut reopened) = (None, 0);
    loop {
        let chain = match session.next(&mut news).await {
            Ok(Some(chain)) => chain,
            Ok(None) => break,
            Err(failure) if last.is_some() && reopened < REOPENED_MAX && goes_on(&failure) => {
                reopened += 1;
                tokio::time::sleep(REOPENED_AFTER).await;
                news = open().await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        // A watch that is opened again begins with what was told before.
        if last.as_ref().is_some_and(|last| is_same(last, &chain)) {
            continue;
        }
        match api.output {
            Format::Table => progress.tell(console, told(&chain)),
            Format::Json | Format::Yaml => console.announce(&chain, api.output),
        }
        last = Some(chain);
    }
    last.ok_or_else(|| Failure::Local(anyhow::anyhow!("the server told nothing of {name}")))
}

/// How far a rotation is, in a line.
fn told(chain: &KeyChain) -> String {
    let waits = chain.versions.iter().find(|version| version.state() == State::Prepared);
    if let Some(version) = waits {
        return format!("version {} waits until every replica knows it", version.version);
    }
    match &chain.reseal {
        None => "nothing to seal anew".to_owned(),
        Some(reseal) if reseal.total_count == 0 && reseal.end_time.is_none() => {
            format!(
                "version {} is in use; the older one is being left by every replica",
                reseal.target_version
            )
        }
        Some(reseal) => {
            let broken = match reseal.broken_count {
                0 => String::new(),
                broken => format!(", {broken} cannot be read"),
            };
            let (done, all) = (reseal.resealed_count, reseal.total_count);
            format!("version {}: {done} of {all} sealed anew{broken}", reseal.target_version)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{KeyVersion, ResealProgress};

    #[test]
    fn each_stage_of_a_rotation_is_a_line() {
        let version =
            |version, state: State| KeyVersion { version, state: state.into(), ..Default::default() };
        let reseal = |total_count, broken_count| ResealProgress {
            target_version: 2,
            resealed_count: 7,
            total_count,
            broken_count,
            ..ResealProgress::default()
        };
        let chain = |state, reseal| KeyChain {
            versions: vec![version(2, state), version(1, State::DecryptOnly)],
            reseal: Some(reseal),
            ..KeyChain::default()
        };
        for (chain, want) in [
            (chain(State::Prepared, reseal(0, 0)), "version 2 waits until every replica knows it"),
            (
                chain(State::Active, reseal(0, 0)),
                "version 2 is in use; the older one is being left by every replica",
            ),
            (chain(State::Active, reseal(9, 0)), "version 2: 7 of 9 sealed anew"),
            (chain(State::Active, reseal(9, 1)), "version 2: 7 of 9 sealed anew, 1 cannot be read"),
            (KeyChain::default(), "nothing to seal anew"),
        ] {
            assert_eq!(told(&chain), want);
        }
    }
}
