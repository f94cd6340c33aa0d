//! Messages as text for people: rows of a list, key/value lines of one. Never the place for secrets:
//! no message but `Token` holds one, and that is not shown here.

use super::times;
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use prost_types::Timestamp;
use std::time::Duration;

/// A row for each message under the headings, a cell for each path.
pub(super) fn rows(columns: &[(&str, &str)], messages: &[DynamicMessage], now: &Timestamp) -> String {
    let mut cells = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect()];
    for message in messages {
        cells.push(columns.iter().map(|(_, path)| filled(at(message, path, now))).collect());
    }
    aligned(cells)
}

/// A line for each field that has a value; times both exact and relative.
pub(super) fn fields(message: &DynamicMessage, now: &Timestamp) -> String {
    let mut lines = Vec::new();
    walk(message, "", now, &mut lines);
    aligned(lines)
}

/// Text without what could steer a terminal.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Rows under each other, columns two spaces apart.
pub(super) fn aligned(rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn filled(cell: String) -> String {
    if cell.is_empty() { "-".into() } else { cell }
}

/// The value at the end of a path, nothing where it is not set.
fn at(message: &DynamicMessage, path: &str, now: &Timestamp) -> String {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = message.descriptor().get_field_by_name(name) else { return String::new() };
    if !message.has_field(&field) {
        return String::new();
    }
    match (message.get_field(&field).as_ref(), rest) {
        (Value::Message(inner), Some(rest)) => at(inner, rest, now),
        (Value::List(items), Some(rest)) => {
            let inner = items.iter().filter_map(Value::as_message);
            inner.map(|item| at(item, rest, now)).collect::<Vec<_>>().join(",")
        }
        (value, _) => text(value, &field, |time| times::relative(&time, now)),
    }
}

fn walk(message: &DynamicMessage, prefix: &str, now: &Timestamp, lines: &mut Vec<Vec<String>>) {
    for (field, value) in message.fields() {
        let name = format!("{prefix}{}", field.name());
        match value {
            Value::Message(inner) if is_structure(inner) => walk(inner, &format!("{name}."), now, lines),
            Value::List(items) if items.iter().any(|item| item.as_message().is_some()) => {
                for (index, item) in items.iter().filter_map(Value::as_message).enumerate() {
                    walk(item, &format!("{name}[{index}]."), now, lines);
                }
            }
            value => {
                let exact = |time: Timestamp| format!("{time} ({})", times::relative(&time, now));
                lines.push(vec![name, text(value, &field, exact)]);
            }
        }
    }
}

/// Whether a message is shown field by field, not as one value.
fn is_structure(message: &DynamicMessage) -> bool {
    !message.descriptor().full_name().starts_with("google.protobuf.")
}

fn text(value: &Value, field: &FieldDescriptor, time: impl Fn(Timestamp) -> String + Copy) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::String(value) => plain(value),
        Value::Bytes(value) => format!("{} bytes", value.len()),
        Value::EnumNumber(number) => match field.kind() {
            Kind::Enum(kind) => enum_name(&kind, *number),
            _ => number.to_string(),
        },
        Value::Message(message) => one_value(message, time),
        Value::List(items) => items.iter().map(|item| text(item, field, time)).collect::<Vec<_>>().join(","),
        Value::Map(entries) => {
            let mut pairs: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}={}", map_key(key), text(value, field, time)))
                .collect();
            pairs.sort();
            pairs.join(",")
        }
    }
}

fn one_value(message: &DynamicMessage, time: impl Fn(Timestamp) -> String) -> String {
    match message.descriptor().full_name() {
        "google.protobuf.Timestamp" => message.transcode_to().map(time).unwrap_or_default(),
        "google.protobuf.Duration" => {
            let span: Option<prost_types::Duration> = message.transcode_to().ok();
            span.and_then(|span| Duration::try_from(span).ok()).map(times::span).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn map_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => plain(key),
    }
}

/// A value's name without the type's name before it: `ACTIVE` for `STATE_ACTIVE`.
/// A value newer than this program is its number.
fn enum_name(kind: &EnumDescriptor, number: i32) -> String {
    let Some(value) = kind.get_value(number) else { return number.to_string() };
    // The zero value is the prefix and `UNSPECIFIED`, whatever the type is called.
    let zero = kind.default_value();
    let prefix = zero.name().strip_suffix("UNSPECIFIED").unwrap_or_default();
    value.name().strip_prefix(prefix).unwrap_or(value.name()).to_owned()
}
