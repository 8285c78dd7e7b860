//! Credentials, lockout, rate limit.

use super::*;
use crate::auth::{Deployment, Logins};

#[tokio::test]
async fn login_gives_an_opaque_session_token_and_a_jwt_of_fifteen_minutes() {
    let f = Fixture::new(AuthOptions::default()).await;
    let reply = f.login(ANNA, &password_of(ANNA)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("set-cookie"), None);
    let token = reply.body["token"].as_str().unwrap();
    assert_eq!(token.len(), 32);
    assert!(token.chars().all(|c| c.is_ascii_alphanumeric()));
    let jwt = reply.body["accessToken"].as_str().unwrap();
    let user = json!({"id": f.anna, "email": ANNA, "name": "Anna", "kind": "persona",
        "accessTier": "founder"});
    let expected = json!({"redirect": false, "token": token, "user": user, "accessToken": jwt,
        "refreshToken": token});
    assert_eq!(reply.body, expected);
    let claims = f.keys.verify(jwt, f.clock.now()).unwrap();
    assert_eq!(
        (claims.sub, claims.email, claims.iss),
        (f.anna.clone(), ANNA.to_owned(), f.mana.url().to_owned())
    );
    assert_eq!((claims.iat, claims.exp - claims.iat), (f.clock.now().as_second(), 900));
    assert_eq!((claims.aud.as_str(), claims.tier.as_str()), ("mana", "founder"));
}

#[tokio::test]
async fn the_seeds_deployment_returns_the_jwt_as_token_and_has_no_sign_in_by_email() {
    let options = AuthOptions { deployment: Deployment::Seeds, ..AuthOptions::default() };
    let f = Fixture::new(options).await;
    let reply = f.login(ANNA, &password_of(ANNA)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.get("accessToken").is_none());
    let claims = f.keys.verify(reply.body["token"].as_str().unwrap(), f.clock.now()).unwrap();
    assert_eq!(claims.sub, f.anna);
    assert_eq!(f.sign_in_email(ANNA, &password_of(ANNA)).await.status, 404);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_refused_alike() {
    let f = Fixture::new(AuthOptions::default()).await;
    let wrong = f.login(ANNA, "wrong").await;
    let unknown = f.login("nobody@mana.test", "wrong").await;
    assert_eq!((wrong.status, &wrong.body["error"]), (401, &json!("INVALID_CREDENTIALS")));
    assert_eq!((unknown.status, &unknown.body), (401, &wrong.body));
    assert_eq!(f.sign_in_email(ANNA, "wrong").await.status, 401);
}

#[tokio::test]
async fn a_body_without_email_and_password_is_a_validation_error() {
    let f = Fixture::new(AuthOptions::default()).await;
    for body in ["", "{", "[]", "{}", r#"{"email":"a@b"}"#, r#"{"email":"a@b","password":7}"#] {
        let reply = f.send(Method::POST, "/api/v1/auth/login", &[], body).await;
        assert_eq!((reply.status, &reply.body["error"]), (400, &json!("VALIDATION")), "{body}");
    }
    assert_eq!(f.login("no address", "secret").await.status, 400);
    assert_eq!(f.login(ANNA, "").await.status, 400);
}

#[tokio::test]
async fn five_failures_lock_an_email_out_for_half_an_hour_even_with_the_right_password() {
    let f = Fixture::new(AuthOptions::default()).await;
    for _ in 0..4 {
        assert_eq!(f.login(ANNA, "wrong").await.status, 401);
    }
    assert_eq!(f.sign_in_email(ANNA, "wrong").await.status, 401);
    let locked = f.login(ANNA, &password_of(ANNA)).await;
    assert_eq!(locked.status, 429);
    assert_eq!(locked.body, json!({"error": "ACCOUNT_LOCKED", "retryAfterSec": 1800}));
    assert_eq!(locked.header("retry-after"), Some("1800"));
    assert_eq!(f.login(BEN, &password_of(BEN)).await.status, 200, "others are not locked");

    f.clock.advance(Duration::from_secs(1799));
    let locked = f.login(ANNA, &password_of(ANNA)).await;
    assert_eq!((locked.status, locked.header("retry-after")), (429, Some("1")));
    f.clock.advance(Duration::from_secs(1));
    assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 200);
}

