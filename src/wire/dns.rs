// SPDX-License-Identifier: MIT OR Apache-2.0
//! DNS messages (RFC 1035), as a stub resolver needs them: the question for one name, and what an answer to it says.
//!
//! Invariants: an answer counts only where it repeats number and question of the query; what it says is taken from the
//! chain of aliases that begins at the question, never from records beside it; every chain, list and name is bounded, and
//! a compression pointer can only point backwards (the parser sees to that). Not here: sockets, time, sources other than
//! DNS.

use domain::base::iana::{Opcode, Rcode, Rtype};
use domain::base::{Message, ParsedName, ParsedRecord, ToName};
use domain::rdata::{A, Aaaa, Cname, Srv};
use std::net::IpAddr;

/// Aliases that are followed from the question to its records. Public resolvers stop at about as many.
const CHAIN: usize = 8;

/// Records of an answer that are looked at. Those of one name fit 64 KiB by the thousand; nobody has use for so many.
const RECORDS: usize = 256;

/// The largest UDP answer we ask for: what passes every network unfragmented (RFC 9715 section 3.2, R6).
const UDP_PAYLOAD: u16 = 1232;

/// The longest label of a name, in bytes (RFC 1035 section 2.3.4).
const LABEL_MOST: usize = 63;

/// The longest name, in characters and without the dot at its end.
const NAME_MOST: usize = 253;

const CLASS_IN: u16 = 1;
const TYPE_OPT: u16 = 41;
/// The flag that asks a server to find the answer for us (RFC 1035 section 4.1.1).
const RECURSION_DESIRED: u16 = 0x0100;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses (RFC 3596).
    Aaaa,
    /// Where a service is offered (RFC 2782).
    Srv,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::A => Rtype::A.to_int(),
            Self::Aaaa => Rtype::AAAA.to_int(),
            Self::Srv => Rtype::SRV.to_int(),
        }
    }
}

/// One record that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    Address(IpAddr),
    Service {
        /// The lowest is to be tried first.
        priority: u16,
        /// Its share among those of the same priority.
        weight: u16,
        port: u16,
        /// Lower case, without the dot at its end; empty: decidedly not offered (RFC 2782, "Target").
        target: Box<str>,
    },
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// At least one record; they hold for so many seconds.
    Found(Vec<Record>, u32),
    /// There is no such name.
    NoName,
    /// The name has no record of that kind.
    NoRecord,
    /// There is more than fits: ask over TCP.
    Truncated,
    /// The server does not understand the extension in the query (RFC 6891 section 7): ask without.
    NoExtension,
    /// The server cannot or will not say; the word is DNS's own.
    Failed(&'static str),
}

/// A query for records of `kind` of `name`, with the number `id`; `extended`: with the offer to take larger answers (RFC
/// 6891). None for what cannot be a name in DNS.
pub fn query(id: u16, name: &str, kind: Kind, extended: bool) -> Option<Vec<u8>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_MOST {
        return None;
    }
    let mut bytes = Vec::with_capacity(name.len() + 34);
    for number in [id, RECURSION_DESIRED, 1, 0, 0, u16::from(extended)] {
        bytes.extend(number.to_be_bytes());
    }
    for label in name.split('.') {
        let length =
            u8::try_from(label.len()).ok().filter(|length| (1..=LABEL_MOST).contains(&(*length).into()))?;
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    for number in [kind.number(), CLASS_IN] {
        bytes.extend(number.to_be_bytes());
    }
    if extended {
        // The root's name, OPT, our size, no flags, no options (RFC 6891 section 6.1.2).
        bytes.push(0);
        for number in [TYPE_OPT, UDP_PAYLOAD, 0, 0, 0] {
            bytes.extend(number.to_be_bytes());
        }
    }
    Some(bytes)
}

