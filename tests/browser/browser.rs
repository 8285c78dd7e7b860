//! A reader's browser: what a reader does with it, and what it prints and requests by itself.

use devstack::chromium::{
    Chromium,
    thirtyfour::{By, Key, WebElement},
};
use serde_json::{Value, json};

use crate::stage::{PATIENCE, patiently};

/// A browser that shows the page of one daemon.
pub(crate) struct Browser {
    chromium: Chromium,
    /// The daemon's base URL.
    site: String,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Light,
    Dark,
    /// Light, on a phone.
    Phone,
    /// Light, at 200 % in a window of 1280 pixels.
    Zoomed,
}

impl Look {
    /// How wide and how high the page is shown, in pixels of CSS.
    pub(crate) fn size(self) -> (u64, u64) {
        match self {
            Self::Light | Self::Dark => (1280, 900),
            Self::Phone => (390, 844),
            Self::Zoomed => (640, 450),
        }
    }
}

impl Browser {
    pub(crate) async fn start(site: &str) -> Self {
        let chromium = patiently("Chromium", Chromium::start()).await.unwrap();
        let browser = Self { chromium, site: site.to_owned() };
        browser.look(Look::Light).await;
        browser
    }

    /// Opens a page of the daemon, and waits until it is loaded.
    pub(crate) async fn visit(&self, path: &str) {
        self.chromium.session.goto(format!("{}{path}", self.site)).await.unwrap();
    }

    /// The path of the page that is shown, with its parameters and its anchor.
    pub(crate) async fn address(&self) -> String {
        let address = self.chromium.session.current_url().await.unwrap();
        address.as_str().strip_prefix(&self.site).unwrap_or(address.as_str()).to_owned()
    }

    /// Waits until the page at this path is shown and loaded.
    pub(crate) async fn comes_to(&self, path: &str) {
        let is_there = async |browser: &Self| {
            browser.address().await == path
                && browser.says("return document.readyState").await == "complete"
        };
        self.until(path, is_there).await;
    }

    /// Waits until something holds.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let held = tokio::time::timeout(PATIENCE, async { while !holds(self).await {} }).await;
        if held.is_err() {
            let (address, text) = (self.address().await, self.text("body").await);
            panic!("gave up: {what}, at {address}: {text}");
        }
    }

    /// The result of a script that runs in the page.
    pub(crate) async fn says(&self, script: &str) -> Value {
        self.says_of(script, json!([])).await
    }

    /// The result of a script with these arguments.
    pub(crate) async fn says_of(&self, script: &str, arguments: Value) -> Value {
        let arguments = arguments.as_array().unwrap().clone();
        let told = self.chromium.session.execute(script, arguments).await;
        told.unwrap_or_else(|error| panic!("{script}: {error}")).json().clone()
    }

    /// The result of a script that calls its last argument with it.
    pub(crate) async fn says_later(&self, script: &str) -> Value {
        self.chromium.session.execute_async(script, []).await.unwrap().json().clone()
    }

    /// The first element that a selector finds.
    pub(crate) async fn find(&self, selector: &str) -> WebElement {
        let found = self.chromium.session.find(By::Css(selector)).await;
        match found {
            Ok(element) => element,
            Err(_) => panic!("no {selector} on {}", self.address().await),
        }
    }

    /// How many elements a selector finds.
    pub(crate) async fn count(&self, selector: &str) -> usize {
        self.chromium.session.find_all(By::Css(selector)).await.unwrap().len()
    }

    /// The text of an element as it is shown.
    pub(crate) async fn text(&self, selector: &str) -> String {
        self.find(selector).await.text().await.unwrap()
    }

    /// Clicks with the mouse on the first element that a selector finds.
    pub(crate) async fn click(&self, selector: &str) {
        self.find(selector).await.click().await.unwrap();
    }

    /// Types into the element that has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let session = &self.chromium.session;
        session.action_chain().send_keys(keys).perform().await.unwrap();
    }

    pub(crate) async fn press_enter(&self) {
        self.press(&String::from(Key::Enter.value())).await;
    }

    pub(crate) async fn press_escape(&self) {
        self.press(&String::from(Key::Escape.value())).await;
    }

    /// Gives a key to the form of the login that is shown.
    pub(crate) async fn log_in(&self, key: &str) {
        self.find("input[name=key]").await.send_keys(key).await.unwrap();
        self.click("main form button").await;
    }

    pub(crate) async fn back(&self) {
        self.chromium.session.back().await.unwrap();
    }

    pub(crate) async fn look(&self, look: Look) {
        let scheme = if look == Look::Dark { "dark" } else { "light" };
        // Without motion, what is clicked is where it was when the driver looked.
        let features = json!([
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
        let ((width, height), is_phone) = (look.size(), look == Look::Phone);
        let scale = if look == Look::Zoomed { 2 } else { 1 };
        let size = json!({"width": width, "height": height, "deviceScaleFactor": scale, "mobile": is_phone});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Lets pages run no script.
    pub(crate) async fn turn_scripts_off(&self) {
        self.devtools("Emulation.setScriptExecutionDisabled", json!({"value": true})).await;
    }

    /// The answer to a command of DevTools.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.chromium.session.cdp().send_raw(command, parameters).await.unwrap()
    }

    /// What pages have printed since the last call: errors, warnings and violations of the policy; and requests to other
    /// places than the daemon.
    pub(crate) async fn noise(&self) -> Vec<String> {
        let session = &self.chromium.session;
        let printed = session.get_log("browser").await.unwrap().into_iter();
        // What is below a warning is advice, such as that a form for passwords has no field for a name.
        let printed = printed.filter(|entry| !["DEBUG", "INFO"].contains(&&*entry.level));
        let printed = printed.map(|entry| format!("{}: {}", entry.level, entry.message));
        let requested = session.get_log("performance").await.unwrap().into_iter();
        let requested = requested.filter_map(|entry| {
            let event: Value = serde_json::from_str(&entry.message).unwrap();
            let event = &event["message"];
            let sends = ["Network.requestWillBeSent", "Network.webSocketCreated"];
            let url = event["params"]["request"]["url"].as_str();
            let url = url.or(event["params"]["url"].as_str()).unwrap_or_default();
            // A field for a date has a picture of Chromium's own.
            let is_here = url.starts_with("data:")
                || url.strip_prefix(&self.site).is_some_and(|path| path.starts_with('/'));
            let is_foreign =
                !is_here && sends.contains(&event["method"].as_str().unwrap_or_default());
            is_foreign.then(|| format!("request: {url}"))
        });
        printed.chain(requested).collect()
    }

    /// Ends the browser. Its pages must have been quiet since the last [`Browser::noise`].
    pub(crate) async fn end_quietly(self) {
        assert_eq!(self.noise().await, [""; 0]);
    }
}
