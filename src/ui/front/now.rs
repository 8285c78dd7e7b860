//! The fleet at this moment: what is in flight, what hinders ticks, the money, and what waits to be posted.

use std::collections::HashMap;

use maud::{Markup, html};

use crate::{
    domain::{RunId, RunState, Usd, clipped_line, redact_emails},
    journal::{OutboxDepth, Part, RunFilter},
    runner::{Hindrance, PausedBy},
    ui::{Ui, asked::Asked, times::Times, trouble, trouble::Trouble, words},
};

/// How many runs in flight are named.
const NAMED: usize = 8;
/// How many unfinished runs are looked through for the names of those in flight.
const UNFINISHED: u32 = 200;
/// Longest label of a persona, in characters.
const LABEL: usize = 32;

/// The fleet at this moment.
pub(super) struct Now {
    /// What keeps ticks from their work, in words.
    pub(super) hindrances: Vec<String>,
    pub(super) in_flight: usize,
    pub(super) runs: Vec<Run>,
    /// What was spent today and this month, with the caps.
    pub(super) money: Result<[(Usd, Option<Usd>); 2], Trouble>,
    /// The outbox, and since when its oldest post waits.
    pub(super) outbox: Result<(OutboxDepth, String), Trouble>,
}

/// A run in flight.
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) label: String,
    pub(super) since: String,
}

impl Now {
    pub(super) async fn of(ui: &Ui, asked: &Asked, times: &Times) -> Self {
        let (money, outbox) = tokio::join!(money(ui), outbox(ui, times));
        let in_flight = ui.fleet.control.in_flight();
        let labels = labels(ui, in_flight.is_empty()).await;
        let runs = in_flight.iter().take(NAMED).map(|(id, run)| Run {
            id: *id,
            label: labels.get(id).map_or(run.persona.as_str(), String::as_str).to_owned(),
            since: times.minute(run.since),
        });
        Self {
            hindrances: hindrances(ui, asked, times),
            in_flight: in_flight.len(),
            runs: runs.collect(),
            money,
            outbox,
        }
    }

    pub(super) fn draw(&self, asked: &Asked) -> Markup {
        let words = words::front::words(asked.language);
        html! {
            section aria-labelledby="now" {
                h2 #now { (words.now) }
                @for hindrance in &self.hindrances { p.trouble { (hindrance) } }
                dl.tiles {
                    div {
                        dt { (words.in_flight) }
                        dd {
                            @if self.in_flight == 0 {
                                (words.nothing_in_flight)
                            } @else {
                                a href=(asked.link(&["live"], &[])) { (words.runs(self.in_flight)) }
                            }
                        }
                    }
                    @if let Ok(money) = &self.money { (draw_money(asked, money)) }
                    @if let Ok((depth, oldest)) = &self.outbox { (draw_outbox(asked, depth, oldest)) }
                }
                (trouble::part(asked, &self.money, |_| html! {}))
                (trouble::part(asked, &self.outbox, |_| html! {}))
                (self.draw_runs(asked))
            }
        }
    }

    fn draw_runs(&self, asked: &Asked) -> Markup {
        let words = words::front::words(asked.language);
        let more = self.in_flight - self.runs.len();
        html! {
            @if !self.runs.is_empty() {
                ul.lines {
                    @for run in &self.runs {
                        li data-item {
                            a href=(asked.run(run.id, None)) { bdi { (clipped_line(&run.label, LABEL)) } }
                            " " span.note { (words.since(&run.since)) }
                        }
                    }
                    @if more > 0 { li.rest { (words.more_runs(more)) } }
                }
            }
        }
    }
}

/// What was spent today and this month.
fn draw_money(asked: &Asked, money: &[(Usd, Option<Usd>); 2]) -> Markup {
    let words = words::front::words(asked.language);
    html! {
        @for (what, (spent, cap)) in [words.today, words.this_month].iter().zip(money) {
            div {
                dt { (what) }
                dd { (words.spent(spent.dollars(), cap.map(Usd::dollars))) }
            }
        }
    }
}

/// Posts that wait and posts that were refused. The command line lists them.
fn draw_outbox(asked: &Asked, depth: &OutboxDepth, oldest: &str) -> Markup {
    let words = words::front::words(asked.language);
    let waiting = depth.actions + depth.feedback;
    html! {
        div {
            dt { (words.outbox) }
            dd {
                @if waiting + depth.dead == 0 { (words.outbox_empty) }
                @if waiting > 0 { (words.waiting(waiting, oldest)) }
                @if waiting > 0 && depth.dead > 0 { ", " }
                @if depth.dead > 0 { (words.refused(depth.dead)) }
            }
            @if waiting + depth.dead > 0 {
                dd.note { (words.list_outbox) " " code { "mana-persona-runner outbox" } }
            }
        }
    }
}

/// What hinders ticks, without the e-mail addresses that errors of peers may have.
fn hindrances(ui: &Ui, asked: &Asked, times: &Times) -> Vec<String> {
    let words = words::front::words(asked.language);
    let told = |hindrance: Hindrance| {
        let since = match &hindrance {
            Hindrance::Paused(PausedBy::Request(pause)) => Some(times.minute(pause.since)),
            _ => None,
        };
        redact_emails(&words.hindrance(&hindrance, since.as_deref())).into_owned()
    };
    ui.fleet.hindrances().map(told).collect()
}

/// The labels of the personas whose runs have not ended. Where they cannot be read, ids take their place.
async fn labels(ui: &Ui, is_idle: bool) -> HashMap<RunId, String> {
    if is_idle {
        return HashMap::new();
    }
    let running = RunState::Running.as_str().to_owned();
    let filter = RunFilter { state: Some(running), ..RunFilter::default() };
    let found = ui.journal.find_runs(&filter, Part::Newest, UNFINISHED).await;
    let found = found.map(|page| page.items).unwrap_or_default();
    found.into_iter().filter_map(|run| Some((run.id, run.label?))).collect()
}

async fn money(ui: &Ui) -> Result<[(Usd, Option<Usd>); 2], Trouble> {
    let (today, month) = ui.journal.fleet_spending(ui.fleet.clock.now()).await?;
    let caps = &ui.fleet.budget.caps;
    Ok([(today, caps.daily), (month, caps.monthly)])
}

async fn outbox(ui: &Ui, times: &Times) -> Result<(OutboxDepth, String), Trouble> {
    let depth = ui.journal.outbox_depth().await?;
    let oldest = depth.oldest.map_or(String::new(), |at| times.minute(at));
    Ok((depth, oldest))
}
