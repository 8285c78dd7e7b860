//! /ui/personas/{id}: who a persona is, its days, how it rates against its own past, and its runs.

use std::sync::Arc;

use jiff::civil::Date;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::{absent, archetype, days, failed, mean, runs, usd, window};
use crate::{
    domain::{RunId, clipped_line, printable},
    facts::{
        line,
        overview::{Overview, PersonaModule, PersonaSummary},
    },
    journal::{KnownPersona, Page as Part, PersonaRun},
    report::{
        html::shapes,
        view::{
            IntervalView, languages,
            words::percent,
            writer::{LABEL, NAME},
        },
    },
    ui::{
        Answer, Page, Place, USUAL_DAYS, Ui,
        asked::Asked,
        frame,
        overviews::Found,
        pager,
        times::Times,
        trouble::{self, Trouble},
        words,
    },
};

/// How many of the modules that a persona likes are named.
const LIKED: usize = 12;
/// Longest system prompt, in characters. The page of a run has all of it.
const PROMPT: usize = 6_000;

/// What the journal has of a persona.
struct Stored {
    known: KnownPersona,
    /// The first and the last day.
    days: Option<(Date, Date)>,
    runs: Result<Part<PersonaRun>, Trouble>,
    absences: Result<Vec<line::Absence>, Trouble>,
}

pub(in crate::ui) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    let days = asked.days.unwrap_or(USUAL_DAYS);
    let stored = stored(&ui, &asked).await?;
    let found = ui.overviews.overview(days).await;
    if asked.is_json {
        return Ok(Answer::Json(as_json(&found?.value, stored)?));
    }
    let times = ui.times(&asked).await?;
    let id = &stored.known.persona.id;
    let last_run = found.as_ref().ok().and_then(|found| found.persona(id)?.last_run.as_ref());
    let prompt = prompt(&ui, last_run.map(|run| &*run.id)).await;
    let words = words::personas::words(asked.language);
    let main = html! {
        (window::told(&asked, stored.days, USUAL_DAYS))
        (who(&asked, &times, &stored.known))
        (trouble::part(&asked, &prompt, |prompt| self::prompt_of(&asked, prompt.as_deref())))
        (trouble::part(&asked, &found, |found| overview(&asked, &times, found, id)))
        section {
            h2 { (words.runs) }
            (trouble::part(&asked, &stored.runs, |page| runs::section(&asked, &times, page)))
        }
        (trouble::part(&asked, &stored.absences, |absences| {
            absent::section(&asked, &times, found.as_ref().ok().map(|found| &**found), id, absences)
        }))
    };
    let title = clipped_line(&stored.known.persona.label, LABEL);
    Ok(Answer::Page(Page { place: Place::Personas, title, main, live: None }))
}

async fn stored(ui: &Ui, asked: &Asked) -> Result<Stored, Trouble> {
    let (journal, id, part) = (&ui.journal, asked.segment("id"), asked.part()?);
    let known = journal.persona(id).await?.ok_or(Trouble::NotFound)?;
    let days = journal.dates_of(asked.days.unwrap_or(USUAL_DAYS)).await?;
    let (mut runs, mut absences) =
        (Ok(Part { items: Vec::new(), has_newer: false, has_older: false }), Ok(Vec::new()));
    if let Some(days) = days {
        let rows = pager::ROWS as u32;
        runs = journal.runs_of_persona(id, days, part, rows).await.map_err(Trouble::from);
        absences = journal.absences_of_persona(id, days).await.map_err(Trouble::from);
    }
    Ok(Stored { known, days, runs, absences })
}

/// What the persona was told in its last run; `None` if that is no longer stored.
async fn prompt(ui: &Ui, run: Option<&str>) -> Result<Option<String>, Trouble> {
    let Some(run) = run.and_then(|run| RunId::parse(run).ok()) else { return Ok(None) };
    let run = ui.journal.run(run).await?;
    Ok(run.and_then(|run| Some(run.persona?.system_prompt)))
}

fn as_json(found: &Overview, stored: Stored) -> Result<Value, Trouble> {
    let Stored { known: KnownPersona { persona, first_at, last_at }, runs, absences, .. } = stored;
    let absences = absences?.into_iter().map(|it| json!({"slot": it.slot, "why": it.why.as_str()}));
    let mut answer = json!({
        "window": found.report.window,
        "id": persona.id, "label": persona.label, "archetype": persona.archetype,
        "cadence": persona.cadence, "mix": persona.mix, "firstAt": first_at, "lastAt": last_at,
        "days": found.days,
        "summary": found.persona(&persona.id),
        "absences": absences.collect::<Vec<_>>(),
    });
    if let (Some(answer), Value::Object(runs)) = (answer.as_object_mut(), runs::as_json(runs?)) {
        answer.extend(runs);
    }
    Ok(answer)
}

