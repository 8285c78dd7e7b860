//! The scripted persona: its actions in the product follow from its system prompt, the offered tools and the
//! messages, and are the same for the same input.

use serde_json::{Value, ser::Formatter};

use crate::catalog::{self, Voice};

use super::{
    manner::Manner,
    request::ParsedRequest,
    script::{Scripted, text_block, thinking_block, tool_use_block},
};

mod ledger;
mod mischief;
mod rating;
mod sample;

use ledger::{Ledger, Liking};
use sample::Sampler;

/// Phrases in lower case with which the client tells the persona to end its day.
const FINISH: [&str; 4] = ["letzte antwort", "den tag ab", "zum schluss", "last answer"];

/// The part that a persona plays.
pub(super) struct Part {
    pub manner: Manner,
    /// Number of this main turn among those of the persona, from 1.
    pub run: u64,
    /// Number of replies in a main turn, including the closing one.
    pub replies: usize,
    pub seed: u64,
}

/// The answer to a request that neither the queue nor the rule answers.
pub(super) fn answer(request: &ParsedRequest, part: &Part) -> Scripted {
    let voice = voice_of(&request.system);
    let mut dice = Dice::new(&request.system, part.run, request.turn() as u64).mixed(part.seed);
    let mut blocks = Vec::new();
    if request.thinks() {
        let summarized = request.body["thinking"]["display"] == "summarized"
            || request.body["thinking"]["type"] == "enabled";
        blocks.push(thinking_block(if summarized { "Was steht heute an?" } else { "" }));
    }
    if request.is_rating() {
        blocks.push(text_block(&rating::answer(request, &voice, part)));
        return spaced(&blocks, "end_turn");
    }
    let again = mischief::again(request, part, &mut dice);
    let is_repeated = again.is_some();
    let calls = again
        .or_else(|| mischief::calls(request, part, &voice, &mut dice))
        .unwrap_or_else(|| plan(request, &voice, &mut dice, part));
    if calls.is_empty() {
        blocks.push(text_block(dice.pick(&voice.closings)));
        return spaced(&blocks, "end_turn");
    }
    let failed = request.last_tool_results().iter().any(|result| result.is_error);
    if failed {
        let next = match is_repeated {
            true => "Ich versuche es noch einmal",
            false => "Ich probiere etwas anderes",
        };
        let text = format!("{}. {next}.", dice.pick(&voice.grumble));
        blocks.push(text_block(&text));
    } else if dice.chance(40) {
        blocks.push(text_block(dice.pick(&voice.asides)));
    }
    blocks.extend(calls.into_iter().map(|(name, input)| tool_use_block(&name, input)));
    spaced(&blocks, "tool_use")
}

/// The tool calls of this reply; empty once the persona is done.
fn plan(
    request: &ParsedRequest,
    voice: &Voice,
    dice: &mut Dice,
    part: &Part,
) -> Vec<(String, Value)> {
    let choice = &request.body["tool_choice"];
    let forced = matches!(choice["type"].as_str(), Some("any" | "tool"));
    if choice["type"] == "none" || (is_over(request, part) && !forced) {
        return Vec::new();
    }
    let (ledger, liking) = (Ledger::of(request), Liking::of(request));
    let mut candidates = ledger.candidates(request);
    if let Some(name) = choice["name"].as_str() {
        candidates.retain(|tool| tool["name"] == name);
    }
    let wanted = match choice["disable_parallel_tool_use"] == true {
        false if dice.chance(40) => 2,
        _ => 1,
    };
    let today = sample::date_in(&request.first_user_text());
    // The day begins with reading calls; later replies mostly write.
    let reads_first = request.turn() == 0 || dice.chance(25);
    let mut calls: Vec<(String, Value)> = Vec::new();
    let mut sampler = Sampler { voice, today: &today, ledger: &ledger, dice };
    for reads in [reads_first, !reads_first] {
        let mut kind: Vec<&Value> =
            candidates.iter().filter(|tool| ledger::is_read(tool) == reads).copied().collect();
        // Least used tools first; among equals in random order that favours the modules mentioned first.
        kind.sort_by_cached_key(|tool| {
            (
                ledger.times_called(tool),
                liking.rank(tool) + sampler.dice.below(2 + part.manner.variety),
            )
        });
        for tool in kind {
            let name = tool["name"].as_str().unwrap_or_default();
            if calls.len() == wanted || calls.iter().any(|(called, _)| called == name) {
                continue;
            }
            if let Some(input) = sampler.input(tool) {
                calls.push((name.to_owned(), input));
            }
        }
    }
    calls
}

/// Whether this reply closes the day.
fn is_over(request: &ParsedRequest, part: &Part) -> bool {
    request.turn() + 1 >= part.replies || is_told_to_finish(request)
}

/// Whether the client's last hints tell the persona to end the day now. Other hints have no effect.
fn is_told_to_finish(request: &ParsedRequest) -> bool {
    let hints = request.last_hints().to_lowercase();
    FINISH.iter().any(|words| hints.contains(words))
}

/// The voice of the persona with this system prompt. An unknown prompt always gets the same one of the ten
/// voices.
fn voice_of(system: &str) -> Voice {
    let mut voices = catalog::voices();
    let known = catalog::personas().into_iter().find(|persona| persona.system_prompt == system);
    let place = known
        .and_then(|persona| voices.iter().position(|(name, _)| *name == persona.name))
        .unwrap_or_else(|| Dice::new(system, 0, 0).below(voices.len()));
    if voices.is_empty() { Voice::default() } else { voices.swap_remove(place).1 }
}

/// Content as JSON with a space after every comma and colon. This is valid JSON, and it reveals a client that
/// re-serializes what it must replay byte for byte.
fn spaced(blocks: &[Value], stop_reason: &str) -> Scripted {
    struct Spaced;
    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(
            &mut self,
            writer: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            writer.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(
            &mut self,
            writer: &mut W,
            first: bool,
        ) -> std::io::Result<()> {
            writer.write_all(if first { b"" } else { b", " })
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(
            &mut self,
            writer: &mut W,
        ) -> std::io::Result<()> {
            writer.write_all(b": ")
        }
    }
    let mut content = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut content, Spaced);
    // Writing values to memory cannot fail.
    let _ = serde::Serialize::serialize(blocks, &mut serializer);
    Scripted::Message {
        content: String::from_utf8(content).unwrap_or_default(),
        stop_reason: Some(stop_reason.into()),
        stop_details: Value::Null,
    }
}

/// Random numbers that are the same for the same persona, run and reply.
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn new(text: &str, run: u64, turn: u64) -> Self {
        // FNV-1a: short, and the same on every machine and in every build.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(hash ^ run.wrapping_mul(0x9e37_79b9) ^ (turn << 48))
    }

    /// Other numbers for each seed.
    fn mixed(self, seed: u64) -> Self {
        Self(self.0 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next number (SplitMix64).
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end as u64).max(1)).unwrap_or_default()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, phrases: &'a [String]) -> &'a str {
        let index = self.below(phrases.len());
        phrases.get(index).map(String::as_str).unwrap_or_default()
    }
}
