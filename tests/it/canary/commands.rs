//! Every command of the command line, by the tree that clap knows: each is run for real, with what it needs and with what
//! goes wrong, and what it prints is kept to be looked through. A command without a case fails the test.

use super::{APP_SECRET, NEXT_SECRET, Spilled, WRONG_SECRET};
use crate::support::{
    api::{Api, CLIENT, TENANT},
    process::{self, Broker},
    scene::{FileMode, Place, Scene},
};
use std::{collections::BTreeSet, fs};

/// What a case is fed with.
enum Input {
    None,
    /// On standard input, where `-` stands for a file.
    Secret(&'static str),
}

struct Case {
    /// Words of the command, then its arguments. `{…}` is filled in from the scene.
    line: &'static str,
    input: Input,
    /// How it ends; a case that ended otherwise would not have got where it was meant to.
    exit: i32,
    shows: Shows,
}

/// What may be on standard output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    NoSecret,
    /// An access token is what it is for: standard output is not looked at, standard error is.
    Token,
}

const fn case(line: &'static str, exit: i32) -> Case {
    Case { line, input: Input::None, exit, shows: Shows::NoSecret }
}

const fn fed(line: &'static str, secret: &'static str, exit: i32) -> Case {
    Case { line, input: Input::Secret(secret), exit, shows: Shows::NoSecret }
}

const TOKEN_EXIT: Shows = Shows::Token;

