//! The report of the tick, for human readers.

use std::fmt;

use devstack::{
    Devstack,
    auth::{ActionRow, FeedbackRow, SeedPersona},
};
use serde_json::Value;

/// The rows of each persona, read back from mana-auth's database.
#[derive(Debug)]
pub(crate) struct Report {
    personas: Vec<PersonaReport>,
    failed: Vec<(String, String)>,
    ran: usize,
    due: usize,
    seconds: f64,
    cost_usd: f64,
}

#[derive(Debug)]
struct PersonaReport {
    name: String,
    archetype: String,
    actions: Vec<ActionRow>,
    feedback: Vec<FeedbackRow>,
}

impl Report {
    /// Reads the rows; `answer` is the answer of /diag/tick.
    pub(crate) async fn read(
        peers: &Devstack,
        personas: &[(String, SeedPersona)],
        answer: &Value,
    ) -> Self {
        let (actions, feedback) = (peers.auth.actions().await, peers.auth.feedback().await);
        let result = &answer["result"];
        let count = |key: &str| usize::try_from(result[key].as_u64().unwrap_or(0)).unwrap_or(0);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let failed = result["failed"].as_array().into_iter().flatten();
        Self {
            personas: personas
                .iter()
                .map(|(id, persona)| PersonaReport {
                    name: persona.name.clone(),
                    archetype: persona.archetype.clone(),
                    actions: actions.iter().filter(|row| row.persona_id == *id).cloned().collect(),
                    feedback: feedback
                        .iter()
                        .filter(|row| row.persona_id == *id)
                        .cloned()
                        .collect(),
                })
                .collect(),
            failed: failed.map(|row| (text(&row["persona"]), text(&row["error"]))).collect(),
            ran: count("ranSuccessfully"),
            due: count("due"),
            seconds: result["durationMs"].as_f64().unwrap_or(0.0) / 1000.0,
            cost_usd: result["costUsd"].as_f64().unwrap_or(0.0),
        }
    }

    /// Whether every persona ran and left actions and ratings.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete() == self.personas.len() && self.ran == self.personas.len()
    }

    /// The last line of the report.
    pub(crate) fn verdict(&self) -> String {
        format!(
            "{} of {} personas had their day and their rows landed",
            self.complete().min(self.ran),
            self.personas.len()
        )
    }

    fn complete(&self) -> usize {
        let complete = |p: &&PersonaReport| !p.actions.is_empty() && !p.feedback.is_empty();
        self.personas.iter().filter(complete).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for persona in &self.personas {
            writeln!(f, "{persona}")?;
        }
        let actions = || self.personas.iter().flat_map(|persona| &persona.actions);
        let feedback = || self.personas.iter().flat_map(|persona| &persona.feedback);
        writeln!(f, "Rows in the database (the newest of each):")?;
        writeln!(
            f,
            "  SELECT tool_name, result, latency_ms, input_hash FROM auth.persona_actions"
        )?;
        let mut newest: Vec<_> = actions().collect();
        newest.sort_by_key(|row| row.created_at);
        for row in newest.iter().rev().take(5) {
            let hash = row.input_hash.as_deref().unwrap_or("-");
            let latency = row.latency_ms.map_or("-".to_owned(), |ms| format!("{ms} ms"));
            writeln!(f, "    {:<24} {:<6} {latency:>7}  {hash}", row.tool_name, row.result)?;
        }
        writeln!(f, "  SELECT module, rating, notes FROM auth.persona_feedback")?;
        let mut newest: Vec<_> = feedback().collect();
        newest.sort_by_key(|row| row.created_at);
        for row in newest.iter().rev().take(5) {
            let notes = row.notes.as_deref().unwrap_or("-");
            writeln!(f, "    {:<14} {}  {notes}", row.module, row.rating)?;
        }
        for (persona, error) in &self.failed {
            writeln!(f, "FAILED {persona}: {error}")?;
        }
        let errors = actions().filter(|row| row.result != "ok").count();
        write!(
            f,
            "\n{} due, {} ran, {} failed in {:.1} s: {} actions ({errors} errors), {} ratings",
            self.due,
            self.ran,
            self.failed.len(),
            self.seconds,
            actions().count(),
            feedback().count(),
        )?;
        let each = self.cost_usd / self.due.max(1) as f64;
        write!(f, "\nModel cost by the price table: ${:.4}, ${each:.5} a persona", self.cost_usd)
    }
}

