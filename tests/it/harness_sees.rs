// SPDX-License-Identifier: MIT OR Apache-2.0
//! The harness itself, with no tunnel between: what a client does is what a backend sees. A test that believes its
//! instruments must have tried them.

use crate::harness::{Backend, Duplex, End, Listening, Peer, Pki, Received, TlsClient, digest_of_pattern};

/// A client that does `act`, plain and TLS; what the backend sees.
fn seen(tls: bool, act: impl Fn(Peer)) -> (Vec<u8>, End) {
    let pki = Pki::new();
    let backend = Backend::start(Listening::tls_if(tls, &pki), |mut peer| peer.receive_all());
    let client = if tls {
        TlsClient::new(&pki).connect(backend.address()).unwrap()
    } else {
        Peer::plain(backend.address())
    };
    act(client);
    backend.next()
}

#[test]
fn a_proper_end() {
    for tls in [false, true] {
        let (bytes, end) = seen(tls, |mut peer| {
            peer.send(b"all of it");
            peer.half_close();
            peer.receive_all();
        });
        assert_eq!((bytes.as_slice(), end), (b"all of it".as_slice(), End::Clean), "TLS: {tls}");
    }
}

#[test]
fn a_truncated_stream() {
    let (bytes, end) = seen(true, |mut peer| {
        peer.send(b"a part");
        peer.fin();
        peer.receive_all();
    });
    assert_eq!((bytes.as_slice(), end), (b"a part".as_slice(), End::Truncated));
}

#[test]
fn a_reset() {
    for tls in [false, true] {
        assert_eq!(seen(tls, Peer::reset).1, End::Reset, "TLS: {tls}");
    }
}

#[test]
fn bulk_both_ways_at_once() {
    const BYTES: u64 = 3_000_001;
    for tls in [false, true] {
        let pki = Pki::new();
        let backend =
            Backend::start(Listening::tls_if(tls, &pki), |mut peer| peer.duplex(&Duplex::whole(BYTES, 2)));
        let mut client = if tls {
            TlsClient::new(&pki).connect(backend.address()).unwrap()
        } else {
            Peer::plain(backend.address())
        };
        let got = client.duplex(&Duplex::whole(BYTES, 1));
        let expected = |seed| Received {
            bytes: BYTES,
            digest: digest_of_pattern(seed, BYTES),
            end: End::Clean,
            sent: BYTES,
        };
        assert_eq!(got, expected(2), "TLS: {tls}");
        assert_eq!(backend.next(), expected(1), "TLS: {tls}");
    }
}
