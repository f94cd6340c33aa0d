//! A provider profile of an operator's: either refused with reasons, or one that sends secrets to listed hosts only.
#![no_main]

use bursar::provider::catalogue::Catalogue;
use libfuzzer_sys::fuzz_target;
use std::{sync::LazyLock, time::Duration};

/// Read once: what comes with the program is not what is tried.
static BUILT_IN: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::built_in().unwrap());

fuzz_target!(|text: &str| {
    match BUILT_IN.clone().with(&[("own.toml".to_owned(), text.to_owned())]) {
        Ok(catalogue) => {
            for profile in catalogue.iter() {
                assert!(profile.exchange_deadline() > Duration::ZERO);
                if let Some(endpoint) = &profile.token_endpoint {
                    assert!(matches!(endpoint.scheme(), "https" | "http"), "{endpoint}");
                    assert!(endpoint.username().is_empty() && endpoint.password().is_none());
                    assert!(profile.admits(endpoint), "{endpoint} is not listed");
                }
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
});
