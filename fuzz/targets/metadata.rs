//! What a server says of itself (RFC 8414): taken only as the word of its own issuer, with addresses that a secret may
//! be sent to.
#![no_main]

use bursar::provider::fuzzing::metadata;
use libfuzzer_sys::fuzz_target;

const ISSUER: &str = "https://as.example.com";

fuzz_target!(|data: &[u8]| {
    let Some(addresses) = metadata(data, ISSUER) else { return };
    let body: serde_json::Value = serde_json::from_slice(data).expect("what is taken is JSON");
    assert_eq!(body["issuer"], ISSUER);
    for (endpoint, url) in addresses {
        let local = url.scheme() == "http"
            && url.host_str().is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        assert!(url.scheme() == "https" || local, "{endpoint:?} {url}");
        assert!(url.username().is_empty() && url.password().is_none(), "{url}");
        assert!(url.fragment().is_none(), "{url}");
    }
});
