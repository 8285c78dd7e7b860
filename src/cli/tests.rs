//! Tests of the command line's output, with journals that are filled by the journal's own functions.

mod compare;
mod facts;
mod report;

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::{arguments::Show, *};
use crate::{
    agent::{
        call::{CallRecord, Called, CalledTool},
        day_end::DayEnd,
        step::{Step, TurnOpening},
    },
    clients::{
        claude::{Reply, ResultBlock},
        personas::Batch,
    },
    config::BudgetConfig,
    domain::{
        Cadence, Language, ModuleMix, ModuleName, ModuleRating, Outcome, Persona, Rating, RunId,
        Slot, ToolName, Usd, UserId, Week,
    },
    facts::RunFacts,
    journal::{EndedRun, NewReport, NewRun, PostKey, PostKind, RunSettings, RunState, Spending},
};

const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);
/// An escape sequence that must not reach a terminal unescaped.
const ESCAPE: &str = "\u{1b}]0;owned\u{7}";

fn usd(dollars: f64) -> Usd {
    Usd::from_dollars(dollars).unwrap()
}

fn at(seconds: u64) -> Timestamp {
    NOON + Duration::from_secs(seconds)
}

fn id(n: u32) -> RunId {
    RunId::parse(&format!("019aa5b4-7f{n:02}-7cc3-9d5e-3f1f7a1c2b3d")).unwrap()
}

fn persona(name: &str) -> Persona {
    Persona {
        user_id: UserId::parse(&format!("user-{name}")).unwrap(),
        email: format!("persona.{name}@mana.test"),
        system_prompt: format!("Du bist {name}, 28,{ESCAPE}\nund schreibst kurz."),
        module_mix: ModuleMix::new([(ModuleName::new("habits"), 1.0)]),
        cadence: Cadence::Daily,
        archetype: None,
    }
}

async fn begin(journal: &Journal, n: u32, name: &str, attempt: u32, now: Timestamp) -> RunId {
    let (id, persona, slot) = (id(n), persona(name), Slot::stored("2026-11-21"));
    let model = "claude-haiku-5-5";
    let begun = RunSettings::unknown(now);
    let run = NewRun { id, persona: &persona, slot: &slot, attempt, model, begun };
    journal.begin_run(run, now).await.unwrap();
    id
}

fn ended(state: RunState, reason: &str) -> EndedRun {
    EndedRun {
        state,
        stage: "done",
        replies: 2,
        calls: 4,
        call_errors: 2,
        ratings: 1,
        reason: Some(reason.into()),
        next_eligible_at: None,
        outcome: Outcome::Done,
        facts: RunFacts::default(),
        deployment_end: None,
    }
}

fn reply(content: serde_json::Value, stop_reason: &str) -> Reply {
    let reply = json!({
        "content": content, "stop_reason": stop_reason, "refusal": null,
        "usage": {"input": 1_200, "output": 85, "cache_read": 14_000, "cache_write_5m": 0,
            "cache_write_1h": 0},
        "cost": {"input": 1_000_000_000u64, "output": 400_000_000u64, "cache_read": 100_000_000u64,
            "cache_write": 0},
    });
    serde_json::from_str(&reply.to_string()).unwrap()
}

fn listed(name: &str) -> CalledTool {
    CalledTool::Listed(ToolName::new(name))
}

fn called(number: u32, tool: CalledTool, error: Option<&str>, content: Vec<ResultBlock>) -> Step {
    Step::Called(Called {
        id: format!("toolu_{number}"),
        record: CallRecord {
            number,
            tool,
            input_hash: None,
            error: error.map(str::to_owned),
            outcome_unknown: error.is_some_and(|error| error.contains("unknown")),
            not_run: false,
            excerpt: String::new(),
            latency: Duration::from_millis(u64::from(number) * 110),
            detail: Default::default(),
            started: tokio::time::Instant::now(),
            reached: false,
            policy: Vec::new(),
        },
        content,
        hints: Vec::new(),
    })
}

fn asking() -> Step {
    Step::Asking { reserved: usd(0.0115) }
}

