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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::caller::{Identity, Transport};
    use uuid::Uuid;

    /// Everything that a decision follows from, owned.
    #[derive(Clone)]
    struct Case {
        caller: Caller,
        action: Action,
        record: RecordId,
        asked: Asked,
    }

    impl Case {
        fn about(&self) -> About<'_> {
            About { caller: &self.caller, action: self.action, record: self.record, asked: &self.asked }
        }

        fn key(&self) -> Key {
            let Self { caller, action, record, asked } = self.clone();
            Key { caller, action, record, asked }
        }
    }

    fn web(groups: &[&str], transport: Transport) -> Caller {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Caller::new(Identity::Spiffe("spiffe://example.org/web".into()), transport, groups)
    }

    fn asking(scopes: &[&str], audience: &str, on_behalf_of: &str, tenant: Option<&str>) -> Asked {
        Asked {
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            audience: audience.into(),
            on_behalf_of: on_behalf_of.into(),
            tenant: tenant.map(|name| name.parse().unwrap()),
        }
    }

    fn case() -> Case {
        Case {
            caller: web(&["shop"], Transport::Mtls),
            action: Action::GetToken,
            record: RecordId { uid: Uuid::from_u128(1), version: 1 },
            asked: asking(&["read"], "api", "user", Some("tenants/a")),
        }
    }

    #[test]
    fn a_decision_is_found_by_all_that_it_follows_from_and_by_nothing_less() {
        let decisions = Decisions::default();
        decisions.keep(case().about(), Outcome::Allowed);
        assert_eq!(decisions.get(case().about()), Some(Outcome::Allowed));
        assert!(case().about().equivalent(&case().key()) && case().key() == case().key());

        let other: [fn(&mut Case); 11] = [
            |case| case.caller = web(&[], Transport::Mtls),
            |case| case.caller = web(&["shop", "web"], Transport::Mtls),
            |case| case.caller = web(&["shop"], Transport::Tls),
            |case| case.caller = Caller::new(Identity::Local, Transport::Mtls, case.caller.groups().clone()),
            |case| case.action = Action::WatchToken,
            |case| case.record.version = 2,
            |case| case.record.uid = Uuid::from_u128(2),
            |case| case.asked = asking(&["read", "write"], "api", "user", Some("tenants/a")),
            |case| case.asked = asking(&["read"], "", "user", Some("tenants/a")),
            |case| case.asked = asking(&["read"], "api", "other", Some("tenants/a")),
            |case| case.asked = asking(&["read"], "api", "user", None),
        ];
        for (at, change) in other.into_iter().enumerate() {
            let mut other = case();
            change(&mut other);
            assert_eq!(decisions.get(other.about()), None, "change {at}");
            assert!(!other.about().equivalent(&case().key()), "change {at}");
            assert!(other.key() != case().key(), "change {at}");
        }
    }

    #[test]
    fn a_decision_takes_the_place_of_the_one_before_it() {
        let decisions = Decisions::default();
        decisions.keep(case().about(), Outcome::Allowed);
        decisions.keep(case().about(), Outcome::Hidden);
        assert_eq!((decisions.get(case().about()), decisions.0.len()), (Some(Outcome::Hidden), 1));
    }

    #[test]
    fn what_is_long_is_not_kept() {
        let scopes = |count| Asked { scopes: vec!["s".to_owned(); count], ..Asked::default() };
        let long = "x".repeat(TEXT_MAX);
        let longer = "x".repeat(TEXT_MAX + 1);
        for (asked, kept) in [
            (scopes(SCOPES_MAX), true),
            (scopes(SCOPES_MAX + 1), false),
            (asking(&[&long], &long, &long, None), true),
            (asking(&[&longer], "", "", None), false),
            (asking(&["read"], &longer, "", None), false),
            (asking(&["read"], "", &longer, None), false),
        ] {
            let (decisions, case) = (Decisions::default(), Case { asked, ..case() });
            decisions.keep(case.about(), Outcome::Allowed);
            assert_eq!(decisions.get(case.about()).is_some(), kept, "{:?}", case.asked);
        }
    }
}
