//! What else differs between the sides.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use super::sides::Side;
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

const SETTINGS: [(&str, Setting); 5] = [
    ("model", |it| it.model),
    ("effort", |it| it.effort),
    ("prompt", |it| it.prompt),
    ("runner", |it| it.runner),
    ("policy", |it| it.policy),
];

/// The settings that differ for any persona: each persona is compared with itself, and has a prompt of its own.
pub(in crate::facts) fn confounded(
    window: &Window,
    side: impl Fn(u32) -> Option<Side>,
) -> Vec<Confounder> {
    let runs = (0..).zip(window.runs());
    let mut runs: Vec<_> = runs.filter_map(|(run, of)| Some((side(run)?, of))).collect();
    runs.sort_by_key(|(_, run)| run.persona);
    let since = |setting| {
        let of_personas = runs.chunk_by(|a, b| a.1.persona == b.1.persona);
        of_personas.filter_map(|runs| changed(runs, setting)).min()
    };
    let confounder = |(what, setting)| Some(Confounder { what, since: since(setting)? });
    SETTINGS.into_iter().filter_map(confounder).collect()
}

/// When a persona's setting took its newest value, if the sides have different values. `runs` are in the order in
/// which they began. Those that do not say it, which are runs of earlier versions, are left out.
fn changed(runs: &[(Side, &Run)], setting: Setting) -> Option<Timestamp> {
    let known =
        runs.iter().filter_map(|(side, run)| Some((*side, run.at, setting(&run.settings)?)));
    let known: Vec<_> = known.collect();
    let values = |of: Side| {
        let values = known.iter().filter(|(side, ..)| *side == of).map(|(_, _, value)| *value);
        values.collect::<BTreeSet<_>>()
    };
    let (a, b) = (values(Side::A), values(Side::B));
    if a.is_empty() || b.is_empty() || a == b {
        return None;
    }
    let (.., newest) = known.last()?;
    let with_newest = known.iter().rev().take_while(|(.., value)| value == newest);
    with_newest.last().map(|(_, at, _)| *at)
}
