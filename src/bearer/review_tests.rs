//! What an API server may say of a token, and how often it is asked; its answers as the Kubernetes API documents them.

use super::*;
use crate::{
    access::{AuditClass, Peer, Unauthenticated},
    bearer::scene::{AUDIENCE, SUBJECT, Scene, Signer, claims, issuer, set, with},
};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::time::sleep;

const REMEMBER: Duration = Duration::from_secs(5);
const TIME: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Script {
    says: Mutex<Option<Said>>,
    takes: Mutex<Duration>,
    asked: AtomicUsize,
}

struct Asked(Arc<Script>);

#[async_trait]
impl Cluster for Asked {
    async fn review(&self, _: &str, audiences: &BTreeSet<String>) -> Result<Said, NotSaid> {
        assert!(audiences.contains(AUDIENCE));
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let takes = *self.0.takes.lock();
        sleep(takes).await;
        self.0.says.lock().clone().ok_or_else(|| NotSaid("it answered 500".to_owned()))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a script says, or nothing")]
fn accepted(username: &str, audiences: &[&str]) -> Option<Said> {
    let audiences = audiences.iter().map(|&one| one.to_owned()).collect();
    Some(Said::Accepted { username: username.to_owned(), audiences })
}

async fn rig(ec: &Signer) -> (Scene, Arc<Script>) {
    let script = Arc::new(Script::default());
    let issuers = ["cluster".parse().unwrap()].into();
    let reviews = Reviews::new(Arc::new(Asked(script.clone())), issuers, TIME, REMEMBER);
    let scene = Scene::unprepared(Some(reviews));
    scene.published.say(&[ec]);
    let other = Issuer { name: "other".parse().unwrap(), issuer: "https://other.test".into(), ..issuer() };
    scene.bearers.replace(vec![issuer(), other]).await.unwrap();
    (scene, script)
}

async fn change(scene: &Scene, token: &str) -> Option<Unauthenticated> {
    scene.call_over(&Peer::Tls(None), token, AuditClass::Change).await.err()
}

#[expect(clippy::unnecessary_wraps, reason = "compared with what became of a call")]
fn refused(refusal: Refusal) -> Option<Unauthenticated> {
    Some(Unauthenticated::Refused { word: refusal.word(), mend: refusal.to_string() })
}

#[tokio::test(start_paused = true)]
async fn only_what_changes_something_is_reviewed_and_only_tokens_of_that_cluster() {
    let ec = Signer::p256("e");
    let (scene, script) = rig(&ec).await;
    let token = ec.token(&claims());
    *script.says.lock() = Some(Said::NotAccepted);
    for class in [AuditClass::Release, AuditClass::Read] {
        scene.call_over(&Peer::Tls(None), &token, class).await.unwrap();
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
    assert_eq!(change(&scene, &ec.token(&with("iss", json!("https://other.test")))).await, None);
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
    // The pod is gone: from now on it changes nothing, though its signature is good for an hour.
    for count in 1..4 {
        assert_eq!(change(&scene, &token).await, refused(Refusal::Revoked));
        assert_eq!(script.asked.load(Ordering::SeqCst), count);
    }
    scene.call_over(&Peer::Tls(None), &token, AuditClass::Release).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_not_asked_about_for_a_moment() {
    let ec = Signer::p256("e");
    let (scene, script) = rig(&ec).await;
    let token = ec.token(&claims());
    *script.says.lock() = accepted(SUBJECT, &[AUDIENCE]);
    for _ in 0..100 {
        assert_eq!(change(&scene, &token).await, None);
    }
    assert_eq!(script.asked.load(Ordering::SeqCst), 1);
    *script.says.lock() = Some(Said::NotAccepted);
    sleep(REMEMBER).await;
    assert_eq!(change(&scene, &token).await, refused(Refusal::Revoked));
    assert_eq!(script.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_says_something_else_than_the_token_is_not_believed() {
    let ec = Signer::p256("e");
    let (scene, script) = rig(&ec).await;
    let token = ec.token(&claims());
    for (says, want) in [
        (accepted("system:serviceaccount:shop:other", &[AUDIENCE]), Refusal::Subject),
        (accepted("", &[AUDIENCE]), Refusal::Subject),
        // It does not look at audiences.
        (accepted(SUBJECT, &[]), Refusal::Audience),
        (accepted(SUBJECT, &["https://kubernetes.default.svc"]), Refusal::Audience),
    ] {
        *script.says.lock() = says;
        assert_eq!(change(&scene, &token).await, refused(want));
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_cannot_be_asked_nothing_is_changed_and_the_rest_goes_on() {
    let ec = Signer::p256("e");
    let (scene, script) = rig(&ec).await;
    let token = ec.token(&claims());
    let away = async |scene: &Scene| match change(scene, &token).await {
        Some(Unauthenticated::Unavailable { word: "review_away", mend, .. }) => {
            assert!(mend.contains("TokenReview"));
        }
        other => panic!("{other:?}"),
    };
    away(&scene).await;
    scene.call_over(&Peer::Tls(None), &token, AuditClass::Release).await.unwrap();
    scene.call_over(&Peer::Tls(None), &token, AuditClass::Read).await.unwrap();
    // Slow is away too, for all at once and no longer than one.
    *script.says.lock() = accepted(SUBJECT, &[AUDIENCE]);
    *script.takes.lock() = TIME * 2;
    let begun = Instant::now();
    futures_util::future::join_all((0..100).map(|_| away(&scene))).await;
    assert_eq!(begun.elapsed(), TIME);
    *script.takes.lock() = Duration::ZERO;
    assert_eq!(change(&scene, &token).await, None);
}

#[test]
fn the_question_is_a_token_review() {
    let asked: serde_json::Value =
        serde_json::from_slice(&question("a.b-_.c", &set(&["one", "t\"wo"]))).unwrap();
    let want = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": { "token": "a.b-_.c", "audiences": ["one", "t\"wo"] },
    });
    assert_eq!(asked, want);
}

#[test]
fn answers_are_read_as_the_api_documents_them() {
    let read = |status: u16, body: &str| {
        answer(&Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec().into() })
    };
    let good = json!({
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "creationTimestamp": null },
        "spec": { "token": "t", "audiences": [AUDIENCE] },
        "status": {
            "authenticated": true,
            "user": {
                "username": SUBJECT,
                "uid": "8b4f",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "extra": { "authentication.kubernetes.io/pod-name": ["web-0"] },
            },
            "audiences": [AUDIENCE],
        },
    });
    for status in [200, 201, 202] {
        assert_eq!(read(status, &good.to_string()).ok(), accepted(SUBJECT, &[AUDIENCE]));
    }
    let gone = r#"{"kind":"TokenReview","status":{"user":{},"error":"[invalid bearer token, service account token has been invalidated]"}}"#;
    for body in [gone, r#"{"status":{"authenticated":false}}"#, r#"{"status":{}}"#] {
        assert_eq!(read(201, body), Ok(Said::NotAccepted));
    }
    for (status, body, want) in [
        (201, "", "no TokenReview"),
        (201, "{}", "no TokenReview"),
        (201, r#"{"status":{"authenticated":"true"}}"#, "no TokenReview"),
        (201, r#"{"status":{"authenticated":true,"authenticated":false}}"#, "no TokenReview"),
        (401, "", "mount a fresh one"),
        (403, "", "system:auth-delegator"),
        (404, "", "API server alone"),
        (500, &good.to_string(), "answered 500"),
        (302, "", "answered 302"),
    ] {
        let told = read(status, body).unwrap_err().to_string();
        assert!(told.contains(want), "{status} {body}: {told}");
    }
}
