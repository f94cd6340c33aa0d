//! Whose tokens are taken: each way in which an issuer's file can be wrong, with its line, and what a good one comes to.

use super::*;
use crate::domain::{
    issuer::{Algorithm, Binding, Issuer, KeyAddress, KeySource, Route, TokenType},
    names::Id,
};

const OPEN: Access = Access { owner: 0, mode: 0o644 };
const SOCKET: &str = "listen = \"\"\nunix.path = \"/run/x\"\nidentity.tokens.issuers_dir = \"/i\"\n";
const WHOLE: &str = "issuer = \"https://issuer.test/realm/\"\naudiences = \"bursar\"\n";

fn shelf(file: &str) -> Shelf {
    let shelf = Shelf::new().with("/i/cluster.toml", file, OPEN).with("/i/README", "", OPEN);
    let shelf = shelf.with("/p/a.cedar", "permit", OPEN);
    shelf.with("/t/token", "jwt\n", OPEN).with("/t/jwks", "{}", OPEN).with(
        "/t/ca",
        "-----BEGIN CERTIFICATE-----",
        OPEN,
    )
}

fn read_from(shelf: &Shelf, more: &str) -> Result<Config, ConfigError> {
    let text = format!("{SOCKET}{more}[keys]\nkeyset_file = \"/k/keyset\"\n");
    load_with(&text, &[("BURSAR_POLICY_DIR", "/p")], shelf)
}

fn read(file: &str) -> Result<Config, ConfigError> {
    read_from(&shelf(file), "")
}

fn issuer(file: &str) -> Issuer {
    let mut issuers = read(file).unwrap().tokens.unwrap().issuers;
    assert_eq!(issuers.len(), 1);
    issuers.remove(0)
}

#[test]
fn a_file_with_what_is_required_is_held_to_careful_defaults() {
    let issuer = issuer(WHOLE);
    assert_eq!((issuer.name.as_str(), issuer.issuer.as_str()), ("cluster", "https://issuer.test/realm/"));
    assert_eq!(issuer.algorithms, [Algorithm::Rs256].into());
    assert_eq!((issuer.leeway, issuer.max_lifetime), (Duration::from_secs(10), Duration::from_secs(86_400)));
    assert_eq!((issuer.token_type, issuer.binding), (TokenType::Jwt, Binding::IfPresent));
    let KeySource::Server(server) = issuer.keys else { panic!("no server") };
    let KeyAddress::Discovery { metadata, hosts } = &server.at else { panic!("no discovery") };
    assert_eq!(metadata.as_str(), "https://issuer.test/realm/.well-known/openid-configuration");
    assert!(hosts.is_empty() && server.ca.is_none() && server.credential.is_none());
    assert_eq!(server.route, Route::Direct);
}

#[test]
fn every_key_of_a_file_comes_to_what_it_says() {
    let text = "issuer = \"kubernetes/serviceaccount\"\naudiences = \"one two\"\nkeys = \"address\"\n\
                jwks_uri = \"https://10.0.0.1:6443/openid/v1/jwks\"\nca_file = \"/t/ca\"\ntoken_file = \"/t/token\"\n\
                proxy = \"egress\"\nrefresh = \"1m\"\nmax_age = \"2m\"\nalgorithms = \"ES256 EdDSA\"\nleeway = \"0s\"\n\
                max_lifetime = \"1h\"\ntoken_type = \"access_token\"\nsubject_prefix = \"system:serviceaccount:\"\n\
                groups_claim = \"groups\"\ncertificate_binding = \"always\"\n";
    let of = issuer(text);
    assert_eq!(of.audiences, ["one".to_owned(), "two".to_owned()].into());
    assert_eq!(of.algorithms, [Algorithm::Es256, Algorithm::EdDsa].into());
    assert_eq!((of.leeway, of.max_lifetime), (Duration::ZERO, Duration::from_secs(3600)));
    assert_eq!((of.token_type, of.binding), (TokenType::AccessToken, Binding::Required));
    assert_eq!(of.subject_prefix, "system:serviceaccount:");
    assert_eq!(of.groups_claim.as_deref(), Some("groups"));
    let KeySource::Server(server) = of.keys else { panic!("no server") };
    assert_eq!(server.at, KeyAddress::Known("https://10.0.0.1:6443/openid/v1/jwks".parse().unwrap()));
    assert_eq!(server.credential.as_deref(), Some(Path::new("/t/token")));
    assert_eq!((server.refresh, server.max_age), (Duration::from_secs(60), Duration::from_secs(120)));
    assert_eq!((server.route, server.ca.is_some()), (Route::Proxy, true));
    let filed = issuer("issuer = \"x\"\naudiences = \"a\"\nkeys = \"file\"\njwks_file = \"/t/jwks\"\n");
    assert_eq!(filed.keys, KeySource::Text("{}".to_owned()));
}

