//! The prompt cache (contract, section 5.1): what a request reads from it, what it writes, and what
//! that makes of its input tokens.

use std::{collections::HashMap, ops::AddAssign, time::Duration};

use jiff::Timestamp;

use super::prompt::{Lifetime, Prefix, Prompt};

/// Blocks looked at from a marker backwards, the marked one included.
const LOOK_BACK: usize = 20;
/// What a token written to the cache costs, in uncached tokens.
const WRITE_PRICE: f64 = 1.25;
/// What a token read from the cache costs, in uncached tokens.
const READ_PRICE: f64 = 0.1;

/// Input tokens by what the cache made of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Neither read nor written.
    pub uncached: u64,
    /// Newly written.
    pub written: u64,
    /// Read.
    pub read: u64,
}

impl CacheUsage {
    /// All of them.
    pub fn prompt_tokens(&self) -> u64 {
        self.uncached + self.written + self.read
    }

    /// What they cost, in tokens at the price of uncached ones; writes at the 5-minute price.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    pub fn billed_input_tokens(&self) -> f64 {
        self.uncached as f64 + WRITE_PRICE * self.written as f64 + READ_PRICE * self.read as f64
    }
}

impl AddAssign for CacheUsage {
    fn add_assign(&mut self, other: Self) {
        self.uncached += other.uncached;
        self.written += other.written;
        self.read += other.read;
    }
}

impl Lifetime {
    fn duration(self) -> Duration {
        match self {
            Self::FiveMinutes => Duration::from_mins(5),
            Self::OneHour => Duration::from_hours(1),
        }
    }
}

/// The entries of one workspace.
#[derive(Debug, Default)]
pub(super) struct PromptCache(HashMap<Prefix, Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    lifetime: Lifetime,
    /// When it is gone unless it is used before.
    until: Timestamp,
}

/// What one request finds in the cache and will leave there.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub usage: CacheUsage,
    /// The part of `usage.written` that lives for an hour.
    pub written_for_an_hour: u64,
    started: Timestamp,
    hits: Vec<Prefix>,
    writes: Vec<(Prefix, Lifetime)>,
}

impl PromptCache {
    /// What a request with this prompt that starts at `now` reads and writes. Changes nothing.
    pub(super) fn look_up(&self, prompt: &Prompt, now: Timestamp) -> Lookup {
        let (mut hits, mut writes) = (Vec::new(), Vec::new());
        let (mut read, mut hour_end, mut end) = (0, 0, 0);
        for (index, block) in prompt.blocks.iter().enumerate() {
            let Some(lifetime) = block.marker else { continue };
            if block.tokens < prompt.minimum {
                continue;
            }
            let first = (index + 1).saturating_sub(LOOK_BACK);
            let in_reach = &prompt.blocks[first..=index];
            let found = in_reach.iter().rev().find(|block| self.is_readable(&block.prefix, now));
            if let Some(found) = found {
                hits.push(found.prefix);
                read = read.max(found.tokens);
            }
            if found.is_none_or(|found| found.prefix != block.prefix) {
                writes.push((block.prefix, lifetime));
            }
            end = block.tokens;
            if lifetime == Lifetime::OneHour {
                hour_end = block.tokens;
            }
        }
        // Each token is paid for once: read as far as the longest hit reaches, then written for an
        // hour up to the last marker that says so, then for five minutes up to the last of all.
        let written = end.saturating_sub(read);
        let usage = CacheUsage { uncached: prompt.tokens() - read - written, written, read };
        let written_for_an_hour = hour_end.saturating_sub(read);
        Lookup { usage, written_for_an_hour, started: now, hits, writes }
    }

    /// Lets the entries that were found live on from the start of the request that found them.
    pub(super) fn refresh(&mut self, lookup: &Lookup) {
        for hit in &lookup.hits {
            if let Some(entry) = self.0.get_mut(hit) {
                entry.until = entry.until.max(lookup.started + entry.lifetime.duration());
            }
        }
    }

    /// Makes what a request writes readable. To be called when its answer begins; the entries live
    /// from its start all the same.
    pub(super) fn write(&mut self, lookup: &Lookup) {
        self.0.retain(|_, entry| lookup.started < entry.until);
        for (prefix, lifetime) in &lookup.writes {
            let until = lookup.started + lifetime.duration();
            let entry = Entry { lifetime: *lifetime, until };
            // A request that began at the same time may have written it first and been read since.
            let entry = self.0.entry(*prefix).or_insert(entry);
            entry.until = entry.until.max(until);
        }
    }

    fn is_readable(&self, prefix: &Prefix, now: Timestamp) -> bool {
        self.0.get(prefix).is_some_and(|entry| now < entry.until)
    }
}
