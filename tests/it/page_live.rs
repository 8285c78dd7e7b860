//! The live stream of the page: each call once and in order, across reconnects and restarts.

use std::collections::VecDeque;

use reqwest::{Client, Response, StatusCode, header};
use serde_json::Value;

use crate::support::{PATIENCE, Setup, World, client, patiently};

/// A stream of events that is open.
struct Stream {
    response: Response,
    text: String,
    events: VecDeque<Event>,
}

#[derive(Clone, Debug, PartialEq)]
struct Event {
    id: String,
    call: Value,
}

async fn request(client: &Client, url: &str, last_event: Option<&str>) -> Response {
    let mut request = client.get(url).header(header::ACCEPT, "text/event-stream");
    if let Some(id) = last_event {
        request = request.header("Last-Event-ID", id);
    }
    patiently("the head of the stream", request.send()).await.unwrap()
}

impl Stream {
    async fn open(world: &World, last_event: Option<&str>) -> Self {
        let response = request(&client(), &format!("{}/ui/live", world.url), last_event).await;
        assert_eq!(response.status(), StatusCode::OK);
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self { response, text: String::new(), events: VecDeque::new() }
    }

    /// The next call; `None` if the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let chunk = patiently("the next event", self.response.chunk()).await.ok()??;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
                };
                if line("event:") == Some("call") {
                    let call = serde_json::from_str(line("data:").unwrap()).unwrap();
                    self.events.push_back(Event { id: line("id:").unwrap().to_owned(), call });
                }
                self.text = rest.to_owned();
            }
        }
    }

    async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("the stream goes on"));
        }
        events
    }
}

/// The calls that the journal has, in the order in which their steps were committed.
async fn in_journal(world: &World) -> Vec<String> {
    let sql =
        "SELECT run_id || '.' || number FROM steps WHERE body LIKE '{\"called\"%' ORDER BY rowid";
    crate::support::in_journal(world, sql).await
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.clone()).collect()
}

#[tokio::test]
async fn each_call_is_sent_once_with_its_persona_tool_and_result() {
    let world = Setup::many(&["anna", "ben"]).start().await;
    let mut stream = Stream::open(&world, None).await;
    world.good_tick().await;
    let all = in_journal(&world).await;
    assert!(all.len() > 4, "{all:?}");
    let events = stream.take(all.len()).await;
    assert_eq!(ids(&events), all);
    for Event { id, call } in &events {
        assert_eq!(id.rsplit_once('.').unwrap().0, call["run"]);
        assert!(
            ["persona.anna", "persona.ben"].contains(&call["persona"].as_str().unwrap()),
            "{call}"
        );
        assert!(call["tool"].as_str().unwrap().starts_with("habits."), "{call}");
        assert!(call["ok"].is_boolean() && call["latencyMs"].is_u64() && call["number"].is_u64());
        assert_eq!(call.as_object().unwrap().len(), 6, "{call}");
    }
}

#[tokio::test]
async fn a_stream_that_is_opened_again_has_no_gap_also_after_a_restart() {
    let mut world = Setup::many(&["anna", "ben"]).start().await;
    let mut stream = Stream::open(&world, None).await;
    world.good_tick().await;
    let seen = stream.take(3).await;
    drop(stream);
    // The rest of the first day and all of the second are in the journal when the stream is opened again.
    world.stop().await;
    world.start_again(&[]).await;
    world.advance(std::time::Duration::from_secs(24 * 3_600));
    world.good_tick().await;
    let all = in_journal(&world).await;
    let last = seen.last().unwrap().id.clone();
    let mut stream = Stream::open(&world, Some(&last)).await;
    let rest = stream.take(all.len() - seen.len()).await;
    assert_eq!([ids(&seen), ids(&rest)].concat(), all);
    // The page gives the place in its address, because a script cannot send the header.
    let url = format!("{}/ui/live?after={last}", world.url);
    let response = request(&client(), &url, None).await;
    let mut stream = Stream { response, text: String::new(), events: VecDeque::new() };
    assert_eq!(ids(&stream.take(rest.len()).await), ids(&rest));
}

#[tokio::test]
async fn an_event_that_nobody_knows_is_no_place_and_the_stream_begins_with_the_next_call() {
    let world = Setup::one(&["habits"]).start().await;
    world.good_tick().await;
    let before = in_journal(&world).await.len();
    for id in ["", "x", "1.2", "019aa5b4-7f02-7cc3-9d5e-3f1f7a1c2b3d.7", "\u{fc}"] {
        let mut stream = Stream::open(&world, Some(id)).await;
        world.advance(std::time::Duration::from_secs(24 * 3_600));
        world.good_tick().await;
        let first = stream.take(1).await.remove(0);
        let all = in_journal(&world).await;
        assert!(all.iter().position(|known| *known == first.id).unwrap() >= before, "{id}");
    }
}

#[tokio::test]
async fn eight_streams_are_open_at_most_and_a_closed_one_makes_room() {
    let world = Setup::default().start().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(Stream::open(&world, None).await);
    }
    let url = format!("{}/ui/live", world.url);
    let refused = request(&client(), &url, None).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    let page = patiently("the page", client().get(&url).send()).await.unwrap();
    assert_eq!(page.status(), StatusCode::OK, "the page itself needs no stream");
    streams.pop();
    patiently("a place", async {
        while request(&client(), &url, None).await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_shutdown_ends_the_streams_at_once_although_runs_are_in_flight() {
    let mut world = Setup::one(&["habits"]).start().await;
    world.peers.claude.served.faults.inject(usize::MAX, devstack::fault::Fault::Hang, |_| true);
    let mut stream = Stream::open(&world, None).await;
    drop(world.begin_tick());
    patiently("the request that hangs", async {
        while world.peers.claude.served.recorder.all().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.shutdown.stop();
    assert_eq!(stream.next().await, None);
    world.kill().await;
}

#[tokio::test]
async fn the_page_shows_the_latest_calls_and_where_the_stream_goes_on() {
    let world = Setup::one(&["habits"]).start().await;
    world.good_tick().await;
    let all = in_journal(&world).await;
    let page = client().get(format!("{}/ui/live", world.url)).send();
    let page = tokio::time::timeout(PATIENCE, page).await.unwrap().unwrap().text().await.unwrap();
    assert!(page.contains(&format!("data-live=\"{}\"", all.last().unwrap())), "{page}");
    for call in &all {
        let run = call.split_once('.').unwrap().0;
        assert!(page.contains(&format!("href=\"/ui/runs/{run}#call-1\"")), "{page}");
    }
    assert!(page.contains("persona.anna"));
}
