//! What a thief or a forger with the whole store in hand cannot do, and what an owner can.

use super::*;
use crate::{
    clock::Timestamp,
    domain::{
        names::Owner,
        token::{
            AccessToken, AuditKeyText, AuthorizationSecrets, ClientSecret, DpopKey, PagePosition,
            PreviousRefreshToken, RefreshToken,
        },
    },
};
use envelope::{Fresh, Sealer, seal_with};
use proptest::prelude::*;

mod chains;
mod vectors;

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const HERE: &str = "tenants/acme/connections/concur";
const PREFIX: usize = 100;

fn owner(name: &str) -> Owner {
    name.parse().unwrap()
}

fn filled(from: u8) -> KeyBytes {
    KeyBytes::from_slice(&(from..from + 32).collect::<Vec<_>>()).unwrap()
}

fn deployment(last: u8) -> DeploymentId {
    DeploymentId(Uuid::from_u128(0x0190_a000_0000_7000_8000_0000_0000_0000 + u128::from(last)))
}

/// Keys of `tenants/acme`, but for what a test changes.
struct Known {
    deployment: DeploymentId,
    holder: &'static str,
    kek: KekId,
    version: u32,
    secret: KeyBytes,
}

impl Known {
    fn acme() -> Self {
        Self {
            deployment: deployment(1),
            holder: "tenants/acme",
            kek: KekId([9; 8]),
            version: 3,
            secret: filled(0),
        }
    }

    fn keys(self) -> OwnerKeys {
        let Self { deployment, holder, kek, version, secret } = self;
        OwnerKeys::new(Ring::new(deployment, holder, kek, version, [(version, secret)]).unwrap())
    }
}

fn place() -> Place<'static> {
    let family = Uuid::from_u128(0x0190_a000_0000_7000_8000_0000_0000_0002);
    Place { resource: HERE, family, generation: 7 }
}

fn token(text: &str) -> RefreshToken {
    RefreshToken(Secret::new(text))
}

fn opened<T: Sealable>(keys: &OwnerKeys, place: &Place<'_>, bytes: &[u8]) -> Result<String, SealBroken> {
    let value: T = keys.open(place, &Sealed::from_bytes(bytes))?;
    Ok(value.secret().expose().to_owned())
}

fn is_broken(keys: &OwnerKeys, bytes: &[u8]) -> bool {
    opened::<RefreshToken>(keys, &place(), bytes) == Err(SealBroken)
}

#[test]
fn a_token_opens_where_it_was_sealed() {
    let keys = Known::acme().keys();
    let sealed = keys.seal(&place(), &token("canary")).unwrap();
    assert_eq!(keys.open(&place(), &sealed).unwrap().secret().expose(), "canary");
    assert_eq!(claimed_key_version(&sealed), Some(3));
}

