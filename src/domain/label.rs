//! Closed sets of values that each go by a word.

/// One of a closed set, with the word it is stored, shown and counted under.
pub(crate) trait Label: Copy + Sized + 'static {
    /// All values.
    const ALL: &'static [Self];

    /// Its word.
    fn as_str(self) -> &'static str;

    /// The value that goes by this word.
    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == word)
    }
}

/// Declares such a set.
macro_rules! labels {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// Its word.
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }

        impl $crate::domain::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),*];

            fn as_str(self) -> &'static str {
                self.as_str()
            }
        }
    };
}

pub(crate) use labels;