const CASES: &[Case] = &[
    // Run.
    case("serve --config {config} --check", 0),
    case("serve --config {misplaced-config}", 1),
    case("serve --config {keyset}", 1),
    case("serve --print-default-config", 0),
    case("dev --listen 192.0.2.1:1 --data-dir {folder}/dev", 1),
    case("simulate concur --port 70000", 2),
    case("simulate oauth --state-file {keyset} --port 0 --control-port 0", 1),
    case("keys generate --out {folder}/another-keyset", 0),
    case("keys generate --out {keyset}", 2),
    case("keys keyset add {folder}/another-keyset", 0),
    case("keys keyset list {folder}/another-keyset", 0),
    case("keys keyset list {config}", 1),
    case("keys keyset remove {folder}/another-keyset 1 --out {folder}/third-keyset", 0),
    case("keys keyset remove {keyset} 1", 1),
    // Trails.
    case("audit verify {folder}/data/audit", 0),
    case("audit verify {folder}/data/audit --key-file {keyset}", 2),
    case("audit head {folder}/data/audit --output yaml", 0),
    case("audit query {folder}/data/audit --tenant tenants/acme --output json", 0),
    case("audit query {folder}/data/audit --token-file {keyset} --key-file {keyset}", 2),
    case("audit key --config {misplaced-config} --out {folder}/audit-key", 1),
    case("completions bash", 0),
    // Policies.
    case("policy check {keyset}", 2),
    case("policy check {folder}", 1),
    case("policy explain --policies {keyset} --as local --action GetToken {tenant}/connections/c0", 2),
    case("policy schema", 0),
    case("policy actions --output json", 0),
    // Tenants, clients, providers.
    case("tenant create tenants/second --display-name Second --label plan=gold", 0),
    case("tenant create tenants/acme", 1),
    case("tenant list --show-deleted", 0),
    case("tenant show tenants/acme --output json", 0),
    case("tenant update tenants/second --remove-label plan", 0),
    case("tenant delete tenants/second", 0),
    case("tenant undelete tenants/second", 0),
    case("tenant undelete tenants/none", 1),
    case("keys chain keyChains/kek --output json", 0),
    case("keys chain tenants/none/keyChain", 1),
    case("keys rotate tenant tenants/second --output json", 0),
    case("keys rotate tenant tenants/second", 1),
    case("keys rotate root --etag x", 1),
    case("keys rotate kek", 0),
    case("keys watch keyChains/kek", 0),
    case("keys retire tenants/second/keyChain 1", 1),
    fed(
        "client create {tenant}/clients/made --provider providers/concur-here --client-id {app} --environment sandbox --allowed-grant refresh-token --client-secret-file -",
        APP_SECRET,
        0,
    ),
    fed(
        "client create {tenant}/clients/concur --provider providers/concur-here --client-id {app} --environment sandbox --allowed-grant refresh-token --client-secret-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "client create {tenant}/clients/twice --provider providers/none --client-id x --environment sandbox --allowed-grant refresh-token --client-secret-file -",
        WRONG_SECRET,
        1,
    ),
    case("client list {tenant} --output yaml", 0),
    case("client show {client} --output json", 0),
    case("client update {tenant}/clients/made --allowed-scope openid", 0),
    fed("client secret add {tenant}/clients/made --client-secret-file -", NEXT_SECRET, 0),
    fed("client secret add {tenant}/clients/none --client-secret-file -", WRONG_SECRET, 1),
    fed("client secret add {tenant}/clients/made --private-key-file -", WRONG_SECRET, 1),
    case("client secret add {tenant}/clients/made --client-secret-file {keyset} --etag x", 1),
    case("client secret rotate {client}", 0),
    case("client secret retire {client} 0190b7a2-7c41-7d33-9e5f-3a1b2c4d5e6f", 1),
    case("client jwks {client} --output json", 2),
    case("client certificate {client}", 2),
    case("client delete {tenant}/clients/made", 0),
    case("provider list --output json", 0),
    case("provider show providers/concur-here", 0),
    case("provider lint {keyset}", 1),
    case("doctor --config {config} --all-providers", 0),
    case("doctor --config {config} --output json", 0),
    case("doctor --config {misplaced-config} --output yaml", 1),
    case("doctor --config {misplaced-keys} --all-providers", 1),
    case("doctor provider providers/concur-here --client {client} --output json", 0),
    // Connections.
    fed(
        "connection create {tenant}/connections/made --client {client} refresh-token --refresh-token-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection create {tenant}/connections/asked --client {client} company-request-token --company-uuid 8f3c2a1e-5b7d-4c9a-8e6f-0d1b2c3a4f5e --request-token-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection create {tenant}/connections/of-authorization-code --client {client} authorization-code --code-file - --redirect-uri https://app.example.com/back",
        WRONG_SECRET,
        1,
    ),
    case(
        "connection create {tenant}/connections/of-client-credentials --client {client} client-credentials --data-center us2",
        0,
    ),
    fed(
        "connection create {tenant}/connections/of-jwt-bearer --client {client} jwt-bearer --assertion-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection create {tenant}/connections/of-password --client {client} password --username ann --password-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection create {tenant}/connections/of-saml-bearer --client {client} saml-bearer --assertion-file -",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection create {tenant}/connections/of-token-exchange --client {client} token-exchange --subject-token-file - --subject-token-type urn:ietf:params:oauth:token-type:access_token",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection authorize {tenant}/connections/c0 authorization-code --code-file - --redirect-uri https://app.example.com/back",
        WRONG_SECRET,
        1,
    ),
    case("connection authorize {tenant}/connections/c0 client-credentials --data-center us2", 1),
    fed("connection authorize {tenant}/connections/c0 jwt-bearer --assertion-file -", WRONG_SECRET, 1),
    fed(
        "connection authorize {tenant}/connections/c0 password --username ann --password-file -",
        WRONG_SECRET,
        1,
    ),
    fed("connection authorize {tenant}/connections/c0 saml-bearer --assertion-file -", WRONG_SECRET, 1),
    fed(
        "connection authorize {tenant}/connections/c0 token-exchange --subject-token-file - --subject-token-type urn:ietf:params:oauth:token-type:access_token",
        WRONG_SECRET,
        1,
    ),
    fed(
        "connection authorize {tenant}/connections/c0 company-request-token --company-uuid 8f3c2a1e-5b7d-4c9a-8e6f-0d1b2c3a4f5e --request-token-file -",
        WRONG_SECRET,
        1,
    ),
    case("connection list {tenant} --output json", 0),
    case("connection show {tenant}/connections/c0 --output yaml", 0),
    case("connection update {tenant}/connections/c0 --label team=pay", 0),
    case("connection refresh {tenant}/connections/c0", 0),
    case("connection disable {tenant}/connections/c0", 0),
    case("token get {tenant}/connections/c0", 1),
    case("connection enable {tenant}/connections/c0", 0),
    case("connection authorize {tenant}/connections/c0 --no-browser --timeout 1s", 1),
    fed("connection authorize {tenant}/connections/c0 refresh-token --refresh-token-file -", WRONG_SECRET, 1),
    case("connection import {import} --tenant {tenant} --client {client} --dry-run", 0),
    case(
        "connection import {import} --tenant {tenant} --client {client} --failures {folder}/failures.csv",
        1,
    ),
    case("connection import {bad-import} --tenant {tenant} --client {client}", 2),
    Case { line: "token get {tenant}/connections/c1", input: Input::None, exit: 0, shows: TOKEN_EXIT },
    Case {
        line: "token get {tenant}/connections/c1 --output json",
        input: Input::None,
        exit: 0,
        shows: TOKEN_EXIT,
    },
    case("token get {tenant}/connections/none", 1),
    case("token get {tenant}/connections/c1 --min-lifetime 20h", 1),
    case("connection revoke {tenant}/connections/c1", 0),
    case("connection delete {tenant}/connections/c1 --skip-revocation", 0),
];