/// The steps of a first turn with tool calls of every kind.
fn first_turn() -> Vec<Step> {
    let long = "Zeile mit Inhalt\n".repeat(90);
    let list: Vec<_> = (0..40).map(|n| json!({"id": n, "title": format!("Eintrag {n}")})).collect();
    let calls = json!([
        {"type": "thinking", "thinking": "", "signature": "S=="},
        {"type": "text", "text": format!("Guten Morgen!{ESCAPE}\nIch lege los.")},
        {"type": "tool_use", "id": "toolu_1", "name": "habits_create", "input":
            {"title": "Jeden Morgen zehn Minuten lesen", "frequency": "daily", "steps": [1, 2.5],
             "notes": "vor dem Frühstück, am Fenster"}},
        {"type": "tool_use", "id": "toolu_2", "name": "habits_list", "input": {}},
        {"type": "tool_use", "id": "toolu_3", "name": "habits_dream", "input": {"a": "b"}},
        {"type": "tool_use", "id": "toolu_4", "name": "notes_list", "input": {"limit": 40}},
        {"type": "tool_use", "id": "toolu_5", "name": "journal_add", "input": {}},
    ]);
    let text = |text: &str| vec![ResultBlock::Text(text.into())];
    let image = ResultBlock::Image { media_type: "image/png".into(), data: "AAAA".repeat(900) };
    let invented = CalledTool::Invented(format!("habits_dream{ESCAPE}"));
    let calling = |n: u32, name| Step::Calling { id: format!("toolu_{n}"), tool: listed(name) };
    vec![
        Step::Opened(TurnOpening { opening: "Heute ist Samstag.".into(), catalog: "abc".into() }),
        asking(),
        Step::Replied(reply(calls, "tool_use")),
        calling(1, "habits.create"),
        calling(2, "habits.list"),
        called(
            1,
            listed("habits.create"),
            None,
            text(&format!("{{\"ok\":true,\"x\":\"{ESCAPE}\"}}")),
        ),
        called(2, listed("habits.list"), None, vec![ResultBlock::Text(long), image]),
        called(3, invented, Some("there is no such tool"), text("there is no such tool")),
        calling(4, "notes.list"),
        called(
            4,
            listed("notes.list"),
            Some("outcome unknown: timed out"),
            text(&json!(list).to_string()),
        ),
        calling(5, "journal.add"),
    ]
}

/// The steps of a complete run, with a lost answer and a rating.
fn whole_run() -> Vec<Step> {
    let mut steps = first_turn();
    let note = ModuleRating::new(
        ModuleName::new("habits"),
        Rating::nearest(4.0).unwrap(),
        Some(&format!("Gut, aber die Liste ist lang.{ESCAPE}")),
        vec![1, 2],
    );
    let reminder = "<reminder>Two of your calls failed.</reminder>".to_owned();
    steps.extend([
        called(5, listed("journal.add"), None, Vec::new()),
        Step::Told { reminder: Some(reminder), as_system: true, cut: vec![] },
        asking(),
        Step::Unanswered { lost: false },
        asking(),
        asking(),
        Step::ThinkingStripped,
        Step::Replied(reply(
            json!([{"type": "text", "text": "Das war es für heute."}]),
            "end_turn",
        )),
        Step::DayEnded(DayEnd { reason: "done".into(), ..DayEnd::default() }),
        asking(),
        Step::Unanswered { lost: true },
        asking(),
        Step::Replied(reply(json!([{"type": "text", "text": "{\"ratings\":[]}"}]), "end_turn")),
        Step::Rated { rows: vec![note] },
    ]);
    steps
}

async fn write_down(journal: &Journal, run: RunId, steps: &[Step]) {
    for (number, step) in (0..).zip(steps) {
        let body = serde_json::to_string(step).unwrap();
        journal.append_step(run, number, &body, at(u64::from(number) * 2)).await.unwrap();
    }
}

/// Reserves money for the request of [`first_turn`].
async fn spend(journal: &Journal, run: RunId, name: &str, dollars: f64) {
    let spending = Spending::of(&persona(name).user_id, NOON);
    let body = serde_json::to_string(&asking()).unwrap();
    let step = (run, 1, body.as_str());
    journal
        .reserve(step, &spending, usd(dollars), &BudgetConfig::default(), NOON)
        .await
        .unwrap()
        .unwrap();
}

fn post(number: u32, kind: PostKind) -> (u32, Batch) {
    (number, Batch { kind, rows: 3, body: "{}".into() })
}

