//! The daemon among devstack's peers, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod diag;
mod diag_guard;
mod env_example;
mod health_and_metrics;
mod login;
mod login_refused;
mod personal_space;
mod posting;
mod process;
mod shutdown;
mod support;
mod tick;
mod vault;
mod whole_day;
