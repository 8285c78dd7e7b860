//! Login and logout: what the cookie is, how long it holds, and where a login leads to.

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;

use super::{KEY, header, locked};
use crate::support::MONDAY;

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
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
    let (expiry, signature) = cookie.strip_prefix("mana_ui=").unwrap().split_once('.').unwrap();
    let monday: Timestamp = MONDAY.parse().unwrap();
    assert_eq!(expiry, (monday + SignedDuration::from_hours(12)).as_second().to_string());
    assert!(signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit()));

    let page = reader.get("/ui/live", &[("cookie", cookie)]).await;
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
    let gone = "mana_ui=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
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
            assert!(set.contains("; Path=/; HttpOnly; SameSite=Strict; Max-Age="), "{set}");
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