#[test]
fn what_is_wrong_is_told_with_file_line_and_mend() {
    let cases: [(&str, usize, &str); 20] = [
        ("", 1, "issuer (cluster.toml, line 1): is required and not set"),
        ("issuer = \"https://a.test\"\n", 1, "audiences (cluster.toml, line 1): is required and not set"),
        (
            "audience = \"b\"\n",
            0,
            "audience (cluster.toml, line 3): is not a key\n    mend: did you mean `audiences`?",
        ),
        (
            "xyz = 1\n",
            0,
            "xyz (cluster.toml, line 3): is not a key\n    mend: remove it; docs/configuration.md lists every key",
        ),
        ("[keys]\nuri = \"b\"\n", 0, "keys (cluster.toml, line 3): this is a TOML table"),
        (
            "algorithms = \"none\"\n",
            0,
            "algorithms (cluster.toml, line 3): has one with which anybody could make tokens",
        ),
        (
            "algorithms = \"RS256 HS256\"\n",
            0,
            "algorithms (cluster.toml, line 3): has one with which anybody",
        ),
        ("algorithms = \"RS255\"\n", 0, "algorithms (cluster.toml, line 3): has a word that is no algorithm"),
        ("algorithms = \" \"\n", 0, "algorithms (cluster.toml, line 3): is required and not set"),
        ("algorithms = [\"RS256\"]\n", 0, "algorithms (cluster.toml, line 3): this is a TOML array"),
        ("leeway = \"61s\"\n", 0, "leeway (cluster.toml, line 3): `61s` is out of bounds"),
        ("max_lifetime = 5\n", 0, "max_lifetime (cluster.toml, line 3): `5` is an integer, not a duration"),
        ("keys = \"jwks\"\n", 0, "keys (cluster.toml, line 3): `jwks` is text, not one of the words"),
        ("keys = \"address\"\n", 0, "jwks_uri (cluster.toml, line 1): is required and not set"),
        ("keys = \"file\"\njwks_file = \"/none\"\n", 0, "jwks_file (cluster.toml, line 4): was not found"),
        (
            "jwks_uri = \"https://a.test\"\n",
            0,
            "jwks_uri (cluster.toml, line 3): has no effect: `keys` is \"discovery\"",
        ),
        (
            "jwks_hosts = \"https://a.test/\"\n",
            0,
            "jwks_hosts (cluster.toml, line 3): has a word that is no host",
        ),
        ("token_file = \"/none\"\n", 0, "token_file (cluster.toml, line 3): was not found"),
        (
            "refresh = \"1h\"\nmax_age = \"1m\"\n",
            0,
            "max_age (cluster.toml, line 4): is shorter than `refresh`",
        ),
        ("ca_file = \"/t/jwks\"\n", 0, "ca_file (cluster.toml, line 3): holds no certificate"),
    ];
    for (text, bare, want) in cases {
        let file = if bare == 1 { text.to_owned() } else { format!("{WHOLE}{text}") };
        let told = mistakes(read(&file));
        assert!(told.iter().any(|one| one.starts_with(want)), "{text}: {told:?}");
        assert!(told.iter().all(|one| one.contains("\n    mend: ")), "{told:?}");
    }
    let not_an_address = "issuer = \"kubernetes/serviceaccount\"\naudiences = \"a\"\n";
    let told = mistakes(read(not_an_address));
    assert!(told[0].starts_with("issuer (cluster.toml, line 1): is no https address"), "{told:?}");
    let plain = "issuer = \"http://issuer.test\"\naudiences = \"a\"\n";
    assert!(mistakes(read(plain))[0].contains("is no https address"));
}

