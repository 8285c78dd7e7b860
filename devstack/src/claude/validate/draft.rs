//! The meta-schema of JSON Schema draft 2020-12: the values that its keywords accept, at every depth.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The kind of value that a keyword accepts.
enum Takes {
    Schema,
    /// A list of at least one schema.
    Schemas,
    SchemasByName,
    /// By name: a schema or a list of names.
    DependenciesByName,
    NamesByName,
    Names,
    Types,
    List,
    Number,
    AboveZero,
    Count,
    Flag,
    FlagsByName,
    Text,
    Id,
    Anchor,
}

const KEYWORDS: [(&[&str], Takes); 16] = [
    (
        &[
            "additionalProperties",
            "contains",
            "contentSchema",
            "else",
            "if",
            "items",
            "not",
            "propertyNames",
            "then",
            "unevaluatedItems",
            "unevaluatedProperties",
        ],
        Takes::Schema,
    ),
    (&["allOf", "anyOf", "oneOf", "prefixItems"], Takes::Schemas),
    (
        &["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"],
        Takes::SchemasByName,
    ),
    (&["dependencies"], Takes::DependenciesByName),
    (&["dependentRequired"], Takes::NamesByName),
    (&["required"], Takes::Names),
    (&["type"], Takes::Types),
    (&["enum", "examples"], Takes::List),
    (&["exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum"], Takes::Number),
    (&["multipleOf"], Takes::AboveZero),
    (
        &[
            "maxContains",
            "maxItems",
            "maxLength",
            "maxProperties",
            "minContains",
            "minItems",
            "minLength",
            "minProperties",
        ],
        Takes::Count,
    ),
    (&["deprecated", "readOnly", "uniqueItems", "writeOnly"], Takes::Flag),
    (&["$vocabulary"], Takes::FlagsByName),
    (
        &[
            "$comment",
            "$dynamicRef",
            "$recursiveRef",
            "$ref",
            "$schema",
            "contentEncoding",
            "contentMediaType",
            "description",
            "format",
            "pattern",
            "title",
        ],
        Takes::Text,
    ),
    (&["$id"], Takes::Id),
    (&["$anchor", "$dynamicAnchor", "$recursiveAnchor"], Takes::Anchor),
];

/// Whether `value` is a schema: an object or a boolean, with valid keywords.
pub(super) fn is_schema(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Object(schema) => KEYWORDS.iter().all(|(names, takes)| {
            names.iter().filter_map(|name| schema.get(*name)).all(|value| takes.takes(value))
        }),
        _ => false,
    }
}

impl Takes {
    fn takes(&self, value: &Value) -> bool {
        let by_name = |is_sound: fn(&Value) -> bool| {
            value.as_object().is_some_and(|map: &Map<String, Value>| map.values().all(is_sound))
        };
        match self {
            Self::Schema => is_schema(value),
            Self::Schemas => {
                value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(is_schema))
            }
            Self::SchemasByName => by_name(is_schema),
            Self::DependenciesByName => by_name(|value| is_names(value) || is_schema(value)),
            Self::NamesByName => by_name(is_names),
            Self::Names => is_names(value),
            Self::Types => match value {
                Value::Array(list) => {
                    !list.is_empty() && is_names(value) && list.iter().all(is_type)
                }
                one => is_type(one),
            },
            Self::List => value.is_array(),
            Self::Number => value.is_number(),
            Self::AboveZero => value.as_f64().is_some_and(|number| number > 0.0),
            Self::Count => value.as_f64().is_some_and(|n| n >= 0.0 && n == n.trunc()),
            Self::Flag => value.is_boolean(),
            Self::FlagsByName => by_name(Value::is_boolean),
            Self::Text => value.is_string(),
            Self::Id => {
                value.as_str().is_some_and(|id| !id.strip_suffix('#').unwrap_or(id).contains('#'))
            }
            Self::Anchor => value.as_str().is_some_and(|anchor| {
                let first = |c: char| c.is_ascii_alphabetic() || c == '_';
                let further = |c: char| first(c) || c.is_ascii_digit() || c == '-' || c == '.';
                anchor.starts_with(first) && anchor.chars().all(further)
            }),
        }
    }
}

/// Whether `value` is a list of distinct strings.
fn is_names(value: &Value) -> bool {
    let mut seen = HashSet::new();
    let is_new_name = |name: &Value| name.as_str().is_some_and(|name| seen.insert(name.to_owned()));
    value.as_array().is_some_and(|list| list.iter().all(is_new_name))
}

fn is_type(value: &Value) -> bool {
    let types = ["array", "boolean", "integer", "null", "number", "object", "string"];
    value.as_str().is_some_and(|name| types.contains(&name))
}
