//! The languages that people read reports in.

use super::labels;

labels! {
    /// The language of a report.
    pub Language {
        /// German, because the product and its personas speak it.
        German = "de",
        /// English.
        English = "en",
    }
}
