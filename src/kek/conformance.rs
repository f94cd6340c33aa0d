//! What every KEK has to do, whatever is behind it: hold root keys for their place only, and let itself be rotated without
//! anything being lost on the way.

use crate::{
    clock::Timestamp,
    domain::names::Owner,
    seal::{Kek, KeyBytes, KeyState, Root},
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

/// `rotate` has the owner make a new key, and keep the old one.
pub(crate) async fn conforms(kek: &dyn Kek, rotate: impl AsyncFnOnce()) {
    // A key comes back in its place, and nowhere else.
    let key = KeyBytes::generate();
    let wrapped = kek.wrap(b"here", &key).await.unwrap();
    assert_eq!(kek.unwrap(b"here", &wrapped).await.unwrap().expose(), key.expose());
    for elsewhere in [&b""[..], b"her", b"heree", b"There"] {
        assert!(kek.unwrap(elsewhere, &wrapped).await.is_err(), "{elsewhere:?}");
    }
    assert!(kek.unwrap(b"here", &wrapped[..wrapped.len() - 1]).await.is_err());
    let again = kek.wrap(b"here", &key).await.unwrap();
    assert_ne!(again, wrapped, "the same key looks different each time");

    // A deployment, its root key rotated while the KEK stays.
    let (first, root) = Root::create(kek, NOW).await.unwrap();
    let chain = root.new_chain(&Owner::Platform, NOW);
    let prepared = root.prepare_root(kek, &first, NOW).await.unwrap();
    let waiting = Root::unlock(kek, &prepared).await.unwrap();
    let rotated = waiting.advance_root(&prepared, 2, KeyState::Active, NOW).unwrap();
    let before = kek.present().await.unwrap();
    assert_eq!(rotated.keks(), [(before.clone(), 2)].into());

    // Its owner makes another key: the old one opens on, the new one wraps.
    rotate().await;
    let after = kek.present().await.unwrap();
    assert_ne!(after, before);
    assert_eq!(kek.probe().await.unwrap(), after);
    let root = Root::unlock(kek, &rotated).await.unwrap();
    let moved = root.rewrap(kek, &rotated).await.unwrap();
    assert_eq!((moved.keks(), moved.kek()), ([(after.clone(), 2)].into(), Some(after)));
    let root = Root::unlock(kek, &moved).await.unwrap();
    assert_eq!(root.active_version(), 2);
    assert!(root.unlock_chain(&Owner::Platform, &chain).is_ok(), "made under the first root key");
    let ended = root.advance_root(&moved, 1, KeyState::Destroyed, NOW).unwrap();
    let root = Root::unlock(kek, &ended).await.unwrap();
    assert!(root.unlock_chain(&Owner::Platform, &chain).is_err());
}
