//! The sealed value `BSR1`: what its bytes are and what they are bound to (docs/sealing.md is its specification).
//! Knows neither owners nor chains, and never says why a value did not open.

use super::{SealBroken, kek::KekId, keys::KeyBytes};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time, digest, hkdf, rand,
};
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"BSR1";
/// HKDF-SHA-512, AES-256-GCM, padding to [`BLOCK`].
pub(super) const SUITE: u16 = 1;
const FLAGS: u16 = 0;
/// First word of every AAD and salt of the record key: one name for this generation of the format.
pub(super) const LABEL: &[u8] = b"bursar1";

const SALT_LEN: usize = 32;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const COMMITMENT_LEN: usize = 32;
/// Magic to nonce: the bytes that the AAD repeats.
const HEADER_LEN: usize = 4 + 2 + 2 + 4 + 8 + SALT_LEN + NONCE_LEN;
/// Everything before the ciphertext, in bytes.
const PREFIX_LEN: usize = HEADER_LEN + COMMITMENT_LEN + 4;

/// Plaintext grows to multiples of this many bytes, so that lengths tell little.
const BLOCK: usize = 256;
/// Longest ciphertext, in bytes, its tag included.
const CIPHERTEXT_MAX: usize = 65_536;
/// Longest secret, in bytes: what fits a ciphertext of 65 536 with its tag and a byte of padding.
pub const SECRET_MAX: usize = (CIPHERTEXT_MAX - TAG_LEN) / BLOCK * BLOCK - 1;

/// The key that seals, and what the header says about it.
#[derive(Clone, Copy)]
pub(super) struct Sealer<'a> {
    pub(super) secret: &'a KeyBytes,
    pub(super) version: u32,
    pub(super) kek: KekId,
}

/// The random part of one write.
pub(super) struct Fresh {
    pub(super) salt: [u8; SALT_LEN],
    pub(super) nonce: [u8; NONCE_LEN],
}

/// The plaintext is longer than [`SECRET_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

/// A sealed value taken apart; its lengths hold, nothing is authenticated yet.
pub(super) struct Envelope<'a> {
    pub(super) version: u32,
    pub(super) kek: KekId,
    header: &'a [u8; HEADER_LEN],
    commitment: &'a [u8],
    ciphertext: &'a [u8],
    tag: &'a [u8],
}

/// `N` random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("aws-lc ends the process rather than give no randomness");
    bytes
}

/// Appends each field behind its length (u64, big-endian): no two lists of fields look alike.
pub(super) fn frame(out: &mut Vec<u8>, fields: &[&[u8]]) {
    for field in fields {
        out.extend_from_slice(&(field.len() as u64).to_be_bytes());
        out.extend_from_slice(field);
    }
}

/// Seals `plain` so that it opens with the same key and `context` (framed fields) only.
pub(super) fn seal(with: Sealer<'_>, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, TooLarge> {
    seal_with(with, context, plain, &Fresh { salt: random(), nonce: random() })
}

/// As [`seal`], with given salt and nonce: reproducible, hence never used twice outside tests.
pub(super) fn seal_with(
    with: Sealer<'_>,
    context: &[u8],
    plain: &[u8],
    fresh: &Fresh,
) -> Result<Vec<u8>, TooLarge> {
    if plain.len() > SECRET_MAX {
        return Err(TooLarge);
    }
    let padded = (plain.len() / BLOCK + 1) * BLOCK;
    let header = header(with, fresh);
    let aad = aad(with.version, &header, context);
    let derived = Derived::new(with.secret, &fresh.salt, &aad);

    // The exact capacity, so that no growth leaves a copy of the plaintext behind.
    let mut out = Vec::with_capacity(PREFIX_LEN + padded + TAG_LEN);
    out.extend_from_slice(&header);
    out.extend_from_slice(&derived.commitment);
    let length = u32::try_from(padded + TAG_LEN).expect("CIPHERTEXT_MAX is below 2^32");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(plain);
    out.push(0x80);
    out.resize(PREFIX_LEN + padded, 0);
    let tag = derived
        .key
        .seal_in_place_separate_tag(fresh.nonce(), Aad::from(&aad), &mut out[PREFIX_LEN..])
        .expect("AES-256-GCM seals any length up to CIPHERTEXT_MAX");
    out.extend_from_slice(tag.as_ref());
    Ok(out)
}

