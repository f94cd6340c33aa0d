//! Random histories, told to every backend and to a plain map: all answer alike.

use super::*;
use crate::support::redis::Server;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Due times lie in the long past or the far future, so that clocks which differ agree about them.
const FUTURE: u64 = 7_000_000_000_000;

#[derive(Debug, Clone)]
enum Step {
    Put { at: usize, expect: Guess, body: Vec<u8>, due: Option<u64> },
    Delete { at: usize, expect: Guess },
    Read { at: usize },
    Due { limit: usize },
    Scan { prefix: usize, after: Option<usize>, limit: usize },
}

/// What a writer takes to be there: mostly right.
#[derive(Debug, Clone, Copy)]
enum Guess {
    Right,
    Absent,
    Version(u64),
}

#[derive(Debug, PartialEq)]
enum Answer {
    Swapped(Swapped),
    Refused,
    Read(Option<Document>),
    Due(Vec<(String, Timestamp)>, Option<Timestamp>),
    Scan(Vec<Document>),
}

const KEYS: [&str; 7] = ["a", "a/1", "a/2", "a/10", "a-", "b", "B/~"];
const PREFIXES: [&str; 5] = ["", "a", "a/", "b", "c"];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0..KEYS.len();
    let guess = || prop_oneof![6 => Just(Guess::Right), 1 => Just(Guess::Absent), 1 => (0..4_u64).prop_map(Guess::Version)];
    let due = prop_oneof![0..5_u64, (0..5_u64).prop_map(|more| FUTURE + more), Just(u64::MAX)];
    let body = prop::collection::vec(any::<u8>(), 0..20);
    let step = prop_oneof![
        6 => (at(), guess(), body, prop::option::of(due))
            .prop_map(|(at, expect, body, due)| Step::Put { at, expect, body, due }),
        2 => (at(), guess()).prop_map(|(at, expect)| Step::Delete { at, expect }),
        1 => at().prop_map(|at| Step::Read { at }),
        2 => (5..20_usize).prop_map(|limit| Step::Due { limit }),
        2 => (0..PREFIXES.len(), prop::option::of(at()), 0..9_usize)
            .prop_map(|(prefix, after, limit)| Step::Scan { prefix, after, limit }),
    ];
    prop::collection::vec(step, 1..40)
}

/// What the store is said to be.
#[derive(Default)]
struct Model(BTreeMap<&'static str, (u64, Vec<u8>, Option<u64>)>);

impl Model {
    fn document(&self, at: &str) -> Option<Document> {
        let (version, body, _) = self.0.get(at)?;
        Some(Document { key: key(at), version: Version(*version), body: body.clone() })
    }

    fn expect(&self, at: &str, guess: Guess) -> Expect {
        match (guess, self.0.get(at)) {
            (Guess::Right, Some((version, _, _))) => Expect::At(Version(*version)),
            (Guess::Right, None) | (Guess::Absent, _) => Expect::Absent,
            (Guess::Version(version), _) => Expect::At(Version(version)),
        }
    }

    fn swap(&mut self, at: &'static str, expect: Expect, then: Option<(Vec<u8>, Option<u64>)>) -> Answer {
        let there = self.0.get(at).map_or(Expect::Absent, |(version, _, _)| Expect::At(Version(*version)));
        Answer::Swapped(match (then, expect) {
            (None, Expect::Absent) => return Answer::Refused,
            _ if there != expect => Swapped::Conflict(self.document(at)),
            (Some((body, due)), expect) => {
                self.0.insert(at, (expect.writes().0, body, due));
                Swapped::Done(expect.writes())
            }
            (None, Expect::At(version)) => {
                self.0.remove(at);
                Swapped::Done(version)
            }
        })
    }

    fn due(&self) -> Answer {
        let mut all: Vec<_> = self
            .0
            .iter()
            .filter_map(|(at, (_, _, due))| Some((Timestamp((*due)?), (*at).to_owned())))
            .collect();
        all.sort();
        let (past, future): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| at.0 < FUTURE);
        let past = past.into_iter().map(|(at, key)| (key, at)).collect();
        Answer::Due(past, future.first().map(|(at, _)| *at))
    }

    fn scan(&self, prefix: &str, after: Option<&str>, limit: usize) -> Answer {
        let inside = |at: &&&str| at.starts_with(prefix) && after.is_none_or(|after| **at > after);
        Answer::Scan(self.0.keys().filter(inside).take(limit).filter_map(|at| self.document(at)).collect())
    }

    fn step(&mut self, step: &Step) -> Answer {
        match step {
            Step::Put { at, expect, body, due } => {
                let expect = self.expect(KEYS[*at], *expect);
                self.swap(KEYS[*at], expect, Some((body.clone(), *due)))
            }
            Step::Delete { at, expect } => {
                let expect = self.expect(KEYS[*at], *expect);
                self.swap(KEYS[*at], expect, None)
            }
            Step::Read { at } => Answer::Read(self.document(KEYS[*at])),
            Step::Due { .. } => self.due(),
            Step::Scan { prefix, after, limit } => {
                self.scan(PREFIXES[*prefix], after.map(|after| KEYS[after]), *limit)
            }
        }
    }
}

/// The same step, told to a store. The model says what a right guess is.
async fn tell(store: &dyn Documents, model: &Model, step: &Step) -> Answer {
    let change = |at: usize, expect, then| Change {
        key: key(KEYS[at]),
        expect: model.expect(KEYS[at], expect),
        then,
        room: Room::Needed,
    };
    let swapped = |change| async {
        match store.swap(change).await {
            Ok(end) => Answer::Swapped(end.value),
            Err(StoreError::Refused { .. }) => Answer::Refused,
            Err(other) => panic!("{other:?}"),
        }
    };
    match step {
        Step::Put { at, expect, body, due } => {
            let then = Then::Put { body: body.clone(), due: due.map(Timestamp) };
            swapped(change(*at, *expect, then)).await
        }
        Step::Delete { at, expect } => swapped(change(*at, *expect, Then::Delete)).await,
        Step::Read { at } => Answer::Read(read(store, KEYS[*at]).await),
        Step::Due { limit } => {
            let (keys, next) = due(store, *limit).await;
            Answer::Due(keys, next)
        }
        Step::Scan { prefix, after, limit } => {
            let after = after.map(|after| key(KEYS[after]));
            Answer::Scan(store.scan(PREFIXES[*prefix], after.as_ref(), *limit).await.unwrap())
        }
    }
}

#[test]
fn any_history_has_the_same_answers_in_every_store() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let server = runtime.block_on(Server::start());
    let case = std::cell::Cell::new(0);
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(steps in steps())| {
        case.set(case.get() + 1);
        runtime.block_on(async {
            let options = server.options().namespace(&format!("case-{}", case.get())).unwrap();
            let redis = RedisStore::connect(options.shards(3).unwrap()).await.unwrap();
            let embedded = Embedded::in_memory(Arc::new(SystemClock)).unwrap();
            let mut model = Model::default();
            for step in &steps {
                let told = [tell(&embedded, &model, step).await, tell(&redis, &model, step).await];
                let want = model.step(step);
                for (answer, store) in told.iter().zip(["embedded", "redis"]) {
                    assert_eq!(answer, &want, "{store}: {step:?}");
                }
            }
        });
    });
}
