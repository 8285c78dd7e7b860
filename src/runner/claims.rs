//! Claims on ids: at most one task works on an id at a time. Ticks claim personas whose run is under way or
//! listed, the deliverer claims runs whose posts are being delivered.

use std::{collections::HashSet, sync::Arc};

use tokio::sync::watch;

/// The claimed ids, in the form in which the journal stores them.
#[derive(Debug, Default)]
pub(super) struct Claims(watch::Sender<HashSet<String>>);

/// A claim on an id. Dropping it releases the id.
#[derive(Debug)]
pub(super) struct Claim {
    claims: Arc<Claims>,
    pub id: String,
}

impl Claims {
    /// Claims an id, or returns `None` if it is already claimed.
    pub(super) fn claim(self: &Arc<Self>, id: &str) -> Option<Claim> {
        let id = id.to_owned();
        let is_free = self.0.send_if_modified(|all| all.insert(id.clone()));
        is_free.then(|| Claim { claims: self.clone(), id })
    }

    /// All ids that are claimed now.
    pub(super) fn all(&self) -> HashSet<String> {
        self.0.borrow().clone()
    }

    /// Resolves when none of these ids is claimed.
    pub(super) async fn all_free(&self, ids: &HashSet<String>) {
        // Never an error: `self` owns the sender.
        let _ = self.0.subscribe().wait_for(|all| all.is_disjoint(ids)).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_if_modified(|all| all.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn something_is_claimed_once_at_a_time() {
        let claims = Arc::<Claims>::default();
        let anna = claims.claim("anna").unwrap();
        assert!(claims.claim("anna").is_none() && claims.claim("ben").is_some());
        assert_eq!(claims.all(), HashSet::from(["anna".to_owned()]));
        drop(anna);
        claims.all_free(&HashSet::from(["anna".to_owned()])).await;
        assert!(claims.claim("anna").is_some());
    }
}
