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

/// Reads and writes a label as its word, for `#[serde(with = "word")]`.
pub(crate) mod word {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Label;

    pub(crate) fn serialize<L: Label, S: Serializer>(
        label: &L,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(label.as_str())
    }

    pub(crate) fn deserialize<'de, L: Label, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<L, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        L::parse(&text).ok_or_else(|| {
            let words: Vec<_> = L::ALL.iter().map(|label| label.as_str()).collect();
            D::Error::custom(format_args!("expected one of {}", words.join(", ")))
        })
    }
}

/// Like [`word`], for an `Option`.
pub(crate) mod optional_word {
    use serde::{Deserialize, Deserializer, Serializer, de::IntoDeserializer};

    use super::{Label, word};

    pub(crate) fn serialize<L: Label, S: Serializer>(
        label: &Option<L>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match label {
            Some(label) => word::serialize(label, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, L: Label, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<L>, D::Error> {
        let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.map(|text| word::deserialize(text.into_owned().into_deserializer())).transpose()
    }
}

pub(crate) use labels;