/// A journal with four runs: one whose steps were deleted, a finished one, a failed one and a running one.
async fn journal() -> Journal {
    let journal = Journal::in_memory().await.unwrap();
    let pruned = begin(&journal, 1, "dora", 1, NOON).await;
    journal.end_run(pruned, &ended(RunState::Finished, "done"), &[], NOON).await.unwrap();
    assert_eq!(journal.prune(at(1), at(1)).await.unwrap(), 1);
    let finished = begin(&journal, 2, "anna", 1, at(60)).await;
    spend(&journal, finished, "anna", 0.0276).await;
    write_down(&journal, finished, &whole_run()).await;
    let posts = [post(0, PostKind::Actions), post(1_000_000, PostKind::Feedback)];
    let end = ended(RunState::Finished, "done");
    journal.end_run(finished, &end, &posts, at(95)).await.unwrap();
    let failed = begin(&journal, 3, "ben", 2, at(120)).await;
    let why = format!("login: mana-auth answered 500{ESCAPE}: {}", "oh ".repeat(30));
    let end = EndedRun {
        stage: "login",
        replies: 0,
        calls: 0,
        call_errors: 0,
        ratings: 0,
        ..ended(RunState::Failed, &why)
    };
    journal.end_run(failed, &end, &[], at(121)).await.unwrap();
    let running = begin(&journal, 4, "cleo", 1, at(180)).await;
    write_down(&journal, running, &first_turn()).await;
    journal
}

async fn rendered(journal: &Journal, question: Question) -> String {
    let text = render(&question, journal, at(100)).await.unwrap().text;
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text:?}");
    text
}

const OUTBOX: Question = Question::Outbox { command: None };
const RETRY: Question = Question::Outbox { command: Some(OutboxCommand::Retry) };

fn runs(limit: u32) -> Question {
    Question::Runs { limit, command: None }
}

fn show(n: u32, full: bool) -> Question {
    Question::Show(Show { run: id(n).to_string().parse().unwrap(), full })
}

#[tokio::test]
async fn runs_are_listed_newest_first() {
    let journal = journal().await;
    insta::assert_snapshot!(rendered(&journal, runs(20)).await);
    let text = rendered(&journal, runs(1)).await;
    assert!(text.contains("cleo") && !text.contains("ben") && text.contains("1 run,"), "{text}");
    let empty = Journal::in_memory().await.unwrap();
    let text = rendered(&empty, runs(1)).await;
    assert!(text.starts_with("There are no runs yet"), "{text}");
}

#[tokio::test]
async fn a_run_is_shown_as_a_conversation() {
    insta::assert_snapshot!(rendered(&journal().await, show(2, false)).await);
}

#[tokio::test]
async fn all_of_a_run_is_shown_if_it_is_asked_for() {
    let journal = journal().await;
    let text = rendered(&journal, show(2, true)).await;
    assert_eq!(text.matches("Zeile mit Inhalt").count(), 90);
    assert!(text.contains("Eintrag 39") && text.contains("{\"ratings\":[]}"), "{text}");
    assert!(!text.contains("--full"), "{text}");
}

#[tokio::test]
async fn what_is_asked_for_the_ratings_is_shown_as_it_was_asked() {
    let journal = journal().await;
    let text = rendered(&journal, show(2, true)).await;
    let (before, question) = text.split_once("\nWhat it is asked to rate\n").unwrap();
    assert!(before.contains("The day ended: done"), "{before}");
    assert!(question.starts_with("  Dein Tag in der Mana-App ist vorbei."), "{question}");
    for part in ["1. habits.create – ok", "4. notes.list – Fehler", "„Das war es für heute.“"]
    {
        assert!(question.contains(part), "{part} in {question}");
    }
    assert!(question.contains("jedes dieser Module: habits, notes, journal."), "{question}");
    let (question, _) = question.split_once("\nRating, answer 1:").unwrap();
    assert!(question.contains("No answer came"), "it is not repeated with the same request");
    assert_eq!(text.matches("What it is asked to rate").count(), 1);

    // The first answer has no ratings, so the model is asked once more for the missing ones.
    let mut steps = whole_run();
    let rated = steps.pop().unwrap();
    let some = r#"{"ratings":[{"module":"notes","notes":"gut","calls":[4],"rating":4}]}"#;
    steps.extend([
        asking(),
        Step::Replied(reply(json!([{"type": "text", "text": some}]), "end_turn")),
        rated,
    ]);
    let run = begin(&journal, 5, "emil", 1, at(300)).await;
    write_down(&journal, run, &steps).await;
    let text = rendered(&journal, show(5, false)).await;
    let questions: Vec<_> = text.split("\nWhat it is asked to rate\n").collect();
    let [_, first, second] = questions[..] else { panic!("{text}") };
    assert!(first.contains("Rating, answer 1:") && !first.contains("Rating, answer 2:"), "{text}");
    assert!(second.starts_with("  In deiner Antwort fehlt noch"), "{second}");
    assert!(second.contains("habits, notes, journal") && second.contains("Rating, answer 2:"));
}

