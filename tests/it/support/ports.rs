//! Ports for servers that have to be told theirs before they start.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below what Linux and macOS give to connections and to listeners of port 0: nobody is handed one of these by chance
/// between now and when it is taken.
const FIRST: u32 = 20_000;
const MANY: u32 = 12_000;

/// A loopback port that nobody listens on and that no other test of this process was given.
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Two runs beside each other begin at different places.
    let begin = process::id().wrapping_mul(101);
    (0..MANY)
        .map(|_| begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % MANY + FIRST)
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("there is a free port below 32000")
}
