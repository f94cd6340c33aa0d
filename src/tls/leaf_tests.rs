//! What a leaf claims, and the ways in which it may try to claim more.

use super::{super::authority::*, *};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Eku, IsCa, KeyUsagePurpose as Ku, SanType,
};
use std::time::Duration;

const ID: &str = "spiffe://example.org/ns/prod/sa/billing";

fn names() -> BTreeSet<String> {
    ["billing.internal", "reports.internal"].map(str::to_owned).into()
}

fn claims(sans: &[SanType], change: impl FnOnce(&mut CertificateParams)) -> Result<Claimed, LeafError> {
    claimed(&Authority::new().issue(sans, change).der(), &names())
}

#[test]
fn an_svid_is_known_by_its_uri_and_vouched_for_by_its_own_trust_domain() {
    let domain: TrustDomain = "example.org".parse().unwrap();
    let want = Claimed {
        identity: Identity::Spiffe(ID.into()),
        anchor: Anchor::TrustDomain(domain),
        ends_at: NOW.plus(Duration::from_secs(3600)),
    };
    // DNS names are allowed beside the URI (X509-SVID section 2), and mean nothing then.
    for sans in [&[uri(ID)][..], &[uri(ID), dns("billing.internal")], &[dns("x"), uri(ID), dns("y")]] {
        assert_eq!(claims(sans, |_| {}), Ok(want.clone()));
    }
    assert_eq!(claims(&[uri(ID)], |params| params.extended_key_usages.clear()), Ok(want.clone()));
    let no_authority = |params: &mut CertificateParams| params.is_ca = IsCa::ExplicitNoCa;
    assert_eq!(claims(&[uri(ID)], no_authority), Ok(want));
}

#[test]
fn what_breaks_the_rules_of_an_svid_is_nobody() {
    type Change = fn(&mut CertificateParams);
    let cases: [(&str, &[SanType], Change, LeafError); 7] = [
        ("two IDs", &[uri(ID), uri("spiffe://example.org/admin")], |_| {}, LeafError::SeveralUris),
        ("an ID twice", &[uri(ID), uri(ID)], |_| {}, LeafError::SeveralUris),
        ("another URI", &[uri("https://example.org/"), uri(ID)], |_| {}, LeafError::SeveralUris),
        (
            "an authority",
            &[uri(ID)],
            |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            LeafError::Authority,
        ),
        ("no key usage", &[uri(ID)], |params| params.key_usages.clear(), LeafError::NotForSigning),
        (
            "key usage of something else",
            &[uri(ID)],
            |params| params.key_usages = vec![Ku::KeyAgreement],
            LeafError::NotForSigning,
        ),
        (
            "a server only",
            &[uri(ID)],
            |params| params.extended_key_usages = vec![Eku::ServerAuth],
            LeafError::NotForClients,
        ),
    ];
    for (what, sans, change, want) in cases {
        assert_eq!(claims(sans, change), Err(want), "{what}");
    }
    for usage in [Ku::KeyCertSign, Ku::CrlSign] {
        let change = |params: &mut CertificateParams| params.key_usages = vec![Ku::DigitalSignature, usage];
        assert_eq!(claims(&[uri(ID)], change), Err(LeafError::SignsCertificates), "{usage:?}");
    }
}

#[test]
fn a_uri_that_only_looks_like_a_spiffe_id_is_nobody() {
    let long = format!("spiffe://example.org/{}", "a".repeat(2048));
    let cases = [
        ("spiffe://Example.org/a", SpiffeError::TrustDomain),
        ("SPIFFE://example.org/a", SpiffeError::Scheme),
        ("spiffe:example.org/a", SpiffeError::Scheme),
        ("spiffe://example.org:443/a", SpiffeError::TrustDomain),
        ("spiffe://root@example.org/a", SpiffeError::TrustDomain),
        ("spiffe://example.org/a/../admin", SpiffeError::DotSegment),
        ("spiffe://example.org/a%2fadmin", SpiffeError::PathCharacter),
        ("spiffe://example.org/a?as=admin", SpiffeError::PathCharacter),
        ("spiffe://example.org/a#admin", SpiffeError::PathCharacter),
        ("spiffe://example.org//a", SpiffeError::EmptySegment),
        ("spiffe://example.org/a/", SpiffeError::EmptySegment),
        (long.as_str(), SpiffeError::TooLong),
    ];
    for (id, want) in cases {
        // A DNS name that is allowed does not help.
        let sans = [uri(id), dns("billing.internal")];
        assert_eq!(claims(&sans, |_| {}), Err(LeafError::NotSpiffe(want)), "{id}");
    }
    assert_eq!(claims(&[uri("spiffe://example.org")], |_| {}), Err(LeafError::NoPath));
}

#[test]
fn a_dns_name_counts_if_it_is_on_the_list_and_alone() {
    let billing = |claimed: Result<Claimed, LeafError>| {
        let claimed = claimed.unwrap();
        assert_eq!(claimed.identity, Identity::Dns("billing.internal".into()));
        assert_eq!(claimed.anchor, Anchor::Pki);
    };
    billing(claims(&[dns("billing.internal")], |_| {}));
    billing(claims(&[dns("Billing.INTERNAL"), dns("billing.internal")], |_| {}));
    billing(claims(&[dns("other.internal"), dns("billing.internal"), uri("https://x/")], |_| {}));
    billing(claims(&[dns("billing.internal")], |params| params.key_usages.clear()));
    let both = [dns("billing.internal"), dns("reports.internal")];
    assert_eq!(claims(&both, |_| {}), Err(LeafError::SeveralNames));
    for stranger in ["other.internal", "*.internal", "x.billing.internal", "billing.internal.", "billing"] {
        assert_eq!(claims(&[dns(stranger)], |_| {}), Err(LeafError::Nobody), "{stranger}");
    }
    let common_name = |params: &mut CertificateParams| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "billing.internal");
    };
    assert_eq!(claims(&[], common_name), Err(LeafError::Nobody));
    let authority = |params: &mut CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(claims(&[dns("billing.internal")], authority), Err(LeafError::Authority));
    let for_servers = |params: &mut CertificateParams| params.extended_key_usages = vec![Eku::ServerAuth];
    assert_eq!(claims(&[dns("billing.internal")], for_servers), Err(LeafError::NotForClients));
}

#[test]
fn what_is_no_certificate_is_nobody() {
    let mut der = Authority::new().svid(ID).der().to_vec();
    assert!(claimed(&der, &names()).is_ok());
    der.push(0);
    assert_eq!(claimed(&der, &names()), Err(LeafError::Unreadable));
    der.truncate(der.len() / 2);
    assert_eq!(claimed(&der, &names()), Err(LeafError::Unreadable));
    assert_eq!(claimed(b"", &names()), Err(LeafError::Unreadable));
    // A second name extension, and a URI that is no text.
    let san = [2, 5, 29, 17];
    let second = |params: &mut CertificateParams| {
        let uri = b"\x30\x0c\x86\x0aspiffe://b".to_vec();
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&san, uri));
    };
    assert_eq!(claims(&[uri(ID)], second), Err(LeafError::Unreadable));
    let no_text = |params: &mut CertificateParams| {
        let uri = b"\x30\x05\x86\x03a\xff\xfe".to_vec();
        params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&san, uri));
    };
    assert_eq!(claims(&[], no_text), Err(LeafError::Unreadable));
}
