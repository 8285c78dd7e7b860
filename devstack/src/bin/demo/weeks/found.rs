//! The report that the daemon has written into its folder.

use std::{
    error::Error,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use mana_persona_runner::domain::Week;
use tokio::time::{Instant, sleep};

/// How long the daemon may take to write a report.
const LIMIT: Duration = Duration::from_secs(30);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Number of lines that are shown of a report at most.
const SHOWN: usize = 25;
/// Number of headed sections that are shown at most: what hurts, and what changed.
const SECTIONS: usize = 2;
/// The forms of a report: the endings of their files.
const FORMS: [&str; 3] = ["html", "md", "json"];

/// The three forms of a report, and the first lines of its Markdown.
#[derive(Debug)]
pub(super) struct Found {
    week: Week,
    folder: PathBuf,
    files: [PathBuf; 3],
    beginning: String,
}

impl Found {
    /// Waits for the report of this week of the daemon whose data is in this folder.
    ///
    /// # Errors
    /// When a form is missing after [`LIMIT`] or cannot be read.
    pub(super) async fn wait_for(folder: &Path, week: Week) -> Result<Self, Box<dyn Error>> {
        let files = FORMS.map(|form| folder.join("reports").join(format!("{week}.{form}")));
        let deadline = Instant::now() + LIMIT;
        // A file appears when all of it is written.
        while let Some(missing) = files.iter().find(|file| !file.exists()) {
            if Instant::now() >= deadline {
                let (seconds, missing) = (LIMIT.as_secs(), missing.display());
                return Err(
                    format!("the daemon has not written {missing} within {seconds} s").into()
                );
            }
            sleep(LOOK).await;
        }
        let beginning = beginning(&files[1])?;
        Ok(Self { week, folder: folder.to_owned(), files, beginning })
    }
}

/// The first sections of a Markdown file.
fn beginning(file: &Path) -> io::Result<String> {
    let text = fs::read_to_string(file)?;
    let mut sections = 0;
    let shown = text.lines().take(SHOWN).take_while(|line| {
        sections += usize::from(line.starts_with("## "));
        sections <= SECTIONS
    });
    Ok(shown.fold(String::new(), |lines, line| lines + "  " + line + "\n"))
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (week, folder) = (self.week, self.folder.display());
        writeln!(f, "On Monday at 06:00 the daemon has written the report of {week}:")?;
        for file in &self.files {
            writeln!(f, "  {}", file.display())?;
        }
        writeln!(f, "\nIt begins:\n\n{}", self.beginning)?;
        writeln!(f, "Ask the same journal (delete the folder when you are done with it):")?;
        for command in ["frictions", "compare", "runs", "show RUN"] {
            writeln!(f, "  RUNNER_DATA_DIR={folder} cargo run -- {command}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed at the end of the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let folder = std::env::temp_dir().join(format!("mana-demo-{}", uuid::Uuid::now_v7()));
            fs::create_dir_all(folder.join("reports")).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.0.join("reports").join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn a_report_is_shown_by_its_files_and_the_first_lines_of_its_markdown() {
        let folder = Folder::new();
        let lines: Vec<_> = (1..=30).map(|number| format!("line {number}.")).collect();
        folder.write("2026-W46.md", &lines.join("\n"));
        folder.write("2026-W46.html", "");
        folder.write("2026-W46.json", "{}");
        let week = "2026-W46".parse().unwrap();
        let shown = Found::wait_for(&folder.0, week).await.unwrap().to_string();
        for form in FORMS {
            let file = folder.0.join(format!("reports/2026-W46.{form}"));
            assert!(shown.contains(file.to_str().unwrap()), "{form}: {shown}");
        }
        assert!(shown.contains("\n  line 1.\n") && shown.contains("\n  line 25.\n"), "{shown}");
        assert!(!shown.contains("line 26."), "{shown}");
    }

    #[test]
    fn the_beginning_ends_before_the_third_section() {
        let folder = Folder::new();
        folder.write("2026-W46.md", "# All\n## Hurts\n- a\n## Changed\n- b\n## Modules\n- c");
        let shown = beginning(&folder.0.join("reports/2026-W46.md")).unwrap();
        assert_eq!(shown, "  # All\n  ## Hurts\n  - a\n  ## Changed\n  - b\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_form_that_the_daemon_does_not_write_is_named() {
        let folder = Folder::new();
        folder.write("2026-W46.html", "");
        folder.write("2026-W46.md", "");
        let error = Found::wait_for(&folder.0, "2026-W46".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("2026-W46.json within 30 s"), "{error}");
    }
}
