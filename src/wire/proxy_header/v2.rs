// SPDX-License-Identifier: MIT OR Apache-2.0
//! Version 2: sixteen bytes that say how long the rest is, a block of addresses, and TLVs.
//!
//! Nothing is read beyond the length that the first sixteen bytes tell, so what follows the header never counts as a part
//! of it. Datagram families are refused: we listen on streams, and a sender that says otherwise describes another
//! connection.

use super::crc::crc32c;
use super::{Addresses, Family, Header, MAX_HEADER, Parsed, Ssl, Tlvs, family};
use crate::wire::client_hello::host_name;
use crate::wire::reader::Reader;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// How every header begins.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const FIXED: usize = 16;

/// Reads a header of which as much as is there begins like [`SIGNATURE`].
pub(super) fn parse(bytes: &[u8], limit: usize) -> Parsed<Header> {
    let bytes = bytes.get(..limit).unwrap_or(bytes);
    let local = match bytes.get(12) {
        None => return Parsed::More,
        Some(0x20) => true,
        Some(0x21) => false,
        Some(0x22..=0x2f) => return Parsed::Bad("an unknown command in the PROXY header"),
        Some(_) => return Parsed::Bad("an unknown version of the PROXY header"),
    };
    let Some(family) = bytes.get(13) else { return Parsed::More };
    let block = match block_length(*family) {
        // Section 2.2: the family of a LOCAL header, its addresses and its TLVs are to be ignored.
        _ if local => 0,
        Ok(length) => length,
        Err(why) => return Parsed::Bad(why),
    };
    let Some(length) = bytes.get(14..FIXED) else { return Parsed::More };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    if FIXED + length > limit {
        return Parsed::Bad("the PROXY header is too long");
    }
    if length < block {
        return Parsed::Bad("the PROXY header is shorter than its addresses");
    }
    let Some(header) = bytes.get(..FIXED + length) else { return Parsed::More };
    if local {
        return Parsed::Done(Header { local, ..Header::default() }, header.len());
    }
    match known_by_others(header, *family, block) {
        Ok(known) => Parsed::Done(known, header.len()),
        Err(why) => Parsed::Bad(why),
    }
}

/// The header of a connection that the sender accepted.
fn known_by_others(header: &[u8], family: u8, block: usize) -> Result<Header, &'static str> {
    let place = FIXED + block;
    let (block, tlvs) = (&header[FIXED..place], &header[place..]);
    let addresses = addresses(family, block).ok_or("the PROXY header is shorter than its addresses")?;
    Ok(Header { local: false, addresses, tlvs: read_tlvs(header, tlvs)? })
}

/// How long the addresses of a family are.
fn block_length(family: u8) -> Result<usize, &'static str> {
    match family {
        UNSPEC => Ok(0),
        TCP4 => Ok(12),
        TCP6 => Ok(36),
        UNIX_STREAM => Ok(2 * UNIX_NAME),
        0x12 | 0x22 | 0x32 => Err("the PROXY header tells of datagrams"),
        _ => Err("the PROXY header names an unknown family"),
    }
}

fn addresses(family: u8, block: &[u8]) -> Option<Addresses> {
    let mut block = Reader(block);
    let (source, destination) = match family {
        TCP4 => {
            let (from, to) = (Ipv4Addr::from(block.array()?), Ipv4Addr::from(block.array()?));
            (SocketAddr::from((from, block.u16()?)), SocketAddr::from((to, block.u16()?)))
        }
        TCP6 => {
            let (from, to) = (Ipv6Addr::from(block.array()?), Ipv6Addr::from(block.array()?));
            (SocketAddr::from((from, block.u16()?)), SocketAddr::from((to, block.u16()?)))
        }
        UNIX_STREAM => {
            let (source, destination) = (block.take(UNIX_NAME)?, block.take(UNIX_NAME)?);
            return Some(Addresses::Unix { source: unix_name(source), destination: unix_name(destination) });
        }
        _ => return Some(Addresses::Unknown),
    };
    Some(Addresses::Inet { source, destination })
}

/// What stands in a `sun_path` padded with NULs. An abstract name (NUL first) may hold NULs but, as its length is not
/// told, none at its end.
fn unix_name(padded: &[u8]) -> Vec<u8> {
    let length = match padded.first() {
        Some(0) => padded.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1),
        _ => padded.iter().position(|byte| *byte == 0).unwrap_or(padded.len()),
    };
    padded[..length].to_vec()
}

