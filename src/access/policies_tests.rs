//! Tests of sets of policies: what they refuse at load, what the walls keep apart, and that slices decide as the whole.

use super::{explaining::Lack, *};
use crate::{
    access::{
        caller::{Identity, Transport},
        rpcs::RPCS,
        target::{Chain, ClientFacts, ConnectionFacts, RecordId},
    },
    domain::{
        client::Environment,
        names::{ConnectionName, TenantName},
    },
};
use std::collections::BTreeSet;
use uuid::Uuid;

const WEB: &str = "spiffe://example.org/ns/shop/sa/web";

fn cedar(text: &str) -> PolicyFile {
    PolicyFile { name: "a.cedar".into(), text: text.into() }
}

fn toml(text: &str) -> PolicyFile {
    PolicyFile { name: "workloads.toml".into(), text: text.into() }
}

fn set(policies: &str, workloads: &str) -> Policies {
    Policies::load(&[cedar(policies), toml(workloads)]).unwrap_or_else(|err| panic!("{err}")).0
}

fn mistakes(files: &[PolicyFile]) -> Vec<Mistake> {
    Policies::load(files).err().unwrap().0
}

fn spiffe(id: &str) -> Caller {
    Caller::new(Identity::Spiffe(id.into()), Transport::Mtls, BTreeSet::new())
}

fn connection(tenant: &str, environment: Option<Environment>, labels: &[(&str, &str)]) -> (Target, Facts) {
    let name: ConnectionName = format!("tenants/{tenant}/connections/concur").parse().unwrap();
    let facts = ConnectionFacts {
        record: Some(RecordId { uid: Uuid::nil(), version: 1 }),
        provider: "providers/sap-concur".parse().unwrap(),
        client: format!("tenants/{tenant}/clients/app").parse().unwrap(),
        environment,
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    };
    (name.into(), Facts::Connection(Box::new(facts)))
}

fn ask(policies: &Policies, caller: &Caller, action: Action, on: &(Target, Facts)) -> Outcome {
    ruling(policies, caller, action, on).outcome
}

fn ruling(policies: &Policies, caller: &Caller, action: Action, (target, facts): &(Target, Facts)) -> Ruling {
    policies.decide(&Question { caller, action, target, facts, asked: &Asked::default() })
}

const PRODUCTION: &str = "[[workload]]\nid = \"spiffe://example.org/*\"\nenvironments = [\"production\"]\n";

#[test]
fn nothing_is_allowed_that_no_policy_allows() {
    let policies = set("permit (principal, action == Action::\"GetClient\", resource);", PRODUCTION);
    let there = connection("a", Some(Environment::Production), &[]);
    assert_eq!(ask(&policies, &spiffe(WEB), Action::GetToken, &there), Outcome::Refused);
}

#[test]
fn tenants_are_kept_apart_whatever_policies_say() {
    let workloads = "[[workload]]\nid = \"spiffe://example.org/*\"\ntenants = [\"tenants/a\"]\n\
                     environments = [\"production\", \"sandbox\"]\n";
    let policies = set("@across(\"environments\") permit (principal, action, resource);", workloads);
    let web = spiffe(WEB);
    for (tenant, expected) in [("a", Outcome::Allowed), ("b", Outcome::Refused)] {
        let there = connection(tenant, Some(Environment::Production), &[]);
        for action in [Action::GetToken, Action::GetConnection, Action::DeleteConnection] {
            assert_eq!(ask(&policies, &web, action, &there), expected, "{tenant} {action:?}");
        }
        let name: TenantName = format!("tenants/{tenant}").parse().unwrap();
        let there = (Target::Tenant(name.clone()), Facts::Nothing);
        assert_eq!(ask(&policies, &web, Action::UpdateTenant, &there), expected, "{tenant}");
        let there = (Target::KeyChain(Chain::Of(Owner::Tenant(name))), Facts::Nothing);
        assert_eq!(ask(&policies, &web, Action::RotateTenantKey, &there), expected, "{tenant}");
    }
    let platform = |chain| (Target::KeyChain(chain), Facts::Nothing);
    assert_eq!(ask(&policies, &web, Action::RotateKek, &platform(Chain::Kek)), Outcome::Refused);
    assert_eq!(ask(&policies, &web, Action::GetKeyChain, &platform(Chain::Kek)), Outcome::Allowed);
    let client = ("platform/clients/app".parse::<crate::domain::names::ClientName>().unwrap()).into();
    let known = ClientFacts {
        provider: "providers/sap-concur".parse().unwrap(),
        environment: Environment::Production,
    };
    let app = (client, Facts::Client(known));
    // Where there were no such client it would be refused too: nothing tells that there is one.
    assert_eq!(ask(&policies, &web, Action::UpdateClient, &app), Outcome::Refused);
    assert_eq!(ask(&policies, &web, Action::UseClient, &app), Outcome::Allowed);
    // Who has no tenants is held by policies alone.
    let there = connection("b", Some(Environment::Production), &[]);
    assert_eq!(ask(&policies, &spiffe("spiffe://example.com/x"), Action::GetToken, &there), Outcome::Allowed);
}

