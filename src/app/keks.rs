//! Which KEK there is, by the configuration. Asks none of them yet.

use super::keyset::{KeysetFile, ReplacedKeyset, Turn};
use crate::{
    config::{self, Config, SecretFile, TransitKek, TransitLogin},
    domain::token::Secret,
    egress::{AddressPolicy, Egress},
    kek::{
        KmsPlugin, Transit,
        transit::{Login, SecretSource, Settings},
    },
    seal::{FileKeyset, Kek, Keks},
};
use anyhow::Context;
use std::sync::Arc;

impl SecretSource for SecretFile {
    fn read(&self) -> Result<Secret, String> {
        Self::read(self)
    }
}

/// The KEKs, and the keyset files behind them.
pub(super) struct Chosen {
    pub(super) keks: Arc<Keks>,
    pub(super) files: Vec<KeysetFile>,
}

pub(super) fn keks(config: &Config) -> anyhow::Result<Chosen> {
    let mut files = Vec::new();
    let present = kek(&config.keys.present, Turn::Present, &mut files).context("keys")?;
    let previous = config.keys.previous.as_ref().map(|previous| kek(previous, Turn::Previous, &mut files));
    let previous = previous.transpose().context("keys.previous")?;
    Ok(Chosen { keks: Arc::new(Keks { present, previous }), files })
}

fn kek(of: &config::Kek, turn: Turn, files: &mut Vec<KeysetFile>) -> anyhow::Result<Arc<dyn Kek>> {
    Ok(match of {
        config::Kek::File { keyset, file } => {
            let parsed = FileKeyset::parse(keyset.expose()).context("keyset_file cannot be used")?;
            let kek = Arc::new(ReplacedKeyset::new(parsed));
            if let Some(file) = file {
                files.push(KeysetFile { kek: kek.clone(), file: file.clone(), turn, used: keyset.clone() });
            }
            kek
        }
        config::Kek::KmsPlugin { socket } => Arc::new(KmsPlugin::at(socket)?),
        config::Kek::Transit(transit) => {
            // A server of one's own: in a private network as likely as not, and not behind the proxy to the Internet.
            let egress = Egress::new(AddressPolicy::Private)?;
            Arc::new(Transit::new(egress, settings(transit))?)
        }
    })
}

fn settings(of: &TransitKek) -> Settings {
    let file = |file: &SecretFile| -> Arc<dyn SecretSource> { Arc::new(file.clone()) };
    Settings {
        address: of.address.clone(),
        mount: of.mount.clone(),
        key: of.key.clone(),
        namespace: of.namespace.clone(),
        ca: of.ca.clone(),
        login: match &of.login {
            TransitLogin::TokenFile(token) => Login::TokenFile(file(token)),
            TransitLogin::Kubernetes { mount, role, jwt } => {
                Login::Kubernetes { mount: mount.clone(), role: role.clone(), jwt: file(jwt) }
            }
            TransitLogin::AppRole { mount, role_id, secret_id } => {
                Login::AppRole { mount: mount.clone(), role_id: role_id.clone(), secret_id: file(secret_id) }
            }
        },
    }
}
