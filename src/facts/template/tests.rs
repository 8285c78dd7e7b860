use proptest::prelude::*;
use serde_json::{Value, json};

use super::{super::Fingerprint, *};

const NOTHING: &str = "{}";

fn of(text: &str, input: &Value) -> String {
    template(Cause::Handler, text, &input.to_string())
}

fn plain(text: &str) -> String {
    template(Cause::Handler, text, NOTHING)
}

fn fingerprint(text: &str, input: &Value) -> Fingerprint {
    Fingerprint::of(Cause::Handler, Some("todo.create"), &of(text, input))
}

#[test]
fn what_differs_each_time_becomes_a_placeholder() {
    for (text, template) in [
        ("Task 17 of anna.k+x@mail.example.de not found", "Task ‹number› of ‹email› not found"),
        ("GET https://api.mana.how/v1/tasks?id=7, sorry.", "GET ‹url›, sorry."),
        ("no 3f2504e0-4f89-41d3-9a0c-0305e82c3301!", "no ‹uuid›!"),
        ("Fällig am 18.11.2026, nicht 2026-11-18T14:00:05.123Z", "Fällig am ‹date›, nicht ‹date›"),
        ("2026-11-18 14:00 liegt vor 14:30 Uhr", "‹date› liegt vor ‹time› Uhr"),
        ("blob deadbeef1 and 0xdeadbeef9 differ", "blob ‹number› and ‹number› differ"),
        ("deadbeef is food", "deadbeef is food"),
        ("key 01ARZ3NDEKTSV4RRFFQ69G5FAV", "key ‹id›"),
        (
            "habit_123 took 10012ms, -3.5 or 1,000 of item42",
            "habit_‹number› took ‹number›ms, ‹number› or ‹number› of item‹number›",
        ),
        ("E11000 and HTTP_404 and S3_ERROR stay", "E11000 and HTTP_404 and S3_ERROR stay"),
    ] {
        assert_eq!(plain(text), template, "{text}");
    }
}

#[test]
fn codes_stay() {
    for text in [
        "HTTP 502 Bad Gateway",
        "HTTP/1.1 502 Bad Gateway",
        "status: 404",
        "Request failed with status code 404",
        "Fehlercode (429)",
        "MCP error -32601: Method not found",
    ] {
        assert_eq!(plain(text), text);
    }
    assert_eq!(
        plain("HTTP 5020, 502 rows, code 12"),
        "HTTP ‹number›, ‹number› rows, code ‹number›"
    );
}

