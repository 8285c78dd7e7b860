//! The daemon among devstack's peers, from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod budget;
mod control;
mod cost;
mod diag;
mod diag_guard;
mod earlier_version;
mod echoes;
mod env_example;
mod fleet;
mod full_disk;
mod gauges;
mod hard_day;
mod health_and_metrics;
mod hostile_clients;
mod login;
mod login_refused;
mod main_turn;
mod metrics_bounds;
mod metrics_table;
mod model_failures;
mod model_stopped;
mod natures;
mod odd_text;
mod owed_ratings;
mod panics;
mod personal_space;
mod policy;
mod posting;
mod process;
mod rating;
mod ready;
mod resume;
mod resume_cut_short;
mod script;
mod session_renewal;
mod shutdown;
mod support;
mod thinking;
mod tick;
mod tool_calls;
mod tool_sessions;
mod tools;
mod vault;
mod whole_day;