fn header(with: Sealer<'_>, fresh: &Fresh) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut rest = header.as_mut_slice();
    let fields: [&[u8]; 7] = [
        MAGIC,
        &SUITE.to_be_bytes(),
        &FLAGS.to_be_bytes(),
        &with.version.to_be_bytes(),
        &with.kek.0,
        &fresh.salt,
        &fresh.nonce,
    ];
    for field in fields {
        let (here, behind) = rest.split_at_mut(field.len());
        here.copy_from_slice(field);
        rest = behind;
    }
    header
}

fn aad(version: u32, header: &[u8; HEADER_LEN], context: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(context.len() + HEADER_LEN + 64);
    frame(&mut aad, &[LABEL, &SUITE.to_be_bytes()]);
    aad.extend_from_slice(context);
    frame(&mut aad, &[&version.to_be_bytes(), header]);
    aad
}

/// What one write is done with: an AEAD key of its own, and the proof of which key that is.
struct Derived {
    key: LessSafeKey,
    commitment: [u8; COMMITMENT_LEN],
}

impl Derived {
    fn new(secret: &KeyBytes, salt: &[u8], aad: &[u8]) -> Self {
        let place = digest::digest(&digest::SHA256, aad);
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA512, salt).extract(secret.expose());
        let mut key = Zeroizing::new([0; 32]);
        let mut commitment = [0; COMMITMENT_LEN];
        expand(&prk, &[b"bursar/enc", &SUITE.to_be_bytes(), place.as_ref()], key.as_mut());
        expand(&prk, &[b"bursar/com", &SUITE.to_be_bytes(), place.as_ref()], &mut commitment);
        let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).expect("AES-256 takes 32 bytes");
        Self { key: LessSafeKey::new(key), commitment }
    }
}

/// How many bytes an expansion gives.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Fills `out` by HKDF-Expand (RFC 5869 §2.3).
pub(super) fn expand(prk: &hkdf::Prk, info: &[&[u8]], out: &mut [u8]) {
    prk.expand(info, Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA-512 gives up to 16320 bytes");
}

impl Fresh {
    fn nonce(&self) -> Nonce {
        Nonce::assume_unique_for_key(self.nonce)
    }
}

impl<'a> Envelope<'a> {
    /// Takes a value apart. Each byte has its place: what is shorter, longer or of another suite is broken.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, SealBroken> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(SealBroken)?;
        let (commitment, rest) = rest.split_at_checked(COMMITMENT_LEN).ok_or(SealBroken)?;
        let (length, rest) = rest.split_first_chunk().ok_or(SealBroken)?;
        let (version, kek) = key_named_by(header).ok_or(SealBroken)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| SealBroken)?;
        let padded = length.checked_sub(TAG_LEN).ok_or(SealBroken)?;
        if length != rest.len() || length > CIPHERTEXT_MAX || padded == 0 || padded % BLOCK != 0 {
            return Err(SealBroken);
        }
        let (ciphertext, tag) = rest.split_at_checked(padded).ok_or(SealBroken)?;
        Ok(Self { version, kek, header, commitment, ciphertext, tag })
    }

    /// The plaintext, in memory that is wiped; for the key and the context it was sealed with, no other.
    pub(super) fn open(&self, secret: &KeyBytes, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealBroken> {
        let aad = aad(self.version, self.header, context);
        let (_, random) = self.header.split_at(HEADER_LEN - SALT_LEN - NONCE_LEN);
        let (salt, nonce) = random.split_at(SALT_LEN);
        let derived = Derived::new(secret, salt, &aad);
        constant_time::verify_slices_are_equal(&derived.commitment, self.commitment)
            .map_err(|_| SealBroken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealBroken)?;
        let mut plain = Zeroizing::new(vec![0; self.ciphertext.len()]);
        derived
            .key
            .open_separate_gather(nonce, Aad::from(&aad), self.ciphertext, self.tag, &mut plain)
            .map_err(|_| SealBroken)?;
        let length = unpadded(&plain).ok_or(SealBroken)?;
        plain.truncate(length);
        Ok(plain)
    }
}

