//! The rating turn: what the persona is asked, and how its answer is used.

use devstack::{
    auth::FeedbackRow,
    claude::{ParsedRequest, Scripted},
    fault::Fault,
    mcp::Behaviour,
};
use serde_json::{Value, json};

use crate::{
    script::{make_due, only_failure, outcomes, play, play_well, rating_requests, raw},
    support::{Setup, World},
};

/// A day in which `habits` and `goals` are used, followed by these answers to the rating request.
fn day_with(answers: impl IntoIterator<Item = Scripted>) -> impl Iterator<Item = Scripted> {
    let calls = [("habits_list", json!({})), ("goals_list", json!({}))];
    [Scripted::tools(&calls), Scripted::text("War gut.")].into_iter().chain(answers)
}

async fn world() -> World {
    Setup::one(&["habits"]).start().await
}

fn ratings_of(rows: &[FeedbackRow]) -> Vec<(&str, i64)> {
    rows.iter().map(|row| (row.module.as_str(), row.rating)).collect()
}

async fn unrated(world: &World) -> Option<f64> {
    world.metric("unrated_modules_total").await
}

/// The schema of one rating in a request.
fn schema_of(request: &ParsedRequest) -> &Value {
    let format = &request.body["output_config"]["format"];
    assert_eq!(format["type"], "json_schema");
    format.pointer("/schema/properties/ratings/items").unwrap()
}

#[tokio::test]
async fn the_question_is_a_fresh_one_with_a_recap_of_what_happened() {
    let world = world().await;
    let mcp = &world.peers.mcp;
    let lines = Behaviour::Result(json!({"content": [
        {"type": "text", "text": "Zeile eins\n\n  Zeile zwei"},
        {"type": "text", "text": "ö".repeat(5_000)},
    ]}));
    mcp.override_tool("habits.list", 1, lines);
    mcp.override_tool("goals.list", 1, Behaviour::IsError("Ziele sind weg".into()));
    // A read, so the call is sent once more.
    mcp.override_tool("dreams.list", 2, Behaviour::EndsStream);
    let none = |name: &'static str| (name, json!({}));
    let replies = [
        Scripted::tools(&[none("habits_list"), none("goals_list"), none("erfunden")]),
        Scripted::tools(&[none("dreams_list"), none("habits_list")]),
        Scripted::text("Das war ein\nlanger Tag. Bis morgen!"),
    ];
    play_well(&world, replies).await;
    let requests = rating_requests(&world);
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    assert_eq!(request.messages.len(), 1, "nothing of the main turn but the recap");
    assert!(request.body.get("tools").is_none());
    assert_eq!(request.system, "Du bist anna, 28, und schreibst kurz.");
    assert_eq!(
        schema_of(request)["properties"]["module"]["enum"],
        json!(["habits", "goals", "dreams"])
    );
    let text = request.first_user_text();
    let recap: Vec<_> =
        text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    for (line, (number, tool, outcome, excerpt)) in recap.iter().zip([
        (1, "habits.list", "ok", "Zeile eins Zeile zwei ö"),
        (2, "goals.list", "Fehler", "Ziele sind weg"),
        (3, "erfunden", "Fehler", "no such tool"),
        (4, "dreams.list", "Fehler", "asked twice"),
        (5, "habits.list", "ok", "total"),
    ]) {
        let parts = [format!("{number}. {tool} "), format!(" {outcome}"), excerpt.to_owned()];
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
        assert!(line.chars().count() < 300, "an excerpt: {line}");
    }
    assert_eq!(recap.len(), 5);
    for part in [
        "Das war ein langer Tag. Bis morgen!",
        "bewerte",
        "habits, goals, dreams",
        "1 (frustrierend)",
        "5 (hilft mir wirklich)",
        "ratings",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("erfunden,"), "what no server lists is not rated");
}

