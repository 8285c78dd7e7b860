//! The main turn: what the persona is told, and the loop of replies and calls until it ends.

use std::time::Duration;

use devstack::{auth::SeedPersona, claude::Scripted, mcp::Behaviour};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    script::{
        habits_list, main_requests, make_due, only_failure, outcomes, play, play_well, posts,
        rating_requests, raw, results, rpc,
    },
    support::{Setup, persona},
};

#[tokio::test]
async fn the_prompt_names_the_date_of_the_daemons_clock_in_its_zone() {
    for (zone, moments) in [
        (
            "",
            &[
                ("2026-03-09T22:59:59Z", "2026-03-09"),
                ("2026-03-09T23:00:00Z", "2026-03-10"),
                // Daylight saving time began in the night before.
                ("2026-03-29T21:59:59Z", "2026-03-29"),
                ("2026-03-29T22:00:00Z", "2026-03-30"),
            ][..],
        ),
        (
            "America/New_York",
            &[("2026-03-10T03:59:59Z", "2026-03-09"), ("2026-03-10T04:00:00Z", "2026-03-10")],
        ),
        (
            "Pacific/Kiritimati",
            &[("2026-03-09T11:00:00Z", "2026-03-10"), ("2026-12-31T10:00:00Z", "2027-01-01")],
        ),
    ] {
        let world = Setup::one(&["habits"]).var("TZ", zone).start().await;
        for (moment, date) in moments {
            let moment: Timestamp = moment.parse().unwrap();
            world.clock.advance(moment.duration_since(world.clock.now()).unsigned_abs());
            make_due(&world).await;
            play_well(&world, [Scripted::text("Heute nicht.")]).await;
            let prompt = main_requests(&world).pop().unwrap().first_user_text();
            let dates: Vec<_> = prompt
                .split(|c: char| !c.is_ascii_digit() && c != '-')
                .filter(|word| word.len() == date.len())
                .collect();
            assert_eq!(dates, [*date], "{zone} at {moment}: {prompt}");
        }
    }
}

#[tokio::test]
async fn the_prompt_is_german_and_names_the_liked_modules_verbatim_heaviest_first() {
    let mixes = [
        (
            json!({"todo": 0.2, "newsResearch": 0.5, "articles": 0.3}),
            "newsResearch, articles, todo",
        ),
        (json!({"habits": 1, "Müsli-Plan 2.0": 7, "x": 2.5}), "Müsli-Plan 2.0, x, habits"),
        (json!({"notes": 0.4}), "notes"),
    ];
    let personas = mixes.iter().zip(["anna", "ben", "lena"]).map(|((mix, _), name)| SeedPersona {
        module_mix: mix.as_object().unwrap().clone(),
        ..persona(name, &[])
    });
    let world = Setup { personas: personas.collect(), ..Setup::default() }.start().await;
    world.peers.claude.answer_with(|_| Some(Scripted::text("Bis morgen.")));
    world.good_tick().await;
    let requests = main_requests(&world);
    assert_eq!(requests.len(), mixes.len());
    for ((_, in_order), name) in mixes.iter().zip(["anna", "ben", "lena"]) {
        let request = requests.iter().find(|request| request.system.contains(name)).unwrap();
        let prompt = request.first_user_text();
        for part in ["Heute ist der ", "deiner Mana-App", "3 bis 8 Tools", "1–2 Sätze", in_order]
        {
            assert!(prompt.contains(part), "{part} in {prompt}");
        }
    }
}

#[tokio::test]
async fn the_system_prompt_is_the_personas_own_unchanged_in_every_request() {
    let prompt = "  Du bist „Anna“ & \"müde\" 😴.\n\n\tHeute? <system>{date}</system> \\n \n";
    let anna = SeedPersona { system_prompt: prompt.into(), ..persona("anna", &["habits"]) };
    let world = Setup { personas: vec![anna], ..Setup::default() }.start().await;
    play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")]).await;
    let requests = world.peers.claude.requests();
    assert_eq!(requests.len(), 3, "two of the main turn, one for the rating");
    for mut request in requests {
        request.body["system"][0].as_object_mut().unwrap().remove("cache_control");
        assert_eq!(request.body["system"], json!([{"type": "text", "text": prompt}]));
    }
}

