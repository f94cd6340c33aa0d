//! A root key as a key service wrapped it: which key did, its ciphertext, what it wants back with it; and how key and
//! context are bound for services that authenticate nothing beside the plaintext. docs/sealing.md specifies both.

use super::{
    envelope::frame,
    kek::{KEK_KEY_ID_MAX, KekError, KekKey, KekKind},
    keys::KeyBytes,
};
use aws_lc_rs::constant_time;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const MAGIC: &[u8; 4] = b"BSK1";
/// Longest ciphertext of one root key, in bytes: four times what the KMS v2 contract allows.
pub const KEK_CIPHERTEXT_MAX: usize = 4096;
/// Most bytes that all names and values of annotations have together: what the KMS v2 contract allows.
pub const KEK_ANNOTATIONS_MAX: usize = 32 * 1024;

/// What a key service gave for one root key. Nothing of it is secret, nothing of it is authenticated here: the root
/// key's own stamp covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub key: KekKey,
    pub ciphertext: Vec<u8>,
    pub annotations: BTreeMap<String, Vec<u8>>,
}

impl Wrapped {
    /// Magic, kind, then key id, ciphertext, and name and value of each annotation as frames, to the end.
    pub fn encode(&self) -> Vec<u8> {
        let Self { key, ciphertext, annotations } = self;
        let mut out = Vec::with_capacity(ciphertext.len() + 256);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&number(key.kind).to_be_bytes());
        frame(&mut out, &[key.id.as_bytes(), ciphertext]);
        for (name, value) in annotations {
            frame(&mut out, &[name.as_bytes(), value]);
        }
        out
    }

    /// `None` for what [`encode`](Self::encode) does not write, or what is beyond the bounds of this file.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let kind = kind_of(u16::from_be_bytes(*kind))?;
        let id = text(field(&mut rest, KEK_KEY_ID_MAX)?)?;
        let ciphertext = field(&mut rest, KEK_CIPHERTEXT_MAX)?.to_vec();
        let (mut annotations, mut left) = (BTreeMap::new(), KEK_ANNOTATIONS_MAX);
        while !rest.is_empty() {
            let name = field(&mut rest, left)?;
            left -= name.len();
            let value = field(&mut rest, left)?;
            left -= value.len();
            let name = text(name)?;
            // In order, so that there is one way only to write it.
            if annotations.last_key_value().is_some_and(|(last, _): (&String, &Vec<u8>)| *last >= name) {
                return None;
            }
            annotations.insert(name, value.to_vec());
        }
        Some(Self { key: KekKey { kind, id }, ciphertext, annotations })
    }
}

/// Context and key as one plaintext.
pub fn bound(context: &[u8], key: &KeyBytes) -> Zeroizing<Vec<u8>> {
    let fields: [&[u8]; 2] = [context, key.expose()];
    // The exact capacity, so that no growth leaves a copy of the key behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(fields.iter().map(|field| field.len() + 8).sum()));
    frame(&mut plain, &fields);
    plain
}

/// The key of such a plaintext, if it was bound to this context.
pub fn unbound(context: &[u8], plain: &[u8]) -> Result<KeyBytes, KekError> {
    let mut before = Vec::with_capacity(context.len() + 16);
    frame(&mut before, &[context]);
    before.extend_from_slice(&32_u64.to_be_bytes());
    let (found, key) = plain.split_at_checked(before.len()).ok_or(KekError::Broken)?;
    constant_time::verify_slices_are_equal(found, &before).map_err(|_| KekError::Broken)?;
    KeyBytes::from_slice(key).ok_or(KekError::Broken)
}

const fn number(kind: KekKind) -> u16 {
    match kind {
        KekKind::File => 1,
        KekKind::KmsPlugin => 2,
        KekKind::Transit => 3,
    }
}

/// A keyset wraps as a sealed value, not so.
const fn kind_of(number: u16) -> Option<KekKind> {
    match number {
        2 => Some(KekKind::KmsPlugin),
        3 => Some(KekKind::Transit),
        _ => None,
    }
}