#[test]
fn a_client_of_one_tenant_serves_no_other() {
    let policies = set("@across(\"environments\") permit (principal, action, resource);", PRODUCTION);
    let (target, _) = connection("b", None, &[]);
    let Facts::Connection(mut facts) = connection("a", Some(Environment::Production), &[]).1 else {
        panic!()
    };
    facts.client = "tenants/a/clients/app".parse().unwrap();
    let crossed = (target.clone(), Facts::Connection(facts.clone()));
    let found = ruling(&policies, &spiffe(WEB), Action::GetToken, &crossed);
    assert_eq!(found, Ruling { outcome: Outcome::Hidden, by: vec!["bursar.connections".into()] });
    facts.client = "platform/clients/app".parse().unwrap();
    let platform = (target, Facts::Connection(facts));
    assert_eq!(ask(&policies, &spiffe(WEB), Action::GetToken, &platform), Outcome::Allowed);

    let client = "tenants/a/clients/app".parse::<crate::domain::names::ClientName>().unwrap();
    for (tenant, expected) in [("tenants/a", Outcome::Allowed), ("tenants/b", Outcome::Refused)] {
        let asked = Asked { tenant: Some(tenant.parse().unwrap()), ..Asked::default() };
        let (caller, target) = (spiffe(WEB), Target::Client(client.clone()));
        let action = Action::UseClient;
        let question =
            Question { caller: &caller, action, target: &target, facts: &Facts::Nothing, asked: &asked };
        assert_eq!(policies.decide(&question).outcome, expected, "{tenant}");
    }
}

#[test]
fn environments_mix_only_where_a_policy_says_so() {
    let plain = "permit (principal in Group::\"web\", action, resource);";
    let across = "@across(\"environments\") permit (principal in Group::\"web\", action, resource);";
    let workloads =
        |list: &str| format!("[[workload]]\nid = \"{WEB}\"\ngroups = [\"web\"]\nenvironments = [{list}]\n");
    let (sandbox, production) = (Some(Environment::Sandbox), Some(Environment::Production));
    let cases = [
        (plain, "\"production\"", production, Outcome::Allowed),
        // Of an absent one it would be told that it is absent; of this one it is told the same.
        (plain, "\"production\"", sandbox, Outcome::Hidden),
        (plain, "\"production\"", None, Outcome::Hidden),
        (plain, "", production, Outcome::Hidden),
        (plain, "\"sandbox\", \"production\"", sandbox, Outcome::Allowed),
        (plain, "\"sandbox\", \"production\"", None, Outcome::Hidden),
        (across, "\"production\"", sandbox, Outcome::Allowed),
        (across, "", production, Outcome::Allowed),
        (across, "", None, Outcome::Allowed),
    ];
    for (policies, environments, environment, expected) in cases {
        let policies = set(policies, &workloads(environments));
        let there = connection("a", environment, &[]);
        let found = ask(&policies, &spiffe(WEB), Action::GetToken, &there);
        assert_eq!(found, expected, "{environments} {environment:?}");
    }
    // The door is no way around a forbid of the operator.
    let forbidden = format!("{across} forbid (principal, action == Action::\"GetToken\", resource);");
    let there = connection("a", sandbox, &[]);
    assert_ne!(ask(&set(&forbidden, ""), &spiffe(WEB), Action::GetToken, &there), Outcome::Allowed);
    // Nor is it open for another permit than the one that it stands before.
    let other = "@across(\"environments\") permit (principal in Group::\"other\", action, resource);\n\
                 permit (principal in Group::\"web\", action, resource);";
    let policies = set(other, &workloads("\"production\""));
    assert_eq!(ask(&policies, &spiffe(WEB), Action::GetToken, &there), Outcome::Hidden);
}

