//! What the daemon logs during a test.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::EnvFilter;

/// The lines logged by this test's thread since the capture began. A `#[tokio::test]` runs all its
/// tasks on one thread, the daemon's among them.
pub struct Logs {
    text: Text,
    _capturing: DefaultGuard,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logs {
    /// Captures what passes these directives of `RUST_LOG`.
    pub fn capture(directives: &str) -> Self {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(directives))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { text, _capturing: tracing::subscriber::set_default(subscriber) }
    }

    /// The lines that contain `part`.
    pub fn lines_with(&self, part: &str) -> Vec<String> {
        let bytes = self.text.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}
