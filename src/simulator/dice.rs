//! Chance with a memory: the same seed gives the same identifiers and the same luck, also after a restart.
//! Not random enough for real secrets, and never used for any.

use serde::{Deserialize, Serialize};

/// A SplitMix64 sequence (Steele, Lea, Flood 2014).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    /// Without a seed every simulator gets a sequence of its own.
    pub(super) fn new(seed: Option<u64>) -> Self {
        let fresh = || uuid::Uuid::new_v4().as_u64_pair().1;
        Self { state: seed.unwrap_or_else(fresh) }
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether something that happens `percent` times in a hundred happens now.
    pub(super) fn happens(&mut self, percent: u8) -> bool {
        self.roll() % 100 < u64::from(percent)
    }

    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.roll().to_be_bytes());
        bytes[8..].copy_from_slice(&self.roll().to_be_bytes());
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    /// Lower-case letters and digits.
    pub(super) fn base36(&mut self, length: usize) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        (0..length).map(|_| char::from(DIGITS[usize::try_from(self.roll() % 36).unwrap_or(0)])).collect()
    }

    pub(super) fn hex16(&mut self) -> String {
        format!("{:016x}", self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn the_same_seed_gives_the_same_names_and_the_same_luck() {
        let (mut one, mut two) = (Dice::new(Some(7)), Dice::new(Some(7)));
        assert_eq!(
            (one.uuid(), one.base36(30), one.happens(50)),
            (two.uuid(), two.base36(30), two.happens(50))
        );
        assert_ne!(one.uuid(), one.uuid());
    }

    #[test]
    fn luck_follows_its_percentage() {
        let mut dice = Dice::new(Some(1));
        let often = (0..1000).filter(|_| dice.happens(30)).count();
        assert!((240..360).contains(&often), "{often}");
        assert!(!(0..100).any(|_| dice.happens(0)));
        assert!((0..100).all(|_| dice.happens(100)));
    }
}
