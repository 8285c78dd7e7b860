//! Keys of a tool's input schema that say nothing to the model.
//!
//! The tools are the first part of each request of each persona, so each key costs tokens again and again.

use serde_json::{Map, Value, json};

/// Keywords whose value is one schema.
pub(super) const OF_A_SCHEMA: &str = "items contains additionalProperties propertyNames if then else \
                                      not unevaluatedItems unevaluatedProperties contentSchema";
/// Keywords whose value is an object of schemas by name; of the last two, also of lists of names.
const OF_NAMED_SCHEMAS: &str = "properties patternProperties $defs definitions dependentSchemas \
                                dependencies dependentRequired";
/// Keywords that refer to other schemas, or depend on which items and properties other keywords checked.
const REFERRING: &str = "$ref $dynamicRef $recursiveRef unevaluatedItems unevaluatedProperties";
/// JavaScript's largest safe integer: zod writes it as a bound of every integer without another bound.
const MAX_SAFE: f64 = 9_007_199_254_740_991.0;

/// Keywords, and which values of theirs say nothing.
type Rule = (&'static str, fn(&Value) -> bool);

/// A schema means the same without these keys, whatever its other keys are.
const SILENT: [Rule; 8] = [
    // Claude reads each schema as draft 2020-12. Comments are for authors; JSON Schema allows to remove them.
    ("$schema $comment", Value::is_string),
    // A text without words.
    ("title description", |value| value.as_str().is_some_and(|text| text.trim().is_empty())),
    // No names and no values. `enum` is missing here because an empty one forbids everything.
    ("required examples", |value| *value == json!([])),
    // No names and no schemas. The API demands `type` of an input schema, but not `properties`.
    (OF_NAMED_SCHEMAS, |value| *value == json!({})),
    // What JSON Schema assumes without the key; for `nullable`, OpenAPI.
    ("uniqueItems deprecated nullable readOnly writeOnly", |value| *value == false),
    // Nothing has fewer than none. `minContains` is missing here because it is 1 without the key.
    ("minItems minLength minProperties", |value| value.as_f64() == Some(0.0)),
    // JavaScript cannot tell an integer beyond these bounds from its neighbours.
    ("minimum", |value| value.as_f64() == Some(-MAX_SAFE)),
    ("maximum", |value| value.as_f64() == Some(MAX_SAFE)),
];
/// The same, for schemas without the keywords of [`REFERRING`].
const SILENT_ALONE: [Rule; 3] = [
    // Names for references.
    ("$id $anchor $dynamicAnchor", Value::is_string),
    // Without the key, everything is allowed as well.
    ("additionalProperties items", |value| *value == true || *value == json!({})),
    // Every name in JSON is a string. zod writes this for each record.
    ("propertyNames", |value| *value == json!({"type": "string"})),
];

/// Removes the keys that say nothing to the model, at every depth, and white space at the end of
/// descriptions. The other keys keep their order. The schema allows the same values as before, except for
/// numbers beyond JavaScript's safe integers.
///
/// Not changed: names of properties and of definitions; values of `enum`, `const`, `default` and `examples`;
/// keywords that JSON Schema does not know; keys whose value is not of the type that the keyword demands.
/// The work grows with the size of the schema, the recursion with its depth.
pub fn trim(schema: &mut Map<String, Value>) {
    let text = serde_json::to_string(schema).unwrap_or_default();
    let is_used = |keyword| text.contains(&format!("\"{keyword}\":"));
    trim_named("", schema, !REFERRING.split(' ').any(is_used));
}

/// Trims the schema of this name, the inner schemas first: after that, an inner schema may allow everything.
fn trim_named(name: &str, schema: &mut Map<String, Value>, stands_alone: bool) {
    let trim_inner = |name: &str, value: &mut Value| {
        if let Value::Object(inner) = value {
            trim_named(name, inner, stands_alone);
        }
    };
    schema.retain(|keyword, value| {
        match value {
            Value::Object(by_name) if is_one_of(OF_NAMED_SCHEMAS, keyword) => {
                by_name.iter_mut().for_each(|(name, value)| trim_inner(name, value));
            }
            Value::Object(_) if is_one_of(OF_A_SCHEMA, keyword) => trim_inner("", value),
            Value::Array(list) if is_one_of("allOf anyOf oneOf prefixItems", keyword) => {
                list.iter_mut().for_each(|value| trim_inner("", value));
            }
            Value::String(text) if keyword == "description" => text.truncate(text.trim_end().len()),
            _ => {}
        }
        let repeats = keyword == "title" && value.as_str().is_some_and(|it| is_same(it, name));
        let mut rules = SILENT.iter().chain(SILENT_ALONE.iter().filter(|_| stands_alone));
        // Few values are silent, so the value is tested first.
        !repeats && !rules.any(|(keywords, rule)| rule(value) && is_one_of(keywords, keyword))
    });
}

/// Whether `title` differs from `name` only in case, spaces, `_` and `-`: `Due date` and `due_date`.
fn is_same(title: &str, name: &str) -> bool {
    let letters = |text: &str| text.replace([' ', '_', '-'], "").to_lowercase();
    letters(title) == letters(name)
}

/// Whether `keyword` is among `keywords`, which single spaces separate.
pub(super) fn is_one_of(keywords: &str, keyword: &str) -> bool {
    keywords.split(' ').any(|known| known == keyword)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn trimmed(schema: &Value) -> Value {
        let mut schema = schema.as_object().unwrap().clone();
        trim(&mut schema);
        schema.into()
    }

    /// Asserts what becomes of `schema` as a whole, and at each place where a schema can be inside another.
    fn assert_trimmed(schema: &Value, expected: &Value) {
        assert_eq!(trimmed(schema).to_string(), expected.to_string(), "{schema}");
        let places: [fn(&Value) -> Value; 6] = [
            |inner| json!({"type": "object", "properties": {"a": inner}}),
            |inner| json!({"items": {"anyOf": [inner, {"type": "null"}]}}),
            |inner| json!({"$defs": {"$schema": {"prefixItems": [true, {"not": inner}]}}}),
            |inner| json!({"patternProperties": {"^x": {"if": {"contains": inner}}}}),
            |inner| json!({"dependencies": {"a": ["b"], "c": {"allOf": [inner]}}}),
            |inner| json!({"dependentSchemas": {"c": {"then": {"additionalProperties": inner}}}}),
        ];
        // An inner schema that allows everything may be silent itself.
        for place in places.iter().filter(|_| *expected != json!({})) {
            let (schema, expected) = (place(schema), place(expected));
            assert_eq!(trimmed(&schema).to_string(), expected.to_string(), "{schema}");
        }
    }

    #[test]
    fn keys_that_say_nothing_are_removed_at_every_depth_and_the_others_keep_their_order() {
        for (schema, expected) in [
            (
                json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
                    "properties": {}, "required": [], "additionalProperties": false}),
                json!({"type": "object", "additionalProperties": false}),
            ),
            (
                json!({"type": "integer", "minimum": -9_007_199_254_740_991_i64, "default": 1,
                    "maximum": 9_007_199_254_740_991_i64}),
                json!({"type": "integer", "default": 1}),
            ),
            (
                json!({"description": "Tag, \u{e4} \n\t", "type": "string", "minLength": 0, "title": " "}),
                json!({"description": "Tag, \u{e4}", "type": "string"}),
            ),
            (
                json!({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}}),
                json!({"type": "object"}),
            ),
            (
                json!({"type": "array", "items": {"$comment": "any"}, "minItems": 0.0, "uniqueItems": false}),
                json!({"type": "array"}),
            ),
            (
                json!({"const": "a", "examples": [], "readOnly": false, "writeOnly": false,
                    "deprecated": false, "nullable": false}),
                json!({"const": "a"}),
            ),
            (
                json!({"$id": "https://mana.example/tag", "$anchor": "tag", "type": "string",
                    "$defs": {}, "definitions": {}, "description": "  "}),
                json!({"type": "string"}),
            ),
            (
                json!({"properties": {"due_date": {"title": "Due Date"},
                    "b": {"title": "B", "type": "null"}}}),
                json!({"properties": {"due_date": {}, "b": {"type": "null"}}}),
            ),
        ] {
            assert_trimmed(&schema, &expected);
        }
    }

    #[test]
    fn what_says_something_stays() {
        let refer = |keyword: &str| {
            let inner = json!({"$id": "x", "$anchor": "a", "additionalProperties": true});
            json!({"items": {}, "not": inner, keyword: "#a"})
        };
        for schema in [
            // Each allows less than without the key.
            json!({"additionalProperties": false, "items": false, "propertyNames": {"maxLength": 3}}),
            json!({"enum": [], "contains": {}, "minContains": 0, "not": {}, "pattern": ""}),
            json!({"minItems": 1, "minLength": 1, "minimum": 0, "maximum": 9_007_199_254_740_990_i64}),
            json!({"enum": ["a", "b"], "const": "a", "default": null, "uniqueItems": true}),
            json!({"enum": [1], "const": 1.0, "deprecated": true}),
            json!({"properties": {"c": {"title": "C++"}, "d": {"title": "The day"}}, "title": "c"}),
            json!({"x-order": [], "x-schema": {"$schema": ""}, "format": ""}),
            // Something refers to them, or depends on which properties were looked at.
            refer("$ref"),
            refer("$dynamicRef"),
            json!({"allOf": [{"additionalProperties": true}], "unevaluatedProperties": false}),
            json!({"prefixItems": [true], "items": true, "unevaluatedItems": false}),
            // Names and data, not keywords.
            json!({"properties": {"title": {"type": "null"}, "$schema": {"type": "null"}, "required": true}}),
            json!({"required": ["required"], "dependentRequired": {"minItems": []}}),
            json!({"default": {"$schema": "a", "required": []}, "examples": [{"title": ""}]}),
            json!({"enum": [{"properties": {}}, {"description": "a "}], "const": {"minItems": 0}}),
            // Values of another type than the keyword demands.
            json!({"$schema": 1, "title": [], "description": {}, "required": "", "properties": []}),
            json!({"uniqueItems": 0, "minItems": "0", "minimum": "0", "items": null, "enum": {}}),
            json!({"$defs": [{"$schema": ""}], "anyOf": {"$schema": {"$schema": ""}}, "$id": {}}),
            json!({"required": {}, "examples": {}, "minLength": false, "nullable": null}),
        ] {
            assert_trimmed(&schema, &schema);
        }
    }

    #[test]
    fn a_schema_of_a_thousand_levels_is_trimmed() {
        // json! would copy the inner value at each level.
        let around = |inner: Value, _| Value::Object(Map::from_iter([("not".to_owned(), inner)]));
        let deep = |inner| (0..1_000).fold(inner, around);
        assert_eq!(trimmed(&deep(json!({"$schema": ""}))), deep(json!({})));
    }

    /// Keywords and names.
    fn key() -> impl Strategy<Value = String> {
        "(\\$schema|\\$ref|\\$defs|title|description|required|properties|items|anyOf|enum|const|default\
          |examples|minItems|minimum|additionalProperties|propertyNames|not|type|[a-c])"
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            prop_oneof![Just(0.0), Just(MAX_SAFE), Just(-MAX_SAFE)].prop_map(Value::from),
            "(string|a| )?".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec((key(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn trimming_twice_is_trimming_once_and_names_and_data_stay(
            any in any_json(),
            names in prop::collection::vec(key(), 0..4),
        ) {
            let once = trimmed(&json!({"not": any, "$defs": {"a": any}}));
            prop_assert_eq!(trimmed(&once).to_string(), once.to_string());

            let data = json!({"default": any, "enum": [any, 7], "const": any, "examples": [any],
                "x-any": any});
            let by_name: Map<_, _> = names.into_iter().map(|name| (name, data.clone())).collect();
            let mut schema = json!({"not": data, "dependentRequired": {"a": [any]}, "type": any});
            for keyword in ["properties", "$defs", "patternProperties"] {
                if !by_name.is_empty() {
                    schema[keyword] = by_name.clone().into();
                }
            }
            prop_assert_eq!(trimmed(&schema).to_string(), schema.to_string());
        }
    }
}