/// A configuration with secrets where the paths of their files belong, and in the address that they are for. Other keys
/// are refused with the words that were given, which are the operator's own.
fn misplaced_config(secret: &str) -> String {
    format!(
        "[store]\nkind = \"redis\"\n[store.redis]\nurl = \"redis://user:{secret}@127.0.0.1/\"\n\
         password_file = \"{secret}\"\n[keys]\nkeyset_file = \"{secret}\"\n"
    )
}

/// Runs all of them beside a broker, and keeps what each prints and writes.
pub(super) async fn all(scene: &Scene, spilled: &mut Spilled) {
    let broker = Broker::serve(&scene.config("commanded", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 2).await;
    scene.write("misplaced.toml", FileMode::Plain, &misplaced_config("canary-redis-password-51"));
    // What can be read is a key, and opens nothing: everything that is looked at with it goes wrong.
    let config = fs::read_to_string(scene.path("commanded.toml")).unwrap();
    let data = format!("data_dir = \"{}", scene.path("elsewhere").display());
    let wrong = config.replace(&format!("data_dir = \"{}", scene.path("data").display()), &data);
    scene.write(
        "misplaced-keys.toml",
        FileMode::Plain,
        &wrong.replace("[log]", "[policy]\ndir = \"/\"\n[log]"),
    );
    scene.write(
        "import.csv",
        FileMode::Secret,
        &format!("connection,refresh_token\nimported,{WRONG_SECRET}\n"),
    );
    scene.write(
        "bad-import.csv",
        FileMode::Secret,
        &format!("connection,refresh_token\n{WRONG_SECRET},x,{WRONG_SECRET}\n,\n"),
    );
    let mut wrong = Vec::new();
    for case in CASES {
        let words: Vec<String> = case.line.split(' ').map(|word| filled(word, scene)).collect();
        let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        let endpoint = format!("http://{}", broker.address());
        if !LOCAL.iter().any(|local| case.line.starts_with(local)) {
            arguments.extend(["--endpoint", &endpoint]);
        }
        let input = match case.input {
            Input::None => "",
            Input::Secret(secret) => secret,
        };
        let ended = process::run_with(&arguments, input).await;
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        if ended.status.code() != Some(case.exit) {
            wrong.push(format!("`{}` ended with {}: {said}", case.line, ended.status));
        }
        spilled.keep(format!("errors of `{}`", case.line), ended.stderr);
        if case.shows == Shows::NoSecret {
            spilled.keep(format!("output of `{}`", case.line), ended.stdout);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    spilled.keep_folder(broker.output(), &[]);
    spilled.keep_folder(&scene.path("data"), &[]);
}

/// Commands that call no server.
const LOCAL: &[&str] = &[
    "serve",
    "dev",
    "simulate",
    "audit",
    "keys generate",
    "keys keyset",
    "policy",
    "provider lint",
    "completions",
];

fn filled(word: &str, scene: &Scene) -> String {
    let path = |file: &str| scene.path(file).display().to_string();
    [
        ("{config}", path("commanded.toml")),
        ("{misplaced-config}", path("misplaced.toml")),
        ("{misplaced-keys}", path("misplaced-keys.toml")),
        ("{keyset}", path("keyset")),
        ("{folder}", path("")),
        ("{import}", path("import.csv")),
        ("{bad-import}", path("bad-import.csv")),
        ("{tenant}", TENANT.to_owned()),
        ("{client}", CLIENT.to_owned()),
        ("{app}", scene.app.id.clone()),
    ]
    .iter()
    .fold(word.to_owned(), |word, (from, to)| word.replace(from, to))
}

#[test]
fn every_command_has_a_case() {
    let mut commands = BTreeSet::new();
    leaves(&bursar::cli::command_line(), "", &mut commands);
    // A grant stands behind the connection and its options.
    let runs = |command: &str, line: &str| {
        let mut words = line.split(' ');
        command.split(' ').all(|word| words.any(|next| next == word))
    };
    let has_case = |command: &str| CASES.iter().any(|case| runs(command, case.line));
    let without: Vec<_> = commands.iter().filter(|command| !has_case(command)).collect();
    assert!(commands.len() > 30, "{commands:?}");
    assert!(without.is_empty(), "no case in this file runs: {without:?}");
}

fn leaves(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
    for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
        let words = format!("{above} {}", one.get_name()).trim_start().to_owned();
        if one.has_subcommands() {
            leaves(one, &words, found);
        }
        // Some do something by themselves, too.
        if !one.has_subcommands() || !one.is_subcommand_required_set() {
            found.insert(words);
        }
    }
}
