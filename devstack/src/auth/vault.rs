//! Encryption vaults: a user without one cannot use the tools of encrypted modules.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which users have an initialised vault; by default every user has. Clones share the state.
#[derive(Clone, Debug)]
pub struct Vaults(Arc<Mutex<Initialised>>);

#[derive(Debug)]
struct Initialised {
    everyone: bool,
    users: HashSet<String>,
}

impl Default for Vaults {
    fn default() -> Self {
        let initialised = Initialised { everyone: true, users: HashSet::new() };
        Self(Arc::new(Mutex::new(initialised)))
    }
}

impl Vaults {
    /// Whether this user has a vault.
    pub fn is_initialised(&self, user_id: &str) -> bool {
        let initialised = self.initialised();
        initialised.everyone || initialised.users.contains(user_id)
    }

    /// Gives this user a vault, if it has none.
    pub fn init(&self, user_id: &str) {
        self.initialised().users.insert(user_id.to_owned());
    }

    /// Whether users have a vault from the start (`true`), or only after [`Vaults::init`].
    pub fn initialise_all(&self, everyone: bool) {
        self.initialised().everyone = everyone;
    }

    fn initialised(&self) -> MutexGuard<'_, Initialised> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
