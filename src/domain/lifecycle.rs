//! When a token is served, renewed or held back. Pure: decided from the record and the time that is given;
//! no rule looks inside a sealed token.

use super::{
    connection::{Connection, State, Token},
    failure::Class,
    profile::Overlap,
};
use crate::clock::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// The present by both clocks: tokens expire by the replica's own, leases and due times run by the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub here: Timestamp,
    pub store: Timestamp,
}

/// What to do for a caller who asks now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    /// Serve, and start a refresh that nobody waits for.
    ServeAndRefresh,
    /// Wait for a refresh; if it fails, the present token still satisfies the caller.
    RefreshElseServe,
    /// Nothing that satisfies the caller: wait for a refresh.
    RefreshFirst,
    /// The provider failed a moment ago; asking again before `until` (store's clock) would only add load.
    Held {
        until: Timestamp,
    },
    /// No token of this provider ever lives as long as was asked.
    TooLong {
        lifetime: Duration,
    },
    /// Asked for nearly a whole lifetime, and the token is as fresh as may be: a refresh would buy too little.
    TooYoung {
        remaining: Duration,
        /// After this long it is old enough; `None`: nothing ever renews it.
        renewed_in: Option<Duration>,
    },
    Ended(State),
}

/// What the caller wants the token to last, if it says so.
pub const MIN_LIFETIME_DEFAULT: Duration = Duration::from_secs(30);
/// A wish for more life than is left renews a token only when this part of its life is over: 1/8.
const YOUNG_PART: u32 = 8;

const SOFT: Margin = Margin { part: 4, least: Duration::from_secs(60), most: Duration::from_mins(15) };
const HARD: Margin = Margin { part: 12, least: Duration::from_secs(20), most: Duration::from_mins(5) };
/// No margin is more than this part of a lifetime: a half.
const MARGIN_PART_MAX: u32 = 2;
/// How long before its end a refresh token is spoken of, once each: time for a person to consent again.
const RUNNING_OUT: [Duration; 2] = [Duration::from_hours(24 * 30), Duration::from_hours(24 * 7)];
/// Jitter: this part of a span, to either side.
const JITTER: f64 = 0.2;

struct Margin {
    part: u32,
    least: Duration,
    most: Duration,
}

impl Margin {
    fn of(&self, lifetime: Duration) -> Duration {
        (lifetime / self.part).clamp(self.least, self.most).min(lifetime / MARGIN_PART_MAX)
    }
}

/// When a token is to be renewed: softly, and at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Points {
    pub soft_at: Timestamp,
    pub hard_at: Timestamp,
}

pub fn judge(connection: &Connection, now: Moment, wish: Option<Duration>) -> Verdict {
    let renewable = match connection.state {
        State::Pending if connection.awaits_person() => return Verdict::Ended(State::Pending),
        State::Pending | State::Active => true,
        State::NeedsReauthorization => false,
        ended @ (State::Disabled | State::Revoking | State::Revoked) => return Verdict::Ended(ended),
    };
    let token = connection.token.as_ref();
    let least = min_lifetime(token, wish);
    if let Some(lifetime) = token.map(Token::lifetime).filter(|lifetime| least > *lifetime) {
        return Verdict::TooLong { lifetime };
    }
    if let (true, false, Some(token)) = (renewable, connection.lasts(), token) {
        return judge_last(token, least, now.here);
    }
    let held = connection.held_until(now.store);
    let paused = held.or_else(|| connection.due.filter(|due| connection.failures > 0 && now.store < *due));
    let usable = token.filter(|token| now.here.plus(least) < token.expires_at);
    match (usable, renewable, if usable.is_some() { paused } else { held }) {
        (Some(token), true, _) if token.dies_under(connection, now) => Verdict::RefreshFirst,
        (Some(_), false, _) | (Some(_), _, Some(_)) => Verdict::Serve,
        (Some(token), true, None) => token.stage(now.here),
        (None, false, _) => Verdict::Ended(connection.state),
        (None, true, Some(until)) => Verdict::Held { until },
        (None, true, None) => match token.filter(|token| token.is_young(now.here)) {
            Some(token) => Verdict::TooYoung {
                remaining: now.here.until(token.expires_at),
                renewed_in: Some(now.here.until(token.issued_at.plus(token.lifetime() / YOUNG_PART))),
            },
            None => Verdict::RefreshFirst,
        },
    }
}

/// Of a token that nothing renews: it is served while it lives. Asking for a refresh then writes the end down.
fn judge_last(token: &Token, least: Duration, here: Timestamp) -> Verdict {
    if here.plus(least) < token.expires_at {
        Verdict::Serve
    } else if here < token.expires_at {
        Verdict::TooYoung { remaining: here.until(token.expires_at), renewed_in: None }
    } else {
        Verdict::RefreshFirst
    }
}

