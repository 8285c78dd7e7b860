//! The main use case: ten personas, from login to feedback.

use serde_json::json;

use crate::support::Setup;

#[tokio::test]
async fn ten_personas_spend_a_day_and_their_rows_land() {
    let world = Setup::catalog().var("PERSONA_CONCURRENCY", 4).start().await;
    let result = world.good_tick().await;
    assert_eq!(result["due"], 10);
    assert_eq!(result["ranSuccessfully"], 10);
    assert_eq!(result["skipped"], 0);
    let (actions, feedback) = (world.actions().await, world.feedback().await);
    for user in &world.users {
        assert!(actions.iter().any(|row| row.persona_id == *user), "no action of {user}");
        assert!(feedback.iter().any(|row| row.persona_id == *user), "no feedback of {user}");
    }
    assert_eq!(world.peers.mcp.open_sessions(), 0);
    assert_eq!(world.tick().await["due"], json!(0), "whoever ran is no longer due");
}
