// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tells the server who the client is: a PROXY header as the first bytes that the server sees, ahead of TLS too.
//!
//! The step only builds the header and hands it to the server's stream as its prologue; a server that takes nothing is
//! then a blocked write like any other. Every attempt to connect begins with a stream of its own and so with a header of
//! its own.
//!
//! What a tunnel before us has told is told on as it was: addresses, name, protocol, unique id, and TLS where we have
//! none of our own with the client. Of a client that is the sender itself (LOCAL) its own address is told.

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Pair, TlsFacts};
use crate::error::Reason;
use crate::policy::service::{SendTlvs, Service};
use crate::sys::address::Address;
use crate::wire::proxy_header::{Addresses, Header, Ssl, Tlvs, Version, write};

pub const STEP: Step = Step { name: "sending the PROXY header", run, expired: client_too_slow };

/// `verify` where no certificate was verified because there is none: the specification wants it not zero
/// (X509_V_ERR_UNSPECIFIED of the TLS library).
const NOTHING_VERIFIED: u32 = 1;

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(send) = service.routes.get(pair.facts.route).and_then(|route| route.send_proxy) else {
        return Ok(Progress::Done);
    };
    let tlvs = match send.version {
        Version::V1 => Tlvs::default(),
        Version::V2 => tlvs(pair, send.tlvs, ctx.unique_id(pair.facts.id)),
    };
    let tlvs = Tlvs { confirm: send.confirm, ..tlvs };
    let header = Header { local: false, addresses: addresses(pair), tlvs };
    let mut prologue = Vec::new();
    write(&header, send.version, send.tlvs.crc32c, &mut prologue);
    if let Some(raw) = pair.server.as_mut().and_then(|server| server.stream.as_raw()) {
        raw.begin_with(prologue);
    }
    Ok(Progress::Done)
}

/// From where to where the client has connected.
fn addresses(pair: &Pair) -> Addresses {
    match pair.facts.header.as_deref().map(|header| &header.addresses) {
        Some(Addresses::Unknown) | None => own_addresses(pair),
        Some(told) => told.clone(),
    }
}

/// As our own sockets see it.
fn own_addresses(pair: &Pair) -> Addresses {
    let local = pair.client.stream.socket().and_then(|socket| socket.local_address().ok());
    match (&pair.facts.client, local) {
        (Address::Inet(source), Some(Address::Inet(destination))) => {
            Addresses::Inet { source: *source, destination }
        }
        (Address::Inet(_), _) => Addresses::Unknown,
        (unix, local) => {
            let destination = local.as_ref().map(Address::unix_name).unwrap_or_default();
            Addresses::Unix { source: unix.unix_name(), destination }
        }
    }
}

/// Of what we know, what `wanted` tells to send; `own_id` is ours, if nobody gave the connection one before us.
fn tlvs(pair: &Pair, wanted: SendTlvs, own_id: [u8; 16]) -> Tlvs {
    let facts = &pair.facts;
    let told = facts.header.as_deref().map(|header| &header.tlvs);
    let alpn = || match &facts.tls {
        Some(tls) => tls.alpn.clone(),
        None => told.and_then(|told| told.alpn.clone()),
    };
    let unique_id = || match told.and_then(|told| told.unique_id.clone()) {
        Some(id) => id,
        None => own_id.into(),
    };
    Tlvs {
        authority: facts.server_name.clone().filter(|_| wanted.authority),
        alpn: wanted.alpn.then(alpn).flatten(),
        unique_id: wanted.unique_id.then(unique_id),
        netns: None,
        ssl: wanted.ssl.then(|| ssl(pair, wanted.certificate)).flatten().map(Box::new),
        confirm: false,
    }
}

/// TLS with the client: ours, or as the tunnel before us told it.
fn ssl(pair: &Pair, certificate: bool) -> Option<Ssl> {
    let told = pair.facts.header.as_deref().and_then(|header| header.tlvs.ssl.as_deref());
    let ssl = match (told, &pair.client.stream) {
        // TLS that ends here is about whoever speaks it to us: that is what counts here, and what is told on.
        (Some(told), stream) if !stream.is_tls() => told.clone(),
        _ => agreed(pair.facts.tls.as_deref()?),
    };
    Some(Ssl { certificate: ssl.certificate.filter(|_| certificate), ..ssl })
}