#[tokio::test]
async fn a_day_that_is_not_rated_has_no_question() {
    let journal = journal().await;
    let steps = whole_run();
    let end = steps.iter().position(|step| matches!(step, Step::DayEnded(_))).unwrap();
    let run = begin(&journal, 5, "emil", 1, at(300)).await;
    write_down(&journal, run, &steps[..=end]).await;
    let text = rendered(&journal, show(5, true)).await;
    assert!(text.ends_with("\nThe day ended: done\n"), "{text}");
}

#[tokio::test]
async fn a_run_whose_rows_were_refused_or_that_failed_does_not_pass_for_a_finished_one() {
    let journal = Journal::in_memory().await.unwrap();
    let kinds = [(0, PostKind::Actions), (1_000_000, PostKind::Feedback)];
    let posts = kinds.map(|(number, kind)| post(number, kind));
    for (n, stage) in
        [(1, "done"), (2, "main_turn"), (3, "rating_turn"), (4, "post_actions"), (5, "due")]
    {
        let run = begin(&journal, n, "anna", 1, at(u64::from(n))).await;
        let end = EndedRun { stage, ..ended(RunState::Finished, "done") };
        journal.end_run(run, &end, if n == 1 { &posts } else { &[] }, at(10)).await.unwrap();
    }
    let states = async || {
        let table = rendered(&journal, runs(9)).await;
        let rows = table.lines().skip(1).take(5);
        let mut states: Vec<_> =
            rows.map(|row| row.split_whitespace().nth(2).unwrap().to_owned()).collect();
        states.reverse();
        states
    };
    assert_eq!(states().await, ["finished", "failed", "failed", "refused", "failed"]);
    let shown = rendered(&journal, show(1, false)).await;
    assert!(
        shown.contains("state     finished, stage done") && !shown.contains("refused rows"),
        "{shown}"
    );

    let key = |number| PostKey { run: id(1), number };
    let reason = format!("post_feedback: 404{ESCAPE}");
    journal.bury_post(key(1_000_000), &reason, at(11)).await.unwrap();
    assert_eq!(states().await[0], "refused");
    let shown = rendered(&journal, show(1, false)).await;
    assert!(shown.contains("state     refused, stage done"), "{shown}");
    let (_, end) = shown.split_once("\nmana-auth refused rows of this run for good:\n").unwrap();
    assert!(
        end.starts_with("  3 rows of feedback: post_feedback: 404\\u{1b}]0;owned\\u{7}\n"),
        "{end}"
    );
    assert!(end.contains("outbox retry") && end.contains("outbox discard RUN"), "{end}");

    // A run whose refused rows are sent again is finished; one whose rows were discarded stays refused.
    rendered(&journal, RETRY).await;
    assert_eq!(states().await[0], "finished");
    journal.bury_post(key(1_000_000), &reason, at(11)).await.unwrap();
    rendered(
        &journal,
        Question::Outbox {
            command: Some(OutboxCommand::Discard { what: id(1).to_string().parse().unwrap() }),
        },
    )
    .await;
    assert_eq!(states().await[0], "refused");
    let shown = rendered(&journal, show(1, false)).await;
    assert!(shown.contains("state     refused, stage post_feedback"), "{shown}");
    assert!(
        shown.ends_with("refused rows of this run for good; they are no longer kept.\n"),
        "{shown}"
    );
    let shown = rendered(&journal, show(4, false)).await;
    assert!(
        shown.ends_with("refused rows of this run for good; they are no longer kept.\n"),
        "{shown}"
    );
}

#[tokio::test]
async fn the_posts_of_a_run_are_counted_however_many_others_wait() {
    let journal = Journal::in_memory().await.unwrap();
    let end = ended(RunState::Finished, "done");
    for (n, number_of_posts) in [(1, 1_100), (2, 2)] {
        let run = begin(&journal, n, "anna", 1, at(u64::from(n))).await;
        let posts: Vec<_> = (0..number_of_posts).map(|n| post(n, PostKind::Actions)).collect();
        journal.end_run(run, &end, &posts, at(10 * u64::from(n))).await.unwrap();
    }
    for (n, posts) in [(1, "1,100"), (2, "2")] {
        let shown = rendered(&journal, show(n, false)).await;
        let expected = format!("outbox    {posts} posts on the way, 0 refused for good");
        assert!(shown.contains(&expected), "{shown}");
    }
}

