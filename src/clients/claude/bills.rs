//! What requests may cost, and what replies did cost. The numbers in a reply are believed where that is
//! possible. A warning about wrong numbers is logged once in a process.

use std::{collections::HashSet, num::NonZeroU32};

use parking_lot::Mutex;
use serde_json::Value;

use super::message::{BYTES_PER_TOKEN, Weight};
use crate::{
    domain::{Cost, Tokens, Usd},
    http::HttpClient,
    pricing::{Pricing, is_same_model},
};

/// The largest context window of any model, in tokens. A longer prompt is refused and not billed.
const LARGEST_CONTEXT: u64 = 1_000_000;
/// The smallest number of output tokens that is worth a request.
const LEAST_OUTPUT_TOKENS: u32 = 1_024;
/// The largest number of tokens of one kind that is believed, many times what a model takes. So sums of
/// tokens stay numbers that the journal can store, whatever a broken peer says.
pub(super) const MOST_TOKENS: u64 = 10_000_000;
/// The largest number of warnings in a process: a peer may invent another model name for each reply.
const MAX_WARNINGS: usize = 16;

/// Computes the prices of requests and replies of one model.
#[derive(Debug)]
pub(super) struct Bills {
    pub(super) model: String,
    pricing: Pricing,
    http: HttpClient,
    /// Reasons and model names that a warning was logged for.
    logged: Mutex<HashSet<String>>,
    /// The most expensive model that has answered in the place of the requested one.
    dearest_other: Mutex<Option<String>>,
}

impl Bills {
    pub(super) fn new(model: String, pricing: Pricing, http: HttpClient) -> Self {
        let (logged, dearest_other) = Default::default();
        Self { model, pricing, http, logged, dearest_other }
    }

    /// The price of these tokens: the higher one if another model has answered before.
    pub(super) fn price(&self, usage: &Tokens) -> Usd {
        self.cost(self.dearest_other.lock().as_deref(), usage).total()
    }

    /// `wanted` output tokens, halved until the request fits into `room`. If no number fits, `wanted`.
    pub(super) fn affordable(&self, prompt: Weight, wanted: NonZeroU32, room: Usd) -> NonZeroU32 {
        let half = |tokens: &NonZeroU32| {
            NonZeroU32::new(tokens.get() / 2).filter(|half| half.get() >= LEAST_OUTPUT_TOKENS)
        };
        let fits = |tokens: &NonZeroU32| self.price(&most_usage(prompt, *tokens)) <= room;
        std::iter::successors(Some(wanted), half).find(fits).unwrap_or(wanted)
    }

    /// The tokens and the cost of a reply, by the reply's own `usage` and `model`. If `usage` cannot be
    /// believed, `most` is booked, and the flag that is returned is true.
    pub(super) fn book(
        &self,
        usage: &Value,
        model: &Value,
        has_content: bool,
        most: &Tokens,
    ) -> (Tokens, bool, Cost) {
        let usage = count(usage, has_content);
        if let Err(why) = usage
            && self.is_new(why)
        {
            tracing::warn!(
                why,
                "a reply does not say what it took: such replies are booked as what was reserved for them"
            );
        }
        let other = model.as_str().filter(|it| !it.is_empty() && !is_same_model(it, &self.model));
        if let Some(other) = other {
            self.note_other(other);
        }
        let took = usage.unwrap_or(*most);
        (took, usage.is_err(), self.cost(other, &took))
    }

    fn note_other(&self, other: &str) {
        let mut dearest = self.dearest_other.lock();
        if dearest.as_ref().is_none_or(|known| self.pricing.is_dearer(other, known)) {
            *dearest = Some(other.to_owned());
        }
        drop(dearest);
        if self.is_new(other) {
            let answered = self.http.snippet(other.as_bytes());
            tracing::warn!(
                asked = self.model,
                answered,
                "another model answered than was asked: its replies are priced as the dearer of both \
                 (PRICING_FILE); look at ANTHROPIC_MODEL and ANTHROPIC_BASE_URL"
            );
        }
    }

    fn cost(&self, other: Option<&str>, usage: &Tokens) -> Cost {
        self.pricing.cost_of_either(other.unwrap_or(&self.model), usage)
    }

    fn is_new(&self, what: &str) -> bool {
        let mut logged = self.logged.lock();
        logged.len() < MAX_WARNINGS && logged.insert(what.to_owned())
    }
}

