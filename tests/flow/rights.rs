//! Principals × objects × methods, the full product, at a real gRPC server: who may is heard, and whoever may not
//! leaves no write and one line on record, and sees what there is as if it were not there.
//!
//! What may be is said twice: by policies, and by [`Role::may`], which knows nothing of them.

mod calling;
mod world;

use crate::way::Fault;
use calling::Answer;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::sleep;
use tonic::Code;
use world::{Cell, Principal, Role, Set, Short, Spot, World};

/// Principals of every kind and role, but those of nobody.
fn principals() -> Vec<Principal> {
    let kinds = ["spiffe", "dns", "oidc", "unix"];
    let all = kinds.into_iter().flat_map(|kind| Role::ALL.map(|role| Principal::new(kind, role)));
    // There is one process that proves nothing.
    all.chain([Principal::local(Role::ServiceA)]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_full_product_of_principals_objects_and_methods_comes_out_as_it_should() {
    let world = World::new(Set::Ordinary, principals()).await;
    let (denied, allowed) = product(&world).await;
    println!("{denied} calls were denied, {allowed} were heard");
    // What a product is that has lost a factor.
    assert!(denied > 3000 && allowed > 1000, "{denied} {allowed}");
    strangers(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn walls_stand_whatever_policies_say() {
    for set in [Set::Hostile, Set::HostileAcross] {
        let some = [Role::ServiceA, Role::ServiceB, Role::Sandbox, Role::Nobody];
        let world = World::new(set, some.map(|role| Principal::new("spiffe", role)).to_vec()).await;
        let (denied, allowed) = product(&world).await;
        assert!(denied > 200 && allowed > 200, "{set:?}: {denied} {allowed}");
    }
}

/// Everything once; first what is denied, so that nothing has changed meanwhile.
async fn product(world: &World) -> (usize, usize) {
    let before = world.everything().await;
    let pass = async |principal: &Principal| {
        let mut answers = BTreeMap::new();
        for cell in world.cells().filter(|cell| !world.may(principal, cell)) {
            let answer = world.call(principal, &cell).await;
            assert_eq!(world.everything().await, before, "{principal:?} {cell:?} has written");
            refused(principal, &cell, &answer);
            answers.insert((cell.method.to_owned(), cell.spot.name.clone()), (cell, answer));
        }
        for (cell, answer) in answers.values() {
            looks_absent(world, principal, cell, answer).await;
        }
        answers.len()
    };
    let denied: usize = futures_util::future::join_all(world.principals.iter().map(pass)).await.iter().sum();
    assert_eq!(world.everything().await, before);
    let mut allowed = 0;
    // What is made comes last, and what others are made of after them.
    let turns = ["CreateConnection", "CreateClient", "CreateTenant"];
    let turn = |cell: &Cell| turns.iter().position(|method| *method == cell.method).map_or(0, |at| at + 1);
    for now in 0..=turns.len() {
        for principal in &world.principals {
            let may = |cell: &Cell| turn(cell) == now && world.may(principal, cell);
            for cell in world.cells().filter(may) {
                let answer = world.call(principal, &cell).await;
                heard(principal, &cell, &answer);
                allowed += 1;
            }
        }
    }
    (denied, allowed)
}

/// One line on record, which says who wanted what; and one of two answers.
fn refused(principal: &Principal, cell: &Cell, answer: &Answer) {
    let context = format!("{principal:?} {cell:?}: {answer:?}");
    assert!(matches!(answer.code, Code::PermissionDenied | Code::NotFound), "{context}");
    let [event] = &answer.events[..] else { panic!("not one event: {context}") };
    assert_eq!(
        (event["event"].as_str(), event["reason"].as_str()),
        (Some("denied"), Some("policy")),
        "{context}"
    );
    assert_eq!(event["caller"].as_str(), Some(principal.caller.id()), "{context}");
    let (action, target) = (event["action"].as_str().unwrap(), event["target"].as_str().unwrap());
    let expected = if action == "UseClient" { cell.spot.client() } else { cell.spot.target() };
    assert!(action == "UseClient" || action == cell.method, "{context}");
    assert_eq!(target, expected, "{context}");
    if answer.code == Code::PermissionDenied {
        let info = &answer.info;
        assert_eq!(info["caller"], principal.caller.id(), "{context}");
        assert_eq!((info["action"].as_str(), info["resource"].as_str()), (action, target), "{context}");
    }
}

/// The same call about what is not there is answered with the same words and bytes, but for the name.
async fn looks_absent(world: &World, principal: &Principal, cell: &Cell, answer: &Answer) {
    for absent in cell.spot.absent_siblings() {
        let beside = absent.is_beside(&cell.spot);
        let other = Cell { method: cell.method, spot: absent };
        let may = world.may(principal, &other);
        // Whether a tenant is its own it knows; whether another one is there it does not.
        let strange = [&cell.spot, &other.spot].iter().all(|spot| !spot.is_of(principal.role));
        let alike = cell.method != "CreateConnection" || cell.spot.has_client_like(&other.spot);
        let comparable = beside && alike && !(may && is_new(cell.method))
            || !beside && !may && strange && answer.code == Code::PermissionDenied;
        if !world.has(&other) || !comparable {
            continue;
        }
        let told = world.call(principal, &other).await;
        assert_eq!(
            answer.without(&cell.spot),
            told.without(&other.spot),
            "{principal:?} can tell {cell:?} from {other:?}"
        );
    }
}

/// Methods whose object is not there yet: of these a call about what is absent would make it.
fn is_new(method: &str) -> bool {
    method.starts_with("Create")
}

/// Whatever came of it, policies did not stand in the way.
fn heard(principal: &Principal, cell: &Cell, answer: &Answer) {
    let context = format!("{principal:?} {cell:?}: {answer:?}");
    assert!(
        !matches!(answer.code, Code::PermissionDenied | Code::Unauthenticated | Code::Internal),
        "{context}"
    );
    assert!(answer.events.iter().all(|event| event["event"] != "denied"), "{context}");
    let shows = cell.method.starts_with("Get") && !cell.method.contains("Key") && cell.spot.exists;
    if shows {
        assert_eq!(answer.code, Code::Ok, "{context}");
        assert!(cell.method == "GetToken" || answer.says(&cell.spot.name), "{context}");
    }
    if cell.method.starts_with("List") {
        assert!(answer.code == Code::Ok || !cell.spot.exists, "{context}");
        for tenant in ["tenants/aaa", "tenants/bbb"] {
            let role = principal.role;
            assert!(!answer.says(tenant) || role.tenants().is_none_or(|own| own == tenant), "{context}");
        }
    }
}

/// Whoever proves nothing gets no further than the gate.
async fn strangers(world: &World) {
    let before = world.everything().await;
    for cell in world.cells() {
        let answer = world.call_as_nobody(&cell).await;
        assert_eq!(answer.code, Code::Unauthenticated, "{cell:?}: {answer:?}");
        let [event] = &answer.events[..] else { panic!("{cell:?}: {answer:?}") };
        assert_eq!(event["event"], "unauthenticated", "{cell:?}");
    }
    assert_eq!(world.everything().await, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_somebody_else_looks_like_none() {
    let world = World::new(Set::Ordinary, vec![Principal::new("spiffe", Role::TenantAdmin)]).await;
    let admin = &world.principals[0];
    // To connect one's own with a client of another tenant, and to have it looked at.
    let there = |name: &str| Spot::of("Client", name, true);
    let requests = |client: &str| {
        let connection = serde_json::json!({"client": client});
        let grant = serde_json::json!({"refresh_token": {"refresh_token": "rt0"}});
        [
            (
                "CreateConnection",
                serde_json::json!({"parent": "tenants/aaa", "connection_id": "here", "connection": connection,
                    "grant": grant}),
            ),
            ("CheckProvider", serde_json::json!({"name": "providers/under-test", "client": client})),
        ]
    };
    let before = world.everything().await;
    let names = ["tenants/bbb/clients/live", "tenants/bbb/clients/gone", "tenants/zzz/clients/live"];
    for at in 0..2 {
        let mut told = Vec::new();
        for name in names {
            let (method, request) = requests(name)[at].clone();
            let answer = world.ask(admin, method, &request).await;
            assert_eq!(answer.code, Code::PermissionDenied, "{method} {name}: {answer:?}");
            assert_eq!(answer.events.len(), 1, "{method} {name}: {answer:?}");
            told.push(answer.without(&there(name)));
        }
        assert!(told.iter().all(|answer| *answer == told[0]), "{told:?}");
    }
    assert_eq!(world.everything().await, before);
}

/// Clients of every owner for connections of every tenant, and for providers: what is not to be seen is as good as not
/// there, and nothing is said of a tenant to whoever may not connect there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_client_helps_to_find_out_what_is_there() {
    for set in [Set::Ordinary, Set::Hostile] {
        let world = World::new(set, Role::ALL.map(|role| Principal::new("spiffe", role)).to_vec()).await;
        let before = world.everything().await;
        for principal in &world.principals {
            for owner in ["tenants/aaa", "tenants/bbb", "tenants/zzz", "platform"] {
                let mut elsewhere = BTreeSet::new();
                for parent in ["tenants/aaa", "tenants/bbb", "tenants/zzz"] {
                    let told = connected(&world, principal, owner, parent).await;
                    if owner == "platform" && !world.connects(principal, parent) {
                        elsewhere.extend(told);
                    }
                }
                assert!(elsewhere.len() <= 1, "{set:?} {principal:?}: {elsewhere:?}");
                for provider in ["providers/under-test", "providers/other-test"] {
                    checked(&world, principal, owner, provider).await;
                }
            }
        }
        assert_eq!(world.everything().await, before);
    }
}

/// What a caller sees, in an order of its own.
type Told = (i32, String, Vec<u8>, Vec<u8>);

fn told(answer: &Answer, names: &[&str]) -> Told {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let (code, message, details, body) = answer.without_names(&names);
    (code.into(), message, details, body)
}

/// Of a name that is taken, so that nothing comes of it where it may be.
async fn connected(world: &World, principal: &Principal, owner: &str, parent: &str) -> BTreeSet<Told> {
    let mut all = BTreeSet::new();
    for client in Spot::clients_of(owner) {
        let request = serde_json::json!({"parent": parent, "connection_id": "live",
            "connection": {"client": client.name}, "grant": {"refresh_token": {"refresh_token": "rt0"}}});
        let answer = world.ask(principal, "CreateConnection", &request).await;
        let context = format!("{principal:?} {parent} {}: {answer:?}", client.name);
        let one = told(&answer, &[&format!("{parent}/connections/live"), &client.name, parent]);
        if !world.connects(principal, parent) {
            assert_eq!(answer.code, Code::PermissionDenied, "{context}");
        }
        if answer.code == Code::PermissionDenied {
            let [event] = &answer.events[..] else { panic!("not one event: {context}") };
            assert_eq!(event["event"], "denied", "{context}");
            assert_eq!(event["action"], answer.info["action"].as_str(), "{context}");
        }
        if !(world.connects(principal, parent) && world.sees(principal, &client)) {
            assert!(matches!(answer.code, Code::PermissionDenied | Code::NotFound), "{context}");
            assert_eq!(answer.events.len(), 1, "{context}");
            all.insert(one);
        }
    }
    assert!(all.len() <= 1, "{principal:?} can tell clients of {owner} apart, for {parent}: {all:?}");
    all
}

async fn checked(world: &World, principal: &Principal, owner: &str, provider: &str) {
    let mut all = BTreeSet::new();
    for client in Spot::clients_of(owner) {
        if world.sees(principal, &client) && provider == "providers/under-test" {
            continue;
        }
        let request = serde_json::json!({"name": provider, "client": client.name});
        let answer = world.ask(principal, "CheckProvider", &request).await;
        let context = format!("{principal:?} {provider} {}: {answer:?}", client.name);
        assert!(matches!(answer.code, Code::PermissionDenied | Code::NotFound), "{context}");
        all.insert(told(&answer, &[provider, &client.name]));
    }
    assert!(all.len() <= 1, "{principal:?} can tell clients of {owner} apart, at {provider}: {all:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_delete_what_may_be_missing_does_not_tell_what_is_hidden() {
    let roles = [Role::ServiceA, Role::Sandbox].map(|role| Principal::new("spiffe", role));
    let world = World::new(Set::Hostile, roles.to_vec()).await;
    let before = world.everything().await;
    for (principal, hidden) in world.principals.iter().zip(["test", "live"]) {
        for (method, kind) in [("DeleteConnection", "connections"), ("DeleteClient", "clients")] {
            let mut told = Vec::new();
            for id in [hidden, "gone"] {
                let name = format!("tenants/aaa/{kind}/{id}");
                let request = serde_json::json!({"name": name, "allow_missing": true});
                let answer = world.ask(principal, method, &request).await;
                assert_eq!(answer.code, Code::Ok, "{name}: {answer:?}");
                told.push((answer.code, answer.message.clone(), answer.body.clone()));
            }
            assert_eq!(told[0], told[1], "{principal:?} {method}");
        }
    }
    assert_eq!(world.everything().await, before);
}

/// Who may change a connection may not be who may change what it has become: nobody labels itself into a right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn labels_are_put_on_what_was_judged_and_on_nothing_else() {
    let world = World::new(Set::Ordinary, vec![Principal::new("spiffe", Role::TenantAdmin)]).await;
    let (admin, name) = (&world.principals[0], "tenants/aaa/connections/live");
    let get = serde_json::json!({"name": name});
    assert_eq!(world.ask(admin, "GetConnection", &get).await.code, Code::Ok);
    world.label_unheard(name, ("team", "other")).await;
    let update =
        serde_json::json!({"connection": {"name": name, "labels": {"mine": "yes"}}, "update_mask": "labels"});
    let before = world.everything().await;
    let answer = world.ask(admin, "UpdateConnection", &update).await;
    assert_eq!((answer.code, &*answer.info["reason"]), (Code::Aborted, "WRITE_CONFLICT"), "{answer:?}");
    assert_eq!(world.everything().await, before);
    // Now by what there is.
    let answer = world.ask(admin, "UpdateConnection", &update).await;
    assert_eq!(answer.code, Code::Ok, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_looks_absent_also_where_something_is_short() {
    let roles = [Role::ServiceA, Role::Sandbox].map(|role| Principal::new("spiffe", role));
    for (short, met) in [(Short::Places, "TENANT_BUSY"), (Short::Trail, "AUDIT_UNAVAILABLE")] {
        let world = World::short_of(short, Set::Hostile, roles.to_vec()).await;
        for (principal, [seen, hidden]) in world.principals.iter().zip([["live", "test"], ["test", "live"]]) {
            let mut bound = false;
            for cell in world.cells().filter(|cell| cell.spot.is_in("tenants/aaa", seen)) {
                if !is_new(cell.method) {
                    bound |=
                        world.call(principal, &cell).await.info.get("reason").is_some_and(|one| one == met);
                }
            }
            assert!(bound, "{short:?} is nothing that a call meets");
            for cell in world.cells().filter(|cell| cell.spot.is_in("tenants/aaa", hidden)) {
                alike(&world, principal, &cell).await;
            }
        }
    }
}

/// What is hidden may be in memory, and what is missing never is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_looks_absent_also_where_it_is_in_memory_and_nothing_else_can_be_had() {
    let roles = [Role::ServiceA, Role::Sandbox].map(|role| Principal::new("spiffe", role));
    let name = |id| format!("tenants/aaa/connections/{id}");
    for (short, met) in [(Short::Place, "OVERLOADED"), (Short::Store, "STORE_UNAVAILABLE")] {
        let world = World::short_of(short, Set::Hostile, roles.to_vec()).await;
        for (principal, seen) in world.principals.iter().zip(["live", "test"]) {
            // Renewed, read again, and in memory with all that policies ask for.
            for _ in 0..4 {
                let answer = world.ask(principal, "GetToken", &serde_json::json!({"name": name(seen)})).await;
                assert_eq!(answer.code, Code::Ok, "{answer:?}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        let mut waiting = None;
        if short == Short::Place {
            world.store().then(Fault::SlowRead(Duration::from_mins(5)));
            let gone = serde_json::json!({"name": name("away")});
            waiting = Some(world.begun(&world.principals[0], "GetToken", gone));
            until("it is at its read", async || !world.store().has_faults()).await;
            // What is read at once would need no place.
            for _ in 0..4 {
                world.store().then(Fault::SlowRead(Duration::from_millis(50)));
            }
        } else {
            world.store().go_away();
            sleep(Duration::from_millis(200)).await;
        }
        for (principal, [seen, hidden]) in world.principals.iter().zip([["live", "test"], ["test", "live"]]) {
            let ask =
                async |id| world.ask(principal, "GetToken", &serde_json::json!({"name": name(id)})).await;
            assert_eq!(ask(seen).await.code, Code::Ok, "{short:?}: what is in memory is served");
            let (hidden, gone) = ((hidden, ask(hidden).await), ("gone", ask("gone").await));
            assert_eq!(gone.1.info["reason"], met, "{gone:?}");
            let [hidden, gone] = [hidden, gone].map(|(id, answer)| told(&answer, &[&name(id)]));
            assert_eq!(hidden, gone, "{short:?} {principal:?}");
        }
        drop(waiting);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_when_its_caller_has_hung_up_keeps_its_place() {
    let world =
        World::short_of(Short::Place, Set::Ordinary, vec![Principal::new("spiffe", Role::Admin)]).await;
    let admin = &world.principals[0];
    let get = async || world.ask(admin, "GetTenant", &serde_json::json!({"name": "tenants/aaa"})).await;
    assert_eq!(get().await.code, Code::Ok);
    for method in ["DeleteTenant", "UndeleteTenant"] {
        world.store().then(Fault::LateWrite("tenant/", Duration::from_secs(5)));
        let mut request = serde_json::json!({"name": "tenants/bbb"});
        if method == "DeleteTenant" {
            request["force"] = true.into();
        }
        let deleting = world.begun(admin, method, request);
        // Nobody else asks meanwhile: there is one place.
        until("it is at its write", async || !world.store().has_faults()).await;
        drop(deleting);
        sleep(Duration::from_millis(200)).await;
        let answer = get().await;
        assert_eq!(answer.info.get("reason").map(String::as_str), Some("OVERLOADED"), "{method}: {answer:?}");
        until("it has come to its end", async || get().await.code == Code::Ok).await;
    }
}

/// Looks until it is so; the bound only says how long a failure takes.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !look().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), looking).await.expect(what);
}

/// Of what is hidden and of what is not there, the same; or with a client that is hidden, and one that is not there.
async fn alike(world: &World, principal: &Principal, cell: &Cell) {
    let mut all = BTreeSet::new();
    for id in [cell.spot.id(), "gone"] {
        let name = cell.spot.name.replace(cell.spot.id(), id);
        let mut request = match cell.method {
            "CreateClient" => continue,
            "CreateConnection" => serde_json::json!({
                "parent": "tenants/aaa", "connection_id": "gone",
                "connection": {"client": name.replace("connections", "clients")},
                "grant": {"refresh_token": {"refresh_token": "rt0"}},
            }),
            _ => Cell { method: cell.method, spot: cell.spot.called(&name) }.request(),
        };
        if cell.method.starts_with("Delete") {
            request["allow_missing"] = true.into();
        }
        let answer = world.ask(principal, cell.method, &request).await;
        // What is made takes its place whatever its client is.
        let told_early = matches!(answer.code, Code::NotFound | Code::Ok) || is_new(cell.method);
        assert!(told_early, "{principal:?} {cell:?}: {answer:?}");
        all.insert(told(&answer, &[&name, &name.replace("connections", "clients")]));
    }
    assert!(all.len() <= 1, "{principal:?} can tell {cell:?} from what is not there: {all:?}");
}
