//! Table of outcomes. The Concur codes are tested beside their profile.
