//! The daemon among devstack's peers, from outside.

mod main_turn;
mod script;
mod support;
mod whole_day;
