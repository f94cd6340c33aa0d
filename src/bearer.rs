//! Who a call's signed token says that its bearer is: issuers and their keys, what of a token is believed, tokens that
//! were verified lately, and whether a cluster still accepts one. Knows no policy, keeps no token, and asks an issuer
//! no more often than [`pace::INTERVAL`] whatever strangers send.

mod claims;
pub mod fetching;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod keeper;
mod key_set;
pub mod pace;
mod refusal;
pub mod review;
mod token;

pub use keeper::{Fetch, NotFetched, Surroundings};
pub use key_set::{KeySet, NoKeySet};
pub use refusal::Refusal;
pub use token::TOKEN_MAX;

use crate::{
    access::{
        AuditClass, Authenticate, Caller, Identity, Peer, Transport, Unauthenticated, caller::by_connection,
    },
    clock::{Clock, Timestamp},
    domain::{
        issuer::{Issuer, KeySource},
        names::Id,
    },
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use aws_lc_rs::digest;
use claims::Claimed;
use futures_util::future::join_all;
use keeper::{Keeper, NoKey};
use key_set::Signature;
use quick_cache::sync::Cache;
use review::{NotReviewed, Reviews};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use token::Token;
use tokio::time::{Instant, timeout};

/// Longest time for which a token is not looked at again.
pub const VERIFIED_FOR: Duration = Duration::from_secs(60);
/// Most tokens that are known as verified.
const VERIFIED_MAX: usize = 10_000;
/// Longest wait for the first keys of issuers, before callers come.
const PREPARE_MAX: Duration = Duration::from_secs(6);
/// When to ask again where who calls could not be found out.
const RETRY: Duration = Duration::from_secs(2);

/// Gives each issuer with a server what fetches its keys.
pub type Sources = Box<dyn Fn(&Issuer) -> Option<Arc<dyn Fetch>> + Send + Sync>;

/// Recognises callers by their connection and, before that, by the token that they bring.
pub struct Bearers {
    /// By the claim `iss`.
    issuers: ArcSwap<HashMap<String, Arc<Keeper>>>,
    verified: Cache<Key, Arc<Verified>>,
    reviews: Option<Reviews>,
    sources: Sources,
    clock: Arc<dyn Clock>,
    around: Surroundings,
    signatures: AtomicU64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// SHA-256 of the token.
    digest: [u8; 32],
    /// Part of who the caller is to policies.
    transport: Transport,
}

/// A token whose signature was good.
struct Verified {
    caller: Caller,
    subject: String,
    bound_to: Option<[u8; 32]>,
    until: Timestamp,
    keeper: Arc<Keeper>,
    /// Those among which its key was.
    keys: Arc<KeySet>,
}

/// Issuers that cannot be used together, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("issuer {name}: {problem}")]
pub struct Unusable {
    pub name: Id,
    pub problem: String,
}

/// What is different after a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// Nothing but keys from files.
    Keys,
    Issuers,
}

/// Whether these issuers can be used, without asking any of them.
pub fn check(issuers: &[Issuer]) -> Result<(), Unusable> {
    issuers.iter().try_for_each(|issuer| written(issuer).map(drop))
}

/// The keys that are written down.
fn written(issuer: &Issuer) -> Result<Option<Arc<KeySet>>, Unusable> {
    match &issuer.keys {
        KeySource::Text(text) => {
            KeySet::parse(text.as_bytes()).map(|keys| Some(Arc::new(keys))).map_err(|wrong| Unusable {
                name: issuer.name.clone(),
                problem: format!("jwks_file holds no key set: {wrong}"),
            })
        }
        KeySource::Server(_) => Ok(None),
    }
}

impl Bearers {
    /// Knows no issuer yet: see [`Bearers::replace`].
    pub fn new(
        sources: Sources,
        reviews: Option<Reviews>,
        clock: Arc<dyn Clock>,
        around: Surroundings,
    ) -> Self {
        Self {
            issuers: ArcSwap::default(),
            verified: Cache::new(VERIFIED_MAX),
            reviews,
            sources,
            clock,
            around,
            signatures: AtomicU64::new(0),
        }
    }

    /// These and no others, from the next call on. Returns when the keys of those that are new are there, or cannot be
    /// had soon; until then the former ones serve. One call at a time.
    pub async fn replace(&self, issuers: Vec<Issuer>) -> Result<Replaced, Unusable> {
        let before = self.issuers.load_full();
        let (mut after, mut fresh, mut replaced) = (HashMap::new(), Vec::new(), Replaced::Keys);
        if issuers.len() != before.len() {
            replaced = Replaced::Issuers;
        }
        for issuer in issuers {
            let written = written(&issuer)?;
            let there = before.get(&issuer.issuer);
            if let Some(same) = there.filter(|keeper| *keeper.issuer == issuer) {
                after.insert(issuer.issuer.clone(), same.clone());
                continue;
            }
            let other_keys_only = there.is_some_and(|keeper| {
                let with_ours = Issuer { keys: issuer.keys.clone(), ..(*keeper.issuer).clone() };
                matches!(keeper.issuer.keys, KeySource::Text(_)) && with_ours == issuer
            });
            if !other_keys_only || written.is_none() {
                replaced = Replaced::Issuers;
            }
            let same_server = there.filter(|keeper| keeper.issuer.keys == issuer.keys);
            let keys = written.map(|keys| (keys, Instant::now())).or_else(|| same_server?.held());
            let source = (self.sources)(&issuer);
            let keeper = Keeper::new(Arc::new(issuer), source, keys, self.around.clone());
            fresh.push(keeper.clone());
            after.insert(keeper.issuer.issuer.clone(), keeper);
        }
        for keeper in &fresh {
            self.around.tasks.spawn(keeper.clone().keep());
        }
        let prepared = join_all(fresh.iter().map(|keeper| keeper.prepared()));
        // What is not there by then is waited for by those who need it.
        let _ = timeout(PREPARE_MAX, prepared).await;
        let kept: Vec<_> = after.values().cloned().collect();
        self.issuers.store(Arc::new(after));
        for gone in before.values().filter(|keeper| !kept.iter().any(|one| Arc::ptr_eq(one, keeper))) {
            gone.retire();
        }
        Ok(replaced)
    }

