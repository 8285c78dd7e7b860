//! English words of the pages about frictions.

use super::Words;
use crate::{
    domain::{Cause, Language},
    facts::state::{Progress, State},
};

pub(super) const WORDS: Words = Words {
    title: "What hurts",
    raised: "Raised by a detector",
    unraised: "Raised by no detector",
    muted: "Muted",
    nothing: "Nothing failed in these days that the product is to blame for.",
    nothing_matches: "Nothing matches this filter.",
    no_all_clear: "That is no all-clear: what nobody used is not checked.",
    filter: "Filter",
    state: "State",
    module: "Module",
    tool: "Tool",
    detector: "Detector",
    persona: "Persona",
    any: "all",
    apply: "Filter",
    without_filter: "without filter",
    muted_too: ["muted ones too", "muted ones only", "no muted ones"],
    what: "What it is",
    id: "Id",
    template: "Template of the error texts",
    cause: "Cause",
    blame: "To blame",
    detectors: "Detectors",
    no_detector: "none was raised",
    runs: "Runs",
    all_runs: "all runs that had it",
    not_in_window: "No run of these days had it. What is shown was before.",
    first_seen: "First seen",
    hits: "Over time",
    deployments: "Versions in this time, the dashed lines of the picture:",
    no_deployment: "No new version came in this time.",
    next: "What they did next",
    next_unknown: "Not known: the single calls are no longer kept, or none failed.",
    personas: "Personas",
    persona_columns: ["Persona", "Runs with it", "of which recovered", "Calls", "Last seen"],
    last_run: "last run with it",
    samples: "Evidence",
    sample_columns: ["Call", "Persona", "Tool", "Next", "Took", "In the persona's words"],
    no_samples: "No single call is kept any more.",
    to_mute_title: "Muting",
    to_mute: "These pages change nothing. The command line mutes it, for at most 90 days and with a reason:",
    to_unmute: "To end the mute:",
    reason: "reason",
    language: Language::English,
};

pub(super) fn why(cause: Cause) -> &'static str {
    match cause {
        Cause::Handler => "The tool answered with an error text.",
        Cause::Coded => "The tool answered with an error that has a code.",
        Cause::Rpc => "The server answered with a JSON-RPC error.",
        Cause::Cut => {
            "No answer came, or it broke off. Whether the call had an effect is not known."
        }
        Cause::ServerPolicy => "A rule of the server forbade the call.",
        Cause::Vanished => "The tool was listed when the run began, and then gone.",
        Cause::RejectedInput => "The input was rejected when it was checked against the schema.",
        Cause::Unreachable => "The server could not be reached.",
        Cause::Invented => "The model called a tool that does not exist.",
        Cause::BadJson => "What the model wrote as input is no JSON object.",
        Cause::RunnerPolicy => "The rules of this runner forbade the call.",
        Cause::Stopped => "The call was given up by a stop or a deadline.",
    }
}

pub(super) fn because(state: State) -> &'static str {
    match state {
        State::Muted => "A person has muted it.",
        State::Resolved => "So many clean runs are no chance any more.",
        State::Untested => {
            "No hit in 14 days, but fewer than three runs that could have had it: nobody knows whether it is still \
             there."
        }
        State::Regressed => "It was resolved and came back less than 14 days ago.",
        State::Rare => "It hit one run in all.",
        State::New => "It was first seen less than 7 days ago.",
        State::Open => "It is known and not resolved.",
    }
}

pub(super) fn progress(progress: Progress, is_resolved: bool) -> String {
    let Progress { clean, needed, personas, personas_needed } = progress;
    let runs = if clean == 1 { "clean run" } else { "clean runs" };
    let found = format!(
        "Since the last hit there were {clean} {runs} of {personas} of the affected personas"
    );
    match needed {
        Some(needed) if is_resolved => format!("{found}; {needed} were enough."),
        Some(needed) if personas_needed > 1 => {
            format!(
                "{found}; it is resolved after {needed} such runs of at least {personas_needed} personas."
            )
        }
        Some(needed) => format!("{found}; it is resolved after {needed} such runs."),
        None => format!("{found}. It is so rare that counting alone never resolves it."),
    }
}
