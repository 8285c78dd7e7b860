//! Enums whose values each have a word.

/// An enum whose values each have a word, under which they are stored, shown and counted.
pub(crate) trait Label: Copy + Sized + 'static {
    /// All values, in the order of their declaration.
    const ALL: &'static [Self];

    /// The word of this value.
    fn as_str(self) -> &'static str;

    /// The value with this word; `None` if there is none.
    fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|value| value.as_str() == word)
    }
}

/// Declares an enum with a word for each value, and implements [`Label`] for it.
macro_rules! labels {
    ($(#[$meta:meta])* $vis:vis $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        $vis enum $name { $($(#[$variant_meta])* $variant),* }

        impl $name {
            /// The word under which this value is stored, shown and counted.
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
