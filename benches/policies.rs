//! What a decision costs: one that was made lately, and one that is made anew over sets of different sizes. Prints times and
//! ratios for docs/policies.md; asserts nothing about speed, as machines differ.

#![expect(clippy::unwrap_used, reason = "in a measurement a panic is the report")]
#![expect(clippy::print_stdout, reason = "it is what this is for")]

use bursar::{
    access::{
        Access, Action, Asked, Caller, ConnectionFacts, Facts, Identity, RecordId, Transport,
        policies::{Policies, PolicyFile},
    },
    domain::{client::Environment, names::ConnectionName},
};
use std::{collections::BTreeSet, fmt::Write as _, hint::black_box, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// How long a batch of calls takes at least: short enough to run now and then without being interrupted.
const BATCH: Duration = Duration::from_micros(300);
/// Batches of which the fastest counts: what else runs on the machine only adds.
const BATCHES: usize = 5000;

/// The call that is decided: a service asks for a token of its tenant, with two scopes.
struct Call {
    caller: Caller,
    name: ConnectionName,
    facts: ConnectionFacts,
    asked: Asked,
}

impl Call {
    fn new(id: &str) -> Self {
        Self {
            caller: Caller::new(Identity::Spiffe(id.to_owned()), Transport::Mtls, BTreeSet::new()),
            name: "tenants/t0/connections/concur".parse().unwrap(),
            facts: ConnectionFacts {
                record: Some(RecordId { uid: Uuid::from_u128(7), version: 3 }),
                provider: "providers/sap-concur".parse().unwrap(),
                client: "tenants/t0/clients/app".parse().unwrap(),
                environment: Some(Environment::Production),
                labels: [("team".to_owned(), "web".to_owned())].into(),
            },
            asked: Asked {
                scopes: vec!["expense.report.read".to_owned(), "user.read".to_owned()],
                ..Asked::default()
            },
        }
    }

    fn is_allowed(&self, access: &Access, facts: &Facts) -> bool {
        access.permit(&self.caller, Action::GetToken, self.name.clone(), facts, &self.asked).is_ok()
    }
}

/// So many policies of so many tenants, and a permit for the caller among them.
fn set(policies: usize, tenants: usize) -> Access {
    let mut text = String::new();
    for number in 0..policies {
        let tenant = number % tenants;
        let on = if tenants > 1 {
            format!("resource in Tenant::\"tenants/t{tenant}\"")
        } else {
            "resource".into()
        };
        let when = "when { resource.hasTag(\"team\") && resource.getTag(\"team\") == \"web\" \
                    && context.scopes.contains(\"user.read\") }";
        let group = number / tenants;
        writeln!(
            text,
            "permit (principal in Group::\"g{group}\", action == Action::\"GetToken\", {on}) {when};"
        )
        .unwrap();
    }
    let workloads = "[[workload]]\nid = \"spiffe://example.org/*\"\nenvironments = [\"production\"]\n\
                     [[workload]]\nid = \"spiffe://example.org/ns/shop/sa/web\"\ngroups = [\"g0\"]\ntenants = [\"tenants/t0\"]\n";
    let files = [("a.cedar", text.as_str()), ("w.toml", workloads)]
        .map(|(name, text)| PolicyFile { name: name.into(), text: text.into() });
    let (policies, _) = Policies::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    Access::new(Arc::new(policies), None)
}

/// The fastest batch, for each call.
fn measured(mut work: impl FnMut()) -> Duration {
    let mut each = 1_u32;
    let time = |each: u32, work: &mut dyn FnMut()| {
        let begun = Instant::now();
        for _ in 0..each {
            work();
        }
        begun.elapsed()
    };
    for _ in 0..100 {
        work();
    }
    while (0..20).map(|_| time(each, &mut work)).min().unwrap() < BATCH {
        each *= 2;
    }
    (0..BATCHES).map(|_| time(each, &mut work) / each).min().unwrap()
}

fn main() {
    let call = Call::new("spiffe://example.org/ns/shop/sa/web");
    let facts = Facts::Connection(Box::new(call.facts.clone()));
    // Nothing that is not read from a record is remembered.
    let anew = Facts::Connection(Box::new(ConnectionFacts { record: None, ..call.facts.clone() }));
    let access = set(100, 20);
    assert!(call.is_allowed(&access, &facts));
    let on = (&call.name, call.facts.record.unwrap());
    let known = measured(|| {
        let known = access.known(&call.caller, Action::GetToken, on, &call.asked);
        assert!(black_box(known).unwrap().is_ok());
    });
    println!("decided before                                {:>9.3} µs", micros(known));
    let stranger = Call::new("spiffe://example.org/ns/shop/sa/other");
    for (title, policies, tenants) in [
        ("1 policy", 1, 1),
        ("100 policies of 20 tenants", 100, 20),
        ("100 policies that all may concern it", 100, 1),
        ("1000 policies of 200 tenants", 1000, 200),
    ] {
        let access = set(policies, tenants);
        let ratio = |one: Duration| one.as_secs_f64() / known.as_secs_f64();
        let allowed = measured(|| assert!(black_box(call.is_allowed(&access, &anew))));
        println!("allowed anew over {title:<28}{:>9.1} µs {:>7.0} ×", micros(allowed), ratio(allowed));
        let denied = measured(|| assert!(!black_box(stranger.is_allowed(&access, &anew))));
        println!("denied anew over  {title:<28}{:>9.1} µs {:>7.0} ×", micros(denied), ratio(denied));
    }
}

fn micros(one: Duration) -> f64 {
    one.as_secs_f64() * 1e6
}
