use std::{fs, path::PathBuf};

use super::*;
use crate::{
    clock::Clock,
    config::{BudgetConfig, Config, WebhookUrl},
    journal::{Journal, PostState, TickFacts},
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

    /// What a daemon without keys does, which is started now.
    async fn start(&self, webhook: Option<&str>) -> WeeklyReport {
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
    async fn due(&self, done: Option<Week>) -> Result<Option<Week>, ReportError> {
        self.write_due(self.fleet.config.report.at.unwrap(), done).await
    }
}

#[tokio::test]
async fn each_week_gets_one_report_and_after_a_downtime_the_newest_missed_week_does() {
    let world = World::new().await;
    let weekly = world.start(None).await;
    let mut done = weekly.due(None).await.unwrap();
    assert_eq!(done, Some("2026-W44".parse().unwrap()), "nothing is left to do for that week");
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
