//! Servers that lie, break off, never end and point elsewhere, against a whole broker and its real way out. Whatever
//! they do, the answer is judged as what it is, the refresh token is kept unless a new one came, nothing secret goes
//! anywhere else, nothing of what they wrote is logged, and it ends soon.

mod asked;

mod callbacks;

mod metadata;

mod tokens;

mod wire;

use crate::rig::Rig;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar::{
    broker::{GetTokenError, admin::consent::Outcome, refresher::RefreshError},
    clock::{Clock, TokioClock},
    domain::{
        connection::{Connection, State},
        failure::Class,
        token::{ClientSecret, RefreshToken, Secret},
    },
    egress::{AddressPolicy, Egress},
    provider::Providers,
    seal::Place,
};
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use std::{fmt::Write as _, io, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tokio::time::Instant;
use wire::{Act, Wire};

/// Longest time of one case: one request of eight seconds, and what is around it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes that a server gets rid of: an answer's bound, and what the kernel holds for both ends.
const TAKEN_MAX: usize = 24 * 1024 * 1024;
/// Cases side by side: most of them wait.
const AT_ONCE: usize = 12;
/// How many cases there are to be.
const CASES_MIN: usize = 100;

/// One thing that a server does, and what has to come of it.
struct Case {
    name: &'static str,
    act: fn(&Scene) -> Act,
    want: Want,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    /// A token is handed out.
    Served(Kept),
    /// None is, and the failure is taken for this.
    Refused(Class, Kept),
}

/// Which refresh token is in the store afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Old,
    New,
}

/// The secrets of one case: each has its own, so that a log tells whose it shows.
struct Scene {
    old: String,
    new: String,
    access: String,
    secret: String,
    base: String,
    elsewhere: String,
}

impl Scene {
    fn new(n: usize, base: &str, elsewhere: &str) -> Self {
        Self {
            old: format!("canary-{n:04}-old-refresh-token"),
            new: format!("canary-{n:04}-new-refresh-token"),
            access: format!("canary-{n:04}-access-token"),
            secret: format!("canary-{n:04}-client-secret"),
            base: base.to_owned(),
            elsewhere: elsewhere.to_owned(),
        }
    }

