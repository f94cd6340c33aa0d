//! Each way in which Redis can be set up, and each in which the keys contradict each other.

use super::{
    mistakes::{Case, check},
    *,
};

fn redis_of(lines: &str, files: &Shelf) -> Redis {
    let text =
        format!("[keys]\nkeyset_file = \"/k/keyset\"\n[store]\nkind = \"redis\"\n[store.redis]\n{lines}");
    let config = load_with(&text, &[], files).unwrap_or_else(|error| panic!("{error}"));
    assert!(!format!("{config:?}").contains(CANARY));
    let Store::Redis(redis) = config.store else { panic!("{:?}", config.store) };
    *redis
}

fn host(text: &str) -> crate::domain::host_port::HostPort {
    text.parse().unwrap()
}

#[test]
fn a_url_makes_a_single_server() {
    for ending in ["", "\n", "\r\n"] {
        let files = Shelf::new().with("/k/password", format!("{CANARY}{ending}"), OURS);
        let redis = redis_of(
            "url = \"redis://10.0.0.7:6380/2\"\nusername = \"app\"\npassword_file = \"/k/password\"\nshards = 64\n",
            &files,
        );
        assert_eq!((redis.topology, redis.database), (RedisTopology::Standalone(host("10.0.0.7:6380")), 2));
        assert_eq!(redis.password.map(|file| file.path), Some("/k/password".into()));
        assert_eq!((redis.username.as_deref(), redis.shards), (Some("app"), 64));
        assert_eq!((redis.namespace.as_str(), redis.durability), ("bursar", RedisDurability::Warn));
        assert_eq!((redis.tls, redis.wait), (None, None));
    }
    let six = redis_of("url = \"redis://[2001:db8::1]\"\ndatabase = 3\n", &Shelf::new());
    assert_eq!((six.topology, six.database), (RedisTopology::Standalone(host("[2001:db8::1]:6379")), 3));
}

#[test]
fn sentinels_and_clusters_have_nodes_and_tls_has_files() {
    let files = Shelf::new()
        .with("/k/sentinel", CANARY, OURS)
        .with("/k/ca", "ca", Access { owner: 1000, mode: 0o644 })
        .with("/k/crt", "crt", Access { owner: 1000, mode: 0o644 })
        .with("/k/key", CANARY, OURS);
    let redis = redis_of(
        "topology = \"sentinel\"\nnodes = \"a:26379  b:26379\"\nsentinel_master = \"tokens\"\n\
         sentinel_username = \"app\"\nsentinel_password_file = \"/k/sentinel\"\ndatabase = 7\n\
         durability = \"require\"\nwait_replicas = 2\nwait_timeout = \"250ms\"\n",
        &files,
    );
    let RedisTopology::Sentinel { sentinels, primary, username, password } = redis.topology else { panic!() };
    assert_eq!((sentinels, primary.as_str()), (vec![host("a:26379"), host("b:26379")], "tokens"));
    assert_eq!(
        (username.as_deref(), password.map(|file| file.path)),
        (Some("app"), Some("/k/sentinel".into()))
    );
    assert_eq!((redis.database, redis.durability), (7, RedisDurability::Require));
    assert_eq!(redis.wait, Some(RedisWait { replicas: 2, timeout: Duration::from_millis(250) }));

    let redis = redis_of(
        "topology = \"cluster\"\nnodes = \"c:7001\"\ntls = \"on\"\nca_file = \"/k/ca\"\ncert_file = \"/k/crt\"\n\
         key_file = \"/k/key\"\n",
        &files,
    );
    assert_eq!(redis.topology, RedisTopology::Cluster(vec![host("c:7001")]));
    let tls = redis.tls.unwrap();
    let pem = tls.read(&files).unwrap();
    assert_eq!(pem.ca.unwrap().text.expose(), "ca");
    assert_eq!(pem.identity.unwrap().1.text.expose(), CANARY);
    assert_eq!(
        redis_of("url = \"redis://h\"\ntls = \"on\"\n", &files).tls,
        Some(RedisTls { ca: None, identity: None })
    );
}

const NODES: &str = "write \"HOST:PORT\" with spaces between them, an IPv6 address in brackets; user names and \
                     passwords have keys of their own";
const SENTINEL: &str = "topology = \"sentinel\"\nsentinel_master = \"m\"\n";
const CLUSTER: &str = "topology = \"cluster\"\n";
const SINGLE: &str = "url = \"redis://h\"\n";

