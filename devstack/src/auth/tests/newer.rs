//! The newer service, row by row of the last table of docs/contracts/mana-auth.md.

use super::*;
use crate::wire::Served;

const BASE: &str = "/api/v1/personas/internal";

struct Newer {
    f: Fixture,
    served: Served,
}

impl Newer {
    async fn new(options: NewerOptions) -> Self {
        let f = Fixture::new(AuthOptions::default()).await;
        let served = f.mana.serve_personas_elsewhere(options).await.unwrap();
        Self { f, served }
    }

    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = self.f.client.request(method, format!("{}{path}", self.served.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = request.body(body.to_owned()).send();
        let response = timeout(Duration::from_secs(20), sent).await.unwrap().unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default();
        Reply { status, headers, body }
    }
}

const KEY: (&str, &str) = ("x-service-key", "devstack-service-key");

#[tokio::test]
async fn the_newer_services_refusals_have_their_own_form() {
    let newer = Newer::new(NewerOptions::default()).await;
    let anna = format!("{BASE}/{}/actions", newer.f.anna);
    let rows = json!({"actions": [action("t1", "todo.list")]}).to_string();
    let spoilt = json!({"actions": [action("t\0", "todo.list")]}).to_string();
    let no_header = json!({"error": "Missing authorization header", "status": 401});
    let cases = [
        (
            Method::GET,
            format!("{BASE}/due"),
            None,
            "",
            401,
            json!({"error": "Invalid service key", "status": 401}),
        ),
        (
            Method::POST,
            format!("{BASE}/nobody/actions"),
            Some(KEY),
            &*rows,
            404,
            json!({"error": "Persona not found"}),
        ),
        (
            Method::POST,
            anna.clone(),
            Some(KEY),
            "{}",
            400,
            json!({"error": "Invalid request body"}),
        ),
        (
            Method::POST,
            anna.clone(),
            Some(KEY),
            &*spoilt,
            500,
            json!({"error": "Internal server error", "status": 500}),
        ),
        (Method::POST, format!("{anna}/"), Some(KEY), &*rows, 401, no_header.clone()),
        (Method::GET, anna.clone(), Some(KEY), "", 401, no_header.clone()),
        (
            Method::GET,
            "/api/v1/internal/personas/due".into(),
            Some(KEY),
            "",
            401,
            no_header.clone(),
        ),
        (
            Method::GET,
            "/v1/personas/internal/due".into(),
            Some(KEY),
            "",
            404,
            json!({"error": "Not found", "status": 404}),
        ),
    ];
    for (method, path, key, body, status, expected) in cases {
        let reply = newer.ask(method, &path, key.as_slice(), body).await;
        assert_eq!((reply.status, reply.body), (status, expected), "{path}");
    }
    assert_eq!(
        newer.ask(Method::POST, &anna, &[KEY], &rows).await.body,
        json!({"ok": true, "written": 1})
    );
}

#[tokio::test]
async fn two_hundred_requests_a_minute_are_allowed_and_counted_before_the_key_check() {
    let newer = Newer::new(NewerOptions::default()).await;
    let due = format!("{BASE}/due");
    for _ in 0..200 {
        assert_eq!(newer.ask(Method::GET, &due, &[], "").await.status, 401);
    }
    let refused = newer.ask(Method::GET, &due, &[KEY], "").await;
    assert_eq!((refused.status, &refused.body), (429, &json!({"error": "Too many requests"})));
    let reset = newer.f.clock.now().as_second() + 60;
    assert_eq!(refused.header("x-ratelimit-limit"), Some("200"));
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    assert_eq!(refused.header("x-ratelimit-reset"), Some(&*reset.to_string()));
    assert_eq!(refused.header("retry-after"), None);
    assert_eq!(refused.header("date"), Some("Fri, 20 Nov 2026 10:00:00 GMT"));
    // Other callers have their own windows, and requests outside /api are not counted.
    for header in [("x-forwarded-for", "10.0.0.1, 10.0.0.2"), ("x-real-ip", "10.0.0.2")] {
        assert_eq!(newer.ask(Method::GET, &due, &[KEY, header], "").await.status, 200);
    }
    assert_eq!(newer.ask(Method::GET, "/health", &[], "").await.status, 404);
    newer.f.clock.advance(Duration::from_secs(59));
    assert_eq!(newer.ask(Method::GET, &due, &[KEY], "").await.status, 429);
    newer.f.clock.advance(Duration::from_secs(1));
    assert_eq!(newer.ask(Method::GET, &due, &[KEY], "").await.status, 200);
}

#[tokio::test]
async fn a_deleted_user_stays_due_at_the_newer_service_and_cannot_log_in() {
    let newer = Newer::new(NewerOptions::default()).await;
    newer.f.mana.delete_user(&newer.f.anna).await;
    let due = newer.ask(Method::GET, &format!("{BASE}/due"), &[KEY], "").await;
    assert_eq!(due.body["personas"].as_array().unwrap().len(), 2);
    assert_eq!(newer.f.due_emails().await, [BEN], "mana-auth leaves it out");
    let login = newer.f.login(ANNA, &password_of(ANNA)).await;
    assert_eq!((login.status, &login.body["error"]), (401, &json!("INVALID_CREDENTIALS")));
    let rows = json!({"actions": [action("t1", "todo.list")]}).to_string();
    let posted =
        newer.ask(Method::POST, &format!("{BASE}/{}/actions", newer.f.anna), &[KEY], &rows).await;
    assert_eq!(posted.status, 200);
}
