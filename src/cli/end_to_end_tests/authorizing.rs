//! Leading a person through an authorization: what they see, what is waited for, and how it ends.

use super::{
    NAME,
    fake::{Call, Fake, Given, NOW, Outcome},
    later, refusal,
};
use crate::{
    api::{
        Authorization, AuthorizationCodePrompt, CompleteAuthorizationRequest, Connection,
        CreateConnectionRequest, DeviceCodePrompt, ErrorReason, OtpPrompt, StartAuthorizationRequest,
        StartAuthorizationResponse, authorization, complete_authorization_request::Completion, connection,
        grant::Kind, start_authorization_request::Method, start_authorization_response::NextStep,
    },
    cli::Exit,
};
use parking_lot::Mutex;
use prost::Message;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tonic::{Code, Status};

const URL: &str = "https://login.example.com/authorize?state=s-1";

fn begun(stage: authorization::State) -> Connection {
    Connection {
        name: NAME.into(),
        state: connection::State::Active.into(),
        scopes: vec!["openid".into()],
        requested_scopes: vec!["openid".into(), "user.read".into()],
        authorization: Some(Authorization {
            state: stage.into(),
            start_time: Some(NOW),
            reason: ErrorReason::PrincipalMismatch.into(),
            ..Authorization::default()
        }),
        ..Connection::default()
    }
}

fn started(next_step: NextStep) -> StartAuthorizationResponse {
    StartAuthorizationResponse { expire_time: Some(later(600)), next_step: Some(next_step) }
}

fn browser() -> NextStep {
    NextStep::AuthorizationCode(AuthorizationCodePrompt {
        authorization_url: URL.into(),
        redirect_uri: "https://broker.example.com/callback".into(),
    })
}

/// A server that starts with `next`, then is looked at: under way at the first two looks, then as the stage says.
fn person(next: NextStep, ends: authorization::State) -> Fake {
    let looks = AtomicU32::new(0);
    Fake::encoded(move |call: &Call| match call.method {
        "start_authorization" => Ok(started(next.clone()).encode_to_vec()),
        "get_connection" => {
            let stage = match looks.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => authorization::State::UnderWay,
                _ => ends,
            };
            Ok(begun(stage).encode_to_vec())
        }
        _ => Ok(begun(ends).encode_to_vec()),
    })
}

fn methods(outcome: &Outcome) -> Vec<&'static str> {
    outcome.calls.iter().map(|call| call.method).collect()
}

#[tokio::test]
async fn a_browser_is_opened_and_the_person_waited_for() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let given = Given { browser: Some(opened.clone()), ..Given::default() };
    let outcome = person(browser(), authorization::State::Granted)
        .run_given(&["connection", "authorize", NAME, "--login-hint", "ann"], given)
        .await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    assert_eq!(*opened.lock(), [URL]);
    assert!(outcome.err.contains(URL) && outcome.err.contains("within 10 min"), "{}", outcome.err);
    assert!(outcome.out.starts_with(&format!("{NAME} is authorized\n")), "{}", outcome.out);
    assert!(outcome.out.contains("openid (asked for and not granted: user.read)"), "{}", outcome.out);
    let sent: StartAuthorizationRequest = outcome.calls[0].decode();
    let Some(Method::AuthorizationCode(start)) = sent.method else { panic!("{sent:?}") };
    assert_eq!(start.login_hint, "ann");
    assert_eq!(methods(&outcome)[1..], ["get_connection"; 3]);
}

#[tokio::test]
async fn without_a_browser_the_url_is_shown() {
    for arguments in
        [&["connection", "authorize", NAME][..], &["connection", "authorize", NAME, "--no-browser"]]
    {
        let opened = Arc::new(Mutex::new(Vec::new()));
        let browser_there = arguments.len() == 4;
        let given = Given { browser: browser_there.then(|| opened.clone()), ..Given::default() };
        let outcome = person(browser(), authorization::State::Granted).run_given(arguments, given).await;
        assert!(outcome.err.contains(&format!("Open this URL in a browser and consent there:\n\n  {URL}\n")));
        assert!(opened.lock().is_empty());
    }
}

#[tokio::test]
async fn every_ending_has_its_exit_code_and_a_next_step() {
    use authorization::State;
    let cases = [
        (State::Denied, 3, "AUTHORIZATION_DENIED", "said no"),
        (State::Expired, 3, "AUTHORIZATION_EXPIRED", "begin anew with `bursar connection authorize tenants/"),
        (State::Failed, 1, "PRINCIPAL_MISMATCH", "nothing came of it"),
    ];
    for (stage, code, reason, says) in cases {
        let outcome = person(browser(), stage).run(&["connection", "authorize", NAME]).await;
        assert_eq!((outcome.exit.code(), outcome.out.as_str()), (code, ""), "{stage:?}");
        for part in [format!("reason: {reason}"), says.to_owned(), "\nnext: ".to_owned()] {
            assert!(outcome.err.contains(&part), "{part}: {}", outcome.err);
        }
    }
}

