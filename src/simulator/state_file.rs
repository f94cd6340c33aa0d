//! A file that holds one serializable value and is never seen half-written.
//! Survives the death of the process, not of the machine: it is not synced to disk.

use super::SimulatorError;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// What the file holds; `None` if there is no such file.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, SimulatorError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(SimulatorError::StateFormat),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SimulatorError::StateFile { path: path.to_owned(), source }),
    }
}

/// Writes beside the file, then renames: a reader finds the old value or the new one.
pub(super) fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), SimulatorError> {
    let bytes = serde_json::to_vec(value).map_err(SimulatorError::StateFormat)?;
    let failed = |source| SimulatorError::StateFile { path: path.to_owned(), source };
    let beside = beside(path);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(&bytes).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_nothing_lies_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), None);
        save(&path, &vec![1, 2]).unwrap();
        save(&path, &vec![3]).unwrap();
        assert_eq!(load::<Vec<u8>>(&path).unwrap(), Some(vec![3]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(&path, "{").unwrap();
        assert!(matches!(load::<Vec<u8>>(&path), Err(SimulatorError::StateFormat(_))));
    }
}