#[tokio::test]
async fn requests_hold_what_the_contract_allows_and_nothing_else() {
    for (model, effort, sent) in [
        ("", "", json!({"effort": "low"})),
        ("claude-sonnet-5-5", "medium", json!({"effort": "medium"})),
        ("claude-haiku-4-5", "none", Value::Null),
    ] {
        let setup = Setup::one(&["habits"]).var("ANTHROPIC_MODEL", model);
        let world = setup.var("ANTHROPIC_EFFORT", effort).start().await;
        play_well(&world, [Scripted::tools(&[habits_list()]), Scripted::text("Ok.")]).await;
        let wanted = if model.is_empty() { "claude-haiku-5-5" } else { model };
        for request in main_requests(&world) {
            let mut keys =
                vec!["model", "max_tokens", "system", "tools", "messages", "cache_control"];
            keys.extend(sent.is_object().then_some("output_config"));
            assert_eq!(keys_of(&request.body), keys);
            assert_eq!((request.model.as_str(), &request.body["output_config"]), (wanted, &sent));
            assert!((1..=16_000).contains(&request.max_tokens), "{}", request.max_tokens);
        }
        for request in rating_requests(&world) {
            let keys = ["model", "max_tokens", "system", "messages", "output_config"];
            assert_eq!(keys_of(&request.body), keys);
            assert_eq!(request.body["output_config"]["effort"], sent["effort"]);
        }
        for request in world.peers.claude.served.recorder.all() {
            assert_eq!((request.method.as_str(), request.path()), ("POST", "/v1/messages"));
            for (name, value) in [
                ("x-api-key", Some("sk-ant-devstack")),
                ("authorization", None),
                ("anthropic-version", Some("2026-10-21")),
                ("anthropic-beta", None),
                ("content-type", Some("application/json")),
                ("accept", Some("application/json")),
            ] {
                assert_eq!(request.header(name), value, "{name}");
            }
        }
    }
}

