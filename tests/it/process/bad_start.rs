//! Conditions under which the compiled daemon does not start: exit code 78, at once, with a line that says
//! what to do.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use tokio::process::Command;

use super::daemon::{Daemon, finish};
use crate::support::{patiently, start_peers};

fn new_folder() -> PathBuf {
    let folder = format!("{}/{}", env!("CARGO_TARGET_TMPDIR"), uuid::Uuid::now_v7());
    fs::create_dir(&folder).unwrap();
    folder.into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

async fn refused(vars: &[(&str, &str)]) -> String {
    let vars = vars.iter().map(|(name, value)| (name.into(), OsString::from(value)));
    let ended = finish(vars, &[]).await;
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.lines().filter(|line| !line.ends_with(':')).count(),
        1,
        "{}",
        ended.stderr
    );
    ended.stderr
}

#[tokio::test]
async fn a_fifo_or_a_link_in_the_journals_place_ends_the_start_at_once() {
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.lock"] {
        for is_fifo in [true, false] {
            let folder = new_folder();
            let path = folder.join(name);
            if is_fifo {
                let made = Command::new("mkfifo").arg(&path).status();
                assert!(patiently("mkfifo", made).await.unwrap().success());
            } else {
                symlink("/dev/null", &path).unwrap();
            }
            let data = folder.to_str().unwrap();
            let error = refused(&[("PORT", "0"), ("RUNNER_DATA_DIR", data)]).await;
            let found = if is_fifo { "no regular file" } else { "a link" };
            assert!(error.contains(path.to_str().unwrap()) && error.contains(found), "{error}");
            // The command line does not read it either.
            let var = ("RUNNER_DATA_DIR".into(), data.into());
            let ended = finish([var], &["runs"]).await;
            assert_eq!(ended.code, Some(1));
            assert!(ended.stderr.contains(found), "{}", ended.stderr);
            fs::remove_dir_all(&folder).unwrap();
        }
    }
}

#[tokio::test]
async fn a_folder_that_others_may_read_is_one_warning_and_keeps_its_mode() {
    let (peers, _) = start_peers(Default::default(), &[]).await;
    for (wanted, warnings) in [(0o1777, 1), (0o755, 1), (0o700, 0)] {
        let folder = new_folder();
        fs::set_permissions(&folder, Permissions::from_mode(wanted)).unwrap();
        let data = folder.to_str().unwrap().to_owned();
        let daemon = Daemon::start(&peers, &[("RUNNER_DATA_DIR", data)]).await;
        daemon.signal("TERM").await;
        let ended = daemon.ended().await;
        assert_eq!((ended.code, mode(&folder)), (Some(0), wanted));
        let warned = ended.stdout.lines().filter(|line| line.contains(" WARN ")).count();
        assert_eq!(warned, warnings, "{}", ended.stdout);
        assert_eq!(mode(&folder.join("journal.db")), 0o600);
        fs::remove_dir_all(&folder).unwrap();
    }
}

#[tokio::test]
async fn a_value_that_would_silently_do_harm_is_reported() {
    for (name, value, part) in [
        ("RUST_LOG", "warning", "off, error, warn, info, debug or trace"),
        ("RUST_LOG", "verbose", "off, error"),
        ("RUST_LOG", "true", "off, error"),
        ("RUST_LOG", "mana-persona-runner=debug", "underscores"),
        ("RUST_LOG", "3", "off, error"),
        ("MANA_SERVICE_KEY", "\"service-key\"", "quotes"),
        ("ANTHROPIC_API_KEY", "'api-key'", "quotes"),
        ("PERSONA_SEED_SECRET", "\"seed-secret\"", "quotes"),
        ("MANA_AUTH_URL", "\"http://localhost:3001\"", "quotes"),
        ("MANA_SERVICE_KEY", "short", "at least 6 characters"),
        ("ANTHROPIC_API_KEY", "short", "at least 6 characters"),
        ("UI_KEY", "fifteen-letters", "at least 16 characters"),
        ("UI_KEY", "\"sixteen-letters!\"", "quotes"),
        ("UI_BASE_URL", "https://runner.example/ui/", "write https://runner.example"),
        ("UI_BASE_URL", "runner.example", "an http:// or https:// URL"),
        ("ANTHROPIC_BASE_URL", "https://api.anthropic.com/v1", "write https://api.anthropic.com"),
        ("ANTHROPIC_BASE_URL", "https://h/v1/messages/", "write https://h"),
        ("MANA_MCP_URL", "http://localhost:3069/mcp/", "write http://localhost:3069"),
        ("MANA_AUTH_URL", "http://localhost:3001/api/auth", "write http://localhost:3001"),
        ("MANA_AUTH_URL", "http://h/x/api/v1/auth/", "write http://h/x"),
    ] {
        let error = refused(&[(name, value)]).await;
        assert!(error.contains(&format!("{name}: ")) && error.contains(part), "{error}");
    }
    let same = "sixteen-letters!";
    let error = refused(&[("UI_KEY", same), ("MANA_SERVICE_KEY", same)]).await;
    assert!(error.contains("UI_KEY: must be another key than MANA_SERVICE_KEY"), "{error}");
    assert!(!error.contains(same), "{error}");
}
