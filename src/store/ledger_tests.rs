//! What a newer program wrote is read where it can be, and never written over.

use super::*;
use crate::{
    clock::TokioClock,
    domain::{
        attempt::Ask,
        samples::{HOUR, START, attempt, connection, profile},
    },
    store::embedded::Embedded,
};
use prost::Message;
use tokio::sync::Notify;

/// Takes every stamp: whether they are genuine is tested with real keys.
struct Credulous;

#[async_trait]
impl Stamper for Credulous {
    async fn stamp(&self, _: &Place<'_>, _: &[u8]) -> Result<Stamp, StoreError> {
        Ok(Stamp { key_version: 1, tag: Vec::new() })
    }

    async fn check(&self, _: &Place<'_>, _: &[u8], _: &Stamp) -> Result<(), StoreError> {
        Ok(())
    }
}

struct Rig {
    documents: Arc<dyn Documents>,
    ledger: Ledger,
    key: Key,
}

impl Rig {
    /// A store with one connection, written by a program of format 2.
    async fn of_a_newer_program(record: Vec<u8>) -> Self {
        let clock = Arc::new(TokioClock::starting_at(START));
        let documents: Arc<dyn Documents> = Arc::new(Embedded::in_memory(clock.clone()).unwrap());
        let key = Connection::key_of(&connection().name).unwrap();
        let envelope =
            super::super::record::Envelope { format: 2, record, stamp_key_version: 1, stamp: Vec::new() };
        let then = Then::Put { body: envelope.encode_to_vec(), due: None };
        let change = Change { key: key.clone(), expect: Expect::Absent, then, room: Room::Needed };
        documents.swap(change).await.unwrap();
        let ledger = Ledger::new(documents.clone(), Arc::new(Credulous), clock);
        Self { documents, ledger, key }
    }

    async fn body(&self) -> Vec<u8> {
        self.documents.read(&self.key).await.unwrap().value.unwrap().body
    }
}

fn too_new() -> StoreError {
    StoreError::TooNew { key: "connection/t/c".into(), format: 2 }
}

#[tokio::test(start_paused = true)]
async fn a_newer_record_is_read_and_no_step_writes_over_it() {
    let record = [connection().encode(), vec![0xc2, 0x3e, 3, b'n', b'e', b'w']].concat();
    let rig = Rig::of_a_newer_program(record).await;
    let before = rig.body().await;
    let name = connection().name;
    let loaded = rig.ledger.read::<Connection>(&name).await.unwrap().unwrap();
    assert_eq!(loaded.record, connection());

    let wrote = rig.ledger.update(&loaded, &loaded.record, Room::Forced).await;
    assert_eq!(wrote, Err(too_new()));
    let amended = rig.ledger.amend(&name, too_new, |record: &mut Connection, _| {
        record.revision += 1;
        Ok(())
    });
    assert_eq!(amended.await.unwrap_err(), too_new());
    let open = |now: Moment| attempt(8, now);
    let claimed = rig.ledger.claim(&name, loaded.record.seen(), Ask::Operator, &profile(), open).await;
    assert_eq!(claimed.unwrap_err(), too_new());
    assert_eq!(rig.body().await, before);
}

#[tokio::test(start_paused = true)]
async fn a_newer_record_with_words_of_its_own_is_called_too_new_and_not_broken() {
    let mut record = connection().encode();
    let at = record.windows(6).position(|word| word == b"active").unwrap();
    record[at..at + 6].copy_from_slice(b"asleep");
    let rig = Rig::of_a_newer_program(record).await;
    let read = rig.ledger.read::<Connection>(&connection().name).await;
    assert_eq!(read.unwrap_err(), too_new());
}

/// A store whose owner puts back what was there before.
struct Owned {
    documents: Arc<dyn Documents>,
    ledger: Ledger,
    key: Key,
}

impl Owned {
    async fn new() -> Self {
        let clock = Arc::new(TokioClock::starting_at(START));
        let documents: Arc<dyn Documents> = Arc::new(Embedded::in_memory(clock.clone()).unwrap());
        let ledger = Ledger::new(documents.clone(), Arc::new(Credulous), clock);
        ledger.create(&connection()).await.unwrap();
        Self { documents, ledger, key: Connection::key_of(&connection().name).unwrap() }
    }

    async fn read(&self) -> Result<Option<Loaded<Connection>>, StoreError> {
        self.ledger.read::<Connection>(&connection().name).await
    }

    async fn now(&self) -> Option<Document> {
        self.documents.read(&self.key).await.unwrap().value
    }

    /// The first version, byte by byte.
    async fn put_back(&self, first: &Document) {
        if let Some(present) = self.now().await {
            let expect = Expect::At(present.version);
            let gone = Change { key: self.key.clone(), expect, then: Then::Delete, room: Room::Forced };
            self.documents.swap(gone).await.unwrap();
        }
        let then = Then::Put { body: first.body.clone(), due: None };
        let change = Change { key: self.key.clone(), expect: Expect::Absent, then, room: Room::Needed };
        self.documents.swap(change).await.unwrap();
        assert_eq!(self.now().await.unwrap(), *first);
    }
}

