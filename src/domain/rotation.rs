//! A client's secret changed at the provider and here, step by step. Each step is written down before the next is
//! taken, so that a rotation that broke off goes on where it was: calling again is all there is to do. Until the new
//! secret has proven itself, nothing happens to the old one.

use super::{
    client::{Client, SecretsError},
    credential::{Said, StoredSecret, Verdict},
};
use crate::clock::Timestamp;
use uuid::Uuid;

/// A rotation under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    pub started_at: Timestamp,
    pub stage: RotationStage,
    /// The provider's id of the old secret, and ours.
    pub old: String,
    pub old_secret: Uuid,
    /// Secrets that the provider had when the rotation began, by its own ids: another one is what a lost answer left.
    pub known: Vec<String>,
    /// The provider's id of the new secret and ours, once there is one.
    pub new: Option<(String, Uuid)>,
}

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RotationStage {
    Begun,
    /// The new secret is here, sealed.
    Created,
    /// The provider takes it.
    Activated,
    /// The provider has taken it, and it is preferred.
    Proven,
    /// The provider does not take the old one any more.
    Deactivated,
    /// The provider has forgotten it.
    Deleted,
}

/// A secret as the provider lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub id: String,
    pub status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Active,
    Inactive,
}

/// Why a rotation does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    #[error("a rotation begins with one active secret here: retire the other one first")]
    HereNotOne,
    #[error(
        "the provider has more than one active secret, and does not tell which is the one here: switch the other off first"
    )]
    ThereNotOne,
}

impl Rotation {
    /// With one secret here and one there it is certain that they are the same.
    pub fn begun(client: &Client, listed: &[Listed], now: Timestamp) -> Result<Self, NotBegun> {
        let here: Vec<_> = client.active_secrets().map(|(secret, _)| secret.id).collect();
        let there: Vec<_> = listed.iter().filter(|one| one.status == Status::Active).collect();
        let &[old_secret] = here.as_slice() else { return Err(NotBegun::HereNotOne) };
        let &[old] = there.as_slice() else { return Err(NotBegun::ThereNotOne) };
        Ok(Self {
            started_at: now,
            stage: RotationStage::Begun,
            old: old.id.clone(),
            old_secret,
            known: listed.iter().map(|one| one.id.clone()).collect(),
            new: None,
        })
    }

    /// Whether one of ours is the old or the new secret of it.
    pub fn is_about(&self, secret: Uuid) -> bool {
        self.old_secret == secret || self.new.as_ref().is_some_and(|(_, new)| *new == secret)
    }

    /// Inactive secrets that came since it began: of an answer that was lost, with a value that nobody has.
    pub fn lost<'a>(&'a self, listed: &'a [Listed]) -> impl Iterator<Item = &'a str> {
        let of_ours = self.new.as_ref().map(|(id, _)| id);
        listed
            .iter()
            .filter(move |one| one.status == Status::Inactive && Some(&one.id) != of_ours)
            .filter(|one| !self.known.contains(&one.id))
            .map(|one| one.id.as_str())
    }
}

impl Client {
    /// The old secret stays the first that is tried until the new one has proven itself.
    pub fn begin_rotation(&mut self, rotation: Rotation, now: Timestamp) {
        self.preferred = Some(rotation.old_secret);
        self.rotation = Some(rotation);
        self.changed(now);
    }

    /// The provider gave a new secret.
    pub fn rotation_created(
        &mut self,
        id: &str,
        secret: StoredSecret,
        now: Timestamp,
    ) -> Result<(), SecretsError> {
        let (uid, hold) = (secret.id, self.hold.clone());
        self.add_secret(secret, now)?;
        // It is no good yet, so it heals nothing.
        self.hold = hold;
        if let Some(rotation) = &mut self.rotation {
            rotation.new = Some((id.to_owned(), uid));
            rotation.stage = RotationStage::Created;
        }
        Ok(())
    }

    /// A step of the rotation was taken at the provider.
    pub fn rotation_at(&mut self, stage: RotationStage, now: Timestamp) {
        let Some(rotation) = &mut self.rotation else { return };
        rotation.stage = stage;
        if let (RotationStage::Proven, Some((_, secret))) = (stage, rotation.new.clone()) {
            self.fared(&[Verdict { secret, said: Said::Accepted }], now);
        }
    }

    /// The last step: the old secret goes here too.
    pub fn end_rotation(&mut self, now: Timestamp) -> Result<(), SecretsError> {
        let Some(rotation) = self.rotation.take() else { return Ok(()) };
        match self.retire_secret(rotation.old_secret, now) {
            // Somebody was faster.
            Ok(()) | Err(SecretsError::NotFound) => Ok(()),
            Err(err @ (SecretsError::TooMany | SecretsError::Last)) => Err(err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::{START, client, id, secret};

    fn listed(secrets: &[(&str, Status)]) -> Vec<Listed> {
        secrets.iter().map(|(id, status)| Listed { id: (*id).to_owned(), status: *status }).collect()
    }

    #[test]
    fn a_rotation_begins_only_where_it_is_certain_which_secret_is_which() {
        use Status::{Active, Inactive};
        type Case<'a> = (&'a Client, &'a [(&'a str, Status)], Result<&'a str, NotBegun>);
        let one = client();
        let mut two = client();
        two.add_secret(secret(11), START).unwrap();
        let cases: [Case<'_>; 5] = [
            (&one, &[("a", Active)], Ok("a")),
            (&one, &[("a", Inactive), ("b", Active)], Ok("b")),
            (&one, &[("a", Active), ("b", Active)], Err(NotBegun::ThereNotOne)),
            (&one, &[], Err(NotBegun::ThereNotOne)),
            (&two, &[("a", Active)], Err(NotBegun::HereNotOne)),
        ];
        for (client, there, want) in cases {
            let begun = Rotation::begun(client, &listed(there), START).map(|rotation| rotation.old);
            assert_eq!(begun, want.map(str::to_owned), "{there:?}");
        }
    }

    #[test]
    fn the_old_secret_is_preferred_until_the_new_one_is_proven_and_retired_at_the_end() {
        let mut client = client();
        let there = listed(&[("a", Status::Active)]);
        let rotation = Rotation::begun(&client, &there, START).unwrap();
        client.begin_rotation(rotation, START);
        client.rotation_created("b", secret(11), START).unwrap();
        let order = |client: &Client| client.active_secrets().map(|(one, _)| one.id).collect::<Vec<_>>();
        assert_eq!(order(&client), [id(10), id(11)]);
        client.rotation_at(RotationStage::Activated, START);
        assert_eq!(order(&client), [id(10), id(11)]);
        client.rotation_at(RotationStage::Proven, START);
        assert_eq!(order(&client), [id(11), id(10)]);
        client.end_rotation(START).unwrap();
        assert_eq!((order(&client), client.rotation.clone()), (vec![id(11)], None));
        client.end_rotation(START).unwrap();
    }

    #[test]
    fn what_a_lost_answer_left_is_told_from_what_was_there_and_from_ours() {
        use Status::{Active, Inactive};
        let before = listed(&[("old", Active), ("spare", Inactive)]);
        let mut rotation = Rotation::begun(&client(), &before, START).unwrap();
        let after = listed(&[("old", Active), ("spare", Inactive), ("x", Inactive), ("y", Active)]);
        assert_eq!(rotation.lost(&after).collect::<Vec<_>>(), ["x"]);
        rotation.new = Some(("x".into(), id(11)));
        assert_eq!(rotation.lost(&after).count(), 0);
    }
}
