//! The demo's command line.

const USAGE: &str = "\
usage: demo [--once] [--real-claude]
       demo --weeks N [--page]
  --once          exit after the tick instead of waiting for Ctrl-C
  --real-claude   use the real model; needs ANTHROPIC_API_KEY and costs money
  --weeks N       let N weeks pass (1 to 8), show the report of the last one and exit; not with the real model
  --page          after the weeks, show them in a browser until Ctrl-C";

/// The most weeks that the personas live.
const MOST_WEEKS: u8 = 8;

/// Environment variables that configure the real model.
const CLAUDE_VARIABLES: [&str; 4] =
    ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "ANTHROPIC_MODEL", "ANTHROPIC_EFFORT"];

/// The parsed command line of the demo.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Whether the demo exits after the tick.
    pub once: bool,
    /// How many weeks the personas live, 1 to 8; `None` for a single tick.
    pub weeks: Option<u8>,
    /// Whether the page can be read after the weeks, until Ctrl-C.
    pub page: bool,
    /// Whether the real model is used.
    pub real_claude: bool,
    /// Variables that replace those of devstack; an empty value unsets a variable.
    pub variables: Vec<(&'static str, String)>,
}

impl Options {
    /// Reads the arguments and, for the real model, the environment.
    ///
    /// # Errors
    /// The help text, or the name of the missing variable.
    pub(crate) fn from_args(
        mut args: impl Iterator<Item = String>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut options = Self::default();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--once" => options.once = true,
                "--weeks" => {
                    let weeks = args.next().and_then(|weeks| weeks.parse().ok());
                    let weeks = weeks.filter(|weeks| (1..=MOST_WEEKS).contains(weeks));
                    options.weeks = Some(weeks.ok_or(USAGE)?);
                }
                "--page" => options.page = true,
                "--real-claude" => options.real_claude = true,
                _ => return Err(USAGE.to_owned()),
            }
        }
        let is_of_weeks = options.weeks.is_some();
        if (is_of_weeks && options.real_claude) || (options.page && !is_of_weeks) {
            return Err(USAGE.to_owned());
        }
        if options.real_claude {
            options.variables =
                CLAUDE_VARIABLES.map(|name| (name, env(name).unwrap_or_default())).to_vec();
            if options.variables[0].1.is_empty() {
                return Err("--real-claude needs ANTHROPIC_API_KEY in the environment".into());
            }
        }
        Ok(options)
    }

    /// What the demo is about to do, for the first line of the output.
    pub(crate) fn headline(&self) -> &'static str {
        if self.real_claude {
            "mana-persona-runner demo: embedded mana-auth and mana-mcp, the REAL model (this costs money)"
        } else {
            "mana-persona-runner demo: embedded mana-auth and mana-mcp; the model is SCRIPTED, no key is \
             used and nothing leaves this machine"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], key: Option<&str>) -> Result<Options, String> {
        let args = args.iter().map(|arg| (*arg).to_owned());
        Options::from_args(args, |name| {
            (name == "ANTHROPIC_API_KEY").then(|| key.map(str::to_owned)).flatten()
        })
    }

    #[test]
    fn the_real_model_is_used_only_when_asked_for_and_only_with_a_key() {
        let scripted = read(&["--once"], Some("sk")).unwrap();
        assert!(scripted.once && !scripted.real_claude && scripted.variables.is_empty());
        assert!(scripted.headline().contains("SCRIPTED"));
        assert!(read(&["--real-claude"], None).unwrap_err().contains("ANTHROPIC_API_KEY"));
        let real = read(&["--real-claude"], Some("sk")).unwrap();
        assert!(real.variables.contains(&("ANTHROPIC_API_KEY", "sk".into())));
        // An empty value unsets the variable: the runner uses its own default, not devstack's URL.
        assert!(real.variables.contains(&("ANTHROPIC_BASE_URL", String::new())));
        assert!(read(&["--help"], None).unwrap_err().contains("usage"));
    }

    #[test]
    fn one_to_eight_weeks_pass_and_never_with_the_real_model() {
        for weeks in 1..=8 {
            assert_eq!(read(&["--weeks", &weeks.to_string()], None).unwrap().weeks, Some(weeks));
        }
        assert_eq!(read(&["--once"], None).unwrap().weeks, None);
        assert!(!read(&["--weeks", "4"], None).unwrap().page);
        assert!(read(&["--page", "--weeks", "4"], None).unwrap().page);
        assert_eq!(read(&["--page"], None).unwrap_err(), USAGE, "one tick waits anyway");
        for bad in ["0", "9", "-1", "1.5", "four", "", "99999999999999999999"] {
            assert_eq!(read(&["--weeks", bad], None).unwrap_err(), USAGE, "{bad}");
        }
        assert_eq!(read(&["--weeks"], None).unwrap_err(), USAGE);
        for both in [["--weeks", "4", "--real-claude"], ["--real-claude", "--weeks", "4"]] {
            assert_eq!(read(&both, Some("sk")).unwrap_err(), USAGE);
        }
    }
}
