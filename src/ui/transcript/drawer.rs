//! What the items of a run's page are drawn with.

use super::story::Story;
use crate::{
    domain::RunId,
    ui::{
        asked::Asked,
        times::Times,
        words::{
            terms::{Terms, terms},
            transcript::{Words, words},
        },
    },
};

/// Longest name of a tool, a module or a kind, in characters.
pub(super) const NAME: usize = 64;

/// Draws the items of a story.
pub(super) struct Drawer<'d> {
    pub(super) asked: &'d Asked,
    pub(super) times: &'d Times,
    pub(super) story: &'d Story<'d>,
    pub(super) run: RunId,
    pub(super) words: &'static Words,
    pub(super) terms: Terms,
}

impl<'d> Drawer<'d> {
    pub(super) fn new(
        asked: &'d Asked,
        times: &'d Times,
        story: &'d Story<'d>,
        run: RunId,
    ) -> Self {
        let language = asked.language;
        Self { asked, times, story, run, words: words(language), terms: terms(language) }
    }
}