const CONTRADICTIONS: &[(&str, Case)] = &[
    (
        "",
        (
            "topology = \"ring\"",
            "store.redis.topology",
            "`ring` is text, not one of the words it can be",
            "write \"standalone\" or \"sentinel\" or \"cluster\"",
        ),
    ),
    (
        SINGLE,
        (
            "nodes = \"a:1\"",
            "store.redis.nodes",
            "has no effect: `store.redis.topology` is \"standalone\"",
            "remove it, or set store.redis.topology = \"sentinel\" or \"cluster\"",
        ),
    ),
    (
        SINGLE,
        (
            "sentinel_master = \"m\"",
            "store.redis.sentinel_master",
            "has no effect: `store.redis.topology` is \"standalone\"",
            "remove it, or set store.redis.topology = \"sentinel\"",
        ),
    ),
    (
        SENTINEL,
        (
            "",
            "store.redis.nodes",
            "is required when `store.redis.topology` is \"sentinel\"",
            "write the sentinels' addresses, as \"sentinel-0:26379 sentinel-1:26379\"",
        ),
    ),
    (
        SENTINEL,
        (
            "nodes = \"a:1\"\nurl = \"redis://h\"",
            "store.redis.url",
            "has no effect: `store.redis.topology` is \"sentinel\"",
            "remove it, or set store.redis.topology = \"standalone\"",
        ),
    ),
    (
        "topology = \"sentinel\"\n",
        (
            "nodes = \"a:1\"",
            "store.redis.sentinel_master",
            "is required when `store.redis.topology` is \"sentinel\"",
            "write the name in the sentinels' line `sentinel monitor NAME …`",
        ),
    ),
    (
        SENTINEL,
        (
            "nodes = \"a:1\"\nsentinel_username = \"u\"",
            "store.redis.sentinel_username",
            "is set without a password",
            "set store.redis.sentinel_password_file too, or remove it",
        ),
    ),
    (CLUSTER, ("nodes = \"a\"", "store.redis.nodes", "has an entry that has no port", NODES)),
    (
        CLUSTER,
        (
            "nodes = \"canary-secret@h:1\"",
            "store.redis.nodes",
            "has an entry that has a host that is neither a DNS name nor an IP address",
            NODES,
        ),
    ),
    (CLUSTER, ("nodes = \"a:1 A:1\"", "store.redis.nodes", "names the same host and port twice", NODES)),
    (
        CLUSTER,
        (
            "nodes = \"a:1\"\ndatabase = 1",
            "store.redis.database",
            "is not 0, and a Redis Cluster has database 0 only",
            "remove it: give each deployment a namespace of its own instead",
        ),
    ),
    (
        CLUSTER,
        (
            "nodes = \"a:1\"\nsentinel_password_file = \"/k/keyset\"",
            "store.redis.sentinel_password_file",
            "has no effect: `store.redis.topology` is \"cluster\"",
            "remove it, or set store.redis.topology = \"sentinel\"",
        ),
    ),
    (
        "",
        (
            "url = \"redis://h/2\"\ndatabase = 3",
            "store.redis.database",
            "is 3, and `store.redis.url` says 2",
            "leave the database out of store.redis.url",
        ),
    ),
    (
        SINGLE,
        (
            "ca_file = \"/k/keyset\"",
            "store.redis.ca_file",
            "has no effect: `store.redis.tls` is \"off\"",
            "set store.redis.tls = \"on\", or remove it",
        ),
    ),
    (
        SINGLE,
        (
            "tls = \"on\"\ncert_file = \"/k/keyset\"",
            "store.redis.cert_file",
            "is set without `store.redis.key_file`",
            "set store.redis.key_file too, or remove it",
        ),
    ),
    (
        SINGLE,
        (
            "tls = \"on\"\nkey_file = \"/k/keyset\"",
            "store.redis.key_file",
            "is set without `store.redis.cert_file`",
            "set store.redis.cert_file too, or remove it",
        ),
    ),
    (
        SINGLE,
        (
            "tls = \"on\"\nca_file = \"/k/nowhere\"",
            "store.redis.ca_file",
            "was not found",
            "check the path; a relative one starts at the working directory",
        ),
    ),
    (
        SINGLE,
        (
            "wait_timeout = \"200ms\"",
            "store.redis.wait_timeout",
            "has no effect: `store.redis.wait_replicas` is 0",
            "set store.redis.wait_replicas to how many replicas a write waits for, or remove it",
        ),
    ),
    (
        SINGLE,
        (
            "wait_replicas = 6",
            "store.redis.wait_replicas",
            "`6` is out of bounds",
            "write a whole number from 0 to 5, without quotes",
        ),
    ),
];

#[test]
fn keys_that_contradict_each_other_are_told() {
    for (beginning, case) in CONTRADICTIONS {
        check(&format!("[store]\nkind = \"redis\"\n[store.redis]\n{beginning}{}\n", case.0), *case);
    }
    let many = (0..33).map(|number| format!("h{number}:1")).collect::<Vec<_>>().join(" ");
    let text = format!("[store]\nkind = \"redis\"\n[store.redis]\n{CLUSTER}nodes = \"{many}\"\n");
    check(&text, ("", "store.redis.nodes", "has more than 32 entries", NODES));
}
