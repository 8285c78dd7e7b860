//! axe-core, which looks for what keeps people out. The path of the script is in AXE_CORE.

use std::{fs, sync::LazyLock};

use serde_json::Value;

use crate::browser::Browser;

static SCRIPT: LazyLock<String> = LazyLock::new(|| {
    let path =
        std::env::var("AXE_CORE").expect("AXE_CORE: `.ci/browser` fetches axe-core and sets it");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
});

/// The levels A and AA of WCAG up to version 2.2.
const LEVELS: &str = r#"["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa"]"#;

/// What axe-core finds on the page that is shown: the rule, and where it is broken.
pub(crate) async fn findings(browser: &Browser) -> Vec<String> {
    // The driver runs scripts that the policy of the page does not let through.
    browser.says(&SCRIPT).await;
    let options =
        format!("{{runOnly: {{type: 'tag', values: {LEVELS}}}, resultTypes: ['violations']}}");
    let script = format!(
        "const done = arguments[arguments.length - 1];
         axe.run(document, {options}).then((told) => done({{
           rules: told.passes.length,
           broken: told.violations.map((it) => `${{it.id}}: ` + it.nodes.slice(0, 5).map((node) =>
             `${{node.html}} ${{node.any.map((check) => check.message)}}`).join(' | ')),
         }}), (error) => done({{ rules: 0, broken: [String(error)] }}));"
    );
    let told = browser.says_later(&script).await;
    let broken = told["broken"].as_array().unwrap().iter();
    let broken: Vec<_> = broken.filter_map(Value::as_str).map(str::to_owned).collect();
    assert!(told["rules"].as_u64() > Some(5) || !broken.is_empty(), "axe-core looked: {told}");
    broken
}
