//! The begin and the end of the times in which nobody is called: a pause, and a stop of the model. The absences of
//! such a time follow from the two, because nobody asks who is due meanwhile.

use jiff::{SignedDuration, Timestamp};
use tokio::sync::Mutex;

use crate::journal::{HaltKind, Journal, JournalError};

/// For how long after its last tick a process may have been up: a tick is noted once an hour.
const UP: SignedDuration = SignedDuration::from_hours(1);

/// What the journal says of the halts, as far as this process has written it.
#[derive(Debug)]
pub(super) struct Halts {
    /// Until when the process before may have been up, by mana-auth's time; `None` if there was none.
    ended: Option<Timestamp>,
    written: Mutex<Written>,
}

/// Whether each halt is under way; `None` before this process has written it.
#[derive(Debug, Default)]
struct Written {
    paused: Option<bool>,
    model_stopped: Option<bool>,
}

impl Halts {
    /// Starts after a process whose last tick was at this time.
    pub(super) fn after(last_tick: Option<Timestamp>) -> Self {
        let ended = last_tick.map(|at| at.checked_add(UP).unwrap_or(Timestamp::MAX));
        Self { ended, written: Mutex::default() }
    }

    /// Writes which halts have begun or ended by mana-auth's time `at`. The first call of a process ends the halts of
    /// the process before, at the latest when that process may have been up last: a halt that goes on begins anew then,
    /// because nobody was paused while nobody was up. What cannot be written is written by a later call.
    pub(super) async fn note(
        &self,
        journal: &Journal,
        paused: bool,
        model_stopped: bool,
        at: Timestamp,
    ) {
        let mut written = self.written.lock().await;
        let Written { paused: was_paused, model_stopped: was_stopped } = &mut *written;
        for (kind, before, now) in [
            (HaltKind::Paused, was_paused, paused),
            (HaltKind::ModelStopped, was_stopped, model_stopped),
        ] {
            if *before == Some(now) {
                continue;
            }
            let noted = async {
                if before.is_none()
                    && let Some(ended) = self.ended.filter(|ended| *ended < at)
                {
                    journal.end_halt(kind, ended).await?;
                }
                match now {
                    true => journal.begin_halt(kind, at).await,
                    false => journal.end_halt(kind, at).await,
                }
            };
            *before = noted.await.inspect_err(warn).is_ok().then_some(now).or(*before);
        }
    }
}

fn warn(error: &JournalError) {
    tracing::warn!("{error}; the journal does not know yet whether anybody is called");
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    #[tokio::test]
    async fn what_cannot_be_written_is_written_later_and_what_has_not_changed_is_not_written() {
        let (journal, halts) = (Journal::in_memory().await.unwrap(), Halts::after(None));
        let is_written = async |paused, stopped| {
            journal.spoil("PRAGMA query_only = ON").await;
            halts.note(&journal, paused, stopped, NOON).await;
            let is_tried = journal.trouble().is_some();
            journal.spoil("PRAGMA query_only = OFF").await;
            journal.check_writable().await.unwrap();
            is_tried
        };
        assert!(is_written(false, false).await, "a halt of an earlier process may be over");
        for (paused, stopped) in [(false, false), (true, false), (true, true), (false, true)] {
            assert!(is_written(paused, stopped).await);
            halts.note(&journal, paused, stopped, NOON + SignedDuration::from_mins(1)).await;
            assert!(!is_written(paused, stopped).await);
        }
    }
}