#[test]
fn what_is_hidden_is_what_would_be_called_absent() {
    let text = "permit (principal, action, resource in Tenant::\"tenants/a\") when { !resource.hasTag(\"secret\") };\n\
                permit (principal, action, resource in Tenant::\"tenants/b\")\n\
                when { resource.hasTag(\"team\") && resource.getTag(\"team\") == \"web\" };";
    // Tags are of connections, so the actions are too.
    let text = text.replace("action, resource", "action == Action::\"GetToken\", resource");
    let policies = set(&text, PRODUCTION);
    let production = Some(Environment::Production);
    let cases = [
        ("a", vec![], Outcome::Allowed),
        ("a", vec![("secret", "yes")], Outcome::Hidden),
        ("b", vec![("team", "web")], Outcome::Allowed),
        ("b", vec![("team", "other")], Outcome::Refused),
        ("b", vec![], Outcome::Refused),
    ];
    for (tenant, labels, expected) in cases {
        let there = connection(tenant, production, &labels);
        assert_eq!(ask(&policies, &spiffe(WEB), Action::GetToken, &there), expected, "{tenant} {labels:?}");
        let absent = (there.0, Facts::Nothing);
        let told = ask(&policies, &spiffe(WEB), Action::GetToken, &absent);
        let same = if tenant == "a" { Outcome::Allowed } else { Outcome::Refused };
        assert_eq!(told, same, "{tenant}");
    }
}

#[test]
fn the_open_set_is_for_this_machine_only() {
    let policies = Policies::open();
    let there = connection("a", Some(Environment::Sandbox), &[]);
    for (identity, transport, expected) in [
        (Identity::Local, Transport::Loopback, Outcome::Allowed),
        (Identity::Unix { uid: 1, gid: 1 }, Transport::Unix, Outcome::Allowed),
        (Identity::Spiffe(WEB.into()), Transport::Mtls, Outcome::Refused),
        (Identity::Dns("web.example.org".into()), Transport::Mtls, Outcome::Refused),
        (Identity::Token { issuer: "a".into(), subject: "b".into() }, Transport::Tls, Outcome::Refused),
    ] {
        let caller = Caller::new(identity, transport, BTreeSet::new());
        for action in RPCS.iter().map(|rpc| rpc.action) {
            let on = example(action, &there);
            assert_eq!(ask(&policies, &caller, action, &on), expected, "{action:?}");
        }
    }
}

/// A target that an action of this kind has.
fn example(action: Action, of_connection: &(Target, Facts)) -> (Target, Facts) {
    let uid = entities::action(action);
    let kinds: Vec<String> =
        SCHEMA.resources_for_action(&uid).unwrap().map(|kind| kind.basename().to_owned()).collect();
    let target = match kinds[0].as_str() {
        "Connection" => return of_connection.clone(),
        "Platform" => Target::Deployment,
        "Tenant" => Target::Tenant("tenants/a".parse().unwrap()),
        "Provider" => Target::Provider("providers/sap-concur".parse().unwrap()),
        "Client" => Target::Client("platform/clients/app".parse().unwrap()),
        "KeyChain" => Target::KeyChain(Chain::Root),
        other => panic!("{other}"),
    };
    (target, Facts::Nothing)
}

#[test]
fn every_call_can_be_said_in_the_words_of_the_schema() {
    let there = connection("a", Some(Environment::Sandbox), &[("team", "web")]);
    let about = About {
        groups: ["web".to_owned()].into(),
        tenants: ["tenants/a".parse().unwrap()].into(),
        environments: ["sandbox".to_owned()].into(),
    };
    let asked = Asked {
        scopes: vec!["a".into()],
        audience: "b".into(),
        on_behalf_of: "c".into(),
        tenant: Some("tenants/a".parse().unwrap()),
    };
    let identities = [
        Identity::Local,
        Identity::Spiffe(WEB.into()),
        Identity::Dns("web.example.org".into()),
        Identity::Token { issuer: "cluster".into(), subject: "system:serviceaccount:shop:web".into() },
        Identity::Unix { uid: u32::MAX, gid: 0 },
    ];
    for identity in identities {
        let caller = Caller::new(identity, Transport::Tls, ["of-token".to_owned()].into());
        for action in RPCS.iter().map(|rpc| rpc.action).chain([Action::UseClient]) {
            for about in [&about, &About::default()] {
                let (target, facts) = example(action, &there);
                for facts in [&facts, &Facts::Nothing] {
                    let asking = Asking::new(&caller, about, action, (&target, facts), &asked, Some(&SCHEMA));
                    assert!(asking.is_ok(), "{action:?} {target}: {}", asking.err().unwrap());
                }
            }
        }
    }
}