fn who(
    asked: &Asked,
    times: &Times,
    KnownPersona { persona, first_at, last_at }: &KnownPersona,
) -> Markup {
    let words = words::personas::words(asked.language);
    // Some weights may be no numbers: the mix is kept as mana-auth sent it.
    let weights =
        persona.mix.iter().filter_map(|(module, weight)| Some((module, weight.as_f64()?)));
    let mut liked: Vec<_> = weights.collect();
    liked.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then_with(|| a.cmp(b)));
    let runs = asked.link(&["runs"], &[("persona", &persona.id)]);
    html! {
        dl.facts {
            dt { (words.archetype) } dd { bdi { (archetype(asked, persona.archetype.as_deref())) } }
            dt { (words.cadence) } dd { (words.cadence_of(persona.cadence.as_deref())) }
            dt { (words.likes) }
            dd {
                @for (position, (module, weight)) in liked.iter().take(LIKED).enumerate() {
                    @if position > 0 { ", " }
                    a href=(asked.link(&["modules", module], &[])) { bdi { (clipped_line(module, NAME)) } }
                    " " (percent(*weight))
                }
                @if liked.is_empty() { (words.unknown) }
            }
            dt { (words.known) } dd { (words.since(&times.minute(*first_at), &times.minute(*last_at))) }
            dt { "ID" } dd { code { (clipped_line(&persona.id, NAME)) } " · " a href=(runs) { (words.all_runs) } }
        }
    }
}

/// The system prompt, folded.
fn prompt_of(asked: &Asked, prompt: Option<&str>) -> Markup {
    let words = words::personas::words(asked.language);
    let Some(prompt) = prompt else { return html! { p.note { (words.no_prompt) } } };
    let text = printable(prompt.trim());
    let end = text.char_indices().nth(PROMPT).map(|(end, _)| end);
    html! {
        details {
            summary { (words.prompt) }
            p.words { (&text[..end.unwrap_or(text.len())]) @if end.is_some() { "…" } }
        }
    }
}

fn overview(asked: &Asked, times: &Times, found: &Found<Overview>, id: &str) -> Markup {
    let words = words::personas::words(asked.language);
    let Some(persona) = found.persona(id) else { return html! { p { (words.no_run) } } };
    html! {
        (found.notice(asked.language, times))
        section {
            h2 { (words.days) }
            p.note { (days::told(asked, times, &found.days)) }
            (days::key(asked, persona.days.iter()))
            (frame::wide(words.days, html! { div.coverage { (days::row(asked, &persona.days)) } }))
            (sums(asked, persona))
        }
        section {
            h2 { (words.baseline) }
            p.note { (languages::words(asked.language).notes().modules) }
            @if persona.modules.is_empty() {
                p { (words.no_modules) }
            } @else {
                (frame::wide(words.baseline, modules(asked, &persona.modules)))
            }
        }
    }
}

fn sums(asked: &Asked, persona: &PersonaSummary) -> Markup {
    let columns = words::personas::words(asked.language).columns;
    let terms = languages::words(asked.language);
    let sums = [
        terms.number(persona.runs.into()),
        failed(asked, persona.failed, persona.runs),
        mean(asked, persona.ratings),
        usd(asked, persona.cost_usd),
    ];
    html! {
        @if persona.runs > 0 {
            dl.tiles { @for (name, sum) in columns.iter().skip(3).zip(sums) { div { dt { (name) } dd { (sum) } } } }
        }
    }
}

fn modules(asked: &Asked, modules: &[PersonaModule]) -> Markup {
    let columns = words::personas::words(asked.language).module_columns;
    html! {
        table {
            (frame::head(&columns, &[1, 2]))
            tbody { @for module in modules { tr data-item { (self::module(asked, module)) } } }
        }
    }
}

fn module(asked: &Asked, of: &PersonaModule) -> Markup {
    let (words, terms) = (words::personas::words(asked.language), languages::words(asked.language));
    html! {
        th scope="row" {
            a href=(asked.link(&["modules", &of.module], &[])) { bdi { (clipped_line(&of.module, NAME)) } }
        }
        @if of.runs == 0 {
            td.grey colspan="2" { (words.unused) }
        } @else {
            td.n { (terms.number(of.runs.into())) }
            td.n { (failed(asked, of.failed, of.runs)) }
        }
        td { (mean(asked, of.before)) }
        td { (mean(asked, of.ratings)) }
        td { (difference(asked, of)) }
    }
}

/// The difference of the means, drawn and in words.
fn difference(asked: &Asked, of: &PersonaModule) -> Markup {
    let both = of.ratings.mean().zip(of.before.mean());
    html! {
        @match both {
            None => span.grey { (languages::words(asked.language).notes().no_past) },
            Some((within, before)) => {
                @let value = within - before;
                (shapes::interval(&IntervalView { value, ends: None, points: Vec::new() }))
                (languages::words(asked.language).signed(value))
            }
        }
    }
}
