use proptest::prelude::*;

use super::{State::*, episode::clean_runs_needed, *};

/// The time `days` days after some begin.
fn day(days: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * (20_000 + days))
}

/// A run a day of each persona: one row a persona, one character a day: `x` hit, `.` clean, ` ` not exposed.
fn history(personas: &[&str]) -> Vec<Exposure> {
    let runs = |(persona, days): (usize, &&str)| {
        let of = move |(number, character): (usize, char)| Exposure {
            at: day(number as i64) + SignedDuration::from_mins(persona as i64),
            persona: persona as u32,
            hit: character == 'x',
        };
        let exposed = days.char_indices().filter(|(_, character)| *character != ' ');
        exposed.map(of).collect::<Vec<_>>()
    };
    let mut history: Vec<_> = personas.iter().enumerate().flat_map(runs).collect();
    history.sort_by_key(|exposure| exposure.at);
    history
}

fn standing(history: &[Exposure], mutings: &[Muting], end: Timestamp) -> Standing {
    let first = history.iter().find(|exposure| exposure.hit).unwrap().at;
    state(history, first, mutings, end).unwrap()
}

/// The state at the end of day `end`, the first of which is 1.
#[track_caller]
fn assert_state(personas: &[&str], end: i64, expected: State) {
    assert_eq!(standing(&history(personas), &[], day(end)).state, expected);
}

fn days(pattern: &str, count: usize) -> String {
    pattern.repeat(count)
}

#[test]
fn an_issue_is_new_for_seven_days_after_its_very_first_hit_and_then_open() {
    let seldom = [days("x.....x...", 3), days("..........", 3)];
    let rows = seldom.each_ref().map(String::as_str);
    assert_state(&rows.map(|row| &row[..7]), 7, Open);
    assert_state(&["x.x..x", "......"], 6, New);
    // The first hit may be older than the oldest run that is still known.
    let history = history(&["x.x..x", "......"]);
    assert_eq!(state(&history, day(-30), &[], day(6)).unwrap().state, Open);
}

#[test]
fn an_issue_with_one_hit_in_all_is_rare_however_young_it_is() {
    assert_state(&["..x..", "....."], 5, Rare);
    assert_state(&["..x..................", "....................."], 21, Rare);
    // The call comes after the begin of its run.
    let history = history(&["..x..", "....."]);
    let call = day(2) + SignedDuration::from_mins(3);
    assert_eq!(state(&history, call, &[], day(5)).unwrap().state, Rare);
    assert_eq!(state(&history, day(-30), &[], day(5)).unwrap().state, Open);
}

#[test]
fn a_full_break_is_resolved_by_few_clean_runs_of_two_personas() {
    assert_eq!(clean_runs_needed(20, 20), Some(3));
    let broken = ["xxxxxxxxxx..", "xxxxxxxxxx.."];
    assert_state(&broken, 12, Resolved);
    let resolved = standing(&history(&broken), &[], day(12)).resolved.unwrap();
    let third_clean_run = day(11);
    assert_eq!((resolved.at, resolved.run), (third_clean_run, 22));
    // Two clean runs are too few.
    assert_state(&["xxxxxxxxxx.", "xxxxxxxxxx."], 11, Open);
}

#[test]
fn one_of_two_affected_personas_cannot_resolve_an_issue_alone() {
    let quiet = days(" ", 30);
    let other = format!("xxxxxxxxxx{quiet}");
    let alone = format!("xxxxxxxxxx{}", days(".", 30));
    assert_state(&[&other, &alone], 40, Open);
    // A persona that never had the issue does not help.
    let never = days(".", 40);
    assert_state(&[&other, &alone, &never], 40, Open);
    // An issue of one persona is resolved by this persona.
    assert_state(&[&alone, &never], 40, Resolved);
}

#[test]
fn clean_runs_of_personas_that_never_had_the_issue_do_not_resolve_it() {
    let affected = days("x", 10) + &days(" ", 20);
    let others = days(".", 30);
    let rows = [affected.as_str(), &others, &others, &others];
    assert_state(&rows, 30, Open);
}