#[test]
fn the_schema_has_every_action_and_no_other() {
    let ours: BTreeSet<String> = RPCS
        .iter()
        .map(|rpc| rpc.action)
        .chain([Action::UseClient])
        .map(|action| entities::action(action).to_string())
        .collect();
    let groups: BTreeSet<String> = SCHEMA.action_groups().map(ToString::to_string).collect();
    let schema: BTreeSet<String> =
        SCHEMA.actions().map(ToString::to_string).filter(|action| !groups.contains(action)).collect();
    assert_eq!(ours, schema);
    assert_eq!(groups.len(), 4, "{groups:?}");
}

#[test]
fn what_is_built_in_is_sound() {
    for (name, text) in [("walls.cedar", WALLS), ("open.cedar", OPEN)] {
        let mut wrong = Vec::new();
        let file = PolicyFile { name: name.into(), text: text.into() };
        let found = written::read(&file, &mut wrong);
        let remarks = Policies::validate(&found, &[file], &mut wrong);
        assert!(wrong.is_empty() && remarks.is_empty(), "{wrong:?} {remarks:?}");
        assert!(found.iter().all(|written| written.id().starts_with(BUILT_IN)));
    }
}

#[test]
fn mistakes_are_shown_a_line_each() {
    let at = |line| At { file: "a.cedar".into(), line };
    let all = Mistakes(vec![at(2).mistake("is wrong"), at(7).mistake("is wrong, too")]);
    assert_eq!(all.to_string(), "a.cedar:2: is wrong\na.cedar:7: is wrong, too");
}

#[test]
fn what_is_wrong_with_a_set_is_told_with_file_and_line() {
    let cases = [
        ("\n\npermit (principal, action, resource", 3, "unexpected end"),
        (
            "permit (principal, action, resource);\npermit (principal, action == Action::\"Get\", resource);",
            2,
            "Get",
        ),
        ("permit (principal, action, resource)\nwhen { principal.kinds == \"x\" };", 2, "kinds"),
        (
            "permit (principal, action, resource);\npermit (principal, action, resource in Tenant::\"acme\");",
            2,
            "tenants/NAME",
        ),
        ("permit (principal == Workload::\"web\", action, resource);", 1, "spiffe://"),
        ("permit (principal == ?principal, action, resource);", 1, "template"),
        ("@across(\"tenants\")\npermit (principal, action, resource);", 1, "@across"),
        ("@across(\"environments\")\nforbid (principal, action, resource);", 1, "@across"),
        ("@id(\"bursar.tenants\")\npermit (principal, action, resource);", 1, "built in"),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);",
            2,
            "already",
        ),
        ("// nothing", 1, "no policy"),
        (
            "permit (principal, action, resource is Connection) when { resource.getTag(\"a\") == \"b\" };",
            1,
            "tag",
        ),
    ];
    for (text, line, word) in cases {
        let found = mistakes(&[cedar(text)]);
        let at: Vec<_> = found.iter().map(|mistake| (mistake.at.line, mistake.problem.clone())).collect();
        assert!(at.iter().any(|(at, said)| *at == line && said.contains(word)), "{text}\n{at:?}");
        assert!(found.iter().all(|mistake| mistake.at.file == "a.cedar"), "{found:?}");
    }
    let found = mistakes(&[toml(PRODUCTION)]);
    assert!(found[0].problem.contains("no policy"), "{found:?}");
    assert_eq!(mistakes(&[]).len(), 1);
}

