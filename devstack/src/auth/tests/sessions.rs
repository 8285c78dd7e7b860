//! What a session or a JWT gives access to: spaces, fresh JWTs, the vault.

use super::*;
use crate::auth::Deployment;

const LIST: &str = "/api/auth/organization/list";
const TOKEN: &str = "/api/auth/token";
const VAULT: &str = "/api/v1/me/encryption-vault/init";

#[tokio::test]
async fn organization_list_and_token_accept_only_the_session_cookie() {
    let f = Fixture::new(AuthOptions::default()).await;
    let login = f.login(ANNA, &password_of(ANNA)).await.body;
    let jwt = format!("Bearer {}", login["accessToken"].as_str().unwrap());
    let session = format!("Bearer {}", login["token"].as_str().unwrap());
    let unsigned = format!("mana.session_token={}", login["token"].as_str().unwrap());
    for path in [LIST, TOKEN] {
        for headers in [
            &[][..],
            &[("authorization", jwt.as_str())],
            &[("authorization", session.as_str())],
            &[("cookie", unsigned.as_str())],
        ] {
            let reply = f.get(path, headers).await;
            assert_eq!((reply.status, reply.body), (401, json!({"code": "UNAUTHORIZED"})));
        }
    }

    let cookie = f.cookie().await;
    let spaces = f.get(LIST, &[("cookie", &cookie)]).await;
    let id = f.mana.space_of(&f.anna).await.unwrap();
    assert_eq!(spaces.status, 200);
    let expected = json!([{"name": "Anna", "slug": "persona-anna", "logo": null,
        "createdAt": "2026-11-20T10:00:00.000Z",
        "metadata": {"tier": "public", "type": "personal"}, "id": id}]);
    assert_eq!(spaces.body, expected);
}

#[tokio::test]
async fn a_cookie_gives_fresh_jwts_for_seven_days_without_another_login() {
    let f = Fixture::new(AuthOptions::default()).await;
    let cookie = f.cookie().await;
    f.clock.advance(Duration::from_secs(7 * 24 * 3600 - 1));
    let reply = f.get(TOKEN, &[("cookie", &format!("theme=dark; {cookie}"))]).await;
    assert_eq!(reply.status, 200);
    let jwt = reply.body["token"].as_str().unwrap();
    let claims = f.keys.verify(jwt, f.clock.now() + Duration::from_secs(899)).unwrap();
    assert_eq!(claims.sub, f.anna);
    assert_eq!(f.mana.sessions_created().await, 1);

    f.clock.advance(Duration::from_secs(1));
    assert_eq!(f.get(TOKEN, &[("cookie", &cookie)]).await.status, 401);
    assert_eq!(f.get(LIST, &[("cookie", &cookie)]).await.status, 401);
}

#[tokio::test]
async fn a_cookie_with_a_changed_signature_token_or_name_is_refused() {
    let f = Fixture::new(AuthOptions::default()).await;
    let cookie = f.cookie().await;
    let other = f.cookie().await;
    let (name, value) = cookie.split_once('=').unwrap();
    let (token, signature) = value.split_once('.').unwrap();
    let (other_token, other_signature) = other.split_once('=').unwrap().1.split_once('.').unwrap();
    for bad in [
        format!("{name}={token}.{other_signature}"),
        format!("{name}={other_token}.{signature}"),
        format!("{name}={token}."),
        format!("{name}={token}.%3D%3D"),
        format!("__Secure-{name}={value}"),
        format!("other={value}"),
    ] {
        assert_eq!(f.get(LIST, &[("cookie", &bad)]).await.status, 401, "{bad}");
    }
    let decoded = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
    let good = format!("{name}={token}.{decoded}");
    assert_eq!(f.get(LIST, &[("cookie", &good)]).await.status, 200);
}

