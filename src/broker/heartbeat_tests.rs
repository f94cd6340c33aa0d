//! What a probe teaches, and how often a KEK is probed.

use super::*;
use crate::{clock::TokioClock, seal::KeyBytes};
use async_trait::async_trait;
use std::collections::VecDeque;

const NOW: Timestamp = Timestamp(1_790_000_000_000);

fn key(id: &str) -> KekKey {
    KekKey { kind: KekKind::Transit, id: id.to_owned() }
}

fn away(cause: &str) -> KekError {
    KekError::Unavailable { cause: cause.to_owned() }
}

#[test]
fn an_outage_is_news_when_it_begins_and_when_it_is_over() {
    let mut health = KekHealth { kind: KekKind::Transit, key: None, last_success: None, failing_since: None };
    let at = |seconds| NOW.plus(Duration::from_secs(seconds));
    for (seconds, probed, news) in [
        (0, Ok(key("v1")), vec![]),
        (30, Ok(key("v1")), vec![]),
        (60, Err(away("a")), vec![News::Failing(away("a"))]),
        (90, Err(away("b")), vec![]),
        (120, Err(KekError::Broken), vec![]),
        (150, Ok(key("v1")), vec![News::Back(at(60))]),
        (180, Ok(key("v2")), vec![News::Changed(key("v2"))]),
        (210, Err(away("c")), vec![News::Failing(away("c"))]),
        (240, Ok(key("v3")), vec![News::Back(at(210)), News::Changed(key("v3"))]),
    ] {
        let failing = probed.is_err();
        assert_eq!(health.learn(probed, at(seconds)), news, "after {seconds} s");
        assert_eq!(health.failing_since.is_some(), failing);
    }
    assert_eq!((health.key, health.last_success), (Some(key("v3")), Some(at(240))));
    let mut fails_first =
        KekHealth { kind: KekKind::Transit, key: None, last_success: None, failing_since: None };
    assert_eq!(fails_first.learn(Err(away("a")), NOW), [News::Failing(away("a"))]);
    assert_eq!((fails_first.last_success, fails_first.failing_since), (None, Some(NOW)));
}

/// Answers probes as it is told, then hangs.
struct Scripted(Mutex<VecDeque<Result<KekKey, KekError>>>);

#[async_trait]
impl Kek for Scripted {
    fn kind(&self) -> KekKind {
        KekKind::Transit
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        Err(KekError::Broken)
    }

    async fn wrap(&self, _: &[u8], _: &KeyBytes) -> Result<Vec<u8>, KekError> {
        Err(KekError::Broken)
    }

    async fn unwrap(&self, _: &[u8], _: &[u8]) -> Result<KeyBytes, KekError> {
        Err(KekError::Broken)
    }

    async fn probe(&self) -> Result<KekKey, KekError> {
        let next = self.0.lock().pop_front();
        match next {
            Some(probed) => probed,
            None => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_probed_at_once_and_every_half_minute_until_the_end() {
    let script = [Ok(key("v1")), Err(away("a")), Ok(key("v1"))];
    let kek = Arc::new(Scripted(Mutex::new(script.into())));
    let heartbeat = Arc::new(Heartbeat::new(kek.clone(), Arc::new(TokioClock::starting_at(NOW))));
    assert_eq!(heartbeat.health().last_success, None);
    let (stop, tasks) = (CancellationToken::new(), tokio_util::task::TaskTracker::new());
    tasks.spawn(heartbeat.clone().run(stop.clone()));
    tasks.close();
    let after = async |seconds| {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        heartbeat.health()
    };
    let at = |seconds| Some(NOW.plus(Duration::from_secs(seconds)));
    let first = after(1).await;
    assert_eq!((first.key, first.last_success, first.failing_since), (Some(key("v1")), at(0), None));
    assert_eq!(after(28).await.failing_since, None);
    assert_eq!(after(2).await.failing_since, at(30));
    let back = after(30).await;
    assert_eq!((back.last_success, back.failing_since), (at(60), None));
    // The fourth hangs: the end of the process does not wait for it.
    assert_eq!(after(30).await.last_success, at(60));
    stop.cancel();
    tasks.wait().await;
}
