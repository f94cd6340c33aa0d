//! Pages of lists: what a caller may not see is left out, and the token to the next page, which names the last record
//! that was looked at, is sealed. It is good for the same list of the same caller only.

use super::{Admin, AdminError};
use crate::{
    domain::{
        names::Owner,
        token::{PagePosition, Sealed, Secret},
    },
    seal::Place,
    store::{
        Key,
        ledger::Loaded,
        records::{Record, prefix},
    },
};
use async_trait::async_trait;
use uuid::Uuid;

/// Most records that one page of a list looks at, whether or not they pass its filter.
const LOOKED_AT_MAX: usize = 2000;
/// How many records one step of a scan loads.
pub(super) const STEP: usize = 200;

/// One page of a list.
#[derive(Debug)]
pub struct Page<R> {
    pub items: Vec<Loaded<R>>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Key>,
}

/// What a list asks for.
pub struct Listing<'a, R> {
    pub owner: Option<&'a Owner>,
    pub after: Option<Key>,
    pub limit: usize,
    pub keep: &'a (dyn Fn(&R) -> bool + Send + Sync),
    pub sight: &'a dyn Sight<R>,
}

/// What the caller of a list may see.
#[async_trait]
pub trait Sight<R>: Send + Sync {
    async fn shows(&self, loaded: &Loaded<R>) -> Result<Shown, AdminError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    Yes,
    No,
}

impl Admin {
    pub(super) async fn page<R: Record>(
        &self,
        kind: &str,
        listing: Listing<'_, R>,
    ) -> Result<Page<R>, AdminError> {
        let prefix = prefix(kind, listing.owner);
        let (mut items, mut after, mut looked) = (Vec::new(), listing.after, 0);
        loop {
            let found = self.ledger.list::<R>(&prefix, after.as_ref(), STEP).await?;
            for loaded in found.items {
                after = Some(R::key_of(loaded.record.name())?);
                looked += 1;
                if (listing.keep)(&loaded.record) && listing.sight.shows(&loaded).await? == Shown::Yes {
                    items.push(loaded);
                }
                if items.len() == listing.limit || looked == LOOKED_AT_MAX {
                    return Ok(Page { items, next: after });
                }
            }
            match found.next {
                Some(next) => after = Some(next),
                None => return Ok(Page { items, next: None }),
            }
        }
    }

    /// The token for what comes after a record of the list `of`.
    pub async fn to_page_token(&self, of: &str, next: Option<&Key>) -> Result<Vec<u8>, AdminError> {
        let Some(next) = next else { return Ok(Vec::new()) };
        let keys = self.keys.keys(&Owner::Platform).await?;
        let sealed = keys.seal(&place(of), &PagePosition(Secret::new(next.as_str())))?;
        Ok(sealed.bytes().to_vec())
    }

    /// Where the list `of` goes on by such a token; an empty one begins it.
    pub async fn from_page_token(&self, of: &str, token: &[u8]) -> Result<Option<Key>, AdminError> {
        if token.is_empty() {
            return Ok(None);
        }
        let sealed = Sealed::from_bytes(token);
        let keys = self.keys.keys_for(&Owner::Platform, &sealed).await?;
        let opened = keys.open::<PagePosition>(&place(of), &sealed).ok();
        let problem = "is no next_page_token of this list for this caller: start again without it";
        let key = opened.and_then(|position| Key::new(position.0.expose()).ok());
        key.map(Some).ok_or_else(|| AdminError::Invalid { field: "page_token", problem: problem.to_owned() })
    }
}

fn place(of: &str) -> Place<'_> {
    Place { resource: of, family: Uuid::nil(), generation: 0 }
}
