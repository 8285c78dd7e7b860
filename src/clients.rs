//! The runner's peers, one client each. Wire types stay inside; no client knows another.

pub mod auth;
pub mod claude;
pub mod mcp;
pub mod personas;
