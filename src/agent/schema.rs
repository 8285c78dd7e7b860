//! Input schemas of tools, before a catalog is made of them. A catalog that is stored in the journal is never
//! changed: a resumed run sends the same bytes.
//!
//! - [`fit`]: Claude accepts JSON Schema draft 2020-12 at every depth, with two more rules for the top of the
//!   schema (docs/contracts/anthropic-messages.md, section 11). It refuses a whole request for one other
//!   schema. Keywords of older drafts that have exactly one meaning are rewritten as draft 2020-12; nothing
//!   else is changed.
//! - [`trim()`]: keys that say nothing to the model are removed.

mod trim;

use std::collections::HashSet;

use serde_json::{Map, Value};

pub use self::trim::trim;
use self::trim::{OF_A_SCHEMA, is_one_of};

/// Longest name, in bytes, of a property at the top of a schema.
const MAX_KEY: usize = 64;
/// Largest number of schemas inside one another. Deeper JSON is not read at all.
const MAX_DEPTH: usize = 128;
const ODD_KEY: &str =
    "a property's name is empty, too long or has other characters than a-z A-Z 0-9 _ . -";
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// The schemas directly inside another one, which are checked after it.
type Inner<'s> = Vec<&'s mut Map<String, Value>>;

/// Rewrites `schema` so that Claude accepts it, where the schema has exactly one meaning.
///
/// # Errors
/// The reason why Claude refuses the schema, in words for the log.
pub fn fit(schema: &mut Map<String, Value>) -> Result<(), String> {
    if let Some(it) = ["oneOf", "allOf", "anyOf"].iter().find(|it| schema.contains_key(**it)) {
        return Err(format!("`{it}` stands at the top of the schema"));
    }
    let is_key = |key: &String| (1..=MAX_KEY).contains(&key.len()) && is_plain(key);
    let properties = schema.get("properties").and_then(Value::as_object);
    if properties.is_some_and(|properties| !properties.keys().all(is_key)) {
        return Err(ODD_KEY.into());
    }
    let mut schemas = vec![(0, schema)];
    while let Some((depth, schema)) = schemas.pop() {
        if depth >= MAX_DEPTH {
            return Err("its schemas are nested too deep".into());
        }
        let mut inner = Inner::new();
        if let Err(keyword) = draft(schema, &mut inner) {
            return Err(format!("`{keyword}` holds what JSON Schema draft 2020-12 does not allow"));
        }
        schemas.extend(inner.into_iter().map(|schema| (depth + 1, schema)));
    }
    Ok(())
}

/// Whether `text` consists of ASCII letters, ASCII digits and `_ . -` only.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Checks the value of each keyword that draft 2020-12 defines, and adds the schemas inside to `inner`
/// without checking them. A keyword that draft 2020-12 does not define may have any value.
///
/// # Errors
/// The first keyword with a value that draft 2020-12 does not allow.
fn draft<'s>(schema: &'s mut Map<String, Value>, inner: &mut Inner<'s>) -> Result<(), &'s str> {
    modernise(schema)?;
    for (keyword, value) in schema {
        let is_sound = match keyword.as_str() {
            "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
                value.as_array_mut().is_some_and(|list| {
                    !list.is_empty() && list.iter_mut().all(|value| is_schema(value, inner))
                })
            }
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" => {
                by_name(value, |value| is_schema(value, inner))
            }
            "dependencies" => by_name(value, |value| names(value) || is_schema(value, inner)),
            "dependentRequired" => by_name(value, names),
            "required" => names(value),
            "type" => {
                let is_type = |name: &Value| TYPES.iter().any(|known| name == known);
                let are_types = |list: &Vec<Value>| !list.is_empty() && list.iter().all(is_type);
                is_type(value) || names(value) && value.as_array().is_some_and(are_types)
            }
            "enum" | "examples" => value.is_array(),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
            "multipleOf" => value.as_f64().is_some_and(|number| number > 0.0),
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minContains" | "maxContains"
            | "minProperties" | "maxProperties" => {
                value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0)
            }
            "uniqueItems" | "deprecated" | "readOnly" | "writeOnly" => value.is_boolean(),
            "pattern" | "format" | "title" | "description" | "contentEncoding"
            | "contentMediaType" | "$comment" | "$schema" | "$ref" | "$dynamicRef"
            | "$recursiveRef" => value.is_string(),
            "$id" => {
                value.as_str().is_some_and(|id| !id.strip_suffix('#').unwrap_or(id).contains('#'))
            }
            "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" => {
                let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
                value.as_str().is_some_and(|name| name.starts_with(begins) && is_plain(name))
            }
            "$vocabulary" => by_name(value, |value| value.is_boolean()),
            keyword => !is_one_of(OF_A_SCHEMA, keyword) || is_schema(value, inner),
        };
        if !is_sound {
            return Err(keyword);
        }
    }
    Ok(())
}

