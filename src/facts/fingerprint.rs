//! The number under which equal failures are counted together.

use sha2::{Digest, Sha256};

use super::template::canonical;
use crate::domain::{Blame, Cause};

/// Version of the template and of the fingerprint. A change that gives known failures another fingerprint needs
/// another version.
pub const FINGERPRINT: u32 = 1;

/// The alphabet of RFC 4648, in which people say the id of an issue.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Identifies an issue: failures with the same cause, at the same tool, with the same template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub i64);

impl Fingerprint {
    /// The fingerprint of a failure. The tool is left out for causes that concern no single tool, see
    /// [`leaves_tool_out`].
    pub fn of(cause: Cause, tool: Option<&str>, template: &str) -> Self {
        let tool = tool.filter(|_| !leaves_tool_out(cause)).unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(FINGERPRINT.to_be_bytes());
        for part in [cause.as_str(), tool, &canonical(template)] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = hash.finalize().into();
        Self(i64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }

    /// The id of the issue: `F-` and 4 characters, which are the first 20 bits.
    pub fn short_id(self) -> String {
        self.id(4)
    }

    /// The id of an issue whose short id is taken: `F-` and 6 characters, which are the first 30 bits.
    pub fn long_id(self) -> String {
        self.id(6)
    }

    fn id(self, length: u32) -> String {
        let bits = self.0.cast_unsigned();
        let character = |n| char::from(BASE32[(bits >> (59 - 5 * n)) as usize % BASE32.len()]);
        "F-".chars().chain((0..length).map(character)).collect()
    }
}

/// Whether failures of this cause are one issue whatever the tool: one missing vault fails in four modules.
pub fn leaves_tool_out(cause: Cause) -> bool {
    cause == Cause::Coded || cause.blame() == Blame::Infra
}
