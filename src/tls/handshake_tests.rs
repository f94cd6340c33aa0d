//! Whole handshakes over a pipe: who is let in as whom, and what is never spoken.

use super::{authority::*, *};
use crate::{access::caller::Identity, domain::token::Secret};
use rustls::{
    SupportedProtocolVersion,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio_rustls::{TlsConnector, client};

const ID: &str = "spiffe://example.org/billing";
const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

fn trusting(domains: &[(&str, &Authority)], pki: Option<&Authority>) -> Anchors {
    Anchors {
        files: domains.iter().map(|(name, by)| (name.parse().unwrap(), by.roots())).collect(),
        pki: pki.map(Authority::roots),
        ..Anchors::default()
    }
}

/// Both ends of a handshake; the client's is checked by reading, because it hears of a refusal only then.
async fn shake(
    server: &Server,
    config: rustls::ClientConfig,
) -> (Result<Option<Recognised>, String>, Option<client::TlsStream<DuplexStream>>) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let name = ServerName::try_from(SERVER_NAME).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let (told, connected) = tokio::join!(
        async {
            let accepted = server.accept(there).await;
            accepted.map(|(_, client)| client).map_err(|err| why(&err))
        },
        connector.connect(name, here),
    );
    (told, connected.ok())
}

async fn outcome(server: &Server, config: rustls::ClientConfig) -> Result<Option<Identity>, String> {
    shake(server, config).await.0.map(|client| client.map(|client| client.certificate.identity))
}

