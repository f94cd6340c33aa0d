//! Where traces go.

use super::{mistakes::Case, *};

const PEM: &str = "-----BEGIN CERTIFICATE-----\n";
const WEB: &str = "write \"https://HOST\" or \"https://HOST/PATH\"; \"http\" is for this machine only";
const ONE_IN: &str = "write a whole number from 1 to 1000000, without quotes";
const HTTPS: &str = "remove it, or write https:// in tracing.otlp_endpoint";

const CASES: &[Case] = &[
    (
        "otlp_endpoint = \"http://collector:4317\"",
        "tracing.otlp_endpoint",
        "would be reached over plain HTTP from other machines",
        WEB,
    ),
    ("otlp_endpoint = \"collector:4317\"", "tracing.otlp_endpoint", "has another scheme than https", WEB),
    (
        "otlp_endpoint = \"grpc://collector:4317\"",
        "tracing.otlp_endpoint",
        "has another scheme than https",
        WEB,
    ),
    (
        "otlp_endpoint = \"https://u:canary-secret@collector:4317\"",
        "tracing.otlp_endpoint",
        "has credentials in it",
        WEB,
    ),
    (
        "otlp_endpoint = \"https://collector:4318/v1/traces\"",
        "tracing.otlp_endpoint",
        "has a path",
        "write scheme, host and port only: OTLP over gRPC has no paths",
    ),
    (
        "ca_file = \"/k/ca.pem\"",
        "tracing.ca_file",
        "has no effect: `tracing.otlp_endpoint` is no https address",
        HTTPS,
    ),
    (
        "otlp_endpoint = \"http://127.0.0.1:4317\"\nca_file = \"/k/ca.pem\"",
        "tracing.ca_file",
        "has no effect: `tracing.otlp_endpoint` is no https address",
        HTTPS,
    ),
    (
        "otlp_endpoint = \"https://collector\"\nca_file = \"/k/keyset\"",
        "tracing.ca_file",
        "holds no certificate",
        "name a PEM file with the server's authority",
    ),
    ("sample_one_in = 0", "tracing.sample_one_in", "`0` is out of bounds", ONE_IN),
    ("sample_one_in = 0.1", "tracing.sample_one_in", "this is a TOML float, not an integer", ONE_IN),
];

fn shelf() -> Shelf {
    Shelf::new().with("/k/ca.pem", PEM, OURS)
}

fn loaded(lines: &str) -> Result<Config, ConfigError> {
    load_with(&format!("[tracing]\n{lines}\n"), &[KEYSET], &shelf())
}

#[test]
fn traces_go_nowhere_unless_somewhere_is_named() {
    assert_eq!(loaded("").unwrap().tracing, None);
    assert_eq!(loaded("sample_one_in = 100").unwrap().tracing, None);
    let endpoint = |text: &str| text.parse::<Url>().unwrap();
    let local = loaded("otlp_endpoint = \"http://127.0.0.1:4317\"").unwrap().tracing;
    let want = Tracing { endpoint: endpoint("http://127.0.0.1:4317"), ca: None, sample_one_in: 1 };
    assert_eq!(local, Some(want));
    let remote =
        loaded("otlp_endpoint = \"https://collector.example\"\nca_file = \"/k/ca.pem\"\nsample_one_in = 10");
    let ca = Some(PEM.to_owned());
    let want = Tracing { endpoint: endpoint("https://collector.example"), ca, sample_one_in: 10 };
    assert_eq!(remote.unwrap().tracing, Some(want));
}

#[test]
fn each_mistake_is_told_at_its_key() {
    for (lines, key, problem, mend) in CASES {
        let all = mistakes(loaded(lines));
        assert_eq!(all.len(), 1, "{lines}: {all:#?}");
        assert!(all[0].starts_with(key), "{lines}: {}", all[0]);
        assert!(all[0].ends_with(&format!(": {problem}\n    mend: {mend}")), "{lines}: {}", all[0]);
        assert!(!all[0].contains(CANARY), "{}", all[0]);
    }
}
