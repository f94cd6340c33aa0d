//! Keyset files: made, looked at, and changed as a whole. Needs no server and prints no key.

use crate::{
    app::KeysetKey,
    cli::{
        ApiArgs,
        console::{Console, Format},
        failure::Failure,
        table,
    },
    domain::token::Secret,
};
use anyhow::Context;
use clap::{Args, Subcommand};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Only the owner may read a keyset.
const MODE: u32 = 0o600;

/// Largest keyset file, in bytes.
const BYTES_MAX: u64 = 64 * 1024;
/// How keys of a keyset are listed.
const HEADINGS: [&str; 3] = ["VERSION", "ROLE", "ID"];

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeysetCommand {
    /// Put a new key into a keyset file; it wraps from now on, the others unwrap
    Add(Changed),
    /// List the keys of a keyset file, without what is secret
    List {
        /// The keyset file
        file: PathBuf,
    },
    /// Take a key out of a keyset file: only once `bursar keys retire` has noted that nothing needs it
    Remove {
        #[command(flatten)]
        changed: Changed,
        /// Number of the key, as `list` shows it
        version: u32,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Changed {
    /// The keyset file
    file: PathBuf,
    /// Write here instead, to a file that does not exist; FILE stays as it is
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What is done with a new keyset.
pub(super) fn generated(out: &Path, console: &mut Console) -> Result<(), Failure> {
    generate(out, crate::app::generate_keyset)?;
    let path = table::plain(&out.display().to_string());
    console.print(&format!(
        "New keyset in {path}, readable by its owner only.\n\
         Next: write its path as keys.keyset_file into the configuration, and make it readable for the account \
         that the server runs as.\n\
         Keep a copy where the store's backups are not: without the keyset nothing in the store can be opened, \
         and with both everything can.\n"
    ))
}

impl KeysetCommand {
    pub(super) fn run(self, api: &ApiArgs, console: &mut Console) -> Result<(), Failure> {
        match self {
            Self::Add(changed) => {
                changed.write(crate::app::rotated_keyset)?;
                let path = table::plain(&changed.target().display().to_string());
                console.print(&format!(
                    "New key in {path}; the ones before it still unwrap.\n\
                     Next: bring this file to every replica, and keep a copy of it where the store's backups are not. \
                     When all have it, run `bursar keys rotate kek`.\n"
                ))
            }
            Self::Remove { changed, version } => {
                changed.write(|keyset| crate::app::keyset_without(keyset, version))?;
                let path = table::plain(&changed.target().display().to_string());
                console.print(&format!(
                    "Key {version} is not in {path} any more.\n\
                     A back-up of the store that was made while root keys were wrapped by it opens with a copy of the \
                     old file only: keep or destroy that copy with the back-up.\n"
                ))
            }
            Self::List { file } => {
                let keys = crate::app::keyset_keys(&read(&file)?).map_err(Failure::Local)?;
                match api.output {
                    Format::Table => {
                        let head = HEADINGS.map(ToOwned::to_owned).to_vec();
                        let row =
                            |key: &KeysetKey| vec![key.version.to_string(), key.role.into(), key.id.clone()];
                        console
                            .print(&table::aligned([head].into_iter().chain(keys.iter().map(row)).collect()))
                    }
                    Format::Json | Format::Yaml => console.data(&keys, api.output),
                }
            }
        }
    }
}

impl Changed {
    fn target(&self) -> &Path {
        self.out.as_deref().unwrap_or(&self.file)
    }

    /// Writes what becomes of the keyset: whole, or not at all.
    fn write(&self, change: impl FnOnce(&Secret) -> anyhow::Result<Secret>) -> Result<(), Failure> {
        let next = change(&read(&self.file)?).map_err(Failure::Local)?;
        match &self.out {
            Some(out) => generate(out, || Ok(next)),
            None => replace(&self.file, &next).map_err(|error| {
                Failure::Local(error.context(format!("{} could not be replaced", self.file.display())))
            }),
        }
    }
}

fn read(file: &Path) -> Result<Secret, Failure> {
    let mut text = Zeroizing::new(String::with_capacity(4096));
    let read = File::open(file).and_then(|open| open.take(BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| {
        let context = format!("{} could not be read", file.display());
        Failure::Local(anyhow::Error::new(error).context(context))
    })?;
    Ok(Secret::new(text.as_str()))
}

/// With the mode and the owner that it had, and never half of it: a server reads it while it is written.
fn replace(file: &Path, keyset: &Secret) -> anyhow::Result<()> {
    let before = fs::metadata(file).context("it could not be looked at")?;
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let fresh = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside);
    let fresh = fresh.with_context(|| format!("{} could not be made", beside.display()))?;
    let replaced = (|| {
        let made = fresh.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            std::os::unix::fs::fchown(&fresh, Some(before.uid()), Some(before.gid()))
                .context("its owner could not be kept; use --out, and copy the file")?;
        }
        fresh.set_permissions(before.permissions())?;
        write(fresh, keyset)?;
        fs::rename(&beside, file).context("the new file could not take its place")
    })();
    replaced.inspect_err(|_| drop(fs::remove_file(&beside)))
}

pub(in crate::cli) fn generate(
    out: &Path,
    make: impl FnOnce() -> anyhow::Result<Secret>,
) -> Result<(), Failure> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} exists; keys are never overwritten", out.display()))
        }
        io::ErrorKind::NotFound => {
            Failure::Usage(format!("the folder of {} does not exist; make it first", out.display()))
        }
        _ => Failure::Local(
            anyhow::Error::new(error).context(format!("{} could not be created", out.display())),
        ),
    };
    let keyset = make().map_err(Failure::Local)?;
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(out).map_err(refused)?;
    write(file, &keyset).map_err(|error| {
        // Half a keyset helps nobody; this file was made a moment ago by this very call.
        let _ = fs::remove_file(out);
        Failure::Local(error.context(format!("{} could not be written", out.display())))
    })
}

