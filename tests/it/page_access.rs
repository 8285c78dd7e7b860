//! Who may see the page /ui: login, cookie, bearer token, tries, headers, and what is there without UI_KEY.

mod answers;
mod login;
mod tries;

use std::net::IpAddr;

use reqwest::{Client, Method, Response, StatusCode, header::HeaderValue, redirect::Policy};
use serde_json::{Value, json};

use crate::support::{Setup, World, patiently, variable};

const KEY: &str = "key-of-the-page-1";

/// Routes that lead to the login.
const PAGES: [&str; 14] = [
    "/ui",
    "/ui/",
    "/ui?lang=en&days=7",
    "/ui/frictions",
    "/ui/frictions/F-1",
    "/ui/modules/todo",
    "/ui/personas/anna",
    "/ui/runs",
    "/ui/runs/0198?days=7",
    "/ui/runs/0198/calls/7",
    "/ui/compare?a=D-1&b=D-2",
    "/ui/live",
    "/ui/reports/2026-W10.html",
    "/ui/no/such/page",
];

/// Routes for programs.
const DATA: [&str; 6] = [
    "/ui.json",
    "/ui/frictions.json",
    "/ui/runs/0198.json?lang=en",
    "/ui/reports/2026-W10.json",
    "/ui/reports/2026-W10.md",
    "/ui/no/such/page.json",
];

/// What a program sends a key with, or a browser a cookie.
type Headers<'h> = &'h [(&'static str, &'h str)];

fn client_at(address: [u8; 4]) -> Client {
    let client = Client::builder().no_proxy().redirect(Policy::none());
    client.local_address(IpAddr::from(address)).build().unwrap()
}

/// A reader of the page at a daemon.
struct Reader {
    client: Client,
    url: String,
}

impl Reader {
    fn of(url: &str) -> Self {
        Self { client: client_at([127, 0, 0, 1]), url: url.to_owned() }
    }

    async fn send(&self, method: Method, path: &str, headers: Headers<'_>) -> Response {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        patiently(path, request.send()).await.unwrap()
    }

    async fn get(&self, path: &str, headers: Headers<'_>) -> Response {
        self.send(Method::GET, path, headers).await
    }

