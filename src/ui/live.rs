//! /ui/live: a page of the runs in flight and the last calls, and the stream behind it: each call as it ends.
//!
//! The stream reads the journal, in the order in which the steps were committed. So it has no gap: neither after a
//! reconnect nor after a restart, and a slow reader holds up nobody. The id of an event, `RUN.STEP`, says where to go on.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{
    http::{StatusCode, header},
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use maud::{Markup, html};
use serde::{Serialize, Serializer};
use tokio::{sync::OwnedSemaphorePermit, time::sleep};

use super::{
    Answer, Live, Page, Place, Ui, asked::Asked, frame, times::Times, trouble::Trouble, words,
};
use crate::{
    domain::{RunId, RunState, clipped_line},
    journal::{FoundRun, JournalError, LiveCall, Part, Position, RunFilter},
};

/// How many streams are open at once.
pub(super) const STREAMS: usize = 8;
/// Pause between two looks for new calls.
const PERIOD: Duration = Duration::from_millis(400);
/// After so long without a call, a line shows that the stream is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How many calls are read at once.
const AT_ONCE: u32 = 50;
/// How many calls the page shows at first.
const SHOWN: u32 = 50;
/// How many runs in flight the page shows.
const RUNS: u32 = 200;
/// Longest name of a persona or a tool, in characters.
const NAME: usize = 128;

/// A call that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EndedCall {
    #[serde(serialize_with = "as_text")]
    run: RunId,
    /// The label of the persona.
    persona: String,
    number: u32,
    tool: String,
    ok: bool,
    latency_ms: u64,
}

fn as_text<S: Serializer>(run: &RunId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(run)
}