/// The caller's wish; without one 30 s, but at most a quarter of the token's own lifetime.
pub fn min_lifetime(token: Option<&Token>, wish: Option<Duration>) -> Duration {
    wish.unwrap_or_else(|| {
        token.map_or(Duration::ZERO, |token| MIN_LIFETIME_DEFAULT.min(token.lifetime() / 4))
    })
}

/// Why a token that is served is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Degraded {
    /// The connection needs a person; the token lives on until it expires.
    NeedsReauthorization,
    /// An exchange ended without an answer and may have used up the refresh token.
    GrantAtRisk,
    /// Refreshing fails: the provider is down, throttles or does not answer.
    ProviderFailing,
    /// Refreshing fails: the provider refuses the client or the request.
    ConfigurationRefused,
    /// A refresh is under way and takes longer than the caller can wait.
    RefreshSlow,
    /// The store does not answer or is full: what is served is this replica's warm copy, or cannot be renewed.
    StoreUnavailable,
}

pub fn degraded(connection: &Connection, here: Timestamp) -> Option<Degraded> {
    if connection.state == State::NeedsReauthorization {
        return Some(Degraded::NeedsReauthorization);
    }
    if connection.standing(connection.ambiguous.as_ref()).is_some() {
        return Some(Degraded::GrantAtRisk);
    }
    let late = connection.token.as_ref().is_some_and(|token| here >= token.hard_at);
    let failure = connection.last_failure.as_ref().filter(|_| late && connection.failures > 0)?;
    Some(match failure.class {
        Class::NotSent
        | Class::Throttled
        | Class::Down
        | Class::Ambiguous
        | Class::Malformed
        | Class::Suspect => Degraded::ProviderFailing,
        Class::Client | Class::Configuration | Class::Policy => Degraded::ConfigurationRefused,
    })
}

/// What is left of the refresh token, where that has sunk below one of the marks with this answer: its end was not
/// moved, or not far enough. The answer that begins a consent says nothing: there was no end before it.
pub fn running_out(before: &Connection, after: &Connection) -> Option<Duration> {
    let left = |one: &Connection| Some(one.last_success_at?.until(one.refresh_expires_at?));
    let (then, now) = (left(before)?, left(after)?);
    RUNNING_OUT.iter().any(|mark| now <= *mark && *mark < then).then_some(now)
}

/// Soft and hard point of a token. The jitter comes from the token's own identity: drawn once, the same on
/// every replica.
pub fn points(
    uid: Uuid,
    generation: u64,
    issued_at: Timestamp,
    expires_at: Timestamp,
    overlap: Overlap,
) -> Points {
    let lifetime = issued_at.until(expires_at);
    let soft = jittered(SOFT.of(lifetime), uid, generation, 0).min(lifetime / MARGIN_PART_MAX);
    let hard = match overlap {
        Overlap::OldAccessTokenSurvives => HARD.of(lifetime).min(soft),
        // Renewing kills the old token: there is no serving beside a refresh.
        Overlap::Dies => soft,
    };
    Points { soft_at: expires_at.minus(soft), hard_at: expires_at.minus(hard) }
}

/// `span` ± 20 %, by a value that depends on nothing but the arguments.
pub fn jittered(span: Duration, uid: Uuid, generation: u64, turn: u32) -> Duration {
    // SplitMix64's finisher over the identity: spreads neighbouring inputs evenly.
    let mut x = uid.as_u64_pair().0 ^ uid.as_u64_pair().1.rotate_left(17);
    for part in [generation, u64::from(turn)] {
        x = x.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    let unit = f64::from(u32::try_from(x >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    span.mul_f64(1.0 + JITTER * (2.0 * unit - 1.0))
}

impl Token {
    pub fn lifetime(&self) -> Duration {
        self.issued_at.until(self.expires_at)
    }

    fn is_young(&self, here: Timestamp) -> bool {
        self.issued_at.until(here) < self.lifetime() / YOUNG_PART
    }

    fn stage(&self, here: Timestamp) -> Verdict {
        if here < self.soft_at {
            Verdict::Serve
        } else if here < self.hard_at {
            Verdict::ServeAndRefresh
        } else {
            Verdict::RefreshElseServe
        }
    }

    /// Somebody may be renewing it at this moment, which would kill it.
    fn dies_under(&self, connection: &Connection, now: Moment) -> bool {
        match self.overlap {
            Overlap::OldAccessTokenSurvives => false,
            Overlap::Dies => connection.live_attempt(now.store).is_some(),
        }
    }
}

#[cfg(test)]
#[path = "lifecycle_tests.rs"]
mod tests;
