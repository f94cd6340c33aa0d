//! The whole command line against a server on the loopback: what it sends, prints and ends with.

mod authorizing;
mod existing;
mod fake;
mod importing;
mod watching;

use super::Exit;
use crate::api::{
    AddClientSecretRequest, Client, ClientSecret, CompleteAuthorizationRequest, Connection,
    CreateConnectionRequest, DegradedReason, Failure, GetTokenRequest, GrantType, ListConnectionsRequest,
    ListConnectionsResponse, Principal, StateReason, Tenant, Token, UpdateClientRequest,
    UpdateConnectionRequest, UpdateTenantRequest,
    client_secret::{self, Kind as SecretKind},
    client_secret_input::Value,
    complete_authorization_request::Completion,
    connection::State,
    grant::Kind as GrantKind,
    principal::Kind as PrincipalKind,
    state_reason::Reason,
};
use fake::{Fake, Given, NOW, console, run_at};
use prost_types::Timestamp;
use std::{
    collections::HashMap,
    ffi::OsString,
    io::{self, Write},
    time::Duration,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const NAME: &str = "tenants/demo/connections/concur";

fn later(seconds: i64) -> Timestamp {
    Timestamp { seconds: NOW.seconds + seconds, nanos: 0 }
}

fn token() -> Token {
    Token {
        access_token: "fake-token".into(),
        token_type: "Bearer".into(),
        expire_time: Some(later(1800)),
        scopes: vec!["openid".into(), "user.read".into()],
        api_base_url: "https://us2.example.com".into(),
        generation: 9_007_199_254_740_993,
        next_refresh_time: Some(later(1200)),
        degraded_reason: 0,
        principal: Some(Principal { kind: PrincipalKind::Company.into(), id: "c-1".into() }),
        dpop_jkt: String::new(),
    }
}

fn connection(id: &str) -> Connection {
    Connection {
        name: format!("tenants/demo/connections/{id}"),
        provider: "providers/sap-concur".into(),
        grant_type: GrantType::CompanyRequestToken.into(),
        state: State::Active.into(),
        access_token_expire_time: Some(later(24)),
        next_refresh_time: Some(later(-30)),
        last_success_time: Some(later(-180)),
        ..Connection::default()
    }
}

fn refusal(code: Code, reason: &str) -> Status {
    let metadata = HashMap::from([("resource".to_owned(), NAME.to_owned())]);
    let details = ErrorDetails::with_error_info(reason, "bursar", metadata);
    Status::with_error_details(code, "it was refused", details)
}

#[tokio::test]
async fn token_get_prints_the_token_alone() {
    let outcome = Fake::new(|_| Ok(token())).run(&["token", "get", NAME]).await;
    assert_eq!(
        (outcome.exit, outcome.out.as_str(), outcome.err.as_str()),
        (Exit::Success, "fake-token\n", "")
    );
}

#[tokio::test]
async fn token_get_sends_what_the_flags_say_and_how_long_it_waits() {
    let arguments =
        ["token", "get", NAME, "--scope", "a", "--scope", "b", "--min-lifetime", "5m", "--audience", "x"];
    let outcome = Fake::new(|_| Ok(token())).run(&arguments).await;
    let sent: GetTokenRequest = outcome.calls[0].decode();
    let want = GetTokenRequest {
        name: NAME.into(),
        scopes: vec!["a".into(), "b".into()],
        min_lifetime: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        audience: "x".into(),
        dpop_proof: String::new(),
    };
    assert_eq!(sent, want);
    assert!(outcome.calls[0].timeout.is_some());
}

#[tokio::test]
async fn an_overdue_token_is_noted_beside_the_token() {
    let overdue = Token { degraded_reason: DegradedReason::ProviderUnavailable.into(), ..token() };
    let outcome = Fake::new(move |_| Ok(overdue.clone())).run(&["token", "get", NAME]).await;
    assert_eq!(outcome.out, "fake-token\n");
    assert!(outcome.err.contains("PROVIDER_UNAVAILABLE: the token is good"), "{}", outcome.err);
}

#[tokio::test]
async fn a_check_prints_no_token_in_any_format() {
    let says = "tenants/demo/connections/concur: there is a token, good until 2027-01-15T08:30:00Z\n";
    for (format, want) in
        [("table", says), ("json", "\"access_token\": \"\""), ("yaml", "access_token: \"\"")]
    {
        let arguments = ["token", "get", NAME, "--check", "--output", format];
        let outcome = Fake::new(|_| Ok(token())).run(&arguments).await;
        assert_eq!(outcome.exit, Exit::Success);
        assert!(outcome.out.contains(want), "{}", outcome.out);
        assert!(!outcome.out.contains("fake-token") && !outcome.err.contains("fake-token"), "{format}");
        let none = Fake::new(|_| Ok(Token::default())).run(&arguments).await;
        assert_eq!((none.exit, none.out.as_str()), (Exit::Failure, ""), "{format}");
    }
}

#[tokio::test]
async fn what_cannot_be_in_a_header_is_not_printed_as_a_token() {
    for bad in ["", "a\nX-Admin: true", "a\u{7f}", "ä"] {
        let broken = Token { access_token: bad.into(), ..token() };
        let outcome = Fake::new(move |_| Ok(broken.clone())).run(&["token", "get", NAME]).await;
        assert_eq!((outcome.exit, outcome.out.as_str()), (Exit::Failure, ""), "{bad:?}");
    }
}

#[tokio::test]
async fn json_has_the_field_names_of_the_api_and_every_key() {
    let outcome = Fake::new(|_| Ok(token())).run(&["token", "get", NAME, "--output", "json"]).await;
    let want = r#"{
  "access_token": "fake-token",
  "token_type": "Bearer",
  "expire_time": "2027-01-15T08:30:00Z",
  "scopes": [
    "openid",
    "user.read"
  ],
  "api_base_url": "https://us2.example.com",
  "generation": 9007199254740993,
  "next_refresh_time": "2027-01-15T08:20:00Z",
  "degraded_reason": "DEGRADED_REASON_UNSPECIFIED",
  "principal": {
    "kind": "KIND_COMPANY",
    "id": "c-1"
  },
  "dpop_jkt": ""
}
"#;
    assert_eq!(outcome.out, want);
}

