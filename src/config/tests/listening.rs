//! Who may be let in where: what is refused at the start, and what the keys come to.

use super::*;

const OPEN: Access = Access { owner: 0, mode: 0o644 };
const FILES: &str = "[tls]\ncertificate = \"files\"\ncert_file = \"/t/crt\"\nkey_file = \"/t/key\"\n";
const SPIFFE: &str = "[identity.spiffe]\nbundles = \"files\"\nbundles_dir = \"/b\"\n";
const DNS: &str = "[identity.dns]\nca_file = \"/t/ca\"\nnames = \"Billing.internal x_1\"\n";
const ANYWHERE: &str = "listen = \"0.0.0.0:7600\"\n";

fn shelf() -> Shelf {
    let shelf =
        Shelf::new().with("/t/crt", "chain", OPEN).with("/t/key", "key\n", OURS).with("/t/ca", "ca", OPEN);
    let shelf = shelf.with("/p/a.cedar", "permit", OPEN).with("/p/b.toml", "# workloads", OPEN);
    shelf.with("/b/example.org.pem", "bundle", OPEN).with("/b/README", "", OPEN).with("/b/..data", "", OPEN)
}

fn put(parts: &[&str]) -> Result<Config, ConfigError> {
    let with_policies = [parts, &["[policy]\ndir = \"/p\"\n"]].concat();
    put_without_policies(&with_policies)
}

fn put_without_policies(parts: &[&str]) -> Result<Config, ConfigError> {
    let text = parts.concat() + "[keys]\nkeyset_file = \"/k/keyset\"\n";
    load_with(&text, &[], &shelf())
}

/// Key and problem of the only mistake, and whether it has a mend that is not empty.
fn only(loaded: Result<Config, ConfigError>) -> (String, String) {
    let mut mistakes = loaded.expect_err("it should have been refused").mistakes;
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    let mistake = mistakes.remove(0);
    assert!(!mistake.mend.is_empty());
    (mistake.key, mistake.problem)
}

#[test]
fn what_other_machines_reach_wants_tls_and_proof() {
    let optional = "clients = \"optional\"\n";
    let refused = [
        (vec![ANYWHERE], "listen", "`0.0.0.0:7600` can be reached from other machines, and speaks no TLS"),
        (
            vec![ANYWHERE, FILES, optional, SPIFFE],
            "listen",
            "`0.0.0.0:7600` can be reached from other machines, and lets callers in who prove nothing",
        ),
        (
            vec![ANYWHERE, FILES],
            "tls.clients",
            "nobody would be recognised: there are no authorities for clients",
        ),
        (
            vec![FILES, optional],
            "tls.clients",
            "nobody would be recognised: there are no authorities for clients",
        ),
    ];
    for (parts, key, problem) in refused {
        assert_eq!(only(put(&parts)), (key.to_owned(), problem.to_owned()));
    }
    for parts in [
        vec![],
        vec![ANYWHERE, FILES, SPIFFE],
        vec![ANYWHERE, FILES, DNS],
        vec![FILES, optional, SPIFFE],
        vec!["listen = \"\"\nunix.path = \"/run/x\"\n"],
    ] {
        put(&parts).unwrap();
    }
}

#[test]
fn a_bearer_token_never_goes_over_plain_text() {
    use super::super::listening::exposed;
    let [here, there]: [std::net::SocketAddr; 2] = ["[::1]:1", "[::]:1"].map(|text| text.parse().unwrap());
    let required = put(&[FILES, SPIFFE]).unwrap().tls.unwrap();
    let optional = Tls { clients: Clients::Optional, ..required.clone() };
    let cases = [
        (here, None, BearerTokens::NotTaken, true),
        (here, None, BearerTokens::Taken, false),
        (there, None, BearerTokens::NotTaken, false),
        (there, None, BearerTokens::Taken, false),
        (there, Some(&required), BearerTokens::NotTaken, true),
        (there, Some(&required), BearerTokens::Taken, true),
        (there, Some(&optional), BearerTokens::NotTaken, false),
        (there, Some(&optional), BearerTokens::Taken, true),
        (here, Some(&optional), BearerTokens::NotTaken, true),
    ];
    for (listen, tls, tokens, fine) in cases {
        assert_eq!(exposed(listen, tls, tokens).is_none(), fine, "{listen} {tls:?} {tokens:?}");
    }
}

#[test]
fn the_command_line_obeys_the_same_rule() {
    let address = "0.0.0.0:1".parse().unwrap();
    let error = put(&[]).unwrap().listen_at(address).unwrap_err();
    assert!(
        error.to_string().starts_with(
            "configuration has 1 mistake:\n  --listen: `0.0.0.0:1` can be reached from other machines"
        ),
        "{error}"
    );
    let mut config = put(&[FILES, SPIFFE]).unwrap();
    config.listen_at(address).unwrap();
    assert_eq!(config.listen, Some(address));
}

