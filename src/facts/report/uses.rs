//! How modules were used.

use std::collections::BTreeMap;

use crate::facts::window::{ModuleUse, Name, Window};

/// The uses of modules, up to the window's end.
pub(in crate::facts) struct Uses<'w> {
    window: &'w Window,
    modules: BTreeMap<Name, Vec<&'w ModuleUse>>,
    exposed: BTreeMap<Name, Vec<Exposed>>,
}

/// A run in which a tool of a module succeeded, or failed because of the product or the contract.
#[derive(Clone, Copy, Debug)]
pub(in crate::facts) struct Exposed {
    pub(in crate::facts) run: u32,
    /// Whether a tool of the module failed so.
    pub(in crate::facts) failed: bool,
}

impl<'w> Uses<'w> {
    pub(super) fn of(window: &'w Window) -> Self {
        let mut modules = BTreeMap::<_, Vec<_>>::new();
        for row in window.modules().all() {
            modules.entry(row.module).or_default().push(row);
        }
        let mut exposed = BTreeMap::<_, Vec<Exposed>>::new();
        for row in window.tools().all().iter().filter(|row| row.used.calls > 0) {
            let runs = exposed.entry(window.module_of(row.tool)).or_default();
            let failed = row.used.failed > 0;
            match runs.last_mut().filter(|last| last.run == row.run) {
                Some(last) => last.failed |= failed,
                None => runs.push(Exposed { run: row.run, failed }),
            }
        }
        Self { window, modules, exposed }
    }

    /// What runs say of the module, in the order in which they began.
    pub(in crate::facts) fn rows(&self, module: &str) -> &[&'w ModuleUse] {
        let rows = self.window.name(module).and_then(|name| self.modules.get(&name));
        rows.map(Vec::as_slice).unwrap_or_default()
    }

    /// The runs that were exposed to the module, in the order in which they began.
    pub(in crate::facts) fn exposed(&self, module: &str) -> &[Exposed] {
        let exposed = self.window.name(module).and_then(|name| self.exposed.get(&name));
        exposed.map(Vec::as_slice).unwrap_or_default()
    }
}

/// The grounded ratings among these, with their runs.
pub(in crate::facts) fn grounded<'u>(
    rows: impl IntoIterator<Item = &'u ModuleUse>,
) -> impl Iterator<Item = (u32, u8)> {
    let rows = rows.into_iter().filter(|row| row.grounded);
    rows.filter_map(|row| Some((row.run, row.rating?)))
}
