//! Writes files as a whole: nobody reads a part of one, and what was there stays if the new text cannot be written.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Replaces `file`, or creates it with these permissions (less those of the umask). The text is written to the file
/// `beside` first, in the same folder. It is on the disk before it takes the place of `file`, so that a loss of power
/// leaves the earlier text or the new one.
///
/// # Errors
/// If one of the two files cannot be written. `beside` is gone then too.
pub(crate) fn replace(file: &Path, beside: &Path, mode: u32, text: &str) -> io::Result<()> {
    remove(beside)?;
    // `create_new` follows no link that somebody has put there.
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(beside)?;
    let written = write(made, text).and_then(|()| fs::rename(beside, file));
    if written.is_err() {
        // The first error counts.
        let _ = fs::remove_file(beside);
    }
    written
}

fn write(mut file: fs::File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Deletes a file, if there is one.
///
/// # Errors
/// If it cannot be deleted.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_and_no_link_is_followed_and_nothing_is_left_of_a_failure() {
        let folder = std::env::temp_dir().join(format!("mana-whole-{}", uuid::Uuid::now_v7()));
        fs::create_dir(&folder).unwrap();
        let [file, beside, kept] = ["file", "file.tmp", "kept"].map(|name| folder.join(name));
        fs::write(&kept, "kept").unwrap();
        symlink(&kept, &file).unwrap();
        symlink(&kept, &beside).unwrap();
        replace(&file, &beside, 0o600, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::symlink_metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // A folder is in the place of the file.
        fs::create_dir(folder.join("taken")).unwrap();
        replace(&folder.join("taken"), &beside, 0o600, "new").unwrap_err();
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "nothing is left over");
        for _ in 0..2 {
            remove(&file).unwrap();
        }
        assert!(!file.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