#[tokio::test]
async fn json_leaves_out_only_messages_that_are_not_set() {
    let outcome = Fake::new(|_| Ok(Token::default())).run(&["token", "get", NAME, "--output", "json"]).await;
    let keys: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&outcome.out).unwrap();
    let mut keys: Vec<_> = keys.keys().map(String::as_str).collect();
    keys.sort_unstable();
    let want =
        ["access_token", "api_base_url", "degraded_reason", "dpop_jkt", "generation", "scopes", "token_type"];
    assert_eq!(keys, want);
}

#[tokio::test]
async fn yaml_keeps_a_long_token_on_one_line_and_text_that_looks_like_a_number_as_text() {
    let long = format!("{}.{}", "a".repeat(300), "b c ".repeat(60));
    let shown = Token { access_token: long.clone(), token_type: "007".into(), ..token() };
    let outcome =
        Fake::new(move |_| Ok(shown.clone())).run(&["token", "get", NAME, "--output", "yaml"]).await;
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert!(lines[0].starts_with("access_token: ") && lines[0].contains(long.trim_end()), "{}", lines[0]);
    let want = "expire_time: \"2027-01-15T08:30:00Z\"\n\
                scopes:\n- openid\n- user.read\n\
                api_base_url: https://us2.example.com\n\
                generation: 9007199254740993\n\
                next_refresh_time: \"2027-01-15T08:20:00Z\"\n\
                degraded_reason: DEGRADED_REASON_UNSPECIFIED\n\
                principal:\n  kind: KIND_COMPANY\n  id: c-1\n\
                dpop_jkt: \"\"";
    assert_eq!(lines[2..].join("\n"), want);
    assert_eq!(lines[1], "token_type: \"007\"");
}

#[tokio::test]
async fn yaml_reads_back_as_what_json_says() {
    let tricky =
        ["yes", "null", "~", "1e3", "0x1f", "- a", "# x", "a: b", " a ", "a\nb", "'", "\"", "\\", "é\u{1b}"];
    let labels: std::collections::BTreeMap<_, _> =
        tricky.iter().enumerate().map(|(at, text)| (format!("k{at}"), (*text).to_owned())).collect();
    let fake = Fake::new(move |_| Ok(Tenant { labels: labels.clone(), ..Tenant::default() }));
    let json = fake.clone().run(&["tenant", "show", "tenants/demo", "--output", "json"]).await.out;
    let yaml = fake.run(&["tenant", "show", "tenants/demo", "--output", "yaml"]).await.out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_saphyr::from_str::<serde_json::Value>(&yaml).unwrap(), json);
    assert_eq!(json["labels"].as_object().unwrap().len(), tricky.len());
}

