//! Records round-trip, newer ones are read and left alone, and what cannot be read says which field it is.

use super::*;
use crate::domain::{
    authorization::{Authorization, Browser, Device, Digest, Fault, Presence, Principals, Stage, Taker, Way},
    client::{Client, Environment, Hold, HoldReason},
    connection::{Narrowing, PrincipalKind, State},
    credential::{Certificate, PublicKey, PublicPart, StoredSecret},
    failure::{Class, Reason},
    profile::{ClientAuth, GrantKind, Overlap, SigningAlg},
    rotation::{Rotation, RotationStage},
    samples::{self, START, id},
};
use proptest::{option, prelude::*, sample::select};
use std::{collections::BTreeMap, time::Duration};

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,12}"
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp)
}

fn uuids() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn sealed<T>() -> impl Strategy<Value = Sealed<T>> {
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(Sealed::from_bytes)
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), 0..3)
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(text(), text(), 0..3)
}

fn reason() -> impl Strategy<Value = StateReason> {
    (select(Reason::ALL), option::of(text()), option::of(text()), time())
        .prop_map(|(reason, code, correlation_id, at)| StateReason { reason, code, correlation_id, at })
}

fn mark() -> impl Strategy<Value = Mark> {
    (any::<u64>(), time(), option::of(text()), option::of(text()))
        .prop_map(|(generation, at, code, correlation_id)| Mark { generation, at, code, correlation_id })
}

fn token() -> impl Strategy<Value = Token> {
    (sealed(), any::<u64>(), time(), time(), time(), time(), select(Overlap::ALL), option::of(text()))
        .prop_map(|(sealed, generation, issued_at, expires_at, soft_at, hard_at, overlap, bound_to)| Token {
            sealed,
            generation,
            issued_at,
            expires_at,
            soft_at,
            hard_at,
            overlap,
            bound_to,
        })
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (uuids(), text(), any::<u64>(), time(), time(), option::of(uuids())).prop_map(
        |(id, replica, generation, started_at, lease_until, authorization)| Attempt {
            id,
            replica,
            generation,
            started_at,
            lease_until,
            authorization,
        },
    )
}

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn way() -> impl Strategy<Value = Way> {
    let browser = (
        (select(Taker::ALL), digests(), option::of(digests()), option::of(digests())),
        (text(), option::of(text()), option::of(text())),
        (select(Presence::ALL), select(Presence::ALL)),
    );
    let browser = browser.prop_map(|(who, texts, (iss, state_echo))| {
        let (taker, state, opener, cookie) = who;
        let (redirect_uri, return_uri, issuer) = texts;
        Way::Browser(Browser {
            taker,
            state,
            opener,
            cookie,
            redirect_uri,
            return_uri,
            issuer,
            iss,
            state_echo,
        })
    });
    let device =
        any::<u32>().prop_map(|ms| Way::Device(Device { interval: Duration::from_millis(ms.into()) }));
    prop_oneof![browser, device, any::<u32>().prop_map(|refused| Way::Otp { refused })]
}

prop_compose! {
    fn authorization()(
        id in uuids(), way in way(), stage in select(Stage::ALL), started_at in time(), expires_at in time(),
        due in option::of(time()), secrets in option::of(sealed()), scopes in texts(), resources in texts(),
        principals in select(Principals::ALL), ended_at in option::of(time()), code in option::of(text()),
        correlation_id in option::of(text()), fault in option::of(select(Fault::ALL)),
    ) -> Authorization {
        Authorization {
            id, way, stage, started_at, expires_at, due, secrets, scopes, resources, principals, ended_at, fault, code,
            correlation_id,
        }
    }
}

fn last_failure() -> impl Strategy<Value = LastFailure> {
    (select(Class::ALL), option::of(text()), option::of(text()), time())
        .prop_map(|(class, code, correlation_id, at)| LastFailure { class, code, correlation_id, at })
}

prop_compose! {
    fn plain()(
        uid in uuids(), family in uuids(), revision: u64, generation: u64, failures: u32,
        times in (time(), time(), option::of(time()), option::of(time()), option::of(time())),
        grant in select(GrantKind::ALL), narrowing in select(Narrowing::ALL), state in select(State::ALL),
        labels in labels(), requested_scopes in texts(), scopes in texts(), api_base_url in option::of(text()),
        subject in option::of(text()), requested_resources in texts(),
    ) -> Connection {
        Connection {
            uid, family, revision, generation, failures, grant, narrowing, state, labels, requested_scopes, scopes,
            api_base_url, subject, requested_resources, created_at: times.0, updated_at: times.1, due: times.2, last_success_at: times.3,
            refresh_expires_at: times.4, ..samples::connection()
        }
    }
}

