//! Addresses of what a report names.

use maud::{Markup, html};

/// Where what a report names can be looked at. Without an address, a name is no link.
pub(crate) trait Links {
    /// The address of the friction with this id.
    fn friction(&self, _id: &str) -> Option<String> {
        None
    }

    /// The address of a module.
    fn module(&self, _name: &str) -> Option<String> {
        None
    }

    /// The address of a call, or else of its run.
    fn call(&self, _run: &str, _call: Option<u32>) -> Option<String> {
        None
    }
}

/// The report as a file of its own: it can be read anywhere, but nothing else is there.
pub(crate) struct NoLinks;

impl Links for NoLinks {}

/// This content, as a link if there is an address.
pub(crate) fn linked(address: Option<String>, content: Markup) -> Markup {
    match address {
        Some(address) => html! { a href=(address) { (content) } },
        None => content,
    }
}
