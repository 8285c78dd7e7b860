//! The product's own health endpoint, which names the version that is deployed. mana-auth and mana-mcp name
//! none.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{Json, Router, extract::State, routing::get};
use serde_json::{Value, json};

use crate::wire::Served;

type Health = Arc<RwLock<Value>>;

/// The running endpoint `/health`. It fails as its [`Served::faults`] say.
#[derive(Debug)]
pub struct Product {
    /// The socket of this peer: recorded requests and planned faults.
    pub served: Served,
    health: Health,
}

impl Product {
    /// Serves `{"status": "ok"}`, without a version, on a free loopback port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        let health: Health = Arc::new(RwLock::new(json!({"status": "ok"})));
        let router = Router::new().route("/health", get(answer)).with_state(health.clone());
        Ok(Self { served: Served::start(router).await?, health })
    }

    /// Where the version is: the address of the endpoint, and after `#` the JSON pointer of the version.
    pub fn version_url(&self) -> String {
        format!("{}/health#/version", self.served.url)
    }

    /// Names this version from now on.
    pub fn set_version(&self, version: &str) {
        self.set_health(json!({"status": "ok", "version": version}));
    }

    /// Answers with this JSON from now on.
    pub fn set_health(&self, health: Value) {
        *self.health.write().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

async fn answer(State(health): State<Health>) -> Json<Value> {
    Json(health.read().unwrap_or_else(PoisonError::into_inner).clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;

    #[tokio::test]
    async fn the_version_can_be_set_and_can_fail() {
        let product = Product::start().await.unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let get = async || client.get(product.version_url()).send().await.unwrap();
        let health = async || get().await.json::<Value>().await.unwrap();
        assert_eq!(health().await, json!({"status": "ok"}));
        product.set_version("1.4.0");
        assert_eq!(health().await, json!({"status": "ok", "version": "1.4.0"}));
        product.served.faults.inject(1, Fault::status(503, "{}"), |_| true);
        assert_eq!(get().await.status(), 503);
        assert_eq!(health().await["version"], "1.4.0");
    }
}