#[test]
fn what_a_call_says_of_itself_is_there_only_where_it_says_so() {
    let on = connection("a", Some(Environment::Production), &[]);
    for (part, asked) in [
        ("audience", Asked { audience: "api".into(), ..Asked::default() }),
        ("on_behalf_of", Asked { on_behalf_of: "user".into(), ..Asked::default() }),
    ] {
        let policies =
            set(&format!("permit (principal, action, resource) when {{ context has {part} }};"), PRODUCTION);
        let outcome = |asked: &Asked| {
            let (caller, action) = (&spiffe(WEB), Action::GetToken);
            policies.decide(&Question { caller, action, target: &on.0, facts: &on.1, asked }).outcome
        };
        assert_eq!(outcome(&asked), Outcome::Allowed, "{part}");
        assert_eq!(outcome(&Asked::default()), Outcome::Refused, "{part}");
    }
}

#[test]
fn a_set_has_a_bound_and_counts_what_the_operator_wrote() {
    assert_eq!(crowded(POLICIES_MAX), None);
    let problem = crowded(POLICIES_MAX + 1).unwrap();
    assert_eq!(problem, "the set has 10001 policies; 10000 is the most");

    let two = "permit (principal, action, resource); forbid (principal, action, resource);";
    let workloads =
        "[[workload]]\nid = \"local\"\n[[workload]]\nid = \"unix:*\"\n[[workload]]\nid = \"unix:1\"\n";
    let policies = set(two, workloads);
    assert_eq!((policies.count(), policies.workloads()), (2, 3));
    assert_eq!((Policies::open().count(), Policies::open().workloads()), (0, 0));
}

#[test]
fn policies_that_can_never_apply_are_worth_a_look() {
    let text = "permit (principal, action, resource) when { principal has nothing };\n\
                permit (principal in Group::\"nobody\", action, resource);";
    let (_, remarks) = Policies::load(&[cedar(text)]).unwrap_or_else(|err| panic!("{err}"));
    let lines: Vec<_> = remarks.iter().map(|remark| remark.at.line).collect();
    assert_eq!(lines, [1, 2], "{remarks:?}");
}

#[test]
fn a_forbid_that_fails_forbids() {
    // Adding to the largest number fails when it is asked, which no schema can see.
    let text = "permit (principal, action, resource);\n\
                @id(\"fails\") forbid (principal, action, resource)\n\
                when { principal has uid && principal.uid + 9223372036854775807 < 0 };";
    let policies = set(text, "[[workload]]\nid = \"unix:1\"\nenvironments = [\"sandbox\"]\n");
    let caller = Caller::new(Identity::Unix { uid: 1, gid: 1 }, Transport::Unix, BTreeSet::new());
    let there = connection("a", Some(Environment::Sandbox), &[]);
    let found = ruling(&policies, &caller, Action::GetToken, &there);
    assert_eq!(found, Ruling { outcome: Outcome::Refused, by: vec!["fails".into()] });
}

#[test]
fn why_nothing_allowed_names_what_came_nearest() {
    let text = "@id(\"condition\") permit (principal, action == Action::\"GetToken\", resource in Tenant::\"tenants/a\")\n\
                when { resource.hasTag(\"team\") };\n\
                @id(\"elsewhere\") permit (principal, action in Action::\"use\", resource in Tenant::\"tenants/b\");\n\
                @id(\"others\") permit (principal in Group::\"x\", action in Action::\"read\", resource in Tenant::\"tenants/b\");";
    let policies = set(text, PRODUCTION);
    let (target, facts) = connection("a", Some(Environment::Production), &[]);
    let caller = spiffe(WEB);
    let (action, asked) = (Action::GetToken, Asked::default());
    let question = Question { caller: &caller, action, target: &target, facts: &facts, asked: &asked };
    let explained = policies.explain(&question);
    let near: Vec<_> = explained.near.iter().map(|near| (near.id.as_str(), near.lacks.clone())).collect();
    let expected = [
        ("condition", vec![Lack::Condition]),
        ("elsewhere", vec![Lack::Resource]),
        ("others", vec![Lack::Resource, Lack::Principal, Lack::Action]),
    ];
    assert_eq!(near, expected);
    let (target, facts) = connection("a", Some(Environment::Sandbox), &[("team", "web")]);
    let question = Question { target: &target, facts: &facts, ..question };
    let explained = policies.explain(&question);
    assert_eq!(explained.deciding[0].id, "bursar.environments.connections");
    assert_eq!(explained.near, [], "without the wall it would be allowed");
    let (target, facts) = connection("b", Some(Environment::Sandbox), &[]);
    let question = Question { action: Action::GetConnection, target: &target, facts: &facts, ..question };
    let explained = policies.explain(&question);
    assert_eq!(explained.deciding[0].id, "bursar.environments.connections");
    assert!(!explained.near.is_empty(), "and nothing stands behind the wall");
}

