//! The refresh tokens of an authorization server: families, rotation, what an old token is still worth, expiry.
//! Knows no HTTP and no error codes; both simulators share it.

use super::{dice::Dice, fault::Facts};
use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

/// Superseded tokens remembered per family; older ones count as never issued.
pub const SUPERSEDED_MAX: usize = 64;

/// How refresh tokens behave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshRules {
    pub rotation: Rotation,
    pub superseded: Superseded,
    pub on_reuse: OnReuse,
    pub expiry: Expiry,
    pub shape: Shape,
}

/// When a refresh returns a new refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    Same,
    RotateEvery,
    RotateSometimes { percent: u8 },
}

/// What a refresh token is worth once its successor was issued. While it is worth something it gets the successor back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Superseded {
    Valid,
    Grace { seconds: u64 },
    Dead,
}

/// What a dead token does to its family when it is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnReuse {
    RefuseIt,
    /// All tokens of the family die (RFC 9700 §4.14.2).
    RevokeFamily,
}

/// When a family ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expiry {
    /// So long after the latest refresh.
    Sliding { seconds: u64 },
    /// So long after the first exchange.
    Fixed { seconds: u64 },
}

/// What a refresh token looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    Uuid,
    /// Thirty lower-case letters and digits.
    Base36,
}

/// 180 days in seconds.
pub const HALF_A_YEAR_SECONDS: u64 = 180 * 86_400;

impl Expiry {
    fn seconds(self) -> u64 {
        match self {
            Self::Sliding { seconds } | Self::Fixed { seconds } => seconds,
        }
    }
}

/// Whom a family was issued to and for what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) app: String,
    pub(super) principal: String,
    pub(super) scope: Vec<String>,
    /// For whom its access tokens are (RFC 8707).
    #[serde(default)]
    pub(super) resource: Vec<String>,
    /// The key it is bound to (RFC 9449).
    #[serde(default)]
    pub(super) jkt: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Family {
    owner: Owner,
    current: String,
    expires_at: Timestamp,
    /// Oldest first.
    superseded: VecDeque<(String, Timestamp)>,
}

/// A refresh token as handed to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Handed {
    pub(super) token: String,
    pub(super) expires_at: Timestamp,
}

/// Why a presented refresh token gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    Unknown,
    Expired,
    Reused,
}

/// The book: families by number, and every token that still means something by its text.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RefreshTokens {
    next: u64,
    families: BTreeMap<u64, Family>,
    tokens: BTreeMap<String, u64>,
}

impl RefreshTokens {
    /// The first token of a new family.
    pub(super) fn issue(
        &mut self,
        now: Timestamp,
        rules: &RefreshRules,
        dice: &mut Dice,
        owner: Owner,
    ) -> Handed {
        let token = rules.shape.token(dice);
        let expires_at = now.plus(Duration::from_secs(rules.expiry.seconds()));
        let family = Family { owner, current: token.clone(), expires_at, superseded: VecDeque::new() };
        self.next += 1;
        self.tokens.insert(token.clone(), self.next);
        self.families.insert(self.next, family);
        Handed { token, expires_at }
    }

    /// Whose token this is; `None` if it means nothing here.
    pub(super) fn owner(&self, token: &str) -> Option<&Owner> {
        self.family(token).map(|family| &family.owner)
    }

    /// Whose token this is, and until when, if it would be taken now.
    pub(super) fn alive(
        &self,
        now: Timestamp,
        rules: &RefreshRules,
        token: &str,
    ) -> Option<(&Owner, Timestamp)> {
        let family = self.family(token).filter(|family| family.expires_at > now)?;
        let superseded_at = family.superseded.iter().find(|(old, _)| old == token).map(|(_, at)| *at);
        let good = superseded_at.is_none_or(|at| rules.superseded.still_good(at, now));
        good.then_some((&family.owner, family.expires_at))
    }

