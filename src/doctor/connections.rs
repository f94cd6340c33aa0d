//! Connections that need a person, and clients that a provider refuses: how many, the first of each by name, and the
//! command that mends it. Counts while records go by; keeps none of them.

use super::{Check, Finding};
use crate::{
    clock::Timestamp,
    domain::{
        client::{Client, HoldReason},
        connection::{Connection, State},
        lifecycle::{Degraded, Moment, degraded},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// Most connections of one kind that a broker is asked for.
pub const HEARD_MAX: usize = 100;
/// Most names that are told of each kind.
const TOLD_MAX: usize = 5;
/// A refresh token that ends sooner needs a person soon.
pub const ENDS_SOON: Duration = Duration::from_secs(30 * 86_400);

/// Why a connection needs somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Its grant is lost.
    Reauthorization,
    /// Nobody has consented yet.
    Consent,
    /// Its refresh token ends within [`ENDS_SOON`], and nothing moves that.
    RefreshTokenEnds,
    /// An answer was lost, and with it perhaps the grant.
    AtRisk,
    /// The provider refuses the request or the client, and its token is used up.
    Refused,
    /// The provider is not to be had, and its token is used up.
    ProviderFails,
}

/// What was counted so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    connections: usize,
    active: usize,
    needs: BTreeMap<Need, (usize, Vec<String>)>,
    clients: usize,
    held: Vec<(String, Option<HoldReason>)>,
    unreadable: usize,
    /// Not all were looked at.
    cut: bool,
}

impl Need {
    /// What this connection needs, by its record.
    pub fn of(connection: &Connection, now: Moment) -> Option<Self> {
        match connection.state {
            State::NeedsReauthorization => return Some(Self::Reauthorization),
            State::Pending if connection.awaits_person() => return Some(Self::Consent),
            State::Disabled | State::Revoking | State::Revoked => return None,
            State::Pending | State::Active => {}
        }
        match degraded(connection, now.here) {
            Some(Degraded::NeedsReauthorization) => return Some(Self::Reauthorization),
            Some(Degraded::GrantAtRisk) => return Some(Self::AtRisk),
            Some(Degraded::ConfigurationRefused) => return Some(Self::Refused),
            Some(Degraded::ProviderFailing) => return Some(Self::ProviderFails),
            Some(Degraded::RefreshSlow | Degraded::StoreUnavailable) | None => {}
        }
        let ends = connection.refresh_expires_at.filter(|_| !connection.mints())?;
        (now.here.until(ends) < ENDS_SOON).then_some(Self::RefreshTokenEnds)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Reauthorization => "need a new consent: the provider takes their grant no more",
            Self::Consent => "wait for a first consent",
            Self::RefreshTokenEnds => "have a refresh token that ends within 30 days",
            Self::AtRisk => "have lost an answer of the provider, and perhaps their grant with it",
            Self::Refused => "have no good token, as the provider refuses the request or the client",
            Self::ProviderFails => "have no good token, as the provider fails",
        }
    }

    fn mend(self, name: &str) -> String {
        match self {
            Self::Reauthorization | Self::Consent | Self::RefreshTokenEnds => {
                format!("`bursar connection authorize {name}`")
            }
            Self::AtRisk => format!(
                "wait: it is tried again when that does least harm; `bursar connection show {name}` tells when. Have \
                 somebody ready who can authorize it again"
            ),
            Self::Refused => format!(
                "`bursar connection show {name}` tells what was refused; `bursar doctor provider` with its client tries it"
            ),
            Self::ProviderFails => {
                format!("`bursar connection show {name}` tells what fails, and when it is tried again")
            }
        }
    }

    /// How to see all of them.
    const fn list(self) -> &'static str {
        match self {
            Self::Reauthorization => "bursar connection list --filter 'state = NEEDS_REAUTHORIZATION'",
            Self::Consent => "bursar connection list --filter 'state = PENDING'",
            Self::RefreshTokenEnds | Self::AtRisk | Self::Refused | Self::ProviderFails => {
                "bursar connection list"
            }
        }
    }
}

impl Tally {
    pub fn connection(&mut self, connection: &Connection, now: Moment) {
        self.connections += 1;
        self.active += usize::from(connection.state == State::Active);
        if let Some(need) = Need::of(connection, now) {
            let (count, first) = self.needs.entry(need).or_default();
            *count += 1;
            if first.len() < TOLD_MAX {
                first.push(connection.name.to_string());
            }
        }
    }

