//! Callers, targets and calls in the words of `policy.cedarschema`.

use super::workloads::About;
use crate::{
    access::{
        caller::{Caller, Identity},
        rpcs::Action,
        target::{Asked, Chain, ConnectionFacts, Facts, Target},
    },
    domain::names::{ClientName, Owner, TenantName},
};
use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

/// Name of what does not exist, where a policy expects a name.
const NONE: &str = "none";
const UNKNOWN: &str = "unknown";
/// The one entity of its kind.
pub const PLATFORM: &str = "platform";

pub const SCHEMA_TEXT: &str = include_str!("../policy.cedarschema");

/// The schema of this build.
#[expect(clippy::expect_used, reason = "embedded text; every test of this room reads it")]
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    Schema::from_cedarschema_str(SCHEMA_TEXT).expect("the embedded policy.cedarschema is a schema").0
});

/// Each action with the groups that it is in.
#[expect(clippy::expect_used, reason = "embedded text; every test of this room reads it")]
static ACTIONS: LazyLock<HashMap<EntityUid, Vec<Entity>>> = LazyLock::new(|| {
    let all = SCHEMA.action_entities().expect("the embedded schema has actions");
    let with_groups = |action: &Entity| {
        let groups = all.ancestors(&action.uid()).into_iter().flatten().filter_map(|group| all.get(group));
        (action.uid(), std::iter::once(action).chain(groups).cloned().collect())
    };
    all.iter().map(with_groups).collect()
});

/// A kind of entity.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Action,
    Client,
    Connection,
    Group,
    KeyChain,
    Platform,
    Provider,
    Tenant,
    Workload,
}

impl Kind {
    pub const fn word(self) -> &'static str {
        match self {
            Self::Action => "Action",
            Self::Client => "Client",
            Self::Connection => "Connection",
            Self::Group => "Group",
            Self::KeyChain => "KeyChain",
            Self::Platform => "Platform",
            Self::Provider => "Provider",
            Self::Tenant => "Tenant",
            Self::Workload => "Workload",
        }
    }
}

pub fn uid(kind: Kind, id: impl AsRef<str>) -> EntityUid {
    #[expect(clippy::expect_used, reason = "a table of identifiers, all of which tests use")]
    static NAMES: LazyLock<HashMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
        [
            Kind::Action,
            Kind::Client,
            Kind::Connection,
            Kind::Group,
            Kind::KeyChain,
            Kind::Platform,
            Kind::Provider,
            Kind::Tenant,
            Kind::Workload,
        ]
        .map(|kind| (kind.word(), kind.word().parse().expect("a kind is an identifier")))
        .into()
    });
    EntityUid::from_type_name_and_id(NAMES[kind.word()].clone(), EntityId::new(id))
}

pub fn action(action: Action) -> EntityUid {
    uid(Kind::Action, action.word())
}

/// The groups of actions that it is in.
pub fn groups(of: Action) -> Vec<EntityUid> {
    let uid = action(of);
    let inside = ACTIONS.get(&uid).into_iter().flatten().map(Entity::uid);
    inside.filter(|group| *group != uid).collect()
}

pub fn platform() -> EntityUid {
    uid(Kind::Platform, PLATFORM)
}

pub fn tenant(name: &TenantName) -> EntityUid {
    uid(Kind::Tenant, name.to_string())
}

pub fn resource(target: &Target) -> EntityUid {
    let kind = match target {
        Target::Deployment => return platform(),
        Target::Provider(_) => Kind::Provider,
        Target::Tenant(_) => Kind::Tenant,
        Target::Client(_) => Kind::Client,
        Target::Connection(_) => Kind::Connection,
        Target::KeyChain(_) => Kind::KeyChain,
    };
    uid(kind, target.to_string())
}

/// What a policy is asked, with all that it can look at.
pub struct Asking {
    pub request: Request,
    pub entities: Entities,
}

/// Something that cannot be said in the words of the schema. Never happens, says a test.
#[derive(Debug, thiserror::Error)]
#[error("a call cannot be put to the policies: {0}")]
pub struct NotSaid(String);

