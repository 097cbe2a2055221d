// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first message of a TLS client: which name it asks for, which protocols and versions it offers.
//!
//! Reads the stream of TLS records as it comes from the socket (RFC 8446 section 5.1), shown again from its start
//! whenever there is more of it. The hello may be split over any number of segments and records.
//!
//! Invariants: nothing is decided before the hello is whole and every extension of it was walked, so neither framing
//! nor the order of extensions changes an answer; what does not parse is never "no name"; the bytes stay with the
//! caller (the answer is `Done(hello, 0)`), because the TLS library reads them again; a hello in one record is read in
//! place, without copying.
//!
//! Not here: what the name means (policy), and every judgement that is the TLS library's own (versions, ciphers,
//! groups).

use super::Parsed;
use super::reader::Reader;
use std::net::IpAddr;

/// The most bytes of records, headers included, that a hello may take: four times a whole record, far above any
/// client's. A larger one is refused: shown this many bytes [`parse`] never asks for more, so this bounds what a
/// connection holds before its handshake.
pub const MAX_HELLO: usize = 64 << 10;

/// The most extensions a hello may have, duplicates being searched among them; clients send about twenty. More are
/// refused.
const MAX_EXTENSIONS: usize = 128;

/// The most protocols in a client's list; clients offer two or three, and of the longest names no more fit into a hello. A
/// hello with more is refused: one that was walked but not remembered would be hidden from rules and routes, and seen by
/// the TLS library or the server.
pub const MAX_PROTOCOLS: usize = 256;

/// What a client says before anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The host name (RFC 6066 section 3): lower case, visible ASCII, no trailing dot, 1 to 255 bytes. An IP address
    /// does not belong here, but is kept as it came; see [`Self::names_an_address`].
    pub server_name: Option<Box<str>>,
    /// The names of the protocols offered (RFC 7301), in the client's order, at most
    /// [`MAX_PROTOCOLS`].
    pub alpn: Vec<Box<[u8]>>,
    /// The version field of the hello: 0x0303 for TLS 1.2 and later.
    pub legacy_version: u16,
    /// Whether TLS 1.3 is among the versions offered.
    pub offers_tls13: bool,
}

impl ClientHello {
    /// Whether the server name is an IP address, which a client that keeps to RFC 6066 never sends.
    pub fn names_an_address(&self) -> bool {
        self.server_name.as_ref().is_some_and(|name| name.parse::<IpAddr>().is_ok())
    }
}

/// Reads a ClientHello from the beginning of a stream of records. `Done` counts 0 bytes: the hello stays unread.
pub fn parse(bytes: &[u8]) -> Parsed<ClientHello> {
    match read(bytes.get(..MAX_HELLO).unwrap_or(bytes)) {
        Err(Stop::More) if bytes.len() >= MAX_HELLO => Parsed::Bad(TOO_LARGE),
        Ok(hello) => Parsed::Done(hello, 0),
        Err(Stop::More) => Parsed::More,
        Err(Stop::Bad(why)) => Parsed::Bad(why),
    }
}

/// Whether `raw`, a name as some other reader saw it on the wire, is the one that was normalised to `normalised`.
pub fn is_same_name(raw: &[u8], normalised: &str) -> bool {
    raw.strip_suffix(b".").unwrap_or(raw).eq_ignore_ascii_case(normalised.as_bytes())
}

