//! Who may see the page /ui: login, cookie, bearer token, tries, headers, and what is there without UI_KEY.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use reqwest::{
    Client, Method, Response, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    process::daemon::Daemon,
    support::{MONDAY, Setup, World, patiently, start_peers, variable},
};

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

    /// Whether the page is shown to a browser with this cookie.
    async fn admits(&self, cookie: &str) -> bool {
        self.get("/ui", &[("cookie", cookie)]).await.status() == StatusCode::OK
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

/// Sends these bytes as the head of a request; returns the whole answer.
async fn raw(url: &str, lines: &[&[u8]]) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let end = b"connection: close\r\n\r\n";
    let head = [&lines.join(&b"\r\n"[..])[..], b"\r\n", end].concat();
    socket.write_all(&head).await.unwrap();
    let mut answer = Vec::new();
    patiently("the answer", socket.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn locked() -> (World, Reader) {
    let world = Setup::default().var("UI_KEY", KEY).start().await;
    let reader = Reader::of(&world.url);
    (world, reader)
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
    let answer = reader.get("/ui", &[("authorization", &bearer)]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = reader.post("/ui/login", &format!("key={service_key}"), &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);

    let (cookie, bearer) = (reader.log_in().await, format!("Bearer {KEY}"));
    let all = [("x-service-key", KEY), ("cookie", &*cookie), ("authorization", &*bearer)];
    assert_eq!(reader.get("/ui", &all).await.status(), StatusCode::OK);
    let answer = reader.get("/control/status", &all).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_login_gives_a_cookie_that_a_logout_takes_away() {
    let (_world, reader) = locked().await;
    let answer = reader.get("/ui/runs?days=7", &[]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let login = header(&answer, "location");
    assert_eq!(login, "/ui/login?next=%2Fui%2Fruns%3Fdays%3D7");
    let answer = reader.get(&login, &[]).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let form = answer.text().await.unwrap();
    for part in [
        "<h1>Anmelden</h1>",
        "<form class=\"filter\" method=\"post\">",
        "type=\"password\" name=\"key\" autocomplete=\"current-password\"",
        "<input type=\"hidden\" name=\"next\" value=\"/ui/runs?days=7\">",
    ] {
        assert!(form.contains(part), "{part} in {form}");
    }
    assert!(!form.contains("<nav") && !form.contains("/ui/logout"), "{form}");

    let wrong = reader.post("/ui/login", "key=a+wrong+key&next=%2Fui%2Fruns", &[]).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.headers().get("set-cookie"), None);
    let form = wrong.text().await.unwrap();
    assert!(form.contains("Das ist nicht der Schlüssel.") && !form.contains("wrong"), "{form}");
    assert!(form.contains("value=\"/ui/runs\""), "{form}");

    let body = format!("key=+{KEY}%0A&next=%2Fui%2Fruns%3Fdays%3D7");
    let right = reader.post("/ui/login", &body, &[]).await;
    assert_eq!(right.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&right, "location"), "/ui/runs?days=7");
    let set = header(&right, "set-cookie");
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/ui; HttpOnly; SameSite=Strict; Max-Age=43200");
    let (expiry, signature) = cookie.strip_prefix("mana_ui=").unwrap().split_once('.').unwrap();
    let monday: Timestamp = MONDAY.parse().unwrap();
    assert_eq!(expiry, (monday + SignedDuration::from_hours(12)).as_second().to_string());
    assert!(signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit()));

    let page = reader.get("/ui", &[("cookie", cookie)]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(page.contains("action=\"/ui/logout\""), "{page}");
    let answer = reader.get(&login, &[("cookie", cookie)]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(header(&answer, "location"), "/ui/runs?days=7");

    let answer = reader.post("/ui/logout", "", &[("cookie", cookie)]).await;
    assert_eq!(
        (answer.status(), &*header(&answer, "location")),
        (StatusCode::SEE_OTHER, "/ui/login")
    );
    let gone = "mana_ui=; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=0";
    assert_eq!(header(&answer, "set-cookie"), gone);
}

#[tokio::test]
async fn the_language_of_a_page_is_that_of_its_login() {
    let (_world, reader) = locked().await;
    let answer = reader.get("/ui/runs?lang=en", &[]).await;
    let login = header(&answer, "location");
    assert_eq!(login, "/ui/login?lang=en&next=%2Fui%2Fruns%3Flang%3Den");
    let form = reader.get(&login, &[]).await.text().await.unwrap();
    assert!(form.contains("<html lang=\"en\">") && form.contains("<h1>Log in</h1>"), "{form}");
    let wrong = reader.post(&login, "key=x", &[]).await.text().await.unwrap();
    assert!(wrong.contains("That is not the key."), "{wrong}");
    let answer = reader.get("/ui?lang=fr", &[]).await;
    assert_eq!(answer.status(), StatusCode::SEE_OTHER, "what is asked for is not looked at yet");
    let form = reader.get("/ui/login?lang=fr", &[]).await;
    assert_eq!(form.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_cookie_is_for_https_alone_unless_the_host_is_this_machine() {
    let (_world, reader) = locked().await;
    for (host, is_secure) in [
        ("localhost", false),
        ("localhost:3070", false),
        ("127.0.0.1:1", false),
        ("127.1.2.3", false),
        ("[::1]:3070", false),
        ("runner.example", true),
        ("localhost.example:3070", true),
        ("192.168.1.7:3070", true),
        ("0.0.0.0:3070", true),
    ] {
        let login = reader.post("/ui/login", &format!("key={KEY}"), &[("host", host)]).await;
        let logout = reader.post("/ui/logout", "", &[("host", host)]).await;
        for answer in [login, logout] {
            let set = header(&answer, "set-cookie");
            assert_eq!(set.ends_with("; Secure"), is_secure, "{host}: {set}");
            assert!(set.contains("; Path=/ui; HttpOnly; SameSite=Strict; Max-Age="), "{set}");
        }
    }
}

#[tokio::test]
async fn a_cookie_holds_for_twelve_hours_also_after_a_restart_but_not_with_another_key() {
    let (mut world, mut reader) = locked().await;
    let cookie = reader.log_in().await;
    let (name, value) = cookie.split_once('=').unwrap();
    let (expiry, signature) = value.split_once('.').unwrap();
    let later = expiry.parse::<i64>().unwrap() + 1;
    let last = if signature.ends_with('0') { '1' } else { '0' };
    for bad in [
        format!("{name}={later}.{signature}"),
        format!("{name}={expiry}.{}{last}", &signature[..63]),
        format!("{name}={expiry}"),
        format!("{name}={expiry}."),
        format!("{name}={expiry}.{}", "0".repeat(64)),
        format!("{name}={KEY}"),
        format!("{name}="),
        format!("another={value}"),
    ] {
        assert!(!reader.admits(&bad).await, "{bad}");
    }
    assert!(reader.admits(&format!("a=b; {cookie}; {name}=1.2")).await);

    world.kill().await;
    world.start_again(&[]).await;
    reader.url.clone_from(&world.url);
    assert!(reader.admits(&cookie).await);
    let began = world.clock.now();
    world.clock.set(began + SignedDuration::from_secs(12 * 3_600 - 1));
    assert!(reader.admits(&cookie).await);
    world.clock.set(began + SignedDuration::from_hours(12));
    assert!(!reader.admits(&cookie).await);
    world.clock.set(began);
    assert!(reader.admits(&cookie).await);

    world.stop().await;
    world.start_again(&[("UI_KEY", "key-of-the-page-2")]).await;
    reader.url.clone_from(&world.url);
    assert!(!reader.admits(&cookie).await);
}

#[tokio::test]
async fn a_program_sends_the_key_as_a_bearer_token() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let with_key = [("authorization", &*bearer)];
    for path in ["/ui", "/ui.json", "/ui?lang=en"] {
        let answer = reader.get(path, &with_key).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert_eq!(answer.headers().get("set-cookie"), None);
    }
    for path in ["/ui/no/such/page", "/ui/no/such/page.json"] {
        assert_eq!(reader.get(path, &with_key).await.status(), StatusCode::NOT_FOUND);
    }
    for wrong in ["Bearer", "Bearer x", "Basic a2V5", KEY] {
        let answer = reader.get("/ui", &[("authorization", wrong)]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{wrong}");
        assert_eq!(header(&answer, "www-authenticate"), "Bearer");
        assert_eq!(json_of(answer).await["ok"], json!(false));
    }
    // Who is logged in may have a proxy in front that has a login of its own.
    let cookie = reader.log_in().await;
    let both = [("authorization", "Basic a2V5"), ("cookie", &*cookie)];
    assert_eq!(reader.get("/ui", &both).await.status(), StatusCode::OK);
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
async fn after_five_wrong_keys_an_address_waits_and_others_do_not() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let (right, wrong) = ([("authorization", &*bearer)], [("authorization", "Bearer wrong")]);
    let cookie = reader.log_in().await;
    for n in 0..5 {
        assert_eq!(reader.get("/ui", &right).await.status(), StatusCode::OK);
        let status = match n % 2 {
            0 => reader.get("/ui.json", &wrong).await.status(),
            _ => reader.post("/ui/login", "key=wrong", &[]).await.status(),
        };
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let right_key = format!("key={KEY}");
    for body in ["key=wrong", &right_key, ""] {
        let answer = reader.post("/ui/login?lang=en", body, &[]).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(answer.headers().get("set-cookie"), None);
        let wait: u64 = header(&answer, "retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
        let page = answer.text().await.unwrap();
        assert!(page.contains("Too many wrong keys.") && page.contains(" second"), "{page}");
    }
    for headers in [right, wrong] {
        let answer = reader.get("/ui", &headers).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        header(&answer, "retry-after");
        assert_eq!(json_of(answer).await["ok"], json!(false));
    }
    assert!(reader.admits(&cookie).await, "who is logged in does not try");
    assert_eq!(reader.get("/ui/login", &[]).await.status(), StatusCode::OK);
    // What a client says about its address does not count.
    let elsewhere = [("x-forwarded-for", "10.0.0.1"), ("authorization", &*bearer)];
    assert_eq!(reader.get("/ui", &elsewhere).await.status(), StatusCode::TOO_MANY_REQUESTS);
    let other = Reader { client: client_at([127, 0, 0, 2]), url: reader.url.clone() };
    assert_eq!(other.get("/ui", &right).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn sixty_wrong_keys_of_all_make_everybody_wait() {
    let (_world, reader) = locked().await;
    let cookie = reader.log_in().await;
    let wrong = [("authorization", "Bearer wrong")];
    for n in 1..=12 {
        let other = Reader { client: client_at([127, 0, 1, n]), url: reader.url.clone() };
        for _ in 0..5 {
            assert_eq!(other.get("/ui", &wrong).await.status(), StatusCode::UNAUTHORIZED);
        }
    }
    let answer = reader.post("/ui/login", &format!("key={KEY}"), &[]).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(reader.admits(&cookie).await);
}

#[tokio::test]
async fn a_login_leads_to_no_other_site() {
    let (_world, reader) = locked().await;
    let cookie = reader.log_in().await;
    for (next, leads_to) in [
        ("/ui/runs", "/ui/runs"),
        ("/ui?lang=en", "/ui?lang=en"),
        ("/ui.json", "/ui.json"),
        ("https://evil.example/", "/ui"),
        ("//evil.example/ui", "/ui"),
        ("/\\evil.example", "/ui"),
        ("/ui/..//evil.example", "/ui"),
        ("/ui\r\nlocation: https://evil.example", "/ui"),
        ("/ui/\"><script>alert(1)</script>", "/ui/\"><script>alert(1)</script>"),
        ("/uievil", "/ui"),
        ("/control/status", "/ui"),
        ("", "/ui"),
    ] {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let path = format!("/ui/login?{query}");
        let right_key = format!("key={KEY}");
        let in_form = format!("{right_key}&{query}");
        for answer in [
            reader.get(&path, &[("cookie", &cookie)]).await,
            reader.post(&path, &right_key, &[]).await,
            reader.post("/ui/login", &in_form, &[]).await,
            reader.post("/ui/login?next=%2Fui%2Fother", &in_form, &[]).await,
        ] {
            assert_eq!(answer.status(), StatusCode::SEE_OTHER);
            assert_eq!(header(&answer, "location"), leads_to, "{next:?}");
        }
        let form = reader.get(&path, &[]).await.text().await.unwrap();
        assert!(!form.contains("//evil.example") && !form.contains("<script>alert"), "{form}");
    }
}

#[tokio::test]
async fn a_link_that_is_followed_from_another_site_finds_the_cookie_that_the_browser_held_back() {
    let (_world, reader) = locked().await;
    let cookie = reader.log_in().await;
    let login = "/ui/login?lang=en&next=%2Fui%2Fruns";
    let refresh = "<meta http-equiv=\"refresh\" content=\"0; url=/ui/login?lang=en&amp;own=1&amp;next=%2Fui%2Fruns\">";
    for site in ["cross-site", "same-site"] {
        let page = reader.get(login, &[("sec-fetch-site", site)]).await.text().await.unwrap();
        assert!(page.contains(refresh) && page.contains("name=\"key\""), "{page}");
    }
    let own = "/ui/login?lang=en&own=1&next=%2Fui%2Fruns";
    let answer = reader.get(own, &[("sec-fetch-site", "same-origin"), ("cookie", &cookie)]).await;
    assert_eq!(header(&answer, "location"), "/ui/runs");
    for (path, site, cookie) in [
        (own, "cross-site", "a=b"),
        (login, "none", "a=b"),
        (login, "same-origin", "a=b"),
        (login, "cross-site", "mana_ui=1.2"),
    ] {
        let headers = [("sec-fetch-site", site), ("cookie", cookie)];
        let page = reader.get(path, &headers).await.text().await.unwrap();
        assert!(!page.contains("http-equiv") && page.contains("name=\"key\""), "{path} {site}");
    }
}

#[tokio::test]
async fn another_site_can_neither_log_in_nor_out_nor_use_up_tries() {
    let (_world, reader) = locked().await;
    let right_key = format!("key={KEY}");
    for site in ["cross-site", "same-site"] {
        let headers = [("sec-fetch-site", site)];
        for body in ["key=wrong"; 4].into_iter().chain([&*right_key]) {
            let answer = reader.post("/ui/login", body, &headers).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN);
            assert_eq!(answer.headers().get("set-cookie"), None);
        }
        let answer = reader.post("/ui/logout", "", &headers).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers().get("set-cookie"), None);
    }
    // Our own form has `Origin: null`, because it sends no Referer.
    let own = [("sec-fetch-site", "same-origin"), ("origin", "null")];
    assert_eq!(reader.post("/ui/login", &right_key, &own).await.status(), StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn pages_are_only_read() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let with_key = [("authorization", &*bearer)];
    let (get, post) = ([Method::GET, Method::HEAD], Method::POST);
    for (path, allowed) in [
        ("/ui", &get[..]),
        ("/ui.json", &get),
        ("/ui/", &get),
        ("/ui/runs/0198", &get),
        ("/ui/no/such/page", &get),
        ("/ui/style.css", &get),
        ("/ui/ui.js", &get),
        ("/ui/login", &[Method::GET, Method::HEAD, post.clone()]),
        ("/ui/logout", &[post]),
    ] {
        let all =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS];
        let further = [Method::PATCH, Method::TRACE, Method::from_bytes(b"ODD").unwrap()];
        for method in all.into_iter().chain(further) {
            for headers in [&with_key[..], &[]] {
                let answer = reader.send(method.clone(), path, headers).await;
                let refused = answer.status() == StatusCode::METHOD_NOT_ALLOWED;
                assert_eq!(refused, !allowed.contains(&method), "{method} {path}");
                assert_headers(&answer);
                if refused {
                    let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
                    assert_eq!(header(&answer, "allow"), names.join(", "));
                }
            }
        }
    }
    for path in ["/ui", "/ui/login", "/ui/style.css", "/ui/ui.js"] {
        let body = reader.get(path, &with_key).await.bytes().await.unwrap();
        let head = reader.send(Method::HEAD, path, &with_key).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(header(&head, "content-length"), body.len().to_string());
        assert!(head.bytes().await.unwrap().is_empty());
    }
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
async fn each_answer_under_ui_has_the_headers_that_keep_it_to_itself() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let cookie = reader.log_in().await;
    for path in PAGES.into_iter().chain(DATA).chain([
        "/ui/style.css",
        "/ui/ui.js",
        "/ui/login",
        "/ui/login.json",
    ]) {
        for headers in [
            &[][..],
            &[("authorization", &*bearer)],
            &[("cookie", &*cookie)],
            &[("authorization", "Bearer wrong")],
        ] {
            // The stream has no end, so only the page is asked for.
            assert_headers(&reader.get(path, headers).await);
        }
    }
    for body in ["key=wrong", &format!("key={KEY}")] {
        assert_headers(&reader.post("/ui/login", body, &[]).await);
    }
    assert_headers(&reader.post("/ui/logout", "", &[]).await);
    for (path, kind) in [
        ("/ui/style.css", "text/css; charset=utf-8"),
        ("/ui/ui.js", "text/javascript; charset=utf-8"),
        ("/ui/icon.svg", "image/svg+xml"),
    ] {
        let answer = reader.get(path, &[]).await;
        assert_eq!((answer.status(), &*header(&answer, "content-type")), (StatusCode::OK, kind));
    }
}

#[tokio::test]
async fn without_a_key_the_page_is_open_to_this_machine_and_closed_to_other_sites() {
    let world = Setup::default().start().await;
    let reader = Reader::of(&world.url);
    let page = reader.get("/ui", &[]).await;
    assert_eq!(page.status(), StatusCode::OK);
    let page = page.text().await.unwrap();
    assert!(!page.contains("/ui/logout"), "{page}");
    for (path, status) in [
        ("/ui.json", StatusCode::OK),
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

#[tokio::test]
async fn odd_headers_open_nothing_and_break_nothing() {
    let (world, reader) = locked().await;
    let cookie = reader.log_in().await;
    let (line, host) = (&b"GET /ui HTTP/1.1"[..], &b"Host: localhost"[..]);
    let good = format!("Cookie: {cookie}");
    let good = good.as_bytes();
    let many = b"Cookie: mana_ui=1.2; mana_ui=".repeat(500);
    let huge = [b"Cookie: mana_ui=", &b"9".repeat(14_000)[..]].concat();
    let bearer = format!("Authorization: Bearer {KEY}");
    let bearer = bearer.as_bytes();
    let odd_bearer = [b"Authorization: Bearer \xff\xfe", KEY.as_bytes()].concat();
    let long_bearer = [b"Authorization: Bearer ", &b"k".repeat(14_000)[..]].concat();
    for (headers, status) in [
        (&[host, &many][..], "303"),
        (&[host, &huge], "303"),
        (&[host, b"Cookie: mana_ui=\xff\xfe.\xff"], "303"),
        (&[host, b"Cookie: \xff=\xfe; ; ;=;"], "303"),
        (&[host, b"Cookie:"], "303"),
        (&[host, b"Cookie: mana_ui=1.2", b"Cookie: \xff", good], "200"),
        (&[host, bearer], "200"),
        (&[host, bearer, bearer], "401"),
        (&[host, b"Authorization: Basic eDp5", bearer], "401"),
        (&[host, &odd_bearer], "401"),
        (&[host, &long_bearer], "401"),
        (&[host, b"Authorization: \xff"], "401"),
        (&[host, b"Accept: \xff\xfe", b"Sec-Fetch-Site: \xff"], "303"),
        (&[b"Host: \xff\xfe", good], "200"),
        (&[host, b"Host: evil.example", good], "200"),
        (&[], "303"),
    ] {
        let answer = raw(&world.url, &[&[line], headers].concat()).await;
        let shown: Vec<_> =
            headers.iter().map(|h| String::from_utf8_lossy(&h[..h.len().min(60)])).collect();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{shown:?}: {answer}");
    }
    // Bodies that are no form.
    for body in ["", "&&&", "key", "=", "%", "key=%ff%fe", "{\"key\":1}", &"k=1&".repeat(4_000)] {
        let other = Reader { client: client_at([127, 0, 2, 1]), url: reader.url.clone() };
        let status = other.post("/ui/login", body, &[]).await.status();
        assert!(matches!(status.as_u16(), 401 | 429), "{status}");
    }
    let mut headers = HeaderMap::new();
    for _ in 0..40 {
        headers.append(HeaderName::from_static("cookie"), HeaderValue::from_static("mana_ui=1.2"));
    }
    let request = reader.client.get(format!("{}/ui", reader.url)).headers(headers);
    let answer = patiently("/ui", request.send()).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.health().await["status"], "ok");
}

#[tokio::test]
async fn no_key_and_no_cookie_is_in_the_log_which_tells_of_wrong_keys_once() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    let vars = [("UI_KEY", KEY.to_owned()), ("RUST_LOG", "trace".into())];
    let daemon = Daemon::start(&peers, &vars).await;
    let reader = Reader::of(&daemon.url);
    let cookie = reader.log_in().await;
    let bearer = format!("Bearer {KEY}");
    let wrong = "a-wrong-key-of-somebody";
    let wrong_bearer = format!("Bearer {wrong}");
    assert!(reader.admits(&cookie).await);
    for headers in [("authorization", &*bearer), ("authorization", &*wrong_bearer)] {
        reader.get("/ui", &[headers]).await;
    }
    for body in [format!("key={wrong}"), format!("key={KEY}&next=%2Fui%3Fx%3D{KEY}")] {
        reader.post("/ui/login", &body, &[]).await;
    }
    for _ in 0..6 {
        reader.get("/ui", &[("authorization", &wrong_bearer)]).await;
    }
    reader.post("/ui/logout", "", &[("cookie", &cookie)]).await;
    daemon.signal("TERM").await;
    let log = daemon.ended().await.stdout;
    let value = cookie.split_once('=').unwrap().1;
    for secret in [KEY, wrong, value, value.split_once('.').unwrap().1] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
    let lines = |part| log.lines().filter(|line| line.contains(part)).collect::<Vec<_>>();
    let warned = lines("a wrong key was given for /ui");
    assert!(warned.len() == 1 && warned[0].contains("WARN"), "{warned:?}");
    assert!(warned[0].contains("127.0.0.1"), "{warned:?}");
    assert_eq!(lines("somebody has logged in to /ui").len(), 2);
}
