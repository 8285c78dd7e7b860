//! The daemon among devstack's peers, from outside.

mod main_turn;
mod script;
mod support;
mod tool_calls;
mod tool_sessions;
mod tools;
mod whole_day;
