//! Reads files, within bounds, and refuses secrets that others can read. Never says what a file holds.

use super::{ConfigError, Mistake, Origin, ProviderFile};
use crate::domain::token::Secret;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Largest configuration file, in bytes.
const CONFIG_BYTES_MAX: usize = 256 * 1024;
/// Largest file with a secret, in bytes.
const SECRET_BYTES_MAX: usize = 64 * 1024;
/// Largest provider profile, in bytes.
const PROFILE_BYTES_MAX: usize = 64 * 1024;
/// Largest file with certificates, in bytes: bundles of large trust domains are long.
const PEM_BYTES_MAX: usize = 1024 * 1024;
/// Most provider profiles in the operator's folder.
const PROFILES_MAX: usize = 256;

/// The part of a file system that configuration needs.
pub trait Files {
    /// At most `most` bytes; longer files are an error of kind [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &Path, most: usize) -> io::Result<Content>;

    /// Names of what lies in a folder, in any order; at most `most`, else an error of the same kind.
    fn list(&self, folder: &Path, most: usize) -> io::Result<Vec<String>>;
}

/// What a file holds, and who may read it: both of the same open file.
#[derive(Clone)]
pub struct Content {
    pub bytes: Zeroizing<Vec<u8>>,
    pub access: Access,
}

/// Unix owner and permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub owner: u32,
    pub mode: u32,
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

/// What is wrong with a file, and how to mend it.
pub(super) type Trouble = (String, String);

impl Files for Disk {
    fn read(&self, path: &Path, most: usize) -> io::Result<Content> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        // One allocation: growing would leave copies of a secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
        file.take(most as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Content { bytes, access: Access { owner: metadata.uid(), mode: metadata.mode() & 0o7777 } })
    }

    fn list(&self, folder: &Path, most: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            if names.len() == most {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    }
}

/// Name and text of the configuration file itself.
pub(super) fn config_file(files: &dyn Files, path: &Path) -> Result<(String, String), ConfigError> {
    let name = path.display().to_string();
    match text(files, path, CONFIG_BYTES_MAX) {
        Ok(text) => Ok((name, text)),
        Err((problem, mend)) => {
            let mistake = Mistake { key: name, origin: Origin::Default, problem, mend };
            Err(ConfigError { mistakes: vec![mistake] })
        }
    }
}

/// A secret, without the line break at its end. The path is not repeated where nothing could be read from it:
/// somebody may have written the secret itself there.
pub(super) fn secret(files: &dyn Files, path: &Path) -> Result<Secret, Trouble> {
    let content = files.read(path, SECRET_BYTES_MAX).map_err(|error| unreadable(&error, SECRET_BYTES_MAX))?;
    if let Some(others) = content.access.open_to() {
        let path = path.display().to_string();
        let path = path.escape_debug();
        return Err((
            format!("file is open to {others} (mode {:04o})", content.access.mode & 0o777),
            format!(
                "run `chmod 600 {path}`, or let root own it with mode 0640 (Kubernetes: defaultMode 0440 and fsGroup)"
            ),
        ));
    }
    let text = std::str::from_utf8(&content.bytes).map_err(|_| not_text())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(("file is empty".to_owned(), "write the secret into it".to_owned()));
    }
    Ok(Secret::new(text))
}

/// A file with a secret that is read whenever it is needed: something else replaces it while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFile {
    pub path: PathBuf,
    pub mounted: Mounted,
}

/// Who decides which permissions a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounted {
    /// The operator: others may not read it.
    ByOperator,
    /// Kubernetes, which lets everybody in the container read a service account's token.
    ByKubernetes,
}

impl SecretFile {
    /// `Err` says what is wrong with the file and how to mend it, and nothing of what it holds.
    pub fn read(&self) -> Result<Secret, String> {
        let read = match self.mounted {
            Mounted::ByOperator => secret(&Disk, &self.path),
            Mounted::ByKubernetes => text(&Disk, &self.path, SECRET_BYTES_MAX).map(Secret::new),
        };
        let told = |(problem, mend)| format!("{}: {problem}; {mend}", self.path.display());
        let secret = read.map_err(told)?;
        Ok(Secret::new(secret.expose().trim_end()))
    }
}

/// A file with certificates, which are no secret.
pub(super) fn pem(files: &dyn Files, path: &Path) -> Result<String, Trouble> {
    text(files, path, PEM_BYTES_MAX)
}

