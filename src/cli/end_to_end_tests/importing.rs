//! Importing: the file is checked whole, what is there is passed over, and what became of each is told.

use super::{
    fake::{Call, Fake, Given, Outcome},
    refusal,
};
use crate::{
    api::{
        Client, Connection, CreateConnectionRequest, GrantType, ListConnectionsResponse, connection::State,
        grant::Kind,
    },
    cli::Exit,
};
use prost::Message;
use std::{
    collections::HashMap,
    io::Write as _,
    sync::atomic::{AtomicU32, Ordering},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

const CLIENT: &str = "tenants/demo/clients/own";
const CSV: &str = "connection,client,refresh_token,labels\n\
                   one,tenants/demo/clients/own,canary-1,team=pay\n\
                   two,tenants/demo/clients/own,canary-2,\n\
                   three,tenants/demo/clients/own,canary-3,\n";

fn connection(id: &str, state: State) -> Connection {
    Connection {
        name: format!("tenants/demo/connections/{id}"),
        client: CLIENT.into(),
        state: state.into(),
        ..Connection::default()
    }
}

/// A server with a client that allows imports and these connections; what creating an id brings is the caller's.
fn server(
    there: Vec<Connection>,
    create: impl Fn(&str) -> Result<Connection, Status> + Send + Sync + 'static,
) -> Fake {
    Fake::encoded(move |call: &Call| match call.method {
        "get_client" => {
            let grants = vec![GrantType::RefreshToken.into()];
            Ok(Client { name: CLIENT.into(), allowed_grants: grants, ..Client::default() }.encode_to_vec())
        }
        "list_connections" => {
            let connections = there.clone();
            Ok(ListConnectionsResponse { connections, ..Default::default() }.encode_to_vec())
        }
        "get_connection" => Err(refusal(Code::NotFound, "CONNECTION_NOT_FOUND")),
        _ => {
            let request: CreateConnectionRequest = call.decode();
            create(&request.connection_id).map(|made| made.encode_to_vec())
        }
    })
}

fn active(id: &str) -> Connection {
    connection(id, State::Active)
}

async fn import(fake: Fake, text: &str, flags: &[&str]) -> Outcome {
    let all = ["connection", "import", "-", "--tenant", "tenants/demo", "--rate", "1000/s"];
    let given = Given { stdin: text.as_bytes().to_vec(), ..Given::default() };
    let outcome = fake.run_given(&[&all, flags].concat(), given).await;
    for printed in [&outcome.out, &outcome.err] {
        assert!(!printed.contains("canary"), "{printed}");
    }
    outcome
}

fn created(outcome: &Outcome) -> Vec<CreateConnectionRequest> {
    let calls = outcome.calls.iter().filter(|call| call.method == "create_connection");
    let mut sent: Vec<CreateConnectionRequest> = calls.map(Call::decode).collect();
    sent.sort_by(|a, b| a.connection_id.cmp(&b.connection_id));
    sent
}

#[tokio::test]
async fn every_line_becomes_a_connection_with_its_token() {
    let outcome = import(server(Vec::new(), |id| Ok(active(id))), CSV, &["--label", "source=old"]).await;
    assert_eq!(
        (outcome.exit, outcome.out.as_str()),
        (Exit::Success, "3 imported, 0 there already, 0 pending, 0 failed\n")
    );
    let sent = created(&outcome);
    assert_eq!(sent.len(), 3);
    let first = &sent[0];
    assert_eq!((first.parent.as_str(), first.connection_id.as_str()), ("tenants/demo", "one"));
    let Some(Kind::RefreshToken(grant)) = first.grant.clone().unwrap().kind else { panic!() };
    assert_eq!(grant.refresh_token, "canary-1");
    let labels = &first.connection.as_ref().unwrap().labels;
    assert_eq!((labels["team"].as_str(), labels["source"].as_str()), ("pay", "old"));
}

#[tokio::test]
async fn a_file_with_a_mistake_sends_nothing() {
    let text = format!("{CSV}four,wrong,canary-4,\nfive,{CLIENT},,\nsix,{CLIENT},canary-1,\n");
    for flags in [&[][..], &["--dry-run"]] {
        let outcome = import(server(Vec::new(), |id| Ok(active(id))), &text, flags).await;
        assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Usage, 0));
        for says in [
            "3 mistakes",
            "line 5: client is not a name",
            "line 6: refresh_token is missing",
            "line 7: refresh_token is the same as at line 2",
        ] {
            assert!(outcome.err.contains(says), "{says}: {}", outcome.err);
        }
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_used_is_told_before_anything_is_sent() {
    let other = Client { allowed_grants: vec![GrantType::ClientCredentials.into()], ..Client::default() };
    let cases: [(Result<Client, Status>, &str); 2] = [
        (Ok(other), "does not allow the grant"),
        (Err(refusal(Code::NotFound, "CLIENT_NOT_FOUND")), "does not exist"),
    ];
    for (client, says) in cases {
        let fake = Fake::encoded(move |call: &Call| match call.method {
            "get_client" => client.clone().map(|client| client.encode_to_vec()),
            _ => Ok(Vec::new()),
        });
        let outcome = import(fake, CSV, &[]).await;
        assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Usage, 0));
        assert_eq!(outcome.err.matches(says).count(), 1, "once for three entries: {}", outcome.err);
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let there = vec![connection("two", State::Active)];
    let outcome = import(server(there, |id| Ok(active(id))), CSV, &["--dry-run", "--output", "json"]).await;
    assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Success, 0));
    let told: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&told["to_import"], &told["there_already"]), (&2.into(), &1.into()));
}