    /// Tells what a presented token says about the request, changing nothing.
    pub(super) fn describe(&self, token: &str, facts: &mut Facts) {
        if let Some(family) = self.family(token) {
            facts.principal = Some(family.owner.principal.clone());
            facts.stale = family.current != token;
        }
    }

    /// Takes a token in and hands one out: the same, its successor, or none.
    pub(super) fn exchange(
        &mut self,
        now: Timestamp,
        rules: &RefreshRules,
        dice: &mut Dice,
        token: &str,
    ) -> Result<Handed, Spent> {
        let number = *self.tokens.get(token).ok_or(Spent::Unknown)?;
        let family = self.families.get_mut(&number).ok_or(Spent::Unknown)?;
        if family.expires_at <= now {
            return Err(Spent::Expired);
        }
        let superseded_at = family.superseded.iter().find(|(old, _)| old == token).map(|(_, at)| *at);
        if let Some(at) = superseded_at {
            // An old but good token gets what its successor is; it does not rotate again.
            if !rules.superseded.still_good(at, now) {
                self.punish(number, rules.on_reuse);
                return Err(Spent::Reused);
            }
        } else if rules.rotation.rotates(dice) {
            let successor = rules.shape.token(dice);
            let old = std::mem::replace(&mut family.current, successor.clone());
            family.superseded.push_back((old, now));
            if family.superseded.len() > SUPERSEDED_MAX
                && let Some((forgotten, _)) = family.superseded.pop_front()
            {
                self.tokens.remove(&forgotten);
            }
            self.tokens.insert(successor, number);
        }
        match rules.expiry {
            Expiry::Sliding { seconds } => family.expires_at = now.plus(Duration::from_secs(seconds)),
            Expiry::Fixed { .. } => {}
        }
        Ok(Handed { token: family.current.clone(), expires_at: family.expires_at })
    }

    /// Ends all families of a principal, for one app or for all.
    pub(super) fn revoke_principal(&mut self, principal: &str, app: Option<&str>) {
        let doomed = |owner: &Owner| owner.principal == principal && app.is_none_or(|app| owner.app == app);
        let numbers: Vec<u64> =
            self.families.iter().filter(|(_, family)| doomed(&family.owner)).map(|(n, _)| *n).collect();
        for number in numbers {
            self.end(number);
        }
    }

    /// Ends the family of a token.
    pub(super) fn revoke(&mut self, token: &str) {
        if let Some(number) = self.tokens.get(token).copied() {
            self.end(number);
        }
    }

    fn family(&self, token: &str) -> Option<&Family> {
        self.families.get(self.tokens.get(token)?)
    }

    fn punish(&mut self, number: u64, on_reuse: OnReuse) {
        match on_reuse {
            OnReuse::RefuseIt => {}
            OnReuse::RevokeFamily => self.end(number),
        }
    }

    fn end(&mut self, number: u64) {
        if let Some(family) = self.families.remove(&number) {
            self.tokens.remove(&family.current);
            for (old, _) in family.superseded {
                self.tokens.remove(&old);
            }
        }
    }
}

impl Rotation {
    fn rotates(self, dice: &mut Dice) -> bool {
        match self {
            Self::Same => false,
            Self::RotateEvery => true,
            Self::RotateSometimes { percent } => dice.happens(percent),
        }
    }
}

impl Superseded {
    fn still_good(self, superseded_at: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Valid => true,
            Self::Grace { seconds } => now < superseded_at.plus(Duration::from_secs(seconds)),
            Self::Dead => false,
        }
    }
}

