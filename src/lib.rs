//! The daemon that brings Mana's test personas to life.
//!
//! Every tick it asks which personas are due. For each it logs in as that user, opens an MCP session,
//! lets Claude spend a short simulated day with the product's own tools, asks the persona to rate
//! what it used, and hands actions and ratings back. README.md tells how to run it, docs/architecture.md
//! shows the way of a persona through the code, and CLAUDE.md has the rules for a change.
//!
//! Dependencies between modules point one way: [`domain`], then [`config`], [`clock`], [`descriptors`],
//! [`telemetry`], [`metrics`], [`pricing`], [`shutdown`] and [`version`], then [`http`], [`clients`], [`agent`], [`journal`], [`runner`],
//! [`server`] and [`app`].

#![allow(
    rustdoc::private_intra_doc_links,
    reason = "the documentation of a program is for who changes it: `.ci/run` builds that of private items too"
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
pub mod healthcheck;
pub mod http;
pub mod journal;
pub mod metrics;
pub mod pricing;
mod runner;
mod server;
pub mod shutdown;
pub mod signals;
pub mod telemetry;
pub mod version;
