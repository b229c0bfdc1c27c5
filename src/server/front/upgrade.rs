//! The handshake that turns a connection into a WebSocket (RFC 6455, section 4.2).

use tungstenite::handshake::derive_accept_key;

use super::head::Head;
use super::refusal::Refusal;

/// The subprotocol that is spoken.
const PROTOCOL: &str = "endort";
/// What a subprotocol that carries a token starts with: browsers can set no header for a WebSocket.
const TOKEN_PREFIX: &str = "bearer.";
/// Characters of a `Sec-WebSocket-Key`: sixteen bytes in base64.
const KEY_LENGTH: usize = 24;

/// The token in the offered subprotocols.
pub(super) fn subprotocol_token(head: &Head) -> Option<&str> {
    head.tokens("sec-websocket-protocol").find_map(|offered| offered.strip_prefix(TOKEN_PREFIX))
}

/// The response that accepts the upgrade. Extensions are not spoken: pictures are compressed already.
pub(super) fn accept(head: &Head) -> Result<String, Refusal> {
    if !head.has_token("connection", "upgrade") || !head.has_token("upgrade", "websocket") {
        return Err(Refusal::new(426, "connect to this address by WebSocket")
            .header("Upgrade", "websocket")
            .header("Connection", "Upgrade"));
    }
    if head.method != "GET" || head.content_length > 0 {
        return Err(Refusal::new(400, "a WebSocket starts with GET and no body").closing());
    }
    if head.header("sec-websocket-version") != Some("13") {
        return Err(Refusal::new(426, "speak version 13 of the protocol")
            .header("Sec-WebSocket-Version", "13")
            .header("Upgrade", "websocket"));
    }
    let key = head
        .header("sec-websocket-key")
        .filter(|key| key.len() == KEY_LENGTH && key.ends_with("=="))
        .ok_or_else(|| Refusal::new(400, "Sec-WebSocket-Key is missing or malformed"))?;
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n",
        derive_accept_key(key.as_bytes())
    );
    if head.has_token("sec-websocket-protocol", PROTOCOL) {
        response.push_str("Sec-WebSocket-Protocol: endort\r\n");
    }
    response.push_str("\r\n");
    Ok(response)
}