#[test]
fn the_progress_tells_how_many_clean_runs_of_how_many_personas_are_missing() {
    let progress = |personas: &[&str], end| standing(&history(personas), &[], day(end)).progress;
    let of = |clean, needed, personas, personas_needed| Progress {
        clean,
        needed,
        personas,
        personas_needed,
    };
    assert_eq!(progress(&["xxxxxxxxxx.", "xxxxxxxxxx."], 11), of(2, Some(3), 2, 2));
    // The other persona has to come back.
    let alone = format!("xxxxxxxxxx{}", days(".", 30));
    assert_eq!(progress(&["xxxxxxxxxx", &alone], 40), of(30, Some(3), 1, 2));
    assert_eq!(progress(&["xxxxxxxxxx...", &days(".", 13)], 13), of(3, Some(5), 1, 1));
    let first = format!("x{}", days(".", 30));
    let second = format!("{}x{}", days(".", 22), days(".", 8));
    assert_eq!(progress(&[&first, &second], 31), of(16, None, 2, 2));
}

#[test]
fn no_number_of_clean_runs_resolves_an_issue_that_is_too_rare_to_be_missed() {
    assert_eq!(clean_runs_needed(2, 46), None);
    // 23 clean runs would resolve an issue with one hit; the second hit, of another persona, comes before.
    let first = format!("x{}", days(".", 2000));
    let second = format!("{}x{}", days(".", 22), days(".", 1978));
    assert_state(&[&first, &second], 2001, Open);
}

#[test]
fn an_issue_that_no_run_meets_any_more_is_untested_and_never_resolved_by_time() {
    let (gone, one_left) = ("xxxxxxxxxx".to_owned(), format!("xxxxxxxxxx{}..", days(" ", 13)));
    assert_state(&[&gone], 22, Open);
    assert_state(&[&gone], 23, Untested);
    assert_state(&[&gone], 4000, Untested);
    assert_state(&[&one_left], 25, Untested);
    // A third exposed run, of any persona, ends this.
    let third = format!("{}.", days(" ", 22));
    assert_state(&[&one_left, &third], 25, Open);
}

#[test]
fn a_resolved_issue_stays_resolved_without_further_runs() {
    let repaired = ["xxxxxxxxxx..", "xxxxxxxxxx.."];
    assert_state(&repaired, 400, Resolved);
}

#[test]
fn a_hit_after_the_resolution_is_a_regression_for_fourteen_days() {
    let back = ["xxxxxxxxxx...x", "xxxxxxxxxx...."].map(str::to_owned);
    let rows = back.each_ref().map(String::as_str);
    let at = standing(&history(&rows), &[], day(14));
    assert_eq!((at.state, at.resolved), (Regressed, None));
    assert_eq!(at.regressed.unwrap(), Turn { run: 26, at: day(13) });
    // The issue goes on every day.
    let daily = rows.map(|row| format!("{row}{}", days("x", 20)));
    let daily = daily.each_ref().map(String::as_str);
    for (end, expected) in [(26, Regressed), (27, Open), (34, Open)] {
        let known = daily.map(|row| &row[..end]);
        assert_state(&known, end as i64, expected);
    }
    // A later hit of the same episode is no further regression.
    let last = standing(&history(&daily), &[], day(34));
    assert_eq!(last.regressed.unwrap().at, day(13));
}

#[test]
fn a_new_episode_forgets_the_rate_of_the_one_before() {
    // After a full break that 3 clean runs resolve, the issue is back in every fifth run.
    let row = format!("xxxxxxxxxx..{}", days("x....", 6));
    let rows = [row.as_str(); 2];
    assert_state(&rows.map(|row| &row[..12]), 12, Resolved);
    // The 8 clean runs at the end are too few for this rate.
    assert_state(&rows, 42, Open);
    assert!(clean_runs_needed(12, 52).is_some_and(|needed| needed > 8));
}

#[test]
fn a_muted_issue_is_muted_until_the_mute_ends() {
    let history = history(&["xxxxxxxxxx..", "xxxxxxxxxx.."]);
    let muting = [Muting { from: day(5), until: day(15) }];
    let state_at = |end| standing(&history, &muting, day(end)).state;
    assert_eq!(state_at(12), Muted);
    assert_eq!(
        state_at(15),
        Muted,
        "the midnight at which the mute ends is the end of the day before"
    );
    assert_eq!(state_at(16), Resolved);
    assert_eq!((state_at(4), state_at(5)), (Resolved, Muted));
    // A mute that begins after the window says nothing about it, and a muted issue is known to be resolved.
    let later = [Muting { from: day(13), until: day(15) }];
    assert_eq!(standing(&history, &later, day(12)).state, Resolved);
    assert!(standing(&history, &muting, day(12)).resolved.is_some());
}