#[tokio::test(start_paused = true)]
async fn an_older_record_is_refused_by_who_has_seen_a_newer_one() {
    let owned = Owned::new().await;
    let first = owned.now().await.unwrap();
    let loaded = owned.read().await.unwrap().unwrap();
    owned.ledger.update(&loaded, &loaded.record, Room::Needed).await.unwrap();
    owned.put_back(&first).await;
    let refused = StoreError::RolledBack { key: owned.key.to_string() };
    assert_eq!(owned.read().await.unwrap_err(), refused);
    assert_eq!(owned.read().await.unwrap_err(), refused, "and again");
    let listed = owned.ledger.list::<Connection>("connection/", None, 10).await.unwrap();
    assert!(listed.items.is_empty(), "a list leaves it out");
    let clock = Arc::new(TokioClock::starting_at(START));
    let started_again = Ledger::new(owned.documents.clone(), Arc::new(Credulous), clock);
    assert!(started_again.read::<Connection>(&connection().name).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_does_not_come_back() {
    let owned = Owned::new().await;
    let first = owned.now().await.unwrap();
    let loaded = owned.read().await.unwrap().unwrap();
    owned.ledger.delete(&loaded).await.unwrap();
    assert!(owned.read().await.unwrap().is_none());
    owned.put_back(&first).await;
    assert!(matches!(owned.read().await, Err(StoreError::RolledBack { .. })));
    let anew = Connection { uid: uuid::Uuid::from_u128(77), ..connection() };
    owned.ledger.delete(&loaded).await.unwrap();
    owned.ledger.create(&anew).await.unwrap();
    assert_eq!(owned.read().await.unwrap().unwrap().record.uid, anew.uid, "one of the same name may be made");
}

/// A store on two nodes, one of which is an hour ahead of the other.
struct TwoNodes(Arc<dyn Documents>);

#[async_trait]
impl Documents for TwoNodes {
    async fn read(&self, key: &Key) -> Result<Dated<Option<Document>>, StoreError> {
        let mut read = self.0.read(key).await?;
        if key.as_str().ends_with("/ahead") {
            read.store_now = read.store_now.plus(HOUR);
        }
        Ok(read)
    }

    async fn swap(&self, change: Change) -> Result<Dated<Swapped>, StoreError> {
        self.0.swap(change).await
    }

    fn shards(&self) -> u16 {
        self.0.shards()
    }

    async fn due(&self, shard: u16, skip: usize, limit: usize) -> Result<Dated<Due>, StoreError> {
        self.0.due(shard, skip, limit).await
    }

    async fn scan(
        &self,
        prefix: &str,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Document>, StoreError> {
        self.0.scan(prefix, after, limit).await
    }

    async fn changes(&self) -> Result<Box<dyn Feed>, StoreError> {
        self.0.changes().await
    }
}

/// Takes its time over the record of the other node, and tells when it has it.
#[derive(Default)]
struct Slow {
    begun: Notify,
    goes_on: Notify,
}

#[async_trait]
impl Stamper for Slow {
    async fn stamp(&self, place: &Place<'_>, record: &[u8]) -> Result<Stamp, StoreError> {
        Credulous.stamp(place, record).await
    }

    async fn check(&self, place: &Place<'_>, _: &[u8], _: &Stamp) -> Result<(), StoreError> {
        if !place.key.as_str().ends_with("/ahead") {
            self.begun.notify_one();
            self.goes_on.notified().await;
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_judged_by_the_clock_of_the_node_that_gave_the_record() {
    let clock = Arc::new(TokioClock::starting_at(START));
    let documents: Arc<dyn Documents> = Arc::new(Embedded::in_memory(clock.clone()).unwrap());
    let writer = Ledger::new(documents.clone(), Arc::new(Credulous), clock.clone());
    let claimed = Connection { attempt: Some(attempt(1, writer.now())), ..connection() };
    let ahead = Connection { name: "tenants/t/connections/ahead".parse().unwrap(), ..connection() };
    for record in [&claimed, &ahead] {
        writer.create(record).await.unwrap();
    }
    let slow = Arc::new(Slow::default());
    let ledger = Ledger::new(Arc::new(TwoNodes(documents)), slow.clone(), clock);
    let (open, profile) = (|now: Moment| attempt(2, now), profile());
    let claim = ledger.claim(&claimed.name, claimed.seen(), Ask::Scheduler, &profile, open);
    let meanwhile = async {
        slow.begun.notified().await;
        ledger.read::<Connection>(&ahead.name).await.unwrap();
        slow.goes_on.notify_one();
    };
    let (outcome, ()) = tokio::join!(claim, meanwhile);
    let lease_until = claimed.attempt.unwrap().lease_until;
    assert!(matches!(outcome.unwrap(), Claimed::Busy { until } if until == lease_until));
}