impl From<&LiveCall> for EndedCall {
    fn from(call: &LiveCall) -> Self {
        let persona = call.label.as_deref().unwrap_or(&call.persona_id);
        Self {
            run: call.run,
            persona: clipped_line(persona, NAME),
            number: call.number,
            tool: clipped_line(&call.tool, NAME),
            ok: call.ok,
            latency_ms: u64::try_from(call.latency.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn event_id(call: &LiveCall) -> String {
    format!("{}.{}", call.run, call.step)
}

/// The run and the step that an event's id names.
fn step_of(event: &str) -> Option<(RunId, u32)> {
    let (run, step) = event.trim().rsplit_once('.')?;
    Some((RunId::parse(run).ok()?, step.parse().ok()?))
}

/// The page, or the stream if the request accepts one.
pub(super) async fn show(ui: Arc<Ui>, asked: Asked) -> Result<Answer, Trouble> {
    match asked.wants_stream {
        true => Ok(Answer::Other(stream_of(ui, &asked).await)),
        false => page(&ui, &asked).await,
    }
}

/// The stream of the calls after the event that the request names; without one, of those to come.
async fn stream_of(ui: Arc<Ui>, asked: &Asked) -> Response {
    if ui.fleet.shutdown.is_stopping() {
        return refused("the daemon is stopping");
    }
    let Ok(permit) = ui.streams.clone().try_acquire_owned() else {
        return refused("too many streams are open; close another page that shows calls");
    };
    let after = asked.last_event.as_deref().or_else(|| asked.parameter("after"));
    let position = match position_after(&ui, after.and_then(step_of)).await {
        Ok(position) => position,
        Err(error) => return refused(&error.to_string()),
    };
    let following = Following { ui, position, read: Vec::new(), _permit: permit };
    let events = stream::unfold(following, async |mut following| {
        let event = following.next().await?;
        Some((Ok::<_, Infallible>(event), following))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// Where a stream begins. An event that the journal does not have, or no longer, is no place: the stream then begins
/// with the next call.
async fn position_after(ui: &Ui, event: Option<(RunId, u32)>) -> Result<Position, JournalError> {
    if let Some((run, step)) = event
        && let Some(position) = ui.journal.position_of(run, step).await?
    {
        return Ok(position);
    }
    ui.journal.newest_position().await
}

fn refused(why: &str) -> Response {
    let error = serde_json::json!({"ok": false, "error": why});
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], axum::Json(error))
        .into_response()
}

/// A stream that is open.
struct Following {
    ui: Arc<Ui>,
    /// How far the calls were read.
    position: Position,
    /// Calls that were read and not sent, the next one last.
    read: Vec<LiveCall>,
    _permit: OwnedSemaphorePermit,
}

impl Following {
    /// The next event. `None` when the daemon stops.
    async fn next(&mut self) -> Option<Event> {
        let shutdown = self.ui.fleet.shutdown.clone();
        let mut stopping = pin!(shutdown.stopping());
        loop {
            if let Some(call) = self.read.pop() {
                let event = Event::default().event("call").id(event_id(&call));
                // Strings, numbers and flags always encode.
                return event.json_data(EndedCall::from(&call)).ok();
            }
            tokio::select! {
                biased;
                () = &mut stopping => return None,
                is_new = self.look() => if is_new { continue },
            }
            tokio::select! {
                biased;
                () = &mut stopping => return None,
                () = sleep(PERIOD) => {}
            }
        }
    }

    /// Reads new calls. Whether there are any. A journal that cannot be read now is read again later.
    async fn look(&mut self) -> bool {
        let Ok(found) = self.ui.journal.calls_after(self.position, AT_ONCE).await else {
            return false;
        };
        self.position = found.reached;
        self.read = found.calls;
        self.read.reverse();
        !self.read.is_empty()
    }
}

async fn page(ui: &Ui, asked: &Asked) -> Result<Answer, Trouble> {
    let words = words::live::words(asked.language);
    let latest = ui.journal.latest_calls(SHOWN).await?;
    let after = latest.first().map(event_id);
    let calls: Vec<_> = latest.iter().map(EndedCall::from).collect();
    let main = html! {
        h2 { (words.in_flight) }
        (in_flight(ui, asked).await?)
        h2 { (words.calls) }
        @if calls.is_empty() { p.note { (words.no_calls) } }
        (log(asked, &calls))
    };
    let live = Some(Live::Calls { after });
    Ok(Answer::Page(Page { place: Place::Live, title: words.title.to_owned(), main, live }))
}

/// The runs that have not ended.
async fn in_flight(ui: &Ui, asked: &Asked) -> Result<Markup, Trouble> {
    let words = words::live::words(asked.language);
    let times = ui.times(asked).await?;
    let running = RunState::Running.as_str().to_owned();
    let filter = RunFilter { state: Some(running), ..RunFilter::default() };
    let runs = ui.journal.find_runs(&filter, Part::Newest, RUNS).await?;
    Ok(html! {
        @if runs.items.is_empty() {
            p.note { (words.nobody) }
        } @else {
            (frame::wide(words.in_flight, html! {
                table {
                    thead { tr { @for column in words.columns { th scope="col" { (column) } } } }
                    tbody { @for run in &runs.items { (row(asked, &times, run)) } }
                }
            }))
        }
        @if runs.has_older { p.rest { (words.more) } }
    })
}

fn row(asked: &Asked, times: &Times, run: &FoundRun) -> Markup {
    let label = run.label.as_deref().unwrap_or(&run.persona_id);
    html! {
        tr data-item {
            th scope="row" { a href=(asked.run(run.id, None)) { bdi { (clipped_line(label, NAME)) } } }
            td { (times.minute(run.server_at)) }
        }
    }
}

/// The calls, the newest one first. The script adds further ones.
fn log(asked: &Asked, calls: &[EndedCall]) -> Markup {
    let words = words::live::words(asked.language);
    let query = asked
        .parameter("lang")
        .map_or(String::new(), |_| format!("?lang={}", asked.language.as_str()));
    html! {
        div role="log" aria-label=(words.calls) {
            ol data-calls data-query=(query) data-ok=(words.ok) data-failed=(words.failed) {
                @for call in calls {
                    li data-item class=[(!call.ok).then_some("failed")] {
                        a href=(asked.run(call.run, Some(call.number))) {
                            bdi { (call.persona) } " · " (call.number) " · " bdi { (call.tool) }
                        }
                        " " (if call.ok { words.ok } else { words.failed }) ", " (call.latency_ms) " ms"
                    }
                }
            }
        }
    }
}
