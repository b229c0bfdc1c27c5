//! The one table of what can be asked for: methods, paths, who may, and how the request is limited.

use super::front::Refusal;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Index,
    RoomPage,
    DocsPage,
    Asset,
    OpenApi,
    Metrics,
    Health,
    Ready,
    WhoAmI,
    SignIn,
    SignOut,
    ProcessFrame,
    Stream,
    Stats,
    DeviceInfo,
    StartStream,
    StopStream,
    Streams,
    Findings,
    Thumbnail,
}

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Whoever has a token.
    View,
    /// Whoever has a token that operates.
    Operate,
}

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// By the HTTP server, at once.
    Light,
    /// By the HTTP server, after an analysis.
    Heavy,
    /// By the front door itself.
    Front,
    /// By a WebSocket session.
    WebSocket,
}

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Control,
    Picture,
}

/// One row of the table.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) call: Call,
    pub(super) method: &'static str,
    /// `{name}` stands for one segment.
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) work: Work,
    pub(super) body: Body,
}

const fn get(call: Call, path: &'static str, access: Access) -> Route {
    Route { call, method: "GET", path, access, work: Work::Light, body: Body::None }
}

/// The prefix of the API.
pub(super) const API: &str = "/api/v1/realtime";

/// All routes.
pub(super) const ROUTES: [Route; 20] = [
    get(Call::Index, "/", Access::View),
    get(Call::RoomPage, "/rooms/{room}", Access::View),
    get(Call::DocsPage, "/docs", Access::View),
    get(Call::Asset, "/assets/{file}", Access::Public),
    get(Call::OpenApi, "/openapi.json", Access::View),
    get(Call::Metrics, "/metrics", Access::View),
    get(Call::Health, "/healthz", Access::Public),
    get(Call::Ready, "/readyz", Access::Public),
    Route {
        call: Call::WhoAmI,
        method: "GET",
        path: "/session",
        access: Access::View,
        work: Work::Front,
        body: Body::None,
    },
    Route {
        call: Call::SignIn,
        method: "POST",
        path: "/session",
        access: Access::View,
        work: Work::Front,
        body: Body::None,
    },
    Route {
        call: Call::SignOut,
        method: "DELETE",
        path: "/session",
        access: Access::View,
        work: Work::Front,
        body: Body::None,
    },
    Route {
        call: Call::ProcessFrame,
        method: "POST",
        path: "/api/v1/realtime/video/process-frame",
        access: Access::Operate,
        work: Work::Heavy,
        body: Body::Picture,
    },
    Route {
        call: Call::Stream,
        method: "GET",
        path: "/api/v1/realtime/video/stream",
        access: Access::View,
        work: Work::WebSocket,
        body: Body::None,
    },
    get(Call::Stats, "/api/v1/realtime/video/stats", Access::View),
    get(Call::DeviceInfo, "/api/v1/realtime/edge/device-info", Access::View),
    Route {
        call: Call::StartStream,
        method: "POST",
        path: "/api/v1/realtime/video/start-stream",
        access: Access::Operate,
        work: Work::Light,
        body: Body::Control,
    },
    Route {
        call: Call::StopStream,
        method: "POST",
        path: "/api/v1/realtime/video/stop-stream",
        access: Access::Operate,
        work: Work::Light,
        body: Body::Control,
    },
    get(Call::Streams, "/api/v1/realtime/video/streams", Access::View),
    get(Call::Findings, "/api/v1/realtime/rooms/{room}/findings", Access::View),
    get(Call::Thumbnail, "/api/v1/realtime/rooms/{room}/findings/{id}", Access::View),
];

/// A route and the segments that its placeholders stand for.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) route: &'static Route,
    pub(super) segments: Vec<String>,
}

/// The route for a request.
pub(super) fn find(method: &str, path: &str) -> Result<Found, Refusal> {
    let asked = if method == "HEAD" { "GET" } else { method };
    let mut allowed = Vec::new();
    for route in &ROUTES {
        let Some(segments) = matches(route.path, path) else { continue };
        if route.method == asked {
            return Ok(Found { route, segments });
        }
        allowed.push(route.method);
    }
    if allowed.is_empty() {
        return Err(Refusal::new(404, "there is nothing here; /docs says what there is"));
    }
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    let allowed = allowed.join(", ");
    Err(Refusal::new(405, format!("this address takes {allowed}")).header("Allow", allowed))
}

fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut segments = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(segments),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && is_plain(given) => {
                segments.push(given.to_owned());
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// Names of rooms and files need no escapes, so none are understood.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && !segment.starts_with('.')
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// The value of a key in a query, percent-decoded; of several, the first.
///
/// # Errors
/// A [`Refusal`] for a value that is no text.
pub(super) fn query(query: &str, name: &str) -> Result<Option<String>, Refusal> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let Some((_, value)) = pairs.find(|(key, _)| *key == name) else { return Ok(None) };
    decode(value).map(Some).ok_or_else(|| Refusal::new(400, format!("the parameter {name} is not a text")))
}

/// Refuses keys that a call does not know, so that a misspelt one is told.
pub(super) fn only(query: &str, known: &[&str]) -> Result<(), Refusal> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let key = pair.split_once('=').map_or(pair, |(key, _)| key);
        if !known.contains(&key) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Refusal::new(400, format!("an unknown parameter; known: {known}")));
        }
    }
    Ok(())
}

/// What a percent-coded text says; `None` where it is none.
pub(super) fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_found_by_method_and_path() {
        let found = find("GET", "/rooms/or-1").unwrap();
        assert_eq!((found.route.call, found.segments), (Call::RoomPage, vec!["or-1".to_owned()]));
        assert_eq!(find("HEAD", "/healthz").unwrap().route.call, Call::Health);
        for path in ["/rooms/", "/rooms/a/b", "/rooms/..", "/rooms/a%2e", "/nothing", "//"] {
            assert_eq!(find("GET", path).unwrap_err().problem.status, 404, "{path}");
        }
        let refusal = find("PUT", "/session").unwrap_err();
        assert_eq!(refusal.problem.status, 405);
        assert_eq!(refusal.headers, [("Allow", "GET, POST, DELETE, HEAD".to_owned())]);
    }

    #[test]
    fn queries_are_decoded_and_misspelt_keys_told() {
        assert_eq!(query("a=1&room=or%2D1+x", "room").unwrap().unwrap(), "or-1 x");
        assert_eq!(query("a=1", "room").unwrap(), None);
        for bad in ["room=%", "room=%2", "room=%zz", "room=%ff", "room=%00", "room=%0d%0a"] {
            assert!(query(bad, "room").is_err(), "{bad}");
        }
        assert!(only("a=1&b", &["a", "b"]).is_ok() && only("", &[]).is_ok());
        assert!(only("a=1&c=2", &["a", "b"]).is_err());
    }
}