fn field<'a>(rest: &mut &'a [u8], most: usize) -> Option<&'a [u8]> {
    let (length, behind) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok().filter(|length| *length <= most)?;
    let (field, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    Some(field)
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped() -> Wrapped {
        let annotations = [("a.example.org".to_owned(), vec![1]), ("b.example.org".to_owned(), vec![])];
        let key = KekKey { kind: KekKind::KmsPlugin, id: "key 1".to_owned() };
        Wrapped { key, ciphertext: vec![7; 60], annotations: annotations.into() }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let (wrapped, bytes) = (wrapped(), wrapped().encode());
        assert_eq!(Wrapped::parse(&bytes), Some(wrapped));
        for cut in 0..bytes.len() {
            // Behind the ciphertext and between annotations it may end.
            let whole = [87, 117].contains(&cut);
            assert_eq!(Wrapped::parse(&bytes[..cut]).is_some(), whole, "cut at {cut}");
        }
        for (at, byte) in [(0, b'X'), (4, 1), (5, 1), (5, 4), (6, 1), (13, 255)] {
            let mut changed = bytes.clone();
            changed[at] = byte;
            assert_eq!(Wrapped::parse(&changed), None, "byte {at}");
        }
    }

    #[test]
    fn every_part_of_a_wrapped_key_has_a_bound() {
        let fits = |wrapped: &Wrapped| Wrapped::parse(&wrapped.encode()).as_ref() == Some(wrapped);
        for (id, ciphertext, value, good) in [
            (1024, 4096, 32 * 1024 - 1, true),
            (1025, 60, 0, false),
            (1, 4097, 0, false),
            (1, 60, 32 * 1024, false),
        ] {
            let key = KekKey { kind: KekKind::Transit, id: "k".repeat(id) };
            let annotations = [("n".to_owned(), vec![0; value])].into();
            let wrapped = Wrapped { key, ciphertext: vec![0; ciphertext], annotations };
            assert_eq!(fits(&wrapped), good, "{id} {ciphertext} {value}");
        }
        // All annotations together have one.
        for (more, good) in [(0, true), (1, false)] {
            let half = KEK_ANNOTATIONS_MAX / 2 - 1;
            let annotations = [("a".to_owned(), vec![0; half]), ("b".to_owned(), vec![0; half + more])];
            let wrapped = Wrapped { annotations: annotations.into(), ..wrapped() };
            assert_eq!(fits(&wrapped), good, "{more} more");
        }
    }

    #[test]
    fn annotations_have_one_order() {
        let mut bytes = Wrapped { annotations: BTreeMap::new(), ..wrapped() }.encode();
        frame(&mut bytes, &[b"b", b"", b"a", b""]);
        assert_eq!(Wrapped::parse(&bytes), None);
        let mut twice = Wrapped { annotations: BTreeMap::new(), ..wrapped() }.encode();
        frame(&mut twice, &[b"a", b"", b"a", b""]);
        assert_eq!(Wrapped::parse(&twice), None);
    }

    #[test]
    fn a_bound_key_comes_out_in_its_context_only() {
        let key = KeyBytes::generate();
        let plain = bound(b"here", &key);
        assert_eq!(plain.capacity(), plain.len(), "it grew");
        assert_eq!(unbound(b"here", &plain).unwrap().expose(), key.expose());
        for elsewhere in [&b""[..], b"her", b"heree", b"her\0", b"Here"] {
            assert_eq!(unbound(elsewhere, &plain).unwrap_err(), KekError::Broken);
        }
        let longer = [&plain[..], &[0]].concat();
        for garbage in [&b""[..], b"short", &plain[..plain.len() - 1], &longer, &plain[1..]] {
            assert_eq!(unbound(b"here", garbage).unwrap_err(), KekError::Broken);
        }
    }
}
