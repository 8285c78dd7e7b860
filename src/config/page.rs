//! Who may see the page under /ui, and where a browser finds it.

use secrecy::{ExposeSecret, SecretString};

use super::{BaseUrl, parse::Parser};

/// The name of the variable with the key of the page. Messages name it too.
const UI_KEY: &str = "UI_KEY";
/// Shortest key of the page, in characters. Unlike the other keys, a person may have made it up, and strangers may try
/// it.
const MIN_UI_KEY: usize = 16;

/// The page under /ui.
#[derive(Clone, Debug, Default)]
pub struct PageConfig {
    /// UI_KEY: the key that opens the page. `None`: outside production this machine needs none, and in production there
    /// is no page.
    pub key: Option<SecretString>,
    /// UI_BASE_URL: the URL under which people reach the daemon, without /ui. `None`: the webhook gets no link.
    pub base: Option<BaseUrl>,
}

impl PageConfig {
    pub(super) fn read(p: &mut Parser) -> Self {
        Self { key: p.header_secret(UI_KEY, MIN_UI_KEY), base: p.set_url("UI_BASE_URL", &["ui"]) }
    }

    /// The service key opens mana-auth, so it must not be typed into a browser.
    pub(super) fn check(&self, service_key: Option<&SecretString>, p: &mut Parser) {
        let keys = self.key.as_ref().zip(service_key);
        if keys.is_some_and(|(own, service)| own.expose_secret() == service.expose_secret()) {
            p.problem(UI_KEY, "must be another key than MANA_SERVICE_KEY, which opens mana-auth");
        }
    }
}
