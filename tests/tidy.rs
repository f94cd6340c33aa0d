//! The rules of the house that neither the compiler nor clippy knows: which room may look into which, what a file
//! opens with, how long it may be, what a tracked file may not say. Reads the sources; runs nothing of them.
//!
//! A rule that has to be broken is broken here, in its table and with a reason, and nowhere else.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

#[path = "tidy/source.rs"]
mod source;

use source::{Source, code_files, text_files};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

/// Which room may import what of the others: a whole room, or one item of it. Everything that is not here is refused,
/// and what nobody needs any more has to go. Test code may look everywhere.
const IMPORTS: &[(&str, &[&str])] = &[
    // Leaves.
    ("clock", &[]),
    // Nobody has to be told of by it: it is asked where in a trace a thread is, and what is done is told to it.
    ("traces", &["clock::Timestamp"]),
    ("telemetry", &["traces"]),
    ("process", &[]),
    ("watching", &[]),
    ("http1", &[]),
    ("api", &[]),
    ("simulator", &["clock"]),
    // Rules, without a runtime and without a clock to read.
    ("domain", &["clock::Timestamp"]),
    ("access", &["domain"]),
    // Who is inside, and how fast they came.
    ("limits", &["access", "domain"]),
    // Lines are chained and authenticated; it never sees another key.
    ("audit", &["access", "clock", "domain", "seal::AuditKey", "seal::line_hash"]),
    ("seal", &["clock::Timestamp", "domain"]),
    // What a signed token says of its bearer. Its way to issuers is the one that everything has; that their keys changed
    // is on record. It decides nothing.
    ("bearer", &["access", "audit", "clock", "domain", "egress"]),
    // The store never sees what is sealed, nor what seals. No claim, no exchange.
    ("store", &["clock", "domain"]),
    // Whoever is talked to: no provider, no profile, plain data only.
    ("egress", &["clock::Timestamp", "domain", "traces"]),
    ("provider", &["clock", "domain", "egress", "store::claim", "traces"]),
    // Key services: each a `seal::Kek`. It never sees what root keys protect.
    ("kek", &["domain", "egress", "seal"]),
    // The one room that knows the whole story.
    ("broker", &["access", "audit", "clock", "domain", "limits", "provider", "seal", "store", "traces"]),
    // Wire types stop here. Of what lies below the broker only the errors show, to become a status.
    (
        "grpc",
        &[
            "access",
            "api",
            "audit",
            "broker",
            "clock",
            "domain",
            "limits",
            "monitor",
            "provider::TokenExchange",
            "provider::catalogue",
            // Of key chains the states and names, never a key.
            "seal::KekKey",
            "seal::KekKind",
            "seal::KeyState",
            "seal::SealError",
            "store::Key",
            "store::StoreError",
            "store::ledger::Loaded",
            // Connections come in here, and leave as peers.
            "tls",
            "traces",
        ],
    ),
    // Looks on where rooms meet, by the traits that they meet by.
    (
        "monitor",
        &[
            "access",
            "api::STATUS_CODES",
            "audit",
            "broker",
            "clock",
            "domain",
            "http1",
            "provider",
            "seal",
            "store",
        ],
    ),
    // Browsers. It knows what the broker says to them, and no wire type of the API.
    ("web", &["broker", "domain", "http1"]),
    // Who is on the other end of a connection, by what it proves there.
    (
        "tls",
        &["access::caller::ClientCertificate", "access::caller::Identity", "clock", "domain", "watching"],
    ),
    ("config", &["domain", "telemetry"]),
    // What is wrong with a deployment, judged from facts that are given to it.
    ("doctor", &["clock::Timestamp", "domain"]),
    // The only place where parts are put together.
    (
        "app",
        &[
            "access",
            "audit",
            "bearer",
            "broker",
            "clock",
            "config",
            "doctor",
            "domain",
            "egress",
            "grpc",
            "kek",
            "limits",
            "monitor",
            "process",
            "provider",
            "seal",
            "simulator",
            "store",
            "telemetry",
            "tls",
            "traces",
            "watching",
            "web",
        ],
    ),
    // The command line is an ordinary client, and starts what `app` puts together.
    // A proof of possession is signed where the key is: with the caller.
    // What policies answer is asked on this machine, too.
    ("cli", &["access", "api", "app", "audit", "clock", "doctor", "domain", "provider::dpop", "tls::leaf"]),
    ("main", &["cli", "clock", "process"]),
];