/// Names of the files with this ending in a folder, sorted; hidden ones are not among them.
pub(super) fn named(
    files: &dyn Files,
    folder: &Path,
    ending: &str,
    most: usize,
) -> Result<Vec<String>, Trouble> {
    let crowded = || (format!("has more than {most} files"), "move what is not needed elsewhere".to_owned());
    // Beside them there is room for as much else.
    let names = files.list(folder, 2 * most).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => crowded(),
        _ => unreadable(&error, 0),
    })?;
    let ends = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == ending);
    let mut names: Vec<_> = names.into_iter().filter(|name| !name.starts_with('.')).filter(ends).collect();
    names.sort_unstable();
    if names.len() > most { Err(crowded()) } else { Ok(names) }
}

/// The operator's provider profiles, by name. One trouble for each file that cannot be read.
pub(super) fn profiles(files: &dyn Files, folder: &Path) -> (Vec<ProviderFile>, Vec<Trouble>) {
    let names = match profile_names(files, folder) {
        Ok(names) => names,
        Err(trouble) => return (Vec::new(), vec![trouble]),
    };
    let (mut read, mut troubles) = (Vec::new(), Vec::new());
    for name in names {
        match text(files, &folder.join(&name), PROFILE_BYTES_MAX) {
            Ok(text) => read.push(ProviderFile { name, text }),
            Err((problem, mend)) => troubles.push((format!("`{name}`: {problem}"), mend)),
        }
    }
    (read, troubles)
}

/// The files of a folder that are profiles, in the order in which they are read; else what is wrong with the folder.
pub fn profile_files(files: &dyn Files, folder: &Path) -> Result<Vec<PathBuf>, String> {
    let names = profile_names(files, folder).map_err(|(problem, mend)| format!("{problem}; {mend}"))?;
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

/// Those files of a folder that are profiles, in the order in which they are read.
fn profile_names(files: &dyn Files, folder: &Path) -> Result<Vec<String>, Trouble> {
    // Beside the profiles there is room for as much else (Kubernetes puts hidden folders beside what it mounts).
    let names = files.list(folder, 2 * PROFILES_MAX).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => crowded(),
        _ => unreadable(&error, PROFILE_BYTES_MAX),
    })?;
    let mut names: Vec<_> = names.into_iter().filter(|name| is_profile(name)).collect();
    names.sort_unstable();
    if names.len() > PROFILES_MAX { Err(crowded()) } else { Ok(names) }
}

fn is_profile(name: &str) -> bool {
    !name.starts_with('.') && Path::new(name).extension().is_some_and(|extension| extension == "toml")
}

pub(super) fn text(files: &dyn Files, path: &Path, most: usize) -> Result<String, Trouble> {
    let mut content = files.read(path, most).map_err(|error| unreadable(&error, most))?;
    String::from_utf8(std::mem::take(&mut *content.bytes)).map_err(|_| not_text())
}

fn unreadable(error: &io::Error, most: usize) -> Trouble {
    let most = most / 1024;
    let (problem, mend) = match error.kind() {
        io::ErrorKind::NotFound => {
            ("was not found", "check the path; a relative one starts at the working directory")
        }
        io::ErrorKind::PermissionDenied => {
            ("may not be read by this process", "give the user that runs bursar the right to read it")
        }
        io::ErrorKind::FileTooLarge => {
            return (format!("is larger than {most} KiB"), "check the path".to_owned());
        }
        io::ErrorKind::IsADirectory => ("is a folder", "name a file"),
        io::ErrorKind::NotADirectory => ("is not a folder", "name a folder"),
        kind => {
            return (format!("could not be read: {kind}"), "check the path and its file system".to_owned());
        }
    };
    (problem.to_owned(), mend.to_owned())
}

fn not_text() -> Trouble {
    ("is not UTF-8 text".to_owned(), "check that the path names the right file".to_owned())
}

fn crowded() -> Trouble {
    (format!("has more than {PROFILES_MAX} profiles"), "move what is not needed elsewhere".to_owned())
}

impl Access {
    /// Who may touch the file beyond the one it is meant for. A group may, where root owns the file and the
    /// process can read it in no other way: so PostgreSQL has it, and so Kubernetes mounts secrets.
    fn open_to(self) -> Option<&'static str> {
        if self.mode & 0o007 != 0 {
            Some("everybody")
        } else if self.mode & 0o070 != 0 && (self.owner != 0 || self.mode & 0o020 != 0) {
            Some("its group")
        } else {
            None
        }
    }
}
