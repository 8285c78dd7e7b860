use std::sync::LazyLock;

use mana_persona_runner::{
    clients::mcp::{Heard, Hearing, McpError, read_output, read_tools},
    http::HttpClient,
};

/// Longest message, in bytes; short enough that the fuzzer can generate longer messages.
const LIMIT: usize = 600;
/// Most requests of the server that one stream may contain before reading it fails.
const MOST_REQUESTS: usize = 100;

static HTTP: LazyLock<HttpClient> = LazyLock::new(super::http);

/// The messages of an answer stream do not depend on where its chunks end, are those that the SSE standard
/// defines, and are limited in size. An answer is read without a panic and only up to its limit.
pub fn mcp_stream(stream: &[u8]) {
    let whole = hear([stream]);
    assert_eq!(whole, hear(stream.chunks(1)), "a byte at a time");
    let seed =
        stream.iter().fold(7, |seed: usize, byte| seed.wrapping_mul(31) + usize::from(*byte));
    let pieces = stream.chunks(2 + seed % 97).flat_map(|piece| [piece, &[]]);
    assert_eq!(whole, hear(pieces), "in pieces, and empty ones between them");

    let requests = whole.iter().filter(|heard| heard.starts_with("asked")).count();
    assert!(requests <= MOST_REQUESTS, "{requests} requests of the server");
    let events = events(stream);
    let is_cut = whole.last().is_some_and(|last| last.starts_with("error"));
    let is_answered = whole.last().is_some_and(|last| last.starts_with("answer"));
    let read = whole.len() - usize::from(is_cut);
    assert!(read <= events.len(), "{whole:?} of {events:?}");
    assert!(is_cut || is_answered || read == events.len(), "{whole:?} of {events:?}");
    assert!(events[..read].iter().all(|event| event.len() <= LIMIT), "{events:?}");
}

/// The messages read from these chunks, up to an answer or an error.
fn hear<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut hearing = Hearing::new(LIMIT);
    let mut all = Vec::new();
    for mut chunk in chunks {
        loop {
            match hearing.next(&mut chunk, &HTTP) {
                Ok(None) => break,
                Ok(Some(Heard::Answer(answer))) => {
                    all.push(format!("answer {answer:?}"));
                    check_answer(answer);
                    return all;
                }
                Ok(Some(Heard::Asked(answer))) => {
                    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                    all.push(format!("asked {answer}"));
                }
                Ok(Some(Heard::Nothing)) => all.push("nothing".to_owned()),
                Err(error) => {
                    all.push(format!("error {error}"));
                    return all;
                }
            }
        }
        assert!(chunk.is_empty());
    }
    all
}

fn check_answer(answer: Result<Box<serde_json::value::RawValue>, McpError>) {
    let Ok(result) = answer else { return };
    if let Some(output) = read_output(&result) {
        assert!(output.content.is_empty() || output.structured.is_none());
        assert!(output.content.len() <= LIMIT);
    }
    if let Ok(page) = read_tools(&result) {
        // A byte that is not valid UTF-8 is replaced by a character of three bytes.
        assert!(page.size <= 3 * LIMIT);
        for tool in &page.tools {
            assert!((1..=128).contains(&tool.name.as_str().chars().count()));
            let schema = &tool.input_schema;
            match tool.misfit {
                None => assert_eq!(schema["type"], "object"),
                Some(_) => assert!(schema.is_empty() && tool.description.is_empty()),
            }
        }
    }
}

/// The data of the events in a whole stream, as the SSE standard defines them. Data that consists only of
/// line breaks is left out.
fn events(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut bytes = stream.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\r' | b'\n' => {
                if byte == b'\r' {
                    bytes.next_if_eq(&b'\n');
                }
                lines.push(std::mem::take(&mut line));
            }
            byte => line.push(byte),
        }
    }
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for line in lines {
        if line.is_empty() {
            let event: Vec<u8> = std::mem::take(&mut data);
            let begin = event.iter().position(|byte| *byte != b'\n');
            events.extend(begin.map(|begin| event[begin..event.len() - 1].to_vec()));
            continue;
        }
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        if name == b"data" {
            data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
            data.push(b'\n');
        }
    }
    events
}
