//! /ui/frictions/{id}: one friction, or an issue that is known although no run of the window had it.

use std::sync::Arc;

use jiff::{ToSpan, civil::Date};
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{DAYS, Mutes, case::Case, evidence, history, muted, mutes, window};
use crate::{
    domain::Label,
    facts::{detect::Detector, line::Mute, overview::Overview, report::Trend, window::Days},
    journal::{DeploymentRow, Journal, PersonaHits, Sample, ToolSample},
    report::view::{languages, writer::Writer},
    ui::{
        Answer, Page, Place, Ui,
        asked::Asked,
        days,
        overviews::Found,
        times::Times,
        trouble::{self, Trouble},
        words,
    },
};

/// How far back an issue is looked for that no run of the window had, in days.
const BEFORE: i64 = 400;
/// How many deployments are looked through for those of the picture.
const DEPLOYMENTS: u32 = 500;
/// For how many days the command mutes that the page shows.
const MUTED_FOR: i64 = 14;

/// What the journal says about a friction. A part that cannot be read leaves the others alone.
pub(super) struct Known {
    pub(super) trend: Result<Trend, Trouble>,
    pub(super) deployments: Result<Vec<DeploymentRow>, Trouble>,
    /// `None` for a friction without an issue.
    pub(super) personas: Option<Result<Vec<PersonaHits>, Trouble>>,
    /// `None` where no single call proves anything.
    pub(super) samples: Option<Result<Vec<Sample>, Trouble>>,
    pub(super) mutes: Result<Mutes, Trouble>,
    /// The newest day of the facts.
    pub(super) today: Option<Date>,
}

pub(in crate::ui) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let found = ui.overviews.overview(asked.days.unwrap_or(DAYS)).await?;
    let id = asked.segment("id");
    let case = match found.friction(id) {
        Some((friction, trend)) => Case::Friction(friction, trend),
        None => {
            let issue = ui.journal.issue(id).await?.ok_or(Trouble::NotFound)?;
            Case::Issue(Box::new(issue))
        }
    };
    // Without a day there is no fact, and without a fact there is no issue.
    let window = window(&found.frictions).ok_or(Trouble::NotFound)?;
    let known = Known::of(&ui, &case, window).await;
    if asked.is_json {
        return Ok(Answer::Json(as_json(&case, known)?));
    }
    Ok(page(&asked, &found, &case, &known, window, &ui.times(&asked).await?))
}

pub(super) fn page(
    asked: &Asked,
    found: &Found<Overview>,
    case: &Case<'_>,
    known: &Known,
    window: (Date, Date),
    times: &Times,
) -> Answer {
    let writer = Writer { report: &found.report, words: languages::words(asked.language) };
    let main = html! {
        (days::told(asked, Some(window), DAYS))
        (found.notice(asked.language, times))
        (case.head(asked, found, times))
        (case.facts(asked))
        (history::draw(asked, &known.trend, &known.deployments, window.1, times))
        @if let Some(friction) = case.friction().filter(|_| case.is_issue()) { (evidence::next(asked, friction)) }
        (known.personas(asked, case, found))
        (known.samples(asked, case.tool().is_some(), times))
        @if case.is_issue() { (known.muting(asked, case.id(), times)) }
    };
    let title = case.title(&writer);
    Answer::Page(Page { place: Place::Frictions, title, main, live: None })
}

impl Known {
    async fn of(ui: &Ui, case: &Case<'_>, window: (Date, Date)) -> Self {
        let journal = &ui.journal;
        let of = match case {
            Case::Friction(..) => window,
            Case::Issue(_) => (window.1.saturating_sub(BEFORE.days()), window.1),
        };
        let trend = match case {
            Case::Friction(_, trend) => Ok((*trend).clone()),
            Case::Issue(issue) => {
                let hits = journal.hits_by_day(&issue.id, of).await.map_err(Trouble::from);
                hits.map(|hits| history::trend(&hits, window.1))
            }
        };
        let personas = match case.is_issue() {
            true => {
                Some(journal.personas_of_issue(case.id(), of, MOST).await.map_err(Trouble::from))
            }
            false => None,
        };
        let newest = journal.dates_of(Days::Last(1)).await.ok().flatten();
        Self {
            trend,
            deployments: journal.latest_deployments(DEPLOYMENTS).await.map_err(Trouble::from),
            personas,
            samples: samples(journal, case, of).await,
            mutes: if case.is_issue() { mutes(ui).await } else { Ok(Mutes::new()) },
            today: newest.map(|(_, newest)| newest),
        }
    }

