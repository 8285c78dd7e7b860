//! Tests of mana-auth over its socket, one rule of docs/contracts/mana-auth.md after another.

mod batches;
mod due;
mod logging_in;
mod newer;
mod sessions;

use std::time::Duration;

use reqwest::{Method, header::HeaderMap};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{AuthOptions, ManaAuth, NewerOptions, SeedPersona};
use crate::{clock::Clock, jwt::Keys};

const FRIDAY: &str = "2026-11-20T10:00:00Z";
const ANNA: &str = "persona.anna@mana.test";
const BEN: &str = "persona.ben@mana.test";

/// A mana-auth whose clock is stopped on a Friday, with Anna (daily) and Ben (hourly).
struct Fixture {
    mana: ManaAuth,
    clock: Clock,
    keys: Keys,
    anna: String,
    ben: String,
    client: reqwest::Client,
}

#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Fixture {
    async fn new(options: AuthOptions) -> Self {
        let clock = Clock::starting_at(FRIDAY.parse().unwrap());
        clock.set_speed(0.0);
        clock.set(FRIDAY.parse().unwrap());
        let keys = Keys::generate().unwrap();
        let mana = ManaAuth::start(options, clock.clone(), keys.clone()).await.unwrap();
        let personas = [persona("Anna", ANNA, "daily"), persona("Ben", BEN, "hourly")];
        let mut ids = mana.seed(&personas, password_of).await.unwrap().into_iter();
        let (anna, ben) = (ids.next().unwrap(), ids.next().unwrap());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { mana, clock, keys, anna, ben, client }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Reply {
        let mut request = self.client.request(method, format!("{}{path}", self.mana.url()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        timeout(Duration::from_secs(20), async {
            let response = request.body(body).send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
            Reply { status, headers, body }
        })
        .await
        .expect("mana-auth answers in time")
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, "").await
    }

    async fn login(&self, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password}).to_string();
        self.send(Method::POST, "/api/v1/auth/login", &[], body).await
    }

    async fn sign_in_email(&self, email: &str, password: &str) -> Reply {
        let body = json!({"email": email, "password": password}).to_string();
        self.send(Method::POST, "/api/auth/sign-in/email", &[], body).await
    }

    /// Signs Anna in and returns `name=value` of the session cookie.
    async fn cookie(&self) -> String {
        let reply = self.sign_in_email(ANNA, &password_of(ANNA)).await;
        let set_cookie = reply.header("set-cookie").unwrap();
        set_cookie.split(';').next().unwrap().to_owned()
    }

    /// Posts to the service path with the correct key.
    async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Reply {
        let path = format!("/api/v1/internal/personas{path}");
        self.send(Method::POST, &path, &[("x-service-key", "devstack-service-key")], body).await
    }

    async fn post_actions(&self, user_id: &str, rows: &[Value]) -> Reply {
        self.post(&format!("/{user_id}/actions"), json!({"actions": rows}).to_string()).await
    }

    async fn post_feedback(&self, user_id: &str, rows: &[Value]) -> Reply {
        self.post(&format!("/{user_id}/feedback"), json!({"feedback": rows}).to_string()).await
    }

    async fn due(&self) -> Value {
        let key = [("x-service-key", "devstack-service-key")];
        self.get("/api/v1/internal/personas/due", &key).await.body
    }

    /// The e-mails of the due personas, in order.
    async fn due_emails(&self) -> Vec<String> {
        let due = self.due().await;
        let rows = due["personas"].as_array().unwrap();
        rows.iter().map(|row| row["email"].as_str().unwrap().to_owned()).collect()
    }
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

fn persona(name: &str, email: &str, cadence: &str) -> SeedPersona {
    let module_mix: Map<String, Value> = [("todo", 0.25), ("notes", 0.5), ("mood", 0.25)]
        .map(|(module, weight)| (module.to_owned(), json!(weight)))
        .into_iter()
        .collect();
    SeedPersona {
        name: name.into(),
        email: email.into(),
        archetype: "tester".into(),
        system_prompt: format!("Du bist {name}."),
        module_mix,
        cadence: cadence.into(),
    }
}

fn password_of(email: &str) -> String {
    format!("password of {email}")
}

fn action(tick_id: &str, tool_name: &str) -> Value {
    json!({"tickId": tick_id, "toolName": tool_name, "result": "ok"})
}

fn rating(tick_id: &str, module: &str, rating: impl Into<Value>) -> Value {
    json!({"tickId": tick_id, "module": module, "rating": rating.into()})
}