fn keys_of(body: &Value) -> Vec<&str> {
    body.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_turn_limit_is_an_ordinary_end_whose_last_calls_are_carried_out_and_rated() {
    for limit in [1, 3] {
        let world = Setup::one(&["habits"]).var("PERSONA_MAX_TURNS", limit).start().await;
        world.peers.claude.answer_with(|request| {
            // The persona would never stop calling tools.
            (!request.is_rating()).then(|| Scripted::tools(&[habits_list(), habits_list()]))
        });
        world.good_tick().await;
        assert_eq!(main_requests(&world).len(), limit);
        assert_eq!(world.peers.mcp.calls().len(), 2 * limit);
        assert_eq!(outcomes(&world.actions().await), vec![("habits.list", "ok"); 2 * limit]);
        assert_eq!(world.feedback().await.len(), 1);
    }
}

#[tokio::test]
async fn parallel_calls_are_answered_in_order_in_one_message_and_recorded_one_by_one() {
    let world = Setup::one(&["habits"]).start().await;
    let mcp = &world.peers.mcp;
    // The schemas of these tools accept any object.
    let failing = Behaviour::IsError("gerade nicht".into());
    let gone = Behaviour::RpcError { code: -32603, message: "Internal error".into() };
    for (tool, behaviour) in [("odd.fails", failing), ("odd.gone", gone)] {
        mcp.add_tool(tool, "Odd.", json!({"type": "object"}).as_object().unwrap().clone());
        mcp.override_tool(tool, 1, behaviour);
    }
    mcp.override_tool("library.list", 1, Behaviour::Delay(Duration::from_millis(60)));
    // Inputs in forms that no serializer would write; the hashes are those that Node computes.
    let calls = [
        ("library_list", r#"{}"#, "library.list", "ok", "44136fa355b3678a"),
        (
            "odd_fails",
            r#"{ "b" : 1.0, "2":"x", "1":"y", "a":
                [1e21, 1e-7, 0.000001, 123456789012345678901, -0, 100, 1.5e300] }"#,
            "odd.fails",
            "error",
            "38b086e56c9e7ede",
        ),
        ("odd_gone", r#"{"a":1,"b":2,"a":3}"#, "odd.gone", "error", "493df656a590967c"),
        (
            "no_such_tool",
            r#"{"title":"Milch kaufen","done":false}"#,
            "no_such_tool",
            "error",
            "4cc029c9f15c1a93",
        ),
        ("habits_list", r#"[ null,true]"#, "habits.list", "error", "13ff475ae41d7268"),
        ("habits_list", r#"{ }"#, "habits.list", "ok", "44136fa355b3678a"),
    ];
    let blocks: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(n, (name, input, ..))| {
            let text = format!(r#"{{"type":"text","text":"Schritt {n}","citations":null}}"#);
            format!(
                r#"{text},{{"type":"tool_use","id":"toolu_{n}","name":"{name}","input":{input}}}"#
            )
        })
        .collect();
    let reply = raw(&format!("[{}]", blocks.join(",")), Some("tool_use"));
    play_well(&world, [reply, Scripted::text("Fertig.")]).await;

    let results = results(&main_requests(&world)[1]);
    assert_eq!(results.len(), calls.len(), "results and nothing else");
    let actions = world.actions().await;
    assert_eq!(actions.len(), calls.len());
    for (n, (((_, _, tool, result, hash), block), row)) in
        calls.iter().zip(&results).zip(&actions).enumerate()
    {
        assert_eq!(block["type"], "tool_result");
        assert_eq!(block["tool_use_id"], format!("toolu_{n}"));
        assert_eq!(block["is_error"] == true, *result == "error", "{block}");
        assert_eq!((row.tool_name.as_str(), row.result.as_str()), (*tool, *result));
        assert_eq!(row.input_hash.as_deref(), Some(*hash), "{tool}");
        assert_eq!(row.error_message.is_some(), *result == "error", "{row:?}");
        assert!(row.latency_ms.is_some());
    }
    assert!(actions[0].latency_ms.unwrap() >= 60, "{:?}", actions[0]);
    for (row, expected) in
        [(1, "gerade nicht"), (2, "-32603"), (3, "no such tool"), (4, "JSON object")]
    {
        let message = actions[row].error_message.as_deref().unwrap();
        assert!(message.contains(expected), "{message}");
        assert!(results[row].to_string().contains(expected), "{}", results[row]);
    }
    let tick_ids: Vec<_> = actions.iter().map(|row| &row.tick_id).collect();
    assert!(tick_ids.iter().all(|id| *id == tick_ids[0]) && tick_ids[0].len() == 36);
    assert_eq!(posts(&world, "/actions").len(), 1);
}

#[tokio::test]
async fn replies_are_replayed_byte_for_byte_and_the_history_only_grows() {
    const FIRST: &str = r#"[ {"type": "thinking","thinking":"","signature":"sig_a"},
        {"type":"text", "text":"Ich sehe \u00fcberall nach."},{"type":"hologram","id":"h1","n":1.0},
        {"type":"redacted_thinking","data":"Eq=="},
        {"type":"tool_use","id":"toolu_a","name":"habits_list","input":{ "limit": 1e1 },"x":null}]"#;
    const SECOND: &str = r#"[{"input":{},"name":"goals_list","id":"toolu_b","type":"tool_use"} ]"#;
    let world = Setup::one(&["habits"]).start().await;
    let replies = [raw(FIRST, Some("tool_use")), raw(SECOND, Some("tool_use"))];
    play_well(&world, replies.into_iter().chain([Scripted::text("Das war's.")])).await;
    let requests = main_requests(&world);
    assert_eq!(requests.len(), 3);
    for (index, content) in [(1, FIRST), (2, FIRST), (2, SECOND)] {
        let message = format!(r#"{{"role":"assistant","content":{content}}}"#);
        assert!(requests[index].raw.contains(&message), "{}", requests[index].raw);
    }
    for pair in requests.windows(2) {
        let before = pair[0].raw.split_once(r#""messages":["#).unwrap().1;
        let after = pair[1].raw.split_once(r#""messages":["#).unwrap().1;
        let (before, _) = before.rsplit_once(']').unwrap();
        assert!(after.starts_with(before), "{after}\ndoes not continue\n{before}");
        assert_eq!(pair[0].tools, pair[1].tools);
    }
    assert_eq!(world.peers.mcp.calls().len(), 2);
}

#[tokio::test]
async fn every_ordinary_stop_reason_ends_the_day_and_runs_no_further_tool() {
    let with_call = |stop: Option<&str>| {
        let call = r#"[{"type":"text","text":"Noch was"},
            {"type":"tool_use","id":"toolu_late","name":"goals_list","input":{}}]"#;
        raw(&call.replace("late", stop.unwrap_or("none")), stop)
    };
    let endings = [
        Scripted::text("Gute Nacht."),
        Scripted::nothing("end_turn"),
        Scripted::stop("stop_sequence", "Bis"),
        Scripted::stop("max_tokens", "Ich wollte noch"),
        Scripted::stop("model_context_window_exceeded", "Voll"),
        Scripted::stop("compaction", "Neu"),
        Scripted::stop("tool_use", "Welches Werkzeug?"),
        raw("[]", None),
        with_call(None),
        with_call(Some("model_context_window_exceeded")),
        with_call(Some("something_new")),
    ];
    let world = Setup::one(&["habits"]).start().await;
    for (n, ending) in endings.into_iter().enumerate() {
        make_due(&world).await;
        let what = format!("{ending:?}");
        play_well(&world, [Scripted::tools(&[habits_list()]), ending]).await;
        assert_eq!(main_requests(&world).len(), 2 * (n + 1), "{what}");
        assert_eq!(outcomes(&world.actions().await), vec![("habits.list", "ok"); n + 1], "{what}");
        assert_eq!(world.feedback().await.len(), n + 1, "{what}");
    }
    assert!(world.peers.mcp.calls().iter().all(|call| call.tool == "habits.list"));
}

#[tokio::test]
async fn a_truncated_call_is_never_executed_and_asked_for_once_more_with_more_room() {
    let cut = || {
        let whole = r#"{"type":"tool_use","id":"toolu_1","name":"goals_list","input":{}}"#;
        let part =
            r#"{"type":"tool_use","id":"toolu_2","name":"habits_create","input":{"title":"W"}}"#;
        raw(&format!("[{whole},{part}]"), Some("max_tokens"))
    };
    for (replies, asked, actions) in [
        (
            vec![cut(), Scripted::tools(&[habits_list()]), Scripted::text("Ok.")],
            3,
            vec![("habits.list", "ok")],
        ),
        (vec![cut(), Scripted::text("Doch nicht.")], 2, vec![("__idle", "ok")]),
        (vec![cut(), cut()], 2, vec![("__idle", "ok")]),
        (vec![Scripted::tools(&[habits_list()]), cut(), cut()], 3, vec![("habits.list", "ok")]),
    ] {
        let world = Setup::one(&["habits"]).start().await;
        let cut_at = usize::from(matches!(&replies[0], Scripted::Message { stop_reason, .. }
            if stop_reason.as_deref() == Some("tool_use")));
        play_well(&world, replies).await;
        let requests = main_requests(&world);
        assert_eq!(requests.len(), asked);
        let (first, second) = (&requests[cut_at], &requests[cut_at + 1]);
        assert_eq!(first.messages, second.messages, "as if the cut reply had never been");
        assert!(second.max_tokens > first.max_tokens);
        assert_eq!(outcomes(&world.actions().await), actions);
        assert!(world.peers.mcp.calls().iter().all(|call| call.tool == "habits.list"));
    }
}

#[tokio::test]
async fn a_paused_turn_is_continued_unchanged_and_not_for_ever() {
    let world = Setup::one(&["habits"]).start().await;
    let pause = || Scripted::stop("pause_turn", "Moment …");
    let replies = [pause(), Scripted::tools(&[habits_list()]), Scripted::text("Ok.")];
    play_well(&world, replies).await;
    let second = &main_requests(&world)[1];
    assert_eq!(second.messages.len(), 2, "the question and the paused reply, nothing put in");
    assert_eq!(second.messages[1]["role"], "assistant");
    assert_eq!(outcomes(&world.actions().await), [("habits.list", "ok")]);

    let world = Setup::one(&["habits"]).var("PERSONA_MAX_TURNS", 1000).start().await;
    world.peers.claude.answer_with(move |_| Some(pause()));
    world.good_tick().await;
    assert!((2..20).contains(&main_requests(&world).len()), "{}", main_requests(&world).len());
    assert_eq!(outcomes(&world.actions().await), [("__idle", "ok")]);
}

/// A refusal in the middle of the output: none of the content may be used.
fn refusal() -> Scripted {
    Scripted::Message {
        content: r#"[{"type":"text","text":"Ich kann"},
            {"type":"tool_use","id":"toolu_r","name":"goals_list","input":{}}]"#
            .into(),
        stop_reason: Some("refusal".into()),
        stop_details: json!({"type": "refusal", "category": "general_harms", "explanation": null}),
    }
}

#[tokio::test]
async fn a_refusal_before_any_call_fails_the_run_posts_nothing_and_holds_the_persona_back() {
    let world = Setup::one(&["habits"]).start().await;
    let result = play(&world, [refusal()]).await;
    let error = only_failure(&result);
    assert!(error.contains("refusal") && error.contains("general_harms"), "{error}");
    let held = world.tick().await;
    assert_eq!(
        (&held["due"], &held["skipped"], &held["failed"]),
        (&json!(1), &json!(1), &json!([]))
    );
    assert_eq!(world.peers.claude.requests().len(), 1, "asked once, and not again");
    assert_eq!(posts(&world, "/actions").len() + posts(&world, "/feedback").len(), 0);
    assert_eq!(rpc(&world, "tools/call").len(), 0);
    world.clock.advance(Duration::from_secs(61));
    play_well(&world, [Scripted::text("Heute geht es.")]).await;
}

#[tokio::test]
async fn a_run_that_ends_badly_after_calls_posts_them_and_one_last_mark_in_a_single_batch() {
    let two_calls = || Scripted::tools(&[habits_list(), ("goals_list", json!({}))]);
    for (replies, calls, reason) in [
        (vec![two_calls(), refusal()], 2, "refusal"),
        (vec![Scripted::tools(&[habits_list()]), refusal()], 1, "refusal"),
    ] {
        let world = Setup::one(&["habits"]).start().await;
        let result = play(&world, replies).await;
        assert!(only_failure(&result).contains(reason), "{result}");
        assert_eq!(result["failed"][0]["persona"], "persona.anna@mana.test");
        let batches = posts(&world, "/actions");
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].json()["actions"].as_array().unwrap().len(), calls + 1);
        let actions = world.actions().await;
        let (mark, before) = actions.split_last().unwrap();
        assert!(before.iter().all(|row| row.result == "ok" && row.tool_name.contains('.')));
        assert_eq!((mark.tool_name.as_str(), mark.result.as_str()), ("__run", "error"));
        assert!(mark.error_message.as_deref().unwrap().contains(reason), "{mark:?}");
        assert_eq!(world.peers.mcp.calls().len(), calls);
        assert_eq!((rating_requests(&world).len(), world.feedback().await.len()), (0, 0));
        assert_eq!(world.tick().await["due"], 0, "it left a mark, so it is neither due nor held");
    }
}

#[tokio::test]
async fn invented_tools_are_errors_under_the_name_the_model_wrote_and_never_called() {
    let long = "x".repeat(300);
    let emoji = "😀".repeat(100);
    let names =
        ["habits.list", "no_such_tool", "Habits_List", "böse\n\"name\"", "a\0b", &long, &emoji];
    let rows = [
        "habits.list",
        "no_such_tool",
        "Habits_List",
        "böse\n\"name\"",
        "ab",
        &long[..128],
        &"😀".repeat(64),
    ];
    let world = Setup::one(&["habits"]).start().await;
    let calls: Vec<_> = names.iter().map(|name| (*name, json!({"a": 1}))).collect();
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Schade.")]).await;
    let results = results(&main_requests(&world)[1]);
    assert_eq!(results.len(), names.len());
    assert!(results.iter().all(|result| result["is_error"] == true), "{results:?}");
    let actions = world.actions().await;
    let mut expected: Vec<_> = rows.map(|name| (name, "error")).to_vec();
    expected.push(("__idle", "ok"));
    assert_eq!(outcomes(&actions), expected);
    assert_eq!(rpc(&world, "tools/call").len(), 0);
    assert_eq!((rating_requests(&world).len(), world.feedback().await.len()), (0, 0));
    let unknown = world.metric(r#"tool_calls_total{outcome="error",tool="unknown"}"#).await;
    assert_eq!(unknown, Some(names.len() as f64));
}

#[tokio::test]
async fn a_day_without_a_listed_tool_leaves_one_idle_mark_and_is_not_rated() {
    for reply in [
        Scripted::text("Heute bleibe ich im Bett."),
        Scripted::nothing("end_turn"),
        Scripted::stop("max_tokens", "Ich dachte"),
        raw("[]", None),
    ] {
        let world = Setup::one(&["habits"]).start().await;
        let result = play_well(&world, [reply]).await;
        assert_eq!(result["ranSuccessfully"], 1);
        let actions = world.actions().await;
        assert_eq!(outcomes(&actions), [("__idle", "ok")]);
        assert_eq!((&actions[0].input_hash, &actions[0].error_message), (&None, &None));
        assert_eq!(world.peers.claude.requests().len(), 1);
        assert_eq!(world.tick().await["due"], 0);
    }
}

#[tokio::test]
async fn calls_run_one_after_the_other_in_the_order_the_model_gave() {
    let world = Setup::one(&["habits"]).start().await;
    let slow = Behaviour::Delay(Duration::from_millis(150));
    world.peers.mcp.override_tool("goals.create", 1, slow);
    let calls = [
        ("goals_create", json!({"title": "zuerst"})),
        ("goals_create", json!({"title": "danach"})),
        ("contacts_create", json!({"name": "zuletzt"})),
    ];
    play_well(&world, [Scripted::tools(&calls), Scripted::text("Fertig.")]).await;
    let space = world.peers.auth.space_of(&world.users[0]).await.unwrap();
    let written: Vec<_> = world.peers.mcp.entries(&space).into_iter().map(|e| e.fields).collect();
    let names: Vec<_> =
        written.iter().map(|fields| fields.get("title").or(fields.get("name")).unwrap()).collect();
    assert_eq!(names, ["zuerst", "danach", "zuletzt"]);
    let modules: Vec<_> = world.feedback().await.into_iter().map(|row| row.module).collect();
    assert_eq!(modules, ["goals", "contacts"]);
}
