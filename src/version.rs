//! Version and commit of this build.

/// The version of the package in Cargo.toml.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit that a release was built from, as build.rs found it. `unknown` in a debug build, and where
/// build.rs found no commit.
pub const COMMIT: &str = env!("RUNNER_COMMIT");

/// Version and commit as one text, such as `1.2.3 (abcdef)`, for people.
pub const VERSION_AND_COMMIT: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("RUNNER_COMMIT"), ")");