/// Key version and KEK hint of a header of this format.
fn key_named_by(header: &[u8; HEADER_LEN]) -> Option<(u32, KekId)> {
    let rest = header.strip_prefix(MAGIC)?.strip_prefix(&SUITE.to_be_bytes())?;
    let rest = rest.strip_prefix(&FLAGS.to_be_bytes())?;
    let (version, rest) = rest.split_first_chunk()?;
    let (kek, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*version), KekId(*kek)))
}

/// Where the padding (0x80, then zeros: ISO/IEC 7816-4) begins.
fn unpadded(plain: &[u8]) -> Option<usize> {
    let last = plain.iter().rposition(|&byte| byte != 0)?;
    (plain[last] == 0x80 && plain.len() - last <= BLOCK).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_comes_off_where_it_was_put_on_and_nowhere_else() {
        let padded = |plain: &[u8], zeros| [plain, &[0x80], &vec![0; zeros]].concat();
        let cases = [
            (padded(b"", 255), Some(0)),
            (padded(b"a", 254), Some(1)),
            (padded(b"a\x80\0", 252), Some(3)),
            (padded(b"\x80", 0), Some(1)),
            (padded(&[1; 256], 255), Some(256)),
            (padded(b"a", 255), Some(1)),
            (padded(b"a", 256), None),
            (vec![0; 256], None),
            (vec![1; 256], None),
            (Vec::new(), None),
        ];
        for (plain, want) in cases {
            assert_eq!(unpadded(&plain), want, "{plain:?}");
        }
    }

    /// A value whose length field says `said` and behind which `there` bytes follow.
    fn shaped(said: usize, there: usize) -> bool {
        let with = Sealer { secret: &KeyBytes::generate(), version: 1, kek: KekId([0; 8]) };
        let mut bytes = seal(with, b"", b"").unwrap();
        bytes[HEADER_LEN + COMMITMENT_LEN..PREFIX_LEN]
            .copy_from_slice(&u32::try_from(said).unwrap().to_be_bytes());
        bytes.resize(PREFIX_LEN + there, 0);
        Envelope::parse(&bytes).is_ok()
    }

    #[test]
    fn a_value_of_impossible_length_is_refused_before_any_key_is_tried() {
        for good in [272, 528, 65_280 + 16] {
            assert!(shaped(good, good), "{good}");
        }
        for bad in [0, 15, 16, 17, 256, 271, 273, 65_536 + 16] {
            assert!(!shaped(bad, bad), "{bad}");
        }
        for (said, there) in [(272, 271), (272, 273), (272, 528), (528, 272)] {
            assert!(!shaped(said, there), "{said} said, {there} there");
        }
    }

    #[test]
    fn framed_fields_keep_their_borders() {
        let framed = |fields: &[&[u8]]| {
            let mut out = Vec::new();
            frame(&mut out, fields);
            out
        };
        assert_eq!(framed(&[b"ab"]), *b"\0\0\0\0\0\0\0\x02ab");
        assert_ne!(framed(&[b"ab", b"c"]), framed(&[b"a", b"bc"]));
        assert_ne!(framed(&[b"ab", b""]), framed(&[b"", b"ab"]));
        assert_ne!(framed(&[b"ab"]), framed(&[b"ab", b""]));
    }
}
