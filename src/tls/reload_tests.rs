//! Files that change under the server: when they are used, and what stays when they cannot be.

use super::{
    super::{Anchors, Clients, authority::*},
    *,
};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;

/// Files of a test: the chain, the key and one bundle, or a trouble.
#[derive(Default)]
struct Shelf(Mutex<State>);

#[derive(Default, Clone)]
struct State {
    chain: String,
    key: String,
    bundle: String,
    trouble: Option<String>,
    /// What was told of.
    told: Vec<Which>,
}

const EVERY: Duration = Duration::from_secs(5);

impl Source for Shelf {
    fn read(&self) -> Result<Texts, String> {
        let state = self.0.lock().clone();
        match state.trouble {
            Some(trouble) => Err(trouble),
            None => Ok(texts(&state)),
        }
    }

    fn tell(&self, which: &Which, err: PemError) -> String {
        self.0.lock().told.push(which.clone());
        format!("{which:?} {err}")
    }
}

fn texts(state: &State) -> Texts {
    Texts {
        certificate: Some((Secret::new(state.chain.clone()), Secret::new(state.key.clone()))),
        bundles: [("example.org".parse().unwrap(), Secret::new(state.bundle.clone()))].into(),
        pki: None,
    }
}

#[test]
fn texts_differ_wherever_they_differ() {
    let base = State { chain: "a".into(), key: "b".into(), bundle: "c".into(), ..State::default() };
    let all = [
        base.clone(),
        State { chain: "x".into(), ..base.clone() },
        State { key: "x".into(), ..base.clone() },
        State { bundle: "x".into(), ..base.clone() },
        State { chain: "ab".into(), key: String::new(), ..base.clone() },
    ];
    let digests: std::collections::BTreeSet<_> = all.iter().map(|state| texts(state).digest()).collect();
    assert_eq!(digests.len(), all.len());
}

fn shown(server: &Server) -> CertificateDer<'static> {
    server.parts.lock().certificate.end_entity_cert().unwrap().clone().into_owned()
}

fn believed(server: &Server) -> usize {
    server.parts.lock().anchors.files.values().map(|roots| roots.len()).sum()
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_used_leaves_the_old_in_use() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let state = State {
        chain: first.pem(),
        key: first.key_pem().expose().to_owned(),
        bundle: authority.pem(),
        ..State::default()
    };
    let anchors = [("example.org".parse().unwrap(), authority.roots())];
    let anchors = Anchors { files: anchors.into(), ..Anchors::default() };
    let server = Arc::new(server(&authority, anchors, Clients::Required, &[]));
    server.change(|parts| texts(&state).check().unwrap().put(parts)).unwrap();
    let mut news = server.news().unwrap();
    let shelf = Arc::new(Shelf(Mutex::new(state.clone())));
    let stop = CancellationToken::new();
    let tasks = tokio_util::task::TaskTracker::new();
    tasks.spawn(follow(server.clone(), shelf.clone(), texts(&state), EVERY, stop.clone()));
    tasks.close();
    // Long enough for two looks.
    let pass = || tokio::time::sleep(EVERY * 3);
    pass().await;
    assert_eq!((shown(&server), believed(&server)), (first.der(), 1));

    // Half of a pair, for long.
    shelf.0.lock().chain = second.pem();
    pass().await;
    pass().await;
    assert_eq!(shown(&server), first.der());
    assert_eq!(shelf.0.lock().told, [Which::Key], "looked at once, and told once");
    // The other half.
    second.key_pem().expose().clone_into(&mut shelf.0.lock().key);
    pass().await;
    assert_eq!(shown(&server), second.der());
    // A bundle that is cut off, a folder that is gone, and both mended.
    shelf.0.lock().bundle.truncate(100);
    pass().await;
    assert_eq!(believed(&server), 1);
    assert_eq!(shelf.0.lock().told.last(), Some(&Which::Bundle("example.org".parse().unwrap())));
    shelf.0.lock().trouble = Some("gone".into());
    pass().await;
    assert_eq!((shown(&server), believed(&server)), (second.der(), 1));
    shelf.0.lock().trouble = None;
    shelf.0.lock().bundle = authority.pem() + &Authority::new().pem();
    pass().await;
    assert_eq!((shown(&server), believed(&server)), (second.der(), 2));
    stop.cancel();
    tasks.wait().await;
    let told: Vec<_> = std::iter::from_fn(|| news.try_recv().ok()).collect();
    let want = [News::Refused, News::InUse, News::Refused, News::Refused, News::InUse];
    assert_eq!(told, want, "once each");
    assert!(server.news().is_none(), "one listens");
}
