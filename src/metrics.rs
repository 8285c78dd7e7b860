//! Declares all metrics of the daemon.
//!
//! Names start with `mana_persona_runner_`, and units are base units. Label values come from enums and
//! constants in this code; the only exception are tool names, whose number `model` limits. A label never is a
//! persona, an e-mail address, a run id, a space, a URL or an error text. ops/METRICS.md lists all metrics.

mod delivery;
mod families;
mod labels;
mod model;
mod process;
mod scheduling;
mod traffic;

use std::collections::HashSet;

use parking_lot::Mutex;
use prometheus::{TextEncoder, process_collector::ProcessCollector};
use tokio::time::Instant;

pub use families::{Family, Values};
pub use labels::ToolOutcome;
pub(crate) use labels::{BudgetScope, SessionRenewal, TickOutcome, ToolFault};
pub use scheduling::InFlight;

use crate::version::COMMIT;
use families::Families;

/// Buckets in seconds, for HTTP requests that the daemon sends or answers, and for tool calls.
const REQUEST_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The metrics, by topic, and their registry. A metric with labels is recorded by a method beside its
/// declaration, so that label values come from enums. A metric without labels may be `pub` and is then
/// recorded where the event happens.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    pub(crate) scheduling: scheduling::Scheduling,
    traffic: traffic::Traffic,
    pub(crate) model: model::Model,
    pub(crate) delivery: delivery::Delivery,
    pub(crate) process: process::Process,
    /// Names of the tools that have a label value of their own.
    known_tools: Mutex<HashSet<String>>,
    /// Since when the oldest post of the outbox waits; `None` if the outbox is empty.
    oldest_since: Mutex<Option<Instant>>,
}

impl Metrics {
    /// Registers all families in a new registry. `version` is a label of `build_info`.
    ///
    /// # Errors
    /// If two families have the same name. Any test of this type would show such a mistake.
    pub fn new(version: &str) -> prometheus::Result<Self> {
        let mut families = Families::default();
        let metrics = Self {
            scheduling: scheduling::Scheduling::new(&mut families)?,
            model: model::Model::new(&mut families)?,
            delivery: delivery::Delivery::new(&mut families)?,
            traffic: traffic::Traffic::new(&mut families)?,
            process: process::Process::new(&mut families)?,
            families,
            known_tools: Mutex::default(),
            oldest_since: Mutex::default(),
        };
        metrics.families.registry.register(Box::new(ProcessCollector::for_self()))?;
        metrics.model.create_decisions();
        metrics.traffic.create_children();
        metrics.process.build.with_label_values(&[version, COMMIT]).set(1.0);
        metrics.delivery.journal_writable.set(1.0);
        Ok(metrics)
    }

    /// All families that this code declares, ordered by topic. The families of the process collector are not
    /// among them.
    pub fn families(&self) -> &[Family] {
        &self.families.catalogue
    }

