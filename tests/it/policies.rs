//! What callers may, at a real broker behind TLS: it is what its policies say, before and after they change; a set that
//! is wrong is never used; and nobody notices a change but by what it is about. The command line says why.

use crate::support::{
    api,
    pki::Pki,
    process::{self, Broker},
    site::{Client, EVERYTHING, Load, Site},
    until,
};
use bursar::api::{
    GetProviderRequest, GetTenantRequest, provider_service_client::ProviderServiceClient,
    tenant_service_client::TenantServiceClient,
};
use serde_json::Value;
use std::{fs, sync::Arc};
use tonic::{Code, Status, transport::Channel};

const STEADY: &str = "spiffe://example.org/ns/prod/sa/steady";
const CHANGING: &str = "spiffe://example.org/ns/prod/sa/changing";
/// How often a good set, a bad one and another good one follow each other.
const ROUNDS: usize = 3;

const PROVIDER: &str = "providers/google";
/// What the steady one always may.
const BASE: &str = "@id(\"steady\") permit (principal == Workload::\"spiffe://example.org/ns/prod/sa/steady\",\n\
                    action == Action::\"GetProvider\", resource);\n";
const MORE: &str = "@id(\"changing\") permit (principal == Workload::\"spiffe://example.org/ns/prod/sa/changing\",\n\
                    action == Action::\"GetProvider\", resource);\n";

/// Names and texts.
type Files<'a> = &'a [(&'a str, &'a str)];

async fn look(channel: Channel) -> Result<(), Status> {
    let request = GetProviderRequest { name: PROVIDER.into() };
    ProviderServiceClient::new(channel).get_provider(request).await.map(drop)
}

async fn code(channel: &Channel) -> Code {
    look(channel.clone()).await.map_or_else(|status| status.code(), |()| Code::Ok)
}

async fn serve(site: &Site) -> Broker {
    Broker::serve(&site.path("broker.toml")).await
}

/// Reloads as the audit trail has them.
fn reloads(site: &Site) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(site.path("data/audit/default")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if line["event"] == "reload" && line["what"] == "policies" {
                found.push(line["outcome"].as_str().unwrap().to_owned());
            }
        }
    }
    found
}

#[tokio::test]
async fn policies_are_replaced_under_load_without_a_failed_call() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    site.rights(100, &[("a.cedar", BASE)]);
    let broker = serve(&site).await;
    let steady = Client::new(&ours, ours.svid(STEADY));
    let channel = steady.connect(broker.address()).await.unwrap();
    let changing = Client::new(&ours, ours.svid(CHANGING)).connect(broker.address()).await.unwrap();
    let client = Arc::new(parking_lot::Mutex::new(steady));
    let load = Load::start(broker.address(), &client, &channel, look);

    for round in 0..ROUNDS {
        let sets: [(&str, Files, Code); 4] = [
            // More is allowed, from two files.
            ("good", &[("a.cedar", BASE), ("b.cedar", MORE)], Code::Ok),
            // What would take everything away is not used: it is cut off, speaks of what there is not, or is empty.
            ("bad", &[("a.cedar", "permit (principal, action"), ("b.cedar", MORE)], Code::Ok),
            ("bad", &[("a.cedar", "// nothing")], Code::Ok),
            ("good", &[("a.cedar", BASE)], Code::PermissionDenied),
        ];
        for (number, (kind, files, expected)) in sets.into_iter().enumerate() {
            let seen = reloads(&site).len();
            site.rights(round * 4 + number + 200, files);
            until("the set is looked at", || async { (reloads(&site).len() > seen).then_some(()) }).await;
            let outcome = if kind == "good" { "done" } else { "refused" };
            assert_eq!(reloads(&site).last().map(String::as_str), Some(outcome), "{files:?}");
            assert_eq!(code(&changing).await, expected, "{files:?}");
        }
    }
    let calls = load.stop().await;
    assert!(calls > 100, "{calls}");
    assert_eq!(reloads(&site).len(), ROUNDS * 4, "each change is on record once");
    let log = broker.logged();
    assert_eq!(log.matches("policies cannot be used; those before stay in use").count(), ROUNDS * 2);
    assert!(log.contains("a.cedar:1: "), "{log}");
}

