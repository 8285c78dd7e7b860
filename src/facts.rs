//! Facts: what runs have learned about the product, and what follows from it.
//!
//! Everything here is pure: the same facts give the same answer. Nothing reads a clock, draws random numbers
//! or does I/O.

pub mod coverage;
pub mod line;
pub mod share;
pub mod state;
