//! One short line for people: time of day, letter of the level, message, fields. Whatever a field holds,
//! it stays one line and cannot steer the terminal.

use crate::traces;
use std::fmt::{self, Write as _};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields, FormattedFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Formats events; the clock is the one that the JSON lines use, or a fixed one in tests.
pub(super) struct Line<T = SystemTime>(pub(super) T);

impl<S, N, T> FormatEvent<S, N> for Line<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    T: FormatTime,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (letter, colour) = look(*event.metadata().level());
        let mut time = String::new();
        self.0.format_time(&mut Writer::new(&mut time))?;
        let time = time_of_day(&time);
        if out.has_ansi_escapes() {
            write!(out, "\x1b[2m{time}\x1b[0m \x1b[{colour}m{letter}\x1b[0m")?;
        } else {
            write!(out, "{time} {letter}")?;
        }
        let mut words = Words::default();
        event.record(&mut words);
        write!(out, " {}{}", words.message, words.fields)?;
        for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<FormattedFields<N>>().filter(|f| !f.is_empty()) {
                out.write_char(' ')?;
                tame(&mut out, fields)?;
            }
        }
        if let Some(at) = traces::ids() {
            write!(out, " trace_id={} span_id={}", at.trace, at.span)?;
        }
        writeln!(out)
    }
}

fn look(level: Level) -> (char, u8) {
    match level {
        Level::ERROR => ('E', 31),
        Level::WARN => ('W', 33),
        Level::INFO => ('I', 32),
        Level::DEBUG => ('D', 34),
        Level::TRACE => ('T', 35),
    }
}

/// `22:11:48.123` of `2026-11-23T22:11:48.123456Z`; whatever else it is given, whole.
fn time_of_day(rfc3339: &str) -> &str {
    rfc3339.get(11..23).unwrap_or(rfc3339)
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Words {
    fn add(&mut self, field: &Field, text: &str) {
        // Writing to a `String` does not fail.
        if field.name() == "message" {
            let _ = tame(&mut self.message, text);
        } else if text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"')
        {
            let _ = write!(self.fields, " {}={text:?}", field.name());
        } else {
            let _ = write!(self.fields, " {}={text}", field.name());
        }
    }
}

impl Visit for Words {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, &value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Writes text with its control characters escaped.
fn tame(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() {
            write!(out, "{}", c.escape_debug())?;
        } else {
            out.write_char(c)?;
        }
    }
    Ok(())
}
