//! Logging in and out.

use serde_json::json;

use crate::stage::{KEY, Stage};

/// What Chromium prints for a page whose status says that nobody is logged in.
fn is_refusal(line: &str) -> bool {
    line.contains("/ui/login") && line.contains("401")
}

#[tokio::test]
async fn a_stranger_logs_in_where_a_link_led_and_out_again() {
    let stage = Stage::lived().await;
    let browser = stage.stranger().await;
    browser.visit("/ui/runs?state=failed#call-7").await;
    browser.until("the login", async |it| it.count("input[name=key]").await == 1).await;
    assert_eq!(browser.count("nav").await, 0);

    browser.log_in("not the key of the page").await;
    browser.until("a refusal", async |it| it.count("[role=alert]").await == 1).await;
    assert_eq!(browser.count("[aria-current=page], nav").await, 0);
    let noise = browser.noise().await;
    assert!(noise.iter().all(|line| is_refusal(line)), "{noise:?}");

    browser.log_in(KEY).await;
    browser.comes_to("/ui/runs?state=failed#call-7").await;
    let cookies = browser.devtools("Network.getCookies", json!({})).await;
    let cookie = &cookies["cookies"][0];
    assert_eq!(cookies["cookies"].as_array().unwrap().len(), 1);
    let facts = [&cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]];
    assert_eq!(facts, [&json!(true), &json!("Strict"), &json!("/")]);

    browser.click("header form button").await;
    browser.comes_to("/ui/login").await;
    let cookies = browser.devtools("Network.getCookies", json!({})).await;
    assert_eq!(cookies["cookies"], json!([]));
    // Whoever sits down at this browser afterwards sees nothing by going back.
    browser.back().await;
    browser.until("the login", async |it| it.count("input[name=key]").await == 1).await;
    browser.end_quietly().await;
}
