//! Where a name or an address really leads, and whether requests may go there. What a profile allows is a name; what
//! the name resolves to is somebody else's word. Judged after resolving, so a name that changes its mind gains nothing.

use crate::domain::profile::Network;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is (IANA's special-purpose registries, RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// This machine.
    Loopback,
    /// Networks that are not routed on the Internet: where a company's own servers are.
    Private,
    /// Nothing that answers for tokens: link-local and with it the metadata services of clouds, groups, documentation,
    /// what is reserved.
    Never,
    Internet,
}

pub(super) fn place(address: IpAddr) -> Place {
    match inner(address) {
        address if is_metadata(address) => Place::Never,
        IpAddr::V4(v4) => place_v4(v4),
        IpAddr::V6(v6) => place_v6(v6),
    }
}

/// Is it a network of one's own, so that somebody may open it?
pub fn is_private(network: &Network) -> bool {
    place(network.base()) == Place::Private
}

/// Metadata and host services of clouds that are not link-local. IPv4: Alibaba's, and Azure's, among public addresses;
/// IPv6: EC2's and EKS's, Google's, Oracle's, Scaleway's.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [100, 100, 100, 200] | [168, 63, 129, 16]),
        IpAddr::V6(v6) => matches!(
            v6.segments(),
            [0xfd00, 0xec2, ..]
                | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]
                | [0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe]
                | [0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]
        ),
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped and compatible (RFC 4291 §2.5.5), NAT64 (RFC 6052 §2.1),
/// 6to4 (RFC 3056 §2).
fn inner(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

fn place_v4(v4: Ipv4Addr) -> Place {
    match v4.octets() {
        [127, ..] => Place::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Place::Private,
        // "This network", link-local, IETF protocols, documentation, 6to4 relays, benchmarks, groups, reserved.
        [0 | 224..=255, ..]
        | [169, 254, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Place::Never,
        _ => Place::Internet,
    }
}

fn place_v6(v6: Ipv6Addr) -> Place {
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Place::Loopback,
        // NAT64 with a prefix of one's own (RFC 8215): how long it is, and so where the IPv4 address stands in it, is
        // known to its network only. What any reading forbids is forbidden.
        [0x64, 0xff9b, 1, ..] => local_nat64(v6),
        // Unique local.
        [0xfc00..=0xfdff, ..] => Place::Private,
        // IETF protocols and Teredo, documentation, then what is the Internet's.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Never,
        [0x2000..=0x3fff, ..] => Place::Internet,
        // Unspecified, discard, link-local, site-local, groups, not assigned.
        _ => Place::Never,
    }
}

/// The places of RFC 6052 §2.2 for prefixes of 48, 56, 64 and 96 bits. An address of zeros is a place that is not used.
fn local_nat64(v6: Ipv6Addr) -> Place {
    let o = v6.octets();
    let readings = [
        [o[6], o[7], o[9], o[10]],
        [o[7], o[9], o[10], o[11]],
        [o[9], o[10], o[11], o[12]],
        [o[12], o[13], o[14], o[15]],
    ];
    let forbidden = |v4: [u8; 4]| {
        v4[0] != 0 && matches!(place(Ipv4Addr::from(v4).into()), Place::Never | Place::Loopback)
    };
    if readings.into_iter().any(forbidden) { Place::Never } else { Place::Private }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn every_way_of_writing_an_address_leads_to_the_same_place() {
        let cases: [(Place, &[&str]); 4] = [
            (
                Place::Loopback,
                &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
            ),
            (
                Place::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "100.64.0.1",
                    "fc00::1",
                    "fdff::1",
                    "::ffff:10.0.0.1",
                    "::10.0.0.1",
                    "64:ff9b::a00:1",
                    "64:ff9b:1::c0a8:1",
                    "64:ff9b:1::101:101",
                    "64:ff9b:1:102:3:400::",
                    "2002:a00:1::1",
                ],
            ),
            (
                Place::Never,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "169.254.169.254",
                    "169.254.0.1",
                    "100.100.100.200",
                    "192.0.0.192",
                    "168.63.129.16",
                    "192.0.2.1",
                    "198.18.0.1",
                    "198.51.100.1",
                    "203.0.113.1",
                    "224.0.0.1",
                    "255.255.255.255",
                    "::",
                    "fe80::1",
                    "fec0::1",
                    "ff02::1",
                    "100::1",
                    "2001::1",
                    "2001:db8::1",
                    "fd00:ec2::254",
                    "fd00:ec2::23",
                    "fd20:ce::254",
                    "fd00:c1::a9fe:a9fe",
                    "fd00:42::42",
                    "2001:0:a00:1::1",
                    "5f00::1",
                    "::ffff:100.100.100.200",
                    "64:ff9b::a83f:8110",
                    "64:ff9b:1::a9fe:a9fe",
                    "64:ff9b:1::7f00:1",
                    "64:ff9b:1:a9fe:a9:fe00::",
                    "64:ff9b:1:a9:fe:a9fe::",
                    "64:ff9b:1:0:a9:fea9:fe00:0",
                    "192.88.99.1",
                    "198.19.255.255",
                    "240.0.0.1",
                    "::ffff:169.254.169.254",
                    "::ffff:0:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "2002:a9fe:a9fe::1",
                ],
            ),
            (
                Place::Internet,
                &[
                    "1.1.1.1",
                    "172.15.255.255",
                    "172.32.0.1",
                    "100.63.255.255",
                    "100.128.0.1",
                    "223.255.255.255",
                    "2606:4700::1",
                    "::ffff:1.1.1.1",
                    "64:ff9b::101:101",
                ],
            ),
        ];
        for (want, addresses) in cases {
            for text in addresses {
                assert_eq!(place(text.parse().unwrap()), want, "{text}");
            }
        }
    }
}
