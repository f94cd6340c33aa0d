//! Reads JSON documents that decide where secrets go. Refuses what two readers could understand differently: a name
//! that comes twice, at any depth, and numbers, texts or nesting beyond all use.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Most members or items of one object or list.
const ITEMS_MAX: usize = 1024;

/// A whole JSON object, or nothing. The parser itself ends at 128 levels.
pub fn object(body: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice::<Strict>(body).ok()?.0 {
        Value::Object(members) => Some(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, given: bool) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_u64<E: Error>(self, given: u64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_i64<E: Error>(self, given: i64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_f64<E: Error>(self, given: f64) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_str<E: Error>(self, given: &str) -> Result<Value, E> {
        Ok(given.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            if list.len() == ITEMS_MAX {
                return Err(A::Error::custom("too many items"));
            }
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.len() == ITEMS_MAX || object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name comes twice, or too many do"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_meaning_is_read() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        let wide = format!("{{\"a\":[{}1]}}", "1,".repeat(ITEMS_MAX));
        for (body, good) in [
            (r#"{"a":1,"b":[null,true,-1,1.5,"x",{"a":1}]}"#, true),
            (" {}\n", true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"a":{"b":1,"b":2}}"#, false),
            (r#"{"a":[{"b":1,"b":2}]}"#, false),
            (r#"{"a":1,"\u0061":2}"#, false),
            (r#"{"a":1}x"#, false),
            (r#"{"a":1"#, false),
            (r#"[{"a":1}]"#, false),
            (r#""{}""#, false),
            ("\u{feff}{}", false),
            ("", false),
            (deep.as_str(), false),
            (wide.as_str(), false),
        ] {
            assert_eq!(object(body.as_bytes()).is_some(), good, "{}", &body[..body.len().min(60)]);
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_none() && object(b"\xff\xfe{\0}\0").is_none());
    }
}
