//! What a run's money allows in its main turn: the rating's share is left alone, and results that there is
//! no money to send are cut.

use std::num::NonZeroU32;

use super::{catalog::Catalog, day::Day, rating};
use crate::{
    clients::claude::{Ask, ClaudeClient, ToolResult, Weight},
    domain::Usd,
};

/// Output tokens that results are to leave room for.
const ROOM: NonZeroU32 = NonZeroU32::new(4_096).unwrap();
/// What a message has beside its results, a cache marker included, in bytes.
const FRAME: u64 = 300;

/// Prices what the main turn is about to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse<'a> {
    pub claude: &'a ClaudeClient,
    pub catalog: &'a Catalog,
    /// Who the persona is.
    pub system: &'a str,
}

impl<'a> Purse<'a> {
    /// The day's next request, that leaves room for the rating of its calls.
    pub(super) fn ask(&self, day: &'a Day, max_tokens: NonZeroU32) -> Ask<'a> {
        Ask {
            system: self.system,
            tools: Some(&self.catalog.definitions),
            messages: day.conversation.messages(),
            max_tokens,
            format: None,
            cached: true,
            spare: rating::most(self.claude, self.system, day),
        }
    }

    /// The places of the results that do not fit, in the order asked, where the run has so much left;
    /// none where leaving them out does not help.
    pub(super) fn beyond(
        &self,
        day: &Day,
        results: &[ToolResult],
        reminder: Option<&str>,
        left: Usd,
    ) -> Vec<usize> {
        let ask = self.ask(day, NonZeroU32::MIN);
        let room = left.saturating_sub(ask.spare);
        let fits = |prompt: Weight| self.claude.most(prompt, ROOM) <= room;
        let said = reminder.map_or(0, |text| 2 * text.len() as u64);
        let history = self.claude.weigh(ask) + FRAME + said;
        let sum =
            |weigh: fn(&ToolResult) -> Weight| history + results.iter().map(weigh).sum::<Weight>();
        let mut shown = sum(|result| result.as_cut().weight());
        if fits(sum(ToolResult::weight)) || !fits(shown) {
            return Vec::new();
        }
        let mut beyond = Vec::new();
        for (place, result) in results.iter().enumerate() {
            match shown + result.weight() {
                with if fits(with) => shown = with,
                _ => beyond.push(place),
            }
        }
        beyond
    }
}