#[tokio::test]
async fn a_run_that_goes_on_is_shown_as_far_as_it_has_come() {
    let journal = journal().await;
    let text = rendered(&journal, show(4, false)).await;
    assert!(text.contains("came to   1 turn, 4 tool calls (2 errors), 0 ratings"), "{text}");
    assert!(text.contains("→ journal.add\n      {}\n    ← no result yet"), "{text}");
    let asking = serde_json::to_string(&asking()).unwrap();
    journal.append_step(id(4), 50, &asking, at(200)).await.unwrap();
    let text = rendered(&journal, show(4, false)).await;
    let expected =
        "The model was asked at 12:03:20 UTC and has not answered yet; $0.0115 are reserved.";
    assert!(text.ends_with(&format!("\n{expected}\n")), "{text}");
    assert!(text.contains("cost      $0.0000\n"), "what is reserved is not lost: {text}");
}

#[tokio::test]
async fn a_call_without_input_is_shown_with_none_where_its_reply_was_cut_off() {
    let journal = journal().await;
    let cut_off = json!([{"type": "tool_use", "id": "toolu_9", "name": "journal_add"}]);
    let step = serde_json::to_string(&Step::Replied(reply(cut_off, "max_tokens"))).unwrap();
    journal.append_step(id(4), 50, &step, at(200)).await.unwrap();
    let text = rendered(&journal, show(4, false)).await;
    assert!(text.contains("→ journal_add\n      {}\n    ← not called yet"), "{text}");
}

#[tokio::test]
async fn a_run_without_steps_says_why() {
    let journal = journal().await;
    let pruned = rendered(&journal, show(1, false)).await;
    assert!(pruned.contains("Its steps are gone") && pruned.contains("user-dora"), "{pruned}");
    assert!(!pruned.contains("Nothing was said"), "{pruned}");
    let failed = rendered(&journal, show(3, false)).await;
    assert!(failed.contains("Nothing was said") && failed.contains("attempt 2"), "{failed}");
    assert!(failed.contains(r"500\u{1b}]0;owned\u{7}: oh oh"), "{failed}");
}

#[tokio::test]
async fn a_step_of_another_version_hides_no_other() {
    let journal = journal().await;
    journal.append_step(id(2), 60, "{\"dreamt\":{}}", at(90)).await.unwrap();
    let day_end = Step::DayEnded(DayEnd { reason: "afterwards".into(), ..DayEnd::default() });
    let day_end = serde_json::to_string(&day_end).unwrap();
    journal.append_step(id(2), 61, &day_end, at(90)).await.unwrap();
    let text = rendered(&journal, show(2, false)).await;
    assert!(text.contains("[step 60 cannot be read: unknown variant `dreamt`"), "{text}");
    assert!(text.contains("The day ended: afterwards"), "{text}");
}

#[tokio::test]
async fn the_beginning_of_an_id_is_enough_if_it_is_one_runs_alone() {
    let journal = journal().await;
    let ask = |prefix: &str| {
        let question = Question::Show(Show { run: prefix.parse().unwrap(), full: false });
        let journal = &journal;
        async move { Ok::<_, CliError>(render(&question, journal, NOON).await?.text) }
    };
    assert!(ask("019aa5b4-7f03").await.unwrap().contains("persona.ben@mana.test"));
    let other = RunId::parse("119aa5b4-7f1e-7cc3-9d5e-3f1f7a1c0009").unwrap();
    let (persona, slot) = (persona("emil"), Slot::stored("s"));
    let begun = RunSettings::unknown(NOON);
    let run = NewRun { id: other, persona: &persona, slot: &slot, attempt: 1, model: "m", begun };
    journal.begin_run(run, NOON).await.unwrap();
    assert!(ask("119A").await.unwrap().contains("persona.emil@mana.test"));
    assert!(matches!(ask("2").await, Err(CliError::NoSuchRun(_))));
    let Err(error) = ask("019aa5b4-").await else { panic!("not ambiguous") };
    let list: String = [1, 2, 3, 4].map(|n| format!("\n  {}", id(n))).concat();
    assert!(
        error.to_string().ends_with(&format!("several runs; say more of it:{list}")),
        "{error}"
    );
}