#[tokio::test]
async fn failures_older_than_a_quarter_of_an_hour_and_those_before_a_login_do_not_count() {
    let f = Fixture::new(AuthOptions::default()).await;
    for _ in 0..4 {
        f.login(ANNA, "wrong").await;
    }
    f.clock.advance(Duration::from_secs(15 * 60));
    f.login(ANNA, "wrong").await;
    assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 200);
    for _ in 0..4 {
        f.login(ANNA, "wrong").await;
    }
    assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 200);
}

#[tokio::test]
async fn behind_the_proxy_an_address_signs_in_three_times_in_ten_seconds() {
    let options = AuthOptions { rate_limit: true, ..AuthOptions::default() };
    let f = Fixture::new(options).await;
    let body = json!({"email": ANNA, "password": password_of(ANNA)}).to_string();
    let from = async |path: &str, address: &str| {
        f.send(Method::POST, path, &[("x-forwarded-for", address)], body.clone()).await
    };
    let (login, sign_in) = ("/api/v1/auth/login", "/api/auth/sign-in/email");
    assert_eq!(from(login, "10.0.0.1").await.status, 200);
    assert_eq!(from(sign_in, "10.0.0.1").await.status, 200);
    assert_eq!(from(login, "10.0.0.1").await.status, 200);

    let refused = from(login, "10.0.0.1").await;
    assert_eq!((refused.status, refused.body), (429, json!({"error": "RATE_LIMITED"})));
    assert!(!refused.headers.contains_key("retry-after"));
    assert!(!refused.headers.contains_key("x-retry-after"));
    let refused = from(sign_in, "10.0.0.1").await;
    assert_eq!((refused.status, &refused.headers["x-retry-after"]), (429, &"10".parse().unwrap()));
    assert!(!refused.headers.contains_key("retry-after"));

    assert_eq!(from(login, "10.0.0.2").await.status, 200, "another address has its own count");
    for _ in 0..3 {
        assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 200);
    }
    assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 429, "without a proxy: all as one");
    f.clock.advance(Duration::from_secs(10));
    assert_eq!(from(login, "10.0.0.1").await.status, 200);
}

#[tokio::test]
async fn between_containers_there_is_no_rate_limit_and_logins_are_counted_by_form() {
    let f = Fixture::new(AuthOptions::default()).await;
    for _ in 0..5 {
        assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 200);
    }
    f.sign_in_email(ANNA, &password_of(ANNA)).await;
    f.login(ANNA, "wrong").await;
    assert_eq!(f.mana.logins(ANNA).await, Logins { login: 5, sign_in_email: 1 });
    assert_eq!(f.mana.logins(BEN).await, Logins::default());
    assert_eq!(f.mana.sessions_created().await, 6);
}

#[tokio::test]
async fn a_deleted_user_is_gone_with_its_sessions_and_rows() {
    let f = Fixture::new(AuthOptions::default()).await;
    let cookie = f.cookie().await;
    f.post_actions(&f.anna, &[action("t1", "todo.list")]).await;
    f.post_feedback(&f.anna, &[rating("t1", "todo", 4)]).await;
    f.post_actions(&f.ben, &[action("t2", "todo.list")]).await;
    f.mana.delete_user(&f.anna).await;

    assert_eq!(f.login(ANNA, &password_of(ANNA)).await.status, 401);
    assert_eq!(f.get("/api/auth/token", &[("cookie", &cookie)]).await.status, 401);
    assert_eq!(f.post_actions(&f.anna, &[action("t3", "todo.list")]).await.status, 404);
    f.mana.set_last_active_at(&f.ben, None).await;
    assert_eq!(f.due_emails().await, [BEN]);
    assert_eq!(f.mana.personas().await.len(), 1);
    assert_eq!(f.mana.feedback().await, []);
    let actions = f.mana.actions().await;
    assert_eq!(actions.iter().map(|row| row.tick_id.as_str()).collect::<Vec<_>>(), ["t2"]);
}
