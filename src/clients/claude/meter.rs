//! Who is asked before money is spent, and told what came of it.

use jiff::Timestamp;

use super::Reply;
use crate::domain::Usd;

/// Keeps the account of a run. Asked before every request, retries included.
pub trait Meter: Sync {
    /// What the run may still cost.
    fn left(&self) -> Usd;

    /// A request is about to be sent that may cost so much. Dropped on the way, nothing stays reserved.
    ///
    /// # Errors
    /// When it must not be sent.
    fn reserve(
        &self,
        price: Price,
    ) -> impl Future<Output = Result<impl Reservation, NotPaid>> + Send;
}

/// Money for one request. Dropped without being settled, it is given back if the request was not sent, and
/// else counts as lost.
#[must_use]
pub trait Reservation: Send + Sync {
    /// From now on the request may be billed.
    fn send(&self);

    /// What came of the request.
    fn settle(self, bill: Bill<'_>) -> impl Future<Output = ()> + Send;
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    /// At most.
    pub most: Usd,
    /// What must be left beside it of the run's money.
    pub spare: Usd,
    /// What it might cost at most with a short system prompt and no history: where not even that much is
    /// left, nobody's request fits.
    pub ordinary: Usd,
}

/// What came of a request, as far as money goes.
#[derive(Clone, Copy, Debug)]
pub enum Bill<'a> {
    /// A reply, which says what it cost.
    Replied(&'a Reply),
    /// It was refused, or never arrived: nothing is owed.
    Free,
    /// No readable answer, which may have been billed.
    Lost,
}

/// Why a request must not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaid {
    /// It does not fit under a cap.
    #[error("{variable} leaves no room for another model request")]
    Budget {
        /// The variable that sets the cap.
        variable: &'static str,
        /// If it is the cap of this persona alone: when the persona has money again.
        persona_broke_until: Option<Timestamp>,
    },
    /// It is too dear for a cap that others may still fit under.
    #[error("a model request of this run may cost {most}, more than {variable} has left for it")]
    TooDear {
        /// The variable that sets the cap.
        variable: &'static str,
        /// What the request may cost.
        most: Usd,
    },
    /// It could not be written down first.
    #[error("no model request without a record of it: {reason}")]
    Unrecorded {
        /// Why it could not.
        reason: String,
    },
    /// The conversation is to end here.
    #[error("the run is to end after its current turn")]
    Paused,
}
