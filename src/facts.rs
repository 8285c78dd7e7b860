//! What runs teach, as facts. Pure: no clock, no I/O, no database.

mod fingerprint;
mod template;

pub use fingerprint::Fingerprint;
pub use template::template;
pub(crate) use template::{code_of, rejected_fields};
