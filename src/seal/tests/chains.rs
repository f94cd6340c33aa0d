//! Chains: made, unlocked, rotated, and tampered with.

use super::*;
use std::iter;

async fn root() -> (FileKeyset, RootChain, Root) {
    let kek = FileKeyset::generate();
    let (chain, root) = Root::create(&kek, NOW).await.unwrap();
    (kek, chain, root)
}

fn sealed_by(keys: &OwnerKeys) -> Sealed<RefreshToken> {
    keys.seal(&place(), &token("canary")).unwrap()
}

async fn refused(kek: &FileKeyset, chain: &RootChain) -> SealError {
    Root::unlock(kek, chain).await.expect_err("must not unlock")
}

#[tokio::test]
async fn a_deployment_unlocks_again_with_its_kek() {
    let (kek, root_chain, root) = root().await;
    let chain = root.new_chain(&owner("tenants/acme"), NOW);
    let sealed = sealed_by(&root.unlock_chain(&owner("tenants/acme"), &chain).unwrap());
    let stamp = root.stamp("keys/acme", 1, b"body");

    let again = Root::unlock(&kek, &root_chain).await.unwrap();
    assert_eq!(again.deployment(), root.deployment());
    let keys = again.unlock_chain(&owner("tenants/acme"), &chain).unwrap();
    assert!(!is_broken(&keys, sealed.bytes()));
    assert_eq!(again.check("keys/acme", 1, b"body", &stamp), Ok(()));
}

#[tokio::test]
async fn another_kek_does_not_unlock_the_root() {
    let (kek, root_chain, _) = root().await;
    let refusal = refused(&FileKeyset::generate(), &root_chain).await;
    assert_eq!(refusal, SealError::Kek(KekError::Unknown { wanted: kek.present().await.unwrap() }));
}

#[tokio::test]
async fn every_change_to_a_root_chain_is_refused() {
    let (kek, good, _) = root().await;
    // What the KEK itself refuses, for it wrapped the key for another place.
    let at_the_kek: [fn(&mut RootChain); 4] = [
        |root| root.deployment = deployment(1),
        |root| root.chain.versions[0].version = 2,
        |root| root.chain.versions[0].wrapped[150] ^= 1,
        |root| {
            let mut more = root.chain.versions[0].clone();
            (more.version, more.state) = (2, KeyState::DecryptOnly);
            root.chain.versions.push(more);
        },
    ];
    // What unwraps, but was not stamped so.
    let at_the_stamp: [fn(&mut RootChain); 8] = [
        |root| root.chain.versions[0].state = KeyState::DecryptOnly,
        |root| root.chain.versions[0].state = KeyState::Destroyed,
        |root| root.chain.versions[0].created_at = Timestamp(0),
        |root| root.chain.versions.clear(),
        |root| {
            let mut more = root.chain.versions[0].clone();
            (more.version, more.state) = (2, KeyState::Destroyed);
            root.chain.versions.push(more);
        },
        |root| {
            let mut more = root.chain.versions[0].clone();
            more.state = KeyState::DecryptOnly;
            root.chain.versions.push(more);
        },
        |root| root.chain.stamp.key_version = 2,
        |root| root.chain.stamp.tag[31] ^= 1,
    ];
    let refusals = iter::repeat_n(SealError::Kek(KekError::Broken), at_the_kek.len())
        .chain(iter::repeat(SealError::Broken(SealBroken)));
    for ((at, change), refusal) in at_the_kek.into_iter().chain(at_the_stamp).enumerate().zip(refusals) {
        let mut chain = good.clone();
        change(&mut chain);
        assert_eq!(refused(&kek, &chain).await, refusal, "change {at}");
    }
    assert!(Root::unlock(&kek, &good).await.is_ok());
}

#[tokio::test]
async fn deployments_that_share_a_kek_do_not_take_each_others_root_keys() {
    let (kek, mine, _) = root().await;
    let (foreign, _) = Root::create(&kek, NOW).await.unwrap();
    let mixed = RootChain { deployment: mine.deployment, chain: foreign.chain };
    assert_eq!(refused(&kek, &mixed).await, SealError::Kek(KekError::Broken));
    let mixed = RootChain { deployment: foreign.deployment, chain: mine.chain };
    assert_eq!(refused(&kek, &mixed).await, SealError::Kek(KekError::Broken));
}