/// A record's payload, and what follows the record.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Why there is no hello (yet).
enum Stop {
    More,
    Bad(&'static str),
}

fn read(bytes: &[u8]) -> Result<ClientHello, Stop> {
    let Some((record, _)) = record(bytes)? else { return Err(Stop::More) };
    // The common case: all of it in one record, read in place.
    if let Some(length) = message_length(record.iter().copied().take(4))? {
        if record.len() >= length {
            return message(record, length);
        }
    }
    let length = whole_length(bytes)?;
    let mut joined = Vec::with_capacity(length);
    let mut rest = bytes;
    while joined.len() < length {
        let Some((record, next)) = self::record(rest)? else { return Err(Stop::More) };
        joined.extend_from_slice(record);
        rest = next;
    }
    message(&joined, length)
}

/// The length of the hello with its header, once all of its records are there; copies nothing.
fn whole_length(bytes: &[u8]) -> Result<usize, Stop> {
    let mut header = [0; 4];
    let mut have = 0;
    let mut rest = bytes;
    loop {
        let Some((record, next)) = record(rest)? else { return Err(Stop::More) };
        for (place, byte) in header.iter_mut().skip(have).zip(record) {
            *place = *byte;
        }
        have += record.len();
        rest = next;
        if let Some(length) = message_length(header.into_iter().take(have))? {
            if have >= length {
                return Ok(length);
            }
        }
    }
}

/// The payload of the handshake record at the start of `bytes`, and what follows; `None` when it is not whole.
fn record(bytes: &[u8]) -> Result<Option<Split<'_>>, Stop> {
    let Some(kind) = bytes.first() else { return Ok(None) };
    if *kind != HANDSHAKE {
        return Err(Stop::Bad(what_else(bytes)));
    }
    if bytes.get(1).is_some_and(|major| *major != 3) {
        return Err(Stop::Bad("not TLS: the record has an unknown version"));
    }
    let Some((header, rest)) = bytes.split_at_checked(5) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length == 0 {
        return Err(Stop::Bad("an empty handshake record"));
    }
    if length > MAX_RECORD {
        return Err(Stop::Bad("a record longer than 16384 bytes"));
    }
    Ok(rest.split_at_checked(length))
}

/// The length of the handshake message, its header of four bytes included; `None` when fewer are there.
fn message_length(header: impl Iterator<Item = u8>) -> Result<Option<usize>, Stop> {
    let mut length = 0;
    let mut have = 0;
    for (place, byte) in header.enumerate() {
        match place {
            0 if byte != CLIENT_HELLO => return Err(Stop::Bad("the first message is not a ClientHello")),
            0 => {}
            _ => length = length << 8 | usize::from(byte),
        }
        have += 1;
    }
    if have < 4 {
        return Ok(None);
    }
    if length + 4 > MAX_HELLO {
        return Err(Stop::Bad(TOO_LARGE));
    }
    Ok(Some(length + 4))
}

/// The hello itself, from the joined payload of its records.
fn message(payload: &[u8], length: usize) -> Result<ClientHello, Stop> {
    if payload.len() != length {
        return Err(Stop::Bad("something follows the ClientHello in its record"));
    }
    let mut hello = ClientHello::default();
    let mut reader = Reader(payload.get(4..).unwrap_or_default());
    let extensions =
        body(&mut reader, &mut hello).ok_or(Stop::Bad("a length in the ClientHello is wrong"))?;
    if !reader.0.is_empty() {
        return Err(Stop::Bad("something follows the extensions of the ClientHello"));
    }
    let mut reader = Reader(extensions);
    let mut seen = [0; MAX_EXTENSIONS];
    let mut count = 0;
    while !reader.0.is_empty() {
        let extension = reader.u16().and_then(|kind| Some((kind, reader.vector16()?)));
        let (kind, data) = extension.ok_or(Stop::Bad("the length of an extension is wrong"))?;
        if seen.iter().take(count).any(|other| *other == kind) {
            return Err(Stop::Bad("an extension occurs twice"));
        }
        *seen.get_mut(count).ok_or(Stop::Bad("too many extensions"))? = kind;
        count += 1;
        match kind {
            SERVER_NAME => hello.server_name = Some(server_name(data).map_err(Stop::Bad)?),
            ALPN => hello.alpn = protocols(data).map_err(Stop::Bad)?,
            SUPPORTED_VERSIONS => {
                hello.offers_tls13 =
                    offers_tls13(data).ok_or(Stop::Bad("the list of versions is malformed"))?;
            }
            _ => {} // GREASE (RFC 8701) among them
        }
    }
    Ok(hello)
}

/// RFC 8446 section 4.1.2, and before 1.3 RFC 5246 section 7.4.1.2, where the extensions may be missing. Answers
/// what is in the list of extensions.
fn body<'a>(reader: &mut Reader<'a>, hello: &mut ClientHello) -> Option<&'a [u8]> {
    hello.legacy_version = reader.u16()?;
    reader.take(32)?; // random
    reader.vector8().filter(|session| session.len() <= 32)?;
    reader.vector16().filter(|ciphers| !ciphers.is_empty() && ciphers.len() % 2 == 0)?;
    reader.vector8().filter(|compressions| !compressions.is_empty())?;
    if reader.0.is_empty() { Some(&[]) } else { reader.vector16() }
}

