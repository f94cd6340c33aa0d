//! Decisions that were made lately, by everything that they follow from. Lives and dies with the set that made them.

use super::{
    caller::Caller,
    policies::Outcome,
    rpcs::Action,
    target::{Asked, RecordId},
};
use quick_cache::{Equivalent, sync::Cache};
use std::hash::{Hash, Hasher};

/// Most decisions that are kept; some 300 bytes each.
const DECISIONS_MAX: usize = 100_000;
/// A call that asks for more scopes than this is decided anew each time, so that what is kept stays small.
const SCOPES_MAX: usize = 32;
/// The same for the longest of its texts, in bytes.
const TEXT_MAX: usize = 512;

pub(super) struct Decisions(Cache<Key, Outcome>);

/// What a decision about a connection follows from, besides the policies.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub caller: &'a Caller,
    pub action: Action,
    pub record: RecordId,
    pub asked: &'a Asked,
}

#[derive(Clone)]
struct Key {
    caller: Caller,
    action: Action,
    record: RecordId,
    asked: Asked,
}

impl Default for Decisions {
    fn default() -> Self {
        Self(Cache::new(DECISIONS_MAX))
    }
}

impl Decisions {
    pub(super) fn get(&self, about: About<'_>) -> Option<Outcome> {
        self.0.get(&about)
    }

    pub(super) fn keep(&self, about: About<'_>, outcome: Outcome) {
        let Asked { scopes, audience, on_behalf_of, tenant: _ } = about.asked;
        let mut texts = scopes.iter().chain([audience, on_behalf_of]);
        if scopes.len() > SCOPES_MAX || texts.any(|text| text.len() > TEXT_MAX) {
            return;
        }
        let About { caller, action, record, asked } = about;
        self.0.insert(Key { caller: caller.clone(), action, record, asked: asked.clone() }, outcome);
    }
}

impl Key {
    fn about(&self) -> About<'_> {
        About { caller: &self.caller, action: self.action, record: self.record, asked: &self.asked }
    }
}

impl Hash for About<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Callers of one id differ in groups seldom: equality tells those apart.
        self.caller.id().hash(state);
        self.action.hash(state);
        self.record.hash(state);
        self.asked.hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.about().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.about().equivalent(other)
    }
}

impl Eq for Key {}

impl Equivalent<Key> for About<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.record == key.record
            && self.action == key.action
            && self.caller == &key.caller
            && self.asked == &key.asked
    }
}
