//! Stored password hashes, and the random text for ids and session tokens.

use aws_lc_rs::{constant_time, error::Unspecified, rand};
use scrypt::Params;

/// A salted scrypt hash. Its cost is chosen for tests: about a millisecond in a debug build, so it needs no
/// thread of its own.
pub(super) struct PasswordHash {
    pub salt: Vec<u8>,
    pub hash: Vec<u8>,
}

impl PasswordHash {
    /// Hashes a password under a fresh salt.
    pub(super) fn of(password: &str) -> Result<Self, Unspecified> {
        let mut salt = vec![0; 16];
        rand::fill(&mut salt)?;
        let hash = derive(password, &salt).ok_or(Unspecified)?;
        Ok(Self { salt, hash })
    }

    /// Whether `password` has this hash.
    pub(super) fn matches(&self, password: &str) -> bool {
        derive(password, &self.salt)
            .is_some_and(|hash| constant_time::verify_slices_are_equal(&hash, &self.hash).is_ok())
    }
}

fn derive(password: &str, salt: &[u8]) -> Option<Vec<u8>> {
    let cost = Params::new(4, 1, 1).ok()?;
    let mut hash = vec![0; 32];
    scrypt::scrypt(password.as_bytes(), salt, &cost, &mut hash).ok()?;
    Some(hash)
}

/// 32 random letters and digits.
pub(super) fn random_id() -> Result<String, Unspecified> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut id = String::with_capacity(32);
    while id.len() < 32 {
        let mut bytes = [0; 48];
        rand::fill(&mut bytes)?;
        // Two of the 64 values have no letter and are skipped.
        let letters = bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 63)));
        id.extend(letters.take(32 - id.len()).map(|letter| char::from(*letter)));
    }
    Ok(id)
}