#[test]
fn a_rollback_that_brings_an_issue_back_is_a_regression_like_any_deployment() {
    // Version 1 fails, 2 is repaired, then the product goes back to 1: three deployments, of which the history
    // knows nothing.
    let rolled_back = ["xxxxxxx.......x", "xxxxxxx.......x", ".............. "];
    assert_state(&rolled_back, 15, Regressed);
    // Going back to the version that is sound resolves the issue of the other.
    let repaired = ["..xxxxx...", "..xxxxx..."];
    assert_state(&repaired, 10, Resolved);
}

#[test]
fn the_hits_and_clean_runs_of_runs_that_saw_two_deployments_count_as_any_runs() {
    // The runs of the last day before the repair and of the first day after it saw both deployments. One of
    // them is hit, and the others are the only clean runs.
    let mixed = ["xxxxxxx.", "xxxxxxxx", "xxxxxxx.", "xxxxxxx."];
    assert_state(&mixed, 8, Open);
    let then = ["xxxxxxx..", "xxxxxxxx.", "xxxxxxx..", "xxxxxxx.."];
    assert_state(&then, 9, Resolved);
}

#[test]
fn an_issue_without_a_hit_in_the_history_has_no_state() {
    assert_eq!(state(&history(&["....."]), day(-9), &[], day(5)), None);
    assert_eq!(state(&[], day(0), &[], day(5)), None);
}

#[test]
fn exactly_one_state_word_belongs_to_each_state() {
    let words: Vec<_> = State::ALL.iter().map(|state| state.as_str()).collect();
    assert_eq!(words, ["muted", "resolved", "untested", "regressed", "rare", "new", "open"]);
}

/// The definition word for word: which runs resolve the issue, in quadratic time.
fn resolving_runs(history: &[Exposure]) -> Vec<usize> {
    let (mut resolving, mut episode) = (Vec::new(), None::<(usize, usize)>);
    for (index, run) in history.iter().enumerate() {
        if run.hit {
            episode = Some((episode.map_or(index, |(first, _)| first), index));
        }
        let Some((first, last)) = episode else { continue };
        let hits = |run: &&Exposure| run.hit;
        let hit: Vec<u32> = history[first..=last].iter().filter(hits).map(|r| r.persona).collect();
        let counts = |run: &&Exposure| hit.contains(&run.persona);
        let runs = history[first..=last].iter().filter(counts).count() as u32;
        let clean: Vec<u32> =
            history[last + 1..=index].iter().filter(counts).map(|run| run.persona).collect();
        let distinct = |list: &[u32]| list.iter().collect::<std::collections::BTreeSet<_>>().len();
        let needed = clean_runs_needed(hit.len() as u32, runs);
        if needed.is_some_and(|needed| clean.len() as u32 >= needed)
            && distinct(&clean) >= distinct(&hit).min(2)
        {
            resolving.push(index);
            episode = None;
        }
    }
    resolving
}

proptest! {
    #[test]
    fn runs_resolve_an_issue_as_the_definition_says(
        runs in prop::collection::vec((0u32..4, 0u32..100), 1..150),
        rates in prop::collection::vec(0u32..100, 3),
    ) {
        let third = runs.len() / 3 + 1;
        let exposure = |(index, (persona, chance)): (usize, &(u32, u32))| Exposure {
            at: day(index as i64),
            persona: *persona,
            // Some stretches of runs are nearly always hit, others nearly never.
            hit: chance * chance / 100 < rates[index / third],
        };
        let history: Vec<_> = runs.iter().enumerate().map(exposure).collect();
        let mut life = Life::default();
        let mut resolving = Vec::new();
        for run in &history {
            let before = life.resolved;
            life.push(*run);
            resolving.extend(life.resolved.filter(|_| before.is_none()).map(|turn| turn.run));
        }
        prop_assert_eq!(resolving, resolving_runs(&history));
    }
}
