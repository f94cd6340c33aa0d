//! Labels of a resource, and what an update does to them.

use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// What becomes of the labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelPatch {
    /// These and no others.
    Replace(Labels),
    /// Each of these is set, or removed; the others stay.
    Merge(BTreeMap<String, Option<String>>),
}

impl LabelPatch {
    pub fn apply(&self, labels: &mut Labels) {
        match self {
            Self::Replace(new) => labels.clone_from(new),
            Self::Merge(changes) => {
                for (key, value) in changes {
                    match value {
                        Some(value) => drop(labels.insert(key.clone(), value.clone())),
                        None => drop(labels.remove(key)),
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_replaced_or_changed_one_by_one() {
        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let mut kept = labels(&[("plan", "gold"), ("trial", "yes"), ("team", "pay")]);
        let changes = [("plan".to_owned(), Some("silver".to_owned())), ("trial".to_owned(), None)].into();
        LabelPatch::Merge(changes).apply(&mut kept);
        assert_eq!(kept, labels(&[("plan", "silver"), ("team", "pay")]));
        LabelPatch::Replace(labels(&[("a", "b")])).apply(&mut kept);
        assert_eq!(kept, labels(&[("a", "b")]));
    }
}
