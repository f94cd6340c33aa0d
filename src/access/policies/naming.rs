//! What an action is done to, by the name that a person writes, and what there is to know of an action.

use super::entities::{self, SCHEMA};
use crate::{
    access::{
        rpcs::Action,
        target::{Chain, Target},
    },
    domain::names::{ClientName, ConnectionName, ProviderName, TenantName},
};
use std::str::FromStr;

/// The name is none of what the action is done to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is nothing that {action} is done to: {forms}")]
pub struct NoTarget {
    action: &'static str,
    forms: String,
}

/// Kinds that have names of their own, with the form of these.
const FORMS: [(&str, &str); 6] = [
    ("Connection", "tenants/TENANT/connections/NAME"),
    ("Client", "tenants/TENANT/clients/NAME or platform/clients/NAME"),
    ("Tenant", "tenants/NAME"),
    ("Provider", "providers/NAME"),
    ("KeyChain", "tenants/TENANT/keyChain, platform/keyChain, keyChains/root or keyChains/kek"),
    ("Platform", "platform"),
];
/// In the API lists of all tenants have this parent.
const ALL_TENANTS: &str = "tenants/-";

pub fn target(action: Action, name: &str) -> Result<Target, NoTarget> {
    fn named<T: FromStr + Into<Target>>(name: &str) -> Option<Target> {
        name.parse::<T>().ok().map(Into::into)
    }
    let kinds = resources(action);
    let found = kinds.iter().find_map(|kind| match kind.as_str() {
        "Connection" => named::<ConnectionName>(name),
        "Client" => named::<ClientName>(name),
        "Tenant" => named::<TenantName>(name),
        "Provider" => named::<ProviderName>(name),
        "KeyChain" => named::<Chain>(name),
        _ => [entities::PLATFORM, ALL_TENANTS].contains(&name).then_some(Target::Deployment),
    });
    found.ok_or_else(|| {
        let forms = FORMS.iter().filter(|(kind, _)| kinds.iter().any(|known| known == kind));
        let forms: Vec<_> = forms.map(|(_, form)| *form).collect();
        NoTarget { action: action.word(), forms: forms.join(", or ") }
    })
}

/// Kinds of what an action is done to, sorted.
pub fn resources(action: Action) -> Vec<String> {
    let uid = entities::action(action);
    let kinds = SCHEMA.resources_for_action(&uid).into_iter().flatten();
    let mut kinds: Vec<_> = kinds.map(|kind| kind.basename().to_owned()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Groups that an action is in, sorted.
pub fn groups(action: Action) -> Vec<String> {
    let groups = entities::groups(action);
    let mut groups: Vec<_> = groups.iter().map(|group| group.id().unescaped().to_owned()).collect();
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::rpcs::actions;

    #[test]
    fn every_action_is_done_to_something_that_has_a_name() {
        let names = [
            "tenants/a/connections/b",
            "tenants/a/clients/b",
            "platform/clients/b",
            "tenants/a",
            "providers/b",
            "keyChains/kek",
            "tenants/a/keyChain",
            "platform",
        ];
        for action in actions() {
            let fits: Vec<_> = names.iter().filter(|name| target(action, name).is_ok()).collect();
            assert!(!fits.is_empty(), "{action:?}");
            for name in fits {
                assert_eq!(target(action, name).unwrap().to_string(), **name);
            }
            let err = target(action, "acme").unwrap_err().to_string();
            assert!(err.contains(action.word()) && err.len() > 40, "{err}");
            assert!(!groups(action).is_empty(), "{action:?}");
        }
        let fits = |action| {
            let fits: Vec<_> = names.into_iter().filter(|name| target(action, name).is_ok()).collect();
            fits.join(" ")
        };
        for (action, want) in [
            (Action::GetToken, "tenants/a/connections/b"),
            (Action::UpdateClient, "tenants/a/clients/b platform/clients/b"),
            (Action::UpdateTenant, "tenants/a"),
            (Action::ListConnections, "tenants/a platform"),
            (Action::GetProvider, "providers/b"),
            (Action::GetKeyChain, "keyChains/kek tenants/a/keyChain"),
        ] {
            assert_eq!(fits(action), want, "{action:?}");
        }
        let forms =
            "is nothing that GetClient is done to: tenants/TENANT/clients/NAME or platform/clients/NAME";
        assert_eq!(target(Action::GetClient, "acme").unwrap_err().to_string(), forms);
        assert_eq!(target(Action::ListConnections, "tenants/-"), Ok(Target::Deployment));
        assert_eq!(groups(Action::UseClient), ["use", "write"]);
        assert_eq!(resources(Action::ListClients), ["Platform", "Tenant"]);
    }
}
