//! Actions and feedback: row ids, repeats, refusals, and the 500s that lose a whole batch.

use sqlx::Row;

use super::*;
use crate::auth::{ActionRow, FeedbackRow};

#[tokio::test]
async fn actions_are_written_with_every_column_and_an_id_of_tick_index_and_tool() {
    let f = Fixture::new(AuthOptions::default()).await;
    let failed = json!({"tickId": "t1", "toolName": "notes.create", "inputHash": "0123456789abcdef",
        "result": "error", "errorMessage": "Ungültig", "latencyMs": 2_147_483_647});
    let reply = f.post_actions(&f.anna, &[action("t1", "todo.list"), failed]).await;
    assert_eq!((reply.status, reply.body), (200, json!({"ok": true, "written": 2})));
    let row = ActionRow {
        id: "t1-0-todo.list".into(),
        persona_id: f.anna.clone(),
        tick_id: "t1".into(),
        tool_name: "todo.list".into(),
        input_hash: None,
        result: "ok".into(),
        error_message: None,
        latency_ms: None,
        created_at: f.clock.now(),
    };
    let second = ActionRow {
        id: "t1-1-notes.create".into(),
        tool_name: "notes.create".into(),
        input_hash: Some("0123456789abcdef".into()),
        result: "error".into(),
        error_message: Some("Ungültig".into()),
        latency_ms: Some(2_147_483_647),
        ..row.clone()
    };
    assert_eq!(f.mana.actions().await, [row, second]);
}

#[tokio::test]
async fn ratings_are_written_with_every_column_and_an_id_of_tick_and_module() {
    let f = Fixture::new(AuthOptions::default()).await;
    let noted = json!({"tickId": "t1", "module": "todo", "rating": 4, "notes": "Ganz gut."});
    let reply = f.post_feedback(&f.anna, &[noted, rating("t1", "mood", 1)]).await;
    assert_eq!((reply.status, reply.body), (200, json!({"ok": true, "written": 2})));
    let row = FeedbackRow {
        id: "t1-todo".into(),
        persona_id: f.anna.clone(),
        tick_id: "t1".into(),
        module: "todo".into(),
        rating: 4,
        notes: Some("Ganz gut.".into()),
        created_at: f.clock.now(),
    };
    let second = FeedbackRow {
        id: "t1-mood".into(),
        module: "mood".into(),
        rating: 1,
        notes: None,
        ..row.clone()
    };
    assert_eq!(f.mana.feedback().await, [row, second]);
}

#[tokio::test]
async fn a_repeat_is_answered_alike_and_writes_nothing() {
    let f = Fixture::new(AuthOptions::default()).await;
    let rows = [action("t1", "todo.list"), action("t1", "todo.list")];
    for _ in 0..2 {
        assert_eq!(f.post_actions(&f.anna, &rows).await.body["written"], 2);
        let reply = f.post_feedback(&f.anna, &[rating("t1", "todo", 3)]).await;
        assert_eq!(reply.body["written"], 1);
    }
    assert_eq!(f.mana.actions().await.len(), 2);
    assert_eq!(f.mana.feedback().await.len(), 1);
}

#[tokio::test]
async fn a_second_batch_of_the_same_tick_loses_rows_silently_even_of_another_persona() {
    let f = Fixture::new(AuthOptions::default()).await;
    f.post_actions(&f.anna, &[action("t1", "todo.list")]).await;
    let reply =
        f.post_actions(&f.ben, &[action("t1", "todo.list"), action("t1", "mood.log")]).await;
    assert_eq!((reply.status, &reply.body["written"]), (200, &json!(2)));
    let kept: Vec<_> =
        f.mana.actions().await.into_iter().map(|row| (row.persona_id, row.id)).collect();
    assert_eq!(
        kept,
        [
            (f.anna.clone(), "t1-0-todo.list".to_owned()),
            (f.ben.clone(), "t1-1-mood.log".to_owned())
        ]
    );
}

#[tokio::test]
async fn an_id_is_cut_at_255_so_that_long_names_collide() {
    let f = Fixture::new(AuthOptions::default()).await;
    let module = format!("{}😀", "x".repeat(251));
    f.post_feedback(&f.anna, &[rating("t1", &module, 3)]).await;
    let tick = "t".repeat(300);
    f.post_actions(&f.anna, &[action(&tick, "todo.list"), action(&tick, "mood.log")]).await;
    let actions = f.mana.actions().await;
    assert_eq!(actions.len(), 1);
    assert_eq!((actions[0].id.len(), actions[0].tick_id.len()), (255, 300));
    let feedback = f.mana.feedback().await;
    assert_eq!(feedback[0].id.len(), 254, "a letter of two units does not fit any more");
    assert_eq!(feedback[0].module, module);
}

