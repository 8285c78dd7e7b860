//! How each page looks: in light and dark mode, on a phone and at 200 %, and for those who do not see it.

use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::json;

use crate::{
    axe,
    browser::{Browser, Look},
    routes::{self, Route},
    stage::Stage,
};

/// What a page is made of, as the page itself tells it.
const ANATOMY: &str = "return {
  headings: document.querySelectorAll('h1').length,
  landmarks: ['header', 'nav', 'main', 'footer'].filter((name) => document.querySelector(`body > ${name}, body > header > ${name}`)),
  current: document.querySelectorAll('nav [aria-current=page]').length,
  lang: document.documentElement.lang,
  width: document.scrollingElement.scrollWidth,
  dark: matchMedia('(prefers-color-scheme: dark)').matches,
  paper: getComputedStyle(document.body).backgroundColor,
  styles: document.querySelectorAll('[style], style').length,
  handlers: [...document.querySelectorAll('*')].filter((it) =>
    it.getAttributeNames().some((name) => name.startsWith('on'))).length,
  inline: [...document.scripts].filter((it) => !it.src).length,
}";

#[tokio::test]
async fn every_page_is_sound_in_light_mode() {
    look_at_all(Look::Light).await;
}

#[tokio::test]
async fn every_page_is_sound_in_dark_mode() {
    look_at_all(Look::Dark).await;
}

#[tokio::test]
async fn every_page_is_sound_on_a_phone() {
    look_at_all(Look::Phone).await;
}

#[tokio::test]
async fn every_page_is_sound_at_200_percent() {
    look_at_all(Look::Zoomed).await;
}

/// Looks at every page, and names all that is wrong with any of them at the end.
async fn look_at_all(look: Look) {
    let stage = Stage::lived().await;
    let stranger = stage.stranger().await;
    let login =
        Route { name: "login", path: "/ui/login".to_owned(), status: reqwest::StatusCode::OK };
    let mut wrong = look_at(&stranger, &login, look).await;
    stranger.end_quietly().await;
    let browser = stage.reader().await;
    for route in routes::all(&stage).await {
        wrong.extend(look_at(&browser, &route, look).await);
    }
    browser.end_quietly().await;
    assert!(wrong.is_empty(), "{} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// What is wrong with a page in this look. Takes its picture.
async fn look_at(browser: &Browser, route: &Route, look: Look) -> Vec<String> {
    browser.look(look).await;
    browser.visit(&route.path).await;
    let it = browser.says(ANATOMY).await;
    let mut wrong = Vec::new();
    let mut expect = |is_so: bool, what: String| {
        if !is_so {
            wrong.push(what);
        }
    };
    let (width, _) = look.size();
    expect(it["headings"] == 1, format!("{} h1", it["headings"]));
    expect(it["width"].as_u64() <= Some(width), format!("{} pixels of {width}", it["width"]));
    expect(it["dark"] == json!(look == Look::Dark), format!("dark is {}", it["dark"]));
    expect(it["lang"] != "", "no language".to_owned());
    expect(it["handlers"] == 0 && it["inline"] == 0, format!("scripts: {it}"));
    if !route.is_stored() {
        let all = if route.name == "login" {
            json!(["header", "main", "footer"])
        } else {
            json!(["header", "nav", "main", "footer"])
        };
        expect(it["landmarks"] == all, format!("landmarks: {}", it["landmarks"]));
        expect(it["styles"] == 0, format!("{} inline styles", it["styles"]));
        let is_place = route.status == 200 && route.name != "login";
        expect(it["current"] == json!(u8::from(is_place)), format!("{} current", it["current"]));
    }
    wrong.extend(axe::findings(browser).await);
    // Chromium prints that a page has another status than 200.
    let of_status = format!("status of {}", route.status.as_u16());
    let noise = browser.noise().await.into_iter();
    wrong.extend(noise.filter(|line| route.status == 200 || !line.contains(&of_status)));
    take_picture(browser, route, look).await;
    wrong.into_iter().map(|what| format!("{look:?} {}: {what}", route.path)).collect()
}

/// Writes a picture of the whole page into target/screenshots.
async fn take_picture(browser: &Browser, route: &Route, look: Look) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("screenshots");
    std::fs::create_dir_all(&folder).unwrap();
    let png =
        browser.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await;
    let png = BASE64_STANDARD.decode(png["data"].as_str().unwrap()).unwrap();
    let look = format!("{look:?}").to_lowercase();
    std::fs::write(folder.join(format!("{}-{look}.png", route.name)), png).unwrap();
}
