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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The request takes effect; the body does not end.
    Endless,
    /// The request takes effect; the body comes byte by byte, so many milliseconds apart.
    Drip { gap_ms: u64 },
    /// The request takes effect; the body is compressed without having been asked for so.
    Gzip,
    /// The request takes effect; the answer gives this member twice, the second time as a text of nonsense.
    Twice { member: String },
    /// The request takes effect; these members of the answer are other ones, or none where they are null.
    Change { members: serde_json::Map<String, serde_json::Value> },
    /// Leads elsewhere; the request has no effect.
    Redirect { status: u16, location: String },
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
    /// A grant type, or another endpoint: `authorize`, `revoke`, `jwks`, `metadata`, `send_otp`, `secrets`, `par`,
    /// `device_authorization`, `device`, `introspect`.
    pub grant: Option<String>,
}

/// What is known of a request before it is decided.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub(super) site: String,
    /// `token`, `authorize`, …
    pub(super) endpoint: &'static str,
    pub(super) grant: String,
    /// How the client shows who it is, as RFC 7591 calls it.
    pub(super) auth: Option<&'static str>,
    /// The thumbprint of the key that a proof of possession names.
    pub(super) dpop_jkt: Option<String>,
    /// RFC 8707.
    pub(super) resource: Vec<String>,
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
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Spoil {
    Nothing,
    Drop,
    Garbage,
    Truncate,
    Inflate { bytes: usize },
    Endless,
    Drip { gap: Duration },
    Gzip,
    Twice { member: String },
    Change { members: serde_json::Map<String, serde_json::Value> },
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
            Trouble::Redirect { status, .. } if !(300..400).contains(status) => {
                invalid(format!("{status} is no HTTP status of a redirect"))
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
        Trouble::Endless => Verdict::Proceed(Spoil::Endless),
        Trouble::Drip { gap_ms } => Verdict::Proceed(Spoil::Drip { gap: Duration::from_millis(gap_ms) }),
        Trouble::Gzip => Verdict::Proceed(Spoil::Gzip),
        Trouble::Twice { member } => Verdict::Proceed(Spoil::Twice { member }),
        Trouble::Change { members } => Verdict::Proceed(Spoil::Change { members }),
        Trouble::Redirect { status, location } => {
            Verdict::Instead(Answer::text(status, "").with("location", location))
        }
    }
}

impl Spoil {
    /// Whether the client misses the answer.
    pub(super) fn loses(&self) -> bool {
        match self {
            // What was changed may be read all the same.
            Self::Nothing | Self::Change { .. } => false,
            Self::Drop
            | Self::Garbage
            | Self::Truncate
            | Self::Inflate { .. }
            | Self::Endless
            | Self::Drip { .. }
            | Self::Gzip
            | Self::Twice { .. } => true,
        }
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
            Self::Endless => answer.delivery = Delivery::Endless,
            Self::Drip { gap } => answer.delivery = Delivery::Drip { gap },
            Self::Gzip => {
                answer.body = gzip(&answer.body);
                answer.headers.push(("content-encoding", "gzip".to_owned()));
            }
            Self::Twice { member } => {
                let member = serde_json::Value::from(member);
                let open = answer.body.iter().position(|byte| *byte == b'{').map_or(0, |at| at + 1);
                answer.body.splice(open..open, format!("{member}:\"first of two\",").into_bytes());
            }
            Self::Change { members } => {
                let parsed = serde_json::from_slice::<serde_json::Value>(&answer.body);
                if let Ok(serde_json::Value::Object(mut body)) = parsed {
                    for (name, value) in members {
                        if value.is_null() {
                            body.remove(&name)
                        } else {
                            body.insert(name, value)
                        };
                    }
                    answer.body = serde_json::Value::Object(body).to_string().into_bytes();
                }
            }
        }
        answer
    }
}

/// RFC 1952 with one stored block (RFC 1951 §3.2.4): nothing is compressed, and every reader understands it.
fn gzip(body: &[u8]) -> Vec<u8> {
    let stored = &body[..body.len().min(usize::from(u16::MAX))];
    let length = u16::try_from(stored.len()).unwrap_or(u16::MAX);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    let (size, sum) = (u32::from(length), crc32(stored));
    [
        &head[..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        stored,
        &sum.to_le_bytes(),
        &size.to_le_bytes(),
    ]
    .concat()
}

/// RFC 1952 §8.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, byte: &u8| {
        (0..8).fold(
            sum ^ u32::from(*byte),
            |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 },
        )
    };
    !bytes.iter().fold(!0, step)
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
            ..Facts::default()
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
    fn an_answer_is_changed_as_told() {
        let answer = || Answer::json(200, &serde_json::json!({"a": 1, "b": 2}));
        let members = serde_json::json!({"a": null, "c": [3]}).as_object().unwrap().clone();
        assert_eq!(Spoil::Change { members }.apply(answer()).body, br#"{"b":2,"c":[3]}"#);
        let twice = Spoil::Twice { member: "b".to_owned() }.apply(answer());
        assert_eq!(twice.body, br#"{"b":"first of two","a":1,"b":2}"#);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let zipped = Spoil::Gzip.apply(answer());
        assert_eq!(zipped.body.len(), answer().body.len() + 23);
        assert!(zipped.headers.contains(&("content-encoding", "gzip".to_owned())));
    }

    #[test]
    fn faults_are_bounded_and_make_sense() {
        let mut queue = FaultQueue::<u16>::new();
        let refused = [
            Fault::once(Trouble::Slow).times(0),
            Fault::once(Trouble::Huge { bytes: HUGE_BYTES_MAX + 1 }),
            Fault::once(Trouble::Redirect { status: 200, location: String::new() }),
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
