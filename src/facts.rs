//! What runs teach, as facts. Pure: no clock, no I/O, no database.

mod fingerprint;
mod template;

pub use fingerprint::{FINGERPRINT, Fingerprint, leaves_tool_out};
pub use template::{code_of, rejected_fields, template};