/// What we agreed with the client.
fn agreed(tls: &TlsFacts) -> Ssl {
    let shown = tls.certificate.is_some() || tls.der.is_some();
    Ssl {
        used: true,
        certificate_now: shown && !tls.resumed,
        certificate_in_session: shown,
        verify: if shown { tls.verify } else { NOTHING_VERIFIED },
        version: Some(tls.version.clone()),
        cipher: Some(tls.cipher.clone()),
        common_name: tls.certificate.as_ref().and_then(|certificate| certificate.common_name.clone()),
        certificate: tls.der.clone(),
        ..Ssl::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tls_peer::PeerCertificate;
    use crate::stream::testing::{tcp_pair, unix_pair};
    use crate::sys::socket::Socket;

    #[expect(clippy::disallowed_methods, reason = "nothing here looks at the time")]
    fn pair_of(socket: Socket, client: Address) -> Pair {
        Pair::new(socket, client, 1, std::time::Instant::now())
    }

    fn over_tcp() -> (Pair, Addresses, Socket) {
        let (ours, theirs) = tcp_pair();
        let client = theirs.local_address().unwrap();
        let (Address::Inet(source), Address::Inet(destination)) = (&client, ours.local_address().unwrap())
        else {
            panic!("no TCP");
        };
        let addresses = Addresses::Inet { source: *source, destination };
        (pair_of(ours, client), addresses, theirs)
    }

    fn inet(source: &str, destination: &str) -> Addresses {
        Addresses::Inet { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    const ID: [u8; 16] = *b"one of this kind";

    const ALL: SendTlvs =
        SendTlvs { alpn: true, authority: true, ssl: true, certificate: true, unique_id: true, crc32c: true };

    fn tls() -> TlsFacts {
        TlsFacts {
            version: "TLSv1.3".into(),
            cipher: "TLS_AES_128_GCM_SHA256".into(),
            alpn: Some(Box::from(&b"h2"[..])),
            certificate: Some(PeerCertificate {
                common_name: Some("one".into()),
                ..PeerCertificate::default()
            }),
            der: Some(Box::from(&b"0"[..])),
            ..TlsFacts::default()
        }
    }

    #[test]
    fn the_sockets_addresses_are_told_where_no_header_told_others() {
        let (mut pair, own, _peer) = over_tcp();
        assert_eq!(addresses(&pair), own);
        let told = inet("192.0.2.7:1", "192.0.2.1:443");
        pair.facts.header = Some(Box::new(Header { addresses: told.clone(), ..Header::default() }));
        assert_eq!(addresses(&pair), told);
        // Rows 38 and 39: LOCAL and UNSPEC say nothing of the client, and there is one all the same.
        for local in [false, true] {
            pair.facts.header = Some(Box::new(Header { local, ..Header::default() }));
            assert_eq!(addresses(&pair), own);
        }
    }

    #[test]
    fn unix_clients_are_told_by_their_names() {
        let pair = pair_of(unix_pair().0, Address::Abstract(b"x".to_vec()));
        let expected = Addresses::Unix { source: b"\0x".to_vec(), destination: Vec::new() };
        assert_eq!(addresses(&pair), expected);
    }

    #[test]
    fn only_what_is_wanted_and_known_is_told() {
        let (mut pair, _, _peer) = over_tcp();
        assert_eq!(tlvs(&pair, ALL, ID), Tlvs { unique_id: Some(ID.into()), ..Tlvs::default() });
        pair.facts.server_name = Some("a.test".into());
        pair.facts.tls = Some(Box::new(tls()));
        let all = tlvs(&pair, ALL, ID);
        assert_eq!((all.authority.as_deref(), all.alpn.as_deref()), (Some("a.test"), Some(&b"h2"[..])));
        let ssl = all.ssl.unwrap();
        assert!(ssl.used && ssl.certificate_now && ssl.certificate_in_session && ssl.verify == 0);
        assert_eq!((ssl.common_name.as_deref(), ssl.certificate.as_deref()), (Some("one"), Some(&b"0"[..])));
        let without = tlvs(&pair, SendTlvs { certificate: false, ..ALL }, ID).ssl.unwrap();
        assert_eq!((without.common_name.as_deref(), without.certificate), (Some("one"), None));
        let none = SendTlvs {
            alpn: false,
            authority: false,
            ssl: false,
            certificate: true,
            unique_id: false,
            crc32c: true,
        };
        assert_eq!(tlvs(&pair, none, ID), Tlvs::default());
    }

    #[test]
    fn a_client_without_a_certificate_is_not_called_verified() {
        let (mut pair, _, _peer) = over_tcp();
        pair.facts.tls = Some(Box::new(TlsFacts { certificate: None, der: None, ..tls() }));
        let ssl = tlvs(&pair, ALL, ID).ssl.unwrap();
        assert!(ssl.used && !ssl.certificate_now && !ssl.certificate_in_session);
        assert_eq!(ssl.verify, NOTHING_VERIFIED);
        pair.facts.tls = Some(Box::new(TlsFacts { resumed: true, verify: 10, ..tls() }));
        let ssl = tlvs(&pair, ALL, ID).ssl.unwrap();
        assert!(!ssl.certificate_now && ssl.certificate_in_session && ssl.verify == 10);
    }

    #[test]
    fn what_was_told_is_told_on() {
        let (mut pair, _, _peer) = over_tcp();
        let told = Tlvs {
            authority: Some("a.test".into()),
            alpn: Some(Box::from(&b"h2"[..])),
            unique_id: Some(Box::from(&b"id"[..])),
            netns: None,
            confirm: false,
            ssl: Some(Box::new(Ssl { group: Some("X25519".into()), ..agreed(&tls()) })),
        };
        pair.facts.server_name.clone_from(&told.authority);
        pair.facts.header = Some(Box::new(Header { tlvs: told.clone(), ..Header::default() }));
        assert_eq!(tlvs(&pair, ALL, ID), told);
    }
}
