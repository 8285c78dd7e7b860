//! The interface to the account of a run, which is asked before money is spent and is told the actual cost.

use jiff::Timestamp;

use super::Reply;
use crate::domain::Usd;

/// Keeps the account of a run. It is asked before every request, retries included.
pub trait Meter: Sync {
    /// The money that the run may still spend.
    fn left(&self) -> Usd;

    /// Reserves the money for a request that is about to be sent. If the future is dropped, nothing stays
    /// reserved.
    ///
    /// # Errors
    /// When the request must not be sent.
    fn reserve(
        &self,
        price: Price,
    ) -> impl Future<Output = Result<impl Reservation, NotPaid>> + Send;
}

/// Money for one request. If it is dropped without being settled, it is given back if the request was not
/// sent, and counts as lost otherwise.
#[must_use]
pub trait Reservation: Send + Sync {
    /// Notes that the request is sent, and may be billed from now on.
    fn send(&self);

    /// Books how the request was billed.
    fn settle(self, bill: Bill<'_>) -> impl Future<Output = ()> + Send;
}

/// What a request may cost.
#[derive(Clone, Copy, Debug)]
pub struct Price {
    /// The most that the request may cost.
    pub most: Usd,
    /// The part of the run's money that must be left after the request.
    pub spare: Usd,
    /// The most that the request might cost with a short system prompt and no history. If not even this
    /// amount is left, there is no room for the request of any run.
    pub ordinary: Usd,
}

/// How a request was billed.
#[derive(Clone, Copy, Debug)]
pub enum Bill<'a> {
    /// There was a reply, which says what it cost.
    Replied(&'a Reply),
    /// The request was refused or did not arrive, so nothing is owed.
    Free,
    /// There was no readable answer; the request may have been billed.
    Lost,
}

/// Why a request must not be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPaid {
    /// The request does not fit under a cap.
    #[error("{variable} leaves no room for another model request")]
    Budget {
        /// The variable that sets the cap.
        variable: &'static str,
        /// When the persona has money again, if the cap is that of this persona alone.
        persona_broke_until: Option<Timestamp>,
    },
    /// The request costs too much for a cap under which other requests may still fit.
    #[error("a model request of this run may cost {most}, more than {variable} has left for it")]
    TooDear {
        /// The variable that sets the cap.
        variable: &'static str,
        /// The most that the request may cost.
        most: Usd,
    },
    /// The reservation could not be written to the journal before the request, for this reason.
    #[error("no model request without a record of it: {0}")]
    Unrecorded(String),
    /// The conversation must end after its current turn.
    #[error("the run is to end after its current turn")]
    Paused,
}