#[tokio::test]
async fn every_change_to_a_key_chain_is_refused() {
    let (_, _, root) = root().await;
    let acme = owner("tenants/acme");
    let good = root.prepare(&acme, &root.new_chain(&acme, NOW), NOW).unwrap();
    let changes: [fn(&mut KeyChain); 14] = [
        |chain| chain.versions[1].activated_at = Some(NOW),
        |chain| chain.shut_at = Some(NOW),
        |chain| chain.revision += 1,
        |chain| chain.versions[0].state = KeyState::DecryptOnly,
        |chain| chain.versions[1].state = KeyState::DecryptOnly,
        |chain| chain.versions[1].state = KeyState::Destroyed,
        |chain| {
            chain.versions[0].state = KeyState::DecryptOnly;
            chain.versions[1].state = KeyState::Active;
        },
        |chain| chain.versions[1].version = 3,
        |chain| chain.versions[1].created_at = Timestamp(0),
        |chain| chain.versions[1].wrapped[150] ^= 1,
        |chain| chain.versions.swap(0, 1),
        |chain| chain.versions.truncate(1),
        |chain| chain.stamp.key_version = 2,
        |chain| chain.stamp.tag[0] ^= 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let mut chain = good.clone();
        change(&mut chain);
        assert_eq!(root.unlock_chain(&acme, &chain).err(), Some(SealBroken), "change {at}");
        assert_eq!(root.check_chain(&acme, &chain), Err(SealBroken), "change {at}");
        let step = root.advance(&acme, &chain, 2, KeyState::Active, NOW);
        assert_eq!(step, Err(SealError::Broken(SealBroken)), "change {at}");
        assert_eq!(root.prepare(&acme, &chain, NOW), Err(SealError::Broken(SealBroken)), "change {at}");
    }
    assert!(root.unlock_chain(&acme, &good).is_ok());
}

#[tokio::test]
async fn a_chain_of_one_owner_does_not_unlock_for_another() {
    let (_, _, root) = root().await;
    let [acme, other, platform] = ["tenants/acme", "tenants/other", "platform"].map(owner);
    let (chain, foreign) = (root.new_chain(&acme, NOW), root.new_chain(&other, NOW));
    for elsewhere in [&other, &platform] {
        assert_eq!(root.unlock_chain(elsewhere, &chain).err(), Some(SealBroken));
    }
    let mixed = KeyChain { versions: foreign.versions, ..chain.clone() };
    assert_eq!(root.unlock_chain(&acme, &mixed).err(), Some(SealBroken));
}

/// Stamped anew, as only the root can: the wrapping itself holds the place too.
#[tokio::test]
async fn a_wrapped_key_is_bound_to_owner_and_version_even_without_the_stamp() {
    let (_, _, root) = root().await;
    let [acme, other] = ["tenants/acme", "tenants/other"].map(owner);
    let stamped = |owner: &Owner, versions: Vec<KeyVersion>| {
        let stamp = root.ring().stamp_chain(&owner.to_string(), &chain::encoded(&versions, None, 0));
        KeyChain { versions, shut_at: None, revision: 0, stamp }
    };
    let good = root.new_chain(&acme, NOW).versions;
    assert!(root.unlock_chain(&acme, &stamped(&acme, good.clone())).is_ok());
    assert_eq!(root.unlock_chain(&other, &stamped(&other, good.clone())).err(), Some(SealBroken));
    let renumbered = KeyVersion { version: 2, ..good[0].clone() };
    assert_eq!(root.unlock_chain(&acme, &stamped(&acme, vec![renumbered])).err(), Some(SealBroken));
}

#[tokio::test]
async fn a_chain_of_another_deployment_does_not_unlock() {
    let ((_, _, mine), (_, _, foreign)) = (root().await, root().await);
    let acme = owner("tenants/acme");
    assert_eq!(mine.unlock_chain(&acme, &foreign.new_chain(&acme, NOW)).err(), Some(SealBroken));
}