#[tokio::test]
async fn the_cookie_is_set_as_the_service_sets_it_over_http_and_over_https() {
    let f = Fixture::new(AuthOptions::default()).await;
    let reply = f.sign_in_email(ANNA, &password_of(ANNA)).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.get("accessToken").is_none());
    assert_eq!(reply.body["user"]["id"], json!(f.anna));
    let token = reply.body["token"].as_str().unwrap();
    let set_cookie = reply.header("set-cookie").unwrap();
    assert!(set_cookie.starts_with(&format!("mana.session_token={token}.")), "{set_cookie}");
    assert!(set_cookie.contains("; Max-Age=604800;") && set_cookie.contains("; HttpOnly"));
    assert!(!set_cookie.contains("Secure") && !set_cookie.contains("Domain"));

    let options = AuthOptions { https_cookie: true, ..AuthOptions::default() };
    let f = Fixture::new(options).await;
    let reply = f.sign_in_email(ANNA, &password_of(ANNA)).await;
    let set_cookie = reply.header("set-cookie").unwrap();
    assert!(set_cookie.starts_with("__Secure-mana.session_token="), "{set_cookie}");
    assert!(set_cookie.contains("; Domain=") && set_cookie.contains("; Secure;"));
    let cookie = set_cookie.split(';').next().unwrap();
    assert_eq!(f.get(LIST, &[("cookie", cookie)]).await.status, 200);
    let renamed = cookie.trim_start_matches("__Secure-");
    assert_eq!(f.get(LIST, &[("cookie", renamed)]).await.status, 401);
}

#[tokio::test]
async fn in_the_seeds_deployment_the_jwt_opens_organization_list_until_it_expires() {
    let options = AuthOptions { deployment: Deployment::Seeds, ..AuthOptions::default() };
    let f = Fixture::new(options).await;
    let login = f.login(ANNA, &password_of(ANNA)).await.body;
    let bearer = format!("Bearer {}", login["token"].as_str().unwrap());
    assert_eq!(f.get(LIST, &[]).await.status, 401);
    assert_eq!(f.get(LIST, &[("authorization", &bearer)]).await.body[0]["name"], "Anna");
    assert_eq!(f.get(TOKEN, &[("authorization", &bearer)]).await.status, 200);
    f.clock.advance(Duration::from_secs(900));
    assert_eq!(f.get(LIST, &[("authorization", &bearer)]).await.status, 401);
}

#[tokio::test]
async fn a_test_decides_which_spaces_are_listed_and_how_metadata_arrives() {
    let options = AuthOptions { metadata_as_string: true, ..AuthOptions::default() };
    let f = Fixture::new(options).await;
    let cookie = f.cookie().await;
    let listed = f.get(LIST, &[("cookie", &cookie)]).await.body;
    assert_eq!(listed[0]["metadata"], r#"{"tier":"public","type":"personal"}"#);
    assert_eq!(f.mana.space_of(&f.anna).await.as_deref(), listed[0]["id"].as_str());

    let spaces = [
        json!({"id": "none", "metadata": null}),
        json!({"id": "team", "metadata": {"type": "team"}}),
        json!({"id": "own", "metadata": {"type": "personal"}}),
    ];
    f.mana.set_organizations(&f.anna, &spaces).await;
    assert_eq!(f.get(LIST, &[("cookie", &cookie)]).await.body, json!(spaces));
    assert_eq!(f.mana.space_of(&f.anna).await.as_deref(), Some("own"));
    f.mana.set_organizations(&f.anna, &[]).await;
    assert_eq!(f.get(LIST, &[("cookie", &cookie)]).await.body, json!([]));
    assert_eq!(f.mana.space_of(&f.anna).await, None);
}

#[tokio::test]
async fn the_vault_can_be_initialised_repeatedly_with_the_jwt() {
    let f = Fixture::new(AuthOptions::default()).await;
    let vaults = f.mana.vaults();
    assert!(vaults.is_initialised(&f.anna), "by default everyone has a vault");
    vaults.initialise_all(false);
    assert!(!vaults.is_initialised(&f.anna));

    let login = f.login(ANNA, &password_of(ANNA)).await.body;
    let session = format!("Bearer {}", login["token"].as_str().unwrap());
    let refused = f.send(Method::POST, VAULT, &[("authorization", &session)], "").await;
    assert_eq!(refused.status, 401);
    let jwt = format!("Bearer {}", login["accessToken"].as_str().unwrap());
    for _ in 0..2 {
        let reply = f.send(Method::POST, VAULT, &[("authorization", &jwt)], "").await;
        assert_eq!(reply.status, 200);
    }
    assert!(vaults.is_initialised(&f.anna) && !vaults.is_initialised(&f.ben));
    f.clock.advance(Duration::from_secs(900));
    let expired = f.send(Method::POST, VAULT, &[("authorization", &jwt)], "").await;
    assert_eq!(expired.status, 401);
}

#[tokio::test]
async fn the_public_key_is_published() {
    let f = Fixture::new(AuthOptions::default()).await;
    let reply = f.get("/api/auth/jwks", &[]).await;
    assert_eq!((reply.status, reply.body), (200, f.keys.jwks()));
}
