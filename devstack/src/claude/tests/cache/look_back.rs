//! How many blocks before a marker are searched for an earlier entry.

use serde_json::{Value, json};

use super::{super::fixture::Client, marked, persona, short_lived, text, words};

/// The request of `persona` with this many one-word blocks after its question.
fn with_blocks(n: usize) -> Value {
    let mut body = persona("Anna");
    let mut blocks = vec![text(&words(100))];
    blocks.extend((0..n).map(|_| text(&words(10))));
    body["messages"][0]["content"] = blocks.into();
    body
}

#[tokio::test]
async fn a_marker_looks_back_over_nineteen_new_blocks_but_not_twenty() {
    let client = Client::start().await;
    client.accepts(with_blocks(0)).await;
    assert_eq!(client.spends(with_blocks(19)).await, (0, 190, 900));

    let client = Client::start().await;
    client.accepts(with_blocks(0)).await;
    // The markers on tools and system prompt still find their own entries.
    assert_eq!(client.spends(with_blocks(20)).await, (0, 300, 800));
}

#[tokio::test]
async fn a_second_marker_nearer_the_old_end_bridges_a_long_turn() {
    let client = Client::start().await;
    client.accepts(with_blocks(0)).await;
    let mut body = with_blocks(25);
    let bridge = body["messages"][0]["content"][10].take();
    body["messages"][0]["content"][10] = marked(bridge, short_lived());
    assert_eq!(client.spends(body).await, (0, 250, 900));
}

#[tokio::test]
async fn only_prefixes_that_ended_at_a_marker_are_found() {
    let client = Client::start().await;
    client.accepts(with_blocks(5)).await;
    // The same beginning, but the prompts differ before the end that was written.
    assert_eq!(client.spends(with_blocks(4)).await, (0, 140, 800));
    let mut unmarked = with_blocks(5);
    unmarked.as_object_mut().unwrap().remove("cache_control");
    unmarked["tools"][1].as_object_mut().unwrap().remove("cache_control");
    unmarked["system"] = json!([text(unmarked["system"][0]["text"].as_str().unwrap())]);
    assert_eq!(client.spends(unmarked).await, (950, 0, 0), "no marker, no reading");
}