    /// A token response with a new refresh token and these members besides.
    fn rotation(&self, members: &str) -> String {
        self.access(&format!(r#","refresh_token":"{}"{members}"#, self.new))
    }

    /// One with an access token only.
    fn access(&self, members: &str) -> String {
        format!(r#"{{"access_token":"{}","token_type":"Bearer"{members}}}"#, self.access)
    }

    /// One whose access token, if any, is among the members.
    fn with_access(&self, members: &str) -> String {
        format!(r#"{{"token_type":"Bearer","refresh_token":"{}"{members}}}"#, self.new)
    }

    /// One whose token type, if any, is among the members.
    fn typed(&self, members: &str) -> String {
        format!(r#"{{"access_token":"{}","refresh_token":"{}"{members}}}"#, self.access, self.new)
    }

    fn jwt(&self, header: &str, claims: &str) -> String {
        let token = [header, claims, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        format!(
            r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600,"refresh_token":"{}"}}"#,
            self.new
        )
    }
}

/// These tokens as a gzip member (RFC 1952): whoever unpacked it would find them.
fn zipped(text: &str) -> Vec<u8> {
    deflated(text, 0)
}

/// These tokens and a mebibyte of blanks in two kilobytes: whoever unpacked it without a bound would find them too.
fn bomb(text: &str) -> Vec<u8> {
    deflated(text, (1 << 20) / BLANKS)
}

/// Blanks that one code of `deflated` stands for.
const BLANKS: usize = 258;

/// One block with the fixed codes of RFC 1951 §3.2.6: the text and a blank, then as often as said the blanks before it
/// once more.
fn deflated(text: &str, times: usize) -> Vec<u8> {
    assert!(text.is_ascii());
    let mut bits = vec![true, true, false];
    let mut code = |value: u16, length: u32| bits.extend((0..length).rev().map(|at| value >> at & 1 == 1));
    for byte in text.bytes().chain([b' ']) {
        code(0x30 + u16::from(byte), 8);
    }
    for _ in 0..times {
        // Length 258, distance 1.
        code(0b1100_0101, 8);
        code(0, 5);
    }
    code(0, 7);
    let whole = format!("{text} {}", " ".repeat(BLANKS * times));
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend(bits.chunks(8).map(byte));
    member.extend(crc32(whole.as_bytes()).to_le_bytes());
    member.extend(u32::try_from(whole.len()).unwrap().to_le_bytes());
    member
}

/// RFC 1952 §8.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(!0, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}

/// What the cases send is what they say: a program of others unpacks it.
#[test]
fn what_is_zipped_unpacks_elsewhere() {
    const TEXT: &str = r#"{"a":1}"#;
    for (bytes, blanks) in [(zipped(TEXT), 1), (bomb(TEXT), 1 + (1 << 20) / BLANKS * BLANKS)] {
        let mut gzip = std::process::Command::new("gzip");
        gzip.args(["-d", "-c"]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut gzip = gzip.spawn().unwrap();
        io::Write::write_all(&mut gzip.stdin.take().unwrap(), &bytes).unwrap();
        let unpacked = gzip.wait_with_output().unwrap();
        assert!(unpacked.status.success());
        assert_eq!(String::from_utf8(unpacked.stdout).unwrap(), format!("{TEXT}{}", " ".repeat(blanks)));
        assert!(bytes.len() < 8 * 1024, "{}", bytes.len());
    }
}

/// What a server does in all, for the page that lists it.
fn wanted(want: Want) -> (String, &'static str) {
    match want {
        Want::Served(kept) => ("served".to_owned(), kept.word()),
        Want::Refused(class, kept) => (class.to_string(), kept.word()),
    }
}

impl Kept {
    fn word(self) -> &'static str {
        match self {
            Self::Old => "the old one",
            Self::New => "the new one",
        }
    }
}

/// A whole broker whose provider is this text, with one connection that has to refresh at once.
async fn facing(profile: &str, scene: &Scene) -> Rig {
    let rig = facing_nothing(profile, scene).await;
    let granted = |connection: &mut Connection| connection.scopes = vec!["read".to_owned()];
    rig.seed_as(0, &scene.old, granted).await;
    rig
}

/// Without a connection.
async fn facing_nothing(profile: &str, scene: &Scene) -> Rig {
    let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(crate::rig::START));
    let egress = Egress::new(AddressPolicy::LoopbackOnly).unwrap();
    let provider = Arc::new(Providers::new(egress, clock.clone()));
    Rig::facing(provider, clock, profile, ClientSecret(Secret::new(&*scene.secret))).await
}

/// The refresh token in the store.
async fn stored(rig: &Rig) -> String {
    let record = rig.record().await;
    let keys = rig.a.broker.keys.keys(&record.name.owner()).await.unwrap();
    let resource = record.name.to_string();
    let place = Place { resource: &resource, family: record.family, generation: record.generation };
    let token: RefreshToken = keys.open(&place, record.refresh_token.as_ref().unwrap()).unwrap();
    token.0.expose().to_owned()
}

/// Everything that the broker logs, of all cases.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_env_filter("bursar=trace")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    /// Nothing that a server wrote is in there, nor a secret. Ours are all called so.
    fn judge(&self) {
        let text = String::from_utf8_lossy(&self.0.lock()).into_owned();
        for line in text.lines() {
            for word in ["canary", "alert(1)", "script", "\u{1b}", "\u{7}"] {
                assert!(!line.contains(word), "{word} is in the log: {line}");
            }
        }
        assert!(text.lines().count() > 10, "the log was not listened to");
    }
}

/// One case: a broker, a hostile server, a server elsewhere that must hear nothing.
async fn faced(n: usize, case: &Case) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/token", (case.act)(&scene));
    let profile = format!("token_endpoint = \"{}/token\"\nexchange_timeout = \"8s\"", server.base);
    let rig = facing(&profile, &scene).await;
    let begun = Instant::now();
    let outcome = rig.a.ask().await;
    let took = begun.elapsed();
    let (what, record) = (case.name, rig.record().await);
    let kept = match case.want {
        Want::Served(kept) => {
            outcome.unwrap_or_else(|err| panic!("{what}: {err:?}"));
            assert_eq!((record.state, record.failures), (State::Active, 0), "{what}");
            kept
        }
        Want::Refused(class, kept) => {
            let err = outcome.map(|served| served.degraded).expect_err(what);
            let GetTokenError::Refresh(RefreshError::Failed(failure)) = &err else {
                panic!("{what}: {err:?}");
            };
            assert_eq!(failure.class, class, "{what}: {}", failure.detail);
            assert!(!failure.detail.is_empty(), "{what}");
            let shown = format!("{err} {err:?} {:?} {:?}", record.last_failure, record.suspicion);
            assert!(!shown.contains("canary"), "{what}: {shown}");
            assert_eq!((record.state, record.token.is_none()), (State::Pending, true), "{what}");
            let waits = rig.clock.now().until(record.due.expect(what));
            assert!(waits <= Duration::from_secs(3600 + 60), "{what} waits {waits:?}");
            let open = failure.leaves_open();
            assert_eq!(record.ambiguous.is_some(), open && kept == Kept::Old, "{what}");
            kept
        }
    };
    let want = match kept {
        Kept::Old => &scene.old,
        Kept::New => &scene.new,
    };
    assert_eq!(&stored(&rig).await, want, "{what}");
    assert!(took < PATIENCE, "{what} took {took:?}");
    assert!(server.written() < TAKEN_MAX, "{what}: {} bytes were taken", server.written());
    assert_eq!(server.seen().len(), 1, "{what}: a request that may have been read is not repeated");
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}

/// Runs all, and fails at the end if any did.
async fn side_by_side(cases: impl Iterator<Item = impl Future<Output = ()>>) {
    let all = cases.map(|case| AssertUnwindSafe(case).catch_unwind());
    let ends: Vec<_> = stream::iter(all).buffer_unordered(AT_ONCE).collect().await;
    let wrong = ends.iter().filter(|end| end.is_err()).count();
    assert_eq!(wrong, 0, "of {} cases", ends.len());
}

#[tokio::test]
async fn a_hostile_token_endpoint_gets_and_breaks_nothing() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = tokens::cases();
    println!("{} hostile token endpoints", cases.len());
    assert!(cases.len() >= CASES_MIN);
    side_by_side(cases.iter().enumerate().map(|(n, case)| faced(n, case))).await;
    logged.judge();
}