#[test]
fn keys_that_belong_together_are_held_together() {
    let cases = [
        ("listen = \"\"\n", "listen", "is empty, and there is no `unix.path`: nobody could call"),
        (
            "tls.certificate = \"files\"\ntls.key_file = \"/t/key\"\nidentity.dns.ca_file = \"/t/ca\"\nidentity.dns.names = \"a\"\n",
            "tls.cert_file",
            "is required when `tls.certificate` is \"files\"",
        ),
        ("tls.cert_file = \"/t/crt\"\n", "tls.cert_file", "has no effect: `tls.certificate` is \"none\""),
        (
            "identity.dns.ca_file = \"/t/ca\"\n",
            "identity.dns.ca_file",
            "has no effect: `tls.certificate` is \"none\"",
        ),
        (
            "identity.spiffe.bundles = \"workload_api\"\ntls.certificate = \"workload_api\"\n",
            "identity.spiffe.workload_api",
            "is required for what comes from the Workload API",
        ),
        (
            "identity.spiffe.bundles = \"workload_api\"\ntls.certificate = \"workload_api\"\n\
             identity.spiffe.workload_api = \"tcp://127.0.0.1:1\"\n",
            "identity.spiffe.workload_api",
            "is not the address of a Unix socket",
        ),
    ];
    for (text, key, problem) in cases {
        assert_eq!(only(put(&[text])), (key.to_owned(), problem.to_owned()), "{text}");
    }
    let with_tls = [
        (
            "[identity.spiffe]\nbundles_dir = \"/b\"\n[identity.dns]\nca_file = \"/t/ca\"\nnames = \"a\"\n",
            "identity.spiffe.bundles_dir",
            "has no effect: `identity.spiffe.bundles` is \"none\"",
        ),
        (
            "[identity.spiffe]\nbundles = \"files\"\n[identity.dns]\nca_file = \"/t/ca\"\nnames = \"a\"\n",
            "identity.spiffe.bundles_dir",
            "is required when `identity.spiffe.bundles` is \"files\"",
        ),
        (
            "[identity.dns]\nca_file = \"/t/ca\"\n",
            "identity.dns.ca_file",
            "is set without `identity.dns.names`",
        ),
        (
            "[identity.dns]\nca_file = \"/t/ca\"\nnames = \"*.internal\"\n",
            "identity.dns.names",
            "has a word that is no DNS name",
        ),
        (
            "[identity.spiffe]\nbundles = \"files\"\nbundles_dir = \"/none\"\n",
            "identity.spiffe.bundles_dir",
            "was not found",
        ),
    ];
    for (text, key, problem) in with_tls {
        assert_eq!(only(put(&[FILES, text])), (key.to_owned(), problem.to_owned()), "{text}");
    }
    let names = "[identity.dns]\nnames = \"a\"\n";
    let alone = put(&[FILES, SPIFFE, names]);
    assert_eq!(only(alone).1, "is set without `identity.dns.ca_file`");
    let long = format!("[unix]\npath = \"/{}\"\n", "x".repeat(103));
    assert_eq!(only(put(&[&long])).0, "unix.path");
    let crowd: Vec<_> = (0..1025).map(|n| format!("n{n}")).collect();
    let crowd = format!("[identity.dns]\nca_file = \"/t/ca\"\nnames = \"{}\"\n", crowd.join(" "));
    assert_eq!(only(put(&[FILES, &crowd])).1, "has more than 1024 names");
}

#[test]
fn files_of_tls_are_read_with_the_rules_of_each() {
    let config = put(&[FILES, SPIFFE, DNS]).unwrap();
    let tls = config.tls.unwrap();
    assert_eq!(tls.names, ["billing.internal".to_owned(), "x_1".to_owned()].into());
    let read = tls.read(&shelf()).unwrap();
    let (chain, key) = read.certificate.unwrap();
    assert_eq!((chain.text.expose(), key.text.expose()), ("chain", "key"));
    assert_eq!(read.ca.unwrap().text.expose(), "ca");
    let bundles: Vec<_> =
        read.bundles.iter().map(|(domain, pem)| (domain.as_str(), pem.text.expose())).collect();
    assert_eq!(bundles, [("example.org", "bundle")]);

    let trouble = |files: Shelf| tls.read(&files).err().unwrap().to_string();
    let open = trouble(shelf().with("/t/key", "key", OPEN));
    assert!(
        open.starts_with("tls.key_file: /t/key file is open to everybody (mode 0644)\n    mend: "),
        "{open}"
    );
    let named = trouble(shelf().with("/b/Example.pem", "bundle", OPEN));
    assert!(
        named.starts_with("identity.spiffe.bundles_dir: /b/Example.pem is not named after a trust"),
        "{named}"
    );
    let bare = Shelf::new().with("/t/crt", "c", OPEN).with("/t/key", "k", OURS).with("/b/x", "", OPEN);
    assert!(trouble(bare).starts_with("identity.spiffe.bundles_dir: /b has no bundle"));
}

