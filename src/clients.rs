//! The clients of the runner's peers, one for each peer. A client keeps its wire types to itself, and no
//! client uses another.

pub mod auth;
pub mod claude;
pub mod mcp;
pub mod personas;
pub mod product;
pub mod webhook;
