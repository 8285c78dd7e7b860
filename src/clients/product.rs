//! Asks the product which build of it is deployed, where PRODUCT_VERSION_URL says.

use std::time::Duration;

use serde_json::Value;

use crate::{
    config::VersionUrl,
    domain::{ProductVersion, json_text},
    http::{HttpClient, HttpError, Operation, Peer},
};

const PEER: Peer = "product";
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer, in bytes. Documents about the health of a service are far smaller.
const BODY_LIMIT: usize = 64 << 10;

/// Asks for the product's version.
#[derive(Clone, Debug)]
pub struct ProductClient {
    http: HttpClient,
    at: VersionUrl,
}

/// Why the product's version is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProductError {
    /// There was no complete answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The answer is no success. The text quotes the status and the beginning of the body.
    #[error("the product answered {0}")]
    Refused(String),
    /// The answer is no JSON.
    #[error("the product's answer is no JSON")]
    NotJson,
    /// The answer has no version at this pointer.
    #[error("the product's answer has no text or number of 1 to 128 printable characters at #{0}")]
    NoVersion(String),
}

impl ProductClient {
    /// A client that asks at this URL.
    pub fn new(http: HttpClient, at: VersionUrl) -> Self {
        Self { http, at }
    }

    /// Asks once, for at most two seconds.
    ///
    /// # Errors
    /// When the answer names no version.
    pub async fn version(&self) -> Result<ProductVersion, ProductError> {
        let operation =
            Operation { peer: PEER, name: "version", timeout: TIMEOUT, body_limit: BODY_LIMIT };
        let request = self.http.inner.get(self.at.as_url().clone());
        let answer = self.http.send(operation, request).await?;
        if !answer.status.is_success() {
            let (status, detail) = (answer.status.as_u16(), self.http.detail(&answer));
            return Err(ProductError::Refused(format!("{status}: {detail}")));
        }
        let answer: Value = json_text::parse(&answer.body).map_err(|_| ProductError::NotJson)?;
        let told = match answer.pointer(self.at.pointer()) {
            Some(Value::String(text)) => self.http.redactor.redact(text).into_owned(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        };
        let no_version = |_| ProductError::NoVersion(self.at.pointer().to_owned());
        ProductVersion::parse(&told).map_err(no_version)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{domain::Redactor, metrics::Metrics};

    /// What a client makes of this answer, asked with this pointer.
    async fn asked(
        status: StatusCode,
        body: impl Into<String>,
        pointer: &str,
    ) -> Result<String, String> {
        let body = body.into();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/health#{pointer}", listener.local_addr().unwrap());
        let router = Router::new().route("/health", get(async move || (status, body)));
        tokio::spawn(axum::serve(listener, router).into_future());
        let redactor = Redactor::new(["s3cret-key"]);
        let http = HttpClient::new(Arc::new(Metrics::new("0").unwrap()), redactor).unwrap();
        let client = ProductClient::new(http, VersionUrl::parse(&url).unwrap());
        let version = client.version().await.map_err(|error| error.to_string());
        version.map(|version| version.as_str().to_owned())
    }

    #[tokio::test]
    async fn a_version_is_the_text_or_number_at_the_pointer() {
        for (body, pointer, version) in [
            (r#"{"version":" 1.2.3 "}"#, "/version", "1.2.3"),
            (r#"{"build":[{"a/b":417}]}"#, "/build/0/a~1b", "417"),
            (r#""2026-11-18""#, "", "2026-11-18"),
            (r#"{"v":"s3cret-key"}"#, "/v", "[redacted]"),
        ] {
            assert_eq!(asked(StatusCode::OK, body, pointer).await.unwrap(), version);
        }
    }

    #[tokio::test]
    async fn an_answer_without_a_short_printable_version_is_an_error_that_does_not_quote_it() {
        let long = format!(r#"{{"v":"{}"}}"#, "x".repeat(10_000));
        for body in
            [r#"{"v":null}"#, r#"{"v":{}}"#, r#"{"w":1}"#, r#"{"v":""}"#, r#"{"v":"a\nb"}"#, &long]
        {
            let error = asked(StatusCode::OK, body, "/v").await.unwrap_err();
            assert!(error.contains("at #/v") && error.len() < 200, "{error}");
        }
        assert!(asked(StatusCode::OK, "<html>", "/v").await.unwrap_err().contains("no JSON"));
        let refused = asked(StatusCode::BAD_GATEWAY, "s3cret-key", "/v").await.unwrap_err();
        assert_eq!(refused, "the product answered 502: [redacted]");
        let huge = asked(StatusCode::OK, "1".repeat(BODY_LIMIT + 1), "").await.unwrap_err();
        assert!(huge.contains("more than"), "{huge}");
    }
}
