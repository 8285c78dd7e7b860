//! The daemon among devstack's peers, from outside.

#![allow(clippy::unwrap_used, reason = "a test may fail that way")]

mod echoes;
mod main_turn;
mod model_failures;
mod rating;
mod script;
mod support;
mod tool_calls;
mod tool_sessions;
mod tools;
mod whole_day;