/// Reads the TLVs at the end of `header`; a type that we know may come once.
fn read_tlvs(header: &[u8], tlvs: &[u8]) -> Result<Tlvs, &'static str> {
    let mut found = Tlvs::default();
    let mut checksum = None;
    let mut reader = Reader(tlvs);
    while let Some((kind, value)) = next(&mut reader)? {
        match kind {
            ALPN => once(&mut found.alpn, protocol(value)?)?,
            AUTHORITY => {
                let name =
                    host_name(value).map_err(|_| "the authority in the PROXY header is no host name")?;
                once(&mut found.authority, name)?;
            }
            CRC32C => {
                once(&mut checksum, ())?;
                let end = header.len() - reader.0.len();
                check(header, end - value.len(), value)?;
            }
            UNIQUE_ID if value.len() > MAX_UNIQUE_ID => {
                return Err("the unique id in the PROXY header is longer than 128 bytes");
            }
            UNIQUE_ID => once(&mut found.unique_id, value.into())?,
            NETNS => once(&mut found.netns, printable(value)?)?,
            SSL => once(&mut found.ssl, Box::new(read_ssl(value)?))?,
            CONFIRM => found.confirm = value == CONFIRM_VERSION,
            _ => {} // NOOP among them, which may come as often as it likes
        }
    }
    Ok(found)
}

/// PP2_TYPE_SSL, section 2.2.6.
fn read_ssl(value: &[u8]) -> Result<Ssl, &'static str> {
    let mut reader = Reader(value);
    let fixed = reader.u8().and_then(|flags| Some((flags, reader.u32()?)));
    let (flags, verify) = fixed.ok_or("the SSL part of the PROXY header is too short")?;
    let mut ssl = Ssl {
        used: flags & CLIENT_SSL != 0,
        certificate_now: flags & CLIENT_CERT_CONN != 0,
        certificate_in_session: flags & CLIENT_CERT_SESS != 0,
        verify,
        ..Ssl::default()
    };
    while let Some((kind, value)) = next(&mut reader)? {
        let slot = match kind {
            SSL_VERSION => &mut ssl.version,
            SSL_CN => &mut ssl.common_name,
            SSL_CIPHER => &mut ssl.cipher,
            SSL_SIG_ALG => &mut ssl.signature,
            SSL_KEY_ALG => &mut ssl.key,
            SSL_GROUP => &mut ssl.group,
            SSL_SIG_SCHEME => &mut ssl.scheme,
            SSL_CLIENT_CERT => {
                once(&mut ssl.certificate, value.into())?;
                continue;
            }
            _ => continue,
        };
        once(slot, text(value)?)?;
    }
    Ok(ssl)
}

/// The next type and value; `None` at the end.
fn next<'a>(reader: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, &'static str> {
    if reader.0.is_empty() {
        return Ok(None);
    }
    let tlv = reader.u8().and_then(|kind| Some((kind, reader.vector16()?)));
    tlv.map(Some).ok_or("a length in the PROXY header is wrong")
}

/// Two of a kind would let two readers choose differently.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("a TLV of the PROXY header occurs twice"),
    }
}

/// Checks the checksum that stands at `place` of the header. It is computed with itself zero.
fn check(header: &[u8], place: usize, value: &[u8]) -> Result<(), &'static str> {
    const WRONG: &str = "the checksum of the PROXY header is wrong";
    let told = u32::from_be_bytes(value.try_into().map_err(|_| WRONG)?);
    let (before, rest) = header.split_at(place);
    let after = rest.get(value.len()..).ok_or(WRONG)?;
    if crc32c(&[before, &[0; 4], after]) == told { Ok(()) } else { Err(WRONG) }
}

fn text(value: &[u8]) -> Result<Box<str>, &'static str> {
    std::str::from_utf8(value).map(Box::from).map_err(|_| "a text in the PROXY header is not UTF-8")
}

fn printable(value: &[u8]) -> Result<Box<str>, &'static str> {
    let ascii = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    text(value).ok().filter(|_| ascii).ok_or("the namespace in the PROXY header is not printable ASCII")
}

/// RFC 7301 section 3.1: 1 to 255 bytes.
fn protocol(value: &[u8]) -> Result<Box<[u8]>, &'static str> {
    let fits = (1..=255).contains(&value.len());
    fits.then(|| value.into()).ok_or("the protocol (ALPN) in the PROXY header has a wrong length")
}