    /// Updates the metrics that are read at scrape time and encodes all metrics in the Prometheus text
    /// format. Only one caller at a time may use it.
    ///
    /// # Errors
    /// If a family cannot be encoded.
    pub fn render(&self) -> prometheus::Result<String> {
        self.refresh_outbox();
        self.process.refresh();
        TextEncoder::new().encode_to_string(&self.families.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Usd;

    #[test]
    fn every_family_is_there_from_the_start_with_closed_label_sets_at_zero() {
        let text = Metrics::new("1.2.3").unwrap().render().unwrap();
        let build =
            format!("mana_persona_runner_build_info{{commit=\"{COMMIT}\",version=\"1.2.3\"}} 1");
        for line in [
            "mana_persona_runner_ticks_total{outcome=\"completed\"} 0",
            "mana_persona_runner_runs_total{outcome=\"failed\",stage=\"login\"} 0",
            "mana_persona_runner_claude_tokens_total{kind=\"cache_read\"} 0",
            "mana_persona_runner_rows_posted_total{kind=\"feedback\"} 0",
            "mana_persona_runner_runs_in_flight 0",
            &build,
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
        assert!(text.contains("\nprocess_resident_memory_bytes "));
    }

    #[test]
    fn a_run_is_in_flight_until_its_guard_is_dropped() {
        let metrics = Metrics::new("0").unwrap();
        let guard = metrics.start_run();
        assert!(metrics.render().unwrap().contains("runs_in_flight 1"));
        drop(guard);
        assert!(metrics.render().unwrap().contains("runs_in_flight 0"));
    }

    #[test]
    fn invented_tools_share_one_label_and_listed_ones_are_bounded() {
        let metrics = Metrics::new("0").unwrap();
        let took = Duration::from_millis(1);
        metrics.record_tool_call(None, ToolOutcome::Error, took);
        for n in 0..5_000 {
            metrics.record_tool_call(Some(&format!("m.t{n}")), ToolOutcome::Ok, took);
        }
        let text = metrics.render().unwrap();
        assert!(text.contains("tool_calls_total{outcome=\"error\",tool=\"unknown\"} 1"));
        let lines = text.lines().filter(|line| line.contains("tool_calls_total{")).count();
        assert!(lines <= 500, "{lines} label sets");
    }

    #[test]
    fn budgets_show_what_is_used_of_them_and_nothing_where_there_is_no_cap() {
        let metrics = Metrics::new("0").unwrap();
        let usd = |dollars| Usd::from_dollars(dollars).unwrap();
        metrics.set_budget(BudgetScope::Day, usd(4.0), Some(usd(5.0)));
        metrics.set_budget(BudgetScope::Month, usd(4.0), None);
        let text = metrics.render().unwrap();
        for line in [
            "budget_used_ratio{scope=\"day\"} 0.8",
            "budget_cap_usd{scope=\"day\"} 5",
            "budget_used_usd{scope=\"day\"} 4",
            "budget_used_ratio{scope=\"month\"} 0",
            "budget_cap_usd{scope=\"month\"} 0",
            "budget_used_usd{scope=\"month\"} 4",
        ] {
            assert!(text.contains(&format!("\nmana_persona_runner_{line}\n")), "{line} in\n{text}");
        }
        metrics.set_budget(BudgetScope::Day, Usd::ZERO, Some(Usd::ZERO));
        assert!(metrics.render().unwrap().contains("budget_used_ratio{scope=\"day\"} 1\n"));
        metrics.set_budget_reached(BudgetScope::Month, true);
        let text = metrics.render().unwrap();
        for line in ["{scope=\"day\"} 0", "{scope=\"month\"} 1"] {
            let line = format!("\nmana_persona_runner_budget_cap_reached{line}\n");
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_post_of_the_outbox_ages_between_two_reports() {
        let metrics = Metrics::new("0").unwrap();
        let oldest_age = Some(Duration::from_secs(100));
        metrics.set_outbox(2, 1, oldest_age);
        metrics.delivery.dead_letters.set(3.0);
        tokio::time::advance(Duration::from_secs(50)).await;
        let text = metrics.render().unwrap();
        for line in [
            "outbox_posts{kind=\"actions\"} 2",
            "outbox_posts{kind=\"feedback\"} 1",
            "outbox_oldest_age_seconds 150",
            "outbox_dead_letters 3",
        ] {
            assert!(text.contains(&format!("\nmana_persona_runner_{line}\n")), "{line} in\n{text}");
        }
        metrics.set_outbox(0, 0, None);
        assert!(metrics.render().unwrap().contains("outbox_oldest_age_seconds 0\n"));
    }

    #[test]
    fn the_journal_counts_as_writable_until_a_write_fails() {
        let metrics = Metrics::new("0").unwrap();
        assert!(metrics.render().unwrap().contains("journal_writable 1\n"));
        metrics.delivery.journal_writable.set(0.0);
        metrics.delivery.journal_size.set(8_192.0);
        metrics.scheduling.runs_resumed.inc();
        metrics.model.answers_lost.inc();
        let text = metrics.render().unwrap();
        for line in ["journal_writable 0", "journal_size_bytes 8192", "runs_resumed_total 1"] {
            assert!(text.contains(&format!("\nmana_persona_runner_{line}\n")), "{line} in\n{text}");
        }
        assert!(text.contains("\nmana_persona_runner_answers_lost_total 1\n"));
    }

    #[tokio::test]
    async fn the_tasks_of_the_runtime_are_those_that_have_not_ended() {
        let metrics = Metrics::new("0").unwrap();
        let tasks = |number: usize| {
            let text = metrics.render().unwrap();
            assert!(text.contains(&format!("_runtime_tasks {number}\n")), "{number} in\n{text}");
        };
        tasks(0);
        let mut waiting = tokio::task::JoinSet::new();
        (0..3).for_each(|_| drop(waiting.spawn(std::future::pending::<()>())));
        tasks(3);
        waiting.shutdown().await;
        tasks(0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_busy_time_of_the_runtime_grows_with_the_work_of_its_tasks() {
        let metrics = Metrics::new("0").unwrap();
        let busy = || {
            let text = metrics.render().unwrap();
            assert!(text.contains("runtime_workers 2\n"), "{text}");
            let name = "\nmana_persona_runner_runtime_busy_seconds_total ";
            let (_, rest) = text.split_once(name).expect("the counter");
            rest.lines().next().unwrap().parse::<f64>().unwrap()
        };
        let before = busy();
        let work = tokio::spawn(async {
            let started = std::time::Instant::now();
            while started.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
        });
        work.await.unwrap();
        // A worker adds the busy time to its counter when the worker becomes idle.
        while busy() < before + 0.05 {
            tokio::task::yield_now().await;
        }
    }
}
