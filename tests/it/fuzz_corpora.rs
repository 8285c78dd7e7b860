//! Runs the checks of the fuzz targets on the inputs kept in fuzz/corpus.

#[allow(unreachable_pub, reason = "the fuzz targets use them from outside")]
#[path = "../../fuzz/src/lib.rs"]
mod checks;

use std::{fs, path::Path};

/// Checks every input of a target, and that there is at least one.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> =
        fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        // The output is shown if the check fails.
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[test]
fn every_kept_mcp_stream_is_heard_the_same_wherever_its_chunks_end() {
    replay("mcp_stream", checks::mcp_stream);
}

#[test]
fn every_kept_reply_of_claude_is_stored_and_sent_back_acceptably() {
    replay("claude_reply", checks::claude_reply);
}

#[test]
fn every_kept_tool_schema_is_fitted_or_left_out_as_claude_would() {
    replay("tool_schema", checks::tool_schema);
}

#[test]
fn every_kept_rating_answer_gives_only_ratings_that_were_asked_for() {
    replay("rating", checks::rating);
}

#[test]
fn every_kept_malformed_text_is_read_as_javascript_reads_it() {
    replay("surrogate_repair", checks::surrogate_repair);
}
