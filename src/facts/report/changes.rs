//! What is different from the time before.

use std::{collections::BTreeMap, sync::Arc};

use super::{Changes, Resolved, ToolChanges};
use crate::facts::{
    frictions::{Friction, Seen, history},
    line::Catalog,
    state::{self, State},
    window::Window,
};

/// An issue that fewer runs had is not worth a line when it is resolved.
const FEWEST_HITS: usize = 3;

pub(super) fn changes(window: &Window, frictions: &[Arc<Friction>]) -> Changes {
    let ids = |state| {
        let of_state = frictions.iter().filter(|friction| friction.state == state);
        of_state.map(|friction| friction.id.clone()).collect()
    };
    Changes {
        new: ids(State::New),
        regressed: ids(State::Regressed),
        resolved: ids(State::Resolved),
        tools: tools(window).unwrap_or_default(),
    }
}

/// The tools of the window's newest run that names its catalog against those of the newest such run before the
/// window, or else of the first one in it. A tool that the runner hid is one of the product.
fn tools(window: &Window) -> Option<ToolChanges> {
    let named =
        || (0..window.runs().len() as u32).filter_map(|run| Some((run, catalog_of(window, run)?)));
    let new = named().rev().find(|(run, _)| window.contains(*run))?.1;
    let before = named().rev().find(|(run, _)| !window.contains(*run));
    let old = before.or_else(|| named().next())?.1;
    let hashes = |catalog: &Catalog| -> BTreeMap<String, String> {
        let hidden = catalog.hidden.iter().map(|name| (name.clone(), String::new()));
        let offered = catalog.tools.iter().map(|tool| (tool.name.clone(), tool.hash.clone()));
        hidden.chain(offered).collect()
    };
    let (old, new) = (hashes(old), hashes(new));
    let missing_in = |other: &BTreeMap<String, String>, all: &BTreeMap<String, String>| {
        all.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    // An empty hash is one that is not known.
    let is_changed = |(name, hash): &(&String, &String)| {
        old.get(*name).is_some_and(|old| old != *hash && !old.is_empty() && !hash.is_empty())
    };
    Some(ToolChanges {
        added: missing_in(&old, &new),
        removed: missing_in(&new, &old),
        changed: new.iter().filter(is_changed).map(|(name, _)| name.clone()).collect(),
    })
}

/// The list of tools that a run was offered.
pub(super) fn catalog_of(window: &Window, run: u32) -> Option<&Catalog> {
    let id = window.text(window.run(run).catalog?);
    let catalogs = window.catalogs();
    catalogs.binary_search_by(|catalog| catalog.id.as_str().cmp(id)).ok().map(|at| &catalogs[at])
}

/// The issue, if it was resolved in the window without any hit in it.
pub(super) fn resolved_without_hit(
    window: &Window,
    Seen { issue, hits, exposed }: Seen<'_>,
) -> Option<Resolved> {
    let issue = &window.issues()[issue as usize];
    let last = hits.last()?.run;
    let is_candidate = issue.cause.is_pain() && hits.len() >= FEWEST_HITS;
    // Without a run in the window, none of it resolved the issue.
    let is_exposed = exposed.last().is_some_and(|run| window.contains(*run));
    if !is_candidate || !is_exposed || window.contains(last) {
        return None;
    }
    let first = issue.first.as_ref()?.at;
    let history = history(window, hits, exposed);
    let standing = state::state(&history, first, &issue.mutings, window.end())?;
    let turn = standing.resolved.filter(|_| standing.state == State::Resolved)?;
    window.contains(exposed[turn.run]).then(|| Resolved {
        id: issue.id.to_string(),
        tool: issue.tool.map(|tool| window.text(tool).to_owned()),
        template: window.text(issue.template).to_owned(),
        last_hit: window.run(last).at,
        at: turn.at,
    })
}
