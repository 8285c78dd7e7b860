//! `.env.example` documents each environment variable with its default.

use std::{collections::BTreeSet, ffi::OsString};

use mana_persona_runner::config::Config;

const EXAMPLE: &str = include_str!("../../.env.example");

fn variables() -> Vec<(&'static str, &'static str)> {
    let lines = EXAMPLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').expect("NAME=value")).collect()
}

#[test]
fn env_example_lists_every_variable_once_and_no_other() {
    let names: Vec<_> = variables().into_iter().map(|(name, _)| name).collect();
    let documented: BTreeSet<_> = names.iter().copied().collect();
    assert_eq!(documented.len(), names.len(), "a variable is there twice");
    assert_eq!(documented, Config::variables().into_iter().collect());
}

#[test]
fn env_example_shows_the_default_of_each_variable() {
    let set = variables().into_iter().map(|(k, v)| (OsString::from(k), OsString::from(v)));
    let example = Config::from_vars(set).expect("the example is a good configuration");
    let defaults = Config::from_vars([]).expect("no variable has to be set");
    assert_eq!(format!("{example:?}"), format!("{defaults:?}"));
}
