//! How configuration is put together; `mistakes` has the ways to be wrong.

mod issuers;
mod keks;
mod listening;
mod mistakes;
mod redis;
mod tracing;

use super::{files::Mounted, schema::SCHEMA, value::Kind, *};
use std::{collections::BTreeMap, io};

/// Files by path; owner and mode with each.
#[derive(Default)]
struct Shelf(BTreeMap<PathBuf, (Vec<u8>, Access)>);

const CANARY: &str = "canary-secret";
const OURS: Access = Access { owner: 1000, mode: 0o600 };

impl Shelf {
    /// With the one file that every configuration needs.
    fn new() -> Self {
        Self::default().with("/k/keyset", CANARY, OURS)
    }

    fn with(mut self, path: &str, text: impl AsRef<[u8]>, access: Access) -> Self {
        self.0.insert(path.into(), (text.as_ref().to_vec(), access));
        self
    }
}

impl Files for Shelf {
    fn read(&self, path: &Path, most: usize) -> io::Result<Content> {
        let (bytes, access) = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        if bytes.len() > most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Content { bytes: bytes.clone().into(), access: *access })
    }

    fn list(&self, folder: &Path, _most: usize) -> io::Result<Vec<String>> {
        let inside = self.0.keys().filter(|path| path.parent() == Some(folder));
        let names: Vec<_> =
            inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        if names.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(names) }
    }
}

const KEYSET: (&str, &str) = ("BURSAR_KEYS_KEYSET_FILE", "/k/keyset");

fn load_with(text: &str, env: &[(&str, &str)], files: &Shelf) -> Result<Config, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(Some(("bursar.toml", text)), env, &["BURSAR_ENDPOINT", "BURSAR_OUTPUT"], files)
}

/// With a keyset, where `env` does not name one.
fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let mut env = env.to_vec();
    if !text.contains("keyset_file") && env.iter().all(|(name, _)| *name != KEYSET.0) {
        env.push(KEYSET);
    }
    load_with(text, &env, &Shelf::new())
}