/// The most tokens that a request can take: the whole prompt is written to the cache, and every output token
/// is used.
pub(super) fn most_usage(prompt: Weight, max_tokens: NonZeroU32) -> Tokens {
    let cache_write_5m = (prompt / BYTES_PER_TOKEN).min(LARGEST_CONTEXT);
    Tokens { cache_write_5m, output: max_tokens.get().into(), ..Tokens::default() }
}

/// The tokens of a reply and its prompt, or why `usage` cannot be believed.
fn count(usage: &Value, has_content: bool) -> Result<Tokens, &'static str> {
    let read = || {
        let needed = |value: &Value| Some(value.as_u64()?.min(MOST_TOKENS));
        let optional = |value: &Value| if value.is_null() { Some(0) } else { needed(value) };
        let split = &usage["cache_creation"];
        (split.is_null() || split.is_object()).then_some(())?;
        let for_minutes = optional(&split["ephemeral_5m_input_tokens"])?;
        let for_an_hour = optional(&split["ephemeral_1h_input_tokens"])?;
        let written = optional(&usage["cache_creation_input_tokens"])?;
        let written = written.max(for_minutes + for_an_hour).min(MOST_TOKENS);
        Some(Tokens {
            input: needed(&usage["input_tokens"])?,
            output: needed(&usage["output_tokens"])?,
            cache_read: optional(&usage["cache_read_input_tokens"])?,
            cache_write_5m: written - for_an_hour,
            cache_write_1h: for_an_hour,
        })
    };
    let tokens = read().ok_or("usage is missing or holds what is no number of tokens")?;
    if has_content && (tokens.prompt() == 0 || tokens.output == 0) {
        return Err("usage counts nothing for a reply that says something");
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        clients::claude::{ResultBlock, ToolResult},
        domain::Redactor,
        metrics::Metrics,
    };

    #[test]
    fn another_model_is_noticed_and_another_spelling_is_not_another_model() {
        let noticed = |asked: &str, answered: &str| {
            let metrics = Arc::new(Metrics::new("0").unwrap());
            let http = HttpClient::new(metrics, Redactor::default()).unwrap();
            let bills = Bills::new(asked.into(), Pricing::load(None, asked).unwrap(), http);
            bills.book(&Value::Null, &json!(answered), true, &Tokens::default());
            bills.dearest_other.lock().clone()
        };
        let (haiku, opus) = ("claude-haiku-5-5", "claude-opus-5-5");
        for same in [haiku, "claude-haiku-5-5-20261001", "anthropic/claude-haiku-5-5", ""] {
            assert_eq!(noticed(haiku, same), None, "{same}");
        }
        for (asked, answered) in [(haiku, opus), (haiku, "claude-of-tomorrow"), (opus, haiku)] {
            assert_eq!(noticed(asked, answered).as_deref(), Some(answered));
        }
    }

    /// The most tokens that a result with this content is billed as.
    fn tokens_of(content: Vec<ResultBlock>) -> u64 {
        let result = ToolResult { tool_use_id: "toolu_1".into(), content, is_error: false };
        most_usage(result.weight(), NonZeroU32::MIN).cache_write_5m
    }

    #[test]
    fn the_reservation_for_an_attachment_depends_on_its_type_and_not_on_its_length_in_base64() {
        let image =
            |bytes| ResultBlock::Image { media_type: "image/png".into(), data: "A".repeat(bytes) };
        let pdf = |bytes| ResultBlock::Pdf { data: "A".repeat(bytes) };
        let (small, large) = (tokens_of(vec![image(8)]), tokens_of(vec![image(3 << 20)]));
        assert_eq!(small, large);
        assert!((4_784..6_000).contains(&large), "{large}");
        let all: Vec<_> = (0..5).map(|_| image(3 << 20)).collect();
        assert!(tokens_of(all) < 30_000, "15 MB of images");
        assert!((8_000..9_000).contains(&tokens_of(vec![pdf(900)])));
        assert!((24_000..25_000).contains(&tokens_of(vec![pdf(2_500)])));
        assert_eq!(
            tokens_of(vec![pdf(3 << 20)]),
            LARGEST_CONTEXT,
            "no more than a prompt may have"
        );
        // Text is still weighed by its length.
        let text = tokens_of(vec![ResultBlock::Text("a".repeat(30_000))]);
        assert!((15_000..15_100).contains(&text), "{text}");
    }
}
