// SPDX-License-Identifier: MIT OR Apache-2.0
//! One server, one try: questions over UDP, over TCP where an answer does not fit.
//!
//! Who would forge an answer has to guess the port the kernel chose, the number of the question and, as the socket is
//! connected, write the server's address as its own (RFC 5452). What does not fit the question is passed over, so many
//! times, and the true answer may still come.

use super::{Counts, clock};
use crate::sys::random;
use crate::wire::dns::{self, Kind, Outcome};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// Bytes of an answer over UDP: some servers send more than they were offered.
const UDP_MOST: usize = 4096;

/// Answers to other questions that are passed over in one try.
const STRAYS: usize = 64;

/// How long the other family's answer is waited for once one has addresses (RFC 8305 section 3 has 50 ms for who has a
/// connection to begin; we keep what we get for long).
const OTHER_FAMILY: Duration = Duration::from_millis(250);

/// A question on its way.
struct Pending {
    kind: Kind,
    query: Vec<u8>,
    outcome: Option<Outcome>,
}

/// Asks `server` for records of each of `kinds`, until `until`: what it answered, in the order of `kinds`; none where it
/// kept silent.
///
/// # Errors
/// Where nothing can be sent, or fetched over TCP, and nothing was answered: no route, no descriptor, refused by the server's
/// machine.
pub(super) fn ask(
    server: SocketAddr,
    name: &str,
    kinds: &[Kind],
    until: Instant,
    counts: &Counts,
) -> io::Result<Vec<Option<Outcome>>> {
    let mut pending = Vec::new();
    for kind in kinds {
        pending.push(Pending { kind: *kind, query: query(name, *kind, true)?, outcome: None });
    }
    over_udp(server, &mut pending, until, counts)?;
    if pending.iter().any(|one| one.outcome == Some(Outcome::NoExtension)) {
        for one in pending.iter_mut().filter(|one| one.outcome == Some(Outcome::NoExtension)) {
            *one = Pending { kind: one.kind, query: query(name, one.kind, false)?, outcome: None };
        }
        over_udp(server, &mut pending, until, counts)?;
    }
    let mut failure = None;
    for one in pending.iter_mut().filter(|one| one.outcome == Some(Outcome::Truncated)) {
        Counts::one(&counts.queries);
        let outcome = over_tcp(server, &one.query, one.kind, until).unwrap_or_else(|error| {
            failure = Some(error);
            None
        });
        one.outcome = outcome.filter(|outcome| *outcome != Outcome::Truncated);
    }
    match failure {
        // What was answered is so whatever became of the rest.
        Some(error) if pending.iter().all(|one| one.outcome.is_none()) => Err(error),
        _ => Ok(pending.into_iter().map(|one| one.outcome).collect()),
    }
}

fn query(name: &str, kind: Kind, extended: bool) -> io::Result<Vec<u8>> {
    let id = u16::from_ne_bytes(random::bytes()?);
    let query = dns::query(id, name, kind, extended);
    query.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a name in DNS"))
}

/// Sends what is not answered yet, all at once, and collects the answers.
fn over_udp(server: SocketAddr, pending: &mut [Pending], until: Instant, counts: &Counts) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    for one in pending.iter().filter(|one| one.outcome.is_none()) {
        Counts::one(&counts.queries);
        socket.send(&one.query)?;
    }
    let (mut buffer, mut until) = ([0; UDP_MOST], until);
    for _ in 0..STRAYS + pending.len() {
        if pending.iter().all(|one| one.outcome.is_some()) {
            break;
        }
        let Some(patience) = remaining(until) else { break };
        socket.set_read_timeout(Some(patience))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if is_late(&error) => continue,
            // Another question may have been answered before the server's machine refused.
            Err(error) if pending.iter().all(|one| one.outcome.is_none()) => return Err(error),
            Err(_) => break,
        };
        let answer = &buffer[..length];
        for one in pending.iter_mut().filter(|one| one.outcome.is_none()) {
            // One that fills the buffer was cut by it.
            let outcome = dns::read(&one.query, one.kind, answer);
            let cut = outcome.is_some() && length == UDP_MOST;
            one.outcome = if cut { Some(Outcome::Truncated) } else { outcome };
            if matches!(one.outcome, Some(Outcome::Found(..))) {
                until = until.min(clock() + OTHER_FAMILY);
            }
        }
    }
    Ok(())
}

/// The same over a connection (RFC 7766): each message has its length in front.
fn over_tcp(server: SocketAddr, query: &[u8], kind: Kind, until: Instant) -> io::Result<Option<Outcome>> {
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let mut stream = TcpStream::connect_timeout(&server, remaining(until).ok_or_else(late)?)?;
    let length = u16::try_from(query.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.set_write_timeout(Some(remaining(until).ok_or_else(late)?))?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;
    let mut read = |wanted: &mut [u8]| -> io::Result<()> {
        let mut filled = 0;
        // Each read brings a byte or the end, and time is short.
        while filled < wanted.len() {
            stream.set_read_timeout(Some(remaining(until).ok_or_else(late)?))?;
            match stream.read(&mut wanted[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if is_late(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    let mut length = [0; 2];
    read(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    read(&mut answer)?;
    Ok(dns::read(query, kind, &answer))
}

/// A wait that came to nothing, or was interrupted.
fn is_late(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// How long until then; none when it is over.
fn remaining(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(clock())).filter(|patience| *patience >= Duration::from_millis(1))
}