#[test]
fn what_a_permit_lacks_is_told_of_each_form_of_scope() {
    let (target, facts) = connection("a", Some(Environment::Production), &[]);
    let caller = spiffe(WEB);
    let (action, asked) = (Action::GetToken, Asked::default());
    let question = Question { caller: &caller, action, target: &target, facts: &facts, asked: &asked };
    for (resource, fits) in [
        ("resource", true),
        ("resource is Connection", true),
        ("resource == Connection::\"tenants/a/connections/concur\"", true),
        ("resource == Connection::\"tenants/a/connections/other\"", false),
        ("resource in Connection::\"tenants/a/connections/concur\"", true),
        ("resource in Connection::\"tenants/a/connections/other\"", false),
        ("resource in Tenant::\"tenants/a\"", true),
        ("resource in Tenant::\"tenants/b\"", false),
        ("resource is Connection in Tenant::\"tenants/a\"", true),
        ("resource is Connection in Tenant::\"tenants/b\"", false),
    ] {
        let text = format!("permit (principal, action, {resource}) when {{ resource.hasTag(\"never\") }};");
        // Where what has tags is not named, the schema wants to hear that it does.
        let text = match resource {
            "resource" => "permit (principal, action, resource) when { context has audience };".to_owned(),
            _ => text.replace("action,", "action == Action::\"GetToken\","),
        };
        let explained = set(&text, PRODUCTION).explain(&question);
        let near: Vec<_> = explained.near.iter().map(|near| near.lacks.clone()).collect();
        let want = if fits { Lack::Condition } else { Lack::Resource };
        assert_eq!(near, [vec![want]], "{resource}");
    }
    let provider = (Target::Provider("providers/okta".parse().unwrap()), Facts::Nothing);
    let question =
        Question { action: Action::GetProvider, target: &provider.0, facts: &provider.1, ..question };
    for (resource, lacks) in [
        ("resource is Provider", Lack::Condition),
        ("resource is Provider in Platform::\"platform\"", Lack::Condition),
        ("resource is Connection", Lack::Resource),
        ("resource is Connection in Platform::\"platform\"", Lack::Resource),
    ] {
        let text = format!("permit (principal, action, {resource}) when {{ principal has uid }};");
        let (policies, _) = Policies::load(&[cedar(&text)]).unwrap_or_else(|err| panic!("{resource}: {err}"));
        let near = policies.explain(&question).near;
        assert_eq!(near.first().map(|near| near.lacks.as_slice()), Some(&[lacks][..]), "{resource}");
    }
}

#[test]
fn what_a_permit_lacks_is_said_in_words() {
    let words = [Lack::Condition, Lack::Resource, Lack::Principal, Lack::Action].map(|lack| lack.to_string());
    let want = [
        "its conditions do not hold",
        "it is for other things",
        "it is for other callers",
        "it is for other actions",
    ];
    assert_eq!(words, want);
}

#[test]
fn a_policy_without_a_name_is_called_for_where_it_stands() {
    let two =
        "permit (principal, action, resource); forbid (principal, action == Action::\"GetToken\", resource);";
    let policies = set(&format!("\n{two}\npermit (principal, action, resource);"), PRODUCTION);
    let own = policies.all.iter().map(Written::id).filter(|id| !id.starts_with(BUILT_IN));
    assert_eq!(own.collect::<Vec<_>>(), ["a.cedar:2", "a.cedar:2.2", "a.cedar:3"]);
}

