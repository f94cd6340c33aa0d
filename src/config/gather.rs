//! Puts defaults, file and environment over each other, key by key, and writes down what does not fit.
//! Opens no file; what keys mean together is decided elsewhere.

use super::{
    Mistake, Origin, SPIFFE_ENDPOINT_SOCKET,
    schema::{Key, SCHEMA, Schema},
    value::{Raw, Value, Wrong},
};
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What was set so far.
#[derive(Debug)]
pub(super) struct Settings {
    /// What can be set.
    schema: &'static Schema,
    /// `None`: something was set that does not fit.
    given: BTreeMap<&'static str, (Option<Value>, Origin)>,
    /// The file could not be parsed: what it sets is unknown.
    unread: bool,
    pub(super) mistakes: Vec<Mistake>,
}

/// A value taken out of its [`Value`].
pub(super) trait Typed: Sized {
    fn of(value: &Value) -> Option<Self>;
}

/// Names alike enough to be meant, from 0 to 1 (Jaro-Winkler).
const ALIKE: f64 = 0.85;
const PREFIX: &str = "BURSAR_";

impl Default for Settings {
    fn default() -> Self {
        Self::of(&SCHEMA)
    }
}

impl Settings {
    pub(super) fn of(schema: &'static Schema) -> Self {
        Self { schema, given: BTreeMap::new(), unread: false, mistakes: Vec::new() }
    }

    pub(super) fn take_file(&mut self, name: &str, text: &str) {
        let line = |at: usize| text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        let origin = |at| Origin::File { name: name.to_owned(), line: line(at) };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            self.mistakes.push(Mistake {
                key: "TOML".to_owned(),
                origin: origin(error.span().map_or(0, |span| span.start)),
                // Only the message: the rest of the error quotes the line.
                problem: error.message().to_owned(),
                mend: "mend the syntax; what the file sets is not checked until then".to_owned(),
            });
        }
        self.unread = !errors.is_empty();
        if !self.unread {
            self.take_table("", table.get_ref(), &origin);
        }
    }

    fn take_table(&mut self, above: &str, table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) {
        for (word, value) in table {
            let word_text: &str = word.get_ref();
            let name = if above.is_empty() { word_text.to_owned() } else { format!("{above}.{word_text}") };
            self.take_entry(&name, value, origin(word.span().start), origin);
        }
    }

    fn take_entry(
        &mut self,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        here: Origin,
        origin: &dyn Fn(usize) -> Origin,
    ) {
        match (self.schema.key(name), value.get_ref()) {
            (Some(key), value) => self.put(key, &Raw::from_toml(value), here),
            (None, DeValue::Table(table)) if self.schema.has_section(name) || !table.is_empty() => {
                self.take_table(name, table, origin);
            }
            (None, _) if self.schema.has_section(name) => self.mistakes.push(Mistake {
                key: shown(name),
                origin: here,
                problem: "is a section, not a key".to_owned(),
                mend: format!("write [{name}] on a line of its own, and its keys below"),
            }),
            (None, _) => {
                let names = self.schema.keys.iter().map(|key| key.name.clone());
                self.unknown(shown(name), here, "is not a key", meant(name, names));
            }
        }
    }

    pub(super) fn take_env(&mut self, env: impl IntoIterator<Item = (String, String)>, elsewhere: &[&str]) {
        let known = |name: &str| name.starts_with(PREFIX) || name == SPIFFE_ENDPOINT_SOCKET;
        let mut ours: Vec<_> = env.into_iter().filter(|(name, _)| known(name)).collect();
        ours.sort_unstable();
        // Sorted behind ours, and the weakest: a key that was set anywhere wins.
        let agent = ours.pop_if(|(name, _)| name == SPIFFE_ENDPOINT_SOCKET);
        for (variable, text) in ours {
            let origin = Origin::Environment(shown(&variable));
            match self.schema.keys.iter().find(|key| key.variable() == variable) {
                Some(key) if text.contains(char::REPLACEMENT_CHARACTER) => {
                    let problem = "is not UTF-8 text".to_owned();
                    self.refuse(key, origin, Wrong { problem, mend: key.kind.mend() });
                }
                Some(key) => self.put(key, &Raw::from_env(text, &key.kind), origin),
                None if elsewhere.contains(&variable.as_str()) || is_service_link(&variable, &text) => {}
                None => {
                    let names = self.schema.keys.iter().map(Key::variable);
                    let alike = meant(&variable, names);
                    self.unknown(shown(&variable), origin, "is not a variable of bursar", alike);
                }
            }
        }
        if let Some((_, address)) = agent {
            self.take_agent(address);
        }
    }

    /// Where the platform says that the SPIFFE agent is.
    fn take_agent(&mut self, address: String) {
        let key = self.schema.key("identity.spiffe.workload_api");
        let unset = |key: &&Key| !self.given.contains_key(key.name.as_str());
        if let Some(key) = key.filter(unset).filter(|_| !address.is_empty()) {
            self.put(key, &Raw::Text(address), Origin::Environment(SPIFFE_ENDPOINT_SOCKET.to_owned()));
        }
    }

    pub(super) fn take_dev(
        &mut self,
        data_dir: PathBuf,
        listen: SocketAddr,
        callback: SocketAddr,
        monitoring: SocketAddr,
    ) {
        for (name, text) in [
            ("listen", listen.to_string().as_str()),
            ("authorization.listen", callback.to_string().as_str()),
            ("authorization.public_url", format!("http://{callback}").as_str()),
            ("monitoring.listen", monitoring.to_string().as_str()),
            ("egress.addresses", "loopback"),
            ("process.memory_lock", "off"),
            ("log.format", "pretty"),
            // Heads of the trail are for a log that is kept elsewhere.
            ("log.level", "info,bursar::audit::recorder=warn"),
        ] {
            if let Some(key) = self.schema.key(name) {
                self.put(key, &Raw::Text(text.to_owned()), Origin::Default);
            }
        }
        self.given.insert("data_dir", (Some(Value::Path(data_dir)), Origin::Default));
    }

    fn put(&mut self, key: &'static Key, raw: &Raw, origin: Origin) {
        match key.kind.check(raw) {
            Ok(value) => {
                self.given.insert(&key.name, (Some(value), origin));
            }
            Err(wrong) => self.refuse(key, origin, wrong),
        }
    }

    fn refuse(&mut self, key: &'static Key, origin: Origin, Wrong { problem, mend }: Wrong) {
        self.given.insert(&key.name, (None, origin.clone()));
        self.mistakes.push(Mistake { key: key.name.clone(), origin, problem, mend });
    }

    fn unknown(&mut self, key: String, origin: Origin, problem: &str, alike: Option<String>) {
        let mend = match alike {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("remove it; {} lists every key", self.schema.listing),
        };
        self.mistakes.push(Mistake { key, origin, problem: problem.to_owned(), mend });
    }

    /// A mistake of a value that fits its own key.
    pub(super) fn object(&mut self, key: &str, problem: impl Into<String>, mend: impl Into<String>) {
        let origin = self.origin(key);
        self.mistakes.push(Mistake {
            key: key.to_owned(),
            origin,
            problem: problem.into(),
            mend: mend.into(),
        });
    }

    /// Where the present value comes from.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.given.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// Whether what these keys say together can be judged: none of them is wrong by itself.
    pub(super) fn sound(&self, keys: &[&str]) -> bool {
        !self.unread && keys.iter().all(|key| self.given.get(key).is_none_or(|(value, _)| value.is_some()))
    }

    /// Keys of a section whose values are not their defaults.
    pub(super) fn changed_in(&self, section: &str) -> Vec<&'static str> {
        let inside = |name: &str| name.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'));
        let changed = self.schema.keys.iter().filter(|key| match self.given.get(key.name.as_str()) {
            Some((Some(value), _)) => *value != key.default,
            Some((None, _)) | None => false,
        });
        changed.map(|key| key.name.as_str()).filter(|name| inside(name)).collect()
    }

    pub(super) fn changed(&self, name: &str) -> bool {
        name.rsplit_once('.').is_some_and(|(section, _)| self.changed_in(section).contains(&name))
    }

    /// The value, or the default where what was given does not fit; `None` when it is unset.
    pub(super) fn optional<T: Typed>(&self, name: &str) -> Option<T> {
        let default = || self.schema.key(name).map(|key| &key.default);
        T::of(self.given.get(name).and_then(|(value, _)| value.as_ref()).or_else(default)?)
    }

    /// # Panics
    /// When there is no such key, it may be empty, or it takes another type: a slip in this room, which the
    /// first test that loads anything finds.
    #[expect(clippy::panic, reason = "a slip between default.toml and build.rs; see above")]
    pub(super) fn get<T: Typed>(&self, name: &str) -> T {
        self.optional(name).unwrap_or_else(|| panic!("`{name}` is not in default.toml with this type"))
    }
}

