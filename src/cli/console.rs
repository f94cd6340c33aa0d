//! What the command line writes to and asks: standard output, standard error, secrets, the present.
//! The only place of the program that prints.

use super::{
    failure::{Failure, Report},
    message::{self, Resource},
    session::{Listed, Rest},
    table,
};
use prost_reflect::DynamicMessage;
use prost_types::Timestamp;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

/// The process's streams, or a test's.
pub struct Console {
    pub out: Box<dyn Write + Send>,
    pub err: Box<dyn Write + Send>,
    pub input: Box<dyn Input + Send>,
    /// The present, for times that are told relative to it.
    pub now: fn() -> Timestamp,
    /// What standard error is.
    pub screen: Screen,
}

/// Whether somebody watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A terminal: lines may be drawn over.
    Terminal,
    /// A file, a pipe, a terminal that cannot: lines only.
    Lines,
}

/// Where secrets come from.
pub trait Input {
    /// Standard input up to `limit` bytes and one more, which tells that there is more.
    fn stdin(&mut self, limit: usize) -> io::Result<Vec<u8>>;
    /// Asks the person at the terminal, without echo. `Unsupported`: there is no terminal.
    fn prompt(&mut self, question: &str) -> io::Result<String>;
    fn variable(&self, name: &str) -> Option<std::ffi::OsString>;
    /// Opens a URL in the browser of the person at the terminal. `Unsupported`: no browser, or nobody there.
    fn browse(&mut self, url: &str) -> io::Result<()>;
}

/// How answers and errors are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The messages of the API, with their own field names.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Screen {
    fn of_process() -> Self {
        let dumb = std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
        if io::stderr().is_terminal() && !dumb { Self::Terminal } else { Self::Lines }
    }
}

impl Console {
    /// The streams of this process.
    pub fn of_process(now: fn() -> Timestamp) -> Self {
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            input: Box::new(super::secret::ProcessInput),
            now,
            screen: Screen::of_process(),
        }
    }

    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Local(anyhow::Error::new(error).context("standard output could not be written")),
        })
    }

    /// To standard error; there is nowhere to tell when that fails.
    pub(super) fn complain(&mut self, text: &str) {
        let _ = self.err.write_all(text.as_bytes()).and_then(|()| self.err.flush());
    }

    /// A remark beside the answer, which stays clean.
    pub(super) fn note(&mut self, text: &str) {
        self.complain(&format!("note: {text}\n"));
    }

    pub(super) fn report(&mut self, report: &Report, format: Format) {
        let text = match format {
            Format::Table => report.to_text(),
            Format::Json | Format::Yaml => structured(&BTreeMap::from([("error", report)]), format),
        };
        self.complain(&text);
    }

    /// One resource: key/value lines, or the whole message.
    pub(super) fn show<R: Resource>(&mut self, resource: &R, format: Format) -> Result<(), Failure> {
        let message = message::dynamic(resource);
        let text = match format {
            Format::Table => table::fields(&message, &(self.now)()),
            Format::Json | Format::Yaml => structured(&message::Shown(&message), format),
        };
        self.print(&text)
    }

    /// One resource beside the answer, for programs that read standard error.
    pub(super) fn announce<R: Resource>(&mut self, resource: &R, format: Format) {
        let message = message::dynamic(resource);
        self.complain(&structured(&message::Shown(&message), format));
    }

    /// Many resources: a row for each, or an array.
    pub(super) fn listed<R: Resource>(&mut self, listed: &Listed<R>, format: Format) -> Result<(), Failure> {
        match listed.rest {
            Rest::More => {
                self.note(&format!("there are more than these {}; see --limit", listed.items.len()));
            }
            Rest::Nothing => {}
        }
        let messages: Vec<DynamicMessage> = listed.items.iter().map(message::dynamic).collect();
        let text = match format {
            Format::Table => table::rows(R::COLUMNS, &messages, &(self.now)()),
            Format::Json | Format::Yaml => {
                structured(&messages.iter().map(message::Shown).collect::<Vec<_>>(), format)
            }
        };
        self.print(&text)
    }

    /// Plain data that is no resource.
    pub(super) fn data(&mut self, data: &impl Serialize, format: Format) -> Result<(), Failure> {
        self.print(&structured(data, format))
    }

    /// The end of a resource, which leaves nothing to show: the empty message.
    pub(super) fn gone(&mut self, name: &str, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Table => format!("{name} deleted\n"),
            Format::Json | Format::Yaml => structured(&serde_json::json!({}), format),
        };
        self.print(&text)
    }
}

/// As JSON, or as YAML whose strings stay on one line.
pub(super) fn structured(value: &impl Serialize, format: Format) -> String {
    let text = match format {
        Format::Table | Format::Json => {
            serde_json::to_string_pretty(value).map(|text| escaped(&text)).map_err(anyhow::Error::new)
        }
        // Escapes all control characters by itself.
        Format::Yaml => {
            let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
            serde_saphyr::to_string_with_options(value, options).map_err(anyhow::Error::new)
        }
    };
    // Plain data with string keys always serializes.
    let mut text = text.expect("messages serialize");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// DEL and the C1 controls, which JSON allows as they are and a terminal obeys (ECMA-48). They stand in strings only.
fn escaped(json: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => write!(text, "\\u{:04x}", u32::from(c)).expect("memory takes all of it"),
            _ => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_printed_steers_a_terminal_and_all_of_it_reads_back() {
        let hostile: String = ('\0'..='\u{a0}').chain("äé\u{2028}".chars()).collect();
        let value = serde_json::json!({ &hostile: [&hostile, "plain"] });
        for format in [Format::Json, Format::Yaml] {
            let text = structured(&value, format);
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{format:?}: {text:?}");
            let read: serde_json::Value = match format {
                Format::Yaml => serde_saphyr::from_str(&text).unwrap(),
                Format::Json | Format::Table => serde_json::from_str(&text).unwrap(),
            };
            assert_eq!(read, value, "{format:?}");
        }
        assert_eq!(structured(&"a\u{9b}31m\u{7f}", Format::Json), "\"a\\u009b31m\\u007f\"\n");
    }
}