#[tokio::test]
async fn a_second_run_goes_on_where_the_first_stopped() {
    let mut strange = connection("three", State::Active);
    strange.client = "tenants/demo/clients/other".into();
    let there = vec![connection("one", State::Active), connection("two", State::Pending), strange];
    let outcome = import(server(there, |id| Ok(active(id))), CSV, &[]).await;
    assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Failure, 0));
    assert!(outcome.out.starts_with("0 imported, 1 there already, 1 pending, 1 failed\n"), "{}", outcome.out);
    assert!(outcome.out.contains("exists with another client"), "{}", outcome.out);
}

#[tokio::test]
async fn what_failed_is_listed_and_written_without_tokens() {
    let fake = server(Vec::new(), |id| match id {
        "one" => Ok(active(id)),
        "two" => Ok(connection(id, State::Pending)),
        _ => Err(refusal(Code::FailedPrecondition, "GRANT_REFUSED")),
    });
    let folder = tempfile::tempdir().unwrap();
    let failures = folder.path().join("failures.csv");
    let outcome = import(fake, CSV, &["--failures", failures.to_str().unwrap()]).await;
    assert_eq!(outcome.exit, Exit::Failure);
    assert!(outcome.out.starts_with("1 imported, 0 there already, 1 pending, 1 failed\n"), "{}", outcome.out);
    for part in [
        "line 4",
        "tenants/demo/connections/three",
        "GRANT_REFUSED",
        "line 3",
        "PENDING",
        "do not use the token elsewhere",
    ] {
        assert!(outcome.out.contains(part), "{part}: {}", outcome.out);
    }
    assert!(outcome.err.contains("2 of 3 connections are not active"), "{}", outcome.err);
    let written = std::fs::read_to_string(failures).unwrap();
    assert!(!written.contains("canary"));
    assert_eq!(written.lines().count(), 3, "{written}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing half-written is left");
}

#[tokio::test]
async fn where_failures_cannot_be_written_no_token_is_spent() {
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("missing/failures.csv");
    let outcome =
        import(server(Vec::new(), |id| Ok(active(id))), CSV, &["--failures", nowhere.to_str().unwrap()])
            .await;
    assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Failure, 0));
    assert!(outcome.err.contains("missing/failures.csv could not be written"), "{}", outcome.err);
}

