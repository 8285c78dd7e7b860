//! How often a run may need another session, and another JWT.

/// What a run has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// Sessions that may get lost: a server that keeps losing them gets no further calls.
    losses: u32,
    fresh_jwts: u32,
}

impl Tally {
    /// At the beginning of a run.
    pub(super) const FULL: Self = Self { losses: 3, fresh_jwts: 10 };

    /// One more session was lost. Whether there is to be no further one.
    pub(super) fn note_loss(&mut self) -> bool {
        self.losses = self.losses.saturating_sub(1);
        self.is_over()
    }

    /// Whether so many sessions were lost that there is to be no further one.
    pub(super) fn is_over(&self) -> bool {
        self.losses == 0
    }

    /// Whether another JWT may be asked for; if so, it counts whatever comes of it.
    pub(super) fn take_jwt(&mut self) -> bool {
        let left = self.fresh_jwts.checked_sub(1);
        self.fresh_jwts = left.unwrap_or_default();
        left.is_some()
    }

    /// mana-auth gave none and would say the same again. Asking on could lock the account.
    pub(super) fn note_final_refusal(&mut self) {
        self.fresh_jwts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_lost_session_is_the_last() {
        let mut tally = Tally::FULL;
        assert_eq!([(); 3].map(|()| tally.note_loss()), [false, false, true]);
        assert!(tally.is_over());
    }

    #[test]
    fn ten_jwts_are_asked_for_and_none_after_a_final_refusal() {
        let mut tally = Tally::FULL;
        assert_eq!((0..20).filter(|_| tally.take_jwt()).count(), 10);
        assert!(!tally.is_over(), "they do not count as lost sessions");
        let mut refused = Tally::FULL;
        assert!(refused.take_jwt());
        refused.note_final_refusal();
        assert!(!refused.take_jwt());
    }
}
