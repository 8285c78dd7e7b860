//! The routes of the page, with ids from its own JSON.

use reqwest::Client;
use serde_json::Value;
use url::Url;

use crate::Problem;

/// A route, and what it may be like.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// The route without ids.
    pub name: String,
    /// The address.
    pub url: Url,
    /// What the answer is.
    pub kind: Kind,
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Page,
    /// A run, or all of a call.
    Transcript,
    Style,
    Script,
    /// JSON, a stored report, the icon.
    Other,
}

impl Kind {
    /// The most bytes that such an answer may have.
    pub(crate) fn most_bytes(self) -> Option<usize> {
        match self {
            Self::Page => Some(60_000),
            Self::Transcript => Some(150_000),
            Self::Style => Some(10_000),
            Self::Script => Some(4_000),
            Self::Other => None,
        }
    }
}

/// The lists whose JSON has the ids: the route, the name of the list, and the name of the id.
const LISTS: [[&str; 3]; 4] = [
    ["frictions", "frictions", "id"],
    ["modules", "modules", "module"],
    ["personas", "personas", "id"],
    ["runs", "runs", "id"],
];

/// How many runs are asked for: the newest, and the one before.
const RUNS: usize = 2;

/// All routes of the page at this base URL, of the stored reports those of `weeks`. A list that is empty, or not
/// computed yet, has no routes with ids.
///
/// # Errors
/// When the page does not answer.
pub(crate) async fn all(
    client: &Client,
    base: &str,
    weeks: &[String],
) -> Result<Vec<Route>, Problem> {
    let base = Url::parse(base)?;
    let mut routes = Routes { base, found: Vec::new() };
    routes.add("ui.json", &["ui.json"], Kind::Other);
    for name in ["", "frictions", "modules", "personas", "runs", "compare", "live", "reports"] {
        let path: Vec<_> = ["ui", name].into_iter().filter(|part| !part.is_empty()).collect();
        routes.add(&path.join("/"), &path, Kind::Page);
    }
    let compare = "compare.json";
    routes.add("ui/compare.json", &["ui", compare], Kind::Other);
    for [list, items, id] in LISTS {
        let file = format!("{list}.json");
        routes.add(&format!("ui/{file}"), &["ui", &file], Kind::Other);
        let most = if list == "runs" { RUNS } else { 1 };
        let url = routes.url(&["ui", &file]);
        let answer: Value = serde_json::from_slice(&client.get(url).send().await?.bytes().await?)?;
        let ids = answer[items].as_array().into_iter().flatten().filter_map(|it| it[id].as_str());
        for (place, id) in ids.take(most).enumerate() {
            let kind = if list == "runs" { Kind::Transcript } else { Kind::Page };
            let name = match place {
                0 => format!("ui/{list}/{{id}}"),
                _ => format!("ui/{list}/{{id}} ({place} older)"),
            };
            routes.add(&name, &["ui", list, id], kind);
            routes.add(&format!("{name}.json"), &["ui", list, &format!("{id}.json")], Kind::Other);
            if (list, place) == ("runs", 0) {
                let call = ["ui", list, id, "calls", "1"];
                routes.add(&format!("{name}/calls/1"), &call, Kind::Transcript);
            }
        }
    }
    for form in ["html", "md", "json"] {
        for week in weeks {
            let file = format!("{week}.{form}");
            routes.add(
                &format!("ui/reports/{{week}}.{form}"),
                &["ui", "reports", &file],
                Kind::Other,
            );
        }
    }
    let assets = [("style.css", Kind::Style), ("ui.js", Kind::Script), ("icon.svg", Kind::Other)];
    for (file, kind) in assets {
        routes.add(&format!("ui/{file}"), &["ui", file], kind);
    }
    Ok(routes.found)
}

struct Routes {
    base: Url,
    found: Vec<Route>,
}

impl Routes {
    fn add(&mut self, name: &str, path: &[&str], kind: Kind) {
        let url = self.url(path);
        self.found.push(Route { name: format!("/{name}"), url, kind });
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        // The base is an HTTP address, which has segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        url
    }
}
