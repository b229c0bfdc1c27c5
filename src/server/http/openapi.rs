//! `/openapi.json`: the routes of [`routes`](crate::server::routes) and the types of [`api`](crate::server::api) as
//! an OpenAPI 3.1 document.

use std::collections::BTreeSet;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::record::FrameRecord;
use crate::server::api::{
    Control, Findings, Health, Message, StartStream, StartedStream, Stats, StopStream, Streams, WhoAmI,
};
use crate::server::auth::{COOKIE, Role};
use crate::server::problem::{self, Problem, reason};
use crate::server::routes::{API, Access, Body, Call, ROUTES, Route};

/// Names of rooms, findings and files in a path; see [`routes`](crate::server::routes).
const SEGMENT: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]*$";

/// Names of rooms in a query.
const ROOM: &str = "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$";
/// Other texts in a query: no control characters.
const TEXT: &str = "^[^\\u0000-\\u001f\\u007f-\\u009f]+$";

/// The document of a server that has tokens, or of one that has none.
pub(super) fn document(with_tokens: bool) -> Value {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for route in &ROUTES {
        let operation = operation(route, with_tokens, &mut schemas);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.to_lowercase(), operation);
        }
    }
    // The messages of the WebSocket have no place in an operation, so they are named in words and defined here.
    let _ = (schemas.subschema_for::<Message>(), schemas.subschema_for::<Control>());
    let mut document = json!({
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
        "components": { "schemas": schemas.take_definitions(true) }
    });
    // Where there are no tokens, none is asked for; a wrong one does no harm.
    if with_tokens
        && let Some(components) = document.pointer_mut("/components").and_then(Value::as_object_mut)
    {
        components.insert("securitySchemes".to_owned(), security_schemes());
    }
    document
}

fn security_schemes() -> Value {
    json!({
        "token": { "type": "http", "scheme": "bearer", "description":
            "A token from the server's token file. WebSocket clients may send it as the subprotocol bearer.TOKEN \
             instead." },
        "session": { "type": "apiKey", "in": "cookie", "name": COOKIE, "description":
            "What a browser that has signed in sends." }
    })
}

fn operation(route: &Route, with_tokens: bool, schemas: &mut SchemaGenerator) -> Value {
    let (summary, answer) = described(route.call, schemas);
    let mut responses = Map::new();
    responses.insert(success(route.call).to_string(), answer);
    for status in errors(route, with_tokens) {
        responses.insert(status.to_string(), problem(status, schemas));
    }
    let mut operation = json!({
        "operationId": format!("{:?}", route.call),
        "summary": summary,
        "tags": [if route.path.starts_with(API) { "api" } else { "around it" }],
        "parameters": parameters(route),
        "responses": responses,
        "security": match with_tokens && route.access != Access::Public {
            true => json!([{ "token": [] }, { "session": [] }]),
            false => json!([]),
        },
    });
    let body = match route.call {
        Call::ProcessFrame => Some(picture_body()),
        Call::StartStream => Some(json_body(schemas.subschema_for::<StartStream>().to_value())),
        Call::StopStream => Some(json_body(schemas.subschema_for::<StopStream>().to_value())),
        _ => None,
    };
    if let Some(operation) = operation.as_object_mut() {
        if let Some(body) = body {
            operation.insert("requestBody".to_owned(), body);
        }
        if with_tokens && route.access != Access::Public {
            let role = if route.access == Access::Operate { Role::Operate } else { Role::View };
            operation.insert("x-endort-role".to_owned(), role.as_str().into());
        }
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

/// Statuses of what can go wrong with any request: its head, its Origin, a body where none is taken, too many at once, and
/// an answer that fails or takes too long.
const ALWAYS: [u16; 9] = [400, 403, 408, 413, 414, 431, 502, 503, 504];

fn errors(route: &Route, with_tokens: bool) -> BTreeSet<u16> {
    let mut statuses = BTreeSet::from(ALWAYS);
    if with_tokens && route.access != Access::Public {
        statuses.insert(401);
    }
    statuses.extend(match route.body {
        Body::None => &[][..],
        Body::Control => &[404, 411, 415, 422],
        Body::Picture => &[404, 411, 415, 422, 500],
    });
    statuses.extend(match route.call {
        // The audit log may be on a full disk.
        Call::StartStream => &[409, 500][..],
        Call::DeviceInfo => &[500],
        Call::Stream => &[404, 409, 426],
        Call::Stats => &[404],
        _ if route.path.contains('{') => &[404],
        _ => &[],
    });
    statuses
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
            let mut answer = json_of("It starts.", schema);
            if let Some(answer) = answer.as_object_mut() {
                answer.insert("links".to_owned(), links());
            }
            ("Start a room", answer)
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

/// What can be done with a room that was started.
fn links() -> Value {
    let with = |call: Call, parameters: Value| json!({ "operationId": format!("{call:?}"), "parameters": parameters });
    json!({
        "Stop": { "operationId": format!("{:?}", Call::StopStream),
            "requestBody": { "stream_id": "$response.body#/stream_id" } },
        "Stats": with(Call::Stats, json!({ "query.room": "$response.body#/room" })),
        "RoomPage": with(Call::RoomPage, json!({ "path.room": "$response.body#/room" })),
        "Findings": with(Call::Findings, json!({ "path.room": "$response.body#/room" })),
    })
}

fn parameters(route: &Route) -> Value {
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    let room = || json!({ "type": "string", "pattern": ROOM });
    let model = || json!({ "type": "string", "pattern": TEXT, "minLength": 1, "maxLength": 256 });
    let number = |least: f64, most: f64| json!({ "type": "number", "minimum": least, "maximum": most });
    let pictures = || json!({ "type": "string", "enum": ["none", "jpeg"] });
    let mut parameters: Vec<Value> = match route.call {
        Call::ProcessFrame => vec![
            query("model", model(), "The model; the server's own where absent."),
            query(
                "frame_id",
                json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }),
                "The number in the record.",
            ),
        ],
        Call::Stats => vec![query("room", room(), "Only this room.")],
        Call::Stream => vec![
            query("room", room(), "Watch this room instead of sending pictures."),
            query("push", json!({ "type": "boolean" }), "Be the camera of a room whose source is push."),
            query("model", model(), "The model for pictures that are sent."),
            query("max_latency_ms", number(1.0, 60000.0), "The budget for pictures that are sent."),
            query("overlay", pictures(), "Pictures with their findings drawn."),
            query("picture_fps", number(0.1, 240.0), "Pictures per second at most."),
            query("pictures", pictures(), "A room's pictures as they came."),
            query(
                "video",
                json!({ "type": "string", "enum": ["none", "fmp4"] }),
                "A room's H.264 as it came, in fragments of MP4.",
            ),
        ],
        _ => Vec::new(),
    };
    for segment in route.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
        let schema = json!({ "type": "string", "pattern": SEGMENT });
        parameters.push(json!({ "name": segment, "in": "path", "required": true, "schema": schema }));
    }
    Value::Array(parameters)
}
