//! What is to go wrong next, and for whom: a bounded queue of ordered failures.
//! Knows nothing of any provider's error codes: a refusal `R` is the provider's own word.

use super::{
    SimulatorError,
    exchange::{Answer, Delivery},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Orders waiting at most.
pub const FAULTS_MAX: usize = 1024;
/// Bytes in a huge answer at most.
pub const HUGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// An order to fail.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault<R> {
    pub trouble: Trouble<R>,
    /// How many requests it strikes before it is used up.
    #[serde(default = "once")]
    pub times: u32,
    /// Which requests it strikes; the default is any.
    #[serde(default)]
    pub only: Only,
    /// How long the answer, or its absence, is held back, in milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
}

/// The ways to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble<R> {
    /// The provider's own error; the request has no effect.
    Refuse(R),
    /// An HTTP status with a body that is no JSON, as a gateway sends; the request has no effect.
    Status {
        status: u16,
        #[serde(default)]
        body: Option<String>,
        #[serde(default)]
        retry_after_seconds: Option<u64>,
    },
    /// Answered as usual, at once committed, only late: `delay_ms`.
    Slow,
    /// The connection ends without an answer; the request has no effect.
    DropBefore,
    /// The connection ends without an answer after the request took effect: a lost response.
    DropAfter,
    /// The request takes effect; status 200 with a body that is no JSON.
    Garbage,
    /// The request takes effect; the body stops half-way.
    Truncated,
    /// The request takes effect; the body never seems to end.
    Huge { bytes: usize },
}

/// Which requests a fault strikes; an absent member matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Only {
    /// A data centre's name.
    pub site: Option<String>,
    /// A client id.
    pub app: Option<String>,
    /// A company, user or subject.
    pub principal: Option<String>,
    /// A grant type, or `revoke`, `jwks`, `metadata`, `send_otp`.
    pub grant: Option<String>,
}

/// What is known of a request before it is decided.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub(super) site: String,
    pub(super) grant: String,
    pub(super) app: Option<String>,
    pub(super) principal: Option<String>,
    /// An old refresh token was presented after its successor was issued.
    pub(super) stale: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FaultQueue<R>(Vec<Fault<R>>);

/// What remains of an order once it is known whether the request is carried out.
pub(super) enum Verdict<R> {
    /// Carry the request out; spoil the answer as told.
    Proceed(Spoil),
    Refuse(R),
    Instead(Answer),
}

/// What becomes of the answer to a request that took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoil {
    Nothing,
    Drop,
    Garbage,
    Truncate,
    Inflate { bytes: usize },
}