    pub fn client(&mut self, client: &Client, store_now: Timestamp) {
        self.clients += 1;
        if let Some(hold) = client.held(store_now) {
            self.held.push((client.name.to_string(), hold.reason));
        }
    }

    /// One that does not open.
    pub fn unreadable(&mut self) {
        self.unreadable += 1;
    }

    /// There are more than were looked at.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    pub fn findings(&self) -> Vec<Finding> {
        let first = if self.cut { "first " } else { "" };
        let mut found = Vec::new();
        if self.needs.is_empty() {
            let text =
                format!("of the {first}{} none needs a person; {} are active", self.connections, self.active);
            found.push(Check::Connections.ok("connections", text));
        }
        for (need, (count, names)) in &self.needs {
            found.extend(told(*need, &format!("{count} of the {first}{}", self.connections), names));
        }
        if self.unreadable > 0 {
            found.push(Check::Connections.fail(
                "records",
                format!("{} records of connections and clients do not open", self.unreadable),
                "see in the broker's log which they are, and who may write to the store; restore them from a back-up: \
                 docs/backup.md",
            ));
        }
        if self.held.is_empty() {
            let text = format!("of the {first}{} none is held", self.clients);
            found.push(Check::Clients.ok("clients", text));
        }
        found.extend(self.held.iter().take(TOLD_MAX).map(|(name, reason)| held(name, *reason)));
        if self.held.len() > TOLD_MAX {
            let text = format!("{} more clients are held", self.held.len() - TOLD_MAX);
            found.push(Check::Clients.fail("clients", text, "`bursar client list`"));
        }
        found
    }
}

/// What a broker tells of connections that need a consent, at most [`HEARD_MAX`] of each kind: where its store cannot be
/// looked at.
pub fn heard(needs: &BTreeMap<Need, Vec<String>>) -> Vec<Finding> {
    let some = needs.iter().filter(|(_, names)| !names.is_empty());
    let found: Vec<_> = some
        .flat_map(|(need, names)| {
            let least = if names.len() < HEARD_MAX { "" } else { "at least " };
            told(*need, &format!("{least}{}", names.len()), names)
        })
        .collect();
    if found.is_empty() {
        return vec![Check::Connections.ok("connections", "by the broker's word none needs a consent")];
    }
    found
}

/// How many there are, and the first by name.
fn told(need: Need, count: &str, names: &[String]) -> Vec<Finding> {
    let all = format!("{count} {}", need.text());
    let all = Check::Connections.warn("connections", all, format!("`{}`", need.list()));
    let each = names.iter().take(TOLD_MAX);
    let each = each.map(|name| Check::Connections.warn(name, need.text(), need.mend(name)));
    std::iter::once(all).chain(each).collect()
}

