//! Rules for what follows from the calls of a run.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::domain::{InputHash, Label, ModuleRating, Outcome, Rating, UnratedWhy};

const AT: Timestamp = Timestamp::constant(1_795_262_400, 0);

/// A call of `tool` that failed for this cause, or succeeded.
fn call(number: u32, tool: &str, failure: Option<Cause>) -> ObservedCall {
    let input = format!(r#"{{"n":{number}}}"#);
    ObservedCall {
        number,
        at: AT + Duration::from_secs(number.into()),
        tool: tool.to_owned(),
        is_listed: failure != Some(Cause::Invented),
        is_read_only: tool.ends_with("list"),
        may_have_run: failure.is_none_or(Cause::is_pain),
        input_hash: InputHash::of_json(&input),
        input,
        failure: failure.map(|cause| (cause, "it broke".to_owned())),
        latency: Duration::from_millis(1_500),
        tries: 1,
        chars: 10,
        cut: false,
        limit_offered: false,
        words: String::new(),
    }
}

fn again(number: u32, earlier: &ObservedCall, failure: Option<Cause>) -> ObservedCall {
    let input_hash = earlier.input_hash.clone();
    ObservedCall { input_hash, ..call(number, &earlier.tool, failure) }
}

fn facts(calls: Vec<ObservedCall>) -> RunFacts {
    extract(&Observed { calls, ..Observed::default() }, "run", Outcome::Done, SignedDuration::ZERO)
}

const BROKEN: Option<Cause> = Some(Cause::Handler);

#[test]
fn what_the_persona_did_next_is_what_the_next_call_is() {
    let failed = call(1, "todo.create", BROKEN);
    for (next, expected) in [
        (Some(again(2, &failed, None)), Next::AgainOk),
        (Some(again(2, &failed, BROKEN)), Next::AgainFailed),
        (Some(call(2, "todo.create", None)), Next::OtherOk),
        (Some(call(2, "todo.list", None)), Next::OtherOk),
        (Some(call(2, "todo.list", Some(Cause::RunnerPolicy))), Next::OtherFailed),
        (Some(call(2, "notes.create", None)), Next::OtherModule),
        (Some(call(2, "notes.create", BROKEN)), Next::OtherModule),
        (None, Next::Ended),
    ] {
        let facts = facts([failed.clone()].into_iter().chain(next).collect());
        assert_eq!(facts.calls[0].0.next, Some(expected));
    }
    // What a persona did after a success is no reaction.
    let facts = facts(vec![call(1, "a.x", None), call(2, "a.x", None)]);
    assert!(facts.calls.iter().all(|(call, _)| call.next.is_none()));
    // An input that is no JSON has no hash, so that nobody can tell whether it is the same.
    let odd = |number| ObservedCall { input_hash: None, ..call(number, "a.x", BROKEN) };
    assert_eq!(self::facts(vec![odd(1), odd(2)]).calls[0].0.next, Some(Next::OtherFailed));
}

#[test]
fn a_tool_ends_dead_if_no_call_succeeds_after_its_last_failure() {
    let infra = Some(Cause::Unreachable);
    for (calls, expected) in [
        (vec![None], Some((1, 0, false, false))),
        (vec![BROKEN], Some((1, 1, true, false))),
        (vec![BROKEN, None], Some((2, 1, false, true))),
        (vec![None, BROKEN], Some((2, 1, true, false))),
        (vec![BROKEN, None, BROKEN], Some((3, 2, true, false))),
        (vec![None, infra], Some((1, 0, false, false))),
        (vec![BROKEN, infra], Some((1, 1, true, false))),
        (vec![infra, Some(Cause::RunnerPolicy), Some(Cause::Invented)], None),
    ] {
        let calls = (1..).zip(calls).map(|(number, failure)| call(number, "todo.x", failure));
        let facts = facts(calls.collect());
        let line = facts.tools.first();
        let line = line.map(|line| (line.calls, line.failed, line.dead_end, line.recovered));
        assert_eq!(line, expected);
    }
}

#[test]
fn failures_with_one_template_are_one_hit_which_recovers_with_all_its_tools() {
    let coded = |number, tool: &str| ObservedCall {
        failure: Some((Cause::Coded, "NO_VAULT: set it up".to_owned())),
        ..call(number, tool, BROKEN)
    };
    let calls = vec![
        coded(1, "journal.add"),
        coded(2, "mood.log"),
        call(3, "mood.log", None),
        call(4, "todo.list", BROKEN),
        call(5, "notes.list", BROKEN),
        call(6, "todo.list", None),
    ];
    let facts = facts(calls.clone());
    let hits: Vec<_> = facts
        .hits
        .iter()
        .map(|(issue, hit)| (issue.tool.as_deref(), issue.call, hit.calls, hit.recovered))
        .collect();
    let expected =
        [(None, 1, 2, false), (Some("todo.list"), 4, 1, true), (Some("notes.list"), 5, 1, false)];
    assert_eq!(hits, expected);
    assert_eq!(facts.hits[0].1.tools, ["journal.add", "mood.log"]);
    assert_eq!(facts.hits[0].0.template, "NO_VAULT");
    let later = calls.into_iter().chain([call(7, "journal.add", None)]).collect();
    assert!(self::facts(later).hits[0].1.recovered);
}

#[test]
fn only_product_contract_and_infrastructure_have_issues() {
    for cause in Cause::ALL {
        let facts = facts(vec![call(1, "todo.x", Some(*cause))]);
        let has_issue = !matches!(cause.blame(), Blame::Model | Blame::Runner);
        assert_eq!(facts.hits.len(), usize::from(has_issue), "{cause:?}");
        let (call, fingerprint) = &facts.calls[0];
        assert_eq!((call.template.is_some(), fingerprint.is_some()), (has_issue, has_issue));
        assert_eq!(facts.hits.first().map(|(issue, _)| issue.fingerprint), *fingerprint);
    }
}

fn row(module: &str, calls: &[u32]) -> ModuleRating {
    let rating = Rating::nearest(2.0).unwrap();
    ModuleRating::new(ModuleName::new(module), rating, Some("zäh"), calls.to_vec())
}

#[test]
fn a_module_is_listed_if_it_was_used_or_rated_and_is_grounded_in_its_own_calls() {
    let observed = Observed {
        calls: vec![
            call(1, "todo.list", None),
            call(2, "todo.create", BROKEN),
            call(3, "notes.list", None),
            call(4, "mood.log", Some(Cause::RunnerPolicy)),
            call(5, "dreams_list", Some(Cause::Invented)),
        ],
        ratings: Some(vec![row("todo", &[2, 9]), row("notes", &[1]), row("calendar", &[])]),
        ..Observed::default()
    };
    let facts = extract(&observed, "run", Outcome::Done, SignedDuration::ZERO);
    let lines: Vec<_> = facts
        .modules
        .iter()
        .map(|it| (&*it.module, it.grounded, it.reads, it.writes, it.failed, it.dead_end))
        .collect();
    let expected = [
        ("calendar", false, 0, 0, 0, false),
        ("notes", false, 1, 0, 0, false),
        ("todo", true, 1, 1, 1, true),
    ];
    assert_eq!(lines, expected);
    assert!(facts.modules.iter().all(|it| it.rating == Some(2) && it.unrated_why.is_none()));
}

#[test]
fn the_row_of_an_unreadable_answer_is_no_module() {
    let why = |ratings: Option<Vec<ModuleRating>>, day, outcome, unrated| {
        let calls = vec![call(1, "todo.list", None)];
        let observed = Observed { calls, day, ratings, unrated };
        let modules = extract(&observed, "run", outcome, SignedDuration::ZERO).modules;
        let todo = modules.iter().find(|line| line.module == "todo").unwrap();
        assert!(modules.iter().all(|line| line.module != "__parse"));
        assert_eq!((todo.rating, todo.grounded), (None, false));
        todo.unrated_why.unwrap()
    };
    let unreadable = |text| Some(vec![ModuleRating::unreadable(text)]);
    let done = Some(Outcome::Done);
    for said in UnratedWhy::ALL {
        let unrated = vec![(ModuleName::new("todo"), *said)];
        assert_eq!(why(unreadable("x"), done, Outcome::Done, unrated), *said);
    }
    // What a version before has recorded.
    for (ratings, day, expected) in [
        (unreadable("no readable rating (end_turn): hm"), done, UnratedWhy::Unreadable),
        (unreadable("no rating came back, and no text (refusal)"), done, UnratedWhy::Refused),
        (Some(vec![row("notes", &[])]), done, UnratedWhy::Forgotten),
        (Some(Vec::new()), done, UnratedWhy::NotReached),
        (None, Some(Outcome::Cost), UnratedWhy::NoMoney),
        (None, Some(Outcome::Stopped), UnratedWhy::Stopped),
        (None, Some(Outcome::Failed), UnratedWhy::NotReached),
        (None, None, UnratedWhy::NotReached),
    ] {
        assert_eq!(why(ratings, day, Outcome::Failed, Vec::new()), expected);
    }
    // A run that was closed, before or after the end of its day.
    for day in [None, done, Some(Outcome::Turns)] {
        assert_eq!(why(None, day, Outcome::Stopped, Vec::new()), UnratedWhy::Stopped);
        assert_eq!(why(None, day, Outcome::Cost, Vec::new()), UnratedWhy::NoMoney);
    }
}

#[test]
fn each_time_is_that_of_mana_auth() {
    let observed = Observed { calls: vec![call(1, "a.x", BROKEN)], ..Observed::default() };
    let ahead = SignedDuration::from_hours(48);
    let facts = extract(&observed, "run", Outcome::Done, ahead);
    let at = observed.calls[0].at + ahead;
    assert_eq!((facts.calls[0].0.at, facts.hits[0].0.at), (at, at));
    // A clock that is far off does not end the run with a panic.
    extract(&observed, "run", Outcome::Done, SignedDuration::MAX);
}

proptest! {
    #[test]
    fn whatever_was_called_the_lines_agree_with_one_another(
        calls in prop::collection::vec((0usize..4, prop::option::of(0usize..12), 0u32..3), 0..40),
    ) {
        let tools = ["todo.list", "todo.create", "notes.list", "x"];
        let calls = (1..).zip(calls).map(|(number, (tool, cause, input))| ObservedCall {
            input_hash: InputHash::of_json(&input.to_string()),
            ..call(number, tools[tool], cause.map(|cause| Cause::ALL[cause]))
        });
        let facts = facts(calls.collect());
        let lines = || facts.calls.iter().map(|(call, _)| call);
        let is_pain = |call: &&line::Call| call.cause.is_some_and(Cause::is_pain);
        let pain = lines().filter(is_pain).count();
        prop_assert_eq!(facts.tools.iter().map(|tool| tool.failed as usize).sum::<usize>(), pain);
        for tool in &facts.tools {
            prop_assert!(tool.calls >= tool.failed.max(1));
            prop_assert_eq!(tool.dead_end || tool.recovered, tool.failed > 0);
            prop_assert!(!(tool.dead_end && tool.recovered));
        }
        let with_issue = facts.calls.iter().filter(|(_, fingerprint)| fingerprint.is_some());
        let hit: u32 = facts.hits.iter().map(|(_, hit)| hit.calls).sum();
        prop_assert_eq!(hit as usize, with_issue.count());
        for call in lines() {
            prop_assert_eq!(call.ok, call.cause.is_none());
            prop_assert_eq!(call.ok, call.next.is_none());
        }
        let ended = lines().filter(|call| call.next == Some(Next::Ended)).count();
        prop_assert_eq!(ended, usize::from(lines().next_back().is_some_and(|call| !call.ok)));
        for module in &facts.modules {
            prop_assert!(module.rating.is_none() && module.unrated_why.is_some());
        }
    }
}
