//! The queue of log lines, which has a limit, and the thread that writes them.
//!
//! A reader that stalls can block a write to its pipe without a time limit. Only the writer thread waits for
//! the reader. When the queue is full, lines are dropped and counted: a gap in the log is better than a
//! daemon that stands still. tracing-appender has a similar queue, but limits the number of lines and not
//! their length; and at the end of the process it prints to the output that is blocked.

use std::{
    io::Write,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

/// Capacity of the queue in bytes, without the lines that are being written.
const CAPACITY: usize = 1 << 20;
/// Further bytes for lines of panics, and for the line that reports how many lines were dropped.
const RESERVE: usize = 64 << 10;
/// Name of the writer thread.
pub(super) const WRITER: &str = "log-writer";

/// The queue of lines that are not written yet, in order.
pub(super) struct Lines {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// How many lines were dropped or could not be written, since the last call of [`Self::take_dropped`].
    dropped: AtomicU64,
}

struct Queue {
    /// Whole lines, each with its line feed.
    text: Vec<u8>,
    /// How many lines were dropped since the writer last took lines.
    dropped: u64,
    /// Whether the writer is writing lines that it has taken.
    writing: bool,
}

impl Lines {
    pub(super) const fn new() -> Self {
        let queue = Queue { text: Vec::new(), dropped: 0, writing: false };
        Self { queue: Mutex::new(queue), changed: Condvar::new(), dropped: AtomicU64::new(0) }
    }

    /// Adds a line to the queue, or drops it if the queue is full. Never waits for the reader.
    pub(super) fn push(&self, line: &[u8]) {
        let mut queue = self.queue.lock();
        let needed = queue.text.len() + line.len();
        if needed <= CAPACITY || (may_use_reserve() && needed <= CAPACITY + RESERVE) {
            queue.text.extend_from_slice(line);
            drop(queue);
            self.changed.notify_all();
        } else {
            queue.dropped += 1;
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes lines to `out` until the end of the process. After lines were lost, `report_lost` is called
    /// with their number as soon as a write succeeds. While writes fail, the report could not be written
    /// either.
    pub(super) fn write_to(&self, mut out: impl Write, report_lost: impl Fn(u64)) -> ! {
        let mut lost = 0;
        loop {
            let (text, dropped) = self.take();
            lost += dropped;
            if out.write_all(&text).and_then(|()| out.flush()).is_err() {
                let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.dropped.fetch_add(lines, Ordering::Relaxed);
                lost += lines;
            } else if lost > 0 {
                report_lost(lost);
                lost = 0;
            }
        }
    }

    /// Waits for lines and takes them all. The number is how many lines were dropped after them.
    fn take(&self) -> (Vec<u8>, u64) {
        let mut queue = self.queue.lock();
        queue.writing = false;
        self.changed.notify_all();
        self.changed.wait_while(&mut queue, |queue| queue.text.is_empty());
        queue.writing = true;
        (std::mem::take(&mut queue.text), std::mem::take(&mut queue.dropped))
    }

    /// Waits until all lines are written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let is_behind = |queue: &mut Queue| queue.writing || !queue.text.is_empty();
        self.changed.wait_while_for(&mut self.queue.lock(), is_behind, limit);
    }

    /// How many lines were lost since the last call.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

/// Whether the lines of this thread may use the reserve: a panicking thread and the writer thread.
fn may_use_reserve() -> bool {
    thread::panicking() || thread::current().name() == Some(WRITER)
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, mpsc},
        time::Instant,
    };

    use super::*;

    /// Timeout of every wait. It is reached only if the test fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// An output that the test controls. Each write waits for its result from `may_end`, and then sends the
    /// written text to `written`.
    struct Gated {
        may_end: mpsc::Receiver<io::Result<()>>,
        written: mpsc::Sender<String>,
    }

    impl Write for Gated {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.may_end.recv().expect("the test goes on")?;
            self.written.send(String::from_utf8(text.to_vec()).unwrap()).unwrap();
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Fixture {
        lines: Arc<Lines>,
        end_write: mpsc::Sender<io::Result<()>>,
        written: mpsc::Receiver<String>,
    }

    impl Fixture {
        /// A queue whose writer is writing the line "first" and is blocked.
        fn stalled() -> Self {
            let (end_write, may_end) = mpsc::channel();
            let (sent, written) = mpsc::channel();
            let lines = Arc::new(Lines::new());
            let queue = lines.clone();
            let report_lost = {
                let lines = lines.clone();
                move |lost| lines.push(format!("lost {lost}\n").as_bytes())
            };
            let out = Gated { may_end, written: sent };
            let write = move || -> () { queue.write_to(out, report_lost) };
            thread::Builder::new().name(WRITER.into()).spawn(write).unwrap();
            let log = Self { lines, end_write, written };
            log.push_and_see_taken("first\n");
            log
        }

        /// Pushes a line and waits until the writer has begun to write it.
        fn push_and_see_taken(&self, line: &str) {
            self.lines.push(line.as_bytes());
            let begun = Instant::now();
            while !self.lines.queue.lock().text.is_empty() {
                assert!(begun.elapsed() < PATIENCE, "the writer does not take {line}");
                thread::yield_now();
            }
        }

        /// Lets one write succeed and returns what it wrote.
        fn read(&self) -> String {
            self.end_write.send(Ok(())).unwrap();
            self.written.recv_timeout(PATIENCE).expect("something is written")
        }
    }

    /// A line with this number. Its length is a thousandth of the queue's capacity.
    fn line(number: usize) -> String {
        format!("{number:>width$}\n", width = CAPACITY / 1_000 - 1)
    }

    #[test]
    fn a_reader_that_stalls_loses_lines_and_is_told_how_many() {
        let log = Fixture::stalled();
        for number in 0..1_500 {
            log.lines.push(line(number).as_bytes());
        }
        let kept = CAPACITY / line(0).len();
        let lost = 1_500 - kept;
        assert_eq!(log.lines.take_dropped(), lost as u64);
        assert_eq!(log.lines.take_dropped(), 0, "each is counted once");
        assert_eq!(log.read(), "first\n");
        let expected: String = (0..kept).map(line).collect();
        assert!(log.read() == expected, "what was there first is kept, in order");
        assert_eq!(log.read(), format!("lost {lost}\n"));
        log.lines.push(b"after\n");
        assert_eq!(log.read(), "after\n", "it is told once");
    }

    #[test]
    fn a_panic_finds_room_where_nothing_else_does() {
        struct TellsWhenDropped(Arc<Lines>);
        impl Drop for TellsWhenDropped {
            fn drop(&mut self) {
                self.0.push(b"panic\n");
            }
        }
        let log = Fixture::stalled();
        (0..1_500).for_each(|number| log.lines.push(line(number).as_bytes()));
        let tells = TellsWhenDropped(log.lines.clone());
        let panics = thread::spawn(move || {
            let _tells = tells;
            panic!("as this test wants it");
        });
        assert!(panics.join().is_err());
        assert_eq!(log.read(), "first\n");
        assert!(log.read().ends_with("\npanic\n"));
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_told_once_some_can() {
        let log = Fixture::stalled();
        let fail = |kind: io::ErrorKind| log.end_write.send(Err(kind.into())).unwrap();
        fail(io::ErrorKind::StorageFull);
        log.push_and_see_taken("second\n");
        fail(io::ErrorKind::BrokenPipe);
        log.push_and_see_taken("third\n");
        assert_eq!(log.read(), "third\n");
        assert_eq!(log.read(), "lost 2\n");
        assert_eq!(log.lines.take_dropped(), 2);
    }

    #[test]
    fn waiting_for_the_last_line_ends_with_it_or_at_the_limit() {
        let log = Fixture::stalled();
        log.lines.push(b"second\n");
        log.lines.flush(Duration::from_millis(10));
        assert!(log.lines.queue.lock().writing, "it was the limit that ended it");
        let (lines, (done, ended)) = (log.lines.clone(), mpsc::channel());
        thread::spawn(move || {
            lines.flush(PATIENCE * 2);
            done.send(()).unwrap();
        });
        assert_eq!(log.read(), "first\n");
        assert!(ended.try_recv().is_err(), "a line is left");
        assert_eq!(log.read(), "second\n");
        ended.recv_timeout(PATIENCE).expect("nothing is left");
    }
}