#[tokio::test]
async fn what_certainly_was_not_sent_is_tried_again_and_what_may_have_been_is_looked_at() {
    let tries = AtomicU32::new(0);
    let mut details = ErrorDetails::with_error_info("PROVIDER_THROTTLED", "bursar", HashMap::new());
    details.set_retry_info(Some(std::time::Duration::from_millis(20)));
    let throttled = Status::with_error_details(Code::Unavailable, "slow down", details);
    let fake = server(Vec::new(), move |id| match (id, tries.fetch_add(1, Ordering::Relaxed)) {
        (_, 0 | 1) => Err(throttled.clone()),
        _ => Ok(active(id)),
    });
    let outcome =
        import(fake, "connection,client,refresh_token\none,tenants/demo/clients/own,canary\n", &[]).await;
    assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Success, 3), "{}", outcome.out);

    // The answer is lost: asked once what became of it, and the token is not sent again.
    let text = "connection,client,refresh_token\none,tenants/demo/clients/own,canary\n";
    for (state, says) in [(State::Active, "0 imported, 1 there already"), (State::Pending, "1 pending")] {
        let fake = Fake::encoded(move |call: &Call| match call.method {
            "get_client" => Ok(Client::default().encode_to_vec()),
            "get_connection" => Ok(connection("one", state).encode_to_vec()),
            "create_connection" => Err(refusal(Code::Unavailable, "STORE_UNAVAILABLE")),
            _ => Ok(Vec::new()),
        });
        let outcome = import(fake, text, &[]).await;
        assert_eq!(created(&outcome).len(), 1);
        assert!(outcome.out.contains(says), "{}", outcome.out);
    }
}

#[tokio::test]
async fn nothing_is_imported_from_what_is_no_import() {
    for (text, says) in [
        ("", "missing"),
        ("canary,canary\ncanary,canary\n", "headings"),
        ("[1]", "not an object"),
        ("{\"canary\": 1}", "a field that is none"),
    ] {
        let outcome = import(server(Vec::new(), |id| Ok(active(id))), text, &[]).await;
        assert_eq!((outcome.exit, created(&outcome).len()), (Exit::Usage, 0), "{text}");
        assert!(outcome.err.contains(says), "{}", outcome.err);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_others_may_read_is_noted() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(CSV.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = ["connection", "import", &path, "--tenant", "tenants/demo", "--dry-run"];
    for (mode, noted) in [(0o600, false), (0o644, true), (0o640, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let outcome = server(Vec::new(), |id| Ok(active(id))).run(&arguments).await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
        assert_eq!(outcome.err.contains("chmod 600"), noted, "{mode:o}: {}", outcome.err);
    }
}

#[tokio::test]
async fn presets_read_files_of_other_systems() {
    let nango = r#"[{"connection_id": "Customer_7", "provider_config_key": "own", "credentials": {"type": "OAUTH2", "refresh_token": "canary"}},
        {"connection_id": "k", "provider_config_key": "stripe", "credentials": {"type": "API_KEY"}}]"#;
    let flags = ["--preset", "nango", "--client-for", "own=tenants/demo/clients/own"];
    let outcome = import(server(Vec::new(), |id| Ok(active(id))), nango, &flags).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(created(&outcome)[0].connection_id, "own-customer-7");
    assert!(outcome.err.contains("1 left out, the first at entry 2"), "{}", outcome.err);

    let vault = r#"{"creds/my-user": {"refresh_token": "canary", "auth_server_name": "own"}}"#;
    let flags = ["--preset", "vault-oauthapp", "--client", CLIENT];
    let outcome = import(server(Vec::new(), |id| Ok(active(id))), vault, &flags).await;
    assert_eq!(created(&outcome)[0].connection_id, "my-user", "{}", outcome.err);
}