/// Rewrites tuples and exclusive bounds of older drafts as draft 2020-12.
///
/// # Errors
/// A keyword whose meaning is not clear.
fn modernise(schema: &mut Map<String, Value>) -> Result<(), &'static str> {
    if schema.get("items").is_some_and(Value::is_array) {
        if schema.contains_key("prefixItems") {
            return Err("items");
        }
        let tuple = schema.shift_remove("items").filter(|tuple| tuple != &Value::Array(Vec::new()));
        let rest = schema.shift_remove("additionalItems");
        schema.extend(tuple.map(|tuple| ("prefixItems".to_owned(), tuple)));
        schema.extend(rest.map(|rest| ("items".to_owned(), rest)));
    }
    for (exclusive, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        match schema.get(exclusive) {
            Some(Value::Bool(false)) => drop(schema.shift_remove(exclusive)),
            Some(Value::Bool(true)) => {
                // Without a bound the keyword has no meaning.
                let bound = schema.shift_remove(bound).ok_or(exclusive)?;
                schema.insert(exclusive.to_owned(), bound);
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether `value` may be a schema inside another one: true, false, or an object, which is added to `inner`.
fn is_schema<'s>(value: &'s mut Value, inner: &mut Inner<'s>) -> bool {
    let is_schema = value.is_object() || value.is_boolean();
    inner.extend(value.as_object_mut());
    is_schema
}

fn by_name<'s>(value: &'s mut Value, check: impl FnMut(&'s mut Value) -> bool) -> bool {
    value.as_object_mut().is_some_and(|by_name| by_name.values_mut().all(check))
}

/// Whether `value` is a list of strings. A string that is in the list already is removed: draft 2020-12
/// allows each one once.
fn names(value: &mut Value) -> bool {
    let Value::Array(list) = value else { return false };
    let mut seen = HashSet::new();
    list.retain(|name| seen.insert(name.clone()));
    list.iter().all(Value::is_string)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fitted(schema: Value) -> Result<Value, String> {
        let Value::Object(mut schema) = schema else { panic!("{schema}") };
        fit(&mut schema).map(|()| schema.into())
    }

    fn fitted_text(schema: &str) -> String {
        fitted(serde_json::from_str(schema).unwrap()).unwrap().to_string()
    }

    /// `schema` at the top, as a property, and at two places a few levels down.
    fn everywhere(schema: &Value) -> [Value; 4] {
        let property = |schema: Value| json!({"type": "object", "properties": {"a": schema}});
        [
            schema.clone(),
            property(schema.clone()),
            property(json!({"items": {"anyOf": [{"$ref": "#/x"}, {"not": schema}]}})),
            json!({"definitions": {"$weird": {"patternProperties": {"^x": {"if": schema}}}}}),
        ]
    }

    #[test]
    fn what_older_drafts_wrote_with_one_meaning_is_written_in_todays_words_at_any_depth() {
        for (old, new) in [
            (
                json!({"items": [{"type": "null"}, true]}),
                json!({"prefixItems": [{"type": "null"}, true]}),
            ),
            (
                json!({"items": [{}], "additionalItems": false, "minItems": 1}),
                json!({"minItems": 1, "prefixItems": [{}], "items": false}),
            ),
            (
                json!({"items": [], "additionalItems": {"type": "string"}}),
                json!({"items": {"type": "string"}}),
            ),
            (json!({"items": []}), json!({})),
            (
                json!({"items": [{"items": [{"exclusiveMinimum": true, "minimum": 1}]}]}),
                json!({"prefixItems": [{"prefixItems": [{"exclusiveMinimum": 1}]}]}),
            ),
            (json!({"minimum": 0, "exclusiveMinimum": true}), json!({"exclusiveMinimum": 0})),
            (json!({"maximum": 1.5, "exclusiveMaximum": true}), json!({"exclusiveMaximum": 1.5})),
            (json!({"maximum": 3, "exclusiveMaximum": false}), json!({"maximum": 3})),
            (json!({"exclusiveMinimum": false}), json!({})),
            (json!({"required": ["a", "b", "a"]}), json!({"required": ["a", "b"]})),
            (json!({"type": ["string", "null", "null"]}), json!({"type": ["string", "null"]})),
        ] {
            for (old, new) in everywhere(&old).into_iter().zip(everywhere(&new)) {
                assert_eq!(fitted(old.clone()), Ok(new), "{old}");
            }
        }
    }

    #[test]
    fn what_is_no_draft_2020_12_is_not_taken_at_any_depth() {
        let unfit = |schema: &Value| {
            let keyword = schema.as_object().unwrap().keys().next().unwrap();
            Err(format!("`{keyword}` holds what JSON Schema draft 2020-12 does not allow"))
        };
        for wrong in [
            json!({"type": "any"}),
            json!({"type": []}),
            json!({"type": ["string", "any"]}),
            json!({"type": {"type": "string"}}),
            json!({"type": null}),
            json!({"exclusiveMinimum": true}),
            json!({"exclusiveMaximum": true, "maximum": null}),
            json!({"maximum": null}),
            json!({"minimum": "0"}),
            json!({"multipleOf": 0}),
            json!({"minLength": -1}),
            json!({"maxItems": 1.5}),
            json!({"maxProperties": "3"}),
            json!({"uniqueItems": "yes"}),
            json!({"required": true}),
            json!({"required": "a"}),
            json!({"required": ["a", 1]}),
            json!({"enum": "a"}),
            json!({"enum": {"a": 1}}),
            json!({"examples": "a"}),
            json!({"properties": ["a"]}),
            json!({"properties": {"a": "string"}}),
            json!({"properties": null}),
            json!({"properties": {"a": null}}),
            json!({"patternProperties": {"a": 1}}),
            json!({"$defs": []}),
            json!({"definitions": {"a": []}}),
            json!({"dependencies": {"a": "b"}}),
            json!({"dependentRequired": {"a": true}}),
            json!({"dependentSchemas": {"a": ["b"]}}),
            json!({"items": null}),
            json!({"items": "string"}),
            json!({"items": [{}], "prefixItems": [{}]}),
            json!({"prefixItems": []}),
            json!({"prefixItems": {}}),
            json!({"not": []}),
            json!({"if": "x"}),
            json!({"additionalProperties": "no"}),
            json!({"pattern": ["a"]}),
            json!({"format": 1}),
            json!({"title": 1}),
            json!({"description": {"de": "x"}}),
            json!({"deprecated": "since 3"}),
            json!({"$ref": {"x": 1}}),
            json!({"$id": "a#b"}),
            json!({"$schema": true}),
            json!({"$anchor": "#a"}),
            json!({"$comment": ["a"]}),
        ] {
            for schema in everywhere(&wrong) {
                assert_eq!(fitted(schema.clone()), unfit(&wrong), "{schema}");
            }
        }
        // At the top, these keywords are refused with another message.
        for wrong in [json!({"anyOf": []}), json!({"allOf": {}}), json!({"oneOf": [1]})] {
            let schema = json!({"properties": {"a": wrong}});
            assert_eq!(fitted(schema), unfit(&wrong));
        }
    }

    #[test]
    fn what_is_draft_2020_12_stays_byte_for_byte() {
        let schema = r##"{"$schema":"http://json-schema.org/draft-07/schema#","$id":"x#","type":"object","required":[],"properties":{"z.-_9":{"$ref":"#/$defs/b","description":""},"a":{"type":["string","null"],"maxLength":3.0,"default":{"type":"any"},"enum":[{"type":"any"}],"const":{"items":[1]},"examples":[{"required":true}],"nullable":true},"t":{"prefixItems":[true],"items":false,"additionalItems":[]},"n":{"oneOf":[{"exclusiveMinimum":0.5},{"multipleOf":1e-9}]}},"definitions":{"$b":{"$anchor":"_b","minItems":0}},"dependencies":{"a":["z.-_9"],"t":{}},"additionalProperties":{},"x-unknown":{"type":"any"}}"##;
        assert_eq!(fitted_text(schema), schema);
        // A number that is read back from the journal is sent with the same bytes.
        let number = r#"{"maxItems":1844674407377369.0,"maximum":0.1000000000000000055}"#;
        let encoded = fitted_text(number);
        assert_eq!(fitted_text(&encoded), encoded);
        assert!(encoded.contains("1844674407377369.0"), "{encoded}");
    }

    #[test]
    fn the_top_has_rules_of_its_own() {
        for combinator in ["oneOf", "allOf", "anyOf"] {
            let unfit = format!("`{combinator}` stands at the top of the schema");
            assert_eq!(fitted(json!({combinator: [{}]})), Err(unfit));
            assert!(fitted(json!({"properties": {"a": {combinator: [{}]}}})).is_ok());
        }
        let long = "a".repeat(65);
        for key in ["$top", "", "a b", "ä", "a/b", "a[]", "@type", &long] {
            assert_eq!(fitted(json!({"properties": {key: {}}})), Err(ODD_KEY.into()), "{key}");
            assert!(fitted(json!({"properties": {"a": {"properties": {key: {}}}}})).is_ok());
        }
        assert!(fitted(json!({"properties": {"a".repeat(64): {}}})).is_ok());
    }

    #[test]
    fn a_schema_of_a_thousand_levels_is_not_taken() {
        // json! would copy the inner value at each level.
        let around = |inner: Value, _| Value::Object(Map::from_iter([("not".to_owned(), inner)]));
        let deep = |levels| (0..levels).fold(json!({}), around);
        assert_eq!(fitted(deep(1_000)), Err("its schemas are nested too deep".into()));
        assert!(fitted(deep(120)).is_ok());
    }
}