#[test]
fn a_call_is_put_to_those_policies_only_that_can_matter() {
    let permits = |scope: &str| format!("@id({scope:?}) permit ({});\n", scope.replace('\'', "\""));
    let text = [
        "principal, action, resource",
        "principal == Workload::'spiffe://example.org/ns/shop/sa/web', action, resource",
        "principal == Workload::'local', action, resource",
        "principal in Group::'shop', action, resource",
        "principal in Group::'others', action, resource",
        "principal, action == Action::'GetToken', resource",
        "principal, action == Action::'GetClient', resource",
        "principal == Workload::'local', action == Action::'GetToken', resource",
        "principal, action, resource in Tenant::'tenants/a'",
        "principal, action, resource in Tenant::'tenants/b'",
        "principal, action, resource == Connection::'tenants/a/connections/x'",
        "principal, action, resource == Connection::'tenants/b/connections/x'",
        "principal, action, resource == Client::'tenants/b/clients/x'",
        "principal, action, resource == Client::'platform/clients/x'",
        "principal, action, resource == Provider::'providers/okta'",
        "principal, action, resource in Platform::'platform'",
    ];
    let all: String = text.into_iter().map(permits).collect();
    let workloads = format!("[[workload]]\nid = {WEB:?}\ngroups = [\"shop\"]\n");
    let (policies, _) =
        Policies::load(&[cedar(&all), toml(&workloads)]).unwrap_or_else(|err| panic!("{err}"));
    let about = policies.workloads.about(WEB);
    let caller = spiffe(WEB);
    let owner = Owner::Tenant("tenants/a".parse().unwrap());
    let asked = policies.candidates((&caller, &about), Action::GetToken, &owner);
    let asked: Vec<_> =
        asked.iter().map(|written| written.id()).filter(|id| !id.starts_with(BUILT_IN)).collect();
    assert_eq!(asked, [text[0], text[1], text[3], text[5], text[8], text[10]]);
}

