//! The PEM files that TLS is made of: read at the start, and again and again while the process runs.

use super::{
    Bundles, Certificate, Files, Tls, files,
    listening::{BUNDLES_DIR, CA_FILE, CERT_FILE, KEY_FILE},
};
use crate::domain::spiffe::TrustDomain;
use crate::domain::token::Secret;
use std::path::{Path, PathBuf};

/// Most trust domains with a bundle of their own.
const BUNDLES_MAX: usize = 256;
const BUNDLE_ENDING: &str = "pem";

/// What the PEM files hold at one moment.
pub struct PemFiles {
    /// Chain and key.
    pub certificate: Option<(Pem, Pem)>,
    pub bundles: Vec<(TrustDomain, Pem)>,
    pub ca: Option<Pem>,
}

/// One of them.
pub struct Pem {
    /// The key that names the file, or its folder.
    pub key: &'static str,
    pub path: PathBuf,
    pub text: Secret,
}

/// A PEM file that cannot be read or used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {} {problem}\n    mend: {mend}", .path.display())]
pub struct PemTrouble {
    pub key: &'static str,
    pub path: PathBuf,
    pub problem: String,
    pub mend: String,
}

impl Tls {
    /// Reads what is there now, by path: Kubernetes swaps the folder behind it.
    pub fn read(&self, files: &dyn Files) -> Result<PemFiles, PemTrouble> {
        let certificate = match &self.certificate {
            Certificate::Files { cert, key } => {
                Some((pem(files, CERT_FILE, cert)?, key_pem(files, KEY_FILE, key)?))
            }
            Certificate::WorkloadApi => None,
        };
        let bundles = match &self.bundles {
            Bundles::Files(folder) => bundles(files, folder)?,
            Bundles::Nowhere | Bundles::WorkloadApi => Vec::new(),
        };
        let ca = self.ca_file.as_ref().map(|path| pem(files, CA_FILE, path)).transpose()?;
        Ok(PemFiles { certificate, bundles, ca })
    }
}

impl Pem {
    /// What is wrong with what this file says.
    pub fn trouble(&self, problem: impl Into<String>, mend: impl Into<String>) -> PemTrouble {
        PemTrouble { key: self.key, path: self.path.clone(), problem: problem.into(), mend: mend.into() }
    }
}

pub(super) fn pem(files: &dyn Files, key: &'static str, path: &Path) -> Result<Pem, PemTrouble> {
    let text = files::pem(files, path).map_err(|trouble| told(key, path, trouble))?;
    Ok(Pem { key, path: path.to_owned(), text: Secret::new(text) })
}

pub(super) fn key_pem(files: &dyn Files, key: &'static str, path: &Path) -> Result<Pem, PemTrouble> {
    let text = files::secret(files, path).map_err(|trouble| told(key, path, trouble))?;
    Ok(Pem { key, path: path.to_owned(), text })
}

fn told(key: &'static str, path: &Path, (problem, mend): files::Trouble) -> PemTrouble {
    PemTrouble { key, path: path.to_owned(), problem, mend }
}

fn bundles(files: &dyn Files, folder: &Path) -> Result<Vec<(TrustDomain, Pem)>, PemTrouble> {
    let there = files::named(files, folder, BUNDLE_ENDING, BUNDLES_MAX);
    let there = there.map_err(|trouble| told(BUNDLES_DIR, folder, trouble))?;
    if there.is_empty() {
        let problem = "has no bundle".to_owned();
        let mend = "write each trust domain's authorities to a file there, like `example.org.pem`".to_owned();
        return Err(told(BUNDLES_DIR, folder, (problem, mend)));
    }
    there
        .iter()
        .map(|name| {
            let path = folder.join(name);
            let stem =
                name.strip_suffix(BUNDLE_ENDING).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
            let domain: TrustDomain = stem.parse().map_err(|_| {
                let problem = "is not named after a trust domain".to_owned();
                let mend = "name it like `example.org.pem`: 1 to 255 of a-z, 0-9, `.`, `-` and `_`";
                told(BUNDLES_DIR, &path, (problem, mend.to_owned()))
            })?;
            Ok((domain, pem(files, BUNDLES_DIR, &path)?))
        })
        .collect()
}
