//! Which KEK there is: each kind as it is written, and what is refused.

use super::*;
use std::os::unix::fs::PermissionsExt as _;

const CA: &str = "-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n";

fn keys(text: &str) -> Result<Keys, Vec<String>> {
    let files = Shelf::new().with("/k/ca", CA, OURS).with("/k/none", "canary-secret", OURS);
    let loaded = load_with(text, &[], &files);
    loaded.map(|config| config.keys).map_err(|error| {
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
        error.mistakes.iter().map(|mistake| format!("{}: {}", mistake.key, mistake.problem)).collect()
    })
}

fn transit(lines: &str) -> String {
    format!(
        "[keys]\nkind = \"transit\"\n[keys.transit]\naddress = \"https://bao:8200\"\nkey = \"bursar\"\n{lines}\n"
    )
}

#[test]
fn a_plugin_needs_its_socket_and_nothing_else() {
    let keys = keys("[keys]\nkind = \"kms_plugin\"\nkms_plugin.socket = \"/run/kms/socket\"\n").unwrap();
    assert!(matches!(keys.present, Kek::KmsPlugin { socket } if socket == Path::new("/run/kms/socket")));
    assert!(keys.previous.is_none());
}

#[test]
fn transit_logs_in_in_one_of_three_ways() {
    let of = |lines: &str| match keys(&transit(lines)).unwrap().present {
        Kek::Transit(transit) => *transit,
        other => panic!("{other:?}"),
    };
    let by_token = of("token_file = \"/t\"\nca_file = \"/k/ca\"\nnamespace = \"ns1\"\nmount = \"a/b\"");
    assert_eq!(
        (by_token.mount.as_str(), by_token.namespace.as_deref(), by_token.ca.as_deref()),
        ("a/b", Some("ns1"), Some(CA))
    );
    assert!(matches!(by_token.login, TransitLogin::TokenFile(file) if file.path == Path::new("/t")));
    let as_pod = of("auth = \"kubernetes\"\nrole = \"r\"");
    assert!(matches!(&as_pod.login, TransitLogin::Kubernetes { mount, role, jwt }
        if mount == "kubernetes" && role == "r" && jwt.path.ends_with("serviceaccount/token")));
    let by_role = of("auth = \"app_role\"\nauth_mount = \"x/y\"\nrole_id = \"i\"\nsecret_id_file = \"/s\"");
    assert!(matches!(&by_role.login, TransitLogin::AppRole { mount, role_id, secret_id }
        if mount == "x/y" && role_id == "i" && secret_id.path == Path::new("/s")));
}

#[test]
fn the_kek_before_may_be_of_any_kind() {
    let text =
        transit("token_file = \"/t\"") + "[keys.previous]\nkind = \"file\"\nkeyset_file = \"/k/keyset\"\n";
    assert!(matches!(keys(&text).unwrap().previous, Some(Kek::File { .. })));
    let text = transit("token_file = \"/t\"")
        + "[keys.previous]\nkind = \"transit\"\n[keys.previous.transit]\naddress = \"http://127.0.0.1:8200\"\nkey = \"old\"\ntoken_file = \"/o\"\n";
    assert!(matches!(keys(&text).unwrap().previous, Some(Kek::Transit(old)) if old.key == "old"));
}

#[test]
fn what_a_kek_lacks_or_does_not_need_is_told() {
    let token = "token_file = \"/t\"";
    let cases = [
        ("[keys]\nkind = \"kms_plugin\"\n".to_owned(), "keys.kms_plugin.socket: is required and not set"),
        (
            "[keys]\nkind = \"vault\"\n".to_owned(),
            "keys.kind: `vault` is text, not one of the words it can be",
        ),
        (transit(""), "keys.transit.token_file: is required and not set"),
        (transit("auth = \"kubernetes\""), "keys.transit.role: is required and not set"),
        (
            transit("auth = \"app_role\"\nrole_id = \"r\""),
            "keys.transit.secret_id_file: is required and not set",
        ),
        (
            transit("auth = \"app_role\"\nsecret_id_file = \"/s\""),
            "keys.transit.role_id: is required and not set",
        ),
        (transit(token).replace("bursar", "a/b"), "keys.transit.key: is a path"),
        (transit(token).replace("bursar", "a?b"), "keys.transit.key: is not a path of words"),
        (transit(token).replace("8200", "8200/x"), "keys.transit.address: has a path"),
        (transit(&format!("{token}\nmount = \"/a\"")), "keys.transit.mount: is not a path of words"),
        (transit(&format!("{token}\nmount = \"a/../b\"")), "keys.transit.mount: is not a path of words"),
        (transit(&format!("{token}\nca_file = \"/k/none\"")), "keys.transit.ca_file: holds no certificate"),
        (transit(&format!("{token}\nca_file = \"/k/gone\"")), "keys.transit.ca_file: was not found"),
        (
            transit(token).replace("[keys]", "[keys]\nkeyset_file = \"/k/keyset\""),
            "keys.keyset_file: has no effect: `keys.kind` is \"transit\"",
        ),
        (
            "keys = { keyset_file = \"/k/keyset\", kms_plugin.socket = \"/s\" }".to_owned(),
            "keys.kms_plugin.socket: has no effect: `keys.kind` is \"file\"",
        ),
        (
            "keys = { keyset_file = \"/k/keyset\", previous.transit.key = \"k\" }".to_owned(),
            "keys.previous.transit.key: has no effect: `keys.previous.kind` is \"none\"",
        ),
        (
            "keys = { keyset_file = \"/k/keyset\", previous.kind = \"file\" }".to_owned(),
            "keys.previous.keyset_file: is required and not set",
        ),
    ];
    for (text, want) in cases {
        assert_eq!(keys(&text).unwrap_err(), [want], "{text}");
    }
}

#[test]
fn a_secret_is_read_when_it_is_needed_and_without_its_line_break() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let file = |mounted| SecretFile { path: path.clone(), mounted };
    let missing = file(Mounted::ByOperator).read().unwrap_err();
    assert!(missing.contains("was not found"), "{missing}");
    for (text, mode) in [("canary-1\n", 0o600), ("canary-2", 0o644)] {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(file(Mounted::ByKubernetes).read().unwrap().expose(), text.trim_end());
    }
    let open = file(Mounted::ByOperator).read().unwrap_err();
    assert!(open.contains("open to everybody") && !open.contains("canary"), "{open}");
}
