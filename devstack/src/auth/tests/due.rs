//! Which personas are due, and the key check of the service path.

use super::*;

const BASE: &str = "/api/v1/internal/personas";

#[tokio::test]
async fn without_the_right_key_the_service_path_answers_401_whatever_is_asked() {
    let f = Fixture::new(AuthOptions::default()).await;
    let body = json!({"statusCode": 401, "message": "Invalid or missing service key"});
    for headers in [&[][..], &[("x-service-key", "")], &[("x-service-key", "wrong")]] {
        let due = f.get(&format!("{BASE}/due"), headers).await;
        assert_eq!((due.status, &due.body), (401, &body));
        let path = format!("{BASE}/{}/actions", f.anna);
        let actions = f.send(Method::POST, &path, headers, "{}").await;
        assert_eq!((actions.status, &actions.body), (401, &body));
    }
}

#[tokio::test]
async fn due_describes_each_persona_as_the_service_does() {
    let f = Fixture::new(AuthOptions::default()).await;
    let due = f.due().await;
    assert_eq!(due["serverTime"], "2026-11-20T10:00:00.000Z");
    let anna = json!({"userId": f.anna, "email": ANNA, "archetype": "tester",
        "systemPrompt": "Du bist Anna.", "moduleMix": {"todo": 0.25, "notes": 0.5, "mood": 0.25},
        "tickCadence": "daily", "lastActiveAt": null});
    assert_eq!(due["personas"][0], anna);
    let modules: Vec<_> = due["personas"][0]["moduleMix"].as_object().unwrap().keys().collect();
    assert_eq!(modules, ["mood", "todo", "notes"], "in the order jsonb keeps, not as written");

    let then = "2026-11-18T07:08:09.1Z".parse().unwrap();
    f.mana.set_last_active_at(&f.anna, Some(then)).await;
    let due = f.due().await;
    assert_eq!(due["personas"][1]["lastActiveAt"], "2026-11-18T07:08:09.100Z");
}

#[tokio::test]
async fn each_cadence_is_due_once_its_time_has_passed() {
    let f = Fixture::new(AuthOptions::default()).await;
    let now = f.clock.now();
    let ago = async |anna: u64, ben: u64| {
        f.mana.set_last_active_at(&f.anna, Some(now - Duration::from_secs(anna))).await;
        f.mana.set_last_active_at(&f.ben, Some(now - Duration::from_secs(ben))).await;
        f.due_emails().await
    };
    assert_eq!(ago(24 * 3600, 3600).await, [""; 0], "exactly then is not yet more");
    assert_eq!(ago(24 * 3600 + 1, 3600).await, [ANNA]);
    assert_eq!(ago(24 * 3600, 3601).await, [BEN]);
}

#[tokio::test]
async fn weekdays_means_monday_to_friday_in_utc_for_those_who_never_ran_too() {
    let f = Fixture::new(AuthOptions::default()).await;
    let lena = "persona.lena@mana.test";
    let ids = f.mana.seed(&[persona("Lena", lena, "weekdays")], password_of).await.unwrap();
    let due_at = async |at: &str| {
        f.clock.set(at.parse().unwrap());
        f.due_emails().await.iter().any(|email| email == lena)
    };
    assert!(due_at("2026-11-20T23:59:59Z").await, "Friday");
    assert!(!due_at("2026-11-21T00:00:00Z").await, "Saturday");
    assert!(!due_at("2026-11-22T23:59:59Z").await, "Sunday");
    assert!(due_at("2026-11-23T00:00:00Z").await, "Monday");
    f.mana.set_last_active_at(&ids[0], Some("2026-11-23T08:00:00Z".parse().unwrap())).await;
    assert!(!due_at("2026-11-24T08:00:00Z").await, "24 hours are not more than 24 hours");
    assert!(due_at("2026-11-24T08:00:01Z").await);
}

#[tokio::test]
async fn due_lists_personas_that_never_ran_first_and_then_those_waiting_longest() {
    let f = Fixture::new(AuthOptions::default()).await;
    let (now, day) = (f.clock.now(), Duration::from_secs(24 * 3600));
    f.mana.seed(&[persona("Kai", "kai@mana.test", "daily")], password_of).await.unwrap();
    f.mana.set_last_active_at(&f.anna, Some(now - 2 * day)).await;
    f.mana.set_last_active_at(&f.ben, Some(now - 3 * day)).await;
    assert_eq!(f.due_emails().await, ["kai@mana.test", BEN, ANNA]);
}

