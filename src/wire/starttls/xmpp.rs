// SPDX-License-Identifier: MIT OR Apache-2.0
//! XMPP (RFC 6120 section 5), of clients and between servers.
//!
//! As server: the client's stream is answered with one that has STARTTLS as its only feature, and requires it. Inside TLS
//! both open new streams (section 5.4.3.3), so the server's is as good as ours.
//! As client: a stream to the name that the server's certificate must have, which is the domain that is served (section
//! 13.7.2.1), then STARTTLS. A server that declines has a stream of ours already, so there is no going on in clear.
//!
//! What is cut are tags, not documents: nothing here nests, and an attribute is compared with what it must be.

use super::{Cut, Move, Opening, Part, Protocol, Talk, quit, quoted, silent};

pub(super) const PROTOCOL: Protocol = Protocol {
    name: "xmpp",
    opening: Opening::Client,
    serve: Part { begin: silent, cut: bare_tag, hear: stream },
    ask: Part { begin: open, cut: tag, hear: features },
    plain: None,
    may_stay_clear: false,
};

const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

const STREAMS: &str = "http://etherx.jabber.org/streams";

/// Cuts after a tag, before which there is no text: the client names what it wants, and no more.
fn bare_tag(input: &[u8]) -> Cut {
    match input.trim_ascii_start().first() {
        Some(byte) if *byte != b'<' => Cut::Bad("this is not XMPP"),
        _ => tag(input),
    }
}

/// Cuts after a tag, with the text before it. A ">" may stand in an attribute.
fn tag(input: &[u8]) -> Cut {
    let mut quote = None;
    let mut begun = false;
    for (at, byte) in input.iter().enumerate() {
        match (byte, quote) {
            (b'<', None) if begun => return Cut::Bad("this is not XML"),
            (b'<', None) => begun = true,
            (b'>', None) if begun => return Cut::Unit(at + 1),
            (b'\'' | b'"', None) if begun => quote = Some(*byte),
            (byte, Some(open)) if *byte == open => quote = None,
            _ => {}
        }
    }
    Cut::More
}

/// A tag's name without its namespace's prefix ("/features", "?xml"), and the rest of it.
fn split(unit: &[u8]) -> (&[u8], &[u8]) {
    let begin = unit.iter().position(|byte| *byte == b'<').map_or(0, |at| at + 1);
    let text = unit.strip_suffix(b">").and_then(|unit| unit.get(begin..)).unwrap_or_default();
    let ends = |(at, byte): (usize, &u8)| byte.is_ascii_whitespace() || *byte == b'/' && at > 0;
    let end = text.iter().enumerate().position(ends);
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let (slash, name) = match name {
        [b'/', name @ ..] => (true, name),
        name => (false, name),
    };
    let local = name.iter().position(|byte| *byte == b':').map_or(name, |colon| &name[colon + 1..]);
    // An end tag is told by its name alone.
    if slash { (b"/", local) } else { (local, rest) }
}

/// The value of an attribute, as it is written.
fn attribute<'t>(rest: &'t [u8], name: &str) -> Option<&'t [u8]> {
    let mut rest = rest.trim_ascii();
    while let Some(equals) = rest.iter().position(|byte| *byte == b'=') {
        let (key, value) = (rest[..equals].trim_ascii(), rest[equals + 1..].trim_ascii_start());
        let quote = *value.first()?;
        let end = value.iter().skip(1).position(|byte| *byte == quote)? + 1;
        if key == name.as_bytes() {
            return value.get(1..end);
        }
        rest = value.get(end + 1..)?.trim_ascii();
    }
    None
}

/// Whether a name can be put between quotes.
fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte))
}

/// Whether a tag is its own end.
fn is_whole(rest: &[u8]) -> bool {
    rest.trim_ascii_end().ends_with(b"/")
}

fn is_tls(rest: &[u8]) -> bool {
    attribute(rest, "xmlns") == Some(TLS.as_bytes())
}

fn stream(talk: &mut Talk, unit: &[u8]) -> Move {
    match split(unit) {
        (b"stream", rest) => {
            let space = match attribute(rest, "xmlns") {
                Some(b"jabber:server") => "jabber:server",
                _ => "jabber:client",
            };
            let to = attribute(rest, "to").filter(|name| is_plain(name));
            let from = to.map(|name| format!(" from='{}'", quoted(name))).unwrap_or_default();
            talk.tell(&format!(
                "<?xml version='1.0'?><stream:stream xmlns='{space}' xmlns:stream='{STREAMS}' id='clear'{from} \
                 version='1.0'><stream:features><starttls xmlns='{TLS}'><required/></starttls></stream:features>"
            ));
            Move::Next(wish)
        }
        ([b'?', ..], _) => Move::Stay,
        _ => Move::Failed("this is not XMPP".into()),
    }
}

/// What a client may say in our stream.
fn wish(talk: &mut Talk, unit: &[u8]) -> Move {
    match split(unit) {
        (b"starttls", rest) if is_tls(rest) && is_whole(rest) => proceed(talk),
        (b"starttls", rest) if is_tls(rest) => Move::Next(wish),
        (b"/", b"starttls") => proceed(talk),
        (b"/", b"stream") => {
            talk.tell("</stream:stream>");
            quit()
        }
        _ => {
            talk.tell(
                "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>\
                 </stream:stream>",
            );
            Move::Failed("it goes on without TLS".into())
        }
    }
}

fn proceed(talk: &mut Talk) -> Move {
    talk.tell(&format!("<proceed xmlns='{TLS}'/>"));
    Move::Agreed
}

fn open(talk: &mut Talk) {
    let to = talk.names.server.take().filter(|name| is_plain(name.as_bytes()));
    let to = to.map(|name| format!(" to='{name}'")).unwrap_or_default();
    talk.tell(&format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='{STREAMS}'{to} version='1.0'>"
    ));
}

/// A server's stream, up to the end of its features.
fn features(talk: &mut Talk, unit: &[u8]) -> Move {
    match split(unit) {
        (b"starttls", rest) if is_tls(rest) => talk.offered = true,
        (b"/", b"features") if talk.offered => {
            talk.tell(&format!("<starttls xmlns='{TLS}'/>"));
            return Move::Next(answer);
        }
        (b"/", b"features") => return Move::Declined("it does not offer STARTTLS".into()),
        (b"features", rest) if is_whole(rest) => return Move::Declined("it does not offer STARTTLS".into()),
        (b"error", _) | (b"/", b"stream") => return refuses(unit),
        _ => {}
    }
    Move::Stay
}

/// The answer to our wish.
fn answer(_: &mut Talk, unit: &[u8]) -> Move {
    match split(unit) {
        (b"proceed", rest) if is_tls(rest) && is_whole(rest) => Move::Agreed,
        (b"proceed", rest) if is_tls(rest) => Move::Next(end_of_answer),
        _ => refuses(unit),
    }
}

fn end_of_answer(_: &mut Talk, unit: &[u8]) -> Move {
    if split(unit) == (b"/", b"proceed") { Move::Agreed } else { refuses(unit) }
}

fn refuses(unit: &[u8]) -> Move {
    Move::Failed(format!("it says {}", quoted(unit.trim_ascii())).into())
}
