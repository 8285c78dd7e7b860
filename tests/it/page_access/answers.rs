//! What each answer under /ui has, whatever was asked for and how.

use reqwest::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{DATA, KEY, PAGES, Reader, assert_headers, client_at, header, locked};
use crate::support::patiently;

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
    for path in ["/ui/live", "/ui/login", "/ui/style.css", "/ui/ui.js"] {
        let body = reader.get(path, &with_key).await.bytes().await.unwrap();
        let head = reader.send(Method::HEAD, path, &with_key).await;
        assert_eq!(head.status(), StatusCode::OK);
        assert_eq!(header(&head, "content-length"), body.len().to_string());
        assert!(head.bytes().await.unwrap().is_empty());
    }
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
async fn odd_headers_open_nothing_and_break_nothing() {
    let (world, reader) = locked().await;
    let cookie = reader.log_in().await;
    let (line, host) = (&b"GET /ui/live HTTP/1.1"[..], &b"Host: localhost"[..]);
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
