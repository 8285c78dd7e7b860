//! Prices of tokens for each model, from a versioned table in TOML.

use std::path::Path;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::domain::{Cost, Tokens, Usd};

/// The price table that is used without PRICING_FILE.
const EMBEDDED: &str = include_str!("pricing.toml");
/// The version of the table's format that this program reads.
const VERSION: u32 = 1;

/// Prices of one model, and of the models that may answer in its place.
#[derive(Clone, Debug)]
pub struct Pricing {
    bands: Vec<Band>,
    /// Whether the table has the model. If it does not, the prices of the dearest model in the table are
    /// used.
    pub is_known: bool,
    models: Vec<Model>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: u32,
    #[serde(rename = "as_of")]
    _as_of: String,
    models: Vec<Model>,
}

/// An entry of the table: the ids of a model and its prices.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    ids: Vec<String>,
    bands: Vec<Band>,
}

/// Prices per million tokens. They hold for prompts of at most `up_to_prompt_tokens` tokens.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Band {
    #[serde(default = "no_limit")]
    up_to_prompt_tokens: u64,
    #[serde(deserialize_with = "price")]
    input: Usd,
    #[serde(deserialize_with = "price")]
    write_5m: Usd,
    #[serde(deserialize_with = "price")]
    write_1h: Usd,
    #[serde(deserialize_with = "price")]
    read: Usd,
    #[serde(deserialize_with = "price")]
    output: Usd,
}

fn no_limit() -> u64 {
    u64::MAX
}

/// Reads a price, which the table gives in US dollars. A negative price is an error.
fn price<'de, D: Deserializer<'de>>(dollars: D) -> Result<Usd, D::Error> {
    let price = Usd::from_dollars(f64::deserialize(dollars)?);
    price.ok_or_else(|| D::Error::custom("a price must be a number ≥ 0"))
}

/// Why a price table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PricingError {
    /// The file cannot be read.
    #[error("PRICING_FILE cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// The file is not TOML, or its keys and types are not those of a price table.
    #[error("PRICING_FILE is not a price table like src/pricing.toml: {0}")]
    Form(#[from] toml::de::Error),
    /// The table has the right keys and types, but breaks another rule, such as the order of its bands.
    #[error("PRICING_FILE: {0}")]
    Content(&'static str),
}

impl Pricing {
    /// The prices of `model` from the table in `file`, or from the table in the binary if `file` is `None`.
    ///
    /// # Errors
    /// If the file cannot be read, is no regular file, or is no price table.
    pub fn load(file: Option<&Path>, model: &str) -> Result<Self, PricingError> {
        let Some(file) = file else { return Self::parse(EMBEDDED, model) };
        // The start of the daemon would hang if the file were a FIFO without a writer.
        ensure(std::fs::metadata(file)?.is_file(), "it is no regular file")?;
        Self::parse(&std::fs::read_to_string(file)?, model)
    }

    fn parse(text: &str, model: &str) -> Result<Self, PricingError> {
        let Table { version, models, .. } = toml::from_str(text)?;
        ensure(version == VERSION, "version must be 1")?;
        ensure(!models.is_empty(), "there must be at least one model")?;
        for Model { bands, .. } in &models {
            let limits: Vec<_> = bands.iter().map(|band| band.up_to_prompt_tokens).collect();
            let ascend = limits.is_sorted_by(|a, b| a < b) && limits.ends_with(&[no_limit()]);
            ensure(ascend, "bands of a model must ascend, the last without a limit")?;
        }
        let known = bands_of(&models, model);
        let is_known = known.is_some();
        let bands = known.unwrap_or_else(|| dearest(&models)).to_vec();
        Ok(Self { bands, is_known, models })
    }

    /// Whether one of the model's prices is zero.
    pub(crate) fn is_free(&self) -> bool {
        self.bands.iter().any(|band| {
            [band.input, band.write_5m, band.write_1h, band.read, band.output].contains(&Usd::ZERO)
        })
    }

    /// The cost of a reply with this usage. The length of the whole prompt selects one band, and its prices
    /// hold for all tokens of the request.
    pub fn cost(&self, usage: &Tokens) -> Cost {
        cost(&self.bands, usage)
    }

    /// Whether model `a` costs more than model `b`.
    pub(crate) fn is_dearer(&self, a: &str, b: &str) -> bool {
        let sample = Tokens { cache_write_5m: 1_000, output: 1_000, ..Tokens::default() };
        self.cost_of_either(a, &sample).total() > self.cost_of_either(b, &sample).total()
    }

    /// The cost of a reply that the model `other` gave in place of the asked model. The dearer of the two
    /// models' prices is used.
    pub(crate) fn cost_of_either(&self, other: &str, usage: &Tokens) -> Cost {
        let of_other = bands_of(&self.models, other).unwrap_or_else(|| dearest(&self.models));
        let of_other = cost(of_other, usage);
        let own = self.cost(usage);
        if of_other.total() > own.total() { of_other } else { own }
    }
}

fn bands_of<'m>(models: &'m [Model], model: &str) -> Option<&'m [Band]> {
    let find =
        |is: fn(&str, &str) -> bool| models.iter().find(|m| m.ids.iter().any(|id| is(id, model)));
    find(|a, b| a == b).or_else(|| find(is_same_model)).map(|known| known.bands.as_slice())
}

