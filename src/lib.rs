//! The daemon that plays Mana's test personas.
//!
//! In every tick the daemon asks the personas endpoint which personas are due. For each due persona it logs
//! in as that user, opens an MCP session, lets Claude spend a short simulated day with the product's own
//! tools, asks the persona to rate the modules it used, and hands in the actions and ratings. README.md says
//! how to run the daemon, docs/architecture.md shows the way of a persona through the code, and CLAUDE.md has
//! the rules for a change.
//!
//! Dependencies between modules point one way. From the lowest layer to the highest: [`domain`] and [`statistics`]; then [`facts`]; then [`report`]; then
//! [`config`], [`clock`], [`descriptors`], [`telemetry`], [`metrics`], [`pricing`], [`shutdown`],
//! [`version`] and [`whole_file`]; then [`http`], [`clients`], [`agent`], [`journal`], [`runner`], [`ui`], [`server`] and [`app`].

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "developers of this program read its documentation; `.ci/run` builds that of private items too"
)]
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "a test sends, spawns and reads clocks as it needs"
    )
)]

pub mod agent;
pub mod app;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod descriptors;
pub mod domain;
pub mod facts;
pub mod healthcheck;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod pricing;
pub mod report;
mod runner;
mod server;
pub mod shutdown;
pub mod signals;
pub mod statistics;
pub mod telemetry;
mod ui;
pub mod version;
mod whole_file;
