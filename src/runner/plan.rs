//! Says what a tick that begins now would do and cost. Nothing is begun, paid or written.
//!
//! The ceiling holds for a tick that begins at most [`VALID_FOR`] later. Until then holds, pauses and stops of the
//! model may end, runs under way may end and give reserved money back, and until the end of the tick a day or a month
//! (UTC) may end, which renews caps. All of that is counted as if it happened.

mod accounts;
mod outlook;
mod usual;

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use self::{
    accounts::{Accounts, Span},
    outlook::Outlook,
    usual::Usual,
};
use super::{
    admission::{Found, Hindrance},
    budget::{Budget, used_up},
    control::Control,
    tick::{DUE_LIMIT, PATIENCE},
};
use crate::{
    clients::personas::Due,
    clock::Clock,
    config::Config,
    domain::{CapLeft, DuePersona, Expected, Plan, Usd},
    journal::{HaltKind, Journal, JournalError},
};

/// For how long after a plan a tick may begin whose cost the plan's ceiling limits.
const VALID_FOR: Duration = Duration::from_secs(600);
/// How many of its last runs say what a run of a persona usually costs.
const LAST_RUNS: u32 = 20;

/// The plan of a tick that begins now with this list of due personas. The journal is only read.
///
/// # Errors
/// When the journal cannot be read.
pub(crate) async fn plan(
    journal: &Journal,
    config: &Config,
    clock: &Clock,
    due: Due,
) -> Result<Plan, JournalError> {
    let now = clock.now();
    let valid_until = after(now, VALID_FOR);
    // A tick knows who is due some time after its begin.
    let latest = after(valid_until, PATIENCE + DUE_LIMIT);
    let rows = due.rows.len();
    let mut seen = HashSet::new();
    let personas = due.rows.into_iter().flatten();
    let personas: Vec<_> = personas.filter(|it| seen.insert(it.user_id.clone())).collect();
    let unusable = rows - personas.len();

    let budget = Budget::load(&config.budget, journal, clock.clone()).await?;
    // Read before the runs, so that what a run spends in between counts as not spent yet.
    let books = journal.books(now).await?;
    let accounts = Accounts { config, books, is_live: Journal::is_in_use(&config.journal.folder) };
    let caps = accounts.caps(&budget, now);
    let hindrance = hindrance(journal, config, clock, &caps).await?;
    let nobody = hindrance.as_ref().and_then(|it| Some((it.why_not_run()?, it.to_string())));
    let begin = Span { from: now, to: latest };
    let outlook = Outlook::new(journal, config, begin, personas, due.server_time, nobody).await?;

    let most = outlook.most(&accounts);
    let to = after(latest, longest_tick(config, most.len()));
    let ceiling = accounts.ceiling(Span { from: now, to }, &most);
    let wanted = most.values().copied().sum();

    let usual = Usual::of(journal.latest_costs(LAST_RUNS).await?);
    let (go_on, closed) = outlook.unfinished_now();
    let begin = outlook.personas.iter().filter(|it| outlook.why_not(it).is_none());
    let begin = begin.map(|it| usual.cost(it.user_id.as_str(), Usd::ZERO));
    let resume = go_on.iter().map(|run| usual.cost(&run.persona_id, run.spent));
    let expected: Expected = begin.chain(resume).sum();

    let due = outlook.personas.iter().map(|it| {
        let (label, why_not) = (it.label(), outlook.why_not(it));
        DuePersona { label, why_not }
    });
    Ok(Plan {
        due: due.collect(),
        nobody: hindrance.map(|it| it.to_string()),
        unusable,
        go_on: go_on.len(),
        closed,
        // The caps of the fleet do not lower what the runs want: whether it is more than they have left is the question.
        expected: usual.fleet.map(|_| expected.at_most(wanted)),
        ceiling,
        valid_until,
        caps,
    })
}

/// Why no run may begin now, as far as the journal and the settings say.
async fn hindrance(
    journal: &Journal,
    config: &Config,
    clock: &Clock,
    caps: &[CapLeft],
) -> Result<Option<Hindrance>, JournalError> {
    let control = Control::load(journal.clone(), clock.clone(), config.tick.paused).await?;
    // The month never ends before the day.
    let reached = caps.iter().filter(|cap| cap.is_reached).max_by_key(|cap| cap.until);
    let is_stopped = journal.is_halted(HaltKind::ModelStopped).await?;
    let found = Found {
        model_stopped: is_stopped.then(|| Hindrance::ModelStopped("/health says why".into())),
        budget: reached.map(|cap| Hindrance::Budget(used_up(cap.name, cap.limit, cap.until))),
        paused: control.paused().map(Hindrance::Paused),
        ..Found::default()
    };
    Ok(found.ranked().next())
}

/// The longest time from the first run of a tick to its last model request, if it has this many runs.
fn longest_tick(config: &Config, runs: usize) -> Duration {
    let rounds = runs.div_ceil(config.tick.concurrency);
    let rounds = u32::try_from(rounds).unwrap_or(u32::MAX);
    config.run.timeout.saturating_mul(rounds)
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    time.checked_add(wait).unwrap_or(Timestamp::MAX)
}