    async fn post(&self, path: &str, body: &str, headers: Headers<'_>) -> Response {
        let mut request = self.client.post(format!("{}{path}", self.url)).body(body.to_owned());
        request = request.header("content-type", "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        patiently(path, request.send()).await.unwrap()
    }

    /// The cookie of a login with the right key, as a browser sends it.
    async fn log_in(&self) -> String {
        let answer = self.post("/ui/login", &format!("key={KEY}"), &[]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        header(&answer, "set-cookie").split_once(';').unwrap().0.to_owned()
    }

    /// Whether pages are shown to a browser with this cookie. The one with the calls has nothing to compute.
    async fn admits(&self, cookie: &str) -> bool {
        self.get("/ui/live", &[("cookie", cookie)]).await.status() == StatusCode::OK
    }
}

fn header(answer: &Response, name: &str) -> String {
    let value = answer.headers().get(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"));
    value.to_str().unwrap().to_owned()
}

async fn json_of(answer: Response) -> Value {
    assert_eq!(header(&answer, "content-type"), "application/json");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

async fn locked() -> (World, Reader) {
    let world = Setup::default().var("UI_KEY", KEY).start().await;
    let reader = Reader::of(&world.url);
    (world, reader)
}

/// Checks the headers that each answer under /ui has.
fn assert_headers(answer: &Response) {
    for (name, expected) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        let values: Vec<_> = answer.headers().get_all(name).iter().collect();
        assert_eq!(values, [expected], "{name}: {answer:?}");
    }
    let policies: Vec<_> = answer.headers().get_all("content-security-policy").iter().collect();
    let [policy] = policies[..] else { panic!("{answer:?}") };
    let policy = policy.to_str().unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let is_page = |types: &HeaderValue| types.to_str().unwrap().starts_with("text/html");
    if answer.headers().get("content-type").is_some_and(is_page) {
        assert_eq!(
            policy,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        );
    }
    assert_eq!(answer.headers().get("server"), None);
}

#[tokio::test]
async fn in_production_there_is_no_page_without_a_key_and_one_with_it() {
    for key in ["", KEY] {
        let setup = Setup::default().var("RUNNER_ENV", "production").var("UI_KEY", key);
        let world = setup.start().await;
        let reader = Reader::of(&world.url);
        let statuses = |expected: u16| if key.is_empty() { 404 } else { expected };
        for path in PAGES {
            assert_eq!(reader.get(path, &[]).await.status(), statuses(303), "{path}");
        }
        for path in DATA {
            assert_eq!(reader.get(path, &[]).await.status(), statuses(401), "{path}");
        }
        for path in ["/ui/login", "/ui/style.css", "/ui/ui.js"] {
            assert_eq!(reader.get(path, &[]).await.status(), statuses(200), "{path}");
        }
        for path in ["/ui/login", "/ui/logout"] {
            let answer = reader.post(path, &format!("key={KEY}"), &[]).await;
            assert_eq!(answer.status(), statuses(303), "{path}");
        }
    }
}

#[tokio::test]
async fn the_service_key_does_not_open_the_page_and_the_key_of_the_page_nothing_else() {
    let (world, reader) = locked().await;
    let service_key = variable(&world.peers, "MANA_SERVICE_KEY");
    let answer = reader.get("/ui", &[("x-service-key", service_key)]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let bearer = format!("Bearer {service_key}");
    let answer = reader.get("/ui/live", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = reader.post("/ui/login", &format!("key={service_key}"), &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    let (cookie, bearer) = (reader.log_in().await, format!("Bearer {KEY}"));
    let all = [("x-service-key", KEY), ("cookie", &*cookie), ("authorization", &*bearer)];
    assert_eq!(reader.get("/ui/live", &all).await.status(), StatusCode::OK);
    let answer = reader.get("/control/status", &all).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_program_sends_the_key_as_a_bearer_token() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let with_key = [("authorization", &*bearer)];
    for path in ["/ui/live", "/ui/live?lang=en"] {
        let answer = reader.get(path, &with_key).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers().get("set-cookie"), None);
    }
    for path in ["/ui/no/such/page", "/ui/no/such/page.json"] {
        assert_eq!(reader.get(path, &with_key).await.status(), StatusCode::NOT_FOUND);
    }
    for wrong in ["Bearer", "Bearer x", "Basic a2V5", KEY] {
        let answer = reader.get("/ui/live", &[("authorization", wrong)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer");
        assert_eq!(json_of(answer).await["ok"], json!(false));
    }
    // Who is logged in may have a proxy in front that has a login of its own.
    let cookie = reader.log_in().await;
    let both = [("authorization", "Basic a2V5"), ("cookie", &*cookie)];
    assert_eq!(reader.get("/ui/live", &both).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn programs_are_told_that_they_need_a_key_and_browsers_are_led_to_the_login() {
    let (_world, reader) = locked().await;
    for path in DATA {
        let answer = reader.get(path, &[]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer");
        let body = json_of(answer).await;
        assert!(body["error"].as_str().unwrap().contains("UI_KEY"), "{body}");
        assert_eq!(body["ok"], json!(false));
    }
    let stream = [("accept", "text/event-stream")];
    assert_eq!(reader.get("/ui/live", &stream).await.status(), StatusCode::UNAUTHORIZED);
    for path in PAGES {
        let answer = reader.get(path, &[("accept", "text/html")]).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path}");
        let location = header(&answer, "location");
        assert!(location.starts_with("/ui/login?"), "{location}");
        let head = reader.send(Method::HEAD, path, &[]).await;
        assert_eq!((head.status(), header(&head, "location")), (StatusCode::SEE_OTHER, location));
    }
    for path in ["/uix", "/ui.html", "/"] {
        assert_eq!(reader.get(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn without_a_key_the_page_is_open_to_this_machine_and_closed_to_other_sites() {
    let world = Setup::default().start().await;
    let reader = Reader::of(&world.url);
    let page = reader.get("/ui/live", &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(!page.contains("/ui/logout"), "{page}");
    for (path, status) in [
        ("/ui/style.css", StatusCode::OK),
        ("/ui/ui.js", StatusCode::OK),
        ("/ui/no/such/page", StatusCode::NOT_FOUND),
    ] {
        let answer = reader.get(path, &[("authorization", "Bearer wrong")]).await;
        assert_eq!(answer.status(), status, "{path}");
        assert_headers(&answer);
    }
    // There is nothing to log in to.
    let answer = reader.get("/ui/login?next=%2Fui%2Fruns", &[]).await;
    assert_eq!(
        (answer.status(), &*header(&answer, "location")),
        (StatusCode::SEE_OTHER, "/ui/runs")
    );
    let answer = reader.post("/ui/login", "key=x", &[]).await;
    assert_eq!((answer.status(), &*header(&answer, "location")), (StatusCode::SEE_OTHER, "/ui"));
    assert_eq!(answer.headers().get("set-cookie"), None);

    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "0.0.0.0:3070")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example")],
        &[("referer", "https://evil.example/")],
        &[("x-forwarded-for", "127.0.0.1")],
        &[("forwarded", "for=127.0.0.1")],
        &[("via", "1.1 proxy")],
    ] {
        for path in ["/ui", "/ui.json", "/ui/login", "/ui/style.css", "/ui/no/such/page"] {
            let answer = reader.get(path, headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path} {headers:?}");
            assert_headers(&answer);
            assert_eq!(json_of(answer).await["ok"], json!(false));
        }
    }
    let answer = reader.get("/ui", &[("x-forwarded-for", "10.0.0.1")]).await;
    assert!(json_of(answer).await["error"].as_str().unwrap().contains("UI_KEY"));
    for method in [Method::POST, Method::PUT] {
        let answer = reader.send(method, "/ui", &[]).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_headers(&answer);
    }
}