fn mistakes(loaded: Result<Config, ConfigError>) -> Vec<String> {
    let mistakes = loaded.expect_err("it should have been refused").mistakes;
    mistakes.iter().map(ToString::to_string).collect()
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text =
        "listen = \"0.0.0.0:1\"\n\n[refresh]\ntick = 5\nlease_ekstra = \"1s\"\n[store]\nkind = \"redis\"\n";
    let error = load_with(text, &[("BURSAR_LOG_LEVEL", "loud")], &Shelf::new()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "configuration has 6 mistakes:
  refresh.lease_ekstra (bursar.toml, line 5): is not a key
    mend: did you mean `refresh.lease_extra`?
  refresh.tick (bursar.toml, line 4): `5` is an integer, not a duration
    mend: write a whole number and one of ms, s, m, h in quotes, from \"50ms\" to \"10s\"
  log.level (BURSAR_LOG_LEVEL): `loud` is neither a level nor module=level
    mend: write a level (off, error, warn, info, debug, trace), then levels of modules, like \"info,bursar::store=debug\"
  keys.keyset_file: is required and not set
    mend: run `bursar keys generate --out FILE` once and write FILE's path here
  store.redis.url: is required when `store.kind` is \"redis\"
    mend: write \"redis://HOST:PORT\", or set store.redis.topology to sentinel or cluster
  listen (bursar.toml, line 1): `0.0.0.0:1` can be reached from other machines, and speaks no TLS
    mend: set tls.certificate and who is recognised (identity.spiffe, identity.dns), or write a loopback address like \"127.0.0.1:7600\""
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_by_line_and_not_quoted() {
    let text = "[refresh]\ntick = \"1s\"\npassword = canary-secret\nenabled = true\nenabled = true\n";
    let error = load_with(text, &[], &Shelf::new()).unwrap_err();
    let lines: Vec<_> = error.mistakes.iter().map(|m| m.origin.clone()).collect();
    let at = |line| Origin::File { name: "bursar.toml".to_owned(), line };
    assert_eq!(lines, [at(3), at(5)], "{error}");
    assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
}

#[test]
fn a_file_with_every_default_loads_and_changes_nothing() {
    let written = DEFAULT.replacen("keyset_file = \"\"", "keyset_file = \"/k/keyset\"", 1);
    let config = load(&written, &[]).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", load("", &[]).unwrap()));
    assert_eq!(config.listen, "127.0.0.1:7600".parse().ok());
    assert_eq!((&config.unix, &config.tls), (&None, &None));
    assert_eq!(config.replica, None);
    assert!(
        matches!(&config.store, Store::Embedded { file } if file == Path::new("./bursar-data/bursar.redb"))
    );
    assert_eq!(config.refresh.scheduling, Scheduling::On);
    assert_eq!(config.refresh.tick, Duration::from_millis(500));
    assert_eq!(config.egress.addresses, Addresses::Public);
    assert_eq!(config.log.format, telemetry::Format::Json);
    assert!(matches!(&config.keys.present, Kek::File { keyset, .. } if keyset.expose() == CANARY));
    assert_eq!(config.providers, []);
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[refresh]\ntick = \"1s\"\nconcurrency = 7\nenabled = true\n[log]\nformat = \"json\"\n";
    let env = [
        ("BURSAR_REFRESH_TICK", "2s"),
        ("BURSAR_REFRESH_ENABLED", "false"),
        ("BURSAR_LOG_FORMAT", "pretty"),
        ("BURSAR_REPLICA", "broker-1"),
    ];
    let config = load(text, &env).unwrap();
    let want = Refresh {
        scheduling: Scheduling::Off,
        concurrency: 7,
        tick: Duration::from_secs(2),
        lease_extra: Duration::from_secs(15),
    };
    assert_eq!(config.refresh, want);
    assert_eq!(config.log.format, telemetry::Format::Pretty);
    assert_eq!(config.replica.as_deref(), Some("broker-1"));
    let unset = load("replica = \"from-file\"", &[("BURSAR_REPLICA", "")]).unwrap();
    assert_eq!(unset.replica, None, "an empty variable unsets what may be empty");
}

#[test]
fn a_secret_that_others_can_read_is_refused() {
    let cases = [
        (1000, 0o600, None),
        (1000, 0o400, None),
        (1000, 0o640, Some("its group")),
        (1000, 0o604, Some("everybody")),
        (1000, 0o644, Some("everybody")),
        (0, 0o600, None),
        (0, 0o640, None),
        (0, 0o440, None),
        (0, 0o660, Some("its group")),
        (0, 0o644, Some("everybody")),
    ];
    for (owner, mode, others) in cases {
        let files = Shelf::default().with("/k/keyset", CANARY, Access { owner, mode });
        let loaded = load_with("", &[KEYSET], &files);
        let Some(others) = others else {
            assert!(loaded.is_ok(), "{owner} {mode:o}");
            continue;
        };
        let want = format!(
            "keys.keyset_file (BURSAR_KEYS_KEYSET_FILE): file is open to {others} (mode {mode:04o})\n    mend: run \
             `chmod 600 /k/keyset`, or let root own it with mode 0640 (Kubernetes: defaultMode 0440 and fsGroup)"
        );
        assert_eq!(mistakes(loaded), [want]);
    }
}

#[test]
fn a_secret_file_that_is_missing_empty_or_no_text_is_refused_without_its_path() {
    let huge = vec![b'x'; 65_537];
    let cases: [(&[u8], &str); 4] = [
        (b"", "file is empty"),
        (b"\r\n", "file is empty"),
        (b"\xff", "is not UTF-8 text"),
        (&huge, "is larger than 64 KiB"),
    ];
    for (bytes, problem) in cases {
        let error = load_with("", &[KEYSET], &Shelf::default().with("/k/keyset", bytes, OURS)).unwrap_err();
        assert_eq!(error.mistakes[0].problem, problem);
    }
    let error = load_with("", &[(KEYSET.0, CANARY)], &Shelf::new()).unwrap_err();
    assert_eq!(error.mistakes[0].problem, "was not found");
    assert!(!format!("{error} {error:?}").contains(CANARY));
}

#[test]
fn provider_profiles_are_read_by_name_and_each_bad_one_is_told() {
    let open = Access { owner: 0, mode: 0o644 };
    let files = Shelf::new().with("/p/b.toml", "b", open).with("/p/a.toml", "a", open);
    let files = files.with("/p/.hidden.toml", "x", open).with("/p/README.md", "x", open);
    let env = [KEYSET, ("BURSAR_PROVIDERS_DIR", "/p")];
    let config = load_with("", &env, &files).unwrap();
    let file = |name: &str, text: &str| ProviderFile { name: name.to_owned(), text: text.to_owned() };
    assert_eq!(config.providers, [file("a.toml", "a"), file("b.toml", "b")]);

    let files = files.with("/p/c.toml", b"\xff", open).with("/p/d.toml", vec![b'x'; 65_537], open);
    let problems: Vec<_> =
        load_with("", &env, &files).unwrap_err().mistakes.into_iter().map(|m| m.problem).collect();
    assert_eq!(problems, ["`c.toml`: is not UTF-8 text", "`d.toml`: is larger than 64 KiB"]);

    let crowd = (0..257).fold(Shelf::new(), |shelf, n| shelf.with(&format!("/p/{n}.toml"), "", open));
    let problem = load_with("", &env, &crowd).unwrap_err().mistakes.remove(0).problem;
    assert_eq!(problem, "has more than 256 profiles");
    let missing = load_with("", &env, &Shelf::new()).unwrap_err().mistakes.remove(0).problem;
    assert_eq!(missing, "was not found");
}

#[test]
fn variables_of_others_are_left_alone() {
    let others = [
        ("BURSAR_ENDPOINT", "x"),
        ("BURSAR_OUTPUT", "x"),
        ("PATH", "x"),
        ("XBURSAR_LISTEN", "x"),
        ("BURSAR_SERVICE_HOST", "10.0.0.1"),
        ("BURSAR_SERVICE_PORT", "7600"),
        ("BURSAR_SERVICE_PORT_GRPC", "7600"),
        ("BURSAR_PORT", "tcp://10.0.0.1:7600"),
        ("BURSAR_PORT_7600_TCP", "tcp://10.0.0.1:7600"),
        ("BURSAR_PORT_7600_TCP_ADDR", "10.0.0.1"),
        ("BURSAR_PORT_7600_TCP_PORT", "7600"),
        ("BURSAR_PORT_7600_TCP_PROTO", "tcp"),
        ("BURSAR_REDIS_PORT_6379_TCP_ADDR", "10.0.0.2"),
    ];
    load("", &others).unwrap();
    assert!(load("", &[("BURSAR_PORT_GRPC", "1")]).is_err());
}

#[test]
fn every_key_has_its_own_variable_that_no_service_link_hides() {
    let mut variables: Vec<_> = SCHEMA.keys.iter().map(schema::Key::variable).collect();
    for variable in &variables {
        assert!(!gather::is_service_link(variable, "tcp://h"), "{variable}");
    }
    variables.sort_unstable();
    let count = variables.len();
    variables.dedup();
    assert_eq!(variables.len(), count);
}

#[test]
fn every_bound_fits_the_type_it_is_kept_in() {
    let text = |raw: String| format!("{raw}\nstore.redis.url = \"redis://h\"");
    for key in &SCHEMA.keys {
        let (Kind::Integer { least, most }, name) = (&key.kind, &key.name) else { continue };
        for bound in [least, most] {
            let mut all = format!("store.kind = \"redis\"\n{name} = {bound}\n");
            // What the one is bounded by, or bounds.
            let besides = match name.as_str() {
                "limits.concurrent_requests" => "limits.concurrent_requests_per_connection = 1\n",
                "limits.concurrent_requests_per_connection" => "limits.concurrent_requests = 1000000\n",
                "limits.connections" => "limits.handshakes = 16\n",
                "limits.handshakes" => "limits.connections = 1000000\n",
                _ => "",
            };
            all.push_str(besides);
            load(&text(all), &[]).unwrap_or_else(|error| panic!("{name} = {bound}: {error}"));
        }
    }
}

fn beside() -> (SocketAddr, SocketAddr) {
    ("[::1]:1".parse().unwrap(), "[::1]:2".parse().unwrap())
}

#[test]
fn probes_have_an_address_of_their_own() {
    let config = load("", &[]).unwrap();
    assert_eq!(config.monitoring, Monitoring { listen: None, outage: Duration::from_secs(600) });
    let config = load("[monitoring]\nlisten = \"0.0.0.0:9100\"\noutage = \"0s\"\n", &[]).unwrap();
    let listen = Some("0.0.0.0:9100".parse().unwrap());
    assert_eq!(config.monitoring, Monitoring { listen, outage: Duration::ZERO });
    // Any free port is another one each time.
    load("listen = \"127.0.0.1:0\"\n[monitoring]\nlisten = \"127.0.0.1:0\"\n", &[]).unwrap();
    let callback = "[authorization]\nlisten = \"127.0.0.1:2\"\npublic_url = \"http://127.0.0.1:2\"\n";
    for (text, other) in [("listen = \"127.0.0.1:2\"\n", "listen"), (callback, "authorization.listen")] {
        let told = mistakes(load(&format!("{text}[monitoring]\nlisten = \"127.0.0.1:2\"\n"), &[]));
        assert_eq!(told.len(), 1, "{told:?}");
        let problem = format!(": is the same address as `{other}`\n    mend: give probes");
        assert!(told[0].starts_with("monitoring.listen (") && told[0].contains(&problem), "{told:?}");
    }
}

#[test]
fn dev_listens_on_loopback_and_reaches_nothing_else() {
    let keyset = || Secret::new(CANARY);
    let config = Config::dev("/d".into(), "[::1]:0".parse().unwrap(), beside(), keyset()).unwrap();
    assert!(matches!(&config.store, Store::Embedded { file } if file == Path::new("/d/bursar.redb")));
    assert_eq!(config.egress.addresses, Addresses::Loopback);
    assert_eq!(config.log.format, telemetry::Format::Pretty);
    assert!(!format!("{config:?}").contains(CANARY));
    let open = Config::dev("/d".into(), "0.0.0.0:1".parse().unwrap(), beside(), keyset()).unwrap_err();
    assert_eq!(open.mistakes[0].key, "listen");
    assert!(
        open.to_string().starts_with("configuration has 1 mistake:\n  listen: `0.0.0.0:1` can"),
        "{open}"
    );
}

#[test]
fn durations_print_as_they_are_read() {
    for text in ["0ms", "1ms", "999ms", "1s", "1500ms", "90s", "1m", "90m", "1h", "25h"] {
        assert_eq!(value::shown(value::duration(text).unwrap()), text);
    }
}

#[test]
fn a_real_disk_is_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bursar.toml");
    std::fs::write(&path, "replica = \"x\"").unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let content = Disk.read(&path, 13).unwrap();
    assert_eq!((content.bytes.as_slice(), content.access.mode), (b"replica = \"x\"".as_slice(), 0o640));
    assert_eq!(Disk.read(&path, 12).err().unwrap().kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(Disk.list(folder.path(), 1).unwrap(), ["bursar.toml"]);
    assert_eq!(Disk.list(folder.path(), 0).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    let missing = folder.path().join("missing.toml");
    let error = Config::read(Some(&missing), &[]).unwrap_err();
    assert_eq!(error.mistakes[0].problem, "was not found");
    assert_eq!(error.mistakes[0].key, missing.display().to_string());
    let unreadable = Config::read(Some(folder.path()), &[]).unwrap_err();
    assert_eq!(unreadable.mistakes[0].problem, "is a folder");
}

#[test]
fn the_reference_page_is_written_from_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let there = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        there == page,
        "docs/configuration.md is stale: run `UPDATE_DOCS=1 cargo test --lib the_reference_page`"
    );
}
