//! Personas whose run was put off because mana-mcp was away. They wait for one look that finds it there.

use std::{collections::HashMap, time::Duration};

use tokio::sync::watch;

use crate::domain::UserId;

/// Before the first look for mana-mcp, and the longest pause from one to the next.
pub(super) const LOOK_AGAIN: (Duration, Duration) =
    (Duration::from_secs(2), Duration::from_secs(60));

/// Who is put off, and why.
#[derive(Debug, Default)]
pub struct PutOff(watch::Sender<HashMap<UserId, String>>);

impl PutOff {
    pub(super) fn add(&self, persona: &UserId, why: String) {
        self.0.send_modify(|all| drop(all.insert(persona.clone(), why)));
    }

    /// A run of this persona begins or goes on.
    pub(super) fn remove(&self, persona: &UserId) {
        self.0.send_if_modified(|all| all.remove(persona).is_some());
    }

    /// Mana-mcp is there again: nobody has to wait any longer.
    pub(super) fn clear(&self) {
        self.0.send_if_modified(|all| !std::mem::take(all).is_empty());
    }

    /// Why this persona is put off, if it is.
    pub(super) fn why(&self, persona: &UserId) -> Option<String> {
        self.0.borrow().get(persona).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Resolves once somebody is put off.
    pub(super) async fn somebody(&self) {
        // The sender is there as long as this is.
        let _ = self.0.subscribe().wait_for(|all| !all.is_empty()).await;
    }
}
