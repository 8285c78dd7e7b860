//! What tokens cost, per model, from a versioned table in TOML.

use std::path::Path;

use serde::Deserialize;

use crate::domain::{Cost, Tokens, Usd};

/// The table in the binary.
const EMBEDDED: &str = include_str!("pricing.toml");
/// The form of the table this program reads.
const VERSION: u32 = 1;

/// Prices of one model.
#[derive(Clone, Debug, PartialEq)]
pub struct Pricing {
    bands: Vec<Band>,
    /// Whether the table knows the model; if not, these are the dearest prices it has.
    pub is_known: bool,
}

/// Prices per million tokens that hold up to a length of the prompt.
#[derive(Clone, Debug, PartialEq)]
struct Band {
    up_to_prompt_tokens: u64,
    input: Usd,
    write_5m: Usd,
    write_1h: Usd,
    read: Usd,
    output: Usd,
}

/// Why there is no price table.
#[derive(Debug, thiserror::Error)]
pub enum PricingError {
    /// The file cannot be read.
    #[error("PRICING_FILE cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// It is not TOML of the right form.
    #[error("PRICING_FILE is not a price table like src/pricing.toml: {0}")]
    Form(#[from] toml::de::Error),
    /// It is, but says something that cannot be.
    #[error("PRICING_FILE: {0}")]
    Content(&'static str),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: u32,
    #[serde(rename = "as_of")]
    _as_of: String,
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    ids: Vec<String>,
    bands: Vec<WireBand>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireBand {
    up_to_prompt_tokens: Option<u64>,
    input: f64,
    write_5m: f64,
    write_1h: f64,
    read: f64,
    output: f64,
}

impl Pricing {
    /// The prices of `model` by the table in `file`, or the one in the binary.
    ///
    /// # Errors
    /// When the file cannot be read or is no price table.
    pub fn load(file: Option<&Path>, model: &str) -> Result<Self, PricingError> {
        match file {
            Some(file) => Self::parse(&std::fs::read_to_string(file)?, model),
            None => Self::parse(EMBEDDED, model),
        }
    }

    fn parse(text: &str, model: &str) -> Result<Self, PricingError> {
        let table: Table = toml::from_str(text)?;
        if table.version != VERSION {
            return Err(PricingError::Content("version must be 1"));
        }
        let mut all = Vec::new();
        for entry in table.models {
            let bands = entry.bands.into_iter().map(Band::read).collect::<Result<Vec<_>, _>>()?;
            if bands.is_empty()
                || !bands.is_sorted_by(|a, b| a.up_to_prompt_tokens < b.up_to_prompt_tokens)
            {
                return Err(PricingError::Content(
                    "bands of a model must ascend, the last without a limit",
                ));
            }
            if bands.last().is_none_or(|band| band.up_to_prompt_tokens != u64::MAX) {
                return Err(PricingError::Content("the last band of a model must have no limit"));
            }
            all.push((entry.ids, bands));
        }
        if let Some((_, bands)) = all.iter().find(|(ids, _)| ids.iter().any(|id| id == model)) {
            return Ok(Self { bands: bands.clone(), is_known: true });
        }
        let dearest = all.into_iter().map(|(_, bands)| bands).max_by_key(|bands| bands[0].output);
        let bands = dearest.ok_or(PricingError::Content("there must be at least one model"))?;
        Ok(Self { bands, is_known: false })
    }

    /// What a reply with this usage cost. The band is that of its whole prompt, for all its tokens.
    pub fn cost(&self, usage: &Tokens) -> Cost {
        let prompt = usage.prompt();
        let Some(band) = self.bands.iter().find(|band| prompt <= band.up_to_prompt_tokens) else {
            return Cost::default();
        };
        Cost {
            input: band.input.per_million(usage.input),
            output: band.output.per_million(usage.output),
            cache_read: band.read.per_million(usage.cache_read),
            cache_write: band.write_5m.per_million(usage.cache_write_5m)
                + band.write_1h.per_million(usage.cache_write_1h),
        }
    }
}

impl Band {
    fn read(wire: WireBand) -> Result<Self, PricingError> {
        let price = |dollars| {
            Usd::from_dollars(dollars).ok_or(PricingError::Content("a price must be a number ≥ 0"))
        };
        Ok(Self {
            up_to_prompt_tokens: wire.up_to_prompt_tokens.unwrap_or(u64::MAX),
            input: price(wire.input)?,
            write_5m: price(wire.write_5m)?,
            write_1h: price(wire.write_1h)?,
            read: price(wire.read)?,
            output: price(wire.output)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn million(kind: impl Fn(&mut Tokens)) -> Tokens {
        let mut tokens = Tokens::default();
        kind(&mut tokens);
        tokens
    }

    fn dollars(model: &str, usage: Tokens) -> f64 {
        Pricing::load(None, model).unwrap().cost(&usage).total().dollars()
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let sonnet = |usage| dollars("claude-sonnet-5-5", usage);
        assert_eq!(sonnet(million(|t| t.input = 1_000_000)), 2.0);
        assert_eq!(sonnet(million(|t| t.output = 1_000_000)), 10.0);
        assert_eq!(sonnet(million(|t| t.cache_read = 1_000_000)), 0.1);
        assert_eq!(sonnet(million(|t| t.cache_write_5m = 1_000_000)), 2.5);
        assert_eq!(sonnet(million(|t| t.cache_write_1h = 1_000_000)), 4.0);
    }

    #[test]
    fn haiku_is_dearer_as_a_whole_beyond_100_000_prompt_tokens() {
        let haiku = |input, cache_read| {
            let usage = Tokens { input, cache_read, output: 1_000, ..Default::default() };
            dollars("claude-haiku-5-5", usage)
        };
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(close(haiku(10_000, 90_000), 0.001 + 0.0009 + 0.0005));
        assert!(close(haiku(10_001, 90_000), 0.0050005 + 0.0045 + 0.0025));
    }

    #[test]
    fn an_unknown_model_is_priced_as_the_dearest() {
        let unknown = Pricing::load(None, "claude-next").unwrap();
        assert!(!unknown.is_known);
        assert_eq!(unknown.bands, Pricing::load(None, "claude-opus-5-5").unwrap().bands);
    }

    #[test]
    fn a_table_that_cannot_be_is_refused() {
        let band = "input=1.0,write_5m=1.0,write_1h=1.0,read=1.0,output=1.0";
        let table = |version: u32, bands: &str| {
            format!("version={version}\nas_of='x'\n[[models]]\nids=['m']\nbands=[{bands}]")
        };
        assert!(Pricing::parse(&table(1, &format!("{{{band}}}")), "m").is_ok());
        for bad in [
            String::new(),
            "version=1\nas_of='x'\nmodels=[]".into(),
            table(2, &format!("{{{band}}}")),
            table(1, ""),
            table(1, &format!("{{up_to_prompt_tokens=5,{band}}}")),
            table(1, &format!("{{{band}}},{{up_to_prompt_tokens=5,{band}}}")),
            table(1, &format!("{{{}}}", band.replace("read=1.0", "read=-1.0"))),
            table(1, &format!("{{{}}}", band.replace("read=1.0", "read=nan"))),
            table(1, &format!("{{{band},extra=1}}")),
        ] {
            assert!(Pricing::parse(&bad, "m").is_err(), "{bad}");
        }
        assert!(Pricing::load(Some(Path::new("no-such-file.toml")), "m").is_err());
    }
}