prop_compose! {
    fn connections()(
        plain in plain(), refresh_token in option::of(sealed()), previous_refresh_token in option::of(sealed()),
        token in option::of(token()), attempt in option::of(attempt()), settled in option::of(uuids()),
        suspicion in option::of(mark()), ambiguous in option::of(mark()), reason_now in option::of(reason()),
        before in option::of((select(State::ALL), option::of(reason()))),
        principal in option::of((select(PrincipalKind::ALL), text())), last_failure in option::of(last_failure()),
        authorization in option::of(authorization().prop_map(Box::new)),
        dpop in option::of((sealed(), text())),
    ) -> Connection {
        Connection {
            refresh_token, previous_refresh_token, token, attempt, settled, suspicion, ambiguous,
            reason: reason_now,
            before: before.map(|(state, reason)| Before { state, reason }),
            principal: principal.map(|(kind, id)| Principal { kind, id }),
            dpop: dpop.map(|(sealed, thumbprint)| BoundKey { sealed, thumbprint }),
            last_failure, authorization, ..plain
        }
    }
}

prop_compose! {
    fn secrets()(
        id in uuids(), sealed in option::of(sealed()), created_at in time(), public in public_part(),
        times in (option::of(time()), option::of(time()), option::of(time()), option::of(time())),
    ) -> StoredSecret {
        StoredSecret {
            id, public, sealed, created_at, retired_at: times.0, expires_at: times.1, last_used_at: times.2,
            refused_at: times.3,
        }
    }
}

prop_compose! {
    fn rotations()(
        started_at in time(), stage in select(RotationStage::ALL), old in text(), old_secret in uuids(),
        known in texts(), new in option::of((text(), uuids())),
    ) -> Rotation {
        Rotation { started_at, stage, old, old_secret, known, new }
    }
}

fn public_part() -> impl Strategy<Value = PublicPart> {
    let key = (text(), select(SigningAlg::ALL), text())
        .prop_map(|(key_id, algorithm, jwk)| PublicPart::PrivateKey(PublicKey { key_id, algorithm, jwk }));
    let certificate = (text(), text(), text()).prop_map(|(chain, thumbprint, subject)| {
        PublicPart::Certificate(Certificate { chain, thumbprint, subject })
    });
    prop_oneof![Just(PublicPart::SharedSecret), key, certificate]
}

prop_compose! {
    fn clients()(
        uid in uuids(), revision: u64, created_at in time(), updated_at in time(), client_id in text(),
        auth in select(ClientAuth::ALL), environment in select(Environment::ALL), allowed_scopes in texts(),
        allowed_grants in proptest::collection::vec(select(GrantKind::ALL), 0..4),
        secrets in proptest::collection::vec(secrets(), 0..4),
        hold in option::of((
            time(), option::of(select(HoldReason::ALL)), option::of(text()), option::of(text()), time(),
            any::<u32>(),
        )),
        preferred in option::of(uuids()), rotation in option::of(rotations()),
        endings in proptest::collection::vec(time(), 0..4),
    ) -> Client {
        let hold = hold.map(|(until, reason, code, correlation_id, at, failures)| {
            Hold { until, reason, code, correlation_id, at, failures }
        });
        Client {
            uid, revision, created_at, updated_at, client_id, auth, allowed_grants, allowed_scopes, environment,
            secrets, preferred, rotation, hold, endings, ..samples::client()
        }
    }
}

prop_compose! {
    fn tenants()(
        uid in uuids(), revision: u64, created_at in time(), updated_at in time(), display_name in text(),
        labels in labels(),
    ) -> Tenant {
        let name = "tenants/t".parse().unwrap();
        Tenant { name, uid, revision, created_at, updated_at, display_name, labels, deletion: None }
    }
}

