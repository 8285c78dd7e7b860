//! The daemon among devstack's peers, from outside.

mod support;
mod whole_day;
