//! The file to import: read at once, up to a bound, and looked at by others' eyes.

use crate::{
    cli::{console::Console, failure::Failure},
    domain::token::Secret,
};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Largest file, in bytes: some hundred thousand connections.
const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// What the file holds; all of it is as secret as the tokens in it.
pub(super) struct Input {
    pub(super) text: Secret,
    /// What is to be said about the file itself.
    pub(super) warning: Option<String>,
}

pub(super) fn read(path: &Path, console: &mut Console) -> Result<Input, Failure> {
    let unreadable =
        |error: io::Error| Failure::Usage(format!("{} could not be read: {error}", path.display()));
    let (bytes, warning) = if path == Path::new("-") {
        (console.input.stdin(FILE_BYTES_MAX).map_err(unreadable)?, None)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let warning = open_to_others(path, &file);
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        (bytes, warning)
    };
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Failure::Usage(format!(
            "{} is larger than {FILE_BYTES_MAX} bytes: split it",
            path.display()
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::Usage(format!("{} is not text in UTF-8", path.display())))?;
    // Spreadsheets put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    Ok(Input { text: Secret::new(text), warning })
}

#[cfg(unix)]
fn open_to_others(path: &Path, file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let mode = file.metadata().ok()?.mode() & 0o777;
    let shown = path.display();
    (mode & 0o077 != 0).then(|| {
        format!(
            "others on this machine may read {shown} (mode {mode:03o}): chmod 600, and delete it afterwards"
        )
    })
}

#[cfg(not(unix))]
fn open_to_others(_: &Path, _: &File) -> Option<String> {
    None
}

/// CSV begins with a heading, JSON with a bracket.
pub(super) fn looks_like_json(text: &str) -> bool {
    text.trim_start().starts_with(['[', '{'])
}