#[test]
fn the_folder_has_one_file_for_each_issuer() {
    let twice = shelf(WHOLE).with("/i/other.toml", WHOLE, OPEN);
    assert!(
        mistakes(read_from(&twice, ""))[0]
            .starts_with("issuer (other.toml, line 1): is that of another file too")
    );
    let named = shelf(WHOLE).with("/i/My_Issuer.toml", WHOLE, OPEN);
    assert!(
        mistakes(read_from(&named, ""))[0].contains("(My_Issuer.toml, line 1): is not named after a label")
    );
    let none = Shelf::new().with("/i/README", "", OPEN);
    assert!(mistakes(read_from(&none, ""))[0].starts_with("identity.tokens.issuers_dir: has no issuer"));
    assert!(
        mistakes(read_from(&Shelf::new(), ""))[0].starts_with("identity.tokens.issuers_dir: was not found")
    );
    // What Kubernetes puts beside what it mounts is no issuer; mistakes of all files are told.
    let many = shelf("x = 1\n").with("/i/..data", "", OPEN).with("/i/b.toml", "y = 1\n", OPEN);
    let told = mistakes(read_from(&many, "")).join("\n");
    assert!(told.contains("x (cluster.toml") && told.contains("y (b.toml"), "{told}");
}

#[test]
fn tokens_are_taken_where_nobody_reads_them() {
    let plain = "identity.tokens.issuers_dir = \"/i\"\n[keys]\nkeyset_file = \"/k/keyset\"\n";
    let told = mistakes(load_with(plain, &[], &shelf(WHOLE)));
    assert!(told[0].contains("speaks no TLS, and callers' tokens would be read on the way"), "{told:?}");
    let mut config = read(WHOLE).unwrap();
    assert_eq!(config.bearer_tokens(), BearerTokens::Taken);
    let refused = config.listen_at("127.0.0.1:1".parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("speaks no TLS"), "{refused}");
}

#[test]
fn a_cluster_is_asked_about_issuers_that_there_are() {
    let review = |more: &str| read_from(&shelf(WHOLE), &format!("[identity.token_review]\n{more}"));
    let files = "ca_file = \"/t/ca\"\ntoken_file = \"/t/token\"\n";
    let good = format!("address = \"https://kubernetes.default.svc\"\nissuers = \"cluster\"\n{files}");
    let of = review(&good).unwrap().tokens.unwrap().review.unwrap();
    assert_eq!(of.issuers, ["cluster".parse::<Id>().unwrap()].into());
    assert_eq!((of.timeout, of.remember), (Duration::from_secs(3), Duration::from_secs(5)));
    assert_eq!(of.token.path, Path::new("/t/token"));
    for (more, want) in [
        (
            "issuers = \"cluster\"\n".to_owned(),
            "identity.token_review.issuers (bursar.toml, line 5): has no effect",
        ),
        (
            good.replace("cluster", "other"),
            "identity.token_review.issuers (bursar.toml, line 6): names an issuer that has no file",
        ),
        (
            good.replace("issuers = \"cluster\"\n", ""),
            "identity.token_review.issuers: is required with an address",
        ),
        (
            good.replace("/t/token", "/none"),
            "identity.token_review.token_file (bursar.toml, line 8): was not found",
        ),
        (
            good.replace("https", "http"),
            "identity.token_review.address (bursar.toml, line 5): would be reached over plain",
        ),
    ] {
        let told = mistakes(review(&more));
        assert!(told[0].starts_with(want), "{more}: {told:?}");
    }
    let without = "[identity.token_review]\naddress = \"https://a.test\"\n";
    assert!(
        mistakes(load(without, &[]))[0].contains("has no effect: `identity.tokens.issuers_dir` is empty")
    );
}

/// The files of issuers that docs/identity.md shows, by name.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/identity.md");
    let blocks = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = |block: &str| block.lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    blocks
        .map(lines)
        .filter_map(|block| {
            let name = block.strip_prefix("# /etc/bursar/issuers/")?.split('\n').next()?.to_owned();
            Some((name, block))
        })
        .collect()
}

#[test]
fn the_files_in_the_documentation_are_good() {
    let shown = documented();
    let names: Vec<_> = shown.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["corp.toml", "cluster.toml"]);
    let mounted = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut shelf = Shelf::new()
        .with("/p/a.cedar", "permit", OPEN)
        .with(&format!("{mounted}/ca.crt"), "-----BEGIN CERTIFICATE-----", OPEN)
        .with(&format!("{mounted}/token"), "jwt\n", OPEN);
    for (name, text) in &shown {
        shelf = shelf.with(&format!("/i/{name}"), text, OPEN);
    }
    // And with the cluster asked, as the page has it: what it leaves out are the defaults.
    let review = "address = \"https://kubernetes.default.svc\"\nissuers = \"cluster\"";
    assert!(include_str!("../../../docs/identity.md").contains(review));
    let read = read_from(&shelf, &format!("[identity.token_review]\n{review}\n")).unwrap().tokens.unwrap();
    assert_eq!((read.issuers.len(), read.review.unwrap().issuers.len()), (2, 1));
}
