//! Where things lie in Redis and how they look there: names of keys, shards, bytes of a value. Pure.
//! Changing any of it needs a new [`FORMAT`].

use super::super::{Document, Key, StoreError, Version};
use crate::clock::Timestamp;

/// The number of the layout that this file describes.
pub(super) const FORMAT: u32 = 1;

/// Beyond this, in ms, a Redis score no longer holds every integer. It lies in the year 287396.
const SCORE_MAX: u64 = 1 << 53;
/// Bytes of the version at the head of a value.
const HEAD: usize = 8;

#[derive(Debug, Clone)]
pub(super) struct Layout {
    namespace: String,
    shards: u16,
}

impl Layout {
    pub(super) fn new(namespace: &str, shards: u16) -> Self {
        Self { namespace: namespace.to_owned(), shards }
    }

    pub(super) fn shards(&self) -> u16 {
        self.shards
    }

    /// What the deployment was begun with.
    pub(super) fn meta(&self) -> String {
        format!("{}:meta", self.namespace)
    }

    pub(super) fn document(&self, key: &Key) -> String {
        self.name(self.shard_of(key), &format!("d:{key}"))
    }

    pub(super) fn due(&self, shard: u16) -> String {
        self.name(shard, "due")
    }

    pub(super) fn names(&self, shard: u16) -> String {
        self.name(shard, "names")
    }

    pub(super) fn feed(&self, shard: u16) -> String {
        self.name(shard, "feed")
    }

    /// Where nothing ever lies: what a user may do is tried there.
    pub(super) fn nothing(&self, shard: u16) -> String {
        self.name(shard, "nothing")
    }

    /// The braces make Redis keep everything of a shard in one hash slot.
    fn name(&self, shard: u16, what: &str) -> String {
        format!("{}:{{s{shard:02}}}:{what}", self.namespace)
    }

    /// FNV-1a, 32 bits: stable for ever, as documents are found by it.
    pub(super) fn shard_of(&self, key: &Key) -> u16 {
        let hash = key
            .as_str()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        u16::try_from(hash % u32::from(self.shards)).unwrap_or_default()
    }
}

pub(super) fn encode(version: Version, body: &[u8]) -> Vec<u8> {
    [version.0.to_be_bytes().as_slice(), body].concat()
}

pub(super) fn decode(key: &Key, mut value: Vec<u8>) -> Result<Document, StoreError> {
    match value.first_chunk::<HEAD>().map(|head| u64::from_be_bytes(*head)) {
        Some(version) if version > 0 => {
            value.drain(..HEAD);
            Ok(Document { key: key.clone(), version: Version(version), body: value })
        }
        Some(_) | None => Err(StoreError::Broken {
            key: key.to_string(),
            cause: format!("its {} bytes do not begin with a version", value.len()),
        }),
    }
}

/// A key as an index gave it back.
pub(super) fn stored_key(key: String) -> Result<Key, StoreError> {
    Key::new(key).map_err(|error| match error {
        StoreError::Refused { key, .. } => {
            StoreError::Broken { key, cause: "an index names a malformed key".to_owned() }
        }
        other => other,
    })
}

pub(super) fn due_score(at: Timestamp) -> String {
    if at.0 <= SCORE_MAX { at.0.to_string() } else { "+inf".to_owned() }
}

pub(super) fn due_time(score: f64) -> Timestamp {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates: infinity is the end of time, what is below zero long past"
    )]
    Timestamp(score as u64)
}

/// The bounds of `ZRANGE … BYLEX`: from the prefix, or behind `after`, to the end of the prefix.
pub(super) fn lexical_range(prefix: &str, after: Option<&Key>) -> (String, String) {
    let from = match after {
        Some(after) if after.as_str() >= prefix => format!("({after}"),
        Some(_) | None => format!("[{prefix}"),
    };
    // Keys are visible ASCII: 0x7f sorts behind every continuation.
    (from, format!("({prefix}\u{7f}"))
}

/// Whether there are names behind those that were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    More,
    End,
}

/// How many names to ask each shard for, when `limit` are wanted of all: as documents are spread evenly,
/// twice the even share is nearly always enough, and [`merge`] is right even when it is not.
pub(super) fn share(limit: usize, shards: u16) -> usize {
    (limit / usize::from(shards) * 2 + 16).min(limit)
}