#[tokio::test]
async fn hostile_metadata_leads_no_secret_astray() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = metadata::cases();
    println!("{} hostile servers' metadata", cases.len());
    side_by_side(cases.iter().enumerate().map(|(n, case)| metadata::faced(n, case))).await;
    logged.judge();
}

#[tokio::test]
async fn a_hostile_callback_takes_nothing_and_gives_nothing_away() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = callbacks::cases();
    println!("{} hostile callbacks", cases.len());
    side_by_side(cases.iter().enumerate().map(|(n, case)| callbacks::faced(n, case))).await;
    logged.judge();
}

#[tokio::test]
async fn a_hostile_word_about_a_token_loses_none() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = asked::introspections();
    side_by_side(cases.iter().enumerate().map(|(n, case)| asked::introspected(n, case))).await;
    logged.judge();
}

#[tokio::test]
async fn a_hostile_answer_to_a_revocation_keeps_the_token_until_it_is_revoked() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = asked::revocations();
    side_by_side(cases.iter().enumerate().map(|(n, case)| asked::revoked(n, case))).await;
    logged.judge();
}

#[tokio::test]
async fn ever_new_nonces_are_followed_once_and_lose_nothing() {
    let logged = Logged::default();
    let _listening = logged.listen();
    let cases = asked::proofs();
    side_by_side(cases.iter().enumerate().map(|(n, case)| asked::proven(n, case))).await;
    logged.judge();
}

