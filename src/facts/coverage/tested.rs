//! Which modules and tools were tested.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    domain::{ToolName, labels, word},
    facts::line,
};

/// Fewer runs say too little.
pub(in crate::facts) const FEWEST_RUNS: u32 = 5;
/// Fewer personas say too little.
pub(in crate::facts) const FEWEST_PERSONAS: usize = 2;

labels! {
    /// What is known about a module.
    pub ModuleStatus {
        /// Used and rated.
        Rated = "rated",
        /// Used, and no rating can be relied on.
        Used = "used",
        /// Offered and not used.
        Unused = "unused",
        /// Not in the catalog, or hidden by the runner.
        NotOffered = "not-offered",
        /// Used in fewer than 5 runs or by fewer than 2 personas.
        TooFew = "too-few",
    }
}

impl ModuleStatus {
    /// Whether the module was used enough that its runs say something about it.
    pub fn is_tested(self) -> bool {
        matches!(self, Self::Rated | Self::Used)
    }
}

labels! {
    /// Why a module or a tool counts as not tested.
    pub WhyNotTested {
        /// Not in the catalog, or hidden by the runner.
        NotOffered = "not-offered",
        /// Offered and not used.
        Unused = "unused",
        /// Used, and no rating can be relied on. Of modules only.
        Unrated = "unrated",
        /// Used in fewer than 5 runs or by fewer than 2 personas.
        TooFew = "too-few",
    }
}

/// A module or a tool that was not tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotTested {
    /// What was not tested.
    #[serde(flatten)]
    pub subject: Subject,
    /// Why not.
    #[serde(serialize_with = "word::serialize")]
    pub why: WhyNotTested,
}

/// A module or a tool.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// The name of a module.
    Module(String),
    /// The name of a tool.
    Tool(String),
}

/// Collects catalogs and uses, in any order.
#[derive(Clone, Debug, Default)]
pub struct Tested {
    modules: BTreeMap<String, Use>,
    tools: BTreeMap<String, Use>,
    is_catalog_known: bool,
}

/// How a module or a tool was used.
#[derive(Clone, Debug, Default)]
struct Use {
    is_offered: bool,
    runs: u32,
    personas: BTreeSet<u32>,
    ratings: u32,
}

impl Use {
    /// Whether it was offered and used enough; the reason if not.
    fn shortage(&self) -> Option<WhyNotTested> {
        match self.runs {
            0 if self.is_offered => Some(WhyNotTested::Unused),
            0 => Some(WhyNotTested::NotOffered),
            runs if runs < FEWEST_RUNS || self.personas.len() < FEWEST_PERSONAS => {
                Some(WhyNotTested::TooFew)
            }
            _ => None,
        }
    }

    /// Why a module with this use was not tested.
    fn module_why(&self) -> Option<WhyNotTested> {
        self.shortage().or((self.ratings == 0).then_some(WhyNotTested::Unrated))
    }

    fn add(&mut self, persona: u32) {
        self.runs += 1;
        self.personas.insert(persona);
    }
}

impl Tested {
    /// Adds the tools that runs of the window were offered, and those that were hidden from them. A tool that is in both
    /// lists was hidden.
    pub fn catalog(&mut self, catalog: &line::Catalog) {
        self.is_catalog_known = true;
        let hidden: BTreeSet<_> = catalog.hidden.iter().collect();
        let offered = catalog.tools.iter().map(|tool| (&tool.name, !hidden.contains(&tool.name)));
        let hidden = catalog.hidden.iter().map(|name| (name, false));
        for (name, is_offered) in offered.chain(hidden) {
            self.tools.entry(name.clone()).or_default().is_offered |= is_offered;
            self.modules.entry(module_of(name)).or_default().is_offered |= is_offered;
        }
    }

    /// Adds a module that a persona likes, so that it appears also if it is in no catalog.
    pub fn favourite(&mut self, module: &str) {
        self.modules.entry(module.to_owned()).or_default();
    }

    /// Adds a run of `persona` (the caller's number) that was exposed to a tool of the module.
    pub fn used_module(&mut self, module: &str, persona: u32) {
        self.modules.entry(module.to_owned()).or_default().add(persona);
    }

    /// Adds a module that a run names. `is_rated`: the run has a rating of the module that names calls of the module.
    pub fn named_module(&mut self, module: &str, is_rated: bool) {
        self.modules.entry(module.to_owned()).or_default().ratings += u32::from(is_rated);
    }

    /// Adds a run of `persona` (the caller's number) that was exposed to the tool.
    pub fn used_tool(&mut self, tool: &str, persona: u32) {
        self.tools.entry(tool.to_owned()).or_default().add(persona);
    }

    /// Whether any list of tools was added.
    pub fn is_catalog_known(&self) -> bool {
        self.is_catalog_known
    }

