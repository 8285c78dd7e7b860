//! How often a run may need another session, and another JWT.

/// Lost sessions that end a run: a server that keeps losing them gets no further calls.
const MAX_LOST: u32 = 3;
/// Fresh JWTs of a run.
const MAX_FRESH_JWTS: u32 = 10;

/// What a run has used up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    lost: u32,
    fresh_jwts: u32,
    no_more_jwts: bool,
}

impl Tally {
    /// One more session was lost.
    pub(super) fn note_loss(&mut self) {
        self.lost += 1;
    }

    /// Whether so many sessions were lost that there is to be no further one.
    pub(super) fn is_over(&self) -> bool {
        self.lost >= MAX_LOST
    }

    /// Whether another JWT may be asked for; if so, it counts whatever comes of it.
    pub(super) fn take_jwt(&mut self) -> bool {
        let may = !self.no_more_jwts && self.fresh_jwts < MAX_FRESH_JWTS;
        self.fresh_jwts += u32::from(may);
        may
    }

    /// mana-auth gave none and would say the same again. Asking on could lock the account.
    pub(super) fn note_final_refusal(&mut self) {
        self.no_more_jwts = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_third_lost_session_is_the_last() {
        let mut tally = Tally::default();
        let over = [(); 3].map(|()| {
            tally.note_loss();
            tally.is_over()
        });
        assert_eq!(over, [false, false, true]);
    }

    #[test]
    fn ten_jwts_are_asked_for_and_none_after_a_final_refusal() {
        let mut tally = Tally::default();
        assert_eq!((0..20).filter(|_| tally.take_jwt()).count(), 10);
        assert!(!tally.is_over(), "they do not count as lost sessions");
        let mut refused = Tally::default();
        assert!(refused.take_jwt());
        refused.note_final_refusal();
        assert!(!refused.take_jwt());
    }
}