#[tokio::test]
async fn the_answer_is_asked_for_as_json_with_the_reason_before_the_number() {
    let world = world().await;
    play_well(&world, day_with([])).await;
    let request = &rating_requests(&world)[0];
    let rating = schema_of(request);
    let properties: Vec<_> = rating["properties"].as_object().unwrap().keys().collect();
    assert_eq!(properties, ["module", "notes", "calls", "rating"]);
    assert_eq!(rating["required"], json!(["module", "notes", "calls", "rating"]));
    assert_eq!(rating["properties"]["rating"]["enum"], json!([1, 2, 3, 4, 5]));
    let shape = r#"{"ratings":[{"module":"…","notes":"…","calls":[1],"rating":3}]}"#;
    assert!(request.first_user_text().contains(shape));
    let raw = &request.raw;
    let places: Vec<_> = ["\"module\":{", "\"notes\":{", "\"calls\":{", "\"rating\":{"]
        .map(|key| raw.find(key).unwrap())
        .to_vec();
    assert!(places.is_sorted(), "in that order on the wire: {places:?}");
}

/// A rating answer for both modules with this spelling of the number for `habits`.
fn number(spelled: &str) -> String {
    format!(
        r#"{{"ratings":[{{"module":"habits","notes":"n","calls":[1],"rating":{spelled}}},
            {{"module":"goals","notes":"n","calls":[2],"rating":2}}]}}"#
    )
}

#[tokio::test]
async fn the_answer_is_read_with_every_tolerance() {
    let plain = number("4");
    let fours = [
        plain.clone(),
        format!("\n\t {plain} \n"),
        format!("```json\n{plain}\n```"),
        format!("Klar, [hier] ist {{meine}} Meinung:\n{plain}\nBis morgen!"),
        format!("[{}]", &plain[11..plain.len() - 2]),
        r#"{"ratings":[{"module":"habits","rating":4},{"module":"goals","rating":2}]}"#.into(),
        r#"{"ratings":[{"module":"habits","rating":4,"calls":"alle","notes":7},
            {"module":"goals","rating":2,"notes":null}]}"#
            .into(),
        // Unknown and duplicate modules are dropped.
        r#"{"ratings":[{"module":"todo","rating":1},{"module":"habits","rating":4},
            {"module":"habits","rating":1},{"module":"goals","rating":2},{"rating":5}]}"#
            .into(),
        number("\"4\""),
        number("\"4/5\""),
        number("4.4"),
        number("3.5"),
        number("\" 4 \""),
    ];
    let others = [("0", 1), ("-7", 1), ("99", 5), ("1e9", 5), ("\"6\"", 5), ("2.5", 3)];
    let cases = fours.into_iter().map(|answer| (answer, 4));
    let cases = cases.chain(others.map(|(spelled, rating)| (number(spelled), rating)));
    let world = world().await;
    for (n, (answer, rating)) in cases.enumerate() {
        make_due(&world).await;
        play_well(&world, day_with([Scripted::text(&answer)])).await;
        let rows = world.feedback().await;
        assert_eq!(ratings_of(&rows[2 * n..]), [("habits", rating), ("goals", 2)], "{answer}");
        assert_eq!(rating_requests(&world).len(), n + 1, "no repair: {answer}");
    }
    assert_eq!(unrated(&world).await, Some(0.0));
}

#[tokio::test]
async fn an_answer_in_several_blocks_beside_thinking_is_read_too() {
    let world = world().await;
    let content = r#"[{"type":"thinking","thinking":"","signature":"sig"},
        {"type":"text","text":"{\"ratings\":[{\"module\":\"habits\",\"rating\":4},"},
        {"type":"text","text":"{\"module\":\"goals\",\"rating\":1}]}"}]"#;
    play_well(&world, day_with([raw(content, Some("end_turn"))])).await;
    assert_eq!(ratings_of(&world.feedback().await), [("habits", 4), ("goals", 1)]);
}

/// A rating answer with one module only.
fn only(module: &str, rating: i64) -> Scripted {
    Scripted::ratings(&[(module, rating, "Weil.")])
}

