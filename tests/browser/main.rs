//! The page /ui in Debian's Chromium: the compiled daemon with a journal of two weeks, read as people read it.
//! `.ci/browser` runs these tests and says what they need; without it they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![allow(clippy::disallowed_methods, reason = "a test sends, spawns and reads clocks as it needs")]

mod access;
mod axe;
mod browser;
mod filters;
mod hostile;
mod live;
mod lived;
mod looks;
mod monday;
mod plain;
mod routes;
mod stage;
