//! The JSON and the cookies of mana-auth.

use std::time::Duration;

use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::{domain::json_text, http::LONGEST_RETRY_AFTER};

/// How long an account is locked if mana-auth does not say it (docs/contracts/mana-auth.md).
const LOCKED_FOR: Duration = Duration::from_secs(1_800);

/// The answer to a login of either kind. After /api/auth/sign-in/email, the cookie is used and not the
/// tokens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Login {
    pub user: User,
    /// The JWT in the answer of the running service.
    access_token: Option<String>,
    /// An opaque session token, or the JWT in a deployment as the seeds describe it.
    token: Option<String>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub id: String,
}

impl Login {
    /// The values that must not appear in any text.
    pub(super) fn secrets(&self) -> Vec<String> {
        let all = [&self.access_token, &self.token, &self.refresh_token];
        all.into_iter().flatten().cloned().collect()
    }

    pub(super) fn jwt(&self) -> Option<String> {
        let mut given = [&self.access_token, &self.token].into_iter().flatten();
        given.find(|token| !token.is_empty()).cloned()
    }
}

/// The answer of /api/auth/token, with a fresh JWT.
#[derive(Deserialize)]
pub(super) struct Token {
    pub token: String,
}

/// The id of an entry of /api/auth/organization/list, if its metadata says `"type":"personal"`. The metadata
/// is an object, or that object as a JSON string. Other entries may have any form.
pub(super) fn personal_id(entry: &Value) -> Option<&str> {
    let metadata = match &entry["metadata"] {
        Value::String(text) => json_text::parse(text.as_bytes()).unwrap_or_default(),
        object => object.clone(),
    };
    entry["id"].as_str().filter(|_| metadata["type"] == "personal")
}

/// How long the account is locked, if the refusal says that it is. `asked` is the wait in the answer's
/// headers.
pub(super) fn lock_in(refusal: &[u8], asked: Option<Duration>) -> Option<Duration> {
    let refusal: Value = json_text::parse(refusal).unwrap_or_default();
    let in_body = refusal["retryAfterSec"].as_u64().map(Duration::from_secs);
    let lock = asked.or(in_body).map_or(LOCKED_FOR, |lock| lock.min(LONGEST_RETRY_AFTER));
    (refusal["error"] == "ACCOUNT_LOCKED").then_some(lock)
}

/// `name=value` of the session cookie, which is sent back unchanged. The name has a prefix if the service's
/// own base URL is https. A cookie jar would drop such a cookie over plain http in the compose network.
pub(super) fn session_cookie(headers: &HeaderMap) -> Option<SecretString> {
    headers.get_all(header::SET_COOKIE).iter().find_map(|cookie| {
        let pair = cookie.to_str().ok()?.split(';').next()?.trim();
        let (name, value) = pair.split_once('=')?;
        (name.ends_with("session_token") && !value.is_empty()).then(|| pair.into())
    })
}

/// Every form in which a peer could echo the cookie: the whole cookie, its value, the value percent-decoded,
/// and the token in the value.
pub(super) fn spellings_of_cookie(cookie: &SecretString) -> Vec<String> {
    let whole = cookie.expose_secret();
    let value = whole.split_once('=').map_or(whole, |(_, value)| value);
    let form = format!("v={}", value.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(form.as_bytes()).map(|(_, value)| value.into_owned());
    let decoded = decoded.take(1).collect();
    let token = value.split('.').next().unwrap_or_default();
    vec![whole.to_owned(), value.to_owned(), decoded, token.to_owned()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cookie(headers: &[&str]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|value| (header::SET_COOKIE, value.parse().unwrap()))
            .collect::<HeaderMap>();
        session_cookie(&headers).map(|cookie| cookie.expose_secret().to_owned())
    }

    #[test]
    fn the_session_cookie_is_found_among_others_and_taken_verbatim() {
        let plain = "mana.session_token=abc.d%2Be%3D; Max-Age=604800; Path=/; HttpOnly";
        assert_eq!(
            cookie(&["theme=dark; Path=/", plain]).as_deref(),
            Some("mana.session_token=abc.d%2Be%3D")
        );
        let secure = "__Secure-mana.session_token=x.y; Domain=mana.how; Secure";
        assert_eq!(cookie(&[secure]).as_deref(), Some("__Secure-mana.session_token=x.y"));
        assert_eq!(cookie(&["mana.session_token=; Max-Age=0", "a=b"]), None);
    }

    #[test]
    fn no_lockout_is_longer_than_a_day() {
        for (error, told, believed) in [
            ("ACCOUNT_LOCKED", json!(60), Some(Duration::from_secs(60))),
            ("ACCOUNT_LOCKED", json!(1_800_000), Some(LONGEST_RETRY_AFTER)),
            ("ACCOUNT_LOCKED", json!("x"), Some(LOCKED_FOR)),
            ("RATE_LIMITED", json!(60), None),
        ] {
            let refusal = json!({"error": error, "retryAfterSec": told}).to_string();
            assert_eq!(lock_in(refusal.as_bytes(), None), believed);
        }
        assert_eq!(lock_in(b"[]", Some(LOCKED_FOR)), None);
    }

    #[test]
    fn a_cookie_is_known_in_every_spelling() {
        let cookie = SecretString::from("__Secure-mana.session_token=tok123.s%2Fg%3D+x");
        assert_eq!(
            spellings_of_cookie(&cookie),
            [cookie.expose_secret(), "tok123.s%2Fg%3D+x", "tok123.s/g=+x", "tok123"]
        );
    }

    #[test]
    fn the_jwt_is_the_access_token_and_else_the_token() {
        let jwt = |login: Value| {
            let login: Login = serde_json::from_value(login).unwrap();
            login.jwt()
        };
        let user = json!({"id": "u"});
        assert_eq!(
            jwt(json!({"user": user, "token": "t", "accessToken": "jwt"})).as_deref(),
            Some("jwt")
        );
        assert_eq!(jwt(json!({"user": user, "token": "jwt"})).as_deref(), Some("jwt"));
        assert_eq!(jwt(json!({"user": user})), None);
    }

    #[test]
    fn a_space_is_personal_by_its_metadata_in_either_form() {
        let personal =
            |metadata: Value| personal_id(&json!({"id": "s", "metadata": metadata})).is_some();
        assert!(personal(json!({"tier": "public", "type": "personal"})));
        assert!(personal(json!("{\"type\":\"personal\"}")));
        assert!(!personal(json!({"type": "team"})));
        assert!(!personal(json!(null)));
        assert!(!personal(json!("not json")));
        assert_eq!(personal_id(&json!("personal")), None);
        assert_eq!(personal_id(&json!({"id": "s"})), None);
        assert_eq!(personal_id(&json!({"id": 7, "metadata": {"type": "personal"}})), None);
    }
}
