//! The password of a persona's account, derived and never stored.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length the seeding script cuts passwords to.
const LENGTH: usize = 32;

/// The password of the account with this e-mail: HMAC-SHA256 with the seed secret as key and the
/// e-mail as message, in standard base64 without everything but `[A-Za-z0-9]`, first 32 characters.
/// Bit-identical to what the seeding script does (docs/contracts/mana-auth.md), or every persona is
/// locked out.
pub fn derive_password(seed_secret: &str, email: &str) -> String {
    #[allow(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(seed_secret.as_bytes())
        .expect("HMAC takes keys of any length");
    mac.update(email.as_bytes());
    STANDARD
        .encode(mac.finalize().into_bytes())
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(LENGTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_those_of_the_contract() {
        const DEV: &str = "dev-persona-seed-secret-rotate-in-prod";
        for (secret, email, password) in [
            (DEV, "persona.anna@mana.test", "1FJ7w8KbjK5CWVa8NqfobexAFNuQKxiA"),
            (DEV, "persona.maya@mana.test", "cGqE8D7hwpIKvyjBql7vJAXAvbBlepEZ"),
            (
                "local-persona-seed-secret",
                "persona.anna@mana.test",
                "oWivDds0io9RY2Me1ITRVfENcgoLWaBD",
            ),
            ("ünï-cödé secret", "persona.jörg@mana.test", "PZMvEYzimr4aMXckVncecxd1LLqWWTdA"),
            ("s", "persona.p526@mana.test", "bG0cH369YxOeehrlZhfKVp46BjZ2bBqJ"),
        ] {
            assert_eq!(derive_password(secret, email), password, "{email}");
        }
    }
}
