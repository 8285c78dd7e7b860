//! Section 1: the API key, the version and the content type.

use axum::http::{HeaderMap, header};

use super::{Checked, Refusal};

const VERSIONS: [&str; 2] = ["2026-10-21", "2023-06-01"];

pub(super) fn check(headers: &HeaderMap, api_key: &str) -> Checked {
    check_key(headers, api_key)?;
    let version = single(headers, "anthropic-version")?
        .ok_or_else(|| Refusal::invalid("anthropic-version", "header is required"))?;
    if !VERSIONS.contains(&version) {
        let message = format!("\"{version}\" is not a valid version");
        return Err(Refusal::invalid("anthropic-version", &message));
    }
    let content_type = single(headers, header::CONTENT_TYPE.as_str())?.unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Refusal::invalid("content-type", "must be application/json"));
    }
    // No beta feature is simulated, so a request that needs one could not be checked or answered correctly.
    match single(headers, "anthropic-beta")? {
        Some(beta) => {
            let message = format!("Unexpected value(s) `{beta}` for the `anthropic-beta` header");
            Err(Refusal::invalid("anthropic-beta", &message))
        }
        None => Ok(()),
    }
}

fn check_key(headers: &HeaderMap, api_key: &str) -> Checked {
    let given = |name: &str| headers.get_all(name).iter().collect::<Vec<_>>();
    let keys: Vec<&[u8]> = given("x-api-key").into_iter().map(|value| value.as_bytes()).collect();
    let bearers = given(header::AUTHORIZATION.as_str());
    let presented = match (keys.as_slice(), bearers.as_slice()) {
        ([key], []) => key,
        ([], [bearer]) => bearer
            .as_bytes()
            .strip_prefix(b"Bearer ")
            .ok_or_else(|| Refusal::unauthenticated("Authorization must be a Bearer token"))?,
        ([], []) => return Err(Refusal::unauthenticated("x-api-key header is required")),
        _ => {
            return Err(Refusal::unauthenticated(
                "send exactly one of x-api-key and Authorization",
            ));
        }
    };
    match presented == api_key.as_bytes() {
        true => Ok(()),
        false => Err(Refusal::unauthenticated("invalid x-api-key")),
    }
}

/// The value of a header that may be sent at most once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::invalid(name, "header was sent more than once"));
    }
    value.to_str().map(Some).map_err(|_| Refusal::invalid(name, "header is not readable text"))
}
