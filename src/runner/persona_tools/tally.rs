//! Limits how many sessions a run may lose and how many fresh JWTs it may request.

/// The session losses and fresh JWTs that a run has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    /// How many more sessions may be lost. At zero the run makes no further calls.
    losses: u32,
    /// How many more JWTs may be requested.
    fresh_jwts: u32,
}

impl Tally {
    /// The limits at the beginning of a run.
    pub(super) const FULL: Self = Self { losses: 3, fresh_jwts: 10 };

    /// Counts a lost session. Returns whether no further session may be opened.
    pub(super) fn note_loss(&mut self) -> bool {
        self.losses = self.losses.saturating_sub(1);
        self.is_over()
    }

    /// Whether so many sessions were lost that no further one may be opened.
    pub(super) fn is_over(&self) -> bool {
        self.losses == 0
    }

    /// Takes one fresh JWT from the limit, whether the login then succeeds or not. Returns false if none is
    /// left.
    pub(super) fn take_jwt(&mut self) -> bool {
        let left = self.fresh_jwts.checked_sub(1);
        self.fresh_jwts = left.unwrap_or_default();
        left.is_some()
    }

    /// Notes that mana-auth refused the login for good. Further attempts could lock the account.
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