proptest! {
    #[test]
    fn a_connection_is_read_as_it_was_written(connection in connections()) {
        prop_assert_eq!(decode_connection(&connection.name, &encode_connection(&connection)), Ok(connection));
    }

    #[test]
    fn a_client_is_read_as_it_was_written(client in clients()) {
        prop_assert_eq!(decode_client(&client.name, &encode_client(&client)), Ok(client));
    }

    #[test]
    fn a_tenant_is_read_as_it_was_written(tenant in tenants()) {
        prop_assert_eq!(decode_tenant(&tenant.name, &encode_tenant(&tenant)), Ok(tenant));
    }

    #[test]
    fn bytes_of_anybody_are_refused_without_a_panic(bytes: Vec<u8>) {
        let connection = samples::connection();
        let _ = (unwrap(&bytes), decode_connection(&connection.name, &bytes));
        let _ = (decode_client(&connection.client, &bytes), decode_tenant(&connection.name.tenant, &bytes));
    }
}

/// Every field has a value, so that one that is lost or renumbered shows.
fn full_connection() -> Connection {
    let reason = |reason, at| StateReason {
        reason,
        code: Some("16".into()),
        correlation_id: Some("corr-1".into()),
        at: Timestamp(at),
    };
    let mark = |generation, at| Mark {
        generation,
        at: Timestamp(at),
        code: Some("invalid_grant".into()),
        correlation_id: Some("corr-2".into()),
    };
    Connection {
        principal: Some(Principal { kind: PrincipalKind::Company, id: "company-1".into() }),
        labels: BTreeMap::from([("team".into(), "billing".into())]),
        requested_scopes: vec!["read".into(), "write".into()],
        narrowing: Narrowing::ServeWhole,
        api_base_url: Some("https://us.example".into()),
        state: State::Disabled,
        reason: Some(reason(Reason::DisabledByOperator, 11)),
        before: Some(Before {
            state: State::NeedsReauthorization,
            reason: Some(reason(Reason::LostRotation, 12)),
        }),
        previous_refresh_token: Some(Sealed::from_bytes(*b"previous")),
        refresh_expires_at: Some(Timestamp(13)),
        attempt: Some(Attempt {
            id: id(4),
            replica: "replica-1".into(),
            generation: 3,
            started_at: Timestamp(14),
            lease_until: Timestamp(15),
            authorization: None,
        }),
        settled: Some(id(5)),
        suspicion: Some(mark(3, 16)),
        ambiguous: Some(mark(2, 17)),
        due: Some(Timestamp(18)),
        token: Some(Token {
            sealed: Sealed::from_bytes(*b"access"),
            generation: 3,
            issued_at: Timestamp(20),
            expires_at: Timestamp(21),
            soft_at: Timestamp(22),
            hard_at: Timestamp(23),
            overlap: Overlap::Dies,
            bound_to: None,
        }),
        failures: 6,
        last_failure: Some(LastFailure {
            class: Class::Ambiguous,
            code: Some("http_500".into()),
            correlation_id: Some("corr-3".into()),
            at: Timestamp(19),
        }),
        revision: 7,
        ..samples::connection()
    }
}

fn full_client() -> Client {
    Client {
        allowed_grants: vec![GrantKind::RefreshToken, GrantKind::CompanyRequestToken],
        allowed_scopes: vec!["read".into()],
        environment: Environment::Production,
        secrets: vec![
            StoredSecret { sealed: None, retired_at: Some(Timestamp(31)), ..samples::secret(9) },
            samples::secret(10),
        ],
        hold: Some(Hold {
            until: Timestamp(32),
            reason: None,
            code: Some("invalid_client".into()),
            correlation_id: Some("corr-4".into()),
            at: Timestamp(33),
            failures: 2,
        }),
        endings: vec![Timestamp(34), Timestamp(35)],
        ..samples::client()
    }
}

