//! Steps that are appended to a run of their own while other runs write theirs, and how long each write takes.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mana_persona_runner::{
    domain::{Cadence, ModuleMix, Persona, RunId, Slot, UserId},
    journal::{Journal, NewRun, RunSettings},
};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{Problem, measured::Measured};

/// Pause between two steps.
const PERIOD: Duration = Duration::from_millis(5);
/// Bytes of a step, as of a call with its result.
const BYTES: usize = 2_000;

/// Appends steps until `stop`; returns how long each took.
pub(crate) async fn append(journal: Journal, stop: CancellationToken) -> Result<Measured, Problem> {
    let now = Timestamp::now();
    let persona = Persona {
        user_id: UserId::parse("persona-that-only-writes")?,
        email: "writes@mana.test".into(),
        system_prompt: "Du schreibst.".into(),
        module_mix: ModuleMix::default(),
        cadence: Cadence::Daily,
        archetype: None,
    };
    let (id, slot) = (RunId::new(), Slot::of(Cadence::Daily, now));
    let begun = RunSettings::unknown(now);
    let new = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "none", begun };
    journal.begin_run(new, now).await?;
    let body = format!(r#"{{"told":{{"reminder":"{}","as_system":false}}}}"#, "x".repeat(BYTES));
    let mut took = Vec::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let started = Instant::now();
        journal.append_step(id, number, &body, now).await?;
        took.push(started.elapsed());
    }
    Ok(took.into())
}