fn dearest(models: &[Model]) -> &[Band] {
    let all = models.iter().map(|model| model.bands.as_slice());
    all.max_by_key(|bands| bands.first().map(|band| band.output)).unwrap_or_default()
}

/// Whether both ids name the same model. Differences that do not count: a date at the end, `-latest`, and the
/// spelling of gateways (`anthropic/claude-…`, `us.anthropic.claude-…-v1:0`, `claude-…@20251001`).
pub(crate) fn is_same_model(a: &str, b: &str) -> bool {
    fn plain(id: &str) -> &str {
        let id = id.find("claude-").map_or(id, |start| &id[start..]);
        let id = id.split([':', '@']).next().unwrap_or_default();
        let id = id.strip_suffix("-latest").unwrap_or(id);
        let is_number = |end: &str| !end.is_empty() && end.bytes().all(|b| b.is_ascii_digit());
        let version = id.rsplit_once("-v").filter(|(_, end)| is_number(end));
        let id = version.map_or(id, |(name, _)| name);
        let date = id.rsplit_once('-').filter(|(_, end)| end.len() == 8 && is_number(end));
        date.map_or(id, |(name, _)| name)
    }
    plain(a) == plain(b)
}

fn cost(bands: &[Band], usage: &Tokens) -> Cost {
    let prompt = usage.prompt();
    let Some(band) = bands.iter().find(|band| prompt <= band.up_to_prompt_tokens) else {
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

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), PricingError> {
    if holds { Ok(()) } else { Err(PricingError::Content(otherwise)) }
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
    fn a_dated_or_decorated_spelling_is_the_same_model() {
        for (a, b) in [
            ("claude-haiku-4-5", "claude-haiku-4-5-20251001"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("claude-haiku-4-5", "claude-haiku-4-5@20251001"),
            ("claude-haiku-4-5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
            ("claude-haiku-4-5", "us.anthropic.claude-haiku-4-5-20251001-v2:0"),
            ("claude-haiku-4-5", "claude-haiku-4-5-latest"),
            ("claude-haiku-4-5", "anthropic/claude-haiku-4-5"),
            ("gpt", "gpt"),
        ] {
            assert!(is_same_model(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("claude-haiku-4-5", "claude-haiku-5-5"),
            ("claude-opus-5", "claude-opus-5-5"),
            ("claude-haiku-4-5", "claude-haiku-4-5-fast"),
            ("claude-haiku-4-5", ""),
        ] {
            assert!(!is_same_model(a, b), "{a} {b}");
        }
        assert!(Pricing::load(None, "claude-haiku-4-5@20251001").unwrap().is_known);
    }

    #[test]
    fn a_price_of_nothing_is_noticed() {
        let table = |read: &str| {
            let band = format!("input=1.0,write_5m=1.0,write_1h=1.0,read={read},output=1.0");
            format!("version=1\nas_of='x'\n[[models]]\nids=['m']\nbands=[{{{band}}}]")
        };
        let is_free = |read| Pricing::parse(&table(read), "m").unwrap().is_free();
        assert_eq!(["0.0", "1e-30", "0.01"].map(is_free), [true, true, false]);
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
        for no_table in ["no-such-file.toml", "/dev/null", "/"] {
            let error = Pricing::load(Some(Path::new(no_table)), "m").unwrap_err().to_string();
            assert!(no_table != "/dev/null" || error.contains("no regular file"), "{error}");
        }
    }
}