#[tokio::test]
async fn a_list_is_a_table_with_relative_times() {
    let lost = Connection {
        state: State::NeedsReauthorization.into(),
        state_reason: Some(StateReason { reason: Reason::LostRotation.into(), ..StateReason::default() }),
        access_token_expire_time: None,
        next_refresh_time: None,
        ..connection("travel")
    };
    let failing = Connection {
        last_failure: Some(Failure { attempts_since_success: 2, ..Failure::default() }),
        ..connection("concur")
    };
    let page = ListConnectionsResponse { connections: vec![failing, lost], next_page_token: String::new() };
    let outcome = Fake::new(move |_| Ok(page.clone())).run(&["connection", "list", "tenants/demo"]).await;
    let want = "\
NAME                             STATE                  REASON         FAILED TRIES  PROVIDER              TOKEN EXPIRES  NEXT REFRESH  LAST SUCCESS
tenants/demo/connections/concur  ACTIVE                 -              2             providers/sap-concur  in 24 s        30 s ago      3 min ago
tenants/demo/connections/travel  NEEDS_REAUTHORIZATION  LOST_ROTATION  -             providers/sap-concur  -              -             3 min ago
";
    assert_eq!(outcome.out, want);
}

#[tokio::test]
async fn an_empty_list_is_an_empty_array_or_the_headings_alone() {
    for (format, want) in
        [("json", "[]\n"), ("yaml", "[]\n"), ("table", "NAME  DISPLAY NAME  CREATED  DELETED  PURGE\n")]
    {
        let outcome = Fake::new(|_| Ok(())).run(&["tenant", "list", "--output", format]).await;
        assert_eq!(outcome.out, want, "{format}");
    }
}

#[tokio::test]
async fn show_prints_a_line_for_each_field_that_is_set() {
    let secret = |id: &str, state: client_secret::State| ClientSecret {
        id: id.into(),
        kind: SecretKind::SharedSecret.into(),
        state: state.into(),
        ..ClientSecret::default()
    };
    let client = Client {
        name: "platform/clients/concur".into(),
        create_time: Some(later(-180)),
        allowed_grants: vec![GrantType::RefreshToken.into(), 99],
        secrets: vec![
            secret("s1", client_secret::State::Retired),
            secret("s2", client_secret::State::Active),
        ],
        ..Client::default()
    };
    let outcome =
        Fake::new(move |_| Ok(client.clone())).run(&["client", "show", "platform/clients/concur"]).await;
    let want = "\
name              platform/clients/concur
create_time       2027-01-15T07:57:00Z (3 min ago)
allowed_grants    REFRESH_TOKEN,99
secrets[0].id     s1
secrets[0].kind   SHARED_SECRET
secrets[0].state  RETIRED
secrets[1].id     s2
secrets[1].kind   SHARED_SECRET
secrets[1].state  ACTIVE
";
    assert_eq!(outcome.out, want);
}

#[tokio::test]
async fn text_of_the_server_cannot_steer_the_terminal() {
    let tenant = Tenant { display_name: "a\u{1b}[2Jb\nc".into(), ..Tenant::default() };
    let outcome = Fake::new(move |_| Ok(tenant.clone())).run(&["tenant", "show", "tenants/demo"]).await;
    assert_eq!(outcome.out, "display_name  a\u{fffd}[2Jb\u{fffd}c\n");
    let refused = Fake::new::<Tenant>(|_| Err(Status::internal("a\u{1b}[2Jb")));
    let outcome = refused.run(&["tenant", "show", "tenants/demo"]).await;
    assert!(!outcome.err.contains('\u{1b}') && outcome.err.contains('\u{fffd}'));
}

/// Three pages of 2, 0 and 3 connections, whatever size is asked for.
fn paged() -> Fake {
    Fake::new(|call| {
        let request: ListConnectionsRequest = call.decode();
        let (ids, next): (&[&str], &str) = match request.page_token.as_str() {
            "" => (&["a", "b"], "p2"),
            "p2" => (&[], "p3"),
            _ => (&["c", "d", "e"], ""),
        };
        let connections = ids.iter().map(|id| connection(id)).collect();
        Ok(ListConnectionsResponse { connections, next_page_token: next.into() })
    })
}