/// What all policies at once answer, without slices.
fn whole(policies: &Policies, question: &Question<'_>) -> Decision {
    let about = policies.workloads.about(question.caller.id());
    let Question { caller, action, target, facts, asked } = *question;
    let asking = Asking::new(caller, &about, action, (target, facts), asked, None).unwrap();
    policies.put(&asking, policies.all.iter()).decision
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn a_slice_decides_as_the_whole_does(
        rules in proptest::collection::vec((0..2usize, 0..4usize, 0..4usize, 0..7usize), 1..12),
        (caller, tenant, action) in (0..3usize, 0..3usize, 0..4usize),
    ) {
        let principals = ["principal", "principal in Group::\"web\"", "principal == Workload::\"spiffe://example.org/b\"",
            "principal is Workload"];
        let actions = ["action", "action in Action::\"use\"", "action in Action::\"read\"",
            "action in [Action::\"GetToken\", Action::\"DeleteConnection\"]"];
        let resources = ["resource", "resource in Tenant::\"tenants/a\"", "resource in Tenant::\"tenants/b\"",
            "resource == Connection::\"tenants/a/connections/concur\"", "resource is Connection",
            "resource is Connection in Tenant::\"tenants/b\"", "resource in Platform::\"platform\""];
        let lines: Vec<String> = rules.iter().map(|(effect, principal, action, resource)| {
            format!("{} ({}, {}, {});", ["permit", "forbid"][*effect], principals[*principal], actions[*action],
                resources[*resource])
        }).collect();
        let text = lines.join("
");
        let workloads = format!("{PRODUCTION}[[workload]]\nid = \"spiffe://example.org/a\"\ngroups = [\"web\"]\n");
        // Some of these can never apply, which is no mistake.
        let Ok((policies, _)) = Policies::load(&[cedar(&text), toml(&workloads)]) else { return Ok(()) };
        let caller = spiffe(["spiffe://example.org/a", "spiffe://example.org/b", "spiffe://example.com/c"][caller]);
        let action = [Action::GetToken, Action::GetConnection, Action::DeleteConnection, Action::WatchToken][action];
        let (target, facts) = connection(["a", "b", "c"][tenant], Some(Environment::Production), &[]);
        let asked = Asked::default();
        let question = Question { caller: &caller, action, target: &target, facts: &facts, asked: &asked };
        proptest::prop_assert_eq!(policies.ask(&question).decision, whole(&policies, &question));
    }
}

/// Blocks of a page that are written in this language, with the heading of the last kind above each.
fn blocks(page: &str, language: &str) -> Vec<(String, String)> {
    let (mut found, mut heading, mut block) = (Vec::new(), String::new(), None::<String>);
    for line in page.lines() {
        match (&mut block, line) {
            (Some(_), "```") => found.extend(block.take().map(|text| (heading.clone(), text))),
            (Some(text), line) => text.extend([line, "\n"]),
            (None, line) if line == format!("```{language}") => block = Some(String::new()),
            (None, line) if line.starts_with("##") => line.clone_into(&mut heading),
            (None, _) => {}
        }
    }
    found
}

#[test]
fn every_example_of_the_documentation_is_a_sound_set() {
    let page = include_str!("../../docs/policies.md");
    let (policies, workloads) = (blocks(page, "cedar"), blocks(page, "toml"));
    let headings: BTreeSet<&String> = policies.iter().map(|(heading, _)| heading).collect();
    assert!(headings.len() >= 6, "{headings:?}");
    for heading in headings {
        let of = |blocks: &[(String, String)]| -> String {
            blocks.iter().filter(|(above, _)| above == heading).map(|(_, text)| text.as_str()).collect()
        };
        // What is configured beside it is no set.
        let said: String = of(&workloads);
        let said = if said.contains("[policy]") { String::new() } else { said };
        let loaded = Policies::load(&[cedar(&of(&policies)), toml(&said)]);
        let (_, remarks) = loaded.unwrap_or_else(|mistakes| panic!("{heading}: {mistakes}"));
        assert!(remarks.is_empty(), "{heading}: {remarks:?}");
    }
    for (heading, text) in workloads.iter().filter(|(_, text)| !text.contains("[policy]")) {
        let loaded = Policies::workloads_only(&[toml(text)]);
        assert!(loaded.is_ok(), "{heading}: {}", loaded.err().unwrap());
    }
}

#[test]
fn the_set_to_start_from_does_what_it_says() {
    let policies = include_str!("../../docs/examples/policies/policies.cedar");
    let workloads = include_str!("../../docs/examples/policies/workloads.toml");
    let (set, remarks) =
        Policies::load(&[cedar(policies), toml(workloads)]).unwrap_or_else(|err| panic!("{err}"));
    assert!(remarks.is_empty(), "{remarks:?}");
    let (production, sandbox) = (Some(Environment::Production), Some(Environment::Sandbox));
    let own = connection("acme", production, &[]);
    let tried = connection("acme", sandbox, &[]);
    let other = connection("other", production, &[]);
    let tenant = (Target::Tenant("tenants/acme".parse().unwrap()), Facts::Nothing);
    let kek = (Target::KeyChain(Chain::Kek), Facts::Nothing);
    let cases = [
        ("acme/sa/expenses", Action::GetToken, &own, Outcome::Allowed),
        ("acme/sa/expenses", Action::GetToken, &tried, Outcome::Hidden),
        ("acme/sa/expenses", Action::GetToken, &other, Outcome::Refused),
        ("acme/sa/expenses", Action::UpdateConnection, &own, Outcome::Refused),
        ("billing/sa/worker", Action::GetToken, &other, Outcome::Allowed),
        ("acme/sa/admin", Action::CreateConnection, &own, Outcome::Allowed),
        ("acme/sa/admin", Action::UpdateTenant, &tenant, Outcome::Allowed),
        ("acme/sa/admin", Action::GetConnection, &other, Outcome::Refused),
        ("acme/sa/admin", Action::RotateKek, &kek, Outcome::Refused),
        ("platform/sa/deployer", Action::DeleteConnection, &tried, Outcome::Allowed),
        ("platform/sa/deployer", Action::RotateKek, &kek, Outcome::Allowed),
        ("platform/sa/deployer", Action::GetToken, &own, Outcome::Refused),
        ("oncall/sa/ada", Action::GetConnection, &tried, Outcome::Allowed),
        ("oncall/sa/ada", Action::RefreshConnection, &own, Outcome::Allowed),
        ("oncall/sa/ada", Action::DeleteConnection, &own, Outcome::Refused),
        ("else/sa/where", Action::GetConnection, &own, Outcome::Refused),
    ];
    for (path, action, on, expected) in cases {
        let caller = spiffe(&format!("spiffe://prod.example.org/ns/{path}"));
        assert_eq!(ask(&set, &caller, action, on), expected, "{path} {action:?} {}", on.0);
    }
}
