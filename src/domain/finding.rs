//! What a look at a provider found, a line each, with what to do about it.

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: an endpoint, a certificate, a method.
    pub subject: String,
    /// What was found. Holds nothing that a server wrote but harmless words.
    pub text: String,
    /// What to do about it; empty where there is nothing to do.
    pub mend: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Ok,
    /// It works, or is not known to work; somebody should look.
    Warn,
    /// It does not work.
    Fail,
}

impl Finding {
    pub fn ok(subject: impl Into<String>, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), text: text.into(), mend: String::new() }
    }

    pub fn warn(subject: impl Into<String>, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject: subject.into(), text: text.into(), mend: mend.into() }
    }

    pub fn fail(subject: impl Into<String>, text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { level: Level::Fail, subject: subject.into(), text: text.into(), mend: mend.into() }
    }
}