/// What only `app` may choose, though others may see the room: where things are kept and how they are sent.
const CHOSEN_BY_APP: &[&str] = &["seal::FileKeyset", "store::embedded", "store::redis"];

/// Libraries that only some files may use: beginnings of paths below src.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("anyhow", &["app", "cli", "main"]),
    (
        "aws_lc_rs",
        &[
            "bearer",
            "cli/connect",
            "egress",
            "main",
            "provider/certificates",
            "provider/dpop",
            "provider/keys",
            "seal/",
            "simulator/signing",
            "tls",
        ],
    ),
    ("axum", &["simulator/"]),
    ("clap", &["cli"]),
    ("governor", &["limits/bucket"]),
    ("hashbrown", &["audit/counted"]),
    ("http_body_util", &["grpc/gate", "http1"]),
    ("hyper", &["http1"]),
    ("hyper_util", &["cli/connect", "http1", "traces/export"]),
    ("cedar_policy", &["access/policies"]),
    ("csv", &["cli/import"]),
    ("jsonwebtoken", &["bearer/key_set"]),
    ("miette", &["access/policies"]),
    ("indicatif", &["cli/progress"]),
    ("oauth2", &["provider/authorization"]),
    ("opentelemetry", &["traces"]),
    ("opentelemetry_otlp", &["traces/export"]),
    ("opentelemetry_sdk", &["traces"]),
    ("opentelemetry_semantic_conventions", &["traces"]),
    ("prometheus_client", &["monitor/"]),
    ("prost", &["broker/keys", "cli/message", "store/codec"]),
    ("qrcode", &["cli/authorize/qr"]),
    ("rcgen", &["provider/certificates"]),
    ("redb", &["store/embedded"]),
    ("redis", &["store/redis"]),
    ("reqwest", &["egress"]),
    ("rustix", &["app/doctor", "app/doors", "process"]),
    (
        "rustls",
        &[
            "app/collector",
            "app/redis",
            "cli/connect",
            "egress",
            "main",
            "provider/certificates",
            "provider/keys",
            "store/redis",
            "tls",
            "traces/export",
        ],
    ),
    ("secrecy", &["domain/token"]),
    ("spiffe", &["tls/workload"]),
    ("tokio_rustls", &["cli/connect", "grpc/listening", "store/redis/dialing", "tls", "traces/export"]),
    ("tonic", &["api", "cli/", "grpc", "kek/kms_plugin", "store/record", "traces/export"]),
    ("x509_parser", &["egress", "provider/certificates", "tls"]),
];

/// Longest file, in lines without its tests.
const LINES_MAX: usize = 400;
/// Files that are longer for now.
const TOO_LONG: &[&str] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["common", "core", "helpers", "manager", "misc", "utils", "util"];

/// Never in a program that runs for years; clippy sees the others.
const NEVER_IN_SRC: &[&str] = &[".unwrap()", "todo!(", "unimplemented!(", "dbg!("];

