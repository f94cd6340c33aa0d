//! Every way to be wrong, as tables: what is written, which key is blamed, what is said, how it is mended.

use super::*;

pub(super) type Case = (&'static str, &'static str, &'static str, &'static str);

const TICK: &str = "write a whole number and one of ms, s, m, h in quotes, from \"50ms\" to \"10s\"";
const GRACE: &str = "write a whole number and one of ms, s, m, h in quotes, from \"10s\" to \"10m\"";
const CONCURRENCY: &str = "write a whole number from 1 to 4096, without quotes";
const PROXY: &str =
    "write \"https://HOST:PORT\" or \"http://HOST:PORT\"; credentials for a proxy are not supported";
const ADDRESS: &str = "write an IP address and a port, like \"127.0.0.1:7600\" or \"[::]:7600\"";
const LABEL: &str = "write 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit";
const WORD: &str = "write 1 to 128 visible ASCII characters, without spaces";
const PATH: &str = "write the path of a file or folder";
const URL: &str = "write \"redis://HOST:PORT\" or \"redis://HOST:PORT/DATABASE\"; user name and password go to \
                   store.redis.username and store.redis.password_file";
const FILTER: &str = "write a level (off, error, warn, info, debug, trace), then levels of modules, like \
                      \"info,bursar::store=debug\"";
const ALL_KEYS: &str = "remove it; `bursar serve --print-default-config` lists every key";

