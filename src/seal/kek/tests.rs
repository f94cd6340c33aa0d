//! Which key wrapped something, and which of two KEKs is asked for it.

use super::*;
use crate::seal::FileKeyset;
use std::collections::BTreeMap;

fn wrapped_by(kind: KekKind, id: &str) -> Vec<u8> {
    let key = KekKey { kind, id: id.to_owned() };
    Wrapped { key, ciphertext: vec![1], annotations: BTreeMap::new() }.encode()
}

/// A KEK of one kind that fails as it is told.
struct Fails(KekKind, KekError);

#[async_trait]
impl Kek for Fails {
    fn kind(&self) -> KekKind {
        self.0
    }

    async fn present(&self) -> Result<KekKey, KekError> {
        Err(self.1.clone())
    }

    async fn wrap(&self, _: &[u8], _: &KeyBytes) -> Result<Vec<u8>, KekError> {
        Err(self.1.clone())
    }

    async fn unwrap(&self, _: &[u8], _: &[u8]) -> Result<KeyBytes, KekError> {
        Err(self.1.clone())
    }
}

fn away() -> KekError {
    KekError::Unavailable { cause: "is away".to_owned() }
}

#[tokio::test]
async fn what_is_wrapped_says_by_which_key() {
    let keyset = FileKeyset::generate();
    let wrapped = keyset.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    assert_eq!(KekKey::that_wrapped(&wrapped), Some(keyset.present().await.unwrap()));
    let foreign = wrapped_by(KekKind::Transit, "transit/bursar:v3");
    let shown = KekKey::that_wrapped(&foreign).unwrap().to_string();
    assert_eq!(shown, "transit key transit/bursar:v3");
    assert_eq!(KekKey::that_wrapped(b"BSR1 or not"), None);
}

#[test]
fn an_id_from_outside_is_shown_within_bounds() {
    let key = KekKey { kind: KekKind::KmsPlugin, id: format!("a\n\u{1b}[31m`é\"{}", "x".repeat(900)) };
    let shown = format!("{key} {key:?}");
    assert!(shown.starts_with("kms_plugin key a[31mxxx"), "{shown}");
    assert!(shown.len() < 400 && shown.is_ascii(), "{shown}");
    assert_eq!(format!("{key:?}"), key.to_string());
    assert_eq!(format!("{:?}", KekId([0, 1, 2, 0xfd, 0xfe, 0xff, 16, 9])), "000102fdfeff1009");
}

#[test]
fn a_kind_is_found_by_its_word() {
    for kind in [KekKind::File, KekKind::KmsPlugin, KekKind::Transit] {
        assert_eq!(KekKind::of(kind.word()), Some(kind));
    }
    assert_eq!(KekKind::of("File"), None);
}

#[tokio::test]
async fn hints_of_different_keys_differ_and_a_keysets_is_its_id() {
    let hint = |kind, id| KekId::that_wrapped(&wrapped_by(kind, id));
    assert_ne!(hint(KekKind::Transit, "a"), hint(KekKind::Transit, "b"));
    assert_ne!(hint(KekKind::Transit, "a"), hint(KekKind::KmsPlugin, "a"));
    let keyset = FileKeyset::generate();
    let wrapped = keyset.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    let id = keyset.present().await.unwrap().id;
    assert_eq!(id, format!("1-{}", KekId::that_wrapped(&wrapped)));
}

#[tokio::test]
async fn the_kek_before_unwraps_what_it_wrapped_and_wraps_nothing() {
    let (old, new) = (Arc::new(FileKeyset::generate()), Arc::new(FileKeyset::generate()));
    let key = KeyBytes::generate();
    let wrapped = old.wrap(b"here", &key).await.unwrap();
    let keks = Keks { present: new.clone(), previous: Some(old) };
    assert_eq!(keks.unwrap(b"here", &wrapped).await.unwrap().expose(), key.expose());
    assert_eq!(keks.unwrap(b"there", &wrapped).await.unwrap_err(), KekError::Broken);
    let again = keks.wrap(b"here", &key).await.unwrap();
    assert_eq!(KekKey::that_wrapped(&again), Some(new.present().await.unwrap()));
    assert_eq!(keks.probe().await, new.present().await);
}

#[tokio::test]
async fn only_a_kek_of_the_kind_that_wrapped_is_asked() {
    let keyset = FileKeyset::generate();
    let wrapped = keyset.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    let wanted = KekKey::that_wrapped(&wrapped).unwrap();
    let transit = Keks::only(Fails(KekKind::Transit, away()));
    assert_eq!(transit.unwrap(b"here", &wrapped).await.unwrap_err(), KekError::Unknown { wanted });
    let previous: Arc<dyn Kek> = Arc::new(keyset);
    let both = Keks { present: Arc::new(Fails(KekKind::Transit, away())), previous: Some(previous) };
    assert!(both.unwrap(b"here", &wrapped).await.is_ok());
    assert_eq!(both.present().await.unwrap_err(), away());
    assert_eq!(both.unwrap(b"here", b"neither").await.unwrap_err(), KekError::Broken);
}

/// "Not among the configured keys" would send somebody to change a configuration that is right.
#[tokio::test]
async fn an_outage_of_one_of_two_keks_is_told_before_all_else() {
    let wrapped = wrapped_by(KekKind::Transit, "key");
    let kek = |failure| -> Arc<dyn Kek> { Arc::new(Fails(KekKind::Transit, failure)) };
    for (present, previous) in [(away(), KekError::Broken), (KekError::Broken, away())] {
        let keks = Keks { present: kek(present), previous: Some(kek(previous)) };
        assert_eq!(keks.unwrap(b"here", &wrapped).await.unwrap_err(), away());
    }
}

/// A keyset that is replaced by one with a new key, as the file under a running process is.
#[tokio::test]
async fn a_keyset_does_what_every_kek_has_to_do() {
    struct Replaced(parking_lot::Mutex<Arc<FileKeyset>>);

    impl Replaced {
        fn now(&self) -> Arc<FileKeyset> {
            self.0.lock().clone()
        }
    }

    #[async_trait]
    impl Kek for Replaced {
        fn kind(&self) -> KekKind {
            KekKind::File
        }

        async fn present(&self) -> Result<KekKey, KekError> {
            self.now().present().await
        }

        async fn wrap(&self, context: &[u8], key: &KeyBytes) -> Result<Vec<u8>, KekError> {
            self.now().wrap(context, key).await
        }

        async fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<KeyBytes, KekError> {
            self.now().unwrap(context, wrapped).await
        }
    }

    let kek = Replaced(parking_lot::Mutex::new(Arc::new(FileKeyset::generate())));
    crate::kek::conformance::conforms(&kek, async || {
        let text = kek.now().to_text();
        *kek.0.lock() = Arc::new(FileKeyset::parse(text.expose()).unwrap().rotated().unwrap());
    })
    .await;
}

/// From one kind of KEK to another, as `keys.previous` allows.
#[tokio::test]
async fn root_keys_move_from_the_kek_before_to_the_one_in_use() {
    let old = FileKeyset::generate();
    let (chain, root) = crate::seal::Root::create(&old, crate::clock::Timestamp(1)).await.unwrap();
    let new = FileKeyset::generate();
    let keks = Keks { present: Arc::new(new), previous: Some(Arc::new(old)) };
    let moved = root.rewrap(&keks, &chain).await.unwrap();
    let alone = Keks { present: keks.present.clone(), previous: None };
    assert!(crate::seal::Root::unlock(&alone, &moved).await.is_ok());
    assert!(crate::seal::Root::unlock(&alone, &chain).await.is_err());
}
