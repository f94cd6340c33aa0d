//! How many lines those may cause who get nothing: whoever is refused must not fill the disk. Strangers have some lines and
//! are counted beyond; callers that ask too much are only counted.

use super::event::{Event, Name};
use crate::clock::Timestamp;
use std::{collections::BTreeMap, time::Duration};

/// Lines about strangers in each [`PERIOD`] at most.
pub(super) const LINES_MAX: u32 = 50;
pub(super) const PERIOD: Duration = Duration::from_secs(1);
/// Kinds of strangers that are counted apart; there are fewer. More are counted as the last one.
const KINDS_MAX: usize = 64;

/// Callers and bounds that are counted apart. More are counted as [`OTHERS`].
const THROTTLED_MAX: usize = 1024;
const OTHERS: &str = "others";

#[derive(Debug, Default)]
pub(super) struct Gate {
    since: Timestamp,
    lines: u32,
    counted: BTreeMap<(Name, Name), u64>,
}

/// Calls that were refused for their number, by caller and bound.
#[derive(Debug, Default)]
pub(super) struct Throttled(BTreeMap<(Name, Name), u64>);

impl Throttled {
    pub(super) fn count(&mut self, caller: &Name, limit: &Name, more: u64) {
        let kind = (caller.clone(), limit.clone());
        // Bounds are few: one line of others for each.
        let has_place = self.0.len() < THROTTLED_MAX || self.0.contains_key(&kind);
        let kind = if has_place { kind } else { (Name::of(&OTHERS), kind.1) };
        *self.0.entry(kind).or_default() += more;
    }

    /// All that was counted.
    pub(super) fn drain(&mut self) -> Vec<Event> {
        let counted = std::mem::take(&mut self.0).into_iter();
        counted.map(|((caller, limit), count)| Event::Throttled { caller, limit, count }).collect()
    }
}

/// What becomes of a stranger's call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    /// It gets a line.
    Line,
    /// It is counted, and told later.
    Counted,
}

impl Gate {
    pub(super) fn pass(&mut self, now: Timestamp, transport: &Name, reason: &Name) -> Pass {
        if now >= self.since.plus(PERIOD) || now < self.since {
            (self.since, self.lines) = (now, 0);
        }
        if self.lines < LINES_MAX {
            self.lines += 1;
            return Pass::Line;
        }
        self.count(transport, reason, 1);
        Pass::Counted
    }

    /// Also for what could not be told.
    pub(super) fn count(&mut self, transport: &Name, reason: &Name, more: u64) {
        let kind = (transport.clone(), reason.clone());
        if self.counted.len() < KINDS_MAX || self.counted.contains_key(&kind) {
            *self.counted.entry(kind).or_default() += more;
        } else if let Some(mut last) = self.counted.last_entry() {
            *last.get_mut() += more;
        }
    }

    /// All that was counted.
    pub(super) fn drain(&mut self) -> Vec<Event> {
        let counted = std::mem::take(&mut self.counted);
        let told = counted.into_iter().map(|((transport, reason), count)| (transport, reason, count));
        told.map(|(transport, reason, count)| Event::Unauthenticated { transport, reason, count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_beyond_a_measure_are_counted() {
        let (mut gate, tls, reason) = (Gate::default(), Name::of(&"tls"), Name::of(&"expired"));
        let now = Timestamp::from_secs(100);
        for _ in 0..LINES_MAX {
            assert_eq!(gate.pass(now, &tls, &reason), Pass::Line);
        }
        for _ in 0..7 {
            assert_eq!(gate.pass(now, &tls, &reason), Pass::Counted);
        }
        let other = Name::of(&"no_credential");
        assert_eq!(gate.pass(now, &tls, &other), Pass::Counted);
        let told = |reason: &Name, count| Event::Unauthenticated {
            transport: tls.clone(),
            reason: reason.clone(),
            count,
        };
        assert_eq!(gate.drain(), [told(&reason, 7), told(&other, 1)]);
        assert_eq!(gate.drain(), []);
        assert_eq!(gate.pass(now.plus(PERIOD), &tls, &reason), Pass::Line);
        // A clock that is set back does not close the gate for long.
        assert_eq!(gate.pass(Timestamp::from_secs(5), &tls, &reason), Pass::Line);
    }

    #[test]
    fn kinds_are_bounded_and_no_count_is_lost() {
        let (mut gate, tls) = (Gate::default(), Name::of(&"tls"));
        for number in 0..1000 {
            gate.count(&tls, &Name::of(&number), 1);
        }
        let counts = gate.drain().into_iter().map(|event| match event {
            Event::Unauthenticated { count, .. } => count,
            _ => 0,
        });
        let counts: Vec<u64> = counts.collect();
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (KINDS_MAX, 1000));
    }

    #[test]
    fn throttled_callers_are_bounded_and_nobody_is_blamed_for_others() {
        let (mut throttled, limit) = (Throttled::default(), Name::of(&"limits.serve_per_second"));
        for number in 0..THROTTLED_MAX + 500 {
            throttled.count(&Name::of(&number), &limit, 1);
            throttled.count(&Name::of(&0), &limit, 1);
        }
        let told = throttled.drain();
        assert_eq!(told.len(), THROTTLED_MAX + 1);
        let of = |who: &str| {
            told.iter().find_map(|event| match event {
                Event::Throttled { caller, count, .. } if caller.as_str() == who => Some(*count),
                _ => None,
            })
        };
        let most = u64::try_from(THROTTLED_MAX).unwrap();
        assert_eq!((of("0"), of("1"), of(OTHERS)), (Some(most + 501), Some(1), Some(500)));
        assert_eq!(throttled.drain(), []);
    }
}