const ANYWHERE: &[Case] = &[
    // Kinds and bounds.
    ("refresh.tick = \"5 sec\"", "refresh.tick", "`5 sec` is text, not a duration", TICK),
    ("refresh.tick = 500", "refresh.tick", "`500` is an integer, not a duration", TICK),
    ("refresh.tick = \"49ms\"", "refresh.tick", "`49ms` is out of bounds", TICK),
    ("refresh.tick = \"11s\"", "refresh.tick", "`11s` is out of bounds", TICK),
    ("refresh.tick = \"\"", "refresh.tick", "`` is text, not a duration", TICK),
    (
        "refresh.tick = \"99999999999999999999h\"",
        "refresh.tick",
        "`99999999999999999999h` is text, not a duration",
        TICK,
    ),
    (
        "refresh.tick = \"9999999999999999h\"",
        "refresh.tick",
        "`9999999999999999h` is text, not a duration",
        TICK,
    ),
    ("refresh.tick = \"-1s\"", "refresh.tick", "`-1s` is text, not a duration", TICK),
    ("refresh.tick = \"1.5s\"", "refresh.tick", "`1.5s` is text, not a duration", TICK),
    ("shutdown.grace = \"11m\"", "shutdown.grace", "`11m` is out of bounds", GRACE),
    ("refresh.concurrency = 0", "refresh.concurrency", "`0` is out of bounds", CONCURRENCY),
    ("refresh.concurrency = 4097", "refresh.concurrency", "`4097` is out of bounds", CONCURRENCY),
    ("refresh.concurrency = -1", "refresh.concurrency", "`-1` is out of bounds", CONCURRENCY),
    ("refresh.concurrency = \"64\"", "refresh.concurrency", "`64` is text, not an integer", CONCURRENCY),
    ("refresh.concurrency = 6.4", "refresh.concurrency", "this is a TOML float, not an integer", CONCURRENCY),
    (
        "refresh.concurrency = 0x40",
        "refresh.concurrency",
        "this is a TOML integer that is not decimal, not an integer",
        CONCURRENCY,
    ),
    (
        "refresh.enabled = \"yes\"",
        "refresh.enabled",
        "`yes` is text, not a boolean",
        "write true or false, without quotes",
    ),
    (
        "listen = \"0.0.0.0:7600\"",
        "listen",
        "`0.0.0.0:7600` can be reached from other machines, and speaks no TLS",
        "set tls.certificate and who is recognised (identity.spiffe, identity.dns), or write a loopback address like \"127.0.0.1:7600\"",
    ),
    (
        "listen = \"localhost:7600\"",
        "listen",
        "`localhost:7600` is text, not an IP address and port",
        ADDRESS,
    ),
    ("listen = 7600", "listen", "`7600` is an integer, not an IP address and port", ADDRESS),
    (
        "egress.addresses = \"intranet\"",
        "egress.addresses",
        "`intranet` is text, not one of the words it can be",
        "write \"public\" or \"private\" or \"loopback\"",
    ),
    (
        "egress.proxy = \"socks5://127.0.0.1:1080\"",
        "egress.proxy",
        "has another scheme than https or http",
        PROXY,
    ),
    ("egress.proxy = \"http://me:canary@proxy:3128\"", "egress.proxy", "has credentials in it", PROXY),
    ("egress.proxy = \"https://proxy/x\"", "egress.proxy", "has a path", PROXY),
    (
        "store.kind = \"mysql\"",
        "store.kind",
        "`mysql` is text, not one of the words it can be",
        "write \"embedded\" or \"redis\"",
    ),
    (
        "log.format = [\"json\"]",
        "log.format",
        "this is a TOML array, not one of the words it can be",
        "write \"json\" or \"pretty\"",
    ),
    ("log.level = \"inof\"", "log.level", "`inof` is neither a level nor module=level", FILTER),
    ("replica = \"two words\"", "replica", "has a character that is not visible ASCII", WORD),
    ("replica = 1", "replica", "is an integer, not a word", WORD),
    ("data_dir = \"\"", "data_dir", "is empty", PATH),
    ("data_dir = \"a\\u0000\"", "data_dir", "has a NUL character", PATH),
    (
        "keys.keyset_file = \"\"",
        "keys.keyset_file",
        "is required and not set",
        "run `bursar keys generate --out FILE` once and write FILE's path here",
    ),
    // Names.
    ("lisen = \"127.0.0.1:1\"", "lisen", "is not a key", "did you mean `listen`?"),
    ("tick = \"1s\"", "tick", "is not a key", "did you mean `refresh.tick`?"),
    ("refesh.tick = \"1s\"", "refesh.tick", "is not a key", "did you mean `refresh.tick`?"),
    (
        "store.redis.password = \"canary-secret\"",
        "store.redis.password",
        "is not a key",
        "did you mean `store.redis.password_file`?",
    ),
    ("xyzzy = 1", "xyzzy", "is not a key", ALL_KEYS),
    ("xyzzy = {}", "xyzzy", "is not a key", ALL_KEYS),
    ("listen.port = 1", "listen", "this is a TOML table, not an IP address and port", ADDRESS),
    (
        "refresh = true",
        "refresh",
        "is a section, not a key",
        "write [refresh] on a line of its own, and its keys below",
    ),
    // Together.
    (
        "refresh = { tick = \"6s\", lease_extra = \"6s\" }",
        "refresh.tick",
        "`refresh.tick` is 6s, and must be shorter than `refresh.lease_extra`, which is 6s",
        "lower refresh.tick or raise refresh.lease_extra",
    ),
    (
        "audit.write_timeout = \"20s\"",
        "audit.write_timeout",
        "`audit.write_timeout` is 20s, and must be shorter than `limits.request_timeout`, which is 20s",
        "lower audit.write_timeout or raise limits.request_timeout",
    ),
    (
        "limits.connection_age = \"10s\"",
        "limits.connection_age",
        "`limits.request_timeout` is 20s, and must be at most `limits.connection_age`, which is 10s",
        "lower limits.request_timeout or raise limits.connection_age",
    ),
    (
        "limits.request_timeout = \"86s\"",
        "limits.request_timeout",
        "`limits.request_timeout` is 86s, and must be at least 5s shorter than `shutdown.grace`, which is 90s",
        "lower limits.request_timeout or raise shutdown.grace",
    ),
    (
        "limits.concurrent_requests = 100",
        "limits.concurrent_requests",
        "`limits.concurrent_requests_per_connection` is 256, and must be at most `limits.concurrent_requests`, which is 100",
        "lower limits.concurrent_requests_per_connection or raise limits.concurrent_requests",
    ),
    (
        "store.redis.url = \"redis://h:1\"",
        "store.redis.url",
        "has no effect: `store.kind` is \"embedded\"",
        "remove it, or set store.kind = \"redis\"",
    ),
    (
        "store = { kind = \"redis\", redis.url = \"redis://h\", embedded.file = \"/f\" }",
        "store.embedded.file",
        "has no effect: `store.kind` is \"redis\"",
        "remove it, or set store.kind = \"embedded\"",
    ),
    // Redis.
    (
        "store.kind = \"redis\"",
        "store.redis.url",
        "is required when `store.kind` is \"redis\"",
        "write \"redis://HOST:PORT\", or set store.redis.topology to sentinel or cluster",
    ),
];

