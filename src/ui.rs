//! The page /ui: what the runs teach, in a browser. It only shows; nothing under /ui changes anything.
//!
//! A handler gets what was asked for ([`Asked`]) and gives an [`Answer`] or a [`Trouble`]; `frame` makes a page of
//! either. Each page but the login, the live stream and the stored reports is also there as JSON, at the same path with
//! `.json` at its end.

mod access;
mod asked;
mod compare;
mod days;
mod frame;
mod frictions;
mod front;
mod headers;
mod link;
mod live;
mod modules;
mod overviews;
mod pager;
mod personas;
mod reports;
mod runs;
mod sign_in;
#[cfg(test)]
mod sound;
mod times;
mod transcript;
mod trouble;
mod words;

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawPathParams, State, rejection::RawPathParamsRejection},
    http::{HeaderMap, Uri, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{MethodRouter, get},
};
use maud::Markup;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::{domain::Language, facts::window::Days, journal::Journal, runner::Fleet};
use access::Access;
use asked::Asked;
pub(crate) use headers::{for_path, with_headers};
use overviews::Overviews;
use times::Times;
use trouble::Trouble;

const STYLE: &str = concat!(include_str!("report/html/base.css"), include_str!("ui/style.css"));
const SCRIPT: &str = include_str!("ui/ui.js");
const ICON: &str = include_str!("ui/icon.svg");
/// The days that a page shows if the request names none; only the first page has others.
const USUAL_DAYS: Days = Days::Last(28);

/// What the pages show, and from where.
#[derive(Debug)]
pub(crate) struct Ui {
    /// Whether the daemon is paused, what is in flight, the budget.
    pub(self) fleet: Arc<Fleet>,
    /// The journal, through a connection that no run waits for.
    pub(self) journal: Journal,
    /// The language of pages that do not name one.
    pub(self) language: Language,
    /// Who may see them.
    access: Access,
    /// What is computed from all facts of a window.
    overviews: Overviews,
    /// A permit for each stream of calls.
    streams: Arc<Semaphore>,
}

impl Ui {
    /// The page of this fleet.
    pub(crate) fn new(fleet: Arc<Fleet>) -> Self {
        let (journal, language) = (fleet.journal.for_page(), fleet.config.report.language);
        let access = Access::new(&fleet.config.page, fleet.clock.clone());
        let overviews = Overviews::new(journal.clone(), &fleet.clock, &fleet.shutdown);
        let streams = Arc::new(Semaphore::new(live::STREAMS));
        Self { fleet, journal, language, access, overviews, streams }
    }

    /// Writes times in the zone of the journal.
    async fn times(&self, asked: &Asked) -> Result<Times, Trouble> {
        Ok(Times::new(self.journal.time_zone().await?, asked.language))
    }
}

/// What a handler gives.
enum Answer {
    Page(Page),
    Json(Value),
    /// A text that is JSON already.
    JsonText(String),
    Other(Response),
}

/// A page within the frame.
struct Page {
    /// Which entry of the navigation it belongs to.
    place: Place,
    /// The title of the window, and the `h1`.
    title: String,
    /// What stands below the `h1`.
    main: Markup,
    /// What the script follows while the page is open.
    live: Option<Live>,
}

/// The entries of the navigation, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Front,
    Frictions,
    Modules,
    Personas,
    Runs,
    Compare,
    Live,
    Reports,
    /// No entry: pages about trouble.
    Nowhere,
    /// The login, which has no navigation.
    Login,
}

/// What the script follows on `/ui/live` while a page is open.
enum Live {
    /// All calls; those after this event (`RUN.STEP`) are still to be shown.
    Calls { after: Option<String> },
    /// The run with this id. The page is fetched again when the run has made a call.
    Run(String),
}

/// The routes of the page. [`with_headers`] must be put around them, and around what refuses requests to them.
pub(crate) fn routes<S>(ui: Arc<Ui>) -> Router<S> {
    let pages = Router::new()
        .route("/ui", page(front::show))
        .route("/ui.json", page(front::show))
        .route("/ui/frictions", page(frictions::list))
        .route("/ui/frictions.json", page(frictions::list))
        .route("/ui/frictions/{id}", page(frictions::show))
        .route("/ui/live", page(live::show))
        .route("/ui/modules", page(modules::list))
        .route("/ui/modules.json", page(modules::list))
        .route("/ui/modules/{module}", page(modules::show))
        .route("/ui/personas", page(personas::list))
        .route("/ui/personas.json", page(personas::list))
        .route("/ui/personas/{id}", page(personas::show))
        .route("/ui/compare", page(compare::show))
        .route("/ui/compare.json", page(compare::show))
        .route("/ui/reports", page(reports::list))
        .route("/ui/reports/{file}", page(reports::show))
        .route("/ui/runs", page(runs::show))
        .route("/ui/runs.json", page(runs::show))
        .route("/ui/runs/{id}", page(transcript::show))
        .route("/ui/runs/{id}/calls/{number}", page(transcript::call))
        .route("/ui/", get(async || Redirect::to("/ui")))
        .route("/ui/{*path}", page(async |_, _| Err(Trouble::NotFound)))
        // The guard refuses other methods already. But the router of `server` would put its own answer in the place of a
        // default one, without the layers.
        .method_not_allowed_fallback(async || access::method_not_allowed("GET, HEAD"))
        .route_layer(middleware::from_fn_with_state(ui.clone(), access::guard));
    let open = sign_in::routes()
        .route("/ui/style.css", asset("text/css; charset=utf-8", STYLE))
        .route("/ui/ui.js", asset("text/javascript; charset=utf-8", SCRIPT))
        .route("/ui/icon.svg", asset("image/svg+xml", ICON));
    pages.merge(open).with_state(ui)
}

/// A route whose handler gives a page or its JSON.
fn page<F, Fut>(show: F) -> MethodRouter<Arc<Ui>>
where
    F: Fn(Arc<Ui>, Asked) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Answer, Trouble>> + Send,
{
    get(
        async move |State(ui): State<Arc<Ui>>,
                    parameters: Result<RawPathParams, RawPathParamsRejection>,
                    uri: Uri,
                    headers: HeaderMap| {
            let is_readable = parameters.is_ok();
            let parameters = parameters.iter().flatten();
            let segments = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let (mut asked, wrong) = Asked::of(&uri, segments.collect(), &headers, ui.language);
            asked.can_log_out = ui.access.is_locked();
            let answer = match wrong {
                // Nothing has a name that is not UTF-8.
                _ if !is_readable => Err(Trouble::NotFound),
                None => show(ui, asked.clone()).await,
                Some(name) => Err(Trouble::Parameter(name)),
            };
            match answer {
                Ok(Answer::Page(page)) => frame::answer(&asked, page),
                Ok(Answer::Json(value)) => axum::Json(value).into_response(),
                Ok(Answer::JsonText(text)) => json_text(text),
                Ok(Answer::Other(response)) => response,
                Err(trouble) => trouble::answer(&asked, &trouble),
            }
        },
    )
}

fn json_text(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn asset(content_type: &'static str, text: &'static str) -> MethodRouter<Arc<Ui>> {
    get(async move || ([(header::CONTENT_TYPE, content_type)], text))
        .fallback(async || access::method_not_allowed("GET, HEAD"))
}
