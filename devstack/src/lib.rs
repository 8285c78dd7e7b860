//! Embedded peers of the persona runner, over real sockets: mana-auth, mana-mcp and a scripted Claude.
//!
//! Each peer behaves as `shared/contracts` recorded it and refuses what the real one refuses. Tests
//! and the demo start a whole [`Devstack`]; every peer records the requests it received
//! ([`recorder::Recorder`]), can be told to fail at the socket ([`fault::Faults`]), and reads the
//! time from one [`clock::Clock`] that can be set and sped up.

pub mod auth;
pub mod catalog;
pub mod claude;
pub mod clock;
pub mod fault;
pub mod jwt;
pub mod mcp;
pub mod recorder;
pub mod wire;
