//! The JWTs that mana-auth issues and mana-mcp verifies: EdDSA, with the claims of the running service.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, errors::ErrorKind,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Lifetime of a JWT, in seconds (docs/contracts/mana-auth.md).
pub const LIFETIME_SECONDS: i64 = 900;
const AUDIENCE: &str = "mana";
const KEY_ID: &str = "devstack-1";

/// The claims of a JWT.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    /// Id of the user that the token was issued for.
    pub sub: String,
    /// E-mail of the user.
    pub email: String,
    /// Role of the user.
    pub role: String,
    /// Id of the session that the token was issued from.
    pub sid: String,
    /// Access tier of the user.
    pub tier: String,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
    /// Issuer: the base URL of mana-auth.
    pub iss: String,
    /// Audience of the token; always `mana`.
    pub aud: String,
}

/// Why a JWT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token has no valid signature of this key pair, or other claims than expected.
    #[error("invalid token")]
    Invalid,
    /// The token's `exp` has passed.
    #[error("token expired")]
    Expired,
}

/// The key pair of a deployment. Clones share the key.
#[derive(Clone)]
pub struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// No key pair could be generated.
#[derive(Debug, thiserror::Error)]
#[error("generating an Ed25519 key failed")]
pub struct KeyError;

impl Keys {
    /// Generates an Ed25519 key pair.
    ///
    /// # Errors
    /// When the system provides no random bytes.
    pub fn generate() -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::generate().map_err(|_| KeyError)?;
        let document = pair.to_pkcs8v1().map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self {
            encoding: EncodingKey::from_ed_der(document.as_ref()),
            decoding: DecodingKey::from_ed_der(&public),
            public,
        })
    }

    /// A JWT for this user, issued at `now`.
    pub fn issue(
        &self,
        user_id: &str,
        email: &str,
        session: &str,
        iss: &str,
        now: Timestamp,
    ) -> String {
        let claims = Claims {
            sub: user_id.into(),
            email: email.into(),
            role: "user".into(),
            sid: session.into(),
            tier: "founder".into(),
            iat: now.as_second(),
            exp: now.as_second() + LIFETIME_SECONDS,
            iss: iss.into(),
            aud: AUDIENCE.into(),
        };
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::EdDSA) };
        // Plain strings and numbers under a valid key: encoding cannot fail.
        encode(&header, &claims, &self.encoding).unwrap_or_default()
    }

    /// Checks signature, audience and expiry at `now`.
    ///
    /// # Errors
    /// The reason why the token is refused.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, Refused> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_audience(&[AUDIENCE]);
        // The peers' clock can differ from the machine's clock, so expiry is checked below.
        validation.validate_exp = false;
        let claims = decode::<Claims>(token, &self.decoding, &validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Refused::Expired,
                _ => Refused::Invalid,
            })?
            .claims;
        if claims.exp <= now.as_second() { Err(Refused::Expired) } else { Ok(claims) }
    }

    /// The JSON Web Key Set that mana-auth publishes.
    pub fn jwks(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(&self.public),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_token_is_valid_until_its_lifetime_has_passed_and_only_under_its_own_key() {
        let (keys, other) = (Keys::generate().unwrap(), Keys::generate().unwrap());
        let now = Timestamp::now();
        let token = keys.issue("u1", "a@mana.test", "s1", "http://auth", now);
        let claims = keys.verify(&token, now + Duration::from_secs(899)).unwrap();
        assert_eq!((claims.sub.as_str(), claims.exp - claims.iat), ("u1", 900));
        assert_eq!(
            keys.verify(&token, now + Duration::from_secs(900)).unwrap_err(),
            Refused::Expired
        );
        assert_eq!(other.verify(&token, now).unwrap_err(), Refused::Invalid);
    }
}