/// Lines of `[store.redis]`, for a store of that kind; a line without `url` gets a good one.
const REDIS: &[Case] = &[
    (
        "url = \"rediss://h:1\"",
        "store.redis.url",
        "asks for TLS in a way that is not taken here: write redis:// and store.redis.tls = \"on\"",
        URL,
    ),
    (
        "url = \"redis://u:canary-secret@h\"",
        "store.redis.url",
        "has a password in it, which would be seen wherever configuration is shown",
        URL,
    ),
    (
        "url = \"rediss://:canary-secret@h\"",
        "store.redis.url",
        "has a password in it, which would be seen wherever configuration is shown",
        URL,
    ),
    ("url = \"redis://canary-secret@h\"", "store.redis.url", "has a user name in it", URL),
    ("url = \"redis:///1\"", "store.redis.url", "has no host", URL),
    ("url = \"redis://h/canary-secret\"", "store.redis.url", "has a path that is no database number", URL),
    ("url = \"redis://h/?password=canary-secret\"", "store.redis.url", "has a query or fragment", URL),
    ("url = \"https://h\"", "store.redis.url", "has another scheme than redis", URL),
    ("url = \"canary-secret\"", "store.redis.url", "is not a URL", URL),
    ("namespace = \"A\"", "store.redis.namespace", "is not a label", LABEL),
    ("namespace = \"\"", "store.redis.namespace", "is not a label", LABEL),
    (
        "shards = 65",
        "store.redis.shards",
        "`65` is out of bounds",
        "write a whole number from 1 to 64, without quotes",
    ),
    (
        "username = \"app\"",
        "store.redis.username",
        "is set without a password",
        "set store.redis.password_file too, or remove it",
    ),
    ("password_file = 12345", "store.redis.password_file", "is an integer, not a path", PATH),
    (
        "password_file = \"canary-secret\"",
        "store.redis.password_file",
        "was not found",
        "check the path; a relative one starts at the working directory",
    ),
];

pub(super) fn check(text: &str, (_, key, problem, mend): Case) {
    let [told] = load(text, &[]).expect_err(text).mistakes.try_into().expect(text);
    assert_eq!(
        (told.key.as_str(), told.problem.as_str(), told.mend.as_str()),
        (key, problem, mend),
        "{text}"
    );
    assert!(!format!("{told} {told:?}").contains(CANARY), "{told}");
}

#[test]
fn each_mistake_in_the_file_is_told_with_its_mend() {
    for case in ANYWHERE {
        check(case.0, *case);
    }
}

#[test]
fn each_mistake_about_redis_is_told_with_its_mend_and_without_secrets() {
    for case in REDIS {
        let url = if case.0.starts_with("url") { "" } else { "url = \"redis://h\"\n" };
        check(&format!("store.kind = \"redis\"\n[store.redis]\n{url}{}", case.0), *case);
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let word = format!("replica = \"{}\"", "x".repeat(129));
    check(&word, ("", "replica", "is longer than 128 characters", WORD));
    let path = format!("data_dir = \"{}\"", "x".repeat(4096));
    check(&path, ("", "data_dir", "is longer than 4095 bytes", PATH));
}

#[test]
fn each_mistake_in_the_environment_is_told_with_its_mend() {
    let cases = [
        (("BURSAR_REFRESH_TICK", "500"), "refresh.tick (BURSAR_REFRESH_TICK): `500` is text, not a duration"),
        (
            ("BURSAR_REFRESH_ENABLED", "1"),
            "refresh.enabled (BURSAR_REFRESH_ENABLED): `1` is text, not a boolean",
        ),
        (
            ("BURSAR_REFRESH_CONCURRENCY", "0"),
            "refresh.concurrency (BURSAR_REFRESH_CONCURRENCY): `0` is out of bounds",
        ),
        (
            ("BURSAR_REFRESH_CONCURRENCY", ""),
            "refresh.concurrency (BURSAR_REFRESH_CONCURRENCY): `` is text, not an integer",
        ),
        (("BURSAR_DATA_DIR", "a\u{fffd}"), "data_dir (BURSAR_DATA_DIR): is not UTF-8 text"),
        (("BURSAR_LISTEN_PORT", "1"), "BURSAR_LISTEN_PORT: is not a variable of bursar"),
        (("BURSAR_\u{1b}[2J", "1"), "BURSAR_\\u{1b}[2J: is not a variable of bursar"),
        (("BURSAR_REFRSH_TICK", "1s"), "BURSAR_REFRSH_TICK: is not a variable of bursar"),
    ];
    for (variable, want) in cases {
        let [told] = mistakes(load("", &[variable])).try_into().unwrap();
        assert_eq!(told.lines().next().unwrap(), want);
    }
    let [told] = mistakes(load("", &[("BURSAR_REFRSH_TICK", "1s")])).try_into().unwrap();
    assert!(told.ends_with("\n    mend: did you mean `BURSAR_REFRESH_TICK`?"), "{told}");
}