    /// How many signatures were looked at.
    pub fn signatures(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }

    /// Verified now or lately.
    async fn verified(&self, token: &str, key: Key) -> Result<Arc<Verified>, NoKey> {
        if let Some(known) = self.verified.get(&key)
            && known.until > self.clock.now()
            && known.keeper.keys().is_some_and(|keys| Arc::ptr_eq(&keys, &known.keys))
        {
            return Ok(known);
        }
        let verified = Arc::new(self.verify(token, key.transport).await?);
        self.verified.insert(key, verified.clone());
        Ok(verified)
    }

    /// Cheap things first: what is no token of an issuer's for us costs no signature, and no question to the issuer.
    async fn verify(&self, token: &str, transport: Transport) -> Result<Verified, NoKey> {
        let token = Token::parse(token).map_err(NoKey::Refused)?;
        let issuer = claims::issuer_of(&token).map_err(NoKey::Refused)?;
        let keeper = self.issuers.load().get(issuer).cloned().ok_or(NoKey::Refused(Refusal::Issuer))?;
        let claim = || claims::claimed(&token, &keeper.issuer, self.clock.now()).map_err(NoKey::Refused);
        claim()?;
        let choose = |keys: &KeySet| keeper::key_for(keys, token.kid.as_deref(), token.algorithm);
        let (keys, signing) = keeper.find(choose).await?;
        self.signatures.fetch_add(1, Ordering::Relaxed);
        match signing.verify(token.algorithm, token.signed, token.signature) {
            Signature::Good => {}
            Signature::Bad => return Err(NoKey::Refused(Refusal::Signature)),
        }
        // Keys may have been waited for.
        let Claimed { subject, groups, ends_at, bound_to } = claim()?;
        let name = keeper.issuer.name.to_string();
        let identity = Identity::Token { issuer: name, subject: subject.clone() };
        let now = self.clock.now();
        let caller = Caller::new(identity, transport, groups).until(Instant::now() + now.until(ends_at));
        let until = ends_at.min(now.plus(VERIFIED_FOR));
        Ok(Verified { caller, subject, bound_to, until, keeper, keys })
    }
}

#[async_trait]
impl Authenticate for Bearers {
    /// The token names the caller, whatever certificate the connection has; one that is bound to a certificate is good
    /// on that one's connections alone.
    async fn authenticate(
        &self,
        peer: &Peer,
        bearer: Option<&str>,
        class: AuditClass,
    ) -> Result<Caller, Unauthenticated> {
        let Some(token) = bearer else {
            return by_connection(peer)
                .ok_or_else(|| Unauthenticated::no_credential("bring a token, or a client certificate"));
        };
        let transport = match peer {
            Peer::Tls(_) | Peer::Unix { .. } => peer.transport(),
            Peer::Loopback => {
                let mend = "a token is taken over TLS or the Unix socket, not in plain text: get another one, as this one was readable on its way";
                return Err(Unauthenticated::Refused { word: "token_in_plain_text", mend: mend.to_owned() });
            }
        };
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        let key = Key { digest: sum, transport };
        let verified = self.verified(token, key).await.map_err(|no| match no {
            NoKey::Refused(refusal) => refused(refusal),
            NoKey::Away => away(
                "issuer_away",
                "the keys of the token's issuer cannot be had: see to it that the broker reaches its server",
            ),
        })?;
        match (verified.bound_to, peer.thumbprint()) {
            (None, _) => {}
            (Some(wanted), Some(shown)) if wanted == *shown => {}
            (Some(_), _) => return Err(refused(Refusal::OtherCertificate)),
        }
        if let (AuditClass::Change, Some(reviews)) = (class, &self.reviews) {
            let issuer = &verified.keeper.issuer;
            reviews.check((token, sum), issuer, &verified.subject).await.map_err(|not| match not {
                NotReviewed::Refused(refusal) => refused(refusal),
                NotReviewed::Away => away("review_away", "whether the cluster still accepts the token cannot be asked (TokenReview), and without that nothing is changed; tokens and reads are served"),
            })?;
        }
        Ok(verified.caller.clone())
    }
}

fn refused(refusal: Refusal) -> Unauthenticated {
    tracing::debug!(reason = refusal.word(), "a caller's token was refused");
    Unauthenticated::Refused { word: refusal.word(), mend: refusal.to_string() }
}

fn away(word: &'static str, mend: &str) -> Unauthenticated {
    Unauthenticated::Unavailable { word, mend: mend.to_owned(), retry_in: RETRY }
}

#[cfg(test)]
#[path = "bearer/scene.rs"]
mod scene;
#[cfg(test)]
#[path = "bearer/tests.rs"]
mod tests;
