//! The pages: plain HTML, CSS and JavaScript modules, embedded in the program; nothing is fetched from elsewhere.

use super::http::{Reply, document, missing};
use super::routes::Call;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Scripts, styles and the icon.
const ASSETS: [(&str, &str, &[u8]); 12] = [
    ("style.css", CSS, include_bytes!("style.css")),
    ("api.js", SCRIPT, include_bytes!("api.js")),
    ("docs.js", SCRIPT, include_bytes!("docs.js")),
    ("draw.js", SCRIPT, include_bytes!("draw.js")),
    ("index.js", SCRIPT, include_bytes!("index.js")),
    ("room.js", SCRIPT, include_bytes!("room.js")),
    ("sign-in.js", SCRIPT, include_bytes!("sign-in.js")),
    ("text.js", SCRIPT, include_bytes!("text.js")),
    ("text-en.js", SCRIPT, include_bytes!("text-en.js")),
    ("text-fa.js", SCRIPT, include_bytes!("text-fa.js")),
    ("video.js", SCRIPT, include_bytes!("video.js")),
    ("icon.svg", "image/svg+xml", include_bytes!("icon.svg")),
];

/// A page.
pub(super) fn page(call: Call) -> Reply {
    match call {
        Call::Index => document(HTML, include_bytes!("index.html")),
        Call::RoomPage => document(HTML, include_bytes!("room.html")),
        Call::DocsPage => document(HTML, include_bytes!("docs.html")),
        _ => missing(),
    }
}

/// A part of a page.
pub(super) fn asset(name: &str) -> Reply {
    match ASSETS.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, bytes)) => document(kind, bytes),
        None => missing(),
    }
}

/// The page that asks for a token.
pub(super) fn sign_in() -> &'static [u8] {
    include_bytes!("sign-in.html")
}