    /// The status of each module, by name.
    pub fn modules(&self) -> impl Iterator<Item = (&str, ModuleStatus)> {
        self.modules.iter().map(|(name, of)| {
            let status = match of.module_why() {
                None => ModuleStatus::Rated,
                Some(WhyNotTested::Unrated) => ModuleStatus::Used,
                Some(WhyNotTested::Unused) => ModuleStatus::Unused,
                Some(WhyNotTested::NotOffered) => ModuleStatus::NotOffered,
                Some(WhyNotTested::TooFew) => ModuleStatus::TooFew,
            };
            (name.as_str(), status)
        })
    }

    /// The tools by name, each with why its use says too little; `None` if it says enough.
    pub fn tools(&self) -> impl Iterator<Item = (&str, Option<WhyNotTested>)> {
        self.tools.iter().map(|(name, of)| (name.as_str(), of.shortage()))
    }

    /// The modules that were not tested, by name, and then the tools, by name. A tool for which its module's reason
    /// holds as well is left out.
    pub fn not_tested(&self) -> Vec<NotTested> {
        let modules = self.modules.iter().filter_map(|(name, of)| {
            Some(NotTested { subject: Subject::Module(name.clone()), why: of.module_why()? })
        });
        let tools = self.tools.iter().filter_map(|(name, of)| {
            let why = of.shortage()?;
            let of_module = self.modules.get(&module_of(name)).and_then(Use::module_why);
            let subject = Subject::Tool(name.clone());
            (of_module != Some(why)).then_some(NotTested { subject, why })
        });
        modules.chain(tools).collect()
    }
}

fn module_of(tool: &str) -> String {
    ToolName::new(tool).module().as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(tools: &[&str], hidden: &[&str]) -> line::Catalog {
        let tool =
            |name: &&str| line::CatalogTool { name: (*name).to_owned(), hash: String::new() };
        line::Catalog {
            id: "c".to_owned(),
            tools: tools.iter().map(tool).collect(),
            hidden: hidden.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn use_module(tested: &mut Tested, module: &str, personas: &[u32], is_rated: bool) {
        for persona in personas {
            tested.used_module(module, *persona);
            tested.named_module(module, is_rated);
        }
    }

    fn status(tested: &Tested, module: &str) -> ModuleStatus {
        tested.modules().find(|(name, _)| *name == module).unwrap().1
    }

    #[test]
    fn every_module_appears_with_a_word() {
        let mut tested = Tested::default();
        tested.catalog(&catalog(&["todo.list", "notes.add", "vault.open"], &["mail.send"]));
        tested.favourite("habits");
        tested.favourite("todo");
        use_module(&mut tested, "todo", &[0, 0, 0, 1, 1], true);
        use_module(&mut tested, "notes", &[0, 0, 0, 1, 1], false);
        let all: Vec<_> = tested.modules().map(|(name, status)| (name, status.as_str())).collect();
        let expected = [
            ("habits", "not-offered"),
            ("mail", "not-offered"),
            ("notes", "used"),
            ("todo", "rated"),
            ("vault", "unused"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn fewer_than_five_runs_or_two_personas_are_too_few_also_if_they_are_rated() {
        let mut tested = Tested::default();
        use_module(&mut tested, "four", &[0, 1, 2, 3], true);
        use_module(&mut tested, "one", &[7; 30], true);
        use_module(&mut tested, "enough", &[0, 0, 0, 0, 1], true);
        assert_eq!(status(&tested, "four"), ModuleStatus::TooFew);
        assert_eq!(status(&tested, "one"), ModuleStatus::TooFew);
        assert_eq!(status(&tested, "enough"), ModuleStatus::Rated);
    }

    #[test]
    fn a_tool_that_one_of_several_catalogs_offers_is_offered() {
        let mut tested = Tested::default();
        tested.catalog(&catalog(&[], &["mail.send"]));
        tested.catalog(&catalog(&["mail.send"], &[]));
        tested.catalog(&catalog(&[], &["mail.send"]));
        assert_eq!(status(&tested, "mail"), ModuleStatus::Unused);
    }

    #[test]
    fn a_tool_is_listed_only_if_its_module_does_not_say_the_same() {
        let mut tested = Tested::default();
        tested
            .catalog(&catalog(&["todo.list", "todo.add", "vault.open"], &["todo.wipe", "mail.x"]));
        use_module(&mut tested, "todo", &[0, 0, 0, 1, 1], false);
        [0, 0, 0, 1, 1].iter().for_each(|persona| tested.used_tool("todo.list", *persona));
        let json = serde_json::to_value(tested.not_tested()).unwrap();
        let expected = serde_json::json!([
            {"module": "mail", "why": "not-offered"},
            {"module": "todo", "why": "unrated"},
            {"module": "vault", "why": "unused"},
            {"tool": "todo.add", "why": "unused"},
            {"tool": "todo.wipe", "why": "not-offered"},
        ]);
        assert_eq!(json, expected);
    }
}
