//! The files of reports, in the folder `reports` of the journal's folder: `WEEK.html`, `WEEK.md` and `WEEK.json`. They
//! are copies for people; the journal has the reports.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::{
    domain::{Label, Week},
    journal::StoredReport,
    report::Form,
    whole_file,
};

/// The folder of the reports, in the journal's folder.
const FOLDER: &str = "reports";

fn path(folder: &Path, week: Week, form: Form) -> PathBuf {
    folder.join(FOLDER).join(format!("{week}.{}", form.as_str()))
}

/// Whether one of the three files of a week is missing or empty.
pub(super) fn is_missing(folder: &Path, week: Week) -> bool {
    let is_there = |form| fs::metadata(path(folder, week, form)).is_ok_and(|file| file.len() > 0);
    !Form::ALL.iter().all(|form| is_there(*form))
}

/// Writes the three files of a report, for the owner only. Each of them replaces the earlier one as a whole.
///
/// # Errors
/// If one of them cannot be written.
pub(super) fn write(folder: &Path, report: &StoredReport) -> io::Result<()> {
    let reports = folder.join(FOLDER);
    if !reports.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(&reports)?;
    }
    for form in Form::ALL {
        let text = match form {
            Form::Html => &report.html,
            Form::Markdown => &report.markdown,
            Form::Json => &report.json,
        };
        let file = path(folder, report.week, *form);
        whole_file::replace(&file, &file.with_added_extension("tmp"), 0o600, text)?;
    }
    Ok(())
}

/// Deletes the files of a week.
///
/// # Errors
/// If there is one that cannot be deleted.
pub(super) fn delete(folder: &Path, week: Week) -> io::Result<()> {
    Form::ALL.iter().try_for_each(|form| whole_file::remove(&path(folder, week, *form)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::journal::PostState;

    #[test]
    fn the_files_are_the_texts_for_the_owner_only_and_replace_what_was_there() {
        let folder = std::env::temp_dir().join(format!("mana-reports-{}", uuid::Uuid::now_v7()));
        let week: Week = "2026-W46".parse().unwrap();
        let mut report = StoredReport {
            week,
            written_at: jiff::Timestamp::UNIX_EPOCH,
            post: PostState::None,
            html: "<p>".into(),
            markdown: "# `".into(),
            json: "{}".into(),
        };
        assert!(is_missing(&folder, week));
        write(&folder, &report).unwrap();
        assert!(!is_missing(&folder, week));
        fs::write(path(&folder, week, Form::Json), "").unwrap();
        assert!(is_missing(&folder, week), "one is empty");
        let kept = folder.join("kept");
        fs::write(&kept, "kept").unwrap();
        let page = path(&folder, week, Form::Html);
        fs::remove_file(&page).unwrap();
        // A link to another file, and what a killed process has left.
        symlink(&kept, &page).unwrap();
        symlink(&kept, page.with_added_extension("tmp")).unwrap();
        report.html = "<p>2".into();
        write(&folder, &report).unwrap();
        for (form, text) in [(Form::Html, "<p>2"), (Form::Markdown, "# `"), (Form::Json, "{}")] {
            let path = path(&folder, week, form);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
            assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        assert_eq!(fs::read_dir(folder.join(FOLDER)).unwrap().count(), 3, "nothing is left over");
        for _ in 0..2 {
            delete(&folder, week).unwrap();
        }
        assert_eq!(fs::read_dir(folder.join(FOLDER)).unwrap().count(), 0);
        fs::remove_dir_all(&folder).unwrap();
    }
}
