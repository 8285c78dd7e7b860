//! How many wrong keys may be tried, and what the log tells of them.

use reqwest::StatusCode;
use serde_json::json;

use super::{KEY, Reader, client_at, header, json_of, locked};
use crate::{process::daemon::Daemon, support::start_peers};

#[tokio::test]
async fn after_five_wrong_keys_an_address_waits_and_others_do_not() {
    let (_world, reader) = locked().await;
    let bearer = format!("Bearer {KEY}");
    let (right, wrong) = ([("authorization", &*bearer)], [("authorization", "Bearer wrong")]);
    let cookie = reader.log_in().await;
    for n in 0..5 {
        assert_eq!(reader.get("/ui/live", &right).await.status(), StatusCode::OK);
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
    assert_eq!(other.get("/ui/live", &right).await.status(), StatusCode::OK);
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
