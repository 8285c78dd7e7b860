use std::{fs, path::PathBuf};

use super::*;
use crate::{
    clock::Clock,
    config::{BudgetConfig, WebhookUrl},
    domain::{Cadence, ModuleMix, Outcome, Persona, RunId, Slot, UserId},
    journal::{Journal, NewRun, PostState, RunSettings, TickFacts},
};

const DAY: Duration = Duration::from_hours(24);

/// A journal, a clock and a folder, with which weekly reports can be started again and again.
struct World {
    journal: Journal,
    clock: Clock,
    folder: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl World {
    /// A Wednesday at noon in Berlin, on which the runner is first up.
    async fn new() -> Self {
        let journal = Journal::in_memory().await.unwrap();
        let clock = Clock::manual("2026-11-04T11:00:00Z".parse().unwrap());
        let folder = std::env::temp_dir().join(format!("mana-weekly-{}", uuid::Uuid::now_v7()));
        let world = Self { journal, clock, folder };
        world.tick().await;
        world
    }

    async fn tick(&self) {
        let now = self.clock.now();
        let tick = TickFacts { at: now, clock_at: now, personas: &[], absences: &[] };
        self.journal.note_tick(&tick).await.unwrap();
    }

    /// A run that begins now.
    async fn begin_run(&self) -> RunId {
        let (id, now) = (RunId::new(), self.clock.now());
        let persona = Persona {
            user_id: UserId::parse("anna").unwrap(),
            email: "persona.anna@mana.test".into(),
            system_prompt: "Du bist Anna.".into(),
            module_mix: ModuleMix::default(),
            cadence: Cadence::Daily,
            archetype: None,
        };
        let (slot, begun) = (Slot::stored("2026-11-04"), RunSettings::unknown(now));
        let run = NewRun { id, persona: &persona, slot: &slot, attempt: 1, model: "claude", begun };
        self.journal.begin_run(run, now).await.unwrap();
        id
    }

    /// Ends a run like a version of this program that made no facts.
    async fn end_run(&self, run: RunId) {
        self.journal.give_up(run, ("why", Outcome::Failed), self.clock.now()).await.unwrap();
    }

    /// What a daemon without keys does, which is started now and has made the missing facts.
    async fn start(&self, webhook: Option<&str>) -> WeeklyReport {
        let weekly = self.start_first(webhook).await;
        weekly.fleet.has_made_missing_facts.store(true, Ordering::Relaxed);
        weekly
    }

    /// Like [`Self::start`], before the missing facts are made.
    async fn start_first(&self, webhook: Option<&str>) -> WeeklyReport {
        let (fleet, http) =
            Fleet::of_test(&self.journal, &self.clock, BudgetConfig::default()).await;
        let mut fleet = Arc::into_inner(fleet).unwrap();
        let mut config = Config::clone(&fleet.config);
        config.journal.folder.clone_from(&self.folder);
        config.report.webhook = webhook.map(|url| WebhookUrl::parse(url).unwrap());
        fleet.config = config.into();
        WeeklyReport::new(fleet.into(), http)
    }

    async fn weeks(&self) -> Vec<String> {
        let weeks = self.journal.weeks_with_reports().await.unwrap();
        weeks.into_iter().map(|week| week.to_string()).collect()
    }
}

impl WeeklyReport {
    /// One look whether a report is due. Returns the week for which nothing is left to do.
    async fn due(&self, done: Option<Week>) -> Result<Option<Week>, ReportError> {
        let mut progress = Progress { done, ..Progress::default() };
        self.look(&mut progress).await?;
        Ok(progress.done)
    }

