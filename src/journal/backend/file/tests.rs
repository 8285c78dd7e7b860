//! Tests of the files and the folder of a journal, of journals that can only be read, and of full disks.

mod page;

use std::{
    fs::Permissions,
    future::poll_fn,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        net::UnixListener,
    },
    path::PathBuf,
    pin::pin,
    task::Poll,
    thread,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    thread::{CapabilityFlags, capabilities, set_capabilities},
};
use uuid::Uuid;

use super::{folder::NAMES, *};
use crate::{
    config::BudgetConfig,
    domain::{Slot, Usd},
    journal::{
        RunState, Spending,
        tests::{NOON, begin, dropped_at, no_tools, persona},
    },
};

/// A folder that is deleted at the end of the test, if the system allows it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("mana-place-{}", Uuid::now_v7()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.set_mode(0o700);
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Does `work` in a thread to which the modes of files apply, even if root runs the tests.
fn as_anybody<T: Send>(work: impl AsyncFnOnce() -> T + Send) -> T {
    let in_thread = || {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilityFlags::DAC_OVERRIDE);
        set_capabilities(None, sets).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work())
    };
    thread::scope(|scope| scope.spawn(in_thread).join().unwrap())
}

/// Copies these files of a journal to a folder that cannot be written.
fn copy_read_only(from: &Path, names: &[&str]) -> Folder {
    let folder = Folder::new();
    for name in names {
        let copy = folder.file(name);
        fs::copy(from.join(name), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o444)).unwrap();
    }
    folder.set_mode(0o555);
    folder
}

async fn mark(journal: &Journal) {
    journal.spoil("INSERT INTO control (name, value, at) VALUES ('mark', 'x', 0)").await;
}

async fn is_marked(journal: &Journal) -> bool {
    let marks = "SELECT 1 FROM control WHERE name = 'mark'";
    !journal.rows("be read", marks, vec![]).await.unwrap().is_empty()
}

#[tokio::test]
async fn a_mode_that_somebody_else_has_set_stays() {
    let folder = Folder::new();
    for wanted in [0o1777, 0o755, 0o750, 0o700] {
        folder.set_mode(wanted);
        let journal = Journal::open(&folder.0).await.unwrap();
        assert_eq!(mode(&folder.0), wanted);
        journal.close().await;
        fs::set_permissions(folder.file(FILE_NAME), Permissions::from_mode(0o640)).unwrap();
        Journal::open(&folder.0).await.unwrap().close().await;
        assert_eq!(mode(&folder.file(FILE_NAME)), 0o640);
        fs::remove_file(folder.file(FILE_NAME)).unwrap();
    }
    let made = folder.file("a/b");
    Journal::open(&made).await.unwrap();
    assert_eq!(
        [mode(&folder.file("a")), mode(&made), mode(&made.join(FILE_NAME))],
        [0o700, 0o700, 0o600]
    );
}

#[tokio::test]
async fn the_folder_may_be_a_link() {
    let (folder, other) = (Folder::new(), Folder::new());
    let link = folder.file("link");
    symlink(&other.0, &link).unwrap();
    let journal = Journal::open(&link).await.unwrap();
    mark(&journal).await;
    assert!(other.file(FILE_NAME).is_file());
    assert!(is_marked(&Journal::open_read_only(&link).await.unwrap()).await);
}

