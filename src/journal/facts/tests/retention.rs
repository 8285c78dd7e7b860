//! What is deleted when.

use super::*;

const KEPT: SignedDuration = SignedDuration::from_hours(400 * 24);
const CALLS_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

async fn prune(journal: &Journal, now: Timestamp) {
    while journal.prune_facts(now, KEPT, CALLS_KEPT).await.unwrap() > 0 {}
}

async fn kinds(journal: &Journal) -> Vec<&'static str> {
    let mut kinds = lines_of(journal, |line| {
        Some(match line {
            Line::Run(_) => "run",
            Line::Call(_) => "call",
            Line::Module(_) => "module",
            Line::Issue(_) => "issue",
            Line::Hit(_) => "hit",
            Line::Tool(_) => "tool",
            Line::Mute(_) => "mute",
            Line::Deployment(_) => "deployment",
            Line::Persona(_) => "persona",
            Line::Catalog(_) => "catalog",
            Line::Tick(_) => "tick",
            _ => return None,
        })
    })
    .await;
    kinds.dedup();
    kinds
}

#[tokio::test]
async fn calls_go_first_and_the_other_facts_much_later() {
    let journal = Journal::in_memory().await.unwrap();
    journal.meet_deployment("1", DeploymentSource::Env, NOON).await.unwrap();
    journal.meet_deployment("2", DeploymentSource::Env, NOON).await.unwrap();
    let list = line::Catalog { id: "abc".into(), tools: vec![], hidden: vec![] };
    journal.keep_catalog("abcdef", "[]", &list, NOON, NOON).await.unwrap();
    for n in 0..50 {
        let begun = NOON + Duration::from_secs(n);
        let (id, persona, slot) = (RunId::new(), persona("anna"), Slot::stored("s"));
        let begun_with = RunSettings { deployment: Some(1), ..RunSettings::unknown(begun) };
        let (attempt, model) = (1, "claude");
        let new = NewRun { id, persona: &persona, slot: &slot, attempt, model, begun: begun_with };
        journal.begin_run(new, begun).await.unwrap();
        journal.open_day(id, "abc", None).await.unwrap();
        end(&journal, id, RunState::Finished, facts(id, begun, 2, &[7])).await;
    }
    let id = Fingerprint(7).short_id();
    assert!(journal.mute(&id, NOON, NOON + DAY, "known").await.unwrap());
    let all = kinds(&journal).await;
    prune(&journal, NOON + CALLS_KEPT).await;
    assert_eq!(kinds(&journal).await, all, "not yet");
    prune(&journal, NOON + CALLS_KEPT + DAY).await;
    let without_calls: Vec<_> = all.iter().copied().filter(|kind| *kind != "call").collect();
    assert_eq!(kinds(&journal).await, without_calls);
    prune(&journal, NOON + KEPT).await;
    assert_eq!(kinds(&journal).await, without_calls);
    prune(&journal, NOON + KEPT + DAY).await;
    // The current deployment stays.
    assert_eq!(kinds(&journal).await, ["deployment"]);
    assert_eq!(journal.current_deployment().await.unwrap().unwrap().version, "2");
    // Facts that were deleted as too old are not made again from the steps.
    assert_eq!(without_facts(&journal, 9).await, []);
    assert_eq!(journal.latest_runs(99).await.unwrap().len(), 50);
}

#[tokio::test]
async fn a_mute_is_one_of_a_known_issue() {
    let journal = Journal::in_memory().await.unwrap();
    assert!(!journal.mute("F-AAAA", NOON, NOON + DAY, "why").await.unwrap());
    assert!(!journal.unmute("F-AAAA").await.unwrap());
    run(&journal, NOON, 1, &[7]).await;
    let id = Fingerprint(7).short_id();
    for reason in ["why", "`|<b>\u{202e}"] {
        assert!(journal.mute(&id, NOON, NOON + DAY, reason).await.unwrap());
    }
    let mutes = async || {
        lines_of(&journal, |line| match line {
            Line::Mute(mute) => Some(mute.reason),
            _ => None,
        })
        .await
    };
    assert_eq!(mutes().await, ["`|<b>\u{202e}"]);
    assert!(journal.unmute(&id).await.unwrap());
    assert!(mutes().await.is_empty());
}

#[tokio::test]
async fn the_tool_list_of_a_run_in_flight_is_kept_and_begins_by_mana_auths_time() {
    let journal = Journal::in_memory().await.unwrap();
    let list = line::Catalog { id: "abc".into(), tools: vec![], hidden: vec![] };
    let catalogs = async || kinds(&journal).await.contains(&"catalog");
    // The clock of the daemon is two years behind.
    journal.keep_catalog("abcdef", "[]", &list, NOON - DAY * 730, NOON).await.unwrap();
    prune(&journal, NOON + KEPT).await;
    assert!(catalogs().await);
    let run = begin(&journal, "anna", "s", NOON).await;
    journal.open_day(run, "abc", None).await.unwrap();
    prune(&journal, NOON + KEPT + DAY).await;
    assert!(catalogs().await, "the run goes on");
    end(&journal, run, RunState::Finished, facts(run, NOON, 1, &[])).await;
    prune(&journal, NOON + KEPT + DAY).await;
    assert!(!catalogs().await);
}

#[tokio::test]
async fn a_tool_list_whose_facts_are_gone_is_stored_again() {
    let journal = Journal::in_memory().await.unwrap();
    let list = line::Catalog { id: "abc".into(), tools: vec![], hidden: vec![] };
    for _ in 0..2 {
        journal.keep_catalog("abcdef", "[]", &list, NOON, NOON).await.unwrap();
        assert!(kinds(&journal).await.contains(&"catalog"));
        journal.spoil("DELETE FROM catalog_facts").await;
    }
}

#[tokio::test]
async fn steps_without_facts_are_deleted_a_week_later_than_others() {
    let journal = Journal::in_memory().await.unwrap();
    let run = begin(&journal, "anna", "s", at(0)).await;
    journal.append_step(run, 0, "{}", at(0)).await.unwrap();
    journal.give_up(run, ("why", Outcome::Failed), at(0)).await.unwrap();
    assert_eq!(journal.prune(at(0) + DAY * 7, at(0) + DAY * 7).await.unwrap(), 0);
    assert_eq!(without_facts(&journal, 1).await, [run]);
    assert_eq!(journal.prune(at(1) + DAY * 7, at(1) + DAY * 7).await.unwrap(), 1);
    assert_eq!(journal.steps(run).await.unwrap(), []);
    assert_eq!(without_facts(&journal, 1).await, []);
}
