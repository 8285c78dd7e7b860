//! Captures what the daemon logs during a test.

use std::{
    cell::RefCell,
    io,
    str::FromStr,
    sync::{Arc, Mutex, Once, PoisonError},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, filter::dynamic_filter_fn, fmt, layer::SubscriberExt, registry, util::SubscriberInitExt,
};

thread_local! {
    /// The level and the text of this thread's capture, if there is one.
    static CAPTURE: RefCell<Option<(LevelFilter, Text)>> = const { RefCell::new(None) };
    /// Parts of lines: the next line that contains one of them panics instead of being captured.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// The lines that this test's thread has logged since the capture began. A `#[tokio::test]` runs all of its
/// tasks on one thread, including those of the daemon.
pub(crate) struct Logs {
    text: Text,
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

/// Writes log lines to the capture of the current thread.
struct ToCapture;

impl io::Write for ToCapture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let planned = PANICS.with_borrow_mut(|panics| {
            let place = panics.iter().position(|part| line.contains(part));
            place.map(|place| panics.remove(place))
        });
        if let Some(part) = planned {
            panic!("planned by the test, at {part:?}");
        }
        CAPTURE.with_borrow(|capture| {
            if let Some((_, Text(text))) = capture {
                text.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            }
        });
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logs {
    /// Captures the lines of this level and above.
    pub(crate) fn capture(level: &str) -> Self {
        install();
        let (text, level) = (Text::default(), LevelFilter::from_str(level).unwrap());
        CAPTURE.set(Some((level, text.clone())));
        Self { text }
    }

    /// Makes the code panic that logs the next line containing `part`: the daemon has no switch for a panic.
    pub(crate) fn panic_at(&self, part: &str) {
        PANICS.with_borrow_mut(|panics| panics.push(part.to_owned()));
    }

    /// The lines that contain `part`.
    pub(crate) fn lines_with(&self, part: &str) -> Vec<String> {
        let bytes = self.text.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        CAPTURE.set(None);
        PANICS.take();
    }
}

/// One subscriber for all threads: if each test had its own, tracing would for a moment lose the interests of
/// the other tests' subscribers whenever one is added or removed.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let is_captured = dynamic_filter_fn(|metadata, _| {
            CAPTURE.with_borrow(|capture| {
                capture.as_ref().is_some_and(|(level, _)| metadata.level() <= level)
            })
        });
        let layer = fmt::layer().with_ansi(false).with_writer(|| ToCapture);
        registry().with(layer.with_filter(is_captured)).init();
    });
}
