//! `bursar keys`: makes a keyset file. Needs no server, prints no key and overwrites nothing.

use super::{console::Console, failure::Failure};
use crate::domain::token::Secret;
use anyhow::Context;
use clap::Subcommand;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Only the owner may read a keyset.
const MODE: u32 = 0o600;

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Make a keyset with one new key-encryption key
    Generate {
        /// File to write; it must not exist
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

impl KeysCommand {
    pub(super) fn run(self, console: &mut Console) -> Result<(), Failure> {
        let Self::Generate { out } = self;
        generate(&out, crate::app::generate_keyset)?;
        let path = super::table::plain(&out.display().to_string());
        console.print(&format!(
            "New keyset in {path}, readable by its owner only.\n\
             Next: write its path as keys.keyset_file into the configuration, and make it readable for the account \
             that the server runs as.\n\
             Keep a copy where the store's backups are not: without the keyset nothing in the store can be opened, \
             and with both everything can.\n"
        ))
    }
}

fn generate(out: &Path, make: impl FnOnce() -> anyhow::Result<Secret>) -> Result<(), Failure> {
    let refused = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::Usage(format!("{} exists; keysets are never overwritten", out.display()))
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
    fn no_file_is_left_where_no_key_could_be_made() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keyset");
        generate(&out, || anyhow::bail!("no randomness")).unwrap_err();
        assert!(!out.exists());
    }
}