fn write(mut file: File, keyset: &Secret) -> anyhow::Result<()> {
    file.write_all(keyset.expose().as_bytes()).context("writing failed")?;
    file.sync_all().context("the disk did not take it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_keyset_is_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keyset");
        generate(&out, || Ok(Secret::new("not-a-key"))).unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), "not-a-key");
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, MODE);
    }

    #[test]
    fn a_keyset_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keyset");
        fs::write(&out, "old").unwrap();
        let failure = generate(&out, || Ok(Secret::new("new"))).unwrap_err();
        assert_eq!(failure.exit().code(), 2);
        assert_eq!(fs::read_to_string(&out).unwrap(), "old");
    }

    #[test]
    fn a_keyset_is_replaced_as_a_whole_and_stays_as_closed_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keyset");
        let first = crate::app::generate_keyset().unwrap();
        fs::write(&file, first.expose()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let changed = Changed { file: file.clone(), out: None };
        changed.write(crate::app::rotated_keyset).unwrap();
        let told = |file: &Path| {
            let keys = crate::app::keyset_keys(&read(file).unwrap()).unwrap();
            keys.iter().map(|key| (key.version, key.role)).collect::<Vec<_>>()
        };
        assert_eq!(told(&file), [(1, "decrypt-only"), (2, "primary")]);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");

        let out = dir.path().join("other");
        let changed = Changed { file: file.clone(), out: Some(out.clone()) };
        changed.write(|keyset| crate::app::keyset_without(keyset, 1)).unwrap();
        assert_eq!(told(&out), [(2, "primary")]);
        assert_eq!(told(&file).len(), 2);
        for (version, problem) in [(2, "primary"), (7, "no key")] {
            let refusal = crate::app::keyset_without(&read(&file).unwrap(), version).unwrap_err();
            assert!(format!("{refusal:#}").contains(problem), "{refusal:#}");
        }
    }

    #[test]
    fn no_file_is_left_where_no_key_could_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keyset");
        generate(&out, || anyhow::bail!("no randomness")).unwrap_err();
        assert!(!out.exists());
    }
}
