//! Who may do what: tokens with a role, sessions of browsers, and where a request may come from.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::{random, routes};
use crate::error::{Error, Result};

/// Largest token file, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// Characters of a token.
const TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;
/// Browsers that are signed in at once; the oldest session gives way.
const MAX_SESSIONS: usize = 256;
/// How long a browser stays signed in.
pub(super) const SESSION_TIME: Duration = Duration::from_secs(12 * 3600);
/// The session's cookie.
pub(super) const COOKIE: &str = "endort_session";

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at rooms, figures and pages.
    View,
    /// Also start and stop rooms, and have pictures analysed.
    Operate,
}

impl Role {
    /// The word for it, in token files and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Operate => "operate",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name in the token file; `local` where there are no tokens.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

type Digested = [u8; 32];

/// The tokens of a server. Only their digests are kept.
pub struct Tokens {
    entries: Vec<(Digested, Identity)>,
    sessions: Mutex<VecDeque<Session>>,
}

struct Session {
    digest: Digested,
    identity: Identity,
    ends: Instant,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.entries.len())
    }
}

impl Tokens {
    /// No tokens: everybody who can connect may do everything.
    pub fn none() -> Self {
        Self { entries: Vec::new(), sessions: Mutex::default() }
    }

    /// Reads a token file: a line per token, `ROLE NAME TOKEN`; `#` starts a comment.
    ///
    /// # Errors
    /// [`Error::Read`], and [`Error::Config`] that names the line and never the token.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::metadata(path).map_err(Error::read(path))?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(Error::TooLarge {
                what: format!("token file {}", path.display()),
                found: format!("{bytes} bytes"),
                limit: format!("{MAX_FILE_BYTES} bytes"),
            });
        }
        let text = std::fs::read_to_string(path).map_err(Error::read(path))?;
        Self::parse(&text).map_err(|(line, detail)| Error::Config {
            origin: format!("{}:{line}", path.display()),
            detail: detail.to_owned(),
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut entries = Vec::new();
        let (mut names, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(role) = words.next() else { continue };
            let role = match role {
                "view" => Role::View,
                "operate" => Role::Operate,
                _ => return Err((number, "must start with view or operate: ROLE NAME TOKEN")),
            };
            let (Some(name), Some(token), None) = (words.next(), words.next(), words.next()) else {
                return Err((number, "must be three words: ROLE NAME TOKEN"));
            };
            if name.contains(char::is_control) {
                return Err((number, "the name must hold no control characters"));
            }
            if !TOKEN_LENGTH.contains(&token.len()) || !token.bytes().all(is_token_byte) {
                return Err((number, "the token must be 16 to 256 of A-Z a-z 0-9 . _ ~ + -"));
            }
            let digest = digest(token);
            if !names.insert(name.to_owned()) || !digests.insert(digest) {
                return Err((number, "the name or the token is there already"));
            }
            entries.push((digest, Identity { name: name.to_owned(), role }));
        }
        if entries.is_empty() {
            return Err((1, "holds no token; write a line ROLE NAME TOKEN, or leave out --token-file"));
        }
        Ok(Self { entries, sessions: Mutex::default() })
    }

    /// Whether anybody may do anything.
    pub fn are_absent(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whose token this is. Takes the same time whatever is wrong with it.
    pub(super) fn identify(&self, token: &str) -> Option<Identity> {
        let found = find(&digest(token), self.entries.iter().map(|(digest, _)| digest));
        found.and_then(|index| self.entries.get(index)).map(|(_, identity)| identity.clone())
    }

    /// Signs a browser in; the secret goes into its cookie.
    pub(super) fn sign_in(&self, identity: Identity) -> String {
        let secret = random::hex::<16>();
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        sessions.retain(|session| session.ends > now);
        if sessions.len() == MAX_SESSIONS {
            sessions.pop_front();
        }
        sessions.push_back(Session { digest: digest(&secret), identity, ends: now + SESSION_TIME });
        secret
    }

    /// Whose session this is.
    pub(super) fn session(&self, secret: &str) -> Option<Identity> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let found = find(&digest(secret), sessions.iter().map(|session| &session.digest));
        let session = found.and_then(|index| sessions.get(index))?;
        (session.ends > Instant::now()).then(|| session.identity.clone())
    }

    /// Ends a session.
    pub(super) fn sign_out(&self, secret: &str) {
        let digest = digest(secret);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|session| !bool::from(session.digest.ct_eq(&digest)));
    }
}

/// A name as the value of a header, which holds ASCII alone; [`name_in_header`] reads it.
pub(super) fn name_for_header(name: &str) -> String {
    let mut value = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            byte if byte.is_ascii_graphic() && !b"%+".contains(&byte) => value.push(char::from(byte)),
            byte => value.push_str(&format!("%{byte:02X}")),
        }
    }
    value
}

/// The name that [`name_for_header`] wrote.
pub(super) fn name_in_header(value: &str) -> String {
    routes::decode(value).unwrap_or_default()
}

/// Characters that a token may hold: those of RFC 6750 that a WebSocket subprotocol may hold as well.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~+-".contains(&byte)
}

fn digest(secret: &str) -> Digested {
    Sha256::digest(secret.as_bytes()).into()
}