#[tokio::test]
async fn the_outbox_lists_what_was_refused_and_what_waits() {
    let journal = journal().await;
    let key = |number| PostKey { run: id(2), number };
    let reason = format!("post_actions: 404{ESCAPE}");
    journal.bury_post(key(0), &reason, at(96)).await.unwrap();
    journal.postpone_post(key(1_000_000), "post_feedback: 503", at(97), at(105)).await.unwrap();
    insta::assert_snapshot!(rendered(&journal, OUTBOX).await);
    let shown = rendered(&journal, show(2, false)).await;
    assert!(shown.contains("outbox    1 post on the way, 1 refused for good"), "{shown}");

    let text = rendered(&journal, RETRY).await;
    assert!(text.starts_with("2 posts marked"), "{text}");
    assert_eq!(journal.runs_with_due_posts(at(100)).await.unwrap(), [id(2)]);
    assert_eq!(journal.due_post(id(2), at(100)).await.unwrap().unwrap().key, key(0));
    for number in [0, 1_000_000] {
        journal.confirm_post(key(number)).await.unwrap();
    }
    for question in [OUTBOX, RETRY] {
        let text = rendered(&journal, question).await;
        assert!(text.starts_with("The outbox is empty"), "{text}");
    }
}

#[tokio::test]
async fn the_outbox_lists_the_reports_that_the_webhook_has_not_taken() {
    let journal = Journal::in_memory().await.unwrap();
    let [old, new] = ["2026-W45", "2026-W46"].map(|week| week.parse::<Week>().unwrap());
    for week in [old, new] {
        let report = NewReport {
            week,
            language: Language::German,
            written_at: NOON,
            html: "",
            markdown: "",
            json: "",
            is_posted: true,
            runs: &[],
        };
        journal.store_report(&report, NOON).await.unwrap();
    }
    journal.refuse_report(new, &format!("the webhook answered 410{ESCAPE}"), NOON).await.unwrap();
    insta::assert_snapshot!(rendered(&journal, OUTBOX).await);
    let discard = |week| {
        let what = Discarded::Report(week);
        Question::Outbox { command: Some(OutboxCommand::Discard { what }) }
    };
    let text = rendered(&journal, discard(old)).await;
    assert!(text.contains("was not refused for good"), "{text}");
    assert!(rendered(&journal, RETRY).await.starts_with("2 reports marked"));
    assert!(journal.kept_report_posts().await.unwrap().iter().all(|post| !post.is_refused));
    journal.confirm_report(old, NOON).await.unwrap();
    journal.refuse_report(new, "410", NOON).await.unwrap();
    let text = rendered(&journal, discard(new)).await;
    assert_eq!(text, "The report of 2026-W46 is not posted any more. The report itself stays.\n");
    assert!(rendered(&journal, OUTBOX).await.starts_with("The outbox is empty"));
}

/// A pipe whose reader goes away after the given number of bytes.
struct Pipe(Vec<u8>, usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = bytes.len().min(self.1 - self.0.len());
        if room == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.extend(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nobody_has_to_read_an_answer_to_its_end() {
    let mut pipe = Pipe(Vec::new(), 3);
    write(&mut pipe, "abcdef").unwrap();
    assert_eq!(pipe.0, b"abc");
}

#[tokio::test]
async fn what_is_no_journal_is_said_to_be_none() {
    let folder = std::env::temp_dir().join(format!("mana-cli-{}", Uuid::now_v7()));
    let ask = || async {
        let mut output = Vec::new();
        let error = answer(&OUTBOX, &folder, &mut output).await.unwrap_err();
        assert!(output.is_empty());
        let said = error.with_folder(&folder);
        assert!(said.contains(&*folder.to_string_lossy()), "{said}");
        said
    };
    assert!(ask().await.contains("there is no journal"));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join(crate::journal::FILE_NAME);
    std::fs::write(&file, "no database, but long enough to be taken for one. ".repeat(40)).unwrap();
    assert!(ask().await.contains("damaged"));
    std::fs::write(&file, "").unwrap();
    assert!(ask().await.contains("there is no journal"));
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(ask().await.contains("no regular file"));
    std::fs::remove_dir_all(&folder).unwrap();
}
