//! Transitions of a record, as tables.
