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
