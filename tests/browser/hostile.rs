//! Texts that try to break out of the page, in every field that a peer fills and in addresses. They stay text.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use devstack::{
    Options,
    auth::SeedPersona,
    claude::{ParsedRequest, Scripted},
    mcp::{Behaviour, PlantedFault, Shows, ToolSet},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::Browser,
    lived::tick,
    routes,
    stage::{self, Stage, patiently},
};

/// What would run sets `window.ran`.
const TEXTS: [&str; 10] = [
    "<script>window.ran=1</script><img src=x onerror=window.ran=1>",
    "\"onmouseover=\"window.ran=1\" onfocus=\"window.ran=1\" autofocus style=\"x",
    "'><svg/onload=window.ran=1><iframe src=javascript:window.ran=1>",
    "</style><style>*{display:none}</style>",
    "</title></head></body></html><h1>",
    "</pre></details></main><meta http-equiv=refresh content='0;url=//evil.example'>",
    "javascript:window.ran=1//",
    "\u{202e}gnp.exe\u{202c} \u{2066}\u{2069} \u{200f} \u{0} \u{1b}[31m \u{2028} \u{feff}",
    "&lt;img src=x onerror=window.ran=1&gt; &#60;b&#62; <!-- --> ]]> {{7*7}} ${7*7}",
    "../../../#call-1?lang=en&x=<b>%3Cscript%3E",
];
const DAYS: usize = 8;
/// How many pages with paths of the same form are looked at.
const OF_A_FORM: usize = 4;

/// A text of all of them, another one for each number.
fn all(number: usize) -> String {
    let mut texts = TEXTS;
    texts.rotate_left(number % TEXTS.len());
    texts.join(" ")
}

/// One of them, as part of a name. No name of a tool holds a dot but the one after its module.
fn name(number: usize) -> String {
    TEXTS[number % TEXTS.len()].replace('.', "·")
}

fn personas() -> Vec<SeedPersona> {
    let persona = |number: usize| SeedPersona {
        name: all(number),
        email: format!("persona.{}{number}@mana.test", name(number)),
        archetype: all(number + 1),
        system_prompt: format!("{number} {}", all(number + 2)),
        module_mix: [(name(number), json!(0.5)), (name(number + 1), json!(0.5))]
            .into_iter()
            .collect(),
        cadence: "daily".into(),
    };
    (0..4).map(persona).collect()
}

/// MCP names of tools: module and tool are hostile.
fn tools() -> Vec<String> {
    (0..TEXTS.len()).map(|number| format!("{}.{}", name(number), name(number + 3))).collect()
}

/// What Claude says: calls of all tools, then a text, then a rating of each module that it is asked for.
fn says(request: &ParsedRequest) -> Option<Scripted> {
    if request.is_rating() {
        let asked = request.last_user_text();
        let modules: Vec<String> = (0..TEXTS.len()).map(name).collect();
        let rated = modules.iter().enumerate().filter(|(_, module)| asked.contains(&**module));
        let ratings: Vec<_> = rated
            .map(|(number, module)| {
                json!({"module": module, "rating": 1 + number % 5, "notes": all(number), "calls": [1, 2]})
            })
            .collect();
        return Some(Scripted::text(&json!({ "ratings": ratings }).to_string()));
    }
    match request.turn() {
        0 => {
            let input = |number: usize| json!({"title": all(number), all(number): [all(number)]});
            let names = request.tool_names();
            let calls: Vec<(&str, Value)> =
                names.iter().enumerate().map(|(number, name)| (*name, input(number))).collect();
            Some(Scripted::tools(&calls))
        }
        1 => Some(Scripted::text(&all(4))),
        _ => None,
    }
}

/// A daemon whose peers are hostile, after eight days.
async fn overrun() -> Stage {
    let mut options = Options::default();
    options.mcp.tools = ToolSet::Empty;
    let (peers, _) = stage::start_peers(options, crate::lived::begin(), &personas()).await;
    let anything = json!({"type": "object", "description": all(5)});
    for (number, tool) in tools().iter().enumerate() {
        peers.mcp.add_tool(tool, &all(number), anything.as_object().unwrap().clone());
        let result = json!({"content": [
            {"type": "text", "text": all(number)},
            {"type": "resource_link", "uri": all(number), "name": all(number), "mimeType": all(number)},
            {"type": all(number)},
        ]});
        match number % 3 {
            0 => peers.mcp.override_tool(tool, usize::MAX, Behaviour::Result(result)),
            1 => {
                let fault = PlantedFault::new(&format!("text {number}"), Shows::Text(all(number)));
                peers.mcp.plant(fault.at([tool.clone()]));
            }
            _ => {
                let shows = Shows::RpcError { code: -32603, message: all(number) };
                peers
                    .mcp
                    .plant(PlantedFault::new(&format!("rpc {number}"), shows).at([tool.clone()]));
            }
        }
    }
    peers.claude.answer_with(says);
    let daemon = stage::start_daemon(&peers, &[]).await;
    for day in 0..DAYS {
        if day % 4 == 0 {
            // A version is printable, a note need not be.
            let release = json!({"version": TEXTS[day / 4], "note": all(day + 1)});
            stage::control(&peers, &daemon, Method::POST, "release", &release).await;
        }
        if day == 3 {
            peers.claude.enqueue(Scripted::refusal(&all(3)));
        }
        patiently("a day", tick(&daemon)).await;
        peers.clock.advance(Duration::from_mins(1));
        peers.clock.step_day();
    }
    Stage { peers, daemon }
}

