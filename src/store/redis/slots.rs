//! Which hash slot a key is in, and who serves which slots, as a cluster tells it. Pure.

use redis::Value;

/// How many slots a Redis Cluster has.
pub(super) const SLOTS: u16 = 16384;

/// The slots from the first to the last, and where their primary is; without a host it is where the answer came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

/// CRC16 (XMODEM) of what stands in the first braces, as the Redis Cluster specification has it.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let tag = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16(tag.as_bytes()) % SLOTS
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// The answer of `CLUSTER SLOTS`: `[[first, last, [host, port, …], replica…], …]`. `None` when it is of another shape.
pub(super) fn ranges(answer: Value) -> Option<Vec<Range>> {
    let Value::Array(ranges) = answer else { return None };
    ranges.into_iter().map(range).collect()
}

fn range(value: Value) -> Option<Range> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let (first, last) = (number(&parts.next()?)?, number(&parts.next()?)?);
    let Value::Array(primary) = parts.next()? else { return None };
    let mut primary = primary.into_iter();
    let host: Option<String> = redis::from_redis_value(primary.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    Some(Range { first, last, host, port: number(&primary.next()?)? })
}

/// The library would cut off what is too large.
fn number(value: &Value) -> Option<u16> {
    let Value::Int(number) = value else { return None };
    u16::try_from(*number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // The check value of CRC16/XMODEM, and keys whose slots Redis documents.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("{user1000}.following", 3443), ("user1000", 3443)]
        {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_eq!(slot_of("a:{s00}:due"), slot_of("b:{s00}:d:connection/x"));
        // Empty braces are no tag; only the first braces are one.
        assert_eq!(slot_of("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot_of("foo{bar}{zap}"), 5061);
        assert_eq!(slot_of("foo{bar"), crc16(b"foo{bar") % SLOTS);
    }

    #[test]
    fn the_map_of_a_cluster_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id")]);
        let entry = |first, last, host: Value| {
            let replica = node(text("10.0.0.9"), 7009);
            Value::Array(vec![Value::Int(first), Value::Int(last), node(host, 7001), replica])
        };
        let answer = Value::Array(vec![
            entry(0, 99, text("10.0.0.1")),
            entry(100, 199, Value::Nil),
            entry(200, 16383, text("?")),
        ]);
        let range = |first, last, host: Option<&str>| Range {
            first,
            last,
            host: host.map(ToOwned::to_owned),
            port: 7001,
        };
        let want = vec![range(0, 99, Some("10.0.0.1")), range(100, 199, None), range(200, 16383, None)];
        assert_eq!(ranges(answer), Some(want));
        assert_eq!(ranges(Value::Array(vec![])), Some(vec![]));
        let broken = [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(9)])]),
            Value::Array(vec![entry(0, 70_000, text("h"))]),
        ];
        for answer in broken {
            assert_eq!(ranges(answer.clone()), None, "{answer:?}");
        }
    }
}