#[test]
fn texts_of_the_input_become_their_paths_the_longest_first() {
    let input = json!({"title": "Milch kaufen", "task": {"tags": ["Milch", "kaufen gehen wir"]}, "n": "abc"});
    for (text, template) in [
        ("»Milch kaufen« fehlt", "»‹title›« fehlt"),
        ("Milch kaufen gehen wir", "‹tas› ‹task.tags.*›"),
        ("Milchreis, abc, Milch!", "Milchreis, abc, ‹tas›!"),
    ] {
        assert_eq!(of(text, &input), template, "{text}");
    }
    assert_eq!(of("Milch\u{301} kaufen", &json!("Milch\u{301}  kaufen")), "‹input›");
    assert_eq!(template(Cause::Handler, "no \u{fffd}abc", r#"{"id":"\ud83dabc"}"#), "no ‹id›");
    assert_eq!(template(Cause::Handler, "no Milch", r#"{"title":"Milch""#), "no ‹tit›");
}

#[test]
fn json_says_its_code_or_its_error() {
    for (text, template) in [
        (r#"{"code":"VAULT_MISSING","message":"No vault in habits"}"#, "VAULT_MISSING"),
        ("{\n  \"error\": \"Task 5\\nnot found\"\n}", "Task ‹number›"),
        (
            r#"{"error":{"code":1062,"message":"Duplicate entry 7"}}"#,
            "code=1062: Duplicate entry ‹number›",
        ),
        (r#"{"error":"{\"error\":\"{\\\"code\\\":\\\"A_B\\\"}\"}"}"#, "A_B"),
        (r#"{"code":"not_found","error":"no 5"}"#, "not_found: no ‹number›"),
        (r#"{"message":"no 5"}"#, "no ‹number›"),
        (r#"{"a":5"#, r#"{"a":‹number›"#),
        (r#"{"code":"A_B","rows":[1,2"#, "A_B"),
    ] {
        assert_eq!(plain(text), template, "{text}");
    }
    let long = format!(r#"{{"code":"A_B","rows":"{}"}}"#, "x".repeat(5_000_000));
    assert_eq!(plain(&long), "A_B");
}

#[test]
fn a_coded_error_is_its_code() {
    for text in [
        "VAULT_MISSING: no vault in habits",
        "[VAULT_MISSING] no vault in notes",
        "VAULT_MISSING",
        "Error: VAULT_MISSING: no vault",
        "MCP error -32603: VAULT_MISSING: no vault",
        r#"{"error":"VAULT_MISSING"}"#,
        "{\n \"error\": {\"code\": \"VAULT_MISSING\"}}",
    ] {
        assert_eq!(code_of(text), Some("VAULT_MISSING"), "{text}");
        assert_eq!(template(Cause::Coded, text, NOTHING), "VAULT_MISSING");
    }
    assert_eq!(code_of("FORBIDDEN: no"), Some("FORBIDDEN"));
    for text in [
        "ERROR: no",
        "HTTP 500",
        "HTTP://a",
        "Task_A: no",
        "A_B no",
        "",
        "[",
        "{",
        "[]",
        r#"{"code":"a_b"}"#,
    ] {
        assert_eq!(code_of(text), None, "{text}");
    }
}

#[test]
fn rejected_input_is_its_fields_and_codes_sorted() {
    let zod = "MCP error -32602: Input validation error: Invalid arguments for tool todo.create: [\n  {\n    \
        \"code\": \"too_small\",\n    \"minimum\": 1,\n    \"path\": [\n      \"items\",\n      3,\n      \"title\"\n    ],\n    \
        \"message\": \"Too small: expected string to have >=1 characters\"\n  },\n  {\n    \"code\": \"unrecognized_keys\",\n    \
        \"keys\": [\n      \"due\"\n    ],\n    \"path\": [],\n    \"message\": \"Unrecognized key: \\\"due\\\"\"\n  },\n  {\n    \
        \"expected\": \"string\",\n    \"code\": \"invalid_type\",\n    \"path\": [\n      \"date\"\n    ]\n  }\n]";
    let pair = |path: &str, code: &str| (path.to_owned(), code.to_owned());
    let fields = [
        pair("items.*.title", "too_small"),
        pair("due", "unrecognized_keys"),
        pair("date", "invalid_type"),
    ];
    assert_eq!(rejected_fields(zod), fields);
    let expected =
        "rejected input: date invalid_type, due unrecognized_keys, items.*.title too_small";
    for cause in [Cause::RejectedInput, Cause::Handler] {
        assert_eq!(template(cause, zod, r#"{"date":"title"}"#), expected);
    }
    // devstack's form, and a text that was cut.
    let other = r#"Input validation error: Invalid arguments for tool a.b: [{"path":"mix.17.x","message":"Required"},{"path":"y"#;
    assert_eq!(rejected_fields(other), [pair("mix.*.x", "Required")]);
    assert_eq!(rejected_fields(r#"[{"path":[],"code":"custom"}]"#), [pair(".", "custom")]);
    assert_eq!(rejected_fields(r#"Nothing of [{"path":"y","code":"a"}]"#), []);
}

#[test]
fn two_long_lists_of_rejected_fields_differ_where_they_were_cut() {
    let list = |last: &str| {
        let fields = (0..50).map(|n| format!("field_{}{n}", "x".repeat(n % 7)));
        let issues = fields.chain([last.to_owned()]);
        let issues = issues.map(|path| json!({"path": [path], "code": "too_small"}));
        template(Cause::RejectedInput, &Value::from_iter(issues).to_string(), NOTHING)
    };
    let (one, other) = (list("zz_one"), list("zz_other"));
    assert!(one.chars().count() <= 300 && one != other, "{one} {other}");
    let (shown, mark) = one.rsplit_once(", …").unwrap();
    assert_eq!((mark.len(), other.starts_with(shown)), (8, true), "{one}");
    assert_eq!(template(Cause::RejectedInput, &one, NOTHING), one);
    assert_eq!(rejected_fields(&one).len(), shown.split(", ").count());
    let whole = template(Cause::RejectedInput, r#"[{"path":["a"],"code":"b"}]"#, NOTHING);
    assert_eq!(whole, "rejected input: a b");
}

#[test]
fn hostile_characters_do_not_reach_a_template() {
    assert_eq!(
        plain("a\0b\u{202e}c\u{1b}[31m\u{2028}d \t e\u{200b}\nsecond line"),
        "a bc [‹number›m d e"
    );
    assert_eq!(plain("\0\n \u{200e}first\r\nsecond"), "first");
    let emoji = "😀".repeat(2_000);
    assert_eq!(plain(&emoji).chars().count(), 300);
    for shift in 0..4 {
        let text = format!("{}{emoji}", "a".repeat(shift));
        assert!(plain(&text).ends_with("😀…"));
    }
}

#[test]
fn one_issue_whatever_the_input_and_the_ids() {
    let text = |title: &str| {
        format!("Gewohnheit „{title}“ gibt es schon, {}", "sagt der Dienst ".repeat(30))
    };
    let yoga = fingerprint(&text("Yoga"), &json!({"habit": {"title": "Yoga"}}));
    let other = "Meditation am Morgen";
    assert_eq!(yoga, fingerprint(&text(other), &json!({"habit": {"title": other}})));
}

/// A word that is part of no fixed text below.
fn word() -> impl Strategy<Value = String> {
    "[a-zäöüß]{4,20}( [a-zäöüß]{4,9}){0,3}".prop_filter("part of the fixed text", |word| {
        !["task", "does", "exist", "aufgabe"]
            .iter()
            .any(|fixed| word.contains(fixed) || fixed.contains(word))
    })
}

fn id() -> impl Strategy<Value = String> {
    prop_oneof![any::<u32>().prop_map(|n| n.to_string()), "[0-9a-f]{3}[0-9][0-9a-f]{8,40}",]
}

fn uuid() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
}

/// Pieces that patterns, placeholders and JSON consist of.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zA-Z0-9]{1,12}",
        "[ .,:;/@+_\\-…‹›\"{}\\[\\]#=()]{1,3}",
        "[0-9]{1,5}",
        any::<char>().prop_map(String::from),
        prop::sample::select(vec![
            "HTTP",
            "http/",
            "code",
            "code=",
            "error ",
            "-32601",
            "404",
            "‹title›",
            "‹number›",
            "{\"code\":",
            "\"error\":",
            "\"A_B\"",
            "{\"error\":\"",
            "VAULT_MISSING",
            ": ",
            "rejected input: ",
            "[{\"path\":\"a\",\"code\":\"b\"}]",
            "Input validation error",
            "title",
            "number",
            "2026-11-18",
            "T14:00",
            "a@b.de",
            "http://x.y",
            "e\u{301}",
            "\u{202e}",
            "\0",
            "\n",
            "deadbeef1",
            "0x",
            "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            "milch",
            "Milch kaufen",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn inputs() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        hostile().prop_map(|text| Value::String(text.chars().take(30).collect())),
        prop::sample::select(vec![
            "title",
            "number",
            "Milch kaufen",
            "milch",
            "code",
            "error",
            "VAULT_MISSING",
            "rejected",
            "item"
        ])
        .prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[a-z.‹ 0-9]{0,20}", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn causes() -> impl Strategy<Value = Cause> {
    prop::sample::select(vec![
        Cause::Handler,
        Cause::Coded,
        Cause::Rpc,
        Cause::RejectedInput,
        Cause::Unreachable,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn two_ids_and_two_inputs_have_one_fingerprint(titles in (word(), word()), ids in (id(), id()), uuids in (uuid(), uuid())) {
        let failure = |title: &str, id: &str, uuid: &str| {
            let text = format!("Task '{title}' ({id}) does not exist: {uuid}, Aufgabe {title}");
            fingerprint(&text, &json!({"task": {"title": title}, "id": uuid}))
        };
        prop_assert_eq!(failure(&titles.0, &ids.0, &uuids.0), failure(&titles.1, &ids.1, &uuids.1));
    }

    #[test]
    fn different_codes_have_different_fingerprints(one in "[A-Z]{3,8}(_[A-Z0-9]{1,8}){0,3}", other in "[A-Z]{3,8}(_[A-Z0-9]{1,8}){0,3}", status in (100u16..600, 100u16..600)) {
        prop_assume!(one != other && status.0 != status.1);
        for form in [r#"{"code":"$"}"#, r#"{"error":"$"}"#, "$: failed", "[$] failed"] {
            let of = |code: &str| Fingerprint::of(Cause::Coded, None, &template(Cause::Coded, &form.replace('$', code), NOTHING));
            prop_assert_ne!(of(&one), of(&other), "{}", form);
        }
        for form in ["HTTP $", "status code $: no", r#"{"code":$,"error":"no"}"#] {
            let of = |code: u16| fingerprint(&form.replace('$', &code.to_string()), &json!({}));
            prop_assert_ne!(of(status.0), of(status.1), "{}", form);
        }
    }

    #[test]
    fn a_template_is_its_own_template_and_a_safe_line(cause in causes(), text in hostile(), input in inputs()) {
        let input = input.to_string();
        let once = template(cause, &text, &input);
        prop_assert_eq!(&template(cause, &once, &input), &once);
        prop_assert!(once.chars().count() <= 300);
        let is_unsafe = |c: char| c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c);
        prop_assert!(!once.contains(is_unsafe));
        prop_assert_eq!(once.trim(), &once);
        let short = canonical(&once);
        prop_assert_eq!(&canonical(&short), &short);
    }

    #[test]
    fn a_placeholder_of_the_input_is_no_longer_than_the_text(text in "[a-z ]{0,60}", input in prop::collection::btree_map("[a-z]{1,30}", "[a-z]{1,9}( [a-z]{1,9})?", 0..6)) {
        let line = clean(&text);
        let replaced = leaves::replace(&line, &json!(input).to_string());
        prop_assert!(replaced.chars().count() <= line.chars().count(), "{} became {}", line, replaced);
    }
}