#[test]
fn every_flipped_bit_breaks_a_sealed_value() {
    let keys = Known::acme().keys();
    let mut bytes = keys.seal(&place(), &token("canary")).unwrap().bytes().to_vec();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(is_broken(&keys, &bytes), "bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(!is_broken(&keys, &bytes));
}

#[test]
fn every_truncation_and_extension_breaks_a_sealed_value() {
    let keys = Known::acme().keys();
    let bytes = keys.seal(&place(), &token(&"x".repeat(300))).unwrap().bytes().to_vec();
    for length in 0..bytes.len() {
        assert!(is_broken(&keys, &bytes[..length]), "cut to {length}");
        let mut patched = bytes[..length].to_vec();
        if let (Some(field), Some(rest)) = (patched.len().checked_sub(PREFIX), patched.get_mut(96..100)) {
            rest.copy_from_slice(&u32::try_from(field).unwrap().to_be_bytes());
            assert!(is_broken(&keys, &patched), "cut to {length} with the length set right");
        }
    }
    for more in 1..600 {
        let mut longer = bytes.clone();
        longer.resize(bytes.len() + more, 0);
        assert!(is_broken(&keys, &longer), "{more} more");
        let length = u32::try_from(longer.len() - PREFIX).unwrap();
        longer[96..100].copy_from_slice(&length.to_be_bytes());
        assert!(is_broken(&keys, &longer), "{more} more with the length set right");
    }
}

#[test]
fn a_token_moved_to_another_place_does_not_open() {
    let keys = Known::acme().keys();
    let sealed = keys.seal(&place(), &token("canary")).unwrap();
    let elsewhere = [
        Place { resource: "tenants/acme/connections/other", ..place() },
        Place { resource: "tenants/other/connections/concur", ..place() },
        Place { resource: "tenants/acme/clients/concur", ..place() },
        Place { resource: "", ..place() },
        Place { family: Uuid::nil(), ..place() },
        Place { generation: 6, ..place() },
        Place { generation: 8, ..place() },
    ];
    for elsewhere in elsewhere {
        assert_eq!(opened::<RefreshToken>(&keys, &elsewhere, sealed.bytes()), Err(SealBroken));
    }
}

/// What a kind of secret is sealed for, and how it is sealed and opened.
type Kind = (Purpose, fn(&OwnerKeys) -> Vec<u8>, fn(&OwnerKeys, &[u8]) -> bool);

fn kind<T: Sealable>() -> Kind {
    (
        T::PURPOSE,
        |keys| {
            let secret = T::from_secret(Secret::new("canary"));
            keys.seal(&place(), &secret).unwrap().bytes().to_vec()
        },
        |keys, bytes| opened::<T>(keys, &place(), bytes).is_ok(),
    )
}

#[test]
fn a_secret_of_one_purpose_does_not_open_as_another() {
    let kinds = [
        kind::<AccessToken>(),
        kind::<RefreshToken>(),
        kind::<PreviousRefreshToken>(),
        kind::<ClientSecret>(),
        kind::<AuthorizationSecrets>(),
        kind::<DpopKey>(),
        kind::<PagePosition>(),
        kind::<AuditKeyText>(),
    ];
    let keys = Known::acme().keys();
    for (purpose, seal, _) in kinds {
        let bytes = seal(&keys);
        let opening: Vec<_> =
            kinds.iter().filter(|(.., open)| open(&keys, &bytes)).map(|kind| kind.0).collect();
        assert_eq!(opening, [purpose]);
    }
    let words: std::collections::BTreeSet<_> = kinds.iter().map(|kind| word(kind.0)).collect();
    assert_eq!(words.len(), kinds.len(), "two purposes have one word");
}

/// Each holder below has the very same 32 bytes, so it is the binding that refuses, not the key.
#[test]
fn the_same_key_under_another_owner_deployment_or_version_does_not_open() {
    let sealed = Known::acme().keys().seal(&place(), &token("canary")).unwrap();
    let same = Known::acme().keys();
    assert!(!is_broken(&same, sealed.bytes()));
    let others = [
        Known { holder: "tenants/other", ..Known::acme() },
        Known { holder: "platform", ..Known::acme() },
        Known { deployment: deployment(2), ..Known::acme() },
        Known { version: 4, ..Known::acme() },
    ];
    for keys in others.map(Known::keys) {
        assert!(is_broken(&keys, sealed.bytes()), "{keys:?}");
        let mut bytes = sealed.bytes().to_vec();
        bytes[8..12].copy_from_slice(&keys.active_version().to_be_bytes());
        assert!(is_broken(&keys, &bytes), "{keys:?} with the version set right");
    }
}

#[test]
fn another_key_of_the_same_name_does_not_open() {
    let sealed = Known::acme().keys().seal(&place(), &token("canary")).unwrap();
    let keys = Known { secret: filled(1), ..Known::acme() }.keys();
    assert!(is_broken(&keys, sealed.bytes()));
}

#[test]
fn a_new_kek_leaves_sealed_values_as_they_are() {
    let sealed = Known::acme().keys().seal(&place(), &token("canary")).unwrap();
    let keys = Known { kek: KekId([1; 8]), ..Known::acme() }.keys();
    assert!(!is_broken(&keys, sealed.bytes()));
}

/// Ciphertext, tag and length are right; only the statement of which key it was is not.
#[test]
fn a_wrong_commitment_is_refused_though_the_ciphertext_is_right() {
    let keys = Known::acme().keys();
    let mut bytes = keys.seal(&place(), &token("canary")).unwrap().bytes().to_vec();
    let other = Known { secret: filled(1), ..Known::acme() }.keys();
    let foreign = other.seal(&place(), &token("canary")).unwrap();
    bytes[64..96].copy_from_slice(&foreign.bytes()[64..96]);
    assert!(is_broken(&keys, &bytes));
    bytes[64..96].fill(0);
    assert!(is_broken(&keys, &bytes));
}

#[test]
fn parts_of_two_writes_do_not_open_together() {
    let keys = Known::acme().keys();
    let [a, b] = ["one", "two"].map(|text| keys.seal(&place(), &token(text)).unwrap().bytes().to_vec());
    assert_ne!(a[20..64], b[20..64], "salt and nonce are drawn anew");
    for cut in [20, 52, 64, 96, 100, 200, a.len() - 16] {
        let mixed: Vec<u8> = a[..cut].iter().chain(&b[cut..]).copied().collect();
        let both_are_whole = cut == 20; // header without random part is the same in both
        assert_eq!(is_broken(&keys, &mixed), !both_are_whole, "cut at {cut}");
    }
}

#[test]
fn lengths_show_in_steps_of_256_bytes_only() {
    let keys = Known::acme().keys();
    let cases = [
        (0, 256),
        (1, 256),
        (254, 256),
        (255, 256),
        (256, 512),
        (257, 512),
        (511, 512),
        (512, 768),
        (SECRET_MAX, 65_280),
    ];
    for (length, padded) in cases {
        let text = "x".repeat(length);
        let sealed = keys.seal(&place(), &token(&text)).unwrap();
        assert_eq!(sealed.bytes().len(), PREFIX + padded + 16, "{length}");
        assert_eq!(opened::<RefreshToken>(&keys, &place(), sealed.bytes()), Ok(text));
    }
}

#[test]
fn a_secret_beyond_the_bound_is_refused_with_its_length() {
    let refused = Known::acme().keys().seal(&place(), &token(&"x".repeat(SECRET_MAX + 1)));
    assert_eq!(refused.unwrap_err(), SealError::TooLarge { bytes: SECRET_MAX + 1 });
}

#[test]
fn bytes_that_are_not_utf_8_do_not_open_as_a_secret() {
    let keys = Known::acme().keys();
    let not_text = keys.0.seal(keys.spot::<RefreshToken>(&place()), &[0xff, 0xfe]).unwrap();
    assert!(is_broken(&keys, &not_text));
}

#[test]
fn a_stamp_holds_for_its_holder_name_version_and_body_only() {
    let keys = Known::acme().keys();
    let stamp = keys.stamp("connection/acme/concur", 9, b"body");
    assert_eq!(keys.check("connection/acme/concur", 9, b"body", &stamp), Ok(()));
    let moved = [
        ("connection/acme/other", 9, &b"body"[..]),
        ("connection/acme/concu", 9, b"rbody"),
        ("connection/acme/concurb", 9, b"ody"),
        ("connection/acme/concur", 8, b"body"),
        ("connection/acme/concur", 10, b"body"),
        ("connection/acme/concur", 9, b"bodz"),
        ("connection/acme/concur", 9, b"bod"),
        ("connection/acme/concur", 9, b"body\0"),
        ("connection/acme/concur", 9, b""),
    ];
    for (name, version, body) in moved {
        assert_eq!(keys.check(name, version, body, &stamp), Err(SealBroken), "{name} {version} {body:?}");
    }
    let others = [
        Known { holder: "tenants/other", ..Known::acme() },
        Known { deployment: deployment(2), ..Known::acme() },
        Known { secret: filled(1), ..Known::acme() },
        Known { version: 4, ..Known::acme() },
    ];
    for keys in others.map(Known::keys) {
        assert_eq!(keys.check("connection/acme/concur", 9, b"body", &stamp), Err(SealBroken), "{keys:?}");
    }
    for bit in 0..256 {
        let mut forged = stamp;
        forged.tag[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(keys.check("connection/acme/concur", 9, b"body", &forged), Err(SealBroken), "bit {bit}");
    }
}

#[test]
fn what_an_older_version_sealed_is_sealed_anew_and_only_that() {
    let before = Known::acme().keys();
    let Known { deployment, holder, kek, version, secret } = Known::acme();
    let after = Ring::new(deployment, holder, kek, 4, [(version, secret), (4, filled(100))]).unwrap();
    let after = OwnerKeys::new(after);
    assert_eq!([2, 3, 4].map(|version| before.holds(version)), [false, true, false]);
    assert_eq!([2, 3, 4].map(|version| after.holds(version)), [false, true, true]);

    let sealed = before.seal(&place(), &token("canary")).unwrap();
    let anew = after.sealed_anew(&place(), &sealed).unwrap().expect("an older version sealed it");
    assert_eq!(claimed_key_version(&anew), Some(4));
    assert_eq!(opened::<RefreshToken>(&after, &place(), anew.bytes()).as_deref(), Ok("canary"));
    assert!(after.sealed_anew(&place(), &anew).unwrap().is_none());
    assert!(before.sealed_anew(&place(), &sealed).unwrap().is_none());

    assert!(before.holds_that_of(&sealed) && after.holds_that_of(&sealed) && after.holds_that_of(&anew));
    assert!(!before.holds_that_of(&anew));
    assert!(!after.holds_that_of(&Sealed::<RefreshToken>::from_bytes(&b""[..])));
}

#[test]
fn debug_of_keys_shows_the_holder_and_no_key() {
    let keys = Known::acme().keys();
    assert_eq!(format!("{keys:?}"), "[keys of tenants/acme, version 3 active]");
}

#[test]
fn a_value_that_is_not_sealed_claims_no_key_version() {
    for bytes in [&b""[..], b"BSR1", &[0; 372]] {
        assert_eq!(claimed_key_version(&Sealed::<RefreshToken>::from_bytes(bytes)), None);
    }
    let mut bytes = Known::acme().keys().seal(&place(), &token("canary")).unwrap().bytes().to_vec();
    for at in 0..8 {
        bytes[at] ^= 1;
        let other_format = Sealed::<RefreshToken>::from_bytes(bytes.as_slice());
        assert_eq!(claimed_key_version(&other_format), None, "byte {at} of magic, suite and flags");
        bytes[at] ^= 1;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sealed_opens_to_the_same(text in ".{0,2000}", resource in ".{0,80}", generation: u64, family: u128) {
        let keys = Known::acme().keys();
        let place = Place { resource: &resource, family: Uuid::from_u128(family), generation };
        let sealed = keys.seal(&place, &token(&text)).unwrap();
        prop_assert_eq!(opened::<RefreshToken>(&keys, &place, sealed.bytes()), Ok(text));
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes in proptest::collection::vec(any::<u8>(), 0..700), whole: bool) {
        let keys = Known::acme().keys();
        let mut bytes = bytes;
        if whole {
            // Past the first checks: a right beginning and a right length.
            bytes.resize(PREFIX + 256 + 16, 0);
            bytes[..12].copy_from_slice(b"BSR1\0\x01\0\0\0\0\0\x03");
            bytes[96..100].copy_from_slice(&272_u32.to_be_bytes());
        }
        prop_assert!(is_broken(&keys, &bytes));
    }
}
