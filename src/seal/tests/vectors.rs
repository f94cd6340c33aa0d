//! Vectors that hold the format still. tests/vectors/seal.py computed them with Python's `cryptography` (its own
//! HKDF, HMAC and AES-GCM calls, no code of ours); they were never taken from this crate's output. A vector that no
//! longer matches means that what lies sealed no longer opens: a changed format needs a new suite number.

use super::*;

fn vector(name: &str) -> &'static str {
    let vectors = include_str!("../../../tests/vectors/seal.txt");
    let mut lines = vectors.lines().filter_map(|line| line.split_once(' '));
    lines.find_map(|(first, rest)| (first == name).then_some(rest)).expect(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn fresh() -> Fresh {
    let ascending: Vec<u8> = (0x20..0x4c).collect();
    let (salt, nonce) = ascending.split_at(32);
    Fresh { salt: salt.try_into().unwrap(), nonce: nonce.try_into().unwrap() }
}

fn keyset() -> FileKeyset {
    FileKeyset::parse(&format!("bursar-keyset 1\n{}\n", vector("keyset_line"))).unwrap()
}

fn acme() -> OwnerKeys {
    Known { kek: keyset().id(), ..Known::acme() }.keys()
}

fn root_ring() -> Ring {
    Ring::new(deployment(1), "root", keyset().id(), 1, [(1, filled(0xc0))]).unwrap()
}

#[test]
fn sealed_values_are_those_of_the_second_implementation() {
    let (keys, long) = (acme(), "x".repeat(256));
    let cases =
        [("sealed_empty", ""), ("sealed_short", "vector-refresh-token"), ("sealed_256", long.as_str())];
    for (name, plain) in cases {
        let context = keys.0.context(keys.spot::<RefreshToken>(&place()));
        let with = Sealer { secret: &filled(0), version: 3, kek: keyset().id() };
        let sealed = seal_with(with, &context, plain.as_bytes(), &fresh()).unwrap();
        assert_eq!(hex(&sealed), vector(name), "{name}");
        assert_eq!(opened::<RefreshToken>(&keys, &place(), &bytes(vector(name))).as_deref(), Ok(plain));
    }
}

#[tokio::test]
async fn wrapped_keys_of_the_second_implementation_unlock() {
    let context = {
        let mut context = Vec::new();
        envelope::frame(&mut context, &[b"root_key", deployment(1).0.as_bytes(), &1_u32.to_be_bytes()]);
        context
    };
    let root = keyset().unwrap(&context, &bytes(vector("wrapped_root_key"))).await.unwrap();
    assert_eq!(root.expose(), filled(0xc0).expose());

    let spot = Spot {
        owner: "tenants/acme",
        resource: "keychain",
        purpose: "tenant_key",
        family: Uuid::nil(),
        generation: 3,
    };
    let tenant = root_ring().open(spot, &bytes(vector("wrapped_tenant_key"))).unwrap();
    assert_eq!(tenant[..], filled(0).expose()[..]);
}

#[test]
fn stamps_are_those_of_the_second_implementation() {
    let stamp = acme().stamp("connection/acme/concur", 9, b"body");
    assert_eq!((stamp.key_version, hex(&stamp.tag).as_str()), (3, vector("document_tag")));

    let version = KeyVersion {
        version: 3,
        state: KeyState::Active,
        wrapped: b"wrapped".to_vec(),
        created_at: NOW,
        activated_at: None,
        destroyed_at: None,
    };
    let stamp = root_ring().stamp_chain("tenants/acme", &chain::encoded(&[version], None, 0));
    assert_eq!((stamp.key_version, hex(&stamp.tag).as_str()), (1, vector("chain_tag")));
}

#[test]
fn a_keyset_line_prints_as_the_second_implementation_writes_it() {
    let text = keyset().to_text();
    assert_eq!(text.expose().lines().last(), Some(vector("keyset_line")));
}