#[tokio::test]
async fn a_list_fetches_every_page_up_to_its_limit() {
    let cases =
        [("5", 5, 3, false), ("9", 5, 3, false), ("4", 4, 3, true), ("2", 2, 1, true), ("1", 1, 1, true)];
    for (limit, shown, calls, more) in cases {
        let outcome = paged().run(&["connection", "list", "--limit", limit, "--output", "json"]).await;
        let listed: Vec<serde_json::Value> = serde_json::from_str(&outcome.out).unwrap();
        assert_eq!((listed.len(), outcome.calls.len()), (shown, calls), "limit {limit}");
        assert_eq!(outcome.err.contains("--limit"), more, "limit {limit}");
    }
}

#[tokio::test]
async fn a_list_asks_for_no_more_than_it_shows() {
    let outcome = paged().run(&["connection", "list", "--limit", "3", "--filter", "state = ACTIVE"]).await;
    let sent: Vec<ListConnectionsRequest> = outcome.calls.iter().map(fake::Call::decode).collect();
    assert_eq!(sent.iter().map(|each| each.page_size).collect::<Vec<_>>(), [3, 1, 1]);
    assert!(sent.iter().all(|each| each.parent == "tenants/-" && each.filter == "state = ACTIVE"));
}

#[tokio::test]
async fn a_server_that_repeats_its_page_token_does_not_keep_a_list_going() {
    let answer = ListConnectionsResponse { connections: Vec::new(), next_page_token: "same".into() };
    let outcome = Fake::new(move |_| Ok(answer.clone())).run(&["connection", "list"]).await;
    assert_eq!((outcome.exit, outcome.calls.len()), (Exit::Failure, 2));
}

#[tokio::test]
async fn exit_codes_tell_the_endings_apart() {
    let details = ErrorDetails::with_error_info("NEEDS_REAUTHORIZATION", "example.com", HashMap::new());
    let foreign = Status::with_error_details(Code::FailedPrecondition, "of another API", details);
    let cases = [
        (refusal(Code::FailedPrecondition, "NEEDS_REAUTHORIZATION"), 3),
        (refusal(Code::FailedPrecondition, "CONNECTION_PENDING"), 1),
        (refusal(Code::PermissionDenied, "PERMISSION_DENIED"), 4),
        (refusal(Code::Unauthenticated, "UNAUTHENTICATED"), 4),
        (refusal(Code::FailedPrecondition, "AUTHORIZATION_DENIED"), 3),
        (refusal(Code::FailedPrecondition, "AUTHORIZATION_EXPIRED"), 3),
        (refusal(Code::FailedPrecondition, "PRINCIPAL_MISMATCH"), 1),
        (refusal(Code::InvalidArgument, "INVALID_ARGUMENT"), 1),
        (refusal(Code::Unavailable, "PROVIDER_UNAVAILABLE"), 1),
        (refusal(Code::Unavailable, "A_REASON_OF_TOMORROW"), 1),
        (Status::permission_denied("from a proxy"), 4),
        (Status::unauthenticated("from a proxy"), 4),
        (Status::internal("no details"), 1),
        (foreign, 1),
    ];
    for (status, code) in cases {
        let shown = format!("{status:?}");
        let fake = Fake::new::<Token>(move |_| Err(status.clone()));
        let outcome = fake.run(&["token", "get", NAME]).await;
        assert_eq!((outcome.exit.code(), outcome.out.as_str()), (code, ""), "{shown}");
    }
    let usage = Fake::new(|_| Ok(token())).run(&["token", "get", "concur"]).await;
    assert_eq!((usage.exit.code(), usage.calls.len()), (2, 0));
    assert!(usage.err.contains("tenants/{tenant}/connections/{connection}"), "{}", usage.err);
}

