//! Without JavaScript everything works.

use crate::{
    lived::BROKEN,
    routes,
    stage::{KEY, Stage},
};

#[tokio::test]
async fn without_scripts_a_reader_logs_in_and_comes_to_the_call_that_proves_the_first_friction() {
    let stage = Stage::lived().await;
    let browser = stage.stranger().await;
    browser.turn_scripts_off().await;
    browser.visit("/ui").await;
    browser.log_in(KEY).await;
    browser.comes_to("/ui").await;
    browser.click("main a[href^='/ui/frictions/']").await;
    browser
        .until("the friction", async |it| it.address().await.starts_with("/ui/frictions/"))
        .await;
    browser.click("main a[href*='#call-']").await;
    browser.until("the call", async |it| it.address().await.contains("#call-")).await;
    let address = browser.address().await;
    let call = format!("#{}", address.split_once('#').unwrap().1);
    // Who runs no script opens it by hand.
    if browser.count(&format!("{call}[open]")).await == 0 {
        browser.click(&format!("{call} summary")).await;
    }
    assert!(browser.text(&call).await.contains("could not be completed"));

    browser.visit("/ui/runs").await;
    browser.find("main input[name=tool]").await.send_keys(BROKEN).await.unwrap();
    browser.click("main form button").await;
    browser
        .until("the filter", async |it| it.address().await.contains(&format!("tool={BROKEN}")))
        .await;
    browser.click("header form button").await;
    browser.comes_to("/ui/login").await;
    browser.end_quietly().await;
}

#[tokio::test]
async fn without_scripts_every_page_shows_the_same() {
    let stage = Stage::lived().await;
    let routes = routes::all(&stage).await;
    let (reader, plain) = (stage.reader().await, stage.reader().await);
    plain.turn_scripts_off().await;
    for route in routes {
        reader.visit(&route.path).await;
        plain.visit(&route.path).await;
        let (with, without) = (reader.text("body").await, plain.text("body").await);
        assert!(without.len() > 100, "{}", route.path);
        assert_eq!(without, with, "{}", route.path);
    }
}
