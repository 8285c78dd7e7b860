use super::*;
use crate::{
    domain::{UnratedWhy, WhyNotRun},
    facts::line,
    journal::{TickFacts, facts::tests::DAY},
};

/// A run with this rating of `todo`; without one it was forgotten.
async fn rated(journal: &Journal, name: &str, begun: Timestamp, rating: Option<u8>) -> RunId {
    let run = begin(journal, name, "s", begun).await;
    let mut made = facts(run, begun, 1, &[]);
    made.modules[0].rating = rating;
    made.modules[0].grounded = rating != Some(1);
    made.modules[0].unrated_why = rating.is_none().then_some(UnratedWhy::Forgotten);
    end(journal, run, RunState::Finished, made).await;
    run
}

/// All ratings of a module today.
fn of(module: &str) -> RatingFilter {
    RatingFilter { module: module.into(), days: today(), persona: None, rating: None }
}

#[tokio::test]
async fn the_ratings_of_a_module_come_with_their_reasons_and_calls() {
    let journal = Journal::in_memory().await.unwrap();
    let first = rated(&journal, "anna", NOON, Some(2)).await;
    let second = rated(&journal, "ben", NOON, None).await;
    rated(&journal, "ben", NOON + DAY, Some(5)).await;
    let page = journal.ratings_of(&of("todo"), Part::Newest, 9).await.unwrap();
    let [of_ben, of_anna] = &page.items[..] else { panic!("{page:?}") };
    assert_eq!(
        [&of_ben.module.run, &of_anna.module.run],
        [&second.to_string(), &first.to_string()]
    );
    assert_eq!(of_ben.module.unrated_why, Some(UnratedWhy::Forgotten));
    assert_eq!((of_anna.module.rating, of_anna.module.grounded), (Some(2), true));
    assert_eq!((of_anna.module.notes.as_deref(), &*of_anna.module.calls), (Some("fein"), &[1][..]));
    assert_eq!((&*of_anna.persona_id, of_anna.label.as_deref()), ("anna", Some("persona.anna")));
    assert_eq!((of_anna.server_at, of_anna.day_at), (NOON, NOON));
    let older = journal.ratings_of(&of("todo"), Part::Before(second), 1).await.unwrap();
    assert_eq!(
        (older.items, older.has_newer, older.has_older),
        (vec![of_anna.clone()], true, false)
    );
    let none = journal.ratings_of(&of("' OR 1"), Part::Newest, 9).await.unwrap();
    assert!(none.items.is_empty());
}

#[tokio::test]
async fn the_ratings_of_a_module_are_found_by_persona_and_rating() {
    let journal = Journal::in_memory().await.unwrap();
    for (name, rating) in [("anna", Some(2)), ("anna", Some(1)), ("ben", Some(2)), ("ben", None)] {
        rated(&journal, name, NOON, rating).await;
    }
    let found = async |persona: Option<&str>, rating: Option<Rated>| {
        let filter = RatingFilter { persona: persona.map(str::to_owned), rating, ..of("todo") };
        let page = journal.ratings_of(&filter, Part::Newest, 9).await.unwrap();
        let found = page.items.into_iter().rev();
        found.map(|it| (it.persona_id, it.module.rating)).collect::<Vec<_>>()
    };
    let pair = |name: &str, rating| (name.to_owned(), rating);
    let of_anna = [pair("anna", Some(2)), pair("anna", Some(1))];
    assert_eq!(found(Some("anna"), None).await, of_anna);
    let twos = [pair("anna", Some(2)), pair("ben", Some(2))];
    assert_eq!(found(None, Some(Rated::As(2))).await, twos);
    assert_eq!(found(Some("ben"), Some(Rated::As(2))).await, twos[1..]);
    assert_eq!(found(None, Some(Rated::Ungrounded)).await, of_anna[1..]);
    assert_eq!(found(None, Some(Rated::Missing)).await, [pair("ben", None)]);
    assert_eq!(found(Some("anna"), Some(Rated::Missing)).await, []);
}

#[tokio::test]
async fn a_persona_has_runs_with_ratings_and_absences() {
    let journal = Journal::in_memory().await.unwrap();
    let first = rated(&journal, "anna", NOON, Some(2)).await;
    let second = rated(&journal, "anna", NOON, None).await;
    rated(&journal, "ben", NOON, Some(5)).await;
    let slot = day(NOON).to_string();
    let absences = ["anna", "ben"].map(|persona| line::Absence {
        slot: slot.clone(),
        persona: persona.into(),
        why: WhyNotRun::Budget,
    });
    let tick = TickFacts { at: NOON, clock_at: NOON, personas: &[], absences: &absences };
    journal.note_tick(&tick).await.unwrap();

    let known = journal.persona("anna").await.unwrap().unwrap();
    assert_eq!((&*known.persona.label, known.first_at), ("persona.anna", NOON));
    assert_eq!(journal.persona("nobody").await.unwrap(), None);
    let page = journal.runs_of_persona("anna", today(), Part::Newest, 9).await.unwrap();
    let ratings: Vec<_> = page.items.iter().map(|it| (it.run.id, &*it.ratings)).collect();
    let of_todo = |rating: Option<u8>, unrated_why| RunRating {
        module: "todo".into(),
        rating,
        grounded: true,
        unrated_why,
    };
    let expected = [[of_todo(None, Some(UnratedWhy::Forgotten))], [of_todo(Some(2), None)]];
    assert_eq!(ratings, [(second, &expected[0][..]), (first, &expected[1][..])]);
    assert_eq!(journal.absences_of_persona("anna", today()).await.unwrap(), absences[..1]);
    let none = journal.runs_of_persona("nobody", today(), Part::Newest, 9).await.unwrap();
    assert!(none.items.is_empty());
    let tomorrow = (day(NOON + DAY), day(NOON + DAY));
    assert!(journal.absences_of_persona("anna", tomorrow).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_own_baseline_is_the_grounded_ratings_of_the_eight_weeks_before() {
    let journal = Journal::in_memory().await.unwrap();
    for (days, rating) in [(-57, 1), (-56, 5), (-1, 2), (-1, 1), (0, 4), (0, 3), (1, 5)] {
        rated(&journal, "anna", NOON + DAY * days, Some(rating)).await;
    }
    rated(&journal, "anna", NOON, None).await;
    rated(&journal, "ben", NOON, Some(5)).await;
    let own = journal.own_ratings("anna", today()).await.unwrap();
    let todo = OwnRating { module: "todo".into(), before: Some((3.5, 2)), within: Some((3.5, 2)) };
    assert_eq!(own, [todo], "a rating of 1 is not grounded");
    let later = (day(NOON + DAY * 200), day(NOON + DAY * 201));
    assert_eq!(journal.own_ratings("anna", later).await.unwrap(), []);
}
