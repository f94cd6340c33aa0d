//! What lies on this machine's disks: who may touch it, how much room there is, whether the trail can be written, and
//! whether its end is what was written.

use super::Deployment;
use crate::{
    app::trail,
    audit::{
        reading,
        verify::{self, Against, Weight},
    },
    config::{Bundles, Store},
    doctor::{
        Finding,
        audit::{self, Folder, Key, Trail},
        files::{Holds, Lying, Mounted, permissions},
        space::{Volume, room},
    },
    seal::AuditKey,
};
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// How many of the trail's files are read, from its end: one may have been begun a moment ago.
const FILES_MAX: usize = 2;

impl Deployment {
    pub(super) fn files(&self) -> Vec<Finding> {
        let config = &self.config;
        let tls = config.tls.as_ref();
        let bundles = tls.and_then(|tls| match &tls.bundles {
            Bundles::Files(folder) => Some(folder.clone()),
            Bundles::Nowhere | Bundles::WorkloadApi => None,
        });
        let store = match &config.store {
            Store::Embedded { file } => Some(file.clone()),
            Store::Redis(_) => None,
        };
        let policies = [&config.policy.set, &config.policy.shadow].into_iter().flatten();
        let rules = [
            ("--config", self.file.clone()),
            ("providers.dir", config.providers_dir.clone()),
            ("identity.tokens.issuers_dir", config.tokens.as_ref().map(|tokens| tokens.issuers_dir.clone())),
            ("identity.spiffe.bundles_dir", bundles),
            ("identity.dns.ca_file", tls.and_then(|tls| tls.ca_file.clone())),
        ];
        let rules = rules.into_iter().chain(policies.map(|folder| (folder.key, Some(folder.path.clone()))));
        let rules = rules.map(|(key, path)| (key, path, Holds::Rules));
        let data = [
            ("store.embedded.file", store, Holds::Data),
            ("audit.dir", Some(trail::folder(config)), Holds::Data),
        ];
        let lying = |(key, path, holds): (&'static str, Option<PathBuf>, Holds)| {
            let path = path?;
            // What is not there is nobody's yet.
            let mode = fs::metadata(&path).ok()?.mode();
            let read_only =
                statvfs(&path).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
            let mounted = if read_only { Mounted::ReadOnly } else { Mounted::Writable };
            Some(Lying { key, path, mode, mounted, holds })
        };
        permissions(&rules.chain(data).filter_map(lying).collect::<Vec<_>>())
    }

    pub(super) fn disk(&self) -> Vec<Finding> {
        let folder = trail::folder(&self.config);
        let mut found = vec![audit::folder(&folder.display().to_string(), &writable(&folder))];
        found.extend(volume("audit trail", &folder).as_ref().map(room));
        if let Store::Embedded { file } = &self.config.store {
            found.extend(volume("embedded store", file).as_ref().map(room));
        }
        found
    }

    /// The end of the trail, held against its key where that is known.
    pub(super) async fn trail(&self, key: Option<AuditKey>) -> Vec<Finding> {
        let folder = trail::folder(&self.config);
        let path = folder.display().to_string();
        let read = tokio::task::spawn_blocking(move || end_of(&folder, key.as_ref())).await;
        let found = match read {
            Ok(Ok(found)) => found,
            Ok(Err(err)) => Trail::Unreadable(format!("cannot be read: {}", err.kind())),
            Err(_) => Trail::Unreadable("cannot be read".to_owned()),
        };
        audit::trail(&path, &found)
    }
}

fn end_of(folder: &Path, key: Option<&AuditKey>) -> io::Result<Trail> {
    match fs::metadata(folder) {
        Ok(_) => {}
        // That it cannot be made either is told of the folder.
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Trail::Nothing);
        }
        Err(err) => return Err(err),
    }
    let trails = reading::trails(&[folder.to_owned()])?;
    let Some(mut trail) = trails.into_iter().find(|trail| trail.folder == folder) else {
        return Ok(Trail::Nothing);
    };
    trail.files = trail.files.split_off(trail.files.len().saturating_sub(FILES_MAX));
    trail.aside.clear();
    let report = verify::verify(&trail, &Against { key, anchors: &[] })?;
    let problems = report.findings.iter().filter(|found| found.weight == Weight::Problem);
    let problems =
        problems.map(|found| format!("{}, line {}: {}", found.file, found.line, found.text)).collect();
    let key = if key.is_some() { Key::Known } else { Key::NotKnown };
    Ok(Trail::Read { lines: report.lines, problems, more: report.more, key })
}

/// The path itself, or the nearest above it that is there.
fn nearest(path: &Path) -> &Path {
    let here = |path: &&Path| fs::symlink_metadata(path).is_ok();
    let found = path.ancestors().find(here).unwrap_or(Path::new("."));
    if found.as_os_str().is_empty() { Path::new(".") } else { found }
}

fn writable(folder: &Path) -> Folder {
    let found = nearest(folder);
    let shown = found.display();
    match fs::metadata(found) {
        Ok(there) if !there.is_dir() => return Folder::Unusable(format!("{shown} is not a folder")),
        Ok(_) => {}
        Err(err) => return Folder::Unusable(format!("{shown} cannot be looked at: {}", err.kind())),
    }
    let rights = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if accessat(CWD, found, rights, AtFlags::EACCESS).is_err() {
        return Folder::Unusable(format!("this account may not write in {shown}"));
    }
    if found == folder { Folder::Writable } else { Folder::CanBeMade }
}

fn volume(of: &'static str, path: &Path) -> Option<Volume> {
    let found = statvfs(nearest(path)).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let (free, total) = (bytes(found.f_bavail), bytes(found.f_blocks));
    Some(Volume { of, path: path.to_owned(), free, total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_judged_by_what_is_there_already() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        assert_eq!(writable(folder.path()), Folder::Writable);
        assert_eq!(writable(&folder.path().join("a/b/c")), Folder::CanBeMade);
        let Folder::Unusable(cause) = writable(&file.join("a")) else { panic!() };
        assert!(cause.ends_with("is not a folder"), "{cause}");
        let found = volume("audit trail", &folder.path().join("a/b")).unwrap();
        assert!(found.total >= found.free && found.total > 0, "{found:?}");
        assert_eq!(nearest(Path::new("no/such/thing")), Path::new("."));
    }
}