/// Index of the digest that equals `wanted`, looking at all of them.
fn find<'a>(wanted: &Digested, digests: impl Iterator<Item = &'a Digested>) -> Option<usize> {
    let (mut found, mut at) = (Choice::from(0), 0_u32);
    for (index, digest) in (0_u32..).zip(digests) {
        let equal = digest.ct_eq(wanted);
        at.conditional_assign(&index, equal);
        found |= equal;
    }
    bool::from(found).then_some(at as usize)
}

/// Where requests may come from.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    /// Origins besides the server's own, such as `https://ward.example`.
    pub allowed: Vec<String>,
    /// Host names besides `localhost` and addresses; looked at only where there are no tokens.
    pub hosts: Vec<String>,
}

impl Origins {
    /// Whether a request with this `Origin` and `Host` comes from a page of this server or an allowed one.
    pub(super) fn allow(&self, origin: Option<&str>, host: Option<&str>, scheme: &str) -> bool {
        is_own(origin, host, scheme) || origin.is_some_and(|origin| self.lists(origin))
    }

    /// Whether a page of this origin is the server's own, as its users see it: a proxy that speaks TLS in its place is
    /// listed, and keeps the host's name.
    pub(super) fn are_one_place(&self, origin: Option<&str>, host: Option<&str>, scheme: &str) -> bool {
        let listed = origin.filter(|origin| self.lists(origin)).and_then(|origin| origin.split_once("://"));
        is_own(origin, host, scheme)
            || listed.zip(host).is_some_and(|((_, place), host)| place.eq_ignore_ascii_case(host))
    }

    /// Whether an origin is one of those that were allowed besides the server's own.
    pub(super) fn lists(&self, origin: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// Whether a host name is one of ours. A page of a foreign name that was made to point here would have
    /// equal `Origin` and `Host`.
    pub(super) fn knows_host(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return true };
        let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => host.rsplit_once(':').map_or(host, |(name, _)| name),
        };
        name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Whether a request with this `Origin` and `Host` comes from a page of this server, or from no page at all.
fn is_own(origin: Option<&str>, host: Option<&str>, scheme: &str) -> bool {
    let Some(origin) = origin else { return true };
    host.is_some_and(|host| {
        origin
            .split_once("://")
            .is_some_and(|(from, place)| from == scheme && place.eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# ward 3\nview door aaaaaaaaaaaaaaaa\n\noperate desk bbbbbbbbbbbbbbbb # nurse\n";

    #[test]
    fn tokens_have_names_and_roles() {
        let tokens = Tokens::parse(FILE).unwrap();
        assert_eq!(tokens.identify("aaaaaaaaaaaaaaaa").unwrap().role, Role::View);
        let desk = Identity { name: "desk".into(), role: Role::Operate };
        assert_eq!(tokens.identify("bbbbbbbbbbbbbbbb"), Some(desk));
        for wrong in ["", "a", "aaaaaaaaaaaaaaab", "bbbbbbbbbbbbbbbbb"] {
            assert_eq!(tokens.identify(wrong), None);
        }
        assert!(!format!("{tokens:?}").contains("bbbb"));
    }

    #[test]
    fn a_wrong_token_file_names_the_line() {
        for (text, line) in [
            ("", 1),
            ("view door short", 1),
            ("# x\nadmin door aaaaaaaaaaaaaaaa", 2),
            ("view aaaaaaaaaaaaaaaa", 1),
            ("view a aaaaaaaaaaaaaaaa\nview b aaaaaaaaaaaaaaaa", 2),
            ("view a aaaaaaaaaaaaaaaa\nview a bbbbbbbbbbbbbbbb", 2),
            ("view a aaaaaaaaaaaaaaa/", 1),
            ("view a\u{7}b aaaaaaaaaaaaaaaa", 1),
        ] {
            assert_eq!(Tokens::parse(text).err().unwrap().0, line, "{text}");
        }
    }

    #[test]
    fn names_of_every_script_go_through_a_header() {
        for name in ["local", "desk-3", "50%", "%41", "a%", "käthe", "پرستار", "護士"] {
            let value = name_for_header(name);
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value}");
            assert_eq!(name_in_header(&value), name);
        }
        assert_eq!(name_for_header("nurse-station"), "nurse-station");
    }

    #[test]
    fn a_session_lasts_until_it_is_ended() {
        let tokens = Tokens::parse(FILE).unwrap();
        let identity = tokens.identify("aaaaaaaaaaaaaaaa").unwrap();
        let secret = tokens.sign_in(identity.clone());
        assert_eq!(tokens.session(&secret), Some(identity));
        assert_eq!(tokens.session("0123"), None);
        tokens.sign_out(&secret);
        assert_eq!(tokens.session(&secret), None);
    }

    #[test]
    fn only_own_and_allowed_origins_pass() {
        let origins = Origins { allowed: vec!["https://ward.example".into()], hosts: vec!["tower3".into()] };
        let host = Some("10.0.0.5:8080");
        assert!(origins.allow(None, host, "http"));
        assert!(origins.allow(Some("http://10.0.0.5:8080"), host, "http"));
        assert!(origins.allow(Some("https://ward.example"), host, "http"));
        for foreign in ["https://10.0.0.5:8080", "http://10.0.0.5", "http://evil.example", "null", ""] {
            assert!(!origins.allow(Some(foreign), host, "http"), "{foreign}");
        }
        for (name, known) in [
            ("localhost:8080", true),
            ("[::1]:8080", true),
            ("192.168.1.9", true),
            ("Tower3:8080", true),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
        ] {
            assert_eq!(origins.knows_host(Some(name)), known, "{name}");
        }
    }
}
