//! `/openapi.json`: the routes of [`routes`](crate::server::routes) and the types of [`api`](crate::server::api) as
//! an OpenAPI 3.1 document.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::record::FrameRecord;
use crate::server::api::{
    Control, Findings, Health, Message, StartStream, StartedStream, Stats, StopStream, Streams, WhoAmI,
};
use crate::server::problem::{self, Problem, reason};
use crate::server::routes::{API, Access, Body, Call, ROUTES, Route, Work};

/// The document.
pub(super) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_lowercase(), operation);
        }
    }
    // The messages of the WebSocket have no place in an operation, so they are named in words and defined here.
    let _ = (schemas.subschema_for::<Message>(), schemas.subschema_for::<Control>());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "endort",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Real-time AI on endoscopy video",
            "description": "Live rooms: pictures, findings, and whether the budget is held. Research software, not \
                a medical device.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" }
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description":
                    "A token from the server's token file. WebSocket clients may send it as the subprotocol \
                     bearer.TOKEN instead. Without a token file no token is needed." }
            }
        }
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let (summary, answer) = described(route.call, schemas);
    let mut responses = Map::new();
    responses.insert(success(route.call).to_string(), answer);
    for &status in errors(route) {
        responses.insert(status.to_string(), problem(status, schemas));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.call),
        "summary": summary,
        "tags": [if route.path.starts_with(API) { "api" } else { "around it" }],
        "parameters": parameters(route),
        "responses": responses,
        "security": if route.access == Access::Public { json!([]) } else { json!([{ "token": [] }]) },
    });
    let body = match route.call {
        Call::ProcessFrame => Some(picture_body()),
        Call::StartStream => Some(json_body(schemas.subschema_for::<StartStream>().to_value())),
        Call::StopStream => Some(json_body(schemas.subschema_for::<StopStream>().to_value())),
        _ => None,
    };
    if let (Some(body), Some(operation)) = (body, operation.as_object_mut()) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

fn success(call: Call) -> u16 {
    match call {
        Call::StartStream => 201,
        Call::SignIn | Call::SignOut => 204,
        Call::Stream => 101,
        _ => 200,
    }
}

fn errors(route: &Route) -> &'static [u16] {
    match (route.call, route.access, route.work, route.body) {
        (Call::Ready, ..) => &[400, 403, 503],
        (Call::Asset, ..) => &[400, 403, 404],
        (_, Access::Public, ..) => &[400, 403],
        (_, _, Work::WebSocket, _) => &[400, 401, 403, 404, 409, 426, 503],
        (Call::ProcessFrame, ..) => &[400, 401, 403, 408, 411, 413, 415, 422, 500, 503],
        (Call::StartStream, ..) => &[400, 401, 403, 408, 409, 411, 413, 415, 422, 503],
        (_, _, _, Body::Control) => &[400, 401, 403, 404, 408, 411, 413, 415, 422, 503],
        (Call::Stats | Call::Findings | Call::Thumbnail, ..) => &[400, 401, 403, 404, 503],
        _ => &[400, 401, 403, 503],
    }
}