/// RFC 6066 section 3: exactly one name, of type host_name. Other types were never defined, and two names would let
/// two readers choose differently.
fn server_name(data: &[u8]) -> Result<Box<str>, &'static str> {
    const MALFORMED: &str = "the server name extension (SNI) is malformed";
    let mut outer = Reader(data);
    let list = outer.vector16().filter(|_| outer.0.is_empty()).ok_or(MALFORMED)?;
    if list.is_empty() {
        return Err("the list of server names (SNI) is empty");
    }
    let mut list = Reader(list);
    let kind = list.u8().ok_or(MALFORMED)?;
    let name = list.vector16().ok_or(MALFORMED)?;
    if kind != 0 {
        return Err("a server name (SNI) of an unknown type");
    }
    if !list.0.is_empty() {
        return Err("more than one server name (SNI)");
    }
    host_name(name).map_err(|fault| match fault {
        NameFault::TooLong => "a server name (SNI) longer than 255 bytes",
        NameFault::Bytes => "a server name (SNI) with bytes that no host name has",
        NameFault::Empty => "an empty server name (SNI)",
    })
}

/// What is wrong with a name.
pub(super) enum NameFault {
    TooLong,
    Bytes,
    Empty,
}

/// Normalises a host name that a stranger sent, wherever it stood: see [`ClientHello::server_name`] for what comes out.
pub(super) fn host_name(name: &[u8]) -> Result<Box<str>, NameFault> {
    if name.len() > 255 {
        return Err(NameFault::TooLong);
    }
    if !name.iter().all(u8::is_ascii_graphic) {
        return Err(NameFault::Bytes);
    }
    let name = name.strip_suffix(b".").unwrap_or(name);
    if name.is_empty() {
        return Err(NameFault::Empty);
    }
    std::str::from_utf8(name).map(|name| name.to_ascii_lowercase().into()).map_err(|_| NameFault::Bytes)
}

/// RFC 7301 section 3.1: at least one name, none empty.
fn protocols(data: &[u8]) -> Result<Vec<Box<[u8]>>, &'static str> {
    const MALFORMED: &str = "the list of protocols (ALPN) is malformed";
    let mut outer = Reader(data);
    let mut list = Reader(outer.vector16().filter(|list| !list.is_empty()).ok_or(MALFORMED)?);
    let mut names = Vec::new();
    while !list.0.is_empty() {
        let name = list.vector8().filter(|name| !name.is_empty()).ok_or(MALFORMED)?;
        if names.len() >= MAX_PROTOCOLS {
            return Err("more than 256 protocols (ALPN)");
        }
        names.push(name.into());
    }
    if outer.0.is_empty() { Ok(names) } else { Err(MALFORMED) }
}

/// RFC 8446 section 4.2.1.
fn offers_tls13(data: &[u8]) -> Option<bool> {
    let mut outer = Reader(data);
    let list = outer.vector8().filter(|list| !list.is_empty() && list.len() % 2 == 0)?;
    outer.0.is_empty().then(|| list.chunks_exact(2).any(|version| version == [3, 4]))
}

/// What a stream that is not TLS looks like.
fn what_else(bytes: &[u8]) -> &'static str {
    let begins = |word: &[u8]| !bytes.is_empty() && bytes.iter().zip(word).all(|(a, b)| a == b);
    if HTTP_METHODS.iter().any(|method| begins(method)) {
        return HTTP;
    }
    if begins(b"PROXY ") || begins(b"\r\n\r\n\0\r\nQUIT\n") {
        return "not TLS but a PROXY header where none is expected";
    }
    match bytes {
        [0x15, ..] => "a TLS alert instead of a ClientHello",
        [0x14 | 0x17, ..] => "a TLS record that is not a handshake instead of a ClientHello",
        [length, _, 1, ..] if length & 0x80 != 0 => "an SSLv2 hello",
        _ => "not TLS",
    }
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// RFC 8446 section 5.1.
const MAX_RECORD: usize = 1 << 14;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
/// What is wrong with first bytes that are an HTTP request.
pub const HTTP: &str = "not TLS but an HTTP request on a TLS port";

const TOO_LARGE: &str = "a ClientHello larger than 65536 bytes";
const HTTP_METHODS: [&[u8]; 9] = [
    b"GET ",
    b"POST ",
    b"HEAD ",
    b"PUT ",
    b"OPTIONS ",
    b"CONNECT ",
    b"DELETE ",
    b"PATCH ",
    b"PRI * HTTP/2.0",
];

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