/// The first `limit` of the names of all shards, of which each told its first `share`. Behind the last name
/// of a shard that told as many as it was asked for, there may be others: nothing is taken from behind it.
pub(super) fn merge(found: Vec<Vec<Key>>, share: usize, limit: usize) -> (Vec<Key>, Reach) {
    let horizon = found.iter().filter(|names| names.len() >= share).filter_map(|names| names.last()).min();
    let horizon = horizon.cloned();
    let mut names: Vec<Key> = found.into_iter().flatten().collect();
    names.sort_unstable();
    if let Some(horizon) = &horizon {
        names.retain(|name| name <= horizon);
    }
    let reach = if horizon.is_some() || names.len() > limit { Reach::More } else { Reach::End };
    names.truncate(limit);
    (names, reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).unwrap()
    }

    #[test]
    fn everything_of_a_document_carries_one_hash_tag() {
        let layout = Layout::new("bursar", 16);
        let (at, shard) = (key("connection/acme/concur"), layout.shard_of(&key("connection/acme/concur")));
        let tag = format!("bursar:{{s{shard:02}}}:");
        for name in [layout.document(&at), layout.due(shard), layout.names(shard), layout.feed(shard)] {
            assert!(name.starts_with(&tag), "{name}");
        }
        assert_eq!(layout.document(&at), format!("{tag}d:connection/acme/concur"));
    }

    /// Documents already stored are looked for where these numbers say: the table never changes.
    #[test]
    fn the_shard_of_a_key_never_changes() {
        let layout = Layout::new("bursar", 16);
        // From the published test vectors of FNV-1a: "", "a", "foobar" give 811c9dc5, e40c292c, bf9cf968.
        let cases = [("a", 0xe40c_292c_u32), ("foobar", 0xbf9c_f968)];
        for (text, hash) in cases {
            assert_eq!(u32::from(layout.shard_of(&key(text))), hash % 16, "{text}");
            assert_eq!(Layout::new("other", 1).shard_of(&key(text)), 0);
        }
    }

    #[test]
    fn shards_share_the_load() {
        let layout = Layout::new("bursar", 16);
        let mut counts = [0; 16];
        for number in 0..1600 {
            counts[usize::from(layout.shard_of(&key(&format!("connection/acme/c{number}"))))] += 1;
        }
        assert!(counts.iter().all(|count| (60..150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_value_is_its_version_and_its_body() {
        let value = encode(Version(258), b"body");
        assert_eq!(value, b"\0\0\0\0\0\0\x01\x02body");
        let want = Document { key: key("a"), version: Version(258), body: b"body".to_vec() };
        assert_eq!(decode(&key("a"), value), Ok(want));
    }

    #[test]
    fn what_was_never_written_is_broken() {
        for value in [b"".as_slice(), b"short", &[0; 8], &[0; 30]] {
            let error = decode(&key("a"), value.to_vec()).unwrap_err();
            assert!(matches!(&error, StoreError::Broken { key, .. } if key == "a"), "{value:?} {error:?}");
        }
        assert!(matches!(stored_key("{}".to_owned()), Err(StoreError::Broken { .. })));
    }

    #[test]
    fn due_times_survive_as_scores() {
        for at in [0, 1, 1_800_000_000_123, SCORE_MAX - 1, SCORE_MAX] {
            let score: f64 = due_score(Timestamp(at)).parse().unwrap();
            assert_eq!(due_time(score), Timestamp(at));
        }
        for far in [SCORE_MAX + 1, u64::MAX] {
            assert_eq!(due_time(due_score(Timestamp(far)).parse().unwrap()), Timestamp::MAX);
        }
        assert_eq!(due_time(-1.0), Timestamp(0));
    }

    #[test]
    fn a_scan_begins_at_the_later_of_prefix_and_cursor() {
        let cases = [
            ("a/", None, "[a/"),
            ("a/", Some("A"), "[a/"),
            ("a/", Some("a/"), "(a/"),
            ("a/", Some("a/1"), "(a/1"),
            ("", Some("a"), "(a"),
            ("", None, "["),
        ];
        for (prefix, after, from) in cases {
            let range = lexical_range(prefix, after.map(key).as_ref());
            assert_eq!(range, (from.to_owned(), format!("({prefix}\u{7f}")), "{prefix} {after:?}");
        }
    }

    #[test]
    fn nothing_is_taken_from_behind_the_horizon_of_a_shard() {
        let keys = |names: &str| -> Vec<Key> { names.chars().map(|name| key(&name.to_string())).collect() };
        // Names by letter, shards by blank.
        let cases = [
            ("ad b", 3, 9, "abd", Reach::End),
            ("ad b", 3, 3, "abd", Reach::End),
            ("ad b", 3, 2, "ab", Reach::More),
            ("ac be d", 2, 9, "abc", Reach::More),
            ("yz be a", 2, 2, "ab", Reach::More),
            (" ", 1, 1, "", Reach::End),
        ];
        for (found, share, limit, want, reach) in cases {
            let found: Vec<_> = found.split(' ').map(keys).collect();
            assert_eq!(merge(found.clone(), share, limit), (keys(want), reach), "{found:?} {share} {limit}");
        }
    }

    #[test]
    fn a_share_is_at_least_one_and_never_more_than_is_wanted() {
        for (limit, shards, want) in [(1, 16, 1), (10, 16, 10), (1000, 16, 140), (1000, 1, 1000), (7, 64, 7)]
        {
            assert_eq!(share(limit, shards), want, "{limit} {shards}");
        }
    }
}
