//! Filters are in the address: they can be sent, and the way back leads through them.

use crate::{browser::Browser, lived::BROKEN, stage::Stage};

const ROWS: &str = "main tr[data-item]";

#[tokio::test]
async fn a_filter_is_in_the_address_and_back_undoes_it() {
    let stage = Stage::lived().await;
    let browser = stage.reader().await;
    browser.visit("/ui/runs?lang=en").await;
    let all = browser.count(ROWS).await;
    assert_eq!(all, 50, "a full page");

    let tool = browser.find("main input[name=tool]").await;
    tool.send_keys(BROKEN).await.unwrap();
    browser.click("main form button").await;
    browser
        .until("the filter", async |it| it.address().await.contains(&format!("tool={BROKEN}")))
        .await;
    let filtered = browser.address().await;
    assert!(filtered.contains("lang=en"), "{filtered}");
    assert_eq!(browser.text("html[lang=en] h1").await, "Runs");
    let shown = browser.find("main input[name=tool]").await.value().await.unwrap();
    assert_eq!(shown.as_deref(), Some(BROKEN));

    browser.click("main select[name=outcome] option[value=done]").await;
    browser.click("main form button").await;
    browser.until("both", async |it| it.address().await.contains("outcome=done")).await;
    assert!(browser.address().await.contains(&format!("tool={BROKEN}")));

    // The language changes, the filter stays.
    browser.click("header a[hreflang=de]").await;
    browser.until("German", async |it| it.count("html[lang=de]").await == 1).await;
    let german = browser.address().await;
    assert!(
        german.contains("outcome=done") && german.contains(&format!("tool={BROKEN}")),
        "{german}"
    );

    browser.back().await;
    browser.until("English", async |it| it.count("html[lang=en]").await == 1).await;
    browser.back().await;
    browser.comes_to(&filtered).await;
    browser.back().await;
    browser.comes_to("/ui/runs?lang=en").await;
    assert_eq!(browser.count(ROWS).await, all);

    let first = first_run(&browser).await;
    browser.click("main a[rel=next]").await;
    browser.until("older runs", async |it| it.address().await.contains("before=")).await;
    assert_ne!(first_run(&browser).await, first);
    browser.click("main a[rel=prev]").await;
    browser.until("newer runs", async |it| it.address().await.contains("after=")).await;
    assert_eq!(first_run(&browser).await, first);
    browser.end_quietly().await;
}

async fn first_run(browser: &Browser) -> String {
    let link = browser.find(&format!("{ROWS} a[href^='/ui/runs/']")).await;
    link.attr("href").await.unwrap().unwrap()
}

#[tokio::test]
async fn the_window_is_carried_from_page_to_page_and_what_cannot_be_read_is_named() {
    let stage = Stage::lived().await;
    let browser = stage.reader().await;
    browser.visit("/ui?week=2026-W12").await;
    for place in ["frictions", "modules", "personas"] {
        browser.click(&format!("nav a[href^='/ui/{place}']")).await;
        let there = format!("/ui/{place}?week=2026-W12");
        browser.comes_to(&there).await;
    }
    browser.click("main a[href^='/ui/personas/']").await;
    browser.until("a persona", async |it| it.address().await.ends_with("?week=2026-W12")).await;
    assert_eq!(browser.noise().await, [""; 0]);
    browser.visit("/ui/frictions?week=2026-W99").await;
    assert!(browser.text("main").await.contains("week"));
    let noise = browser.noise().await;
    assert!(noise.iter().all(|line| line.contains("status of 400")), "{noise:?}");
    browser.end_quietly().await;
}