impl Asking {
    pub fn new(
        caller: &Caller,
        about: &About,
        asked_action: Action,
        (target, facts): (&Target, &Facts),
        asked: &Asked,
        schema: Option<&Schema>,
    ) -> Result<Self, NotSaid> {
        let action = action(asked_action);
        let principal = workload(caller, about)?;
        let request =
            Request::new(principal.uid(), action.clone(), resource(target), context(caller, asked)?, schema)
                .map_err(|err| NotSaid(err.to_string()))?;
        let mut all: HashMap<EntityUid, Entity> = HashMap::new();
        for entity in ACTIONS.get(&action).into_iter().flatten() {
            all.insert(entity.uid(), entity.clone());
        }
        let groups = about.groups.iter().chain(caller.groups()).map(|group| uid(Kind::Group, group));
        for entity in groups.map(Entity::with_uid).chain([principal]).chain(things(target, facts)?) {
            all.insert(entity.uid(), entity);
        }
        let entities = Entities::from_entities(all.into_values(), schema);
        Ok(Self { request, entities: entities.map_err(|err| NotSaid(err.to_string()))? })
    }
}

fn text(value: impl Into<String>) -> RestrictedExpression {
    RestrictedExpression::new_string(value.into())
}

fn entity(
    uid: EntityUid,
    attributes: HashMap<String, RestrictedExpression>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, NotSaid> {
    let parents: HashSet<_> = parents.into_iter().collect();
    Entity::new(uid, attributes, parents).map_err(|err| NotSaid(err.to_string()))
}

fn workload(caller: &Caller, about: &About) -> Result<Entity, NotSaid> {
    let mut known: HashMap<String, RestrictedExpression> = HashMap::new();
    let mut set = |name: &str, value: RestrictedExpression| drop(known.insert(name.to_owned(), value));
    let kind = match caller.identity() {
        Identity::Local => "local",
        Identity::Spiffe(uri) => {
            let rest = uri.strip_prefix("spiffe://").unwrap_or(uri);
            let (trust_domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            set("trust_domain", text(trust_domain));
            set("path", text(path));
            if let Some((namespace, account)) = account_of_path(path) {
                set("namespace", text(namespace));
                set("service_account", text(account));
            }
            "spiffe"
        }
        Identity::Dns(host) => {
            set("host", text(host));
            "dns"
        }
        Identity::Token { issuer, subject } => {
            set("issuer", text(issuer));
            set("subject", text(subject));
            let account =
                subject.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
            if let Some((namespace, account)) = account {
                set("namespace", text(namespace));
                set("service_account", text(account));
            }
            "token"
        }
        Identity::Unix { uid, gid } => {
            set("uid", RestrictedExpression::new_long(i64::from(*uid)));
            set("gid", RestrictedExpression::new_long(i64::from(*gid)));
            "unix"
        }
    };
    set("kind", text(kind));
    set("environments", RestrictedExpression::new_set(about.environments.iter().map(text)));
    if !about.tenants.is_empty() {
        let tenants = about.tenants.iter().map(|name| RestrictedExpression::new_entity_uid(tenant(name)));
        set("tenants", RestrictedExpression::new_set(tenants));
    }
    let groups = about.groups.iter().chain(caller.groups()).map(|group| uid(Kind::Group, group));
    entity(uid(Kind::Workload, caller.id()), known, groups)
}

/// `/ns/NAMESPACE/sa/NAME`, as SPIRE and Istio name service accounts.
fn account_of_path(path: &str) -> Option<(&str, &str)> {
    let (namespace, account) = path.strip_prefix("/ns/")?.split_once("/sa/")?;
    let whole = [namespace, account].iter().all(|part| !part.is_empty() && !part.contains('/'));
    whole.then_some((namespace, account))
}

fn owner(owner: &Owner) -> EntityUid {
    match owner {
        Owner::Platform => platform(),
        Owner::Tenant(name) => tenant(name),
    }
}

/// The target and what it leads to.
fn things(target: &Target, facts: &Facts) -> Result<Vec<Entity>, NotSaid> {
    let mut all = vec![Entity::with_uid(platform())];
    if let Owner::Tenant(name) = target.owner() {
        all.push(Entity::with_uid(tenant(&name)));
    }
    match (target, facts) {
        (Target::Deployment | Target::Tenant(_), _) => {}
        (Target::Provider(_), _) => all.push(entity(resource(target), HashMap::new(), [platform()])?),
        (Target::KeyChain(chain), _) => {
            let mut known = HashMap::new();
            if let Chain::Of(Owner::Tenant(name)) = chain {
                known.insert("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant(name)));
            }
            all.push(entity(resource(target), known, [owner(&target.owner())])?);
        }
        (Target::Client(name), Facts::Client(facts)) => {
            let environment = facts.environment.word();
            all.extend(client(Some(name), &facts.provider.to_string(), environment)?);
        }
        (Target::Client(name), Facts::Nothing | Facts::Connection(_)) => {
            all.extend(client(Some(name), NONE, NONE)?);
        }
        (Target::Connection(name), Facts::Connection(facts)) => {
            all.extend(connection(resource(target), &name.tenant, Some(facts))?);
        }
        (Target::Connection(name), Facts::Nothing | Facts::Client(_)) => {
            all.extend(connection(resource(target), &name.tenant, None)?);
        }
    }
    Ok(all)
}

/// A client and its provider; `None`: the one that stands for what does not exist.
fn client(name: Option<&ClientName>, provider: &str, environment: &str) -> Result<[Entity; 2], NotSaid> {
    let provider = entity(uid(Kind::Provider, provider), HashMap::new(), [platform()])?;
    let mut known: HashMap<_, _> = [
        ("provider".to_owned(), RestrictedExpression::new_entity_uid(provider.uid())),
        ("environment".to_owned(), text(environment)),
    ]
    .into();
    if let Some(Owner::Tenant(name)) = name.map(|name| &name.owner) {
        known.insert("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant(name)));
    }
    let id = name.map_or_else(|| NONE.to_owned(), ToString::to_string);
    let parents = name.map(|name| owner(&name.owner));
    Ok([entity(uid(Kind::Client, id), known, parents)?, provider])
}

fn connection(
    resource: EntityUid,
    tenant_name: &TenantName,
    facts: Option<&ConnectionFacts>,
) -> Result<Vec<Entity>, NotSaid> {
    let provider = facts.map_or_else(|| NONE.to_owned(), |facts| facts.provider.to_string());
    let environment = facts
        .map_or(NONE, |facts| facts.environment.map_or(UNKNOWN, crate::domain::client::Environment::word));
    let [client, provider] = client(facts.map(|facts| &facts.client), &provider, environment)?;
    let known: HashMap<_, _> = [
        ("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant(tenant_name))),
        ("provider".to_owned(), RestrictedExpression::new_entity_uid(provider.uid())),
        ("client".to_owned(), RestrictedExpression::new_entity_uid(client.uid())),
        ("environment".to_owned(), text(environment)),
    ]
    .into();
    let none = BTreeMap::new();
    let labels = facts.map_or(&none, |facts| &facts.labels);
    let labels = labels.iter().map(|(key, value)| (key.clone(), text(value)));
    let connection = Entity::new_with_tags(resource, known, [tenant(tenant_name)], labels)
        .map_err(|err| NotSaid(err.to_string()))?;
    Ok(vec![connection, client, provider])
}

fn context(caller: &Caller, asked: &Asked) -> Result<Context, NotSaid> {
    let mut said = vec![
        ("transport".to_owned(), text(caller.transport().word())),
        ("scopes".to_owned(), RestrictedExpression::new_set(asked.scopes.iter().map(text))),
    ];
    for (name, value) in [("audience", &asked.audience), ("on_behalf_of", &asked.on_behalf_of)] {
        if !value.is_empty() {
            said.push((name.to_owned(), text(value)));
        }
    }
    if let Some(name) = &asked.tenant {
        said.push(("tenant".to_owned(), RestrictedExpression::new_entity_uid(tenant(name))));
    }
    Context::from_pairs(said).map_err(|err| NotSaid(err.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_account_in_one_form_only() {
        assert_eq!(account_of_path("/ns/shop/sa/web"), Some(("shop", "web")));
        for other in [
            "",
            "/web",
            "/ns/shop",
            "/ns/shop/sa",
            "/ns/shop/sa/",
            "/ns//sa/web",
            "/ns/shop/sa/web/2",
            "/ns/shop/of/sa/web",
            "/x/ns/shop/sa/web",
            "ns/shop/sa/web",
        ] {
            assert_eq!(account_of_path(other), None, "{other}");
        }
    }
}
