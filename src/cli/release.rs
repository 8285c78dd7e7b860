//! Leaves a new version of the product in the journal.

use serde_json::json;

use super::{
    arguments::{Format, Release},
    error::CliError,
    text::cell,
};
use crate::{domain::ProductVersion, journal::Journal};

/// Leaves the release and returns a text with the id of its deployment.
pub(super) async fn render(journal: &Journal, asked: &Release) -> Result<String, CliError> {
    let deployment = journal.release(asked.version.as_str(), asked.note.as_deref()).await?;
    let (id, version) = (deployment.id(), &deployment.version);
    Ok(match asked.format {
        Format::Json => {
            let deployment = json!({"id": id, "version": version});
            format!("{}\n", json!({"ok": true, "deployment": deployment}))
        }
        Format::Text => {
            let version = cell(version, ProductVersion::MAX);
            match deployment.first_at {
                None => format!("{id}: {version} is the current version from the next tick on.\n"),
                Some(_) => format!("{id}: {version} is the current version already.\n"),
            }
        }
    })
}
