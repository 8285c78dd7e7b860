//! How fields are read that other programs may have written: null is what a missing field is, and a whole number
//! may have a decimal point.

use serde::{Deserialize, Deserializer, de::Error};
use serde_json::Number;

/// Longest id, in characters. Ids are kept whole, unlike all other texts.
const ID: usize = 256;

/// The value, or the default one for null.
pub(super) fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A whole number.
pub(super) fn whole<'de, N, D>(deserializer: D) -> Result<N, D::Error>
where
    N: TryFrom<u64>,
    D: Deserializer<'de>,
{
    Whole::deserialize(deserializer).map(|Whole(number)| number)
}

/// A whole number, or null.
pub(super) fn optional_whole<'de, N, D>(deserializer: D) -> Result<Option<N>, D::Error>
where
    N: TryFrom<u64>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.map(|Whole(number)| number))
}

/// A whole number; 0 for null.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    optional_whole(deserializer).map(Option::unwrap_or_default)
}

/// Like [`count`], for larger numbers.
pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    optional_whole(deserializer).map(Option::unwrap_or_default)
}

/// A whole number; 1 for null.
pub(super) fn from_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    optional_whole(deserializer).map(|number| number.unwrap_or(1))
}

/// Whole numbers; none for null.
pub(super) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
    let numbers: Vec<Whole<u32>> = or_default(deserializer)?;
    Ok(numbers.into_iter().map(|Whole(number)| number).collect())
}

/// A time in milliseconds, rounded; `None` for null.
pub(super) fn milliseconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    let number = Option::<Number>::deserialize(deserializer)?;
    let whole = |number| {
        to_whole(&number, f64::round)
            .ok_or_else(|| Error::custom("expected a time in milliseconds, from 0 on"))
    };
    number.map(whole).transpose()
}

/// A flag, or a count of which only "none or some" matters; false for null.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected true, false or a count")]
    enum Flag {
        Bool(bool),
        Count(f64),
    }
    let flag: Option<Flag> = Option::deserialize(deserializer)?;
    Ok(match flag {
        Some(Flag::Bool(flag)) => flag,
        Some(Flag::Count(count)) => count > 0.0,
        None => false,
    })
}

/// An id of at most 256 characters.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let id = String::deserialize(deserializer)?;
    match id.chars().nth(ID) {
        None => Ok(id),
        Some(_) => Err(Error::custom(format_args!("expected an id of at most {ID} characters"))),
    }
}

/// An id of at most 256 characters, or null.
pub(super) fn optional_id<'de, D>(deserializer: D) -> Result<Option<String>, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(Deserialize)]
    struct Id(#[serde(deserialize_with = "id")] String);
    Ok(Option::deserialize(deserializer)?.map(|Id(id)| id))
}

/// A whole number, which may be written as `4` or as `4.0`.
struct Whole<N>(N);

impl<'de, N: TryFrom<u64>> Deserialize<'de> for Whole<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = Number::deserialize(deserializer)?;
        let whole = to_whole(&number, |real| real).and_then(|whole| N::try_from(whole).ok());
        let most = u64::MAX >> (u64::BITS - 8 * size_of::<N>() as u32);
        whole.map(Self).ok_or_else(|| {
            Error::custom(format_args!("expected a whole number from 0 to {most}, not {number}"))
        })
    }
}

/// The number without its decimal point, after `round`; `None` if it is not whole or below 0.
fn to_whole(number: &Number, round: fn(f64) -> f64) -> Option<u64> {
    let real = || {
        let real = number.as_f64().map(round)?;
        // 2^64 is the first number that is too large.
        let is_whole = real.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&real);
        is_whole.then_some(real as u64)
    };
    number.as_u64().or_else(real)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::facts::line::{Call, Hit, Module};

    fn call(field: &str, value: Value) -> Result<Call, String> {
        let mut line = json!({"run": "r", "number": 1, "at": "2026-11-18T10:00:00Z", "tool": "t.a",
            "module": "t", "ok": true});
        line[field] = value;
        serde_json::from_value(line).map_err(|error| error.to_string())
    }

    #[test]
    fn a_whole_number_may_have_a_decimal_point() {
        for (value, expected) in [(json!(3), 3), (json!(3.0), 3), (json!(3e2), 300)] {
            assert_eq!(call("tries", value.clone()).unwrap().tries, expected);
            assert_eq!(call("number", value.clone()).unwrap().number, expected);
            assert_eq!(call("chars", value).unwrap().chars, u64::from(expected));
        }
        let module = json!({"run": "r", "module": "t", "rating": 4.0, "calls": [1.0, 2]});
        let module: Module = serde_json::from_value(module).unwrap();
        assert_eq!((module.rating, module.calls), (Some(4), vec![1, 2]));
        for value in [json!(1.5), json!(-1), json!(1e300), json!(4_294_967_296_u64)] {
            let expected = format!("expected a whole number from 0 to 4294967295, not {value}");
            assert_eq!(call("tries", value), Err(expected));
        }
        assert!(call("tries", json!("3")).unwrap_err().contains("invalid type: string"));
        assert!(call("number", Value::Null).is_err());
    }

    #[test]
    fn a_latency_is_rounded() {
        for (value, expected) in [(json!(12.5), 13), (json!(12.4), 12), (json!(7), 7)] {
            assert_eq!(call("latencyMs", value).unwrap().latency_ms, Some(expected));
        }
        assert_eq!(call("latencyMs", json!(null)).unwrap().latency_ms, None);
        let error = call("latencyMs", json!(-0.6)).unwrap_err();
        assert_eq!(error, "expected a time in milliseconds, from 0 on");
    }

    #[test]
    fn a_flag_may_be_a_count() {
        let hit = |recovered: Value| {
            let line = json!({"issue": "F-AAAA", "run": "r", "recovered": recovered});
            serde_json::from_value::<Hit>(line).map_err(|error| error.to_string())
        };
        let flags =
            [json!(true), json!(false), json!(2), json!(0), json!(1.0), json!(0.0), Value::Null];
        let flags = flags.map(|flag| hit(flag).unwrap().recovered);
        assert_eq!(flags, [true, false, true, false, true, false, false]);
        assert_eq!(hit(json!("yes")).unwrap_err(), "expected true, false or a count");
    }

    #[test]
    fn an_id_has_at_most_256_characters() {
        for field in ["run", "issue"] {
            assert!(call(field, json!("ä".repeat(256))).is_ok());
            let error = call(field, json!("ä".repeat(257))).unwrap_err();
            assert_eq!(error, "expected an id of at most 256 characters");
        }
    }
}
