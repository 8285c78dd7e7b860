//! The session cookie: `<token>.<signature>`, as the service signs and reads it.

use aws_lc_rs::{error::Unspecified, hmac, rand::SystemRandom};
use axum::http::{HeaderMap, header::COOKIE};
use base64::{Engine, engine::general_purpose::STANDARD};
use url::form_urlencoded;

/// Lifetime of a session, in seconds.
pub(super) const LIFETIME_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Signs session tokens for cookies, and verifies and reads them from cookies.
pub(super) struct SessionCookie {
    key: hmac::Key,
    https: bool,
}

impl SessionCookie {
    /// Generates a new key. `https`: name and attributes as set by a service with an https base URL.
    pub(super) fn generate(https: bool) -> Result<Self, Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, https })
    }

    fn name(&self) -> &'static str {
        if self.https { "__Secure-mana.session_token" } else { "mana.session_token" }
    }

    /// The value of Set-Cookie for this session.
    pub(super) fn set(&self, token: &str) -> String {
        let signature = STANDARD.encode(hmac::sign(&self.key, token.as_bytes()));
        // Percent-encoded, as the service sends it: a client must return the value unchanged.
        let signature: String = form_urlencoded::byte_serialize(signature.as_bytes()).collect();
        let name = self.name();
        let scope = if self.https { " Domain=mana.test; Secure;" } else { "" };
        format!(
            "{name}={token}.{signature}; Max-Age={LIFETIME_SECONDS};{scope} Path=/; HttpOnly; SameSite=Lax"
        )
    }

    /// The session token of a request, if it carries a cookie with a good signature.
    pub(super) fn token(&self, headers: &HeaderMap) -> Option<String> {
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(name, _)| *name == self.name())
            .find_map(|(_, value)| self.verified(value))
    }

    fn verified(&self, value: &str) -> Option<String> {
        let (token, signature) = value.split_once('.')?;
        // Percent-decoded as a cookie value, not as a form value, in which a plus would be a space.
        let query = format!("signature={}", signature.replace('+', "%2B"));
        let (_, signature) = form_urlencoded::parse(query.as_bytes()).next()?;
        let signature = STANDARD.decode(signature.as_bytes()).ok()?;
        hmac::verify(&self.key, token.as_bytes(), &signature).ok()?;
        Some(token.to_owned())
    }
}
