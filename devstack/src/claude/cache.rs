//! The prompt cache (contract, section 5.1): what a request reads from it and writes to it, and how this
//! splits the request's input tokens.

use std::{collections::HashMap, ops::AddAssign, time::Duration};

use jiff::Timestamp;

use super::prompt::{Lifetime, Prefix, Prompt};

/// Number of blocks that are checked backwards from a marker, including the marked block.
const LOOK_BACK: usize = 20;
/// Price of a token written to the cache, in uncached tokens.
const WRITE_PRICE: f64 = 1.25;
/// Price of a token read from the cache, in uncached tokens.
const READ_PRICE: f64 = 0.1;

/// Input tokens by what the cache did with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUsage {
    /// Tokens that were neither read from the cache nor written to it.
    pub uncached: u64,
    /// Tokens that were newly written to the cache.
    pub written: u64,
    /// Tokens that were read from the cache.
    pub read: u64,
}

impl CacheUsage {
    /// The sum of all prompt tokens.
    pub fn prompt_tokens(&self) -> u64 {
        self.uncached + self.written + self.read
    }

    /// The price of these tokens in uncached tokens; writes count at the 5-minute price.
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

/// The cache entries of one workspace.
#[derive(Debug, Default)]
pub(super) struct PromptCache(HashMap<Prefix, Entry>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    lifetime: Lifetime,
    /// When the entry expires, unless it is used before.
    until: Timestamp,
}

/// What one request finds in the cache and what it will write.
#[derive(Clone, Debug)]
pub(super) struct Lookup {
    pub usage: CacheUsage,
    /// The part of `usage.written` that is cached for an hour.
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
        // Each token is charged once: as read up to the end of the longest hit, then as written for an hour
        // up to the last one-hour marker, then as written for five minutes up to the last marker.
        let written = end.saturating_sub(read);
        let usage = CacheUsage { uncached: prompt.tokens() - read - written, written, read };
        let written_for_an_hour = hour_end.saturating_sub(read);
        Lookup { usage, written_for_an_hour, started: now, hits, writes }
    }

    /// Extends the lifetime of the entries that were found, counted from the start of the request.
    pub(super) fn refresh(&mut self, lookup: &Lookup) {
        for hit in &lookup.hits {
            if let Some(entry) = self.0.get_mut(hit) {
                entry.until = entry.until.max(lookup.started + entry.lifetime.duration());
            }
        }
    }

    /// Stores what a request writes. Called when its answer begins; the lifetime still counts from the start
    /// of the request.
    pub(super) fn write(&mut self, lookup: &Lookup) {
        self.0.retain(|_, entry| lookup.started < entry.until);
        for (prefix, lifetime) in &lookup.writes {
            let until = lookup.started + lifetime.duration();
            let entry = Entry { lifetime: *lifetime, until };
            // A concurrent request may already have written the same entry, and later requests may have read
            // it.
            let entry = self.0.entry(*prefix).or_insert(entry);
            entry.until = entry.until.max(until);
        }
    }

    fn is_readable(&self, prefix: &Prefix, now: Timestamp) -> bool {
        self.0.get(prefix).is_some_and(|entry| now < entry.until)
    }
}