impl Shape {
    fn token(self, dice: &mut Dice) -> String {
        match self {
            Self::Uuid => dice.uuid(),
            Self::Base36 => dice.base36(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RefreshRules = RefreshRules {
        rotation: Rotation::RotateEvery,
        superseded: Superseded::Dead,
        on_reuse: OnReuse::RefuseIt,
        expiry: Expiry::Sliding { seconds: 100 },
        shape: Shape::Base36,
    };

    struct Bench {
        book: RefreshTokens,
        dice: Dice,
        rules: RefreshRules,
        first: String,
    }

    fn bench(rules: RefreshRules) -> Bench {
        let (mut book, mut dice) = (RefreshTokens::default(), Dice::new(Some(1)));
        let owner = Owner { app: "app".to_owned(), principal: "acme".to_owned(), ..Owner::default() };
        let first = book.issue(Timestamp(0), &rules, &mut dice, owner).token;
        Bench { book, dice, rules, first }
    }

    impl Bench {
        fn at(&mut self, second: u64, token: &str) -> Result<Handed, Spent> {
            self.book.exchange(Timestamp::from_secs(second), &self.rules, &mut self.dice, token)
        }
    }

    #[test]
    fn an_old_token_is_worth_what_the_rules_say() {
        let cases = [
            (Superseded::Dead, 1, false),
            (Superseded::Grace { seconds: 10 }, 10, true),
            (Superseded::Grace { seconds: 10 }, 11, false),
            (Superseded::Valid, 90, true),
        ];
        for (superseded, second, good) in cases {
            let mut bench = bench(RefreshRules { superseded, ..RULES });
            let first = bench.first.clone();
            let second_token = bench.at(1, &first).unwrap().token;
            assert_ne!(first, second_token);
            let again = bench.at(second, &first);
            assert_eq!(again.is_ok(), good, "{superseded:?} at {second}");
            if let Ok(handed) = again {
                assert_eq!(handed.token, second_token);
            }
            assert!(bench.at(second, &second_token).is_ok());
        }
    }

    #[test]
    fn reuse_ends_the_family_where_the_rules_say_so() {
        let mut bench = bench(RefreshRules { on_reuse: OnReuse::RevokeFamily, ..RULES });
        let first = bench.first.clone();
        let second = bench.at(1, &first).unwrap().token;
        assert_eq!(bench.at(2, &first), Err(Spent::Reused));
        assert_eq!(bench.at(3, &second), Err(Spent::Unknown));
    }

    #[test]
    fn only_a_sliding_expiry_moves() {
        for (expiry, want) in [(Expiry::Sliding { seconds: 100 }, 150), (Expiry::Fixed { seconds: 100 }, 100)]
        {
            let mut bench = bench(RefreshRules { expiry, rotation: Rotation::Same, ..RULES });
            let first = bench.first.clone();
            let handed = bench.at(50, &first).unwrap();
            assert_eq!((handed.token, handed.expires_at), (first.clone(), Timestamp::from_secs(want)));
            assert!(bench.at(want - 1, &first).is_ok() || want == 150);
            let mut late = super::tests::bench(RefreshRules { expiry, ..RULES });
            let first = late.first.clone();
            assert_eq!(late.at(100, &first), Err(Spent::Expired));
        }
    }

    #[test]
    fn rotating_sometimes_does_both() {
        let mut bench = bench(RefreshRules { rotation: Rotation::RotateSometimes { percent: 50 }, ..RULES });
        let mut token = bench.first.clone();
        let (mut same, mut new) = (0, 0);
        for _ in 0..50 {
            let handed = bench.at(1, &token).unwrap().token;
            if handed == token {
                same += 1;
            } else {
                new += 1;
            }
            token = handed;
        }
        assert!(same > 5 && new > 5, "{same} {new}");
    }

    #[test]
    fn remembered_tokens_are_bounded() {
        let mut bench = bench(RULES);
        let first = bench.first.clone();
        let mut token = first.clone();
        for _ in 0..=SUPERSEDED_MAX {
            token = bench.at(1, &token).unwrap().token;
        }
        assert_eq!(bench.book.tokens.len(), SUPERSEDED_MAX + 1);
        assert_eq!(bench.at(1, &first), Err(Spent::Unknown));
        bench.book.revoke_principal("acme", Some("app"));
        assert!(bench.book.tokens.is_empty() && bench.book.families.is_empty());
    }
}