#[tokio::test]
async fn json_is_the_start_beside_the_answer_and_the_connection_as_the_answer() {
    let arguments = ["connection", "authorize", NAME, "--output", "json"];
    let outcome = person(browser(), authorization::State::Granted).run(&arguments).await;
    let connection: serde_json::Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!(connection["authorization"]["state"], "STATE_GRANTED");
    let begins = outcome.err.find('{').unwrap();
    let mut beside =
        serde_json::Deserializer::from_str(&outcome.err[begins..]).into_iter::<serde_json::Value>();
    assert_eq!(beside.next().unwrap().unwrap()["authorization_code"]["authorization_url"], URL);
    let denied = person(browser(), authorization::State::Denied).run(&arguments).await;
    let error = &denied.err[denied.err.rfind("{\n  \"error\"").unwrap()..];
    let error: serde_json::Value = serde_json::from_str(error).unwrap();
    assert_eq!(error["error"]["reason"], "AUTHORIZATION_DENIED");
    assert_eq!(error["error"]["metadata"]["resource"], NAME);
}

#[tokio::test]
async fn a_device_is_shown_url_code_and_picture() {
    let prompt = DeviceCodePrompt {
        verification_uri: "https://example.com/device".into(),
        verification_uri_complete: "https://example.com/device?user_code=WDJB-MJHT".into(),
        user_code: "WDJB\u{1b}-MJHT".into(),
    };
    let device = || person(NextStep::DeviceCode(prompt.clone()), authorization::State::Granted);
    let given = Given { variables: vec![("LANG", "C.UTF-8")], ..Given::default() };
    let outcome = device().run_given(&["connection", "authorize", NAME, "--device"], given).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    for part in [
        "  https://example.com/device\n",
        "code: WDJB\u{fffd}-MJHT",
        "user_code=WDJB-MJHT",
        "\u{2588}\u{2588}",
    ] {
        assert!(outcome.err.contains(part), "{part}: {}", outcome.err);
    }
    let plain = device().run(&["connection", "authorize", NAME, "--device", "--no-qr"]).await;
    assert!(!plain.err.contains("\u{2588}") && !plain.err.contains("####"), "{}", plain.err);
}

#[tokio::test]
async fn what_is_no_web_address_is_neither_opened_nor_shown() {
    for bad in ["file:///etc/passwd", "javascript:alert(1)", ""] {
        let opened = Arc::new(Mutex::new(Vec::new()));
        let given = Given { browser: Some(opened.clone()), ..Given::default() };
        let prompt = AuthorizationCodePrompt { authorization_url: bad.into(), ..Default::default() };
        let fake = person(NextStep::AuthorizationCode(prompt), authorization::State::Granted);
        let outcome = fake.run_given(&["connection", "authorize", NAME], given).await;
        assert_eq!((outcome.exit, opened.lock().len()), (Exit::Failure, 0));
        assert!(outcome.err.contains("not a web address"), "{}", outcome.err);
    }
}

#[tokio::test]
async fn a_one_time_password_is_sent_asked_for_and_brought_back() {
    let fake = || {
        let prompt = OtpPrompt { sent_to: "a***@example.com".into() };
        person(NextStep::Otp(prompt), authorization::State::Granted)
    };
    let arguments = [
        "connection",
        "authorize",
        NAME,
        "--otp",
        "--email",
        "ann@example.com",
        "--mail-parameter",
        "company=Acme",
    ];
    let typed = Given { typed: Some(" 123456 "), ..Given::default() };
    let piped = Given { stdin: b"123456\n".to_vec(), ..Given::default() };
    for given in [typed, piped] {
        let outcome = fake().run_given(&arguments, given).await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
        assert!(outcome.err.contains("sent to a***@example.com"), "{}", outcome.err);
        assert!(!outcome.err.contains("123456") && !outcome.out.contains("123456"));
        let sent: StartAuthorizationRequest = outcome.calls[0].decode();
        let Some(Method::Otp(start)) = sent.method else { panic!("{sent:?}") };
        assert_eq!((start.email.as_str(), start.parameters["company"].as_str()), ("ann@example.com", "Acme"));
        let completed: CompleteAuthorizationRequest = outcome.calls.last().unwrap().decode();
        let Some(Completion::Otp(result)) = completed.completion else { panic!() };
        assert_eq!(result.otp, "123456");
    }
}

#[tokio::test]
async fn a_front_end_brings_the_query_of_its_redirect() {
    let given =
        Given { stdin: b"https://app.example.com/back?code=c&state=s#x\n".to_vec(), ..Given::default() };
    let arguments = ["connection", "authorize", NAME, "--redirect-uri", "https://app.example.com/back"];
    let outcome = person(browser(), authorization::State::Granted).run_given(&arguments, given).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
    let completed: CompleteAuthorizationRequest = outcome.calls.last().unwrap().decode();
    let Some(Completion::AuthorizationCode(result)) = completed.completion else { panic!() };
    assert_eq!(result.redirect_query, "code=c&state=s");
    assert!(outcome.err.contains(URL));
}

