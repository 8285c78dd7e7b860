//! A persona as mana-auth describes it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ModuleName, Redactor, labels};

/// The persona's account id in mana-auth. It can be used as one segment of a URL path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserId(String);

/// The text cannot be a user id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("userId must have 1 to 255 visible ASCII characters and not be a dot segment")]
pub struct UserIdError;

impl UserId {
    /// Checks that `id` is exactly one path segment.
    ///
    /// # Errors
    /// When `id` is empty, longer than 255 characters, `.` or `..`, or has characters outside visible ASCII.
    pub fn parse(id: &str) -> Result<Self, UserIdError> {
        let fits = (1..=255).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
        if fits && id != "." && id != ".." { Ok(Self(id.to_owned())) } else { Err(UserIdError) }
    }

    /// The id as mana-auth spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserId {
    type Error = UserIdError;

    fn try_from(id: String) -> Result<Self, UserIdError> {
        Self::parse(&id)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

labels! {
    /// How often a persona spends a day in the product. mana-auth decides who is due.
    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    pub Cadence {
        /// Due more than an hour after the last run.
        Hourly = "hourly",
        /// Due more than 24 hours after the last run.
        Daily = "daily",
        /// Due like `Daily`, but only from Monday to Friday (UTC).
        Weekdays = "weekdays",
    }
}

/// The modules that a persona likes, those with the largest weight first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleMix(Vec<(ModuleName, f64)>);

impl ModuleMix {
    /// Sorts the modules by weight, the largest first, and modules of equal weight by name, because mana-auth
    /// sends them in an arbitrary order. A module without a positive weight is not liked and is left out.
    pub fn new(weights: impl IntoIterator<Item = (ModuleName, f64)>) -> Self {
        let mut mix: Vec<_> = weights.into_iter().filter(|(_, weight)| *weight > 0.0).collect();
        mix.sort_by(|(a, wa), (b, wb)| wb.total_cmp(wa).then_with(|| a.cmp(b)));
        Self(mix)
    }

    /// The modules, those with the largest weight first.
    pub fn modules(&self) -> impl Iterator<Item = &ModuleName> {
        self.weights().map(|(module, _)| module)
    }

    /// The modules with their weights, those with the largest weight first.
    pub fn weights(&self) -> impl Iterator<Item = (&ModuleName, f64)> {
        self.0.iter().map(|(module, weight)| (module, *weight))
    }
}

/// A synthetic user with a real account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Persona {
    /// The id of the persona's account.
    pub user_id: UserId,
    /// The e-mail address that the persona logs in with. Only answers of /diag show it.
    pub email: String,
    /// Who the persona is, in its own words. This is Claude's system prompt, unchanged except for secrets.
    pub system_prompt: String,
    /// The modules that the persona likes to use.
    pub module_mix: ModuleMix,
    /// How often the persona is due.
    pub cadence: Cadence,
    /// What kind of user the persona is, in a word; only facts name it.
    #[serde(default)]
    pub archetype: Option<String>,
}

impl Persona {
    /// This persona, with secrets removed from the texts that the model is shown.
    #[must_use]
    pub fn redacted(self, redactor: &Redactor) -> Self {
        let without = |name: ModuleName| ModuleName::new(redactor.redact(name.as_str()));
        let mix = self.module_mix.0.into_iter().map(|(name, weight)| (without(name), weight));
        let module_mix = ModuleMix(mix.collect());
        let system_prompt = redactor.redact(&self.system_prompt).into_owned();
        let archetype = self.archetype.map(|kind| redactor.redact(&kind).into_owned());
        Self { system_prompt, module_mix, archetype, ..self }
    }

    /// A persona of which only the id is still known. Its rows can be handed in, and nothing else.
    pub(crate) fn known_by_id(user_id: UserId) -> Self {
        let (email, system_prompt, module_mix, archetype) = Default::default();
        Self { user_id, email, system_prompt, module_mix, cadence: Cadence::Daily, archetype }
    }

    /// How people call the persona: the local part of its e-mail.
    pub fn label(&self) -> &str {
        self.email.rsplit_once('@').map_or(&self.email, |(local, _)| local)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_heaviest_first_whatever_the_order_it_came_in() {
        let mix = ModuleMix::new(
            [("notes", 0.2), ("todo", 0.3), ("gone", 0.0), ("journal", 0.3)]
                .map(|(name, weight)| (ModuleName::new(name), weight)),
        );
        let names: Vec<_> = mix.modules().map(ModuleName::as_str).collect();
        assert_eq!(names, ["journal", "todo", "notes"]);
    }

    #[test]
    fn a_user_id_is_exactly_one_path_segment() {
        assert!(UserId::parse("ME2s-_9").is_ok());
        for bad in ["", ".", "..", "a b", "a\nb", "ü", &"x".repeat(256)] {
            assert_eq!(UserId::parse(bad), Err(UserIdError), "{bad:?}");
        }
    }
}