#[tokio::test]
async fn a_document_cannot_be_passed_off_as_a_chain() {
    let (_, _, root) = root().await;
    let acme = owner("tenants/acme");
    let chain = root.new_chain(&acme, NOW);
    let stamp = root.stamp("tenants/acme", 0, &chain::encoded(&chain.versions, None, 0));
    assert_eq!(root.unlock_chain(&acme, &KeyChain { stamp, ..chain }).err(), Some(SealBroken));
}

#[tokio::test]
async fn a_rotation_keeps_what_is_sealed_until_the_old_version_is_destroyed() {
    let (_, _, root) = root().await;
    let acme = owner("tenants/acme");
    let first = root.new_chain(&acme, NOW);
    let old = root.unlock_chain(&acme, &first).unwrap();
    let (sealed, stamp) = (sealed_by(&old), old.stamp("name", 1, b"body"));

    let prepared = root.prepare(&acme, &first, NOW).unwrap();
    let waiting = root.unlock_chain(&acme, &prepared).unwrap();
    assert_eq!(waiting.active_version(), 1);

    let rotated = root.advance(&acme, &prepared, 2, KeyState::Active, NOW).unwrap();
    let keys = root.unlock_chain(&acme, &rotated).unwrap();
    let anew = sealed_by(&keys);
    assert_eq!((keys.active_version(), claimed_key_version(&anew)), (2, Some(2)));
    assert!(!is_broken(&keys, sealed.bytes()));
    assert!(keys.check("name", 1, b"body", &stamp).is_ok());
    // Who knew the prepared version opens what others already seal with it.
    assert!(!is_broken(&waiting, anew.bytes()));
    assert!(is_broken(&old, anew.bytes()));

    let ended = root.advance(&acme, &rotated, 1, KeyState::Destroyed, NOW).unwrap();
    let keys = root.unlock_chain(&acme, &ended).unwrap();
    assert!(is_broken(&keys, sealed.bytes()));
    assert!(keys.check("name", 1, b"body", &stamp).is_err());
    assert!(!is_broken(&keys, anew.bytes()));
}

#[tokio::test]
async fn a_step_that_the_chain_does_not_allow_is_named() {
    let (_, _, root) = root().await;
    let acme = owner("tenants/acme");
    let chain = root.new_chain(&acme, NOW);
    let refusal = root.advance(&acme, &chain, 1, KeyState::Destroyed, NOW).unwrap_err();
    assert_eq!(refusal.to_string(), "key version 1 is Active, from which Destroyed is not reached");
}

#[tokio::test]
async fn a_new_kek_wraps_the_root_again_and_the_old_one_may_go() {
    let (kek, root_chain, root) = root().await;
    let acme = owner("tenants/acme");
    let chain = root.new_chain(&acme, NOW);
    let sealed = sealed_by(&root.unlock_chain(&acme, &chain).unwrap());

    let kek = kek.rotated().unwrap();
    assert!(Root::unlock(&kek, &root_chain).await.is_ok(), "the old key still unwraps");
    let new = FileKeyset::generate();
    let rewrapped = root.rewrap(&new, &root_chain).await.unwrap();
    let again = Root::unlock(&new, &rewrapped).await.unwrap();
    assert!(!is_broken(&again.unlock_chain(&acme, &chain).unwrap(), sealed.bytes()));
    assert!(Root::unlock(&kek, &rewrapped).await.is_err());

    let mut forged = root_chain;
    forged.chain.versions[0].created_at = Timestamp(0);
    assert_eq!(root.rewrap(&new, &forged).await.err(), Some(SealError::Broken(SealBroken)));
}

#[tokio::test]
async fn clones_of_an_owners_keys_are_handles_that_cross_threads() {
    fn crosses_threads<T: Send + Sync + Clone + 'static>(_: &T) {}
    let (_, _, root) = root().await;
    let keys = root.unlock_chain(&Owner::Platform, &root.new_chain(&Owner::Platform, NOW)).unwrap();
    crosses_threads(&keys);
    assert!(Arc::ptr_eq(&keys.0, &keys.clone().0));
}