    async fn look(&self, progress: &mut Progress) -> Result<bool, ReportError> {
        self.write_due(self.fleet.config.report.at.unwrap(), progress).await
    }
}

#[tokio::test]
async fn each_week_gets_one_report_and_after_a_downtime_the_newest_missed_week_does() {
    let world = World::new().await;
    let weekly = world.start(None).await;
    let mut done = weekly.due(None).await.unwrap();
    assert_eq!(done, None, "there may be facts later");
    world.clock.advance(DAY * 4);
    done = weekly.due(done).await.unwrap();
    assert!(world.weeks().await.is_empty(), "the runner did not exist when that report was due");
    world.clock.advance(DAY);
    for _ in 0..2 {
        done = weekly.due(done).await.unwrap();
        assert_eq!(world.weeks().await, ["2026-W45"]);
    }
    let reports = || weekly.fleet.metrics.delivery.reports_written.get();
    assert_eq!(reports(), 1.0);
    world.clock.advance(DAY * 23);
    for _ in 0..2 {
        world.start(None).await.due(None).await.unwrap();
        assert_eq!(world.weeks().await, ["2026-W48", "2026-W45"]);
    }
    weekly.due(done).await.unwrap();
    assert_eq!(reports(), 1.0, "the report of that week is there");
}

#[tokio::test]
async fn the_files_are_the_texts_of_the_row_and_are_written_again_if_one_is_missing() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    let weekly = world.start(None).await;
    let week = weekly.due(None).await.unwrap().unwrap();
    let stored = world.journal.report(week).await.unwrap().unwrap();
    assert_eq!((stored.post, stored.written_at), (PostState::None, world.clock.now()));
    let report: serde_json::Value = serde_json::from_str(&stored.json).unwrap();
    assert_eq!(report["schema"], "report/v1");
    assert_eq!(
        (&report["window"]["from"], &report["window"]["to"]),
        (&"2026-11-02".into(), &"2026-11-08".into())
    );
    for missing in [None, Some("2026-W45.md")] {
        if let Some(missing) = missing {
            fs::remove_file(world.folder.join("reports").join(missing)).unwrap();
            world.start(None).await.restore_files().await;
        }
        for (ending, text) in
            [("html", &stored.html), ("md", &stored.markdown), ("json", &stored.json)]
        {
            let file = world.folder.join(format!("reports/2026-W45.{ending}"));
            assert_eq!(fs::read_to_string(file).unwrap(), *text);
        }
    }
}

#[tokio::test]
async fn a_report_that_cannot_be_written_is_written_later() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    let weekly = world.start(Some("http://localhost:1/x")).await;
    world.journal.spoil("ALTER TABLE reports RENAME TO away").await;
    assert!(matches!(weekly.due(None).await, Err(ReportError::Journal(_))));
    world.journal.spoil("ALTER TABLE away RENAME TO reports").await;
    // A file is in the place of the folder.
    fs::write(&world.folder, "").unwrap();
    assert!(matches!(weekly.due(None).await, Err(ReportError::Files(_))));
    assert_eq!(world.weeks().await, ["2026-W45"], "the row does not need the files");
    fs::remove_file(&world.folder).unwrap();
    let week = weekly.due(None).await.unwrap().unwrap();
    assert!(!files::is_missing(&world.folder, week));
    assert_eq!(world.journal.report(week).await.unwrap().unwrap().post, PostState::Waiting);
}

#[tokio::test]
async fn what_waits_is_given_up_without_a_webhook_and_old_reports_go_with_their_files() {
    let world = World::new().await;
    for days in [5, 7] {
        world.clock.advance(DAY * days);
        world.start(Some("http://localhost:1/x")).await.due(None).await.unwrap();
    }
    let [newer, older] = &world.journal.weeks_with_reports().await.unwrap()[..] else {
        panic!("not two")
    };
    assert_eq!(world.journal.kept_report_posts().await.unwrap().len(), 2);
    let weekly = world.start(None).await;
    weekly.give_up_posts().await;
    assert!(world.journal.kept_report_posts().await.unwrap().is_empty());
    let keep = SignedDuration::from_hours(48);
    weekly.fleet.delete_old_reports(world.clock.now(), keep).await.unwrap();
    assert_eq!(world.journal.weeks_with_reports().await.unwrap(), [*newer]);
    assert!(!files::is_missing(&world.folder, *newer));
    assert_eq!(fs::read_dir(world.folder.join("reports")).unwrap().count(), 3, "{older} is gone");
}

#[tokio::test]
async fn a_report_waits_until_the_facts_are_made_that_an_earlier_version_did_not_make() {
    let world = World::new().await;
    let run = world.begin_run().await;
    world.end_run(run).await;
    world.clock.advance(DAY * 5);
    let weekly = world.start_first(None).await;
    let mut progress = Progress::default();
    assert!(!weekly.look(&mut progress).await.unwrap(), "nothing is known yet");
    assert!(world.weeks().await.is_empty());
    weekly.fleet.sweep().await;
    assert!(weekly.look(&mut progress).await.unwrap());
    let week = progress.done.unwrap();
    let report = world.journal.report(week).await.unwrap().unwrap();
    let report: serde_json::Value = serde_json::from_str(&report.json).unwrap();
    assert_eq!(report["fleet"]["runs"], 1, "{report}");
}

#[tokio::test]
async fn a_week_without_facts_is_looked_at_again() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    let weekly = world.start(None).await;
    // As before the facts of any run are made.
    world.journal.spoil("CREATE TABLE kept AS SELECT * FROM ticks").await;
    world.journal.spoil("DELETE FROM ticks").await;
    let mut progress = Progress::default();
    assert!(weekly.look(&mut progress).await.unwrap(), "no report is due");
    world.journal.spoil("INSERT INTO ticks SELECT * FROM kept").await;
    assert!(weekly.look(&mut progress).await.unwrap());
    assert_eq!(world.weeks().await, ["2026-W45"]);
}

