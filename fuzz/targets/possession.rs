//! A proof of possession that a caller shows (RFC 9449): never good without the signature of the connection's key.
#![no_main]

use bursar::{
    clock::Timestamp,
    provider::dpop::proof::{Wanted, check},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|proof: &str| {
    let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let wanted = Wanted { jkt, connection: "tenants/acme/connections/c", at: Timestamp(1_800_000_000_000) };
    let error = check(proof, &wanted).expect_err("nobody here has the key");
    let shown = error.to_string();
    // Shorter ones, and those of other characters, are words of the language as well.
    let encoded = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let mut words = proof.split('.').filter(|word| word.len() >= 16 && word.bytes().all(encoded));
    assert!(!words.any(|word| shown.contains(word)), "{shown}");
});