fn held(name: &str, reason: Option<HoldReason>) -> Finding {
    let show = format!("`bursar client show {name}`");
    let (why, mend) = match reason {
        Some(HoldReason::SecretsRefused) => (
            "the provider refuses its secrets",
            format!("`bursar client secret add {name}` with one that is good there"),
        ),
        Some(HoldReason::ClientUnknown) => {
            ("the provider does not know its client id", format!("check id and environment: {show}"))
        }
        Some(HoldReason::ClientDisabled) => {
            ("it is switched off at the provider", "have it switched on there".to_owned())
        }
        Some(HoldReason::GrantNotAllowed) => {
            ("the provider does not let it use a grant", "allow it the grant there".to_owned())
        }
        Some(HoldReason::ManyGrantsRefused) => (
            "many of its grants were refused at once",
            format!("see at the provider what happened to the client; {show}"),
        ),
        None => ("the provider refuses it", show),
    };
    Check::Clients.fail(name, format!("{why}: all of its connections wait"), mend)
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};
    use crate::domain::{
        client::Hold,
        connection::LastFailure,
        failure::Class,
        profile::GrantKind,
        samples::{START, at, client, connection, secs},
    };

    const DAY: u64 = 86_400;

    fn failing(class: Class) -> Connection {
        let last_failure = Some(LastFailure { class, code: None, correlation_id: None, at: START });
        Connection { last_failure, failures: 3, ..connection() }
    }

    #[test]
    fn what_a_connection_needs_is_told_from_its_record() {
        let state = |state| Connection { state, ..connection() };
        let pending = Connection {
            state: State::Pending,
            grant: GrantKind::AuthorizationCode,
            refresh_token: None,
            token: None,
            due: None,
            ..connection()
        };
        let ends =
            |days: u64| Connection { refresh_expires_at: Some(START.plus(secs(days * DAY))), ..connection() };
        let minted = Connection { grant: GrantKind::ClientCredentials, ..ends(3) };
        let late = secs(59 * 60);
        for (connection, after, want) in [
            (connection(), secs(1), None),
            (state(State::NeedsReauthorization), secs(1), Some(Need::Reauthorization)),
            (pending.clone(), secs(1), Some(Need::Consent)),
            (Connection { grant: GrantKind::RefreshToken, ..pending }, secs(1), None),
            (state(State::Disabled), secs(1), None),
            (state(State::Revoked), secs(1), None),
            (ends(31), secs(1), None),
            (ends(29), secs(1), Some(Need::RefreshTokenEnds)),
            (minted, secs(1), None),
            (failing(Class::Down), secs(1), None),
            (failing(Class::Down), late, Some(Need::ProviderFails)),
            (failing(Class::Client), late, Some(Need::Refused)),
        ] {
            assert_eq!(Need::of(&connection, at(after)), want, "{connection:?}");
        }
    }

    #[test]
    fn the_first_of_each_kind_are_named_with_their_command() {
        let mut tally = Tally::default();
        for n in 0..9 {
            let name = format!("tenants/t/connections/c{n}").parse().unwrap();
            let state = if n < 7 { State::NeedsReauthorization } else { State::Active };
            tally.connection(&Connection { name, state, ..connection() }, at(secs(1)));
        }
        let found = tally.findings();
        let warned: Vec<_> = found.iter().filter(|one| one.level == Level::Warn).collect();
        assert_eq!(warned.len(), 1 + TOLD_MAX);
        assert!(warned[0].text.starts_with("7 of the 9 need a new consent"), "{warned:?}");
        assert_eq!(warned[1].mend, "`bursar connection authorize tenants/t/connections/c0`");
        assert_eq!(found.last().unwrap(), &Check::Clients.ok("clients", "of the 0 none is held"));
    }

    #[test]
    fn what_needs_nobody_is_one_line_each() {
        let mut tally = Tally::default();
        tally.connection(&connection(), at(secs(1)));
        tally.client(&client(), at(secs(1)).store);
        tally.cut();
        let found = tally.findings();
        assert!(found.iter().all(|one| one.level == Level::Ok), "{found:?}");
        assert_eq!(found[0].text, "of the first 1 none needs a person; 1 are active");
        tally.unreadable();
        assert_eq!(tally.findings()[1].level, Level::Fail);
    }

    #[test]
    fn what_a_broker_tells_is_told_in_the_same_words() {
        let names = |count: usize| (0..count).map(|n| format!("tenants/t/connections/c{n}")).collect();
        let found = heard(&[(Need::Consent, names(0))].into());
        assert_eq!((found.len(), found[0].level), (1, Level::Ok));
        let found = heard(&[(Need::Reauthorization, names(2)), (Need::Consent, names(HEARD_MAX))].into());
        assert_eq!(found.len(), 1 + 2 + 1 + TOLD_MAX);
        assert!(found.iter().all(|one| one.level == Level::Warn), "{found:?}");
        assert!(found[0].text.starts_with("2 need a new consent"), "{found:?}");
        assert_eq!(found[1].mend, "`bursar connection authorize tenants/t/connections/c0`");
        assert!(found[3].text.starts_with("at least 100 wait for a first consent"), "{found:?}");
    }

    #[test]
    fn a_client_that_is_held_fails_with_the_mend_for_its_reason() {
        let now = at(secs(1)).store;
        for (reason, says) in [
            (Some(HoldReason::SecretsRefused), "client secret add"),
            (Some(HoldReason::ClientUnknown), "check id"),
            (Some(HoldReason::ClientDisabled), "switched on"),
            (Some(HoldReason::GrantNotAllowed), "allow it"),
            (Some(HoldReason::ManyGrantsRefused), "what happened"),
            (None, "client show"),
        ] {
            let hold = |until| {
                Some(Hold { until, reason, code: None, correlation_id: None, at: START, failures: 1 })
            };
            let mut tally = Tally::default();
            tally.client(&Client { hold: hold(now.plus(secs(60))), ..client() }, now);
            tally.client(&Client { hold: hold(now), ..client() }, now);
            let found: Vec<_> = tally.findings().into_iter().filter(|one| one.level == Level::Fail).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].mend.contains(says), "{found:?}");
        }
    }
}
