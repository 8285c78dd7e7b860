//! Tells the code which commit it is built from: RUNNER_COMMIT of the environment, or what git says.
//!
//! Git is asked for release builds only, so that a commit does not rebuild every test.

#![allow(
    clippy::disallowed_methods,
    reason = "cargo tells a build script what it needs in the environment"
)]

use std::{env, path::Path, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUNNER_COMMIT");
    let given = env::var("RUNNER_COMMIT").ok().filter(|commit| is_plain(commit));
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = given.or_else(|| is_release.then(commit_of_git).flatten());
    println!("cargo::rustc-env=RUNNER_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
}

/// The commit that is checked out here; `None` outside git.
fn commit_of_git() -> Option<String> {
    // A copy of the sources inside somebody else's repository is not that repository's commit.
    if !Path::new(".git").exists() {
        return None;
    }
    // Every commit and checkout writes this file. Where git keeps none, watching it would rebuild always.
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&log).exists()
    {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "--short=12", "HEAD"]).filter(|commit| is_plain(commit))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Whether it can stand in a label, a header and a line.
fn is_plain(commit: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=64).contains(&commit.len()) && commit.chars().all(fits)
}