#[tokio::test]
async fn a_new_root_key_wraps_chains_anew_and_the_old_one_may_go() {
    let (kek, first, root) = root().await;
    let acme = owner("tenants/acme");
    let chain = root.new_chain(&acme, NOW);
    let sealed = sealed_by(&root.unlock_chain(&acme, &chain).unwrap());
    assert_eq!(root.rewrap_chain(&acme, &chain), Ok(None), "it is under the active version");

    let prepared = root.prepare_root(&kek, &first, NOW).await.unwrap();
    let waiting = Root::unlock(&kek, &prepared).await.unwrap();
    assert_eq!(waiting.active_version(), 1);
    let rotated = waiting.advance_root(&prepared, 2, KeyState::Active, NOW).unwrap();
    let second = Root::unlock(&kek, &rotated).await.unwrap();
    assert_eq!((second.active_version(), rotated.chain.stamp.key_version), (2, 2));

    let anew = second.rewrap_chain(&acme, &chain).unwrap().unwrap();
    assert_eq!(Root::wrapped_by(&anew), [2].into());
    assert!(!root.holds_those_of(&anew) && waiting.holds_those_of(&anew));
    assert_eq!(root.unlock_chain(&acme, &anew).err(), Some(SealBroken));
    assert!(!is_broken(&waiting.unlock_chain(&acme, &anew).unwrap(), sealed.bytes()));

    let ended = second.advance_root(&rotated, 1, KeyState::Destroyed, NOW).unwrap();
    let last = Root::unlock(&kek, &ended).await.unwrap();
    assert!(!is_broken(&last.unlock_chain(&acme, &anew).unwrap(), sealed.bytes()));
    assert_eq!(last.unlock_chain(&acme, &chain).err(), Some(SealBroken), "a copy of before does not open");
}

#[tokio::test]
async fn what_a_root_key_seals_names_the_kek_that_wraps_the_active_version() {
    let (old, first, root) = root().await;
    let owner = owner("tenants/acme");
    let names = |root: &Root| Envelope::parse(&root.new_chain(&owner, NOW).versions[0].wrapped).unwrap().kek;
    assert_eq!(names(&root), old.id());
    assert_eq!(names(&Root::unlock(&old, &first).await.unwrap()), old.id());

    let before = old.id();
    let new = old.rotated().unwrap();
    let prepared = root.prepare_root(&new, &first, NOW).await.unwrap();
    let waiting = Root::unlock(&new, &prepared).await.unwrap();
    assert_eq!(names(&waiting), before, "its second version is prepared only");
    let rotated = waiting.advance_root(&prepared, 2, KeyState::Active, NOW).unwrap();
    assert_eq!(names(&Root::unlock(&new, &rotated).await.unwrap()), new.id());
}

#[tokio::test]
async fn debug_of_a_root_key_shows_its_version_and_no_key() {
    let (_, _, root) = root().await;
    assert_eq!(format!("{root:?}"), "[keys of root, version 1 active]");
}

#[tokio::test]
async fn what_is_unlocked_already_does_not_need_the_kek() {
    let (kek, first, root) = root().await;
    let stranger = FileKeyset::generate();
    assert!(Root::unlock_beside(&stranger, &first, Some(&root)).await.is_ok());
    let prepared = root.prepare_root(&kek, &first, NOW).await.unwrap();
    assert!(Root::unlock_beside(&stranger, &prepared, Some(&root)).await.is_err(), "version 2 is new to it");
    let (foreign, _) = Root::create(&kek, NOW).await.unwrap();
    let mixed = RootChain { deployment: foreign.deployment, chain: first.chain };
    assert!(Root::unlock_beside(&kek, &mixed, Some(&root)).await.is_err());
}

#[tokio::test]
async fn a_shut_chain_and_a_shredded_one_keep_their_stamp() {
    let (_, _, root) = root().await;
    let acme = owner("tenants/acme");
    let open = root.new_chain(&acme, NOW);
    let sealed = sealed_by(&root.unlock_chain(&acme, &open).unwrap());
    let shut = root.shut(&acme, &open, Some(NOW)).unwrap();
    assert!(!is_broken(&root.unlock_chain(&acme, &shut).unwrap(), sealed.bytes()), "it can be restored");
    assert!(open.is_behind(&shut));
    let gone = root.shred(&acme, &shut, NOW).unwrap();
    assert_eq!(root.check_chain(&acme, &gone), Ok(()));
    assert_eq!(root.unlock_chain(&acme, &gone).err(), Some(SealBroken));
    assert!(gone.versions.iter().all(|held| held.wrapped.is_empty()));
}