#[tokio::test]
async fn a_broker_does_not_start_with_policies_that_are_wrong_or_missing() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    let config = site.path("broker.toml").display().to_string();
    let started = async |files: Files| {
        site.rights(300 + files.len(), files);
        let mut told = Vec::new();
        for mode in [&["serve", "--config", &config][..], &["serve", "--check", "--config", &config]] {
            let output = process::run(mode).await;
            assert!(!output.status.success(), "{files:?}");
            told.push(String::from_utf8(output.stderr).unwrap());
        }
        told
    };
    let two = [
        ("a.cedar", "permit (principal, action == Action::\"Get\", resource);"),
        ("b.toml", "workloads = 1"),
    ];
    for told in started(&two).await {
        assert!(told.contains("policy.dir: ") && told.contains(" has 2 mistakes:"), "{told}");
        assert!(
            told.contains("a.cedar:1: ") && told.contains("b.toml:1: ") && told.contains("mend: "),
            "{told}"
        );
    }
    for told in started(&[("a.cedar", "")]).await {
        assert!(told.contains("the set has no policy: nobody could do anything"), "{told}");
    }
    for told in started(&[]).await {
        assert!(
            told.contains("policy.dir (") && told.contains("has neither *.cedar nor *.toml files"),
            "{told}"
        );
    }
    let text = fs::read_to_string(site.path("broker.toml")).unwrap();
    let (before, after) = text.split_once("[policy]").unwrap();
    let rest = after.split_once("[keys]").unwrap().1;
    fs::write(site.path("broker.toml"), format!("{before}[keys]{rest}")).unwrap();
    let output = process::run(&["serve", "--check", "--config", &config]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("policy.dir: is empty: callers of `listen` prove who they are"), "{told}");
    assert!(told.contains("mend: name the folder with the policies"), "{told}");
}

/// A sample of the whole product that `tests/flow/rights.rs` goes through, with certificates that are real.
#[tokio::test]
async fn who_may_what_is_what_the_policies_say_of_the_certificate() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    let workloads = "[[workload]]\nid = \"spiffe://example.org/ns/prod/sa/steady\"\ngroups = [\"tenant-admins\"]\n\
                     tenants = [\"tenants/aaa\"]\nenvironments = [\"production\"]\n\
                     [[workload]]\nid = \"spiffe://example.org/ns/ops/*\"\ngroups = [\"ops\"]\n";
    let policies = "@id(\"admins\") permit (principal in Group::\"tenant-admins\", action, resource);\n\
                    @id(\"ops\") permit (principal in Group::\"ops\", action in Action::\"write\", resource);\n";
    site.rights(400, &[("a.cedar", policies), ("workloads.toml", workloads)]);
    let broker = serve(&site).await;
    let connect = async |id: &str| Client::new(&ours, ours.svid(id)).connect(broker.address()).await.unwrap();
    let ops = TenantServiceClient::new(connect("spiffe://example.org/ns/ops/sa/ada").await);
    for id in ["aaa", "bbb"] {
        let request = bursar::api::CreateTenantRequest { tenant_id: id.into(), ..Default::default() };
        ops.clone().create_tenant(request).await.unwrap();
    }
    let ask = async |tenants: &TenantServiceClient<Channel>, name: &str| {
        let answer = tenants.clone().get_tenant(GetTenantRequest { name: name.into() }).await;
        answer.map_or_else(|status| (status.code(), api::reason(&status)), |_| (Code::Ok, String::new()))
    };
    let steady = TenantServiceClient::new(connect(STEADY).await);
    let nobody = TenantServiceClient::new(connect("spiffe://example.org/ns/prod/sa/steadier").await);
    let denied = (Code::PermissionDenied, "PERMISSION_DENIED".to_owned());
    assert_eq!(ask(&steady, "tenants/aaa").await.0, Code::Ok);
    for (tenants, name) in [
        (&steady, "tenants/bbb"),
        (&steady, "tenants/zzz"),
        (&nobody, "tenants/aaa"),
        (&nobody, "tenants/zzz"),
        (&ops, "tenants/aaa"),
        (&ops, "tenants/zzz"),
    ] {
        assert_eq!(ask(tenants, name).await, denied, "{name}");
    }
    // The denied caller is told what to give to `policy explain`, and that says why.
    let request = GetTenantRequest { name: "tenants/bbb".into() };
    let status = steady.clone().get_tenant(request).await.unwrap_err();
    let [caller, action, resource] = ["caller", "action", "resource"].map(|key| api::metadata(&status, key));
    let set = site.path("rights").display().to_string();
    let explain = ["policy", "explain", "--as", &caller, "--action", &action, &resource, "--policies", &set];
    let output = process::run(&explain).await;
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        told.starts_with("DENIED: ") && told.contains("decided by forbid bursar.tenants (built in)"),
        "{told}"
    );
}