#[tokio::test]
async fn an_error_says_what_why_when_to_retry_and_what_to_do_next() {
    let mut details = ErrorDetails::new();
    let metadata =
        HashMap::from([("resource".into(), NAME.into()), ("state_reason".into(), "EXPIRED".into())]);
    details.set_error_info("NEEDS_REAUTHORIZATION", "bursar", metadata);
    details.set_retry_info(Some(Duration::from_millis(24_500)));
    details.add_bad_request_violation("name", "is fine");
    details.add_precondition_failure_violation("AUTHORIZATION", NAME, "somebody has to consent");
    let status = Status::with_error_details(Code::FailedPrecondition, "the authorization is lost", details);
    let fake = Fake::new::<Token>(move |_| Err(status.clone()));
    let text = fake.clone().run(&["token", "get", NAME]).await;
    let want = "\
error: the authorization is lost
reason: NEEDS_REAUTHORIZATION
field name: is fine
precondition: somebody has to consent
resource: tenants/demo/connections/concur
state_reason: EXPIRED
retry after: 24 s
next: authorize it again: `bursar connection authorize tenants/demo/connections/concur`, see `bursar connection authorize --help` for the ways
";
    assert_eq!((text.exit, text.err.as_str()), (Exit::NeedsReauthorization, want));

    let json = fake.run(&["token", "get", NAME, "--output", "json"]).await;
    let want = serde_json::json!({ "error": {
        "message": "the authorization is lost",
        "code": "FAILED_PRECONDITION",
        "reason": "NEEDS_REAUTHORIZATION",
        "metadata": { "resource": NAME, "state_reason": "EXPIRED" },
        "field_violations": [{ "field": "name", "description": "is fine" }],
        "preconditions": ["somebody has to consent"],
        "retry_after_seconds": 24.5,
        "next_step": format!(
            "authorize it again: `bursar connection authorize {NAME}`, see `bursar connection authorize --help` for the ways"
        ),
    }});
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json.err).unwrap(), want);
    assert_eq!((json.exit, json.out.as_str()), (Exit::NeedsReauthorization, ""));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_with_a_way_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = run_at(&endpoint, &["token", "get", NAME], Given::default()).await;
    assert_eq!(outcome.exit, Exit::Failure);
    for part in [endpoint.as_str(), "Connection refused", "bursar dev", "--endpoint"] {
        assert!(outcome.err.contains(part), "{part}: {}", outcome.err);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_at_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let arguments = ["token", "get", NAME, "--timeout", "1s"];
    let outcome = run_at(&endpoint, &arguments, Given::default()).await;
    assert_eq!(outcome.exit, Exit::Failure);
    assert!(outcome.err.contains("did not answer in time"), "{}", outcome.err);
}

#[tokio::test]
async fn an_endpoint_is_a_plain_url_and_is_not_repeated_when_it_is_not() {
    for bad in [
        "127.0.0.1:7600",
        "https://hunter2@example.com",
        "http://u:hunter2@h",
        "http://:hunter2@h",
        "http://hunter2@h",
        "http://h/path",
        "http://h?q",
        "x",
    ] {
        let outcome = run_at(bad, &["token", "get", NAME], Given::default()).await;
        assert_eq!(outcome.exit, Exit::Usage, "{bad}");
        assert!(!outcome.err.contains("hunter2"));
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_given_up_at_the_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let endless = || async {
        let body = futures_util::stream::pending::<Result<Vec<u8>, io::Error>>();
        ([("content-type", "application/grpc")], axum::body::Body::from_stream(body))
    };
    let server = tonic::transport::Server::builder()
        .add_routes(axum::Router::new().fallback(endless).into())
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    let arguments = ["token", "get", NAME, "--timeout", "1s"];
    let outcome = tokio::select! {
        outcome = Box::pin(run_at(&endpoint, &arguments, Given::default())) => outcome,
        ended = server => panic!("{ended:?}"),
    };
    assert!(outcome.err.contains("did not answer in time"), "{}", outcome.err);
}

#[tokio::test]
async fn an_endpoint_that_is_no_broker_says_what_to_check() {
    let page = |status: u16| {
        move || async move { (http::StatusCode::from_u16(status).unwrap(), "<html>canary</html>") }
    };
    for status in [200, 404, 502] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let server = tonic::transport::Server::builder()
            .add_routes(axum::Router::new().fallback(page(status)).into())
            .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
        let outcome = tokio::select! {
            outcome = Box::pin(run_at(&endpoint, &["token", "get", NAME], Given::default())) => outcome,
            ended = server => panic!("{ended:?}"),
        };
        assert_eq!(outcome.exit, Exit::Failure, "{status}");
        assert!(
            outcome.err.contains("\nnext: ") && outcome.err.contains("--endpoint"),
            "{status}: {}",
            outcome.err
        );
        assert!(!outcome.err.contains("canary"), "{}", outcome.err);
    }
    let other = Fake::new::<Token>(|_| Err(Status::unimplemented("no such service")));
    let outcome = other.run(&["token", "get", NAME]).await;
    assert!(outcome.err.contains("is no Bursar, or an older one"), "{}", outcome.err);
}