impl<R> Fault<R> {
    /// Strikes the next request, whichever it is.
    pub fn once(trouble: Trouble<R>) -> Self {
        Self { trouble, times: once(), only: Only::default(), delay_ms: 0 }
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    #[must_use]
    pub fn late(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    #[must_use]
    pub fn only(mut self, only: Only) -> Self {
        self.only = only;
        self
    }
}

fn once() -> u32 {
    1
}

impl Only {
    pub fn principal(name: &str) -> Self {
        Self { principal: Some(name.to_owned()), ..Self::default() }
    }

    pub fn grant(name: &str) -> Self {
        Self { grant: Some(name.to_owned()), ..Self::default() }
    }

    fn matches(&self, facts: &Facts) -> bool {
        let same = |wanted: &Option<String>, seen: Option<&str>| match (wanted, seen) {
            (None, _) => true,
            (Some(wanted), Some(seen)) => wanted.eq_ignore_ascii_case(seen),
            (Some(_), None) => false,
        };
        same(&self.site, Some(&facts.site))
            && same(&self.grant, Some(&facts.grant))
            && same(&self.app, facts.app.as_deref())
            && same(&self.principal, facts.principal.as_deref())
    }
}

impl<R: Clone> FaultQueue<R> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn push(&mut self, fault: Fault<R>) -> Result<(), SimulatorError> {
        let invalid = |text: String| Err(SimulatorError::Invalid(text));
        if self.0.len() >= FAULTS_MAX {
            return invalid(format!("{FAULTS_MAX} faults are waiting already"));
        }
        match &fault.trouble {
            Trouble::Status { status, .. } if !(200..600).contains(status) => {
                invalid(format!("{status} is no HTTP status of a final answer"))
            }
            Trouble::Huge { bytes } if *bytes > HUGE_BYTES_MAX => {
                invalid(format!("a huge answer has at most {HUGE_BYTES_MAX} bytes"))
            }
            _ if fault.times == 0 => invalid("a fault strikes at least once".to_owned()),
            _ => {
                self.0.push(fault);
                Ok(())
            }
        }
    }

    /// The oldest order that fits, one strike of it used up, and how long to hold the answer back.
    pub(super) fn strike(&mut self, facts: &Facts) -> (Verdict<R>, Duration) {
        let Some(at) = self.0.iter().position(|fault| fault.only.matches(facts)) else {
            return (Verdict::Proceed(Spoil::Nothing), Duration::ZERO);
        };
        let fault = self.0[at].clone();
        self.0[at].times -= 1;
        if self.0[at].times == 0 {
            self.0.remove(at);
        }
        (verdict(fault.trouble), Duration::from_millis(fault.delay_ms))
    }
}

fn verdict<R>(trouble: Trouble<R>) -> Verdict<R> {
    match trouble {
        Trouble::Refuse(refusal) => Verdict::Refuse(refusal),
        Trouble::Status { status, body, retry_after_seconds } => {
            let page = body.unwrap_or_else(|| format!("<html><body><h1>{status}</h1></body></html>"));
            let answer = Answer::new(status, "text/html", page.into_bytes());
            Verdict::Instead(match retry_after_seconds {
                Some(seconds) => answer.with("retry-after", seconds.to_string()),
                None => answer,
            })
        }
        Trouble::DropBefore => {
            Verdict::Instead(Answer { delivery: Delivery::Dropped, ..Answer::text(502, "") })
        }
        Trouble::Slow => Verdict::Proceed(Spoil::Nothing),
        Trouble::DropAfter => Verdict::Proceed(Spoil::Drop),
        Trouble::Garbage => Verdict::Proceed(Spoil::Garbage),
        Trouble::Truncated => Verdict::Proceed(Spoil::Truncate),
        Trouble::Huge { bytes } => Verdict::Proceed(Spoil::Inflate { bytes }),
    }
}

impl Spoil {
    /// Whether the client misses the answer.
    pub(super) fn loses(self) -> bool {
        self != Self::Nothing
    }

    pub(super) fn apply(self, mut answer: Answer) -> Answer {
        match self {
            Self::Nothing => {}
            Self::Drop => answer.delivery = Delivery::Dropped,
            Self::Truncate => answer.delivery = Delivery::Truncated,
            Self::Garbage => {
                answer.status = 200;
                answer.body = b"\x00<<< not json {\"access_token\":".to_vec();
            }
            Self::Inflate { bytes } => {
                answer.body = b"{\"access_token\":\"".to_vec();
                answer.body.resize(bytes.max(answer.body.len()), b'x');
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(principal: &str, grant: &str) -> Facts {
        Facts {
            site: "us2".to_owned(),
            grant: grant.to_owned(),
            app: Some("app".to_owned()),
            principal: Some(principal.to_owned()),
            stale: false,
        }
    }

    #[test]
    fn a_fault_strikes_only_whom_it_names_and_only_so_often() {
        let mut queue = FaultQueue::<u16>::new();
        queue.push(Fault::once(Trouble::Refuse(108)).times(2).only(Only::principal("ACME"))).unwrap();
        assert!(matches!(queue.strike(&facts("other", "password")).0, Verdict::Proceed(Spoil::Nothing)));
        assert!(matches!(queue.strike(&facts("acme", "password")).0, Verdict::Refuse(108)));
        assert!(matches!(queue.strike(&facts("acme", "password")).0, Verdict::Refuse(108)));
        assert!(matches!(queue.strike(&facts("acme", "password")).0, Verdict::Proceed(Spoil::Nothing)));
    }

    #[test]
    fn faults_are_bounded_and_make_sense() {
        let mut queue = FaultQueue::<u16>::new();
        let refused = [
            Fault::once(Trouble::Slow).times(0),
            Fault::once(Trouble::Huge { bytes: HUGE_BYTES_MAX + 1 }),
            Fault::once(Trouble::Status { status: 100, body: None, retry_after_seconds: None }),
        ];
        for fault in refused {
            assert!(queue.push(fault).is_err());
        }
        for _ in 0..FAULTS_MAX {
            queue.push(Fault::once(Trouble::Slow)).unwrap();
        }
        assert!(queue.push(Fault::once(Trouble::Slow)).is_err());
    }
}