#[tokio::test]
async fn the_shadow_set_is_asked_and_not_obeyed() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    site.rights(1, &[("a.cedar", EVERYTHING)]);
    fs::create_dir(site.path("shadow")).unwrap();
    fs::write(site.path("shadow/a.cedar"), BASE).unwrap();
    let text = fs::read_to_string(site.path("broker.toml")).unwrap();
    let shadow = format!("[policy]\nshadow_dir = \"{}\"\n", site.path("shadow").display());
    fs::write(site.path("broker.toml"), text.replace("[policy]\n", &shadow)).unwrap();
    let broker = serve(&site).await;
    let connect = async |id: &str| Client::new(&ours, ours.svid(id)).connect(broker.address()).await.unwrap();
    let (steady, changing) = (connect(STEADY).await, connect(CHANGING).await);
    assert_eq!((code(&steady).await, code(&changing).await), (Code::Ok, Code::Ok));
    let differences = || {
        let log = broker.logged();
        log.lines()
            .filter(|line| line.contains("the shadow policies would decide otherwise"))
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .collect::<Vec<_>>()
    };
    let found = differences();
    assert_eq!(found.len(), 1, "{found:?}");
    let said = |key: &str| found[0][key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (said("caller"), said("action"), said("resource")),
        (CHANGING.into(), "GetProvider".into(), PROVIDER.into())
    );
    assert_eq!((said("now"), said("shadow")), ("allowed".into(), "denied".into()));
    // It is followed as the other one is.
    fs::write(site.path("shadow/b.cedar"), MORE).unwrap();
    until("the new shadow set is in use", || async {
        let seen = differences().len();
        assert_eq!(code(&changing).await, Code::Ok);
        (differences().len() == seen).then_some(())
    })
    .await;
    assert!(reloads(&site).is_empty(), "what decides has not changed");
}

#[tokio::test]
async fn a_set_is_checked_and_explained_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let here = folder.path().display().to_string();
    fs::write(path("a.cedar"), "permit (principal, action == Action::\"Get\", resource);\npermit (principal")
        .unwrap();
    fs::write(path("w.toml"), "[[workload]]\nid = \"web\"\n").unwrap();
    let run = async |line: &str| {
        let output = process::run(&line.split(' ').collect::<Vec<_>>()).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (exit, told, complained) = run(&format!("policy check {here}")).await;
    assert_eq!(exit, 1, "{told}");
    assert!(
        told.contains(&format!("{}:2: ", path("a.cedar")))
            && told.contains(&format!("{}:2: ", path("w.toml"))),
        "{told}"
    );
    assert!(complained.contains("there are "), "{complained}");
    let (exit, told, _) = run(&format!("--output json policy check {here}")).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(exit == 1 && told.as_array().unwrap().iter().all(|one| one["level"] == "error"), "{told}");
    let (exit, _, complained) = run(&format!("policy check {}", path("none.cedar"))).await;
    assert!(exit == 2 && complained.contains("was not found"), "{exit} {complained}");
    let (exit, _, complained) =
        run(&format!("policy explain --as local --action GetToken {TOKEN} --policies {here}")).await;
    assert!(exit == 1 && complained.contains("a.cedar:2: "), "{complained}");

    fs::write(path("a.cedar"), BASE.to_owned() + "@id(\"labelled\") permit (principal in Group::\"web\",\n\
        action == Action::\"GetToken\", resource) when { resource.hasTag(\"team\") && context.scopes.contains(\"read\") };")
        .unwrap();
    fs::write(
        path("w.toml"),
        "[[workload]]\nid = \"dns:web\"\ngroups = [\"web\"]\nenvironments = [\"production\"]\n",
    )
    .unwrap();
    let (exit, told, _) = run(&format!("policy check {here}")).await;
    assert_eq!((exit, told.as_str()), (0, "no mistakes: 2 policies and 1 workload\n"));
    let explain = format!("policy explain --policies {here} --as dns:web --action GetToken {TOKEN}");
    let (exit, told, _) = run(&explain).await;
    assert_eq!(exit, 0);
    assert!(told.contains("DENIED: dns:web GetToken tenants/acme/connections/concur (production)"), "{told}");
    assert!(told.contains("not by labelled (") && told.contains("its conditions do not hold"), "{told}");
    let (_, told, _) =
        run(&format!("{explain} --environment production --label team=web --scope read --output json")).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    let [answer] = &told.as_array().unwrap()[..] else { panic!("{told}") };
    assert_eq!((&answer["outcome"], &answer["decided_by"][0]["id"]), (&"allowed".into(), &"labelled".into()));
    let (exit, _, complained) = run("policy explain --as dns:web --action GetTokens x").await;
    assert!(exit == 2 && complained.contains("Did you mean GetToken?"), "{complained}");
    let (exit, _, complained) = run("policy explain --as web --action GetToken x").await;
    assert!(exit == 2 && complained.contains("is no id of a caller"), "{complained}");
    let (exit, _, complained) =
        run(&format!("policy explain --policies {here} --as local --action GetToken tenants/a")).await;
    assert!(exit == 2 && complained.contains("tenants/TENANT/connections/NAME"), "{complained}");
    let (_, schema, _) = run("policy schema").await;
    assert!(schema.contains("entity Workload in [Group]"));
    let (_, actions, _) = run("policy actions").await;
    assert!(
        actions.lines().any(|line| line.starts_with("GetToken ") && line.ends_with("release")),
        "{actions}"
    );
}

const TOKEN: &str = "tenants/acme/connections/concur";