/// The name among `names` that was probably meant.
fn meant(name: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let scored = names.map(|known| (strsim::jaro_winkler(&known, name).max(same_word(&known, name)), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= ALIKE).then_some(best.1)
}

/// A key in the wrong section is meant too, if its last word is right.
fn same_word(known: &str, name: &str) -> f64 {
    let last = |name: &str| name.rsplit('.').next().map(ToOwned::to_owned);
    if last(known) == last(name) { ALIKE } else { 0.0 }
}

/// Names come from outside: control characters are shown, and length has an end.
fn shown(name: &str) -> String {
    name.chars().take(120).collect::<String>().escape_debug().to_string()
}

/// Kubernetes sets variables like `BURSAR_SERVICE_HOST` and `BURSAR_PORT_7600_TCP_ADDR` for every service of a
/// namespace, ours among them.
pub(super) fn is_service_link(variable: &str, value: &str) -> bool {
    let ports = |rest: &str| {
        let words: Vec<_> = rest.split('_').collect();
        let numbered = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        match words.as_slice() {
            [port, "TCP" | "UDP" | "SCTP"] | [port, "TCP" | "UDP" | "SCTP", "PROTO" | "PORT" | "ADDR"] => {
                numbered(port)
            }
            _ => false,
        }
    };
    variable.ends_with("_SERVICE_HOST")
        || variable.ends_with("_SERVICE_PORT")
        || (variable.ends_with("_PORT") && value.contains("://"))
        || variable.contains("_SERVICE_PORT_")
        || variable.match_indices("_PORT_").any(|(at, word)| ports(&variable[at + word.len()..]))
}

macro_rules! typed {
    ($($type:ty: $variant:ident;)*) => {$(
        impl Typed for $type {
            fn of(value: &Value) -> Option<Self> {
                match value {
                    Value::$variant(value) => value.clone().try_into().ok(),
                    _ => None,
                }
            }
        }
    )*};
}

typed! {
    u16: Integer;
    u32: Integer;
    u64: Integer;
    usize: Integer;
    bool: Boolean;
    std::time::Duration: Duration;
    SocketAddr: Address;
    crate::domain::names::Id: Label;
    Box<crate::telemetry::Filter>: Filter;
    String: Text;
    PathBuf: Path;
    url::Url: Url;
}
