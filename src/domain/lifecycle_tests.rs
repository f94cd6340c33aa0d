//! When a token is served and renewed, as tables.
