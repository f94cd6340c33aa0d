//! What is wrong with a set of policies, and where.

use std::fmt;

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyFile {
    /// Its name without its folder; `.cedar` holds policies, `.toml` workloads.
    pub name: String,
    pub text: String,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    pub file: String,
    /// From 1.
    pub line: usize,
}

/// Something that is wrong with a set, or worth a look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub at: At,
    pub problem: String,
}

/// Everything that is wrong, at once. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl PolicyFile {
    /// Otherwise it says something of workloads.
    pub fn is_policies(&self) -> bool {
        self.name.rsplit('.').next() != Some("toml")
    }
}

impl At {
    /// The line of a byte of a text.
    pub(super) fn of(file: &str, text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        Self { file: file.to_owned(), line: before.matches('\n').count() + 1 }
    }

    pub(super) fn mistake(self, problem: impl Into<String>) -> Mistake {
        Mistake { at: self, problem: problem.into() }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