#[tokio::test]
async fn what_is_no_folder_is_refused_as_one() {
    let folder = Folder::new();
    let file = folder.file("file");
    fs::write(&file, "mine").unwrap();
    let fifo = folder.file("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::from(0o600), 0).unwrap();
    for path in [&file, &fifo, Path::new("/dev/null")] {
        let error = Journal::open(path).await.unwrap_err();
        assert!(matches!(error, JournalError::Unfit { .. }), "{error}");
        assert!(error.to_string().contains("RUNNER_DATA_DIR"), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[tokio::test]
async fn links_and_what_is_no_regular_file_are_refused_and_left_as_they_are() {
    type Make = fn(&Path, &Path);
    let kinds: [(&str, Make); 7] = [
        ("link", |path, target| symlink(target, path).unwrap()),
        ("link", |path, _| symlink("/nowhere/at/all", path).unwrap()),
        ("link", |path, _| symlink("/dev/null", path).unwrap()),
        ("hard link", |path, target| fs::hard_link(target, path).unwrap()),
        ("regular", |path, _| fs::create_dir(path).unwrap()),
        ("regular", |path, _| drop(UnixListener::bind(path).unwrap())),
        ("regular", |path, _| mknodat(CWD, path, FileType::Fifo, Mode::from(0o600), 0).unwrap()),
    ];
    for name in NAMES {
        for (found, make) in kinds {
            let (folder, other) = (Folder::new(), Folder::new());
            let target = other.file("target");
            fs::write(&target, "mine").unwrap();
            fs::set_permissions(&target, Permissions::from_mode(0o644)).unwrap();
            let path = folder.file(name);
            make(&path, &target);
            let before = fs::symlink_metadata(&path).unwrap().ino();
            let opened = [
                Journal::open(&folder.0).await,
                Journal::open_read_only(&folder.0).await,
                Journal::open_beside_daemon(&folder.0).await,
            ];
            for error in opened.map(|opened| opened.unwrap_err()) {
                assert!(matches!(error, JournalError::Unfit { .. }), "{name}, {found}: {error}");
                let said = error.to_string();
                assert!(said.contains(found) && said.contains(name), "{said}");
            }
            assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), before);
            assert_eq!(
                (fs::read(&target).unwrap().as_slice(), mode(&target)),
                (&b"mine"[..], 0o644)
            );
            assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is made beside it");
        }
    }
}

#[tokio::test]
async fn the_journal_of_a_stopped_daemon_is_read_where_nothing_can_be_written() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    mark(&journal).await;
    journal.close().await;
    for log in [None, Some("")] {
        let copy = copy_read_only(&folder.0, &[FILE_NAME]);
        if let Some(log) = log {
            copy.set_mode(0o755);
            fs::write(copy.file(LOG_NAME), log).unwrap();
            copy.set_mode(0o555);
        }
        as_anybody(async || {
            fs::write(copy.file("x"), "").expect_err("nothing can be written there");
            let journal = Journal::open_read_only(&copy.0).await.unwrap();
            assert!(is_marked(&journal).await);
            assert!(journal.latest_runs(1).await.unwrap().is_empty());
            journal.close().await;
        });
    }
}

#[tokio::test]
async fn a_log_that_a_killed_daemon_left_is_read_too_or_it_is_said_why_not() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    mark(&journal).await;
    let with_index = copy_read_only(&folder.0, &[FILE_NAME, LOG_NAME, "journal.db-shm"]);
    let without = copy_read_only(&folder.0, &[FILE_NAME, LOG_NAME]);
    assert!(fs::metadata(without.file(LOG_NAME)).unwrap().len() > 0);
    as_anybody(async || {
        let journal = Journal::open_read_only(&with_index.0).await.unwrap();
        assert!(is_marked(&journal).await, "it is in the log alone");
        journal.close().await;
        let error = Journal::open_read_only(&without.0).await.unwrap_err();
        assert!(matches!(error, JournalError::Unplayed { .. }), "{error}");
        assert!(error.to_string().contains("copy the two files"), "{error}");
    });
}