/// What clients have learnt since: keys, certificates, and how they fared.
fn client_with_keys() -> Client {
    let base = full_client();
    let key =
        PublicKey { key_id: "key-1".into(), algorithm: SigningAlg::EdDsa, jwk: r#"{"kty":"OKP"}"#.into() };
    let certificate = Certificate {
        chain: "-----BEGIN CERTIFICATE-----".into(),
        thumbprint: "thumb".into(),
        subject: "CN=app".into(),
    };
    Client {
        auth: ClientAuth::PrivateKeyJwt,
        secrets: vec![
            StoredSecret {
                public: PublicPart::PrivateKey(key),
                expires_at: Some(Timestamp(41)),
                last_used_at: Some(Timestamp(42)),
                ..samples::secret(11)
            },
            StoredSecret {
                public: PublicPart::Certificate(certificate),
                refused_at: Some(Timestamp(43)),
                ..samples::secret(12)
            },
        ],
        preferred: Some(id(11)),
        hold: base.hold.clone().map(|hold| Hold { reason: Some(HoldReason::ClientDisabled), ..hold }),
        ..base
    }
}

fn full_tenant() -> Tenant {
    Tenant {
        name: "tenants/t".parse().unwrap(),
        uid: id(6),
        revision: 2,
        created_at: START,
        updated_at: START,
        display_name: "Tenant".into(),
        labels: BTreeMap::from([("plan".into(), "gold".into())]),
        deletion: None,
    }
}

#[test]
fn a_deleted_tenant_round_trips() {
    for undo in [Undo::Possible, Undo::TooLate] {
        let deletion = Deletion { deleted_at: START, purge_at: Timestamp(START.0 + 7), undo };
        let tenant = Tenant { deletion: Some(deletion), ..full_tenant() };
        assert_eq!(decode_tenant(&tenant.name, &encode_tenant(&tenant)), Ok(tenant));
    }
    let half = pb::Tenant { uid: vec![0; 16], deleted_at: Some(1), ..pb::Tenant::default() };
    let refusal = decode_tenant(&full_tenant().name, &half.encode_to_vec()).unwrap_err();
    assert_eq!(refusal.field, "purge_at");
}

#[test]
fn work_on_keys_round_trips() {
    use crate::domain::{
        kek_log::{KekLog, SeenKek},
        walk::{Of, Stage, Task, Walk, WalkLease},
    };
    let fresh = Walk::new(Task::Reseal, Of::Root, 2, (START, START));
    let lease = Some(WalkLease { replica: "one".into(), until: Timestamp(9) });
    let full = Walk {
        ended_at: Some(START),
        stage: Stage::Walking,
        cursor: Some("connection/t/c".into()),
        scanned: 3,
        resealed: 2,
        broken: 1,
        total: 4,
        records: [(1, 2), (2, 7)].into(),
        lease,
        ..fresh.clone()
    };
    for walk in [fresh, full] {
        assert_eq!(decode_walk(&walk.name, &encode_walk(&walk)), Ok(walk));
    }
    let odd = pb::Walk { uid: vec![0; 16], stage: "running".into(), ..pb::Walk::default() };
    let name = Walk::new(Task::Purge, Of::Root, 0, (START, START)).name;
    assert_eq!(decode_walk(&name, &odd.encode_to_vec()).unwrap_err().field, "stage");
    let (seen_at, activated_at, retired_at) = (START, Some(START), Some(START));
    let key = SeenKek { version: 1, kind: "file".into(), id: "a".into(), seen_at, activated_at, retired_at };
    let log = KekLog { uid: id(6), created_at: START, keys: vec![key] };
    assert_eq!(decode_kek_log(&encode_kek_log(&log)), Ok(log));
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Written by format 1. Never edited: a program that does not read these does not read its users' stores.
const GOLDEN: &str = include_str!("codec_tests/format_1.txt");

fn golden(kind: &str) -> Vec<u8> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(": "));
    from_hex(line.expect("a line of this kind"))
}

#[test]
fn records_of_format_1_stay_readable() {
    let (connection, client, tenant) = (full_connection(), full_client(), full_tenant());
    assert_eq!(FORMAT, 1, "a new format gets a golden file of its own, beside this one");
    assert_eq!(decode_connection(&connection.name, &golden("connection")).as_ref(), Ok(&connection));
    assert_eq!(decode_client(&client.name, &golden("client")).as_ref(), Ok(&client));
    let with_keys = client_with_keys();
    assert_eq!(decode_client(&client.name, &golden("client with keys")).as_ref(), Ok(&with_keys));
    assert_eq!(decode_tenant(&tenant.name, &golden("tenant")).as_ref(), Ok(&tenant));
    let envelope = unwrap(&golden("envelope")).unwrap();
    assert_eq!((envelope.format, envelope.stamp_key_version), (1, 2));
    assert_eq!((envelope.record.as_slice(), envelope.stamp.as_slice()), (&b"record"[..], &b"stamp"[..]));
}

