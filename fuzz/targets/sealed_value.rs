//! A sealed value from a store that somebody else owns: it opens where it was sealed, and nothing made of it opens at all.
#![no_main]

use bursar::{
    clock::Timestamp,
    domain::token::{AccessToken, RefreshToken, Sealable, Sealed, Secret},
    seal::{FileKeyset, OwnerKeys, Place, Root, claimed_key_version},
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use uuid::Uuid;

static KEYS: LazyLock<OwnerKeys> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (_, root) = runtime.block_on(Root::create(&FileKeyset::generate(), Timestamp(1))).unwrap();
    let owner = "tenants/acme".parse().unwrap();
    root.unlock_chain(&owner, &root.new_chain(&owner, Timestamp(1))).unwrap()
});

const PLACE: Place<'_> = Place { resource: "tenants/acme/connections/c", family: Uuid::nil(), generation: 7 };

// The first byte says what to do; two more, where.
fuzz_target!(|data: &[u8]| {
    let stranger = Sealed::<RefreshToken>::from_bytes(data);
    assert!(KEYS.open(&PLACE, &stranger).is_err(), "bytes of a stranger opened");
    let _ = claimed_key_version(&stranger);
    let [how, high, low, text @ ..] = data else { return };
    let text = String::from_utf8_lossy(text);
    let Ok(sealed) = KEYS.seal(&PLACE, &RefreshToken(Secret::new(text.as_ref()))) else {
        return assert!(text.len() > bursar::seal::SECRET_MAX);
    };
    let opened: RefreshToken = KEYS.open(&PLACE, &sealed).expect("it opens where it was sealed");
    assert_eq!(opened.secret().expose(), text);
    assert_eq!((sealed.bytes().len() - 100 - 16) % 256, 0, "lengths show in steps only");
    let mut bytes = sealed.bytes().to_vec();
    let at = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
    match how % 3 {
        0 => bytes[at] ^= 1 << (how >> 5),
        1 => bytes.truncate(at),
        _ => bytes.insert(at, *how),
    }
    assert!(KEYS.open::<RefreshToken>(&PLACE, &Sealed::from_bytes(bytes)).is_err());
    assert!(KEYS.open::<AccessToken>(&PLACE, &Sealed::from_bytes(sealed.bytes())).is_err(), "another purpose");
    let elsewhere = Place { generation: PLACE.generation + u64::from(*how) + 1, ..PLACE };
    assert!(KEYS.open::<RefreshToken>(&elsewhere, &sealed).is_err(), "another place");
});