/// docs/hostile-servers.md is written from the tables above.
#[test]
fn the_page_of_hostile_servers_lists_every_case() {
    let three = |cases: Vec<Case>| {
        let row = |case: &Case| {
            let (taken, kept) = wanted(case.want);
            vec![case.name.to_owned(), taken, kept.to_owned()]
        };
        cases.iter().map(row).collect::<Vec<_>>()
    };
    let two = |cases: Vec<asked::Asked>| {
        cases.iter().map(|case| vec![case.name.to_owned(), case.want.words()]).collect::<Vec<_>>()
    };
    let callback = |case: &callbacks::Callback| {
        let outcome = words_of(&case.want);
        vec![case.name.to_owned(), outcome, case.then.word().to_owned()]
    };
    let answer = "the server answers a refresh with | taken for | refresh token kept";
    let parts = [
        ("Token endpoint", answer, three(tokens::cases())),
        ("Metadata", answer, three(metadata::cases())),
        (
            "Callback",
            "what comes to the callback | taken for | the consent",
            callbacks::cases().iter().map(callback).collect(),
        ),
        ("Introspection", "the server says of a token in doubt | taken for", two(asked::introspections())),
        ("Revocation", "the server answers a revocation with | taken for", two(asked::revocations())),
        ("DPoP", "the server answers a bound refresh with | taken for", two(asked::proofs())),
    ];
    let all = parts.iter().map(|(.., rows)| rows.len()).sum::<usize>();
    let mut page = format!("{HEAD}\n{all} cases.\n");
    for (title, columns, rows) in &parts {
        let rule = "|---".repeat(columns.matches('|').count() + 1);
        write!(page, "\n## {title}\n\n| {columns} |\n{rule}|\n").unwrap();
        for row in rows {
            writeln!(page, "| {} |", row.join(" | ")).unwrap();
        }
        let names: std::collections::BTreeSet<_> = rows.iter().map(|row| &row[0]).collect();
        assert_eq!(names.len(), rows.len(), "two cases of {title} have one name");
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hostile-servers.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == page,
        "docs/hostile-servers.md is stale: run `UPDATE_DOCS=1 cargo test --test flow the_page_of_hostile_servers`"
    );
}

/// What a browser is told, as the page has it.
fn words_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "success".to_owned(),
        Outcome::Denied => "denial".to_owned(),
        Outcome::Expired => "too late".to_owned(),
        Outcome::ProviderError(Some(code)) => format!("the provider's error `{code:.32}`"),
        Outcome::ProviderError(None) => "the provider's error, its text dropped".to_owned(),
        Outcome::WrongIssuer => "another issuer's".to_owned(),
        Outcome::Nonsense => "no answer".to_owned(),
        Outcome::Unknown => "nothing of ours".to_owned(),
        Outcome::OtherBrowser => "another browser's".to_owned(),
        Outcome::Replayed(_) => "a replay".to_owned(),
        Outcome::SwitchedOff => "switched off".to_owned(),
        Outcome::Failed(fault) => format!("a failed exchange: {fault:?}"),
        Outcome::Unavailable => "unavailable".to_owned(),
    }
}

const HEAD: &str = "\
# Hostile servers

<!-- Written from tests/flow/hostile: `UPDATE_DOCS=1 cargo test --test flow the_page_of_hostile_servers` writes it anew. -->

What an authorization server may do to Bursar, and what comes of it. Each case runs against a whole broker and its real
HTTP client; the server writes exactly the bytes of the case. In every one of them:

- the refresh token stays in the store, unless the answer brought a new one: then that one is kept, whatever else is wrong;
- a request that a server may have read is not sent again by itself;
- nothing is sent to another host, whatever an answer says;
- neither a token, a secret nor anything that the server wrote is in a log, an error or the record;
- it ends within the time of one request, and takes no more than 64 KiB of an answer.

What the words in the second column mean for a connection is told in [providers.md](providers.md).
";