/// What `answer` says to `query`, which [`query`] made for `kind`; none where it is no answer to it, so that one may yet
/// come.
pub fn read(query: &[u8], kind: Kind, answer: &[u8]) -> Option<Outcome> {
    let (query, answer) = (Message::from_slice(query).ok()?, Message::from_slice(answer).ok()?);
    let header = answer.header();
    let refused_unread = answer.header_counts().qdcount() == 0
        && header.qr()
        && header.id() == query.header().id()
        && matches!(header.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
    if header.opcode() != Opcode::QUERY || !(answer.is_answer(query) || refused_unread) {
        return None;
    }
    if header.tc() {
        return Some(Outcome::Truncated);
    }
    Some(match header.rcode() {
        Rcode::NOERROR => records(query, kind, answer).unwrap_or(Outcome::Failed("FORMERR")),
        Rcode::NXDOMAIN => Outcome::NoName,
        Rcode::FORMERR | Rcode::NOTIMP if query.header_counts().arcount() > 0 => Outcome::NoExtension,
        Rcode::FORMERR => Outcome::Failed("FORMERR"),
        Rcode::NOTIMP => Outcome::Failed("NOTIMP"),
        Rcode::SERVFAIL => Outcome::Failed("SERVFAIL"),
        Rcode::REFUSED => Outcome::Failed("REFUSED"),
        _ => Outcome::Failed("an unknown error"),
    })
}

/// Follows the aliases from the question and takes the records at their end; none if the message is broken, or the
/// aliases do not come to an end.
fn records(query: &Message<[u8]>, kind: Kind, answer: &Message<[u8]>) -> Option<Outcome> {
    let all: Vec<ParsedRecord<'_, [u8]>> =
        answer.answer().ok()?.take(RECORDS).collect::<Result<_, _>>().ok()?;
    let question = query.sole_question().ok()?;
    let class = question.qclass();
    let mut alias: Option<ParsedName<&[u8]>> = None;
    let mut lasts = u32::MAX;
    for _ in 0..CHAIN {
        let is_it = |record: &&ParsedRecord<'_, [u8]>| {
            record.class() == class
                && match &alias {
                    Some(name) => record.owner().name_eq(name),
                    None => record.owner().name_eq(question.qname()),
                }
        };
        let mut found = Vec::new();
        for record in all.iter().filter(is_it) {
            if let Some(one) = read_record(kind, record)? {
                lasts = lasts.min(record.ttl().as_secs());
                found.push(one);
            }
        }
        if !found.is_empty() {
            return Some(Outcome::Found(found, lasts));
        }
        let next = all.iter().filter(is_it).find(|record| record.rtype() == Rtype::CNAME);
        let Some(next) = next else { return Some(Outcome::NoRecord) };
        lasts = lasts.min(next.ttl().as_secs());
        let target = next.to_record::<Cname<ParsedName<&[u8]>>>().ok()??.into_data();
        alias = Some(target.into_cname());
    }
    None
}

/// The record, if it is of that kind; the outer `None` where it is broken.
fn read_record(kind: Kind, record: &ParsedRecord<'_, [u8]>) -> Option<Option<Record>> {
    if record.rtype().to_int() != kind.number() {
        return Some(None);
    }
    Some(match kind {
        Kind::A => record.to_record::<A>().ok()?.map(|it| Record::Address(it.data().addr().octets().into())),
        Kind::Aaaa => {
            record.to_record::<Aaaa>().ok()?.map(|it| Record::Address(it.data().addr().octets().into()))
        }
        Kind::Srv => record.to_record::<Srv<ParsedName<&[u8]>>>().ok()?.and_then(|it| {
            let service = it.data();
            let mut target = service.target().to_string();
            target.make_ascii_lowercase();
            let target = target.strip_suffix('.').unwrap_or(&target);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            // Whatever else can stand in a name is not the name of a host, and shall not come into logs.
            target.bytes().all(plain).then(|| Record::Service {
                priority: service.priority(),
                weight: service.weight(),
                port: service.port(),
                target: target.into(),
            })
        }),
    })
}

#[cfg(test)]
mod tests;