#[tokio::test]
async fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = Fake::new(|_| Ok(())).run(&["completions", shell]).await;
        for word in ["authorize", "import", "redirect-uri", "no-qr", "dry-run", "vault-oauthapp"] {
            assert!(outcome.out.contains(word), "{shell}: {word}");
        }
    }
}

#[tokio::test]
async fn a_provider_code_that_no_secret_mends_says_what_does() {
    let metadata = HashMap::from([("provider_code".to_owned(), "60".to_owned())]);
    let details = ErrorDetails::with_error_info("CLIENT_REFUSED", "bursar", metadata);
    let status = Status::with_error_details(Code::FailedPrecondition, "the client is refused", details);
    let outcome = Fake::new::<Token>(move |_| Err(status.clone())).run(&["token", "get", NAME]).await;
    assert!(outcome.err.contains("next: the app's Allowed Grants at SAP Concur"), "{}", outcome.err);
}

#[tokio::test]
async fn messages_name_commands_in_place_of_methods() {
    let refused = refusal(Code::FailedPrecondition, "CONNECTION_DISABLED");
    let details = refused.get_error_details();
    let told = "it is disabled: enable it with EnableConnection";
    let status = Status::with_error_details(Code::FailedPrecondition, told, details);
    let outcome = Fake::new::<Token>(move |_| Err(status.clone())).run(&["token", "get", NAME]).await;
    assert!(outcome.err.contains("enable it with `bursar connection enable`\n"), "{}", outcome.err);
    assert!(!outcome.err.contains("EnableConnection"), "{}", outcome.err);
}

#[tokio::test]
async fn a_deadline_that_the_server_saw_pass_is_a_timeout_too() {
    for status in [Status::cancelled("Timeout expired"), Status::deadline_exceeded("too late")] {
        let fake = Fake::new::<Token>(move |_| Err(status.clone()));
        let outcome = fake.run(&["token", "get", NAME]).await;
        assert!(outcome.err.contains("did not answer in time"), "{}", outcome.err);
    }
    let explained = refusal(Code::DeadlineExceeded, "REFRESH_IN_PROGRESS");
    let outcome = Fake::new::<Token>(move |_| Err(explained.clone())).run(&["token", "get", NAME]).await;
    assert!(outcome.err.contains("reason: REFRESH_IN_PROGRESS"), "{}", outcome.err);
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure_but_a_full_disk_is() {
    struct Broken(io::ErrorKind);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, exit, silent) in
        [(io::ErrorKind::BrokenPipe, Exit::Success, true), (io::ErrorKind::StorageFull, Exit::Failure, false)]
    {
        for arguments in [["completions", "bash"].as_slice(), &["--help"]] {
            let (mut console, _, err) = console(Given::default());
            console.out = Box::new(Broken(kind));
            let line = ["bursar"].iter().chain(arguments).map(OsString::from);
            assert_eq!(super::run(line, &mut console).await, exit);
            assert_eq!(err.text().is_empty(), silent, "{arguments:?}: {}", err.text());
        }
    }
}

/// The command that adds the secret of the tests, with these flags more.
async fn add_secret(flags: &[&str], given: Given) -> (Exit, Option<String>, String) {
    let arguments = [&["client", "secret", "add", "tenants/demo/clients/concur"], flags].concat();
    let outcome = Fake::new(|_| Ok(Client::default())).run_given(&arguments, given).await;
    let sent = outcome.calls.first().map(|call| {
        match call.decode::<AddClientSecretRequest>().client_secret.unwrap().value.unwrap() {
            Value::SharedSecret(secret) => secret,
            other => panic!("{other:?}"),
        }
    });
    (outcome.exit, sent, outcome.out + &outcome.err)
}