#[test]
fn this_program_writes_what_the_golden_records_are() {
    let wrote = [
        ("connection", encode_connection(&full_connection())),
        ("client", encode_client(&full_client())),
        ("client with keys", encode_client(&client_with_keys())),
        ("tenant", encode_tenant(&full_tenant())),
        ("envelope", wrap(b"record".to_vec(), 2, b"stamp".to_vec())),
    ];
    for (kind, bytes) in wrote {
        assert_eq!(to_hex(&bytes), to_hex(&golden(kind)), "{kind}");
    }
}

#[test]
fn fields_of_a_newer_program_are_passed_over() {
    let connection = samples::connection();
    let mut bytes = encode_connection(&connection);
    // Field 1000, length-delimited, "new".
    bytes.extend_from_slice(&[0xc2, 0x3e, 3, b'n', b'e', b'w']);
    assert_eq!(decode_connection(&connection.name, &bytes), Ok(connection));
}

type Spoil = fn(&mut pb::Connection);

#[test]
fn what_cannot_be_read_says_which_field_it_is() {
    let of = |change: fn(&mut pb::Connection)| {
        let mut record = pb::Connection::decode(&*encode_connection(&full_connection())).unwrap();
        change(&mut record);
        decode_connection(&full_connection().name, &record.encode_to_vec()).unwrap_err().field
    };
    let cases: [(&str, Spoil); 17] = [
        ("uid", |r| r.uid.truncate(15)),
        ("family", |r| r.family.clear()),
        ("provider", |r| r.provider = "p".into()),
        ("client", |r| r.client = "tenants/t".into()),
        ("grant", |r| r.grant = "hope".into()),
        ("principal.kind", |r| r.principal.as_mut().unwrap().kind = "robot".into()),
        ("narrowing", |r| r.narrowing.clear()),
        ("state", |r| r.state = "paused".into()),
        ("reason.reason", |r| r.reason.as_mut().unwrap().reason = "mood".into()),
        ("before.state", |r| r.before.as_mut().unwrap().state = "paused".into()),
        ("reason.reason", |r| {
            r.before.as_mut().unwrap().reason.as_mut().unwrap().reason = "mood".into();
        }),
        ("token.overlap", |r| r.token.as_mut().unwrap().overlap = "some".into()),
        ("attempt.id", |r| r.attempt.as_mut().unwrap().id.push(0)),
        ("settled", |r| r.settled = Some(vec![1])),
        ("last_failure.class", |r| r.last_failure.as_mut().unwrap().class = "odd".into()),
        ("uid", |r| *r = pb::Connection::default()),
        ("provider", |r| r.provider.clear()),
    ];
    for (field, spoil) in cases {
        assert_eq!(of(spoil), field);
    }
    let client = full_client();
    let of = |change: fn(&mut pb::Client)| {
        let mut record = pb::Client::decode(&*encode_client(&client)).unwrap();
        change(&mut record);
        decode_client(&client.name, &record.encode_to_vec()).unwrap_err().field
    };
    assert_eq!(of(|r| r.auth = "magic".into()), "auth");
    assert_eq!(of(|r| r.allowed_grants[1] = "hope".into()), "allowed_grants");
    assert_eq!(of(|r| r.environment = "moon".into()), "environment");
    assert_eq!(of(|r| r.secrets[0].id.clear()), "secrets.id");
    assert_eq!(of(|r| r.preferred = Some(vec![1])), "preferred");
    assert_eq!(of(|r| r.rotation = Some(pb::Rotation::default())), "rotation.stage");
    assert_eq!(of(|r| r.hold.as_mut().unwrap().reason = Some("mood".into())), "hold.reason");
    assert_eq!(
        of(|r| {
            let key = pb::PublicKey { algorithm: "none".into(), ..pb::PublicKey::default() };
            r.secrets[0].public = Some(pb::client_secret::Public::PublicKey(key));
        }),
        "secrets.public_key.algorithm"
    );
    assert_eq!(of(|r| r.uid.clear()), "uid");
    assert_eq!(decode_tenant(&full_tenant().name, &[]).unwrap_err().field, "uid");
    assert_eq!(unwrap(&[]).unwrap_err().field, "format");
    assert_eq!(unwrap(b"\xff").unwrap_err().field, "(record)");
    let err = decode_connection(&full_connection().name, b"\xff").unwrap_err();
    assert_eq!(err.field, "(record)");
}
