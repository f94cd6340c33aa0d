//! A client's certificate as somebody made it: it names nobody, or one SPIFFE ID of its own trust domain, or one name
//! that was configured.
#![no_main]

use bursar::{
    access::caller::Identity,
    tls::leaf::{Anchor, claimed},
};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeSet;

fuzz_target!(|der: &[u8]| {
    let names = BTreeSet::from(["svc.example.com".to_owned()]);
    let Ok(claimed) = claimed(der, &names) else { return };
    match (&claimed.identity, &claimed.anchor) {
        (Identity::Spiffe(id), Anchor::TrustDomain(domain)) => {
            let rest = id.strip_prefix("spiffe://").expect("a SPIFFE ID");
            let (trust, path) = rest.split_once('/').expect("with a path");
            assert_eq!(trust, domain.to_string());
            assert!(!path.is_empty() && !path.split('/').any(|word| matches!(word, "" | "." | "..")), "{id}");
            assert!(id.len() <= 2048);
        }
        (Identity::Dns(name), Anchor::Pki) => assert!(names.contains(name)),
        other => panic!("{other:?}"),
    }
});