    fn personas(&self, asked: &Asked, case: &Case<'_>, overview: &Overview) -> Markup {
        html! {
            h2 { (words::frictions::words(asked.language).personas) }
            @match (&self.personas, case.friction()) {
                (Some(personas), _) => {
                    (trouble::part(asked, personas, |personas| evidence::personas(asked, personas)))
                }
                (None, Some(friction)) => (evidence::labels(asked, friction, overview)),
                (None, None) => {}
            }
        }
    }

    fn samples(&self, asked: &Asked, is_of_one: bool, times: &Times) -> Markup {
        html! {
            @if let Some(samples) = &self.samples {
                h2 { (words::frictions::words(asked.language).samples) }
                (trouble::part(asked, samples, |samples| evidence::samples(asked, samples, is_of_one, times)))
            }
        }
    }

    /// Until when and why it is muted, and the commands that mute it and end that.
    fn muting(&self, asked: &Asked, id: &str, times: &Times) -> Markup {
        let words = words::frictions::words(asked.language);
        html! {
            h2 { (words.to_mute_title) }
            (trouble::part(asked, &self.mutes, |mutes| html! {
                @if let Some(mute) = mutes.get(id) {
                    p { (muted(asked, mute, times)) }
                    p.note { (words.to_unmute) }
                    pre { code { "mana-persona-runner frictions unmute " (id) } }
                }
            }))
            @if let Some(until) = self.today.map(|today| today.saturating_add(MUTED_FOR.days())) {
                p.note { (words.to_mute) }
                pre { code { "mana-persona-runner frictions mute " (id) " --until " (until) " --reason '" (words.reason) "'" } }
            }
        }
    }
}

/// How many personas of an issue are counted.
const MOST: u32 = 1_000;

/// Calls that prove it: those that failed with the issue; the slowest or largest ones of a slow tool or of one that
/// returns too much.
async fn samples(
    journal: &Journal,
    case: &Case<'_>,
    of: (Date, Date),
) -> Option<Result<Vec<Sample>, Trouble>> {
    let most = evidence::SAMPLES as u32;
    let found = match (case.is_issue(), case.friction().and_then(|it| it.detector), case.tool()) {
        (true, ..) => journal.samples_of_issue(case.id(), of, most).await,
        (false, Some(Detector::Slow), Some(tool)) => {
            journal.samples_of_tool(tool, ToolSample::Slowest, of, most).await
        }
        (false, Some(Detector::Flood), Some(tool)) => {
            journal.samples_of_tool(tool, ToolSample::Largest, of, most).await
        }
        _ => return None,
    };
    Some(found.map_err(Trouble::from))
}

fn as_json(case: &Case<'_>, known: Known) -> Result<Value, Trouble> {
    let personas = known.personas.transpose()?.unwrap_or_default();
    let personas = personas.into_iter().map(|it| {
        json!({
            "id": it.persona_id, "label": it.label, "runs": it.runs, "recovered": it.recovered,
            "calls": it.calls, "lastRun": it.last_run.to_string(),
        })
    });
    let samples = known.samples.transpose()?.unwrap_or_default();
    let samples = samples.into_iter().map(|Sample { call, persona_id, label }| {
        json!({
            "run": call.run, "call": call.number, "at": call.at, "tool": call.tool,
            "persona": {"id": persona_id, "label": label}, "ok": call.ok,
            "next": call.next.map(Label::as_str), "latencyMs": call.latency_ms, "quote": call.quote,
        })
    });
    let deployments = known
        .deployments?
        .into_iter()
        .map(|it| json!({"id": it.id(), "version": it.version, "from": it.first_at}));
    let mutes = known.mutes?;
    let mute = mutes.get(case.id()).map(
        |Mute { from, until, reason, .. }| json!({"from": from, "until": until, "reason": reason}),
    );
    let progress = case.friction().map(|friction| friction.progress);
    Ok(json!({
        "id": case.id(),
        "friction": case.friction(),
        "issue": match case {
            Case::Issue(issue) => json!(issue),
            Case::Friction(..) => Value::Null,
        },
        "progress": progress.map(|it| json!({
            "clean": it.clean, "needed": it.needed, "personas": it.personas, "personasNeeded": it.personas_needed,
        })),
        "hitsByDay": known.trend?,
        "deployments": deployments.collect::<Vec<_>>(),
        "personas": personas.collect::<Vec<_>>(),
        "samples": samples.collect::<Vec<_>>(),
        "mute": mute,
    }))
}