fn described(call: Call, schemas: &mut SchemaGenerator) -> (&'static str, Value) {
    let json_of = |description: &str, schema: Value| json!({ "description": description, "content": { "application/json": { "schema": schema } } });
    let other = |description: &str, kind: &str| json!({ "description": description, "content": { kind: { "schema": { "type": "string" } } } });
    match call {
        Call::Index => ("All rooms at a glance", other("A page.", "text/html")),
        Call::RoomPage => ("A room's picture with findings and live budget", other("A page.", "text/html")),
        Call::DocsPage => ("This document as a page", other("A page.", "text/html")),
        Call::Asset => ("Scripts and styles of the pages", other("A script or a style sheet.", "*/*")),
        Call::OpenApi => ("This document", json_of("This document.", json!({ "type": "object" }))),
        Call::Metrics => ("Metrics for Prometheus", other("Prometheus' text format.", "text/plain")),
        Call::Health => {
            let schema = schemas.subschema_for::<Health>().to_value();
            ("Whether the server answers", json_of("It does.", schema))
        }
        Call::Ready => {
            let schema = schemas.subschema_for::<Health>().to_value();
            ("Whether the server takes work", json_of("It does.", schema))
        }
        Call::WhoAmI => {
            let schema = schemas.subschema_for::<WhoAmI>().to_value();
            ("Whose token this is", json_of("Name and role.", schema))
        }
        Call::SignIn => ("Sign a browser in", json!({ "description": "A cookie is set." })),
        Call::SignOut => ("Sign a browser out", json!({ "description": "The cookie is gone." })),
        Call::ProcessFrame => {
            let schema = schemas.subschema_for::<FrameRecord>().to_value();
            let mut answer = json_of("The frame's record.", schema);
            if let Some(content) = answer.pointer_mut("/content").and_then(Value::as_object_mut) {
                content.insert("image/jpeg".to_owned(), json!({}));
            }
            if let Some(answer) = answer.as_object_mut() {
                answer.insert(
                    "headers".to_owned(),
                    json!({ "Endort-Record": { "description": "The record, where the answer is a picture.",
                        "schema": { "type": "string" } } }),
                );
            }
            ("Analyse one picture", answer)
        }
        Call::Stream => (
            "Watch a room, or have pictures analysed, by WebSocket",
            json!({ "description": "The connection is a WebSocket now. Binary messages are pictures; text \
                messages from the server are Message, those to it are Control (see the schemas)." }),
        ),
        Call::Stats => {
            let schema = schemas.subschema_for::<Stats>().to_value();
            ("Figures of all rooms, or of one", json_of("The figures.", schema))
        }
        Call::DeviceInfo => (
            "What this box is and what it should run",
            json_of("What detect-device --json prints.", json!({ "type": "object" })),
        ),
        Call::StartStream => {
            let schema = schemas.subschema_for::<StartedStream>().to_value();
            ("Start a room", json_of("It starts.", schema))
        }
        Call::StopStream => {
            let schema = schemas.subschema_for::<Stats>().to_value();
            ("Stop a room", json_of("Its final figures.", schema))
        }
        Call::Streams => {
            let schema = schemas.subschema_for::<Streams>().to_value();
            ("All rooms and how they fare", json_of("The rooms.", schema))
        }
        Call::Findings => {
            let schema = schemas.subschema_for::<Findings>().to_value();
            ("Recent findings of a room", json_of("Newest first.", schema))
        }
        Call::Thumbnail => ("A finding's thumbnail", other("A JPEG picture.", "image/jpeg")),
    }
}

fn problem(status: u16, schemas: &mut SchemaGenerator) -> Value {
    let schema = schemas.subschema_for::<Problem>().to_value();
    json!({ "description": reason(status), "content": { problem::MEDIA_TYPE: { "schema": schema } } })
}

fn json_body(schema: Value) -> Value {
    json!({ "required": true, "content": { "application/json": { "schema": schema } } })
}

fn picture_body() -> Value {
    let mut content = Map::new();
    for kind in ["image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff"] {
        content.insert(kind.to_owned(), json!({ "schema": { "type": "string", "format": "binary" } }));
    }
    content.insert(
        "multipart/form-data".to_owned(),
        json!({ "schema": { "type": "object", "required": ["file"],
            "properties": { "file": { "type": "string", "format": "binary" } } } }),
    );
    json!({ "required": true, "content": content })
}

fn parameters(route: &Route) -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let text = || json!({ "type": "string" });
    let mut parameters: Vec<Value> = match route.call {
        Call::ProcessFrame => vec![
            query("model", text(), "The model; the server's own where absent."),
            query("frame_id", json!({ "type": "integer", "minimum": 0 }), "The number in the record."),
        ],
        Call::Stats => vec![query("room", text(), "Only this room.")],
        Call::Stream => vec![
            query("room", text(), "Watch this room instead of sending pictures."),
            query("push", json!({ "type": "boolean" }), "Be the camera of a room whose source is push."),
            query("model", text(), "The model for pictures that are sent."),
            query("max_latency_ms", json!({ "type": "number" }), "The budget for pictures that are sent."),
            query("overlay", json!({ "enum": ["none", "jpeg"] }), "Pictures with their findings drawn."),
            query("picture_fps", json!({ "type": "number" }), "Pictures per second at most."),
            query("pictures", json!({ "enum": ["none", "jpeg"] }), "A room's pictures as they came."),
        ],
        _ => Vec::new(),
    };
    for segment in route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({ "name": segment, "in": "path", "required": true, "schema": text() }));
    }
    Value::Array(parameters)
}
