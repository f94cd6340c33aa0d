//! Records round-trip.
