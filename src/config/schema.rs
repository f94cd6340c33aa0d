//! The keys there are, read from the comments of the embedded `default.toml`, so that what is documented and
//! what is checked cannot differ. Knows nothing of what an operator wrote.

use super::{
    DEFAULT, ISSUER_DEFAULT,
    value::{Empty, Kind, Raw, Value, duration},
};
use std::sync::LazyLock;
use toml::de::DeValue;

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    /// With its sections, as `store.redis.url`.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) default: Value,
    /// The default as it is written in TOML.
    pub(super) written: String,
    /// What it means, as one paragraph.
    pub(super) meaning: String,
    /// The words after `Type:`.
    pub(super) type_words: String,
}

#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) meaning: String,
}

#[derive(Debug, Default)]
pub(super) struct Schema {
    pub(super) keys: Vec<Key>,
    pub(super) sections: Vec<Section>,
    /// Where every key is listed.
    pub(super) listing: &'static str,
}

/// The schema of this build.
#[expect(clippy::expect_used, reason = "embedded text; every test of this room reads it")]
pub(super) static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let schema = Schema::parse(DEFAULT).expect("the embedded default.toml is a schema");
    Schema { listing: "`bursar serve --print-default-config`", ..schema }
});

/// That of a file in `identity.tokens.issuers_dir`.
#[expect(clippy::expect_used, reason = "embedded text; every test of this room reads it")]
pub(super) static ISSUER: LazyLock<Schema> = LazyLock::new(|| {
    let schema = Schema::parse(ISSUER_DEFAULT).expect("the embedded issuer.toml is a schema");
    Schema { listing: "docs/configuration.md", ..schema }
});

const TYPE: &str = "Type: ";

impl Schema {
    pub(super) fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.sections.iter().any(|section| section.name == name)
    }

    /// Reads comment lines, `[section]` and `key = value`, each on a line of its own; a blank line ends a comment
    /// that belongs to nothing. `Err` says which line is something else.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut schema, mut section, mut comment) = (Self::default(), String::new(), Vec::new());
        for line in text.lines() {
            if line.is_empty() {
                comment.clear();
            } else if let Some(words) = line.strip_prefix('#') {
                comment.push(words.trim());
            } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
                schema.sections.push(Section { name: name.to_owned(), meaning: take(&mut comment) });
            } else {
                let key = Key::parse(&section, line, &mut comment).ok_or_else(|| line.to_owned())?;
                schema.keys.push(key);
            }
        }
        Ok(schema)
    }
}

/// The comment as one paragraph.
fn take(comment: &mut Vec<&str>) -> String {
    std::mem::take(comment).join(" ")
}

impl Key {
    fn parse(section: &str, line: &str, comment: &mut Vec<&str>) -> Option<Self> {
        let (word, written) = line.split_once(" = ")?;
        let type_words = comment.pop()?.strip_prefix(TYPE)?.strip_suffix('.')?.to_owned();
        let kind = Kind::parse(&type_words)?;
        let name = if section.is_empty() { word.to_owned() } else { format!("{section}.{word}") };
        let raw = Raw::from_toml(DeValue::parse(written).ok()?.get_ref());
        let unset = Value::Unset;
        // A required key has no default; its empty text is refused when nobody sets it.
        let default = if raw.is_empty() { unset } else { kind.check(&raw).ok()? };
        Some(Self { name, kind, default, written: written.to_owned(), meaning: take(comment), type_words })
    }

    /// `BURSAR_STORE_REDIS_URL` for `store.redis.url`.
    pub(super) fn variable(&self) -> String {
        format!("BURSAR_{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }
}

impl Kind {
    /// Understands what stands after `Type:`.
    pub(super) fn parse(words: &str) -> Option<Self> {
        let (words, empty) = match words.split_once(", ") {
            // That a required one is missing is told with a mend of its own.
            Some((words, "or empty" | "required")) => (words, Empty::MeansUnset),
            _ => (words, Empty::Refused),
        };
        if let Some(range) = words.strip_prefix("integer, ") {
            let (least, most) = range.split_once(" to ")?;
            return Some(Self::Integer { least: least.parse().ok()?, most: most.parse().ok()? });
        }
        if let Some(range) = words.strip_prefix("duration, ") {
            let (least, most) = range.split_once(" to ")?;
            return Some(Self::Duration { least: duration(least)?, most: duration(most)? });
        }
        if let Some(words) = words.strip_prefix("one of ") {
            return Some(Self::OneOf(words.split(", ").map(ToOwned::to_owned).collect()));
        }
        match words {
            "boolean" => Some(Self::Boolean),
            "address" => Some(Self::AnyAddress(empty)),
            "web address" => Some(Self::WebAddress(empty)),
            "list of web addresses" => Some(Self::WebAddresses(empty)),
            "list of DNS names" => Some(Self::Names(empty)),
            "label" => Some(Self::Label),
            "log filter" => Some(Self::Filter),
            "word" => Some(Self::Word(empty)),
            "identifier" => Some(Self::Identifier(empty)),
            "list of identifiers" => Some(Self::Identifiers(empty)),
            "path" => Some(Self::Path(empty)),
            "proxy address" => Some(Self::ProxyAddress(empty)),
            "list of hosts" => Some(Self::Hosts(empty)),
            "Redis URL" => Some(Self::RedisUrl(empty)),
            _ => None,
        }
    }
}