#[tokio::test]
async fn what_is_missing_is_asked_for_once_more_and_no_further() {
    let both = || Scripted::ratings(&[("habits", 5, "Ja."), ("goals", 4, "Auch.")]);
    let nothing = || Scripted::text("Keine Lust.");
    let all = ["habits", "goals"];
    for (answers, missing, rows, unrated_modules) in [
        (vec![nothing(), both()], &all[..], vec![("habits", 5), ("goals", 4)], 0.0),
        (vec![Scripted::nothing("end_turn"), both()], &all, vec![("habits", 5), ("goals", 4)], 0.0),
        (
            vec![Scripted::stop("max_tokens", "{\"ratings\":[{\"module\":\"ha"), both()],
            &all,
            vec![("habits", 5), ("goals", 4)],
            0.0,
        ),
        (
            vec![only("habits", 2), only("goals", 1)],
            &all[1..],
            vec![("habits", 2), ("goals", 1)],
            0.0,
        ),
        (
            vec![only("goals", 2), only("habits", 1)],
            &all[..1],
            vec![("goals", 2), ("habits", 1)],
            0.0,
        ),
        // A module that was rated in the first answer keeps its rating; a forgotten module stays unrated.
        (vec![only("habits", 2), nothing()], &all[1..], vec![("habits", 2)], 1.0),
        (vec![only("habits", 2), only("habits", 5)], &all[1..], vec![("habits", 2)], 1.0),
        (vec![nothing(), nothing()], &all, vec![("__parse", 3)], 2.0),
        (vec![nothing(), only("todo", 5)], &all, vec![("__parse", 3)], 2.0),
    ] {
        let world = world().await;
        let what = format!("{answers:?}");
        play_well(&world, day_with(answers)).await;
        let requests = rating_requests(&world);
        assert_eq!(requests.len(), 2, "{what}");
        let (first, second) = (&requests[0], &requests[1]);
        assert_eq!(second.messages[0], first.messages[0], "{what}");
        assert_eq!(second.messages.len(), 3, "question, answer, repair: {what}");
        assert_eq!(schema_of(second)["properties"]["module"]["enum"], json!(missing), "{what}");
        let repair = second.last_user_text();
        assert!(repair.contains(&format!("für: {}.", missing.join(", "))), "{what}: {repair}");
        assert_eq!(ratings_of(&world.feedback().await), rows, "{what}");
        assert_eq!(unrated(&world).await, Some(unrated_modules), "{what}");
    }
}

#[tokio::test]
async fn an_unreadable_answer_leaves_one_row_that_says_what_came_back() {
    let long = format!("Ich finde das alles\nviel zu {} mühsam.", "sehr ".repeat(400));
    for (answers, says) in [
        (
            vec![Scripted::text("Nö."), Scripted::text("Hab doch Nein gesagt.")],
            "Hab doch Nein gesagt.",
        ),
        (vec![Scripted::nothing("end_turn"), Scripted::nothing("max_tokens")], "max_tokens"),
        (vec![Scripted::text(&long), Scripted::text(&long)], "Ich finde das alles viel zu sehr"),
        (vec![Scripted::tools(&[("habits_list", json!({}))]), Scripted::text("Hm.")], "Hm."),
        (vec![Scripted::text("A\0B"), Scripted::text("A\0B")], "A"),
    ] {
        let world = world().await;
        play_well(&world, day_with(answers)).await;
        let rows = world.feedback().await;
        assert_eq!(ratings_of(&rows), [("__parse", 3)], "{says}");
        let notes = rows[0].notes.as_deref().unwrap();
        assert!(notes.contains(says) && notes.chars().count() <= 1_000, "{notes}");
        assert_eq!(world.peers.mcp.calls().len(), 2, "a rating turn calls no tool");
    }
}

