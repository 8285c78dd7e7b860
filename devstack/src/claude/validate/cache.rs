//! Cache markers (section 5.1).

use serde_json::Value;

use super::{
    super::request::ParsedRequest,
    Checked, Refusal,
    shape::{choice, object, under},
};

const MAX_MARKERS: usize = 4;

pub(super) fn check(request: &ParsedRequest) -> Checked {
    let mut markers = Vec::new();
    collect(&request.body["tools"], "tools", &mut markers)?;
    collect(&request.body["system"], "system", &mut markers)?;
    let mut last_block = None;
    for (index, message) in request.messages.iter().enumerate() {
        let path = format!("messages.{index}.content");
        collect(&message["content"], &path, &mut markers)?;
        let content = message["content"].as_array();
        last_block = content.and_then(|blocks| blocks.last()).map(|b| b.get("cache_control"));
    }
    let explicit = markers.len();
    if let Some(automatic) = request.body.get("cache_control") {
        let ttl = time_to_live(automatic, "cache_control")?;
        if let Some(Some(marker)) = last_block
            && time_to_live(marker, "cache_control")? != ttl
        {
            let message = "the last block already has a marker with another ttl";
            return Err(Refusal::invalid("cache_control", message));
        }
        markers.push(("cache_control".to_owned(), ttl));
    }
    if markers.len() > MAX_MARKERS {
        let message = format!(
            "A maximum of 4 blocks with cache_control may be provided. Found {}.",
            if explicit > MAX_MARKERS { explicit } else { markers.len() }
        );
        return Err(Refusal::invalid("cache_control", &message));
    }
    let mut short_seen = false;
    for (path, ttl) in markers {
        if short_seen && ttl == "1h" {
            let message = "a ttl='1h' cache_control block must not come after a ttl='5m' one";
            return Err(Refusal::invalid(&path, message));
        }
        short_seen |= ttl == "5m";
    }
    Ok(())
}

/// Collects the markers on these blocks, and on the parts of tool results, in order.
fn collect<'a>(blocks: &'a Value, path: &str, found: &mut Vec<(String, &'a str)>) -> Checked {
    for (index, block) in blocks.as_array().into_iter().flatten().enumerate() {
        let path = under(path, index);
        if block["type"] == "tool_result" {
            collect(&block["content"], &under(&path, "content"), found)?;
        }
        let Some(marker) = block.get("cache_control") else { continue };
        let path = under(&path, "cache_control");
        let ttl = time_to_live(marker, &path)?;
        found.push((path, ttl));
    }
    Ok(())
}

fn time_to_live<'a>(marker: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    let marker = object(marker, path, &["type", "ttl"])?;
    choice(marker, path, "type", &["ephemeral"])?;
    match marker.contains_key("ttl") {
        true => choice(marker, path, "ttl", &["5m", "1h"]),
        false => Ok("5m"),
    }
}