#[tokio::test]
async fn a_batch_is_refused_whole_when_it_is_empty_too_large_or_has_a_bad_row() {
    let f = Fixture::new(AuthOptions::default()).await;
    let actions = format!("/{}/actions", f.anna);
    let feedback = format!("/{}/feedback", f.anna);
    for body in ["", "{", "[]", "{}", r#"{"actions":{},"feedback":{}}"#] {
        assert_eq!(f.post(&actions, body).await.status, 400, "{body}");
        assert_eq!(f.post(&feedback, body).await.status, 400, "{body}");
    }
    assert_eq!(f.post_actions(&f.anna, &[]).await.status, 400);
    assert_eq!(f.post_feedback(&f.anna, &[]).await.status, 400);
    assert_eq!(f.post_actions(&f.anna, &vec![action("t1", "a.b"); 501]).await.status, 400);
    assert_eq!(f.post_feedback(&f.anna, &vec![rating("t1", "a", 3); 101]).await.status, 400);

    let with = |field: &str, value: Value| {
        let mut row = action("t1", "todo.list");
        row[field] = value;
        row
    };
    for bad in [
        json!({"tickId": "t1", "toolName": "todo.list"}),
        json!({"tickId": "t1", "result": "ok"}),
        with("tickId", json!("")),
        with("toolName", json!("")),
        with("toolName", json!(7)),
        with("result", json!("timeout")),
        with("inputHash", Value::Null),
        with("errorMessage", Value::Null),
        with("latencyMs", Value::Null),
        with("latencyMs", json!("12")),
    ] {
        let reply = f.post_actions(&f.anna, &[action("t1", "mood.log"), bad.clone()]).await;
        assert_eq!((reply.status, &reply.body["statusCode"]), (400, &json!(400)), "{bad}");
    }
    let mut null_notes = rating("t1", "todo", 3);
    null_notes["notes"] = Value::Null;
    let stringly = rating("t1", "todo", "3");
    for bad in
        [null_notes, stringly, rating("t1", "", 3), rating("t1", "a", 0), rating("t1", "a", 6)]
    {
        let reply = f.post_feedback(&f.anna, &[rating("t1", "mood", 3), bad.clone()]).await;
        assert_eq!(reply.status, 400, "{bad}");
    }
    assert_eq!(f.mana.actions().await, []);
    assert_eq!(f.mana.feedback().await, []);
}

#[tokio::test]
async fn the_largest_batches_are_written() {
    let f = Fixture::new(AuthOptions::default()).await;
    let reply = f.post_actions(&f.anna, &vec![action("t1", "todo.list"); 500]).await;
    assert_eq!((reply.status, &reply.body["written"]), (200, &json!(500)));
    let ratings: Vec<_> = (0..100).map(|n| rating("t1", &format!("module{n}"), 3)).collect();
    assert_eq!(f.post_feedback(&f.anna, &ratings).await.body["written"], 100);
    assert_eq!(f.mana.actions().await.len(), 500);
    assert_eq!(f.mana.feedback().await.len(), 100);
}

#[tokio::test]
async fn one_value_the_database_refuses_loses_the_whole_batch_with_a_500() {
    let f = Fixture::new(AuthOptions::default()).await;
    let with = |field: &str, value: Value| {
        let mut row = action("t1", "todo.list");
        row[field] = value;
        row
    };
    for bad in [
        with("tickId", json!("t\u{0}1")),
        with("toolName", json!("todo\u{0}list")),
        with("inputHash", json!("\u{0}")),
        with("errorMessage", json!("text\u{0}")),
        with("latencyMs", json!(12.5)),
        with("latencyMs", json!(2_147_483_648_i64)),
    ] {
        let reply = f.post_actions(&f.anna, &[action("t1", "mood.log"), bad.clone()]).await;
        assert_eq!((reply.status, &reply.body["statusCode"]), (500, &json!(500)), "{bad}");
    }
    let mut noted = rating("t1", "todo", 3);
    noted["notes"] = json!("gut\u{0}");
    for bad in [noted, rating("t1", "to\u{0}do", 3), rating("t1", "todo", 3.5)] {
        let reply = f.post_feedback(&f.anna, &[rating("t1", "mood", 3), bad.clone()]).await;
        assert_eq!(reply.status, 500, "{bad}");
    }
    assert_eq!(f.mana.actions().await, []);
    assert_eq!(f.mana.feedback().await, []);
    assert_eq!(f.due_emails().await, [ANNA, BEN], "last_active_at has not moved either");

    let whole = with("latencyMs", json!(12.0));
    assert_eq!(f.post_actions(&f.anna, &[whole]).await.status, 200, "JavaScript's 12.0 is 12");
    assert_eq!(f.mana.actions().await[0].latency_ms, Some(12));
}

#[tokio::test]
async fn an_unknown_persona_is_a_404() {
    let f = Fixture::new(AuthOptions::default()).await;
    let own = json!({"statusCode": 404, "message": "Persona not found"});
    for reply in [
        f.post_actions("nobody", &[action("t1", "todo.list")]).await,
        f.post_feedback("nobody", &[rating("t1", "todo", 3)]).await,
    ] {
        assert_eq!((reply.status, reply.body), (404, own.clone()));
    }
}

#[tokio::test]
async fn the_statements_of_the_products_documents_run_unchanged() {
    let f = Fixture::new(AuthOptions::default()).await;
    f.post_actions(&f.anna, &[action("t1", "todo.list")]).await;
    f.post_feedback(&f.anna, &[rating("t1", "todo", 4)]).await;
    let mut database = f.mana.database().await;
    let row = sqlx::query(
        "SELECT persona_id, tool_name, result FROM auth.persona_actions
         ORDER BY created_at DESC LIMIT 20;",
    )
    .fetch_one(&mut *database)
    .await
    .unwrap();
    assert_eq!(row.get::<String, _>("tool_name"), "todo.list");
    let row = sqlx::query(
        "SELECT persona_id, module, rating, notes FROM auth.persona_feedback
         ORDER BY created_at DESC LIMIT 20;",
    )
    .fetch_one(&mut *database)
    .await
    .unwrap();
    assert_eq!((row.get::<String, _>("module"), row.get::<i64, _>("rating")), ("todo".into(), 4));
}

#[tokio::test]
async fn an_email_is_seeded_only_once_and_a_failed_seeding_leaves_nothing() {
    let f = Fixture::new(AuthOptions::default()).await;
    let personas = [persona("Kai", "kai@mana.test", "daily"), persona("Anna", ANNA, "daily")];
    assert!(f.mana.seed(&personas, password_of).await.is_err());
    assert_eq!(f.mana.personas().await.len(), 2);
}
