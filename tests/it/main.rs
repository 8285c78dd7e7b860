//! The daemon among devstack's peers, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod env_example;
mod support;
mod whole_day;