impl fmt::Display for PersonaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.actions.iter().filter(|row| row.result != "ok").count();
        writeln!(
            f,
            "{} ({}): {} actions, {errors} errors",
            self.name,
            self.archetype,
            self.actions.len()
        )?;
        writeln!(f, "  tools   {}", tally(&self.actions))?;
        for row in &self.feedback {
            let stars = "★".repeat(usize::try_from(row.rating).unwrap_or(0));
            let notes = row.notes.as_deref().unwrap_or("-");
            writeln!(f, "  {stars:☆<5}   {:<12} {notes}", row.module)?;
        }
        Ok(())
    }
}

/// `todo.list, todo.create ×2`, in order of first use.
fn tally(actions: &[ActionRow]) -> String {
    let mut tools: Vec<(&str, usize)> = Vec::new();
    for row in actions {
        match tools.iter_mut().find(|(name, _)| *name == row.tool_name) {
            Some((_, times)) => *times += 1,
            None => tools.push((&row.tool_name, 1)),
        }
    }
    let words = tools.into_iter().map(|(name, times)| match times {
        1 => name.to_owned(),
        times => format!("{name} ×{times}"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// The commands to try while the demo keeps running.
pub(crate) fn try_it(url: &str, peers: &Devstack) -> String {
    format!(
        "Still running until Ctrl-C. Try:\n\
         \x20 curl -s {url}/health\n\
         \x20 curl -s {url}/metrics | grep mana_persona_runner_runs_total\n\
         \x20 curl -s '{url}/diag/login?email=persona.anna@mana.test'\n\
         \x20 curl -s -X POST {url}/diag/tick        # nobody is due until tomorrow\n\
         \x20 curl -s -H 'X-Service-Key: devstack-service-key' {}/api/v1/internal/personas/due\n\
         Peers: mana-auth {}, mana-mcp {}/mcp, Claude {}\n\n\
         Next: four weeks of their life within a minute, and what a team reads on Monday:\n\
         \x20 cargo run --bin demo -- --weeks 4 --page\n\n{}",
        peers.auth.url(),
        peers.auth.url(),
        peers.mcp.url(),
        peers.claude.url(),
        look(url),
    )
}

/// The address of the page, as the last line.
pub(crate) fn look(url: &str) -> String {
    format!("What hurts, and each run with all its calls, in a browser (until Ctrl-C):\n  {url}/ui")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn the_report_shows_what_the_tick_cost_in_all_and_for_a_persona() {
        let clock = devstack::clock::Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        let peers = Devstack::start(devstack::Options::default(), clock).await.unwrap();
        let answer = json!({"result": {"due": 4, "ranSuccessfully": 4, "costUsd": 0.0128}});
        let report = Report::read(&peers, &[], &answer).await.to_string();
        assert!(report.contains("4 due, 4 ran"), "{report}");
        assert!(report.ends_with("$0.0128, $0.00320 a persona"), "{report}");
    }

    #[tokio::test]
    async fn the_last_line_of_what_to_try_is_the_address_of_the_page() {
        let clock = devstack::clock::Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        let peers = Devstack::start(devstack::Options::default(), clock).await.unwrap();
        let text = try_it("http://localhost:1", &peers);
        assert!(text.contains("\n  cargo run --bin demo -- --weeks 4 --page\n"), "{text}");
        assert!(text.ends_with("\n  http://localhost:1/ui"), "{text}");
    }
}