/// Appends a header of at most [`MAX_HEADER`] bytes; see [`super::write`].
pub(super) fn write(header: &Header, checksum: bool, into: &mut Vec<u8>) {
    let begin = into.len();
    into.extend_from_slice(SIGNATURE);
    if header.local {
        return into.extend_from_slice(&[0x20, UNSPEC, 0, 0]);
    }
    into.extend_from_slice(&[0x21, UNSPEC, 0, 0]);
    let family = append_addresses(&header.addresses, into);
    let room = if checksum { MAX_HEADER - CHECKSUM } else { MAX_HEADER };
    append_tlvs(&header.tlvs, begin + room, into);
    let place = checksum.then(|| {
        append(CRC32C, &[0; 4], begin + MAX_HEADER, into);
        into.len() - 4
    });
    let [high, low] = length16(into.len() - begin - FIXED);
    into[begin + 13..begin + FIXED].copy_from_slice(&[family, high, low]);
    if let Some(place) = place {
        let sum = crc32c(&[&into[begin..]]);
        into[place..].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Appends the block of addresses; answers its family.
fn append_addresses(addresses: &Addresses, into: &mut Vec<u8>) -> u8 {
    let (family, ports) = match addresses {
        Addresses::Unknown => return UNSPEC,
        Addresses::Unix { source, destination } => {
            for name in [source, destination] {
                // No longer than sun_path (unix(7)), or it never was a name.
                into.extend(name.iter().copied().chain(std::iter::repeat(0)).take(UNIX_NAME));
            }
            return UNIX_STREAM;
        }
        Addresses::Inet { source, destination } => match family(*source, *destination) {
            Family::V4(from, to) => {
                into.extend([from.ip().octets(), to.ip().octets()].as_flattened());
                (TCP4, [from.port(), to.port()])
            }
            Family::V6(from, to) => {
                into.extend([from.ip().octets(), to.ip().octets()].as_flattened());
                (TCP6, [from.port(), to.port()])
            }
        },
    };
    into.extend(ports.map(u16::to_be_bytes).as_flattened());
    family
}

/// Appends what is known, as far as it fits below `end`: the largest comes last.
fn append_tlvs(tlvs: &Tlvs, end: usize, into: &mut Vec<u8>) {
    let Tlvs { authority, alpn, unique_id, netns, ssl, confirm } = tlvs;
    let all = [
        (CONFIRM, confirm.then_some(CONFIRM_VERSION)),
        (ALPN, alpn.as_deref()),
        (AUTHORITY, authority.as_deref().map(str::as_bytes)),
        (UNIQUE_ID, unique_id.as_deref()),
        (NETNS, netns.as_deref().map(str::as_bytes)),
    ];
    for (kind, value) in all {
        if let Some(value) = value {
            append(kind, value, end, into);
        }
    }
    if let Some(ssl) = ssl {
        append_ssl(ssl, end, into);
    }
}

fn append_ssl(ssl: &Ssl, end: usize, into: &mut Vec<u8>) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(ssl.used, CLIENT_SSL)
        | flag(ssl.certificate_now, CLIENT_CERT_CONN)
        | flag(ssl.certificate_in_session, CLIENT_CERT_SESS);
    let [a, b, c, d] = ssl.verify.to_be_bytes();
    if !append(SSL, &[flags, a, b, c, d], end, into) {
        return;
    }
    let begin = into.len() - 5;
    let texts = [
        (SSL_VERSION, &ssl.version),
        (SSL_CIPHER, &ssl.cipher),
        (SSL_SIG_ALG, &ssl.signature),
        (SSL_KEY_ALG, &ssl.key),
        (SSL_GROUP, &ssl.group),
        (SSL_SIG_SCHEME, &ssl.scheme),
        (SSL_CN, &ssl.common_name),
    ];
    for (kind, text) in texts {
        if let Some(text) = text {
            append(kind, text.as_bytes(), end, into);
        }
    }
    if let Some(certificate) = &ssl.certificate {
        append(SSL_CLIENT_CERT, certificate, end, into);
    }
    let length = length16(into.len() - begin);
    into[begin - 2..begin].copy_from_slice(&length);
}

/// Appends one TLV unless `into` would become longer than `end`; whether it did.
fn append(kind: u8, value: &[u8], end: usize, into: &mut Vec<u8>) -> bool {
    let fits = into.len() + 3 + value.len() <= end;
    if fits {
        into.push(kind);
        into.extend_from_slice(&length16(value.len()));
        into.extend_from_slice(value);
    }
    fits
}

/// Nothing here is longer than [`MAX_HEADER`], which is far below what two bytes can say.
fn length16(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
/// The size of `sun_path` (unix(7)).
const UNIX_NAME: usize = 108;
/// The TLV of the checksum.
const CHECKSUM: usize = 7;
const MAX_UNIQUE_ID: usize = 128;

/// PP2_TYPE_MIN_CUSTOM (0xe0) to PP2_TYPE_MAX_CUSTOM (0xef) are free for whoever agrees on one.
const CONFIRM: u8 = 0xe8;
/// The version of [`crate::wire::confirmation`] that is asked for.
const CONFIRM_VERSION: &[u8] = &[1];

// Section 2.2: types of TLVs ...
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;
const NETNS: u8 = 0x30;
// ... types within SSL ...
const SSL_VERSION: u8 = 0x21;
const SSL_CN: u8 = 0x22;
const SSL_CIPHER: u8 = 0x23;
const SSL_SIG_ALG: u8 = 0x24;
const SSL_KEY_ALG: u8 = 0x25;
const SSL_GROUP: u8 = 0x26;
const SSL_SIG_SCHEME: u8 = 0x27;
const SSL_CLIENT_CERT: u8 = 0x28;
// ... and the bits of its first byte.
const CLIENT_SSL: u8 = 1;
const CLIENT_CERT_CONN: u8 = 2;
const CLIENT_CERT_SESS: u8 = 4;
