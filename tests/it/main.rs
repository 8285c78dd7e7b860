//! The daemon among devstack's peers, from outside.

mod posting;
mod process;
mod shutdown;
mod support;
mod tick;
mod whole_day;
