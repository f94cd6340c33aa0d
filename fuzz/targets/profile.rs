//! A provider profile of an operator's: either refused with reasons, or one that sends secrets to listed hosts only.
#![no_main]

use bursar::provider::catalogue::Catalogue;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;

fuzz_target!(|text: &str| {
    match Catalogue::built_in().unwrap().with(&[("own.toml".to_owned(), text.to_owned())]) {
        Ok(catalogue) => {
            for profile in catalogue.iter() {
                assert!(profile.exchange_deadline() > Duration::ZERO);
                if let Some(endpoint) = &profile.token_endpoint {
                    assert!(matches!(endpoint.scheme(), "https" | "http"), "{endpoint}");
                    assert!(endpoint.username().is_empty() && endpoint.password().is_none());
                }
            }
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|error| !error.to_string().is_empty()));
        }
    }
});
