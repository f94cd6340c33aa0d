//! One line of the trail: an event, its place in the chain, and a MAC over both. Pure.

use super::{
    event::{Event, rfc3339},
    hex::{Hash, Tag},
};
use crate::{clock::Timestamp, seal::AuditKey};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The schema of docs/audit.md. A reader refuses what is newer.
pub const VERSION: u32 = 1;

/// What precedes the MAC at the end of a line.
const MAC: &str = ",\"mac\":\"";
/// Length of the MAC's field with all its quotes and the closing brace.
const MAC_FIELD: usize = MAC.len() + 32 + 2;

/// Where the chain has come to: the next line carries both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Of the last line; 0 before the first.
    pub seq: u64,
    /// Of the last line; zeros before the first.
    pub hash: Hash,
}

/// A line as it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub v: u32,
    /// Counts the lines of a chain from 1, over all its files.
    pub seq: u64,
    /// SHA-256 of the line before, without its line feed.
    pub prev: Hash,
    #[serde(with = "rfc3339")]
    pub at: Timestamp,
    #[serde(flatten)]
    pub event: Event,
}

/// What of a line the chain needs; the event may be one that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    pub(super) v: u32,
    pub(super) seq: u64,
    pub(super) prev: Hash,
}

/// What whoever writes lines has.
#[derive(Clone, Copy)]
pub(super) struct Pen<'a> {
    pub(super) chain: Uuid,
    pub(super) key: &'a AuditKey,
}

impl Head {
    /// Before the first line.
    pub const START: Self = Self { seq: 0, hash: Hash::ZERO };

    /// After this line, given without its line feed.
    pub(super) fn after(seq: u64, line: &[u8]) -> Self {
        Self { seq, hash: crate::seal::line_hash(line).into() }
    }
}

impl Hash {
    const ZERO: Self = Self([0; 32]);
}

impl<const N: usize> From<[u8; N]> for super::hex::Bytes<N> {
    fn from(bytes: [u8; N]) -> Self {
        Self(bytes)
    }
}

/// Appends the event as the line after `head`, with its line feed, and says where the chain is then.
pub(super) fn write(out: &mut Vec<u8>, pen: Pen<'_>, head: Head, at: Timestamp, event: &Event) -> Head {
    let seq = head.seq + 1;
    let begin = out.len();
    let unsigned = Written { v: VERSION, seq, prev: head.hash, at, event };
    serde_json::to_writer(&mut *out, &unsigned).expect("plain data with text keys serializes");
    let tag: Tag = pen.key.mac(&pen.chain, &out[begin..]).into();
    out.pop();
    out.extend_from_slice(MAC.as_bytes());
    out.extend_from_slice(tag.to_string().as_bytes());
    out.extend_from_slice(b"\"}");
    let head = Head::after(seq, &out[begin..]);
    out.push(b'\n');
    head
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    seq: u64,
    prev: Hash,
    #[serde(with = "rfc3339")]
    at: Timestamp,
    #[serde(flatten)]
    event: &'a Event,
}

/// The line's link; `None`: this is no line of a trail.
pub(super) fn link(line: &[u8]) -> Option<Link> {
    let read: Link = serde_json::from_slice(line).ok()?;
    (read.seq > 0 && mac(line).is_some()).then_some(read)
}

/// The whole line; `None`: it is none, or its event is one that this program does not know.
pub(super) fn read(line: &[u8]) -> Option<Line> {
    serde_json::from_slice(line).ok()
}

/// The MAC at the line's end, and the line without it.
fn mac(line: &[u8]) -> Option<(Vec<u8>, Tag)> {
    let (body, field) = line.split_at_checked(line.len().checked_sub(MAC_FIELD)?)?;
    let tag = field.strip_prefix(MAC.as_bytes())?.strip_suffix(b"\"}")?;
    let tag = std::str::from_utf8(tag).ok()?.parse().ok()?;
    Some(([body, b"}"].concat(), tag))
}

/// Whether a holder of the key wrote this line for this chain.
pub(super) fn is_genuine(line: &[u8], pen: Pen<'_>) -> bool {
    mac(line).is_some_and(|(body, tag)| pen.key.is_mac(&pen.chain, &body, &tag.0))
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
