//! The models of the contract's section 8 and what each accepts.

/// Which `thinking` and effort settings a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thinking {
    /// Adaptive by default; may be disabled up to effort `high`.
    AdaptiveOrDisabled,
    /// Adaptive by default; `between_tools` up to effort `high`.
    AdaptiveOrBetweenTools,
    /// Always adaptive.
    Adaptive,
    /// Off by default; `enabled` with a budget; no effort parameter.
    Budget,
    /// Off by default; adaptive or disabled.
    Optional,
}

/// One model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub id: &'static str,
    pub thinking: Thinking,
    /// Thinking blocks are bound to everything before them, and are written by default.
    pub binds_thinking: bool,
    /// Takes `system` messages in mid-conversation.
    pub mid_conversation_system: bool,
    /// Takes `tool_choice` `any` and `tool`.
    pub forced_tools: bool,
    /// Tokens below which a prefix is not cached.
    pub cache_minimum: u64,
}

/// The minimum of models whose own the contract does not tell: the largest one known.
const UNKNOWN: u64 = 4_096;

const fn model(
    id: &'static str,
    thinking: Thinking,
    mid_conversation_system: bool,
    cache_minimum: u64,
) -> Model {
    let binds_thinking = matches!(
        thinking,
        Thinking::AdaptiveOrDisabled | Thinking::AdaptiveOrBetweenTools | Thinking::Adaptive
    );
    let forced_tools = !matches!(thinking, Thinking::AdaptiveOrBetweenTools | Thinking::Adaptive);
    Model { id, thinking, binds_thinking, mid_conversation_system, forced_tools, cache_minimum }
}

const MODELS: [Model; 22] = [
    model("claude-haiku-5-5", Thinking::AdaptiveOrDisabled, true, 512),
    model("claude-sonnet-5-5", Thinking::AdaptiveOrBetweenTools, true, 512),
    model("claude-opus-5-5", Thinking::Adaptive, true, 512),
    model("claude-fable-5-2", Thinking::Optional, true, UNKNOWN),
    model("claude-fable-5-1", Thinking::Optional, true, 512),
    model("claude-fable-5", Thinking::Optional, true, 512),
    model("claude-mythos-5-2", Thinking::Optional, false, UNKNOWN),
    model("claude-mythos-5-1", Thinking::Optional, false, UNKNOWN),
    model("claude-mythos-5", Thinking::Optional, false, UNKNOWN),
    model("claude-mythos-preview", Thinking::Optional, false, UNKNOWN),
    model("claude-sonnet-5", Thinking::Optional, false, 1_024),
    model("claude-opus-5", Thinking::Optional, true, 512),
    model("claude-opus-4-8", Thinking::Optional, true, 1_024),
    model("claude-opus-4-7", Thinking::Optional, false, 2_048),
    model("claude-opus-4-6", Thinking::Optional, false, 4_096),
    model("claude-sonnet-4-6", Thinking::Optional, false, 1_024),
    model("claude-haiku-4-5", Thinking::Budget, false, 4_096),
    model("claude-haiku-4-5-20251001", Thinking::Budget, false, 4_096),
    model("claude-opus-4-5", Thinking::Budget, false, 4_096),
    model("claude-opus-4-5-20251101", Thinking::Budget, false, 4_096),
    model("claude-sonnet-4-5", Thinking::Budget, false, 1_024),
    model("claude-sonnet-4-5-20250929", Thinking::Budget, false, 1_024),
];

/// The model with this id; `None` for unknown and retired ones.
pub(super) fn find(id: &str) -> Option<Model> {
    MODELS.into_iter().find(|model| model.id == id)
}
