//! Blocks of addresses, as operators write them (RFC 4632 §3.1, RFC 4291 §2.3).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An address and how many of its first bits count: `10.20.0.0/16`, `fd12:3456::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an address and a number of bits, with zeros behind them, as `10.20.0.0/16`")]
pub struct NotANetwork;

impl Network {
    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }

    /// An IPv4 address in the form that IPv6 maps it to (RFC 4291 §2.5.5.2) is the IPv4 address.
    pub fn holds(&self, address: IpAddr) -> bool {
        cut(address.to_canonical(), self.bits) == Some(self.base)
            && address.to_canonical().is_ipv4() == self.base.is_ipv4()
    }
}

/// The address with all but its first bits zero; `None` for more bits than it has.
fn cut(address: IpAddr, bits: u8) -> Option<IpAddr> {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits.into())?).unwrap_or(0);
            Some(Ipv4Addr::from_bits(v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits.into())?).unwrap_or(0);
            Some(Ipv6Addr::from_bits(v6.to_bits() & mask).into())
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (base, bits) = text.split_once('/').ok_or(NotANetwork)?;
        let base: IpAddr = base.parse().map_err(|_| NotANetwork)?;
        let bits: u8 = bits.parse().map_err(|_| NotANetwork)?;
        // Bits behind the prefix are a slip: another network was meant.
        if cut(base, bits) == Some(base) { Ok(Self { base, bits }) } else { Err(NotANetwork) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_own_addresses_and_no_others() {
        for (network, inside, outside) in [
            (
                "10.20.0.0/16",
                &["10.20.0.0", "10.20.255.255", "::ffff:10.20.1.1"] as &[_],
                &["10.21.0.0", "::"] as &[_],
            ),
            ("10.1.2.3/32", &["10.1.2.3"], &["10.1.2.4"]),
            ("0.0.0.0/0", &["1.2.3.4"], &["::1"]),
            ("fd12:3456::/32", &["fd12:3456:ffff::1"], &["fd12:3457::1", "10.0.0.1"]),
            ("::/0", &["::1"], &["10.0.0.1"]),
        ] {
            let read: Network = network.parse().unwrap();
            assert_eq!(read.to_string(), network);
            for address in inside {
                assert!(read.holds(address.parse().unwrap()), "{network} {address}");
            }
            for address in outside {
                assert!(!read.holds(address.parse().unwrap()), "{network} {address}");
            }
        }
        for wrong in
            ["", "10.0.0.0", "10.0.0.0/33", "10.0.0.1/8", "fd00::/129", "a/8", "10.0.0.0/-1", "10.0.0.0/8/8"]
        {
            assert_eq!(wrong.parse::<Network>(), Err(NotANetwork), "{wrong}");
        }
    }
}
