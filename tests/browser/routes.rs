//! One page of each route, with the names that the lived weeks give.

use std::collections::BTreeSet;

use reqwest::StatusCode;

use crate::{
    lived::{BROKEN, WEEK},
    stage::{KEY, Stage},
};

/// A page to look at.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The name of its pictures.
    pub name: &'static str,
    pub path: String,
    pub status: StatusCode,
}

impl Route {
    fn new(name: &'static str, path: impl Into<String>) -> Self {
        Self { name, path: path.into(), status: StatusCode::OK }
    }

    /// Whether the page is a report as it was stored, without the frame of the other pages.
    pub(crate) fn is_stored(&self) -> bool {
        self.name == "stored"
    }
}

/// A page of each route that needs a login.
pub(crate) async fn all(stage: &Stage) -> Vec<Route> {
    let friction = first_link(stage, "/ui/frictions", "/ui/frictions/").await;
    let call = first_link(stage, &friction, "/ui/runs/").await;
    let (run, call) = call.split_once("#call-").expect("a sample leads to a call");
    let module = BROKEN.split_once('.').unwrap().0;
    vec![
        Route::new("overview", "/ui"),
        Route::new("frictions", "/ui/frictions"),
        Route::new("friction", &friction),
        Route::new("modules", "/ui/modules"),
        Route::new("module", format!("/ui/modules/{module}")),
        Route::new("personas", "/ui/personas"),
        Route::new("persona", first_link(stage, "/ui/personas", "/ui/personas/").await),
        Route::new("runs", "/ui/runs"),
        Route::new("run", run),
        Route::new("call", format!("{run}/calls/{call}")),
        Route::new("compare", "/ui/compare"),
        Route::new(
            "compare-weeks",
            "/ui/compare?a=2026-03-09..2026-03-15&b=2026-03-16..2026-03-22",
        ),
        Route::new("live", "/ui/live"),
        Route::new("reports", "/ui/reports"),
        Route::new("stored", format!("/ui/reports/{WEEK}.html")),
        Route::new("overview-english", "/ui?lang=en"),
        Route { status: StatusCode::NOT_FOUND, ..Route::new("unknown", "/ui/runs/nobody") },
        Route { status: StatusCode::BAD_REQUEST, ..Route::new("wrong", "/ui/runs?days=none") },
    ]
}

/// The address of the first link of a page that begins with `prefix` and is longer.
async fn first_link(stage: &Stage, page: &str, prefix: &str) -> String {
    let html = stage.text(page).await;
    let found =
        links(&html).into_iter().find(|link| link.len() > prefix.len() && link.starts_with(prefix));
    found.unwrap_or_else(|| panic!("no link to {prefix} on {page}"))
}

/// The addresses of all links of a page, in order.
pub(crate) fn links(html: &str) -> Vec<String> {
    let all = html.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    all.map(|link| link.replace("&amp;", "&")).collect()
}

#[tokio::test]
async fn no_link_of_any_page_leads_nowhere() {
    let stage = Stage::lived().await;
    let mut known = BTreeSet::new();
    for route in all(&stage).await {
        let html = stage.text_with(&route.path, route.status).await;
        known.extend(links(&html).into_iter().map(|link| (link, route.name)));
    }
    assert!(known.len() > 100, "{known:?}");
    for (link, page) in known {
        let anchor = link.split_once('#').map(|(_, anchor)| anchor.to_owned());
        if link.starts_with('#') {
            continue;
        }
        assert!(link.starts_with("/ui"), "{link} on {page}");
        let request =
            stage.daemon.client.get(format!("{}{link}", stage.daemon.url)).bearer_auth(KEY);
        let answer = request.send().await.unwrap();
        let is_of_trouble = ["unknown", "wrong"].contains(&page);
        assert!(
            answer.status().is_success() || is_of_trouble,
            "{link} on {page}: {}",
            answer.status()
        );
        let html = answer.text().await.unwrap();
        if let Some(anchor) = anchor {
            assert!(html.contains(&format!(" id=\"{anchor}\"")), "{link} on {page}");
        }
    }
}