#[test]
fn rooms_look_only_where_they_may() {
    let table: BTreeMap<_, _> = IMPORTS.iter().copied().collect();
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for file in code_files("src") {
        let room = file.room();
        if room == "lib" {
            continue;
        }
        let Some(allowed) = table.get(room.as_str()) else {
            wrong.push(format!("{}: room `{room}` is not in the table", file.name));
            continue;
        };
        for path in file.imports() {
            let is_in = |place: &str| path == place || path.starts_with(&format!("{place}::"));
            let covers = |allowed: &&&str| {
                is_in(allowed) && (room == "app" || !CHOSEN_BY_APP.iter().any(|one| is_in(one)))
            };
            let own = is_in(&room);
            match allowed.iter().find(covers) {
                Some(allowed) => drop(used.insert((room.clone(), *allowed))),
                None if own => {}
                None => wrong.push(format!("{}: `{room}` may not import `{path}`", file.name)),
            }
        }
    }
    for (room, allowed) in IMPORTS {
        for allowed in allowed.iter().filter(|allowed| !used.contains(&((*room).to_owned(), **allowed))) {
            wrong.push(format!("the table lets `{room}` import `{allowed}`, which it does not"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_climbs_out_of_its_room() {
    let mut wrong = Vec::new();
    for file in code_files("src") {
        // `super` of a file right below src is the crate, where all rooms are.
        let climbs = "super::".repeat(file.depth());
        if file.room() != "lib" && file.code().contains(&climbs) {
            wrong.push(format!("{}: write `crate::…` for what is in another room", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn libraries_stay_where_they_belong() {
    let mut wrong = Vec::new();
    for file in code_files("src") {
        let code = file.code();
        for (library, places) in LIBRARIES {
            let place = file.name.strip_prefix("src/").unwrap();
            if Source::names(&code, library) && !places.iter().any(|allowed| place.starts_with(allowed)) {
                wrong.push(format!("{}: `{library}` belongs to {}", file.name, places.join(", ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent: Vec<_> = ["src", "tests", "build.rs"]
        .into_iter()
        .flat_map(code_files)
        .filter(|file| !file.text.starts_with("//! "))
        .map(|file| file.name)
        .collect();
    assert!(silent.is_empty(), "no `//!` at the top of: {}", silent.join(", "));
}

#[test]
fn files_are_short_and_named_for_what_is_in_them() {
    let mut wrong = Vec::new();
    for file in ["src", "tests"].into_iter().flat_map(code_files) {
        let lines = if file.name.starts_with("src/") { file.code().lines().count() } else { 0 };
        match (lines > LINES_MAX, TOO_LONG.contains(&file.name.as_str())) {
            (true, false) => wrong.push(format!("{}: {lines} lines without tests", file.name)),
            (false, true) => wrong.push(format!("{}: short by now, so not an exception", file.name)),
            (true, true) | (false, false) => {}
        }
        let stem = Path::new(&file.name).file_stem().unwrap().to_str().unwrap();
        if stem == "mod" || EMPTY_NAMES.contains(&stem) {
            wrong.push(format!("{}: find a name, and put it beside its folder", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_in_the_sources_waits_to_panic_or_to_be_written() {
    let mut wrong = Vec::new();
    for file in code_files("src") {
        let code = file.code();
        for word in NEVER_IN_SRC.iter().filter(|word| code.contains(**word)) {
            wrong.push(format!("{}: {word}", file.name));
        }
    }
    for file in ["src", "tests"].into_iter().flat_map(code_files) {
        // In two pieces, so that this line is not one.
        if file.text.contains(concat!("#[", "ignore")) {
            wrong.push(format!("{}: a test that does not run is no test", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_names_a_place_on_somebodys_machine() {
    let mut wrong = Vec::new();
    for file in text_files() {
        for (number, line) in file.text.lines().enumerate() {
            for place in ["/home", "/root", "/Users", "/work"] {
                if source::names_folder(line, place) {
                    wrong.push(format!("{}:{}: {place}", file.name, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn text_files_end_their_lines_and_themselves() {
    let mut wrong = Vec::new();
    for file in text_files() {
        for (number, line) in
            file.text.split('\n').enumerate().filter(|(_, line)| line.ends_with([' ', '\t', '\r']))
        {
            wrong.push(format!("{}:{}: blank at the end of {line:?}", file.name, number + 1));
        }
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            wrong.push(format!("{}: ends with exactly one line end", file.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_npm_lock_says_what_is_installed_and_not_from_where() {
    let locks: Vec<_> =
        text_files().into_iter().filter(|file| file.name.ends_with("package-lock.json")).collect();
    assert_eq!(locks.len(), 2);
    for lock in locks {
        assert!(lock.text.contains("\"integrity\""), "{}", lock.name);
        assert!(!lock.text.contains("\"resolved\""), "{}: install with the .npmrc beside it", lock.name);
    }
}