#[tokio::test]
async fn somebody_else_may_take_over_only_when_that_is_said() {
    for (flags, allowed) in [(&[][..], false), (&["--allow-other-principal"][..], true)] {
        let arguments = [&["connection", "authorize", NAME, "--no-browser"], flags].concat();
        let outcome = person(browser(), authorization::State::Granted).run(&arguments).await;
        let sent: StartAuthorizationRequest = outcome.calls[0].decode();
        assert_eq!((outcome.exit, sent.allow_principal_change), (Exit::Success, allowed), "{}", outcome.err);
    }
}

#[tokio::test]
async fn a_new_connection_is_created_pending_for_the_way_that_follows() {
    let create =
        ["--create", "--client", "tenants/demo/clients/own", "--scope", "openid", "--label", "team=pay"];
    let otp = ["--otp", "--email", "a@b", "--otp-password-env", "OTP"];
    let cases: [(&[&str], NextStep); 3] = [
        (&[], browser()),
        (
            &["--device"],
            NextStep::DeviceCode(DeviceCodePrompt { verification_uri: URL.into(), ..Default::default() }),
        ),
        (&otp, NextStep::Otp(OtpPrompt::default())),
    ];
    for (flags, next) in cases {
        let arguments = [&["connection", "authorize", NAME], &create[..], flags].concat();
        let given = Given { variables: vec![("OTP", "1")], ..Given::default() };
        let outcome = person(next, authorization::State::Granted).run_given(&arguments, given).await;
        assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
        assert_eq!(methods(&outcome)[..2], ["create_connection", "start_authorization"]);
        let sent: CreateConnectionRequest = outcome.calls[0].decode();
        let started: StartAuthorizationRequest = outcome.calls[1].decode();
        let same = matches!(
            (sent.grant.unwrap().kind.unwrap(), started.method.unwrap()),
            (Kind::AuthorizationCode(_), Method::AuthorizationCode(_))
                | (Kind::DeviceCode(_), Method::DeviceCode(_))
                | (Kind::Otp(_), Method::Otp(_))
        );
        assert!(same, "{flags:?}");
        let connection = sent.connection.unwrap();
        assert_eq!(
            (connection.requested_scopes, connection.labels["team"].as_str()),
            (vec!["openid".into()], "pay")
        );
    }
}

#[tokio::test]
async fn flags_that_do_not_belong_together_are_usage() {
    let cases: [&[&str]; 11] = [
        &["--create"],
        &["--client", "tenants/demo/clients/own"],
        &["--scope", "openid"],
        &["--device", "--otp", "--email", "a@b"],
        &["--device", "--no-browser"],
        &["--otp"],
        &["--no-qr"],
        &["--return-uri", "https://a", "--redirect-uri", "https://b"],
        &["--no-browser", "client-credentials"],
        &["--allow-other-principal", "client-credentials"],
        &["--allow-other-principal", "--create", "--client", "tenants/demo/clients/own"],
    ];
    for flags in cases {
        let arguments = [&["connection", "authorize", NAME], flags].concat();
        let outcome = person(browser(), authorization::State::Granted).run(&arguments).await;
        assert_eq!((outcome.exit, outcome.calls.len()), (Exit::Usage, 0), "{flags:?}: {}", outcome.err);
    }
}

#[tokio::test]
async fn a_server_that_is_away_for_a_moment_is_waited_for() {
    let looks = AtomicU32::new(0);
    let fake = Fake::encoded(move |call: &Call| match call.method {
        "start_authorization" => Ok(started(browser()).encode_to_vec()),
        _ => match looks.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(begun(authorization::State::UnderWay).encode_to_vec()),
            1 => Err(refusal(Code::Unavailable, "STORE_UNAVAILABLE")),
            _ => Ok(begun(authorization::State::Granted).encode_to_vec()),
        },
    });
    let outcome = fake.run(&["connection", "authorize", NAME]).await;
    assert_eq!(outcome.exit, Exit::Success, "{}", outcome.err);
}

#[tokio::test]
async fn a_connection_that_goes_while_it_is_waited_for_ends_the_waiting() {
    let looks = AtomicU32::new(0);
    let fake = Fake::encoded(move |call: &Call| match call.method {
        "start_authorization" => Ok(started(browser()).encode_to_vec()),
        _ if looks.fetch_add(1, Ordering::Relaxed) == 0 => {
            Ok(begun(authorization::State::UnderWay).encode_to_vec())
        }
        _ => Err::<Vec<u8>, Status>(refusal(Code::NotFound, "CONNECTION_NOT_FOUND")),
    });
    let outcome = fake.run(&["connection", "authorize", NAME]).await;
    assert_eq!(outcome.exit, Exit::Failure);
    assert!(outcome.err.contains("CONNECTION_NOT_FOUND"), "{}", outcome.err);
}