#[tokio::test]
async fn a_run_and_its_steps_are_there_again_after_the_file_was_closed_and_opened() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "2026-11-21", NOON).await;
    let bodies = [r#"{"a":"\u0000 é"}"#, "[1.0]"];
    for (number, body) in (0..).zip(bodies) {
        journal.append_step(id, number, body, NOON).await.unwrap();
    }
    journal.keep_catalog("abc", "[]", &no_tools(), NOON, NOON).await.unwrap();
    journal.close().await;
    drop(journal);

    let journal = Journal::open(&folder.0).await.unwrap();
    let runs = journal.runs_in(RunState::Running).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].id, id);
    assert_eq!(runs[0].persona.as_ref(), Some(&persona("anna")));
    assert_eq!(runs[0].slot, Slot::stored("2026-11-21"));
    let steps = journal.steps(id).await.unwrap();
    let told: Vec<_> = steps.iter().map(|step| (step.number, step.body.as_str())).collect();
    assert_eq!(told, [(0, bodies[0]), (1, bodies[1])]);
    assert_eq!(journal.catalog("abc").await.unwrap().as_deref(), Some("[]"));
    assert_eq!(journal.catalog("xyz").await.unwrap(), None);
}

#[tokio::test]
async fn folder_and_file_are_for_the_owner_only() {
    let above = Folder::new();
    let folder = above.file("new");
    let journal = Journal::open(&folder).await.unwrap();
    begin(&journal, "anna", "s", NOON).await;
    assert_eq!(mode(&folder), 0o700);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn a_second_one_on_the_same_folder_is_told_so_and_readers_are_welcome() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let second = Journal::open(&folder.0).await.unwrap_err();
    assert!(matches!(second, JournalError::InUse { .. }), "{second}");
    assert!(second.to_string().contains("RUNNER_DATA_DIR"));

    let reader = Journal::open_read_only(&folder.0).await.unwrap();
    assert_eq!(reader.latest_runs(10).await.unwrap()[0].id, id);
    assert!(reader.append_step(id, 0, "1", NOON).await.is_err());
}

#[tokio::test]
async fn a_reader_without_a_journal_is_told_where_it_was_looked_for() {
    let above = Folder::new();
    let folder = above.file("new");
    let error = Journal::open_read_only(&folder).await.unwrap_err();
    assert!(error.to_string().contains(FILE_NAME), "{error}");
    assert!(!folder.exists());

    // A daemon that was killed during its start has left an empty file.
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(FILE_NAME), "").unwrap();
    let error = Journal::open_read_only(&folder).await.unwrap_err();
    assert!(matches!(error, JournalError::Missing { .. }), "{error}");
    Journal::open(&folder).await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_left_as_it_is() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    for n in 0..50 {
        let id = begin(&journal, &format!("p{n}"), "s", NOON).await;
        journal.append_step(id, 0, &"x".repeat(20_000), NOON).await.unwrap();
    }
    journal.close().await;
    drop(journal);
    let path = folder.file(FILE_NAME);
    let sound = fs::read(&path).unwrap();
    let mut holed = sound.clone();
    holed[4_096..40_960].fill(0xa5);
    for damaged in [b"this is no database, but a text that is long enough".repeat(40), holed] {
        fs::write(&path, &damaged).unwrap();
        let error = Journal::open(&folder.0).await.unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), damaged);
    }
}

#[tokio::test]
async fn strange_folder_names_are_no_obstacle() {
    let folder = Folder::new();
    let inner = folder.file("50% ?#ü mode=ro");
    let journal = Journal::open(&inner).await.unwrap();
    begin(&journal, "anna", "s", NOON).await;
    assert!(inner.join(FILE_NAME).is_file());
}

#[tokio::test]
async fn a_full_disk_is_trouble_until_there_is_space_again() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    assert_eq!(journal.trouble(), None);
    journal.limit_pages(20).await.unwrap();
    let error = journal.append_step(id, 0, &"x".repeat(200_000), NOON).await.unwrap_err();
    assert!(error.to_string().contains("full"), "{error}");
    assert!(!error.is_of_a_row());
    assert!(journal.trouble().unwrap().contains("full"));
    assert!(journal.check_writable().await.is_err());
    journal.limit_pages(100_000).await.unwrap();
    journal.check_writable().await.unwrap();
    assert_eq!(journal.trouble(), None);
    journal.append_step(id, 0, &"x".repeat(200_000), NOON).await.unwrap();
}

