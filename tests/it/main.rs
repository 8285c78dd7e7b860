//! The daemon among devstack's peers, from outside.

mod env_example;
mod support;
mod whole_day;
