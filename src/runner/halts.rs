//! The begin and the end of the times in which nobody is called: a pause, and a stop of the model. The absences of
//! such a time follow from the two, because nobody asks who is due meanwhile.

use jiff::Timestamp;
use tokio::sync::Mutex;

use crate::journal::{HaltKind, Journal, JournalError};

/// What the journal says of the halts, as far as this process has written it.
#[derive(Debug, Default)]
pub(super) struct Halts(Mutex<Written>);

/// Whether each halt is under way; `None` before this process has written it.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    paused: Option<bool>,
    model_stopped: Option<bool>,
}

impl Halts {
    /// Writes which halts have begun or ended by mana-auth's time `at`. The first call of a process ends the halts of
    /// an earlier process that are over. What cannot be written is written by a later call.
    pub(super) async fn note(
        &self,
        journal: &Journal,
        paused: bool,
        model_stopped: bool,
        at: Timestamp,
    ) {
        let mut written = self.0.lock().await;
        let Written { paused: was_paused, model_stopped: was_stopped } = &mut *written;
        for (kind, before, now) in [
            (HaltKind::Paused, was_paused, paused),
            (HaltKind::ModelStopped, was_stopped, model_stopped),
        ] {
            if *before == Some(now) {
                continue;
            }
            let noted = match now {
                true => journal.begin_halt(kind, at).await,
                false => journal.end_halt(kind, at).await,
            };
            *before = noted.inspect_err(warn).is_ok().then_some(now).or(*before);
        }
    }
}

fn warn(error: &JournalError) {
    tracing::warn!("{error}; the journal does not know yet whether anybody is called");
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_795_262_400, 0);

    #[tokio::test]
    async fn what_cannot_be_written_is_written_later_and_what_has_not_changed_is_not_written() {
        let (journal, halts) = (Journal::in_memory().await.unwrap(), Halts::default());
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