#[tokio::test]
async fn after_a_full_disk_what_is_rolled_back_takes_nothing_else_with_it() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let spending = Spending::of(&persona("anna").user_id, NOON);
    let (cent, caps) =
        (Usd::from_cents(1), BudgetConfig { daily: Some(Usd::ZERO), ..BudgetConfig::default() });
    journal.limit_pages(20).await.unwrap();
    let large = "x".repeat(200_000);
    let full =
        journal.reserve((id, 0, &large), &spending, cent, &BudgetConfig::default(), NOON).await;
    assert!(full.unwrap_err().to_string().contains("full"));
    journal.limit_pages(100_000).await.unwrap();
    let no_room = journal.reserve((id, 0, "{}"), &spending, cent, &caps, NOON).await.unwrap();
    assert!(no_room.is_err());
    journal.append_step(id, 0, "{}", NOON).await.unwrap();
    // Another connection sees only committed data.
    assert_eq!(journal.steps(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn who_reads_waits_for_no_writer_and_what_cannot_be_read_is_no_trouble_of_the_fleet() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let writer = journal.backend.writer.session().await.unwrap();
    assert!(journal.run(id).await.unwrap().is_some());
    let refused = journal.rows("read what is not there", "SELECT 1 FROM dreams", vec![]).await;
    assert!(!refused.err().unwrap().is_of_a_row());
    assert_eq!(journal.trouble(), None);
    drop(writer);
    // The reader sees the latest write.
    journal.open_day(id, "abc", None).await.unwrap();
    assert_eq!(journal.run(id).await.unwrap().unwrap().stage, "main_turn");
}

#[tokio::test]
async fn who_waits_until_it_is_settled_finds_what_a_dropped_caller_was_writing() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    let guest = Journal::open_beside_daemon(&folder.0).await.unwrap();
    guest.spoil("BEGIN IMMEDIATE").await;
    let write = journal.append_step(id, 0, "{}", NOON);
    assert!(dropped_at(1, write).await, "it waits for the guest");
    let mut settled = pin!(journal.settled());
    let now = poll_fn(|context| Poll::Ready(settled.as_mut().poll(context).is_ready())).await;
    assert!(!now, "the write has its turn");
    guest.spoil("ROLLBACK").await;
    settled.await.unwrap();
    assert_eq!(journal.steps(id).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_connection_that_broke_is_replaced_and_a_closed_journal_stays_closed() {
    let folder = Folder::new();
    let journal = Journal::open(&folder.0).await.unwrap();
    let id = begin(&journal, "anna", "s", NOON).await;
    for held in [&journal.backend.writer, &journal.backend.reader] {
        let mut session = held.session().await.unwrap();
        // Results that end before all statements were executed are what a connection without its thread gives.
        let broken = session.rows("SELECT 1", vec![], 2).await;
        assert!(matches!(broken, Err(sqlx::Error::WorkerCrashed)));
        assert!(session.connection().is_err());
    }
    journal.append_step(id, 0, "1", NOON).await.unwrap();
    assert_eq!(journal.steps(id).await.unwrap().len(), 1);
    journal.close().await;
    assert!(journal.run(id).await.is_err());
    assert!(journal.append_step(id, 1, "2", NOON).await.is_err());
}

#[tokio::test]
async fn a_journal_is_in_use_from_its_opening_to_its_end() {
    let folder = Folder::new();
    assert!(!Journal::is_in_use(&folder.0), "there is no lock file");
    assert!(!Journal::is_in_use(&folder.file("missing")));
    let journal = Journal::open(&folder.0).await.unwrap();
    let reader = Journal::open_read_only(&folder.0).await.unwrap();
    assert!(Journal::is_in_use(&folder.0));
    journal.close().await;
    assert!(!Journal::is_in_use(&folder.0), "a reader does not use it");
    reader.close().await;
    // Whoever asks holds no lock afterwards.
    Journal::open(&folder.0).await.unwrap().close().await;
}