#[test]
fn the_agent_is_where_the_platform_says_unless_somebody_wrote_it_down() {
    let text = "[tls]\ncertificate = \"workload_api\"\n[identity.spiffe]\nbundles = \"workload_api\"\n";
    let at = |text: &str, env: &[(&str, &str)]| {
        let mut env = env.to_vec();
        env.push(KEYSET);
        env.push(("BURSAR_POLICY_DIR", "/p"));
        load_with(text, &env, &shelf()).unwrap().tls.and_then(|tls| tls.workload_api)
    };
    let platform = ("SPIFFE_ENDPOINT_SOCKET", "unix:///run/agent.sock");
    assert_eq!(at(text, &[platform]).as_deref(), Some("unix:///run/agent.sock"));
    let ours = ("BURSAR_IDENTITY_SPIFFE_WORKLOAD_API", "unix:/run/ours.sock");
    assert_eq!(at(text, &[platform, ours]).as_deref(), Some("unix:///run/ours.sock"));
    let written = format!("{text}workload_api = \"unix:///run/file.sock\"\n");
    assert_eq!(at(&written, &[platform]).as_deref(), Some("unix:///run/file.sock"));
    // It is there for other programs too.
    assert_eq!(at("", &[platform]), None);
}

#[test]
fn whoever_is_recognised_needs_policies_that_say_what_it_may() {
    let group = "[unix]\npath = \"/run/x\"\naccess = \"group\"\n";
    for parts in [vec![FILES, SPIFFE], vec![ANYWHERE, FILES, SPIFFE], vec![group]] {
        let (key, problem) = only(put_without_policies(&parts));
        assert_eq!(key, "policy.dir", "{problem}");
        assert!(problem.starts_with("is empty: "), "{problem}");
        put(&parts).unwrap();
    }
    let owner = "[unix]\npath = \"/run/x\"\n";
    for parts in [vec![], vec!["listen = \"\"\n", owner], vec![owner]] {
        assert_eq!(put_without_policies(&parts).unwrap().policy.set, None);
        assert_eq!(put(&parts).unwrap().policy.set.unwrap().path, Path::new("/p"));
    }
    let shadow = "[policy]\nshadow_dir = \"/p\"\n";
    assert_eq!(only(put_without_policies(&[shadow])).0, "policy.shadow_dir");
}

#[test]
fn a_set_of_policies_is_read_as_a_whole() {
    let folder = put(&[]).unwrap().policy.set.unwrap();
    let names = |files: &Shelf| {
        folder.read(files).map(|texts| texts.into_iter().map(|text| text.name).collect::<Vec<_>>())
    };
    assert_eq!(names(&shelf()).unwrap(), ["a.cedar", "b.toml"]);
    let mounted =
        shelf().with("/p/..data", "", OPEN).with("/p/.a.cedar.swp", "", OPEN).with("/p/README", "", OPEN);
    assert_eq!(names(&mounted).unwrap(), ["a.cedar", "b.toml"]);
    let bare = Shelf::new().with("/p/README", "", OPEN);
    let troubles = names(&bare).unwrap_err();
    assert_eq!(
        troubles[0].to_string(),
        "policy.dir: has neither *.cedar nor *.toml files\n    mend: write policies there: docs/policies.md has sets to \
         start from"
    );
    let broken = shelf().with("/p/c.cedar", [0xff], OPEN).with("/p/d.toml", vec![b' '; 1 << 21], OPEN);
    let problems: Vec<_> = names(&broken).unwrap_err().into_iter().map(|trouble| trouble.problem).collect();
    assert_eq!(problems, ["`c.cedar`: is not UTF-8 text", "`d.toml`: is larger than 1024 KiB"]);
    // At the start they are told with everything else.
    let text = "policy.dir = \"/none\"\nkeys.keyset_file = \"/k/keyset\"\nlog.level = \"loud\"\n";
    let keys: Vec<_> =
        load_with(text, &[], &shelf()).unwrap_err().mistakes.into_iter().map(|m| m.key).collect();
    assert_eq!(keys, ["log.level", "policy.dir"]);
}

/// A folder that is written while it is read: every look finds something else, for so many looks.
struct Restless(std::cell::Cell<u32>);

impl Files for Restless {
    fn read(&self, _: &Path, _: usize) -> io::Result<Content> {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        Ok(Content { bytes: format!("// {left}").into_bytes().into(), access: OPEN })
    }

    fn list(&self, _: &Path, _: usize) -> io::Result<Vec<String>> {
        Ok(vec!["a.cedar".to_owned()])
    }
}

#[test]
fn a_set_is_never_half_of_one_and_half_of_another() {
    let folder = put(&[]).unwrap().policy.set.unwrap();
    let read = folder.read(&Restless(2.into())).unwrap();
    assert_eq!(read[0].text, "// 0");
    let trouble = folder.read(&Restless(100.into())).unwrap_err();
    assert_eq!(trouble[0].problem, "changes while it is read");
}
