//! The daemon among devstack's peers, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod posting;
mod process;
mod shutdown;
mod support;
mod tick;
mod whole_day;