#[tokio::test(start_paused = true)]
async fn a_client_is_who_its_own_authorities_say() {
    let (ours, theirs, pki, stranger) =
        (Authority::new(), Authority::new(), Authority::new(), Authority::new());
    let anchors = trusting(&[("example.org", &ours), ("partner.example", &theirs)], Some(&pki));
    let server = server(&ours, anchors, Clients::Required, &["billing.internal"]);
    let unknown = "client certificate is of an authority that may not vouch for this name";
    let spiffe = |id: &str| Ok(Some(Identity::Spiffe(id.into())));
    let cases = [
        (ours.svid(ID), spiffe(ID)),
        (theirs.svid("spiffe://partner.example/x"), spiffe("spiffe://partner.example/x")),
        (pki.issue(&[dns("billing.internal")], |_| {}), Ok(Some(Identity::Dns("billing.internal".into())))),
        // Each authority for its own names only.
        (theirs.svid(ID), Err(unknown)),
        (ours.svid("spiffe://partner.example/x"), Err(unknown)),
        (pki.svid(ID), Err(unknown)),
        (ours.issue(&[dns("billing.internal")], |_| {}), Err(unknown)),
        (stranger.svid(ID), Err(unknown)),
        (ours.svid("spiffe://elsewhere.example/x"), Err(unknown)),
        (
            ours.issue(&[uri(ID)], |params| params.not_after = rcgen::date_time_ymd(2027, 1, 14)),
            Err("client certificate has expired"),
        ),
        (
            ours.issue(&[uri(ID)], |params| {
                params.not_before = rcgen::date_time_ymd(2027, 1, 16);
                params.not_after = rcgen::date_time_ymd(2027, 1, 17);
            }),
            Err("client certificate is not valid yet"),
        ),
        (ours.issue(&[uri(ID), uri(ID)], |_| {}), Err("client certificate has a SPIFFE ID and another URI")),
    ];
    for (issued, want) in cases {
        let got = outcome(&server, client(&ours, Some(&issued), BOTH)).await;
        assert_eq!(got, want.map_err(str::to_owned), "{}", issued.pem());
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_let_in_only_where_that_is_configured() {
    let ours = Authority::new();
    let anchors = || trusting(&[("example.org", &ours)], None);
    let required = server(&ours, anchors(), Clients::Required, &[]);
    let missing = "the client brought no certificate (tls.clients is \"required\")";
    assert_eq!(outcome(&required, client(&ours, None, BOTH)).await, Err(missing.into()));
    let optional = server(&ours, anchors(), Clients::Optional, &[]);
    assert_eq!(outcome(&optional, client(&ours, None, BOTH)).await, Ok(None));
    // One that is brought has to be good all the same.
    let svid = Authority::new().svid(ID);
    assert!(outcome(&optional, client(&ours, Some(&svid), BOTH)).await.is_err());
}

/// As when an agent gives no bundle any more: no certificate would be asked for.
#[tokio::test(start_paused = true)]
async fn whoever_has_to_prove_itself_has_to_when_nobody_vouches_any_more() {
    let ours = Authority::new();
    let anchors = || trusting(&[("example.org", &ours)], None);
    let required = server(&ours, anchors(), Clients::Required, &[]);
    let emptied = required.change(|parts| parts.anchors = Anchors::default());
    assert!(matches!(emptied, Err(SetupError::NoAnchors)), "{emptied:?}");
    assert!(outcome(&required, client(&ours, None, BOTH)).await.is_err(), "it is not let in as nobody");
    let svid = ours.svid(ID);
    let known = outcome(&required, client(&ours, Some(&svid), BOTH)).await;
    assert_eq!(known, Ok(Some(Identity::Spiffe(ID.into()))), "what was in use stays");
    let optional = server(&ours, anchors(), Clients::Optional, &[]);
    optional.change(|parts| parts.anchors = Anchors::default()).unwrap();
    assert_eq!(outcome(&optional, client(&ours, None, BOTH)).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn only_tls_1_3_with_http_2_is_spoken_and_nothing_is_resumed() {
    let ours = Authority::new();
    let server = server(&ours, trusting(&[("example.org", &ours)], None), Clients::Required, &[]);
    let svid = ours.svid(ID);
    let old = outcome(&server, client(&ours, Some(&svid), &[&TLS12])).await;
    assert_eq!(old, Err("the client does not speak TLS 1.3, or nothing that this server speaks".into()));
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut other = client(&ours, Some(&svid), BOTH);
        other.alpn_protocols = protocols;
        let refused = outcome(&server, other).await;
        assert_eq!(refused, Err("the client does not offer HTTP/2 (ALPN `h2`)".into()));
    }
    // Twice with one memory of sessions: the second would be resumed if the first had been given a ticket.
    let mut config = client(&ours, Some(&svid), BOTH);
    config.enable_early_data = true;
    for _ in 0..2 {
        let (told, stream) = shake(&server, config.clone()).await;
        told.unwrap();
        let mut stream = stream.unwrap();
        let mut answer = Vec::new();
        // Everything that the server sent after the handshake is looked at, tickets among it.
        let _ = stream.read_to_end(&mut answer).await;
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        assert_eq!(session.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(session.tls13_tickets_received(), 0);
        assert!(!session.is_early_data_accepted());
    }
}

#[tokio::test(start_paused = true)]
async fn what_changes_counts_from_the_next_handshake_on() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = server(&old, trusting(&[("example.org", &old)], None), Clients::Required, &[]);
    let (before, after) = (old.svid(ID), new.svid(ID));
    assert!(outcome(&server, client(&old, Some(&before), BOTH)).await.is_ok());
    assert!(outcome(&server, client(&old, Some(&after), BOTH)).await.is_err());
    server.change(|parts| parts.anchors = trusting(&[("example.org", &new)], None)).unwrap();
    assert!(outcome(&server, client(&old, Some(&before), BOTH)).await.is_err());
    assert!(outcome(&server, client(&old, Some(&after), BOTH)).await.is_ok());
    server.change(|parts| parts.certificate = new.server().certified()).unwrap();
    assert!(outcome(&server, client(&old, Some(&after), BOTH)).await.is_err());
    let (told, _) = shake(&server, client(&new, Some(&after), BOTH)).await;
    let ends_at = NOW.plus(Duration::from_secs(3600));
    let recognised = told.unwrap().unwrap();
    assert_eq!(recognised.certificate.identity, Identity::Spiffe(ID.into()));
    assert_eq!(recognised.ends_at, ends_at);
}

#[test]
fn pem_that_does_not_fit_together_is_told() {
    use pem::{Of, PemError};
    let authority = Authority::new();
    let (one, other) = (authority.server(), authority.server());
    let refused = |chain: &str, key: &Secret| pem::certified(chain, key).err();
    assert_eq!(refused(&one.pem(), &one.key_pem()), None);
    assert_eq!(refused(&one.pem(), &other.key_pem()), Some((Of::Key, PemError::OtherKey)));
    let half = &one.pem()[..one.pem().len() / 2];
    assert_eq!(refused(half, &one.key_pem()), Some((Of::Chain, PemError::NoCertificate)));
    assert_eq!(refused("", &one.key_pem()), Some((Of::Chain, PemError::NoCertificate)));
    assert_eq!(refused(&one.pem(), &Secret::new(one.pem())), Some((Of::Key, PemError::NoKey)));
    assert_eq!(refused(&one.pem().repeat(9), &one.key_pem()), Some((Of::Chain, PemError::LongChain)));
    let bundle = |text: &str| pem::authorities(text).map(|roots| roots.len());
    assert_eq!(bundle(&(authority.pem() + &Authority::new().pem())), Ok(2));
    assert_eq!(bundle(""), Err(PemError::NoCertificate));
    assert_eq!(bundle(&authority.pem()[..200]), Err(PemError::NoCertificate));
    assert_eq!(bundle(&one.pem()), Err(PemError::NoAuthority));
    assert_eq!(bundle(&authority.pem().repeat(257)), Err(PemError::LargeBundle));
}
