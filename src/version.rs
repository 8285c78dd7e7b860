//! What was built, from which commit.

/// The version of the package.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit a release was built from, as build.rs found it; `unknown` in a debug build and where
/// nobody knows.
pub const COMMIT: &str = env!("RUNNER_COMMIT");

/// Both, for people.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("RUNNER_COMMIT"), ")");
