//! JSON held against a schema of the OpenAPI document, more strictly than JSON Schema has it: a field that is not
//! described is an error, and which fields were met is remembered.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// Keywords that say something of a value and are looked at, and those that need not be.
const KNOWN: [&str; 19] = [
    "$ref",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "oneOf",
    "anyOf",
    "const",
    "enum",
    "minimum",
    "maximum",
    "description",
    "format",
    "default",
    "title",
    "contentMediaType",
];

const PREFIX: &str = "#/components/schemas/";

/// The document, and the fields of its schemas that were met in answers.
pub struct Document {
    pub json: Value,
    met: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl Document {
    pub fn new(json: Value) -> Self {
        Self { json, met: RefCell::default() }
    }

    /// What a call answers with a status, in JSON of this media type.
    #[track_caller]
    pub fn answer(&self, method: &str, path: &str, status: u16, media_type: &str) -> &Value {
        let response = &self.json["paths"][path][method.to_lowercase()]["responses"][status.to_string()];
        let schema = &response["content"][media_type]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} {media_type}: {response}");
        schema
    }

    /// The schema of this name.
    #[track_caller]
    pub fn named(&self, name: &str) -> &Value {
        let schema = &self.json["components"]["schemas"][name];
        assert!(schema.is_object(), "there is no schema {name}");
        schema
    }

    /// Holds a value against a schema.
    #[track_caller]
    pub fn check(&self, schema: &Value, value: &Value) {
        self.fits("", schema, value).unwrap_or_else(|why| panic!("{why}\n{value:#}"));
    }

    /// Fields of a schema that no answer had so far.
    pub fn never_met(&self, name: &str) -> Vec<String> {
        let met = self.met.borrow();
        let fields = self.named(name)["properties"].as_object().into_iter().flat_map(Map::keys);
        fields.filter(|field| met.get(name).is_none_or(|met| !met.contains(*field))).cloned().collect()
    }

    /// `name` is the schema's, where it has one.
    fn fits(&self, name: &str, schema: &Value, value: &Value) -> Result<(), String> {
        let Some(rules) = schema.as_object() else { return Ok(()) };
        for keyword in rules.keys() {
            let known = KNOWN.contains(&keyword.as_str()) || keyword == "pattern";
            assert!(known, "{name}: the keyword {keyword} is not understood");
        }
        if let Some(target) = rules.get("$ref") {
            let target = target.as_str().and_then(|target| target.strip_prefix(PREFIX)).unwrap();
            // With fields beside it, as an enum's variant has its tag: both describe one object.
            return match rules.contains_key("properties") {
                true => self.fits(target, &merged(self.named(target), schema), value),
                false => self.fits(target, self.named(target), value),
            };
        }
        for (keyword, one) in [("oneOf", true), ("anyOf", false)] {
            let Some(options) = rules.get(keyword).and_then(Value::as_array) else { continue };
            let outcomes: Vec<_> = options.iter().map(|option| self.fits(name, option, value)).collect();
            let fitting = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
            if fitting == 0 || (one && fitting > 1) {
                let why: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
                return Err(format!("{name}: {fitting} of {keyword} fit: {}", why.join("; ")));
            }
        }
        let says = |what: String| Err(format!("{name}: {what}"));
        if let Some(wanted) = rules.get("const")
            && wanted != value
        {
            return says(format!("{value} is not {wanted}"));
        }
        if let Some(words) = rules.get("enum").and_then(Value::as_array)
            && !words.contains(value)
        {
            return says(format!("{value} is none of {words:?}"));
        }
        if let Some(kind) = rules.get("type") {
            let kinds = kind.as_array().cloned().unwrap_or_else(|| vec![kind.clone()]);
            if !kinds.iter().any(|kind| is_a(value, kind.as_str().unwrap())) {
                return says(format!("{value} is not of type {kind}"));
            }
        }
        if let Some(number) = value.as_f64() {
            let beyond = rules.get("minimum").and_then(Value::as_f64).is_some_and(|least| number < least)
                || rules.get("maximum").and_then(Value::as_f64).is_some_and(|most| number > most);
            if beyond {
                return says(format!("{number} is out of range"));
            }
        }
        if let Some(items) = value.as_array() {
            let limit = |keyword: &str| rules.get(keyword).and_then(Value::as_u64).map(|n| n as usize);
            if limit("minItems").is_some_and(|n| items.len() < n)
                || limit("maxItems").is_some_and(|n| items.len() > n)
            {
                return says(format!("{} items", items.len()));
            }
            items.iter().try_for_each(|item| self.fits(name, &rules["items"], item))?;
        }
        match value.as_object() {
            Some(fields) => self.fields_fit(name, rules, fields),
            None => Ok(()),
        }
    }

    fn fields_fit(
        &self,
        name: &str,
        rules: &Map<String, Value>,
        fields: &Map<String, Value>,
    ) -> Result<(), String> {
        let none = Map::new();
        let described = rules.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let others = rules.get("additionalProperties").filter(|others| others.is_object());
        // An object that is not described at all, as what the device is, may hold anything.
        let anything = described.is_empty() && others.is_none() && !rules.contains_key("required");
        for (key, value) in fields {
            match (described.get(key), others) {
                (Some(schema), _) => {
                    self.fits("", schema, value).map_err(|why| format!("{name}.{key}{why}"))?
                }
                (None, Some(schema)) => self.fits("", schema, value)?,
                (None, None) if anything => {}
                (None, None) => return Err(format!("{name}: the field {key} is not described")),
            }
        }
        let required = rules.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str) {
            if !fields.contains_key(key) {
                return Err(format!("{name}: the field {key} is missing"));
            }
        }
        self.met.borrow_mut().entry(name.to_owned()).or_default().extend(fields.keys().cloned());
        Ok(())
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("a type that is not understood: {other}"),
    }
}

/// A schema with the fields of another beside its own.
fn merged(target: &Value, beside: &Value) -> Value {
    let mut merged = target.clone();
    let more = beside["properties"].as_object().unwrap().clone();
    merged["properties"].as_object_mut().unwrap().extend(more);
    let required = beside["required"].as_array().cloned().unwrap_or_default();
    merged["required"].as_array_mut().unwrap().extend(required);
    merged
}

#[test]
fn what_does_not_fit_is_found() {
    let schema = serde_json::json!({ "type": "object", "required": ["a"], "properties": {
        "a": { "type": ["integer", "null"], "minimum": 1 },
        "b": { "oneOf": [{ "const": "x" }, { "$ref": "#/components/schemas/T" }] } } });
    let tagged = serde_json::json!({ "type": "object", "required": ["c"], "properties": { "c": { "type": "string" } } });
    let document =
        Document::new(serde_json::json!({ "components": { "schemas": { "S": schema, "T": tagged } } }));
    let fits = |value: Value| document.fits("S", document.named("S"), &value);
    fits(serde_json::json!({ "a": 1 })).unwrap();
    assert_eq!(document.never_met("S"), ["b"]);
    fits(serde_json::json!({ "a": null, "b": { "c": "" } })).unwrap();
    assert!(document.never_met("S").is_empty() && document.never_met("T").is_empty());
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({ "a": 0 }),
        serde_json::json!({ "a": 1.5 }),
        serde_json::json!({ "a": 1, "new": 1 }),
        serde_json::json!({ "a": 1, "b": "y" }),
        serde_json::json!({ "a": 1, "b": { "c": "", "d": "" } }),
    ] {
        assert!(fits(wrong.clone()).is_err(), "{wrong}");
    }
}
