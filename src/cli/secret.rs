//! Where a secret comes from: a file, an environment variable, standard input, or a prompt without echo.
//! Never an argument. What was given in place of a file or variable is not repeated in errors: it may be
//! the secret, given in the wrong place.

use super::{
    console::{Console, Input},
    failure::Failure,
};
use crate::domain::token::Secret;
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Longest secret, in bytes: a chain of certificates is the longest that the API takes.
const SECRET_BYTES_MAX: usize = 32 * 1024;

/// What the flags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    File(PathBuf),
    Variable(String),
    Stdin,
    Prompt,
}

impl Source {
    /// `-` for the file is standard input; nothing is the prompt. Not both: clap sees to that.
    pub(super) fn of(file: Option<&Path>, variable: Option<&str>) -> Self {
        match (file, variable) {
            (Some(file), _) if file == Path::new("-") => Self::Stdin,
            (Some(file), _) => Self::File(file.to_owned()),
            (None, Some(variable)) => Self::Variable(variable.to_owned()),
            (None, None) => Self::Prompt,
        }
    }
}

/// Flags for one secret.
pub(super) trait SecretArgs {
    /// The name in the flags.
    const FLAG: &str;
    /// What it is called.
    const WHAT: &str;

    /// Where the secret is; asks for nothing yet.
    fn source(&self) -> Source;

    fn read(&self, console: &mut Console) -> Result<Secret, Failure> {
        read(&self.source(), Self::FLAG, Self::WHAT, console)
    }

    /// The same, but where nobody can be asked, standard input: for what does not exist before the command runs.
    fn read_or_stdin(&self, console: &mut Console) -> Result<Secret, Failure> {
        match self.source() {
            Source::Prompt => match console.input.prompt(&format!("{}: ", Self::WHAT)) {
                Ok(typed) => checked(typed.into_bytes(), Self::WHAT),
                Err(_) => read(&Source::Stdin, Self::FLAG, Self::WHAT, console),
            },
            source @ (Source::File(_) | Source::Variable(_) | Source::Stdin) => {
                read(&source, Self::FLAG, Self::WHAT, console)
            }
        }
    }
}

/// The flags, `--NAME-file` and `--NAME-env`.
macro_rules! secret_args {
    ($(#[$doc:meta])* $type:ident, $flag:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, clap::Args)]
        #[group(skip)]
        pub(super) struct $type {
            #[arg(
                id = concat!($flag, "-file"),
                long = concat!($flag, "-file"),
                value_name = "FILE",
                help = concat!("File that holds the ", $what, "; - is standard input"),
            )]
            file: Option<std::path::PathBuf>,
            #[arg(
                id = concat!($flag, "-env"),
                long = concat!($flag, "-env"),
                value_name = "VAR",
                help = concat!("Environment variable that holds the ", $what),
                conflicts_with = concat!($flag, "-file"),
            )]
            variable: Option<String>,
        }

        impl $crate::cli::secret::SecretArgs for $type {
            const FLAG: &str = $flag;
            const WHAT: &str = $what;

            fn source(&self) -> $crate::cli::secret::Source {
                $crate::cli::secret::Source::of(self.file.as_deref(), self.variable.as_deref())
            }
        }
    };
}
pub(super) use secret_args;

/// Reads the secret; one line end at its end is not part of it.
fn read(source: &Source, flag: &str, what: &str, console: &mut Console) -> Result<Secret, Failure> {
    let unreadable = |place: &str, error: io::Error| {
        Failure::Usage(format!("the {what} could not be read from {place}: {error}"))
    };
    let bytes = match source {
        Source::File(path) => {
            bounded_file(path).map_err(|e| unreadable(&format!("the file of --{flag}-file"), e))?
        }
        Source::Stdin => {
            console.input.stdin(SECRET_BYTES_MAX).map_err(|e| unreadable("standard input", e))?
        }
        Source::Variable(name) => console
            .input
            .variable(name)
            .ok_or_else(|| Failure::Usage(format!("the environment variable of --{flag}-env is not set")))?
            .into_encoded_bytes(),
        Source::Prompt => ask(flag, what, console)?.into_bytes(),
    };
    checked(bytes, what)
}

/// A text file that is no secret but comes the same way, such as a certificate.
pub(super) fn read_text_file(path: &Path, what: &str) -> Result<String, Failure> {
    let bytes = bounded_file(path)
        .map_err(|error| Failure::Usage(format!("the {what} could not be read from its file: {error}")))?;
    checked(bytes, what).map(|text| text.expose().to_owned())
}

/// A secret that comes from a file only.
pub(super) fn read_file(path: &Path, what: &str) -> Result<Secret, Failure> {
    let bytes = bounded_file(path)
        .map_err(|error| Failure::Usage(format!("the {what} could not be read from its file: {error}")))?;
    checked(bytes, what)
}

/// The key that a connection's tokens are to be bound to, for the request; empty where there is none.
pub(super) fn dpop_key(file: Option<&Path>) -> Result<String, Failure> {
    file.map_or(Ok(String::new()), |file| Ok(read_file(file, "DPoP key")?.expose().to_owned()))
}

fn ask(flag: &str, what: &str, console: &mut Console) -> Result<String, Failure> {
    console.input.prompt(&format!("{what}: ")).map_err(|error| {
        Failure::Usage(format!(
            "no terminal to ask for the {what} ({error}); use --{flag}-file FILE, --{flag}-file - for standard \
             input, or --{flag}-env VAR"
        ))
    })
}

fn checked(bytes: Vec<u8>, what: &str) -> Result<Secret, Failure> {
    if bytes.len() > SECRET_BYTES_MAX {
        return Err(Failure::Usage(format!("the {what} is longer than {SECRET_BYTES_MAX} bytes")));
    }
    let mut text =
        String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("the {what} is not text in UTF-8")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    let secret = Secret::new(text);
    if secret.is_empty() { Err(Failure::Usage(format!("the {what} is empty"))) } else { Ok(secret) }
}

fn bounded_file(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, SECRET_BYTES_MAX)
}

fn bounded(source: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    // One allocation: growing would leave copies of a secret behind.
    let mut bytes = Vec::with_capacity(limit.min(SECRET_BYTES_MAX) + 1);
    source.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// This process's terminal, standard input and environment.
pub(super) struct ProcessInput;

impl Input for ProcessInput {
    fn stdin(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        bounded(io::stdin().lock(), limit)
    }

    fn prompt(&mut self, question: &str) -> io::Result<String> {
        rpassword::prompt_password(question)
    }

    fn browse(&mut self, url: &str) -> io::Result<()> {
        super::browser::open(url)
    }

    fn variable(&self, name: &str) -> Option<OsString> {
        // The standard library panics at such names.
        let askable = !name.is_empty() && !name.contains(['=', '\0']);
        askable.then(|| std::env::var_os(name)).flatten()
    }
}
