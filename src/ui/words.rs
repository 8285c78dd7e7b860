//! The words of the pages, in each language. A page has a module here; its markup has no word of a language.

pub(super) mod compare;
pub(super) mod days;
pub(super) mod frame;
pub(super) mod frictions;
pub(super) mod front;
pub(super) mod live;
pub(super) mod modules;
pub(super) mod overviews;
pub(super) mod pager;
pub(super) mod personas;
pub(super) mod reports;
pub(super) mod runs;
pub(super) mod sign_in;
pub(super) mod terms;
pub(super) mod transcript;
