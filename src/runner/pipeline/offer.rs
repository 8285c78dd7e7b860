//! The tools of a session as they are offered to the model: made once for all runs whose sessions list the same.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Pipeline;
use crate::{
    agent::catalog::Catalog, clients::mcp::Tool, domain::Stage, metrics::ToolFault,
    runner::verdict::Failure,
};

/// What is offered of a list of tools.
#[derive(Debug)]
pub(super) struct Offer {
    /// The list it was made of, and how many tools Claude had refused then.
    made_of: (Arc<[Tool]>, usize),
    pub catalog: Catalog,
    /// The tools of the catalog as the journal keeps them, and the hash it keeps them under.
    pub tools: String,
    pub hash: String,
}

impl Pipeline {
    /// The offer of these tools: the last one, if it is the same.
    pub(super) fn offer(&self, listed: Arc<[Tool]>) -> Result<Arc<Offer>, Failure> {
        let refused = self.left_out.refused();
        let mut last = self.offered.lock();
        let is_same = |(of, then): &(Arc<[Tool]>, _)| Arc::ptr_eq(of, &listed) && *then == refused;
        if let Some(offer) = last.as_ref().filter(|offer| is_same(&offer.made_of)) {
            return Ok(offer.clone());
        }
        let (offered, newly) = self.left_out.sift(&listed, &self.policy.hidden_tools);
        self.fleet.metrics.record_tools_left_out(ToolFault::Schema, newly);
        // Names, texts and schemas that were JSON before.
        let tools = serde_json::to_string(&offered).unwrap_or_default();
        let hash = hash(&tools);
        let catalog = match &*last {
            Some(offer) if offer.hash == hash => offer.catalog.clone(),
            _ => self.catalog(&offered)?,
        };
        let offer = Arc::new(Offer { made_of: (listed, refused), catalog, tools, hash });
        *last = Some(offer.clone());
        Ok(offer)
    }

    pub(super) fn catalog(&self, tools: &[Tool]) -> Result<Catalog, Failure> {
        let catalog = Catalog::new(tools, &self.policy);
        if catalog.is_empty() {
            let nothing = "each tool of mana-mcp's tools/list is in POLICY_HIDDEN_TOOLS or left out \
                           for its schema";
            return Err(Failure::at(Stage::Mcp, nothing));
        }
        Ok(catalog)
    }
}

/// Names a list of tools by what it says.
fn hash(tools: &str) -> String {
    Sha256::digest(tools).iter().map(|byte| format!("{byte:02x}")).collect()
}
