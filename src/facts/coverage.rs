//! What the runs of a window covered and what not: who ran on which day, and which modules and tools were tested.
//!
//! Absence has words of its own. It is never a number and never an all-clear.

pub(super) mod days;
mod grid;
mod halts;
mod tested;

pub use days::DayStatus;
pub(super) use grid::Grid;
pub use grid::{Coverage, Day, DayCounts, PersonaDays, coverage};
pub use halts::{Halt, Member, derive_absences};
pub(super) use tested::{FEWEST_PERSONAS, FEWEST_RUNS};
pub use tested::{ModuleStatus, NotTested, Subject, Tested, WhyNotTested};