#[tokio::test]
async fn a_refusal_to_rate_is_not_asked_again_and_leaves_the_mark() {
    let world = world().await;
    play_well(&world, day_with([Scripted::refusal("general_harms")])).await;
    assert_eq!(rating_requests(&world).len(), 1);
    let rows = world.feedback().await;
    assert_eq!(ratings_of(&rows), [("__parse", 3)]);
    let notes = rows[0].notes.as_deref().unwrap();
    assert!(notes.contains("refusal") && notes.contains("general_harms"), "{notes}");
}

#[tokio::test]
async fn notes_are_cut_at_a_thousand_characters_and_spoil_no_batch() {
    let world = world().await;
    let (long, emoji) = ("ä".repeat(3_000), "😀".repeat(3_000));
    for (notes, kept) in [
        (long.as_str(), Some("ä".repeat(1_000))),
        // Counted in UTF-16 code units, as in JavaScript, and never cut inside a character.
        (&emoji, Some("😀".repeat(500))),
        ("mit\0Null", Some("mitNull".into())),
        ("", None),
        ("\"Zeile\"\n'eins' \\ <b>", Some("\"Zeile\"\n'eins' \\ <b>".into())),
    ] {
        make_due(&world).await;
        let answer = Scripted::ratings(&[("habits", 4, notes), ("goals", 4, "Gut.")]);
        play_well(&world, day_with([answer])).await;
        let rows = world.feedback().await;
        let [habits, goals] = &rows[rows.len() - 2..] else { panic!("{rows:?}") };
        assert_eq!((habits.module.as_str(), goals.module.as_str()), ("habits", "goals"));
        assert_eq!(habits.notes, kept);
        assert_eq!(goals.notes.as_deref(), Some("Gut."));
    }
}

#[tokio::test]
async fn the_rows_carry_the_id_of_the_run_whose_actions_they_rate() {
    let world = world().await;
    play_well(&world, day_with([])).await;
    let (actions, feedback) = (world.actions().await, world.feedback().await);
    assert_eq!((actions.len(), feedback.len()), (2, 2));
    assert!(feedback.iter().all(|row| row.tick_id == actions[0].tick_id));
    assert!(feedback.iter().all(|row| row.persona_id == world.users[0]));
}

#[tokio::test]
async fn a_rating_request_that_fails_for_good_is_a_failed_entry_and_what_there_is_stays() {
    let refused = |status| Scripted::Raw { status, headers: vec![], body: "{}".into() };
    for (answers, says, rows) in [
        (vec![refused(400)], "400", vec![]),
        (vec![refused(529), refused(529), refused(529)], "529", vec![]),
        // The first answer contained a valid rating for one of the modules.
        (vec![only("habits", 2), refused(400)], "400", vec![("habits", 2)]),
        (vec![Scripted::text("Nö."), refused(400)], "400", vec![("__parse", 3)]),
    ] {
        let world = world().await;
        let result = play(&world, day_with(answers)).await;
        assert!(only_failure(&result).contains(says), "{result}");
        let actions = world.actions().await;
        assert_eq!(outcomes(&actions), [("habits.list", "ok"), ("goals.list", "ok")]);
        assert_eq!(ratings_of(&world.feedback().await), rows);
        assert_eq!(world.tick().await["due"], 0, "its actions were its mark");
        let stage = r#"runs_total{outcome="failed",stage="rating_turn"}"#;
        assert_eq!(world.metric(stage).await, Some(1.0));
    }
}

#[tokio::test]
async fn a_rating_request_is_tried_again_where_that_may_help() {
    let world = world().await;
    let faults = &world.peers.claude.served.faults;
    faults.inject(2, Fault::status(529, "{}"), |r| r.json()["tools"].is_null());
    play_well(&world, day_with([Scripted::ratings(&[("habits", 5, "a"), ("goals", 1, "b")])]))
        .await;
    assert_eq!(ratings_of(&world.feedback().await), [("habits", 5), ("goals", 1)]);
}