/// What a page must not have, as it tells it itself.
const BROKEN_OUT: &str = r#"
const all = [...document.querySelectorAll('*')];
const texts = [document.documentElement.textContent, ...all.flatMap((it) => [...it.attributes].map((a) => a.value))];
const told = [];
if (window.ran) told.push('something ran');
if ([...document.scripts].some((it) => it.getAttribute('src') !== '/ui/ui.js')) told.push('a script');
for (const name of ['img', 'iframe', 'object', 'embed', 'base', 'style', 'h1 ~ h1', 'meta[http-equiv]', 'audio', 'video']) {
  if (document.querySelector(name)) told.push(name);
}
if (document.querySelectorAll('h1, main, head title').length !== 3) told.push('another h1, main or title');
for (const it of all) for (const { name } of it.attributes) {
  if (name.startsWith('on') || name === 'style') told.push(`${it.tagName} ${name}`);
}
for (const it of document.links) if (it.origin !== location.origin || !it.pathname.startsWith('/ui')) told.push(it.href);
for (const it of document.forms) if (new URL(it.action).origin !== location.origin) told.push(it.action);
const bad = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;
for (const text of texts) if (bad.test(text)) told.push(JSON.stringify(text.slice(Math.max(0, text.search(bad) - 40), text.search(bad) + 20)));
return told;
"#;

#[tokio::test]
async fn hostile_texts_of_peers_stay_text_on_every_page() {
    let stage = overrun().await;
    let browser = stage.reader().await;
    let mut wrong = Vec::new();
    let (mut waiting, mut known) = (vec!["/ui".to_owned()], BTreeSet::new());
    let mut forms: BTreeMap<String, usize> = BTreeMap::new();
    while let Some(path) = waiting.pop() {
        let count = forms.entry(form_of(&path)).or_default();
        if *count == OF_A_FORM {
            continue;
        }
        *count += 1;
        look(&browser, &path, &mut wrong).await;
        for link in routes::links(&stage.text(&path).await) {
            let page = link.split('#').next().unwrap().to_owned();
            let is_page = page.starts_with("/ui")
                && ![".json", ".md", ".html", ".css", ".svg"].iter().any(|end| page.contains(end));
            if is_page && known.insert(page.clone()) {
                waiting.insert(0, page);
            }
        }
    }
    for form in ["/ui/frictions/*", "/ui/modules/*", "/ui/personas/*", "/ui/runs/*"] {
        assert!(forms.contains_key(form), "{form}: {forms:?}");
    }
    live(&stage, &browser, &mut wrong).await;
    addresses(&browser, &mut wrong).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `/ui/runs/*` for the page of a run.
fn form_of(path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let parts = path.split('/').enumerate();
    parts
        .map(|(depth, part)| if depth > 2 && part != "calls" { "*" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

async fn look(browser: &Browser, path: &str, wrong: &mut Vec<String>) {
    browser.visit(path).await;
    let told = browser.says(BROKEN_OUT).await;
    let told = told.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned());
    let noise = browser.noise().await;
    wrong.extend(told.chain(noise).map(|what| format!("{path}: {what}")));
}

/// The list of calls that the script fills.
async fn live(stage: &Stage, browser: &Browser, wrong: &mut Vec<String>) {
    look(browser, "/ui/live", wrong).await;
    let before = browser.count("[data-calls] li").await;
    tick(&stage.daemon).await;
    browser.until("new calls", async |it| it.count("[data-calls] li").await > before).await;
    let told = browser.says(BROKEN_OUT).await;
    wrong.extend(told.as_array().unwrap().iter().map(|it| format!("live: {it}")));
    assert!(browser.text("[data-calls]").await.contains("<script>"), "the texts are there");
}

/// Addresses that nobody of us made.
async fn addresses(browser: &Browser, wrong: &mut Vec<String>) {
    for text in TEXTS {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [
            format!("/ui/runs/{encoded}"),
            format!("/ui/frictions/{encoded}"),
            format!("/ui/modules/{encoded}"),
            format!("/ui/personas/{encoded}"),
            format!("/ui/reports/{encoded}.html"),
            format!("/ui/{encoded}"),
            format!(
                "/ui/runs?tool={encoded}&persona={encoded}&model={encoded}&{encoded}={encoded}"
            ),
            format!("/ui/frictions?days={encoded}"),
            format!("/ui/compare?a={encoded}&b={encoded}"),
            format!("/ui?lang={encoded}"),
        ] {
            let mut told = Vec::new();
            look(browser, &path, &mut told).await;
            // The pages say that there is no such thing.
            wrong.extend(told.into_iter().filter(|line| !line.contains("status of 40")));
        }
    }
}
