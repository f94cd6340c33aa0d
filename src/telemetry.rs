//! What the process says about itself: log lines on the standard error stream, as JSON or for people.
//! Events are a constant lower-case message and dotted fields. Never lets a library speak below INFO.

mod located;
mod pretty;

use std::{io::IsTerminal, str::FromStr};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    fmt::{self, MakeWriter, time::SystemTime},
    layer::SubscriberExt,
};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One object a line: `timestamp` (RFC 3339, UTC), `level`, `message`, the fields, `target`; within a trace that is
    /// recorded `trace_id` and `span_id`.
    Json,
    /// `22:11:48.123 I message key=value`, coloured on a terminal.
    Pretty,
}

/// Which events are written.
///
/// HTTP and Redis libraries print headers, bodies and commands at DEBUG and TRACE, and with them client secrets,
/// tokens and passwords. So a level without a module name means bursar's own modules; everything foreign is at
/// WARN, and asking for more gets INFO at most. There is deliberately no list of dangerous crates: the next
/// dependency would be missing from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Targets);

/// Prefix of our own modules.
const OWN: &str = env!("CARGO_CRATE_NAME");
const FOREIGN_DEFAULT: LevelFilter = LevelFilter::WARN;
const FOREIGN_MOST: LevelFilter = LevelFilter::INFO;
/// Most directives in one filter.
const DIRECTIVES_MAX: usize = 64;
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Why a text is no [`Filter`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// A word that is neither a level nor `module=level`.
    #[error("`{0}` is neither a level nor module=level")]
    Directive(String),
    /// What follows `=` is not a level.
    #[error("`{0}` is not a level")]
    Level(String),
    /// More than one level without a module.
    #[error("two levels are given for the same modules")]
    TwoLevels,
    /// More directives than anybody needs.
    #[error("more than {DIRECTIVES_MAX} directives are given")]
    TooMany,
}

/// Logging was set up before in this process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("logging is already set up")]
pub struct AlreadySetUp;

/// Starts logging for the whole process. Records of the `log` facade are not bridged: they come from
/// libraries only, and pass no filter of ours.
pub fn init(format: Format, filter: &Filter) -> Result<(), AlreadySetUp> {
    let ansi = std::io::stderr().is_terminal();
    let subscriber = subscriber(format, filter, std::io::stderr, ansi);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| AlreadySetUp)
}

fn subscriber<W>(format: Format, filter: &Filter, writer: W, ansi: bool) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    // Colours are also off when NO_COLOR is set, which the layer knows by itself.
    let layer = if ansi { layer } else { layer.with_ansi(false) };
    let layer = match format {
        Format::Json => {
            let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
            layer.map_event_format(located::Line).boxed()
        }
        Format::Pretty => layer.event_format(pretty::Line(SystemTime)).boxed(),
    };
    Registry::default().with(layer.with_filter(filter.0.clone()))
}

impl Filter {
    /// Whether an event of this module and level is written.
    pub fn allows(&self, target: &str, level: Level) -> bool {
        self.0.would_enable(target, &level)
    }

    fn new(own: LevelFilter, named: Vec<(String, LevelFilter)>) -> Self {
        let targets = Targets::new().with_default(own.min(FOREIGN_DEFAULT)).with_target(OWN, own);
        let named = named.into_iter().map(|(target, level)| {
            let most = if is_own(&target) { LevelFilter::TRACE } else { FOREIGN_MOST };
            (target, level.min(most))
        });
        Self(targets.with_targets(named))
    }
}

fn is_own(target: &str) -> bool {
    target.strip_prefix(OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

impl Default for Filter {
    fn default() -> Self {
        Self::new(LevelFilter::INFO, Vec::new())
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(given: &str) -> Result<Self, FilterError> {
        let (mut own, mut named) = (None, Vec::new());
        for directive in given.split(',').map(str::trim) {
            if named.len() >= DIRECTIVES_MAX {
                return Err(FilterError::TooMany);
            }
            match directive.split_once('=') {
                Some((target, word)) if is_module(target) => named.push((
                    target.to_owned(),
                    level(word).ok_or_else(|| FilterError::Level(word.escape_debug().to_string()))?,
                )),
                Some(_) => return Err(FilterError::Directive(directive.escape_debug().to_string())),
                None => {
                    let found = level(directive)
                        .ok_or_else(|| FilterError::Directive(directive.escape_debug().to_string()))?;
                    if own.replace(found).is_some() {
                        return Err(FilterError::TwoLevels);
                    }
                }
            }
        }
        Ok(Self::new(own.unwrap_or(LevelFilter::INFO), named))
    }
}

fn is_module(target: &str) -> bool {
    !target.is_empty() && target.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn level(word: &str) -> Option<LevelFilter> {
    LEVELS.contains(&word).then(|| word.parse().ok()).flatten()
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