#[tokio::test]
async fn a_secret_comes_from_a_file_a_variable_standard_input_or_a_prompt() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"canary-file\r\n").unwrap();
    let path = file.path().to_str().unwrap();
    let given = Given {
        stdin: b"canary-stdin\n\n".to_vec(),
        typed: Some("canary typed "),
        variables: vec![("VAR", "canary-variable")],
        ..Given::default()
    };
    let cases: [(&[&str], &str); 4] = [
        (&["--client-secret-file", path], "canary-file"),
        (&["--client-secret-env", "VAR"], "canary-variable"),
        // Only one line end is not part of it.
        (&["--client-secret-file", "-"], "canary-stdin\n"),
        (&[], "canary typed "),
    ];
    for (flags, want) in cases {
        let (exit, sent, printed) = add_secret(flags, given.clone()).await;
        assert_eq!((exit, sent.as_deref()), (Exit::Success, Some(want)), "{flags:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_usage_and_sends_nothing() {
    let given = |stdin: &[u8]| Given {
        stdin: stdin.to_vec(),
        typed: None,
        variables: vec![("EMPTY", ""), ("VAR", "canary")],
        ..Given::default()
    };
    let long = vec![b'x'; 40_000];
    let cases: [(&[&str], &[u8], &str); 8] = [
        (&[], b"", "--client-secret-file FILE"),
        (&["--client-secret-file", "canary-given-as-path"], b"", "could not be read"),
        (&["--client-secret-env", "canary_given_as_variable"], b"", "not set"),
        (&["--client-secret-env", "EMPTY"], b"", "empty"),
        (&["--client-secret-file", "-"], b"\n", "empty"),
        (&["--client-secret-file", "-"], b"canary\xff", "UTF-8"),
        (&["--client-secret-file", "-"], &long, "longer than"),
        (&["--client-secret-file", "-", "--client-secret-env", "VAR"], b"x", "cannot be used with"),
    ];
    for (flags, stdin, says) in cases {
        let (exit, sent, printed) = add_secret(flags, given(stdin)).await;
        assert_eq!((exit, sent), (Exit::Usage, None), "{flags:?}");
        assert!(printed.contains(says) && !printed.contains("canary"), "{flags:?}: {printed}");
    }
}

#[tokio::test]
async fn a_secret_cannot_be_an_argument() {
    for flags in
        [&["--client-secret", "canary"][..], &["--client-secret=canary"], &["canary"], &["-s", "canary"]]
    {
        let (exit, sent, _) = add_secret(flags, Given { typed: Some("x"), ..Given::default() }).await;
        assert_eq!((exit, sent), (Exit::Usage, None), "{flags:?}");
    }
}

#[tokio::test]
async fn a_connection_is_created_and_authorized_again_with_the_same_grants() {
    let given = Given {
        typed: Some("typed"),
        variables: vec![("VAR", "variable")],
        stdin: b"stdin\n".to_vec(),
        ..Given::default()
    };
    let client = "platform/clients/concur";
    let cases: [(&[&str], &str); 3] = [
        (&["client-credentials", "--data-center", "eu2"], "eu2"),
        (
            &["refresh-token", "--refresh-token-file", "-", "--api-base-url", "https://eu2.example.com"],
            "stdin",
        ),
        (&["company-request-token", "--company-uuid", "u-1", "--request-token-env", "VAR"], "variable"),
    ];
    for (grant, within) in cases {
        let create =
            [&["connection", "create", NAME, "--client", client, "--label", "team=pay"], grant].concat();
        let outcome = Fake::new(|_| Ok(Connection::default())).run_given(&create, given.clone()).await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
        let sent: CreateConnectionRequest = outcome.calls[0].decode();
        assert_eq!((sent.parent.as_str(), sent.connection_id.as_str()), ("tenants/demo", "concur"));
        let created = sent.connection.unwrap();
        assert_eq!((created.client.as_str(), created.labels["team"].as_str()), (client, "pay"));

        let authorize = [&["connection", "authorize", NAME], grant].concat();
        let outcome = Fake::new(|_| Ok(Connection::default())).run_given(&authorize, given.clone()).await;
        let again: CompleteAuthorizationRequest = outcome.calls[0].decode();
        assert_eq!(again.completion, sent.grant.clone().map(Completion::Grant));

        let found = match sent.grant.unwrap().kind.unwrap() {
            GrantKind::ClientCredentials(grant) => format!("{:?}", grant.location.unwrap()),
            GrantKind::RefreshToken(grant) => grant.refresh_token,
            GrantKind::CompanyRequestToken(grant) => grant.request_token,
            other => panic!("{other:?}"),
        };
        assert!(found.contains(within), "{within}");
    }
}

#[tokio::test]
async fn an_update_names_exactly_what_it_changes() {
    let paths = |mask: Option<prost_types::FieldMask>| {
        let mut paths = mask.unwrap().paths;
        paths.sort();
        paths
    };
    let tenant = ["tenant", "update", "tenants/demo", "--display-name", "", "--remove-label", "old"];
    let outcome = Fake::new(|_| Ok(Tenant::default())).run(&tenant).await;
    assert_eq!(
        paths(outcome.calls[0].decode::<UpdateTenantRequest>().update_mask),
        ["display_name", "labels.old"]
    );

    let client =
        ["client", "update", "platform/clients/c", "--any-scope", "--allowed-grant", "refresh-token"];
    let outcome = Fake::new(|_| Ok(Client::default())).run(&client).await;
    let sent: UpdateClientRequest = outcome.calls[0].decode();
    assert_eq!(paths(sent.update_mask), ["allowed_grants", "allowed_scopes"]);
    assert_eq!(sent.client.unwrap().allowed_grants, [i32::from(GrantType::RefreshToken)]);

    let arguments =
        ["connection", "update", NAME, "--label", "a=b", "--scope-narrowing", "serve-whole", "--etag", "e"];
    let outcome = Fake::new(|_| Ok(Connection::default())).run(&arguments).await;
    let sent: UpdateConnectionRequest = outcome.calls[0].decode();
    assert_eq!(paths(sent.update_mask), ["labels.a", "scope_narrowing"]);
    assert_eq!(sent.connection.unwrap().etag, "e");

    for nothing in [["tenant", "update", "tenants/a"], ["connection", "update", NAME]] {
        let outcome = Fake::new(|_| Ok(())).run(&nothing).await;
        assert_eq!((outcome.exit, outcome.calls.len()), (Exit::Usage, 0), "{nothing:?}");
    }
}

#[tokio::test]
async fn every_command_calls_its_method() {
    let client = "tenants/demo/clients/concur";
    let register = [
        ["client", "create", client, "--provider", "providers/sap-concur", "--client-id", "id"].as_slice(),
        &["--environment", "sandbox", "--allowed-grant", "refresh-token", "--auth-method", "none"],
    ]
    .concat();
    let cases: [(&[&str], &str); 18] = [
        (&["tenant", "create", "tenants/demo"], "create_tenant"),
        (&["tenant", "show", "tenants/demo"], "get_tenant"),
        (&["tenant", "delete", "tenants/demo", "--force"], "delete_tenant"),
        (&["tenant", "undelete", "tenants/demo"], "undelete_tenant"),
        (&register, "create_client"),
        (&["client", "list", "platform"], "list_clients"),
        (&["client", "show", client], "get_client"),
        (&["client", "delete", client], "delete_client"),
        (&["client", "secret", "retire", client, "s1"], "retire_client_secret"),
        (&["connection", "show", NAME], "get_connection"),
        (&["connection", "delete", NAME, "--skip-revocation"], "delete_connection"),
        (&["connection", "refresh", NAME], "refresh_connection"),
        (&["connection", "disable", NAME], "disable_connection"),
        (&["connection", "enable", NAME], "enable_connection"),
        (&["connection", "revoke", NAME], "revoke_connection"),
        (&["provider", "list"], "list_providers"),
        (&["provider", "show", "providers/sap-concur"], "get_provider"),
        (&["tenant", "list", "--show-deleted"], "list_tenants"),
    ];
    for (arguments, method) in cases {
        let outcome = Fake::new(|_| Ok(())).run(arguments).await;
        let called: Vec<_> = outcome.calls.iter().map(|call| call.method).collect();
        assert_eq!(
            (outcome.exit, called.as_slice()),
            (Exit::Success, [method].as_slice()),
            "{}",
            outcome.err
        );
    }
}

#[tokio::test]
async fn what_is_deleted_leaves_an_empty_message() {
    for (format, want) in
        [("json", "{}\n"), ("yaml", "{}\n"), ("table", "tenants/demo/connections/concur deleted\n")]
    {
        let outcome = Fake::new(|_| Ok(())).run(&["connection", "delete", NAME, "--output", format]).await;
        assert_eq!(outcome.out, want);
    }
}
