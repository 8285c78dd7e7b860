//! Monday: from the first page to the call that proves what hurts most, with the mouse and with the keys.

use crate::{browser::Browser, lived::BROKEN, stage::Stage};

/// The address of what has the focus, without the site.
const FOCUSED: &str = "return document.activeElement.getAttribute('href') ?? ''";

#[tokio::test]
async fn the_mouse_leads_from_the_overview_to_the_call_that_proves_the_first_friction() {
    let stage = Stage::lived().await;
    let browser = stage.reader().await;
    browser.click("main a[href^='/ui/frictions/']").await;
    let friction = shows_friction(&stage, &browser).await;
    browser.click("main a[href*='#call-']").await;
    let call = shows_call(&browser).await;

    // The call leads to what it is an example of, and back.
    browser.click(&format!("{call} a[href^='/ui/frictions/']")).await;
    browser.comes_to(&friction).await;
    browser.back().await;
    let again = shows_call(&browser).await;
    assert_eq!(again, call);

    // A colleague opens the same address.
    let address = browser.address().await;
    let colleague = stage.reader().await;
    colleague.visit(&address).await;
    assert_eq!(shows_call(&colleague).await, call);
    colleague.end_quietly().await;
    browser.end_quietly().await;
}

#[tokio::test]
async fn the_keys_lead_there_too() {
    let stage = Stage::lived().await;
    let browser = stage.reader().await;
    browser.press("?").await;
    browser.until("the keys", async |it| it.count("dialog[open]").await == 1).await;
    for key in ["j", "k", "e", "[", "]", "/", "?"] {
        assert!(browser.text("dialog").await.contains(key), "{key}");
    }
    browser.press_escape().await;
    browser.until("no keys", async |it| it.count("dialog[open]").await == 0).await;

    go_to(&browser, "j", |link| link.starts_with("/ui/frictions/")).await;
    browser.press_enter().await;
    let friction = shows_friction(&stage, &browser).await;
    go_to(&browser, "j", |link| link.contains("#call-")).await;
    browser.press_enter().await;
    let call = shows_call(&browser).await;

    // From the first call on, `e` comes to the failed one and opens it.
    browser
        .says(&format!(
            "document.querySelector('{call}').open = false; document.activeElement.blur()"
        ))
        .await;
    browser
        .until("the failed call", async |it| {
            it.press("e").await;
            it.says(&format!("return document.querySelector('{call}').open")).await == true
        })
        .await;
    browser.press("k").await;
    browser.press("j").await;
    let focused = "return '#' + (document.activeElement.closest('[data-item]')?.id ?? '')";
    assert_eq!(browser.says(focused).await, call);

    browser.visit(&friction).await;
    browser.visit("/ui/runs").await;
    browser.press("]").await;
    browser.until("older runs", async |it| it.address().await.contains("before=")).await;
    browser.press("[").await;
    browser.until("newer runs", async |it| it.address().await.contains("after=")).await;
    browser.press("/").await;
    assert_eq!(browser.says("return document.activeElement.matches('[data-filter]')").await, true);
    // In a field, keys are text.
    browser.press("j?").await;
    assert_eq!(browser.says("return document.activeElement.value").await, "j?");
    browser.end_quietly().await;
}

/// Presses a key until what has the focus leads to such an address.
async fn go_to(browser: &Browser, key: &str, leads: impl Fn(&str) -> bool) {
    browser
        .until("the focus", async |it| {
            it.press(key).await;
            leads(it.says(FOCUSED).await.as_str().unwrap())
        })
        .await;
}

/// Checks that the first friction is shown, and returns its address.
async fn shows_friction(stage: &Stage, browser: &Browser) -> String {
    let frictions = stage.json("/ui/frictions.json").await;
    let first = &frictions["frictions"][0];
    assert_eq!(first["tool"], BROKEN);
    let path = format!("/ui/frictions/{}", first["id"].as_str().unwrap());
    browser.until(&path, async |it| it.address().await.starts_with(&path)).await;
    let text = browser.text("main").await;
    for part in [BROKEN, "could not be completed"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    browser.address().await
}

/// Checks that the call that the address names is open, in sight, and the failed one. Returns its selector.
async fn shows_call(browser: &Browser) -> String {
    browser.until("a call", async |it| it.address().await.contains("#call-")).await;
    let address = browser.address().await;
    let (run, call) = address.split_once('#').unwrap();
    assert!(run.starts_with("/ui/runs/"), "{address}");
    let call = format!("#{call}");
    browser.until("the call", async |it| it.count(&format!("{call}[open]")).await == 1).await;
    let text = browser.text(&call).await;
    for part in [BROKEN, "could not be completed"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let in_sight = format!(
        "const it = document.querySelector('{call} summary').getBoundingClientRect();
         return it.top >= 0 && it.bottom <= innerHeight"
    );
    browser.until("the call in sight", async |it| it.says(&in_sight).await == true).await;
    call
}