#[tokio::test]
async fn only_actions_move_last_active_at() {
    let f = Fixture::new(AuthOptions::default()).await;
    assert_eq!(f.post_feedback(&f.anna, &[rating("t1", "todo", 5)]).await.status, 200);
    assert_eq!(f.due_emails().await, [ANNA, BEN]);
    assert_eq!(f.post_actions(&f.anna, &[action("t1", "todo.list")]).await.status, 200);
    assert_eq!(f.due_emails().await, [BEN]);
    assert_eq!(f.mana.personas().await[0].last_active_at, Some(f.clock.now()));
    assert_eq!(f.mana.personas().await[1].last_active_at, None);
}

#[tokio::test]
async fn malformed_rows_of_a_test_follow_the_due_personas() {
    let f = Fixture::new(AuthOptions::default()).await;
    let rows = vec![json!({"userId": 7}), json!("no object")];
    f.mana.set_raw_due_rows(rows.clone());
    let personas = f.due().await["personas"].as_array().unwrap().clone();
    assert_eq!((personas.len(), &personas[2..]), (4, &rows[..]));
    f.mana.set_raw_due_rows(vec![]);
    assert_eq!(f.due_emails().await, [ANNA, BEN]);
}

#[tokio::test]
async fn a_trailing_slash_or_another_method_is_no_route() {
    let f = Fixture::new(AuthOptions::default()).await;
    let key = [("x-service-key", "devstack-service-key")];
    let rows = json!({"actions": [action("t1", "todo.list")]}).to_string();
    assert_eq!(f.get(&format!("{BASE}/due/"), &key).await.status, 404);
    let slash = f.post(&format!("/{}/actions/", f.anna), rows).await;
    assert_eq!((slash.status, slash.body), (404, Value::Null), "a page, and no refusal");
    assert_eq!(f.post(&format!("/{}/feedback/", f.anna), "{}").await.status, 404);
    assert_eq!(f.get(&format!("{BASE}/{}/actions", f.anna), &key).await.status, 404);
    assert_eq!(f.get("/api/v1/auth/login", &[]).await.status, 404);
    assert_eq!(f.get("/api/v1/personas/internal/due", &key).await.status, 404);
}

#[tokio::test]
async fn later_versions_serve_the_three_endpoints_on_another_service_and_path() {
    let f = Fixture::new(AuthOptions::default()).await;
    let served = f.mana.serve_personas_elsewhere(NewerOptions::default()).await.unwrap();
    let url = format!("{}/api/v1/personas/internal/due", served.url);
    let request = f.client.get(url).header("x-service-key", "devstack-service-key");
    let response = timeout(Duration::from_secs(20), request.send()).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    let elsewhere: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(elsewhere, f.due().await);
}

#[tokio::test]
async fn days_pass_on_the_service_path_while_sessions_and_jwts_stay_valid() {
    let f = Fixture::new(AuthOptions::default()).await;
    let cookie = f.cookie().await;
    for day in 20..31 {
        let due = f.due().await;
        assert_eq!(due["serverTime"], format!("2026-11-{day}T10:00:{:02}.000Z", day - 20));
        assert!(f.due_emails().await.contains(&ANNA.to_owned()), "once a day");
        f.post_actions(&f.anna, &[action(&format!("t{day}"), "todo.list")]).await;
        assert!(!f.due_emails().await.contains(&ANNA.to_owned()));
        f.clock.step_day();
        // Exactly 24 hours are not enough to be due.
        f.clock.turn(Duration::from_secs(1));
    }
    let path = "/api/auth/organization/list";
    assert_eq!(f.get(path, &[("cookie", &cookie)]).await.status, 200, "ten days are over seven");
    let written: Vec<_> = f.mana.actions().await.iter().map(|row| row.created_at).collect();
    assert_eq!(written[10].to_string(), "2026-11-30T10:00:10Z");
    assert_eq!(f.clock.now().to_string(), FRIDAY);
}
