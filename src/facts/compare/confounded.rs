//! What else differs between the sides.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::sides::{Side, Sides};
use crate::facts::window::{Name, Run, Settings, Window};

/// A setting that differs between the sides, so that it may be the reason for what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Confounder {
    /// `model`, `effort`, `prompt`, `runner` or `policy`.
    pub what: &'static str,
    /// When the first run with the newest value began.
    pub since: Timestamp,
}

/// The value that a run has of a setting.
type Setting = fn(&Settings) -> Option<Name>;

const SETTINGS: [(&str, Setting); 4] = [
    ("model", |it| it.model),
    ("effort", |it| it.effort),
    ("runner", |it| it.runner),
    ("policy", |it| it.policy),
];

/// The settings that differ. Prompts are compared within personas, because each persona has its own.
pub(super) fn confounded(window: &Window, sides: &Sides) -> Vec<Confounder> {
    let all: Vec<_> =
        (0..).zip(window.runs()).filter_map(|(at, run)| Some((sides.of(at)?, run))).collect();
    let settings = SETTINGS
        .into_iter()
        .filter_map(|(what, setting)| Some(Confounder { what, since: changed(&all, setting)? }));
    let mut by_persona = all.clone();
    by_persona.sort_by_key(|(_, run)| run.persona);
    let of_personas = by_persona.chunk_by(|a, b| a.1.persona == b.1.persona);
    let since = of_personas.filter_map(|runs| changed(runs, |it| it.prompt)).min();
    let prompt = since.map(|since| Confounder { what: "prompt", since });
    settings.chain(prompt).collect()
}

/// When the setting took its newest value, if the sides have different values. Runs that do not say it, which are those
/// of earlier versions, are left out, and so are sides without any other.
fn changed(runs: &[(Side, &Run)], setting: Setting) -> Option<Timestamp> {
    let known: Vec<_> = runs
        .iter()
        .filter_map(|(side, run)| Some((*side, run.at, setting(&run.settings)?)))
        .collect();
    let values = |of: Side| {
        let values = known.iter().filter(|(side, ..)| *side == of).map(|(_, _, value)| *value);
        values.collect::<BTreeSet<_>>()
    };
    let (a, b) = (values(Side::A), values(Side::B));
    if a.is_empty() || b.is_empty() || a == b {
        return None;
    }
    let newest = known.last()?.2;
    let since = known.iter().rposition(|(_, _, value)| *value != newest).map_or(0, |last| last + 1);
    Some(known[since].1)
}
