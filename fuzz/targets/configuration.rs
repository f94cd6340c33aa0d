//! An operator's configuration file and environment: what is wrong is told with its mend, and no secret with it.
#![no_main]

use bursar::{
    config::{Access, Config, Content, Files},
    seal::FileKeyset,
};
use libfuzzer_sys::fuzz_target;
use std::{io, path::Path};

const SECRET: &str = "canary-secret-4711";

/// Every file is there, and holds the secret.
struct Anything;

impl Files for Anything {
    fn read(&self, _: &Path, _: usize) -> io::Result<Content> {
        Ok(Content { bytes: SECRET.as_bytes().to_vec().into(), access: Access { owner: 0, mode: 0o600 } })
    }

    fn list(&self, _: &Path, _: usize) -> io::Result<Vec<String>> {
        Ok(vec!["a.toml".to_owned(), ".hidden".to_owned()])
    }
}

fuzz_target!(|text: &str| {
    let (file, env) = text.split_once('\0').unwrap_or((text, ""));
    let env = env.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::load(Some(("bursar.toml", file)), env, &[], &Anything) {
        Ok(config) => {
            assert!(config.limits.concurrent_requests >= 1);
            assert!(!format!("{config:?}").contains(SECRET) || text.contains(SECRET), "a secret is shown");
            let _ = FileKeyset::parse(SECRET).unwrap_err();
        }
        Err(error) => {
            assert!(!error.mistakes.is_empty());
            assert!(error.mistakes.iter().all(|mistake| !mistake.mend.is_empty() && !mistake.key.is_empty()));
            let shown = error.to_string();
            assert!(!shown.contains(SECRET) || text.contains(SECRET), "{shown}");
            assert!(!shown.contains('\u{1b}'), "a terminal would take it for an order: {shown:?}");
        }
    }
});
