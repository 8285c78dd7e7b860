//! The password of a persona's account. It is derived and never stored.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Length of a password, in characters. The seeding script cuts passwords to it.
const LENGTH: usize = 32;

/// The password of the account with this e-mail: HMAC-SHA256 with the seed secret as key and the e-mail as
/// message, in standard base64, without the characters outside `[A-Za-z0-9]`, cut to 32 characters. It must
/// be bit-identical to the password of the seeding script (docs/contracts/mana-auth.md); otherwise no persona
/// can log in.
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