#[tokio::test]
async fn a_report_waits_two_hours_at_most_for_the_runs_of_its_week() {
    for ends in [true, false] {
        let world = World::new().await;
        let run = world.begin_run().await;
        world.clock.advance(DAY * 5);
        world.begin_run().await;
        // After a downtime the wait begins with the start.
        let weekly = world.start(None).await;
        let mut progress = Progress::default();
        for minutes in [0, 60, 59] {
            world.clock.advance(Duration::from_mins(minutes));
            assert!(
                !weekly.look(&mut progress).await.unwrap(),
                "the run of Wednesday is under way"
            );
        }
        match ends {
            true => world.end_run(run).await,
            false => world.clock.advance(Duration::from_mins(1)),
        }
        assert!(weekly.look(&mut progress).await.unwrap(), "the run of this week does not count");
        assert_eq!(world.weeks().await, ["2026-W45"]);
    }
}

#[tokio::test]
async fn what_is_not_decided_leaves_the_metric_as_it_is() {
    let world = World::new().await;
    let weekly = world.start_first(None).await;
    let unwritten = &weekly.fleet.metrics.delivery.report_unwritten;
    unwritten.set(1.0);
    let at = weekly.fleet.config.report.at.unwrap();
    let look = async {
        // The loop has looked once when it pauses: without facts it does not wait for the journal.
        tokio::task::yield_now().await;
    };
    tokio::select! { biased; () = weekly.write_reports(at) => {}, () = look => {} }
    assert_eq!(unwritten.get(), 1.0);
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_written_once_and_holds_no_later_post_up() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    let weekly = world.start(Some("http://localhost:1/x")).await;
    let week = weekly.due(None).await.unwrap();
    world.journal.spoil("UPDATE reports SET html = x'ff'").await;
    assert_eq!(weekly.due(None).await.unwrap(), week);
    assert_eq!(weekly.fleet.metrics.delivery.reports_written.get(), 1.0);
    weekly.post_due(weekly.webhook.as_ref().unwrap()).await.unwrap();
    let [post] = &world.journal.kept_report_posts().await.unwrap()[..] else { panic!("not one") };
    assert_eq!(
        (post.is_refused, post.reason.as_deref()),
        (true, Some("the stored report is no report/v1"))
    );
}

#[tokio::test]
async fn of_two_daemons_one_posts_a_report() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    let weekly = world.start(Some("http://localhost:1/x")).await;
    let week = weekly.due(None).await.unwrap().unwrap();
    let now = world.clock.now();
    let claimed = world.journal.claim_report_post(week, now, now + CLAIM).await.unwrap();
    assert!(claimed, "the other daemon is posting it");
    let attempts = async || {
        weekly.post_due(weekly.webhook.as_ref().unwrap()).await.unwrap();
        world.journal.kept_report_posts().await.unwrap()[0].attempts
    };
    assert_eq!(attempts().await, 0);
    world.clock.advance(CLAIM.unsigned_abs());
    assert_eq!(attempts().await, 1, "the other daemon was killed");
}

#[tokio::test]
async fn giving_up_is_tried_again_when_the_journal_has_refused_it() {
    let world = World::new().await;
    world.clock.advance(DAY * 5);
    world.start(Some("http://localhost:1/x")).await.due(None).await.unwrap();
    world.journal.spoil("ALTER TABLE reports RENAME TO away").await;
    let weekly = world.start(None).await;
    // The statement of the first attempt is before this one in the queue of the connection.
    let repaired = world.journal.spoil("ALTER TABLE away RENAME TO reports");
    join(weekly.give_up_posts(), repaired).await;
    assert!(world.journal.kept_report_posts().await.unwrap().is_empty());
}

#[tokio::test]
async fn facts_that_are_deleted_before_their_report_are_noticed() {
    let world = World::new().await;
    let mut config = Config::clone(&world.start(None).await.fleet.config);
    for (days, forgets) in [(1, true), (7, true), (8, false), (400, false)] {
        config.journal.facts_retention = DAY * days;
        assert_eq!(forgets_the_week(&config), forgets, "{days}");
    }
    config.journal.facts_retention = DAY;
    config.report.at = None;
    assert!(!forgets_the_week(&config));
}

#[tokio::test]
async fn a_panic_of_the_work_is_an_error_of_the_report() {
    let panicked = blocking(|| panic!("as this test wants it")).await;
    let error = panicked.map_err(ReportError::from).unwrap_err();
    assert_eq!(error.to_string(), "the work has panicked");
}
