//! Names become addresses here, and nowhere else: each connection asks anew, and goes only to what was judged. A name
//! that changes its mind between the look and the connection gains nothing, as there is only one look.

use super::{
    AddressPolicy, Way,
    addresses::{Place, place},
};
use crate::domain::profile::{Network, is_loopback};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    error::Error as StdError,
    net::{IpAddr, SocketAddr},
};
use url::Url;

/// The address that a name resolved to is not allowed.
#[derive(Debug, thiserror::Error)]
#[error("address is not allowed")]
pub(super) struct AddressRefused;

pub(super) struct Resolver {
    policy: AddressPolicy,
    networks: Vec<Network>,
    /// The host of the configured proxy, which may be anywhere but where nothing may be.
    proxy: Option<String>,
}

impl Resolver {
    pub(super) fn new(way: &Way, networks: &[Network]) -> Self {
        let proxy = way.proxy.as_ref().and_then(|proxy| proxy.host_str()).map(ToOwned::to_owned);
        Self { policy: way.policy, networks: networks.to_vec(), proxy }
    }

    fn admits(&self, name: &str, address: IpAddr) -> bool {
        if name == "localhost" {
            // May be sent plain HTTP, so it must be this machine under every policy.
            AddressPolicy::LoopbackOnly.leads_to(address, &[])
        } else if self.proxy.as_deref() == Some(name) {
            place(address) != Place::Never
        } else {
            self.policy.leads_to(address, &self.networks)
        }
    }

    /// All of them, or none: one wrong address among good ones is how a name is turned against us.
    pub(super) fn judged(&self, name: &str, found: &[SocketAddr]) -> Result<(), AddressRefused> {
        let good = found.iter().all(|address| self.admits(name, address.ip()));
        if good { Ok(()) } else { Err(AddressRefused) }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let judge = Self { policy: self.policy, networks: self.networks.clone(), proxy: self.proxy.clone() };
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            judge
                .judged(name.as_str(), &found)
                .map_err(|refused| Box::new(refused) as Box<dyn StdError + Send + Sync>)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

impl AddressPolicy {
    /// An address that is written is judged here; a name when it is resolved.
    pub(super) fn admits(self, url: &Url, networks: &[Network]) -> bool {
        match self {
            Self::LoopbackOnly => is_loopback(url),
            Self::Public | Self::Private => match url.host() {
                Some(url::Host::Ipv4(v4)) => is_loopback(url) || self.leads_to(v4.into(), networks),
                Some(url::Host::Ipv6(v6)) => is_loopback(url) || self.leads_to(v6.into(), networks),
                Some(url::Host::Domain(_)) => true,
                None => false,
            },
        }
    }

    /// May a name that was resolved, or an address that was written, lead there?
    pub(super) fn leads_to(self, address: IpAddr, networks: &[Network]) -> bool {
        let opened = || networks.iter().any(|network| network.holds(address));
        match (place(address), self) {
            (Place::Internet, Self::Public | Self::Private)
            | (Place::Private, Self::Private)
            | (Place::Loopback, Self::LoopbackOnly) => true,
            (Place::Private, Self::Public) => opened(),
            (Place::Internet | Place::Private | Place::Loopback | Place::Never, _) => false,
        }
    }
}
