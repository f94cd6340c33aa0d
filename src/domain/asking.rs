//! What follows when a server that may have used a refresh token up is asked about it (RFC 7662) before the token is
//! sent again. Pure; the confirming of a refusal is `attempt`'s.

use super::{
    attempt::Ask,
    connection::Connection,
    failure::{Class, Failure},
    lifecycle::Moment,
    pauses::put_off,
    profile::{Introspection, Profile},
};
use std::time::Duration;

/// Longest time that asking takes; a lease lasts as much longer.
pub const ASKING_TIMEOUT: Duration = Duration::from_secs(5);

/// What the server says of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Active,
    Inactive,
    /// It did not say, or not so that it can be relied upon.
    Nothing,
}

/// What to do with the refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    Spend,
    /// The attempt ends with this failure, and nothing is spent.
    Fail(Failure),
}

/// Whether the server is to be asked before the grant is spent. Not where a person or somebody who revokes has
/// decided to try, and never while nothing is in doubt: that is the way of every ordinary refresh.
pub fn is_asked(connection: &Connection, ask: Ask, profile: &Profile) -> bool {
    let doubtful = connection.standing(connection.ambiguous.as_ref()).is_some();
    doubtful
        && connection.refresh_token.is_some()
        && profile.introspects()
        && match ask {
            Ask::Scheduler | Ask::Caller => true,
            Ask::Operator | Ask::Revocation | Ask::Bootstrap | Ask::Authorization(_) => false,
        }
}

/// An active token was not used up: it is sent again at once. One that is not active may be used up, or be of a kind
/// that the server, or its rules for this client, says nothing else of (RFC 7662 §2.2): it waits as long as it may, and
/// only the token endpoint ends a grant. Where the server does not say, everything is as if it could not be asked.
pub fn after_asking(connection: &Connection, known: Known, profile: &Profile, now: Moment) -> Onward {
    match known {
        Known::Active => Onward::Spend,
        Known::Inactive => match put_off(connection, profile, now) {
            Some(_) => Onward::Fail(Failure {
                class: Class::Ambiguous,
                code: Some("inactive".to_owned()),
                ..Failure::of_ours("server says that the refresh token is not active")
            }),
            None => Onward::Spend,
        },
        Known::Nothing => {
            // A server that said it was down was asked again at its own pace before, too.
            let was_down = connection.last_failure.as_ref().is_some_and(|last| last.class == Class::Down);
            match put_off(connection, profile, now) {
                Some(_) if !was_down => Onward::Fail(Failure {
                    class: Class::Ambiguous,
                    ..Failure::of_ours("server does not say whether the refresh token is still good")
                }),
                Some(_) | None => Onward::Spend,
            }
        }
    }
}

impl Profile {
    /// Whether the server can be asked about a token.
    pub fn introspects(&self) -> bool {
        match self.introspection {
            Introspection::None => false,
            Introspection::Rfc7662 => self.introspection_endpoint.is_some(),
        }
    }

    /// How much longer than the exchange alone an attempt may take.
    pub fn asking_time(&self) -> Duration {
        if self.introspects() { ASKING_TIMEOUT } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        connection::LastFailure,
        profile::Reuse,
        samples::{HOUR, at, connection, mark, profile},
    };

    fn asks() -> Profile {
        let endpoint = Some(url::Url::parse("https://idp.example/introspect").unwrap());
        Profile { introspection: Introspection::Rfc7662, introspection_endpoint: endpoint, ..profile() }
    }

    fn doubtful(class: Class) -> Connection {
        let mut connection = connection();
        let then = at(Duration::ZERO).here;
        connection.ambiguous = Some(mark(connection.generation));
        connection.last_failure = Some(LastFailure { class, code: None, correlation_id: None, at: then });
        connection
    }

    #[test]
    fn only_a_doubtful_grant_of_a_server_that_can_be_asked_is_asked_about() {
        let (doubtful, asks) = (doubtful(Class::Ambiguous), asks());
        for (ask, asked) in [
            (Ask::Scheduler, true),
            (Ask::Caller, true),
            (Ask::Operator, false),
            (Ask::Revocation, false),
            (Ask::Bootstrap, false),
        ] {
            assert_eq!(is_asked(&doubtful, ask, &asks), asked, "{ask:?}");
        }
        let mut older = doubtful.clone();
        older.generation += 1;
        let without = Connection { refresh_token: None, ..doubtful.clone() };
        let mute = Profile { introspection_endpoint: None, ..asks.clone() };
        for (connection, profile) in [
            (&connection(), &asks),
            (&older, &asks),
            (&without, &asks),
            (&doubtful, &mute),
            (&doubtful, &profile()),
        ] {
            assert!(!is_asked(connection, Ask::Scheduler, profile));
        }
    }

    #[test]
    fn what_the_server_says_decides_and_silence_changes_nothing() {
        let harmless = Profile { reuse: Reuse::Reject, ..asks() };
        let (early, hard) = (at(HOUR / 2), at(HOUR));
        let wanted = [
            (Class::Ambiguous, Known::Active, asks(), early, None),
            (Class::Ambiguous, Known::Inactive, asks(), early, Some(Class::Ambiguous)),
            (Class::Ambiguous, Known::Inactive, asks(), hard, None),
            (Class::Ambiguous, Known::Inactive, harmless.clone(), early, None),
            (Class::Ambiguous, Known::Nothing, asks(), early, Some(Class::Ambiguous)),
            (Class::Ambiguous, Known::Nothing, asks(), hard, None),
            (Class::Ambiguous, Known::Nothing, harmless, early, None),
            (Class::Down, Known::Nothing, asks(), early, None),
            (Class::Down, Known::Inactive, asks(), early, Some(Class::Ambiguous)),
        ];
        for (last, known, profile, now, fails) in wanted {
            let onward = match after_asking(&doubtful(last), known, &profile, now) {
                Onward::Spend => None,
                Onward::Fail(failure) => Some(failure.class),
            };
            assert_eq!(onward, fails, "{last:?} {known:?} {now:?}");
        }
    }
}
