//! Reads a stream of server-sent events, as far as an answer of mana-mcp needs it.

use std::time::Duration;

use super::error::{McpError, Outcome};

/// The largest number of bytes around the data of an event.
const FRAMING: usize = 1 << 10;

/// Reads events from a stream, chunk by chunk.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Longest data of an event, in bytes.
    limit: usize,
    /// The beginning of a line whose end was not received yet.
    line: Vec<u8>,
    /// Whether the last line ended in CR. An LF directly after it is a part of the same line end.
    after_cr: bool,
    /// The data of the event that is being read.
    data: Vec<u8>,
    /// The last event id that the server sent. The stream can be resumed after that event.
    pub last_id: Option<Vec<u8>>,
    /// How long the server wants the client to wait before it resumes the stream.
    pub retry: Option<Duration>,
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// Reads `chunk` up to the end of an event and returns the data of the event. What was read is removed
    /// from `chunk`. Whether an event is too long does not depend on where the chunks end.
    pub(super) fn next(&mut self, chunk: &mut &[u8]) -> Outcome<Option<Vec<u8>>> {
        while !chunk.is_empty() {
            if std::mem::take(&mut self.after_cr) {
                *chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
            }
            let end = memchr::memchr2(b'\r', b'\n', chunk).unwrap_or(chunk.len());
            let (part, rest) = chunk.split_at(end);
            if self.line.len() + self.data.len() + part.len() > self.limit + FRAMING {
                return Err(McpError::too_long(self.limit));
            }
            self.line.extend_from_slice(part);
            let Some((ending, rest)) = rest.split_first() else {
                *chunk = rest;
                break;
            };
            (self.after_cr, *chunk) = (*ending == b'\r', rest);
            let line = std::mem::take(&mut self.line);
            if !line.is_empty() {
                self.field(line);
            } else if self.data.len() > self.limit {
                return Err(McpError::too_long(self.limit));
            } else if !self.data.is_empty() {
                return Ok(Some(std::mem::take(&mut self.data)));
            }
        }
        Ok(None)
    }

    /// Prepares for a new stream, which begins after the last event.
    pub(super) fn restart(&mut self) {
        self.line.clear();
        self.data.clear();
        self.after_cr = false;
    }

    fn field(&mut self, mut line: Vec<u8>) {
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &line[..colon] {
            b"data" if self.data.is_empty() => {
                // Large data comes in one line, whose buffer is kept and not copied.
                let begin = line.len() - value.len();
                line.drain(..begin);
                self.data = line;
            }
            b"data" => {
                self.data.push(b'\n');
                self.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => self.last_id = Some(value.to_vec()),
            b"retry" => {
                let millis = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                self.retry = millis.map(Duration::from_millis).or(self.retry);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> (Vec<String>, Events) {
        let mut events = Events::new(1 << 10);
        let mut all = Vec::new();
        for chunk in chunks {
            let mut chunk = *chunk;
            while let Some(data) = events.next(&mut chunk).unwrap() {
                all.push(String::from_utf8(data).unwrap());
            }
        }
        (all, events)
    }

    const STREAM: &[u8] = b": hello\r\nid: 7\rretry: 20\ndata:\n\nevent: message\r\ndata: {\"a\":\r\ndata:1}\r\n\r\nid\n\ndata: x\n\n\ndata: never ended\n";

    #[test]
    fn events_are_separated_whatever_ends_their_lines() {
        let (all, events) = read(&[STREAM]);
        assert_eq!(all, ["{\"a\":\n1}", "x"]);
        assert_eq!(events.last_id.as_deref(), Some(&b""[..]));
        assert_eq!(events.retry, Some(Duration::from_millis(20)));
        assert_eq!(events.data, b"never ended");
    }

    #[test]
    fn an_empty_chunk_does_not_separate_a_cr_from_its_lf() {
        let (all, _) = read(&[b"data: a\r", b"", b"\ndata: b\r\n\r", b"", b"\n"]);
        assert_eq!(all, ["a\nb"]);
    }

    #[test]
    fn an_event_is_too_long_wherever_the_chunks_end() {
        let is_taken = |stream: &str, size| {
            let mut events = Events::new(8);
            stream.as_bytes().chunks(size).all(|mut chunk| {
                while let Ok(event) = events.next(&mut chunk) {
                    if event.is_none() {
                        return true;
                    }
                }
                false
            })
        };
        let comment = format!(":{}\n", "x".repeat(2_000));
        for (stream, taken) in [
            ("event: message\ndata: 12345678\nid: 1234567\n\n", true),
            ("event: message\ndata: 123456789\n\n", false),
            ("data: 1234\ndata: 5678\n\n", false),
            (&*comment, false),
        ] {
            for size in [1, 2, 7, stream.len() - 1, stream.len()] {
                assert_eq!(is_taken(stream, size), taken, "{stream} {size}");
            }
        }
    }

    proptest! {
        #[test]
        fn where_the_chunks_end_does_not_matter(cuts in prop::collection::vec(0..STREAM.len(), 0..9)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([STREAM.len()]) {
                chunks.push(&STREAM[from..cut]);
                from = cut;
            }
            prop_assert_eq!(read(&chunks).0, read(&[STREAM]).0);
        }
    }
}
