// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handshakes that must succeed, handshakes that must fail and how the client learns why, and what a client may ask for
//! afterwards.

use crate::harness::{
    Backend, End, Limited, Line, Listening, Options, Peer, Pki, Rig, Sides, TlsClient, Tunnel, full, hello,
};
use openssl::ssl::{HandshakeError, SslVersion};

/// The first certificate is for clients that ask for nothing known; the others are chosen by name, wildcards too.
#[test]
fn the_certificate_is_chosen_by_name() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let names = [("first", "first.test"), ("second", "second.test"), ("wild", "*.wild.test")];
    let files: Vec<_> = names.iter().map(|(stem, name)| pki.issue(stem, &[name])).collect();
    let list = |paths: Vec<&std::path::PathBuf>| {
        paths.iter().map(|path| format!("\"{}\"", path.display())).collect::<Vec<_>>().join(", ")
    };
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ \
         certificate = [{}], key = [{}] }} }}\n",
        backend.address(),
        list(files.iter().map(|files| &files.certificate).collect()),
        list(files.iter().map(|files| &files.key).collect()),
    ));
    for name in ["first.test", "second.test", "SECOND.test", "any.wild.test"] {
        let peer = TlsClient::new(&pki).named(name).connect(tunnel.address("web"));
        assert!(peer.is_ok(), "{name}: {:?}", peer.err());
    }
    for name in ["unknown.test", ""] {
        let client = TlsClient::with(&pki, |builder| builder.set_verify(openssl::ssl::SslVerifyMode::NONE))
            .named(name);
        let mut peer = client.connect(tunnel.address("web")).unwrap();
        let shown = peer.tls().ssl().peer_certificate().unwrap();
        assert_eq!(shown.subject_alt_names().unwrap()[0].dnsname(), Some("first.test"), "asked for {name:?}");
    }
}

/// RSA and ECDSA beside each other for one name: the client's abilities decide.
#[cfg(not(feature = "aws-lc"))] // the client of that build cannot be told its signature algorithms
#[test]
fn the_certificate_is_chosen_by_its_kind_of_key() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let (ecdsa, rsa) = (pki.issue("ecdsa", &["localhost"]), pki.issue_rsa("rsa", &["localhost"]));
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ \
         certificate = [\"{}\", \"{}\"], key = [\"{}\", \"{}\"] }} }}\n",
        backend.address(),
        ecdsa.certificate.display(),
        rsa.certificate.display(),
        ecdsa.key.display(),
        rsa.key.display(),
    ));
    for (algorithms, id) in
        [("ECDSA+SHA256", openssl::pkey::Id::EC), ("rsa_pss_rsae_sha256:RSA+SHA256", openssl::pkey::Id::RSA)]
    {
        for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let client = TlsClient::with(&pki, |builder| {
                builder.set_sigalgs_list(algorithms).unwrap();
                if id == openssl::pkey::Id::RSA {
                    // The authority itself signs with ECDSA, which such a client does not know.
                    builder.set_verify(openssl::ssl::SslVerifyMode::NONE);
                }
                builder.set_min_proto_version(Some(version)).unwrap();
                builder.set_max_proto_version(Some(version)).unwrap();
            });
            let mut peer = client.connect(tunnel.address("web")).unwrap();
            let shown = peer.tls().ssl().peer_certificate().unwrap();
            assert_eq!(shown.public_key().unwrap().id(), id, "{algorithms}, {version:?}");
        }
    }
}

/// A service that accepts TLS with `more` keys, in front of an echo.
fn accepting(more: &str) -> (Pki, Backend<u64>, Tunnel) {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let more = more.replace("CA", &format!("\"{}\"", pki.ca.display()));
    let text = format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ {}{more} }} }}\n",
        backend.address(),
        pki.server.toml()
    );
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 1"));
    (pki, backend, tunnel)
}

#[test]
fn the_protocol_is_agreed_by_alpn() {
    let (pki, _backend, tunnel) = accepting(", alpn = [\"h2\", \"http/1.1\"]");
    for (offer, agreed) in [
        (b"\x02h2\x08http/1.1".as_slice(), Some(b"h2".as_slice())),
        (b"\x08http/1.1\x02h2", Some(b"h2")),
        (b"\x08http/1.1", Some(b"http/1.1")),
    ] {
        let client = TlsClient::with(&pki, |builder| builder.set_alpn_protos(offer).unwrap());
        let mut peer = client.connect(tunnel.address("web")).unwrap();
        assert_eq!(peer.tls().ssl().selected_alpn_protocol(), agreed);
    }
    let mut silent = TlsClient::new(&pki).connect(tunnel.address("web")).unwrap();
    assert_eq!(silent.tls().ssl().selected_alpn_protocol(), None);
}

#[test]
fn versions_are_bounded() {
    let (pki, _backend, tunnel) = accepting(", min_version = \"1.3\"");
    assert!(TlsClient::version(&pki, SslVersion::TLS1_3).connect(tunnel.address("web")).is_ok());
    assert!(TlsClient::version(&pki, SslVersion::TLS1_2).connect(tunnel.address("web")).is_err());
    let (pki, _backend, tunnel) = accepting(", max_version = \"1.2\"");
    assert!(TlsClient::version(&pki, SslVersion::TLS1_2).connect(tunnel.address("web")).is_ok());
    assert!(TlsClient::version(&pki, SslVersion::TLS1_3).connect(tunnel.address("web")).is_err());
}

/// The alert that tells a client why is never lost to a reset (row 72), even when the client has sent more than
/// was read.
#[test]
fn a_fatal_alert_is_readable_every_time() {
    let (pki, backend, tunnel) = accepting(", min_version = \"1.3\"");
    let old = hello(&TlsClient::version(&pki, SslVersion::TLS1_2));
    for number in 0..full(1_000, 100) {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(&old);
        if number % 2 == 1 {
            // A second record, which nobody will ever read.
            client.send(&[0x17, 3, 3, 0x10, 0]);
            let _ = client.try_send(&[0; 4096]);
        }
        let (bytes, end) = client.receive_all();
        // An alert record of two bytes: fatal, protocol_version (RFC 8446 section 6).
        assert!(
            bytes.starts_with(&[21, 3]) && bytes.ends_with(&[2, 70]),
            "client {number}: {bytes:?}, {end:?}"
        );
    }
    assert_eq!(backend.accepted(), 0);
}

/// TLS 1.3 clients are done before the server has looked at their certificate: they read the alert as an answer.
#[test]
fn a_missing_certificate_is_told_by_an_alert() {
    let (pki, backend, tunnel) = accepting(", client_ca = CA");
    for _ in 0..full(1_000, 50) {
        let mut client = TlsClient::version(&pki, SslVersion::TLS1_3).connect(tunnel.address("web")).unwrap();
        // Sent along, as an eager client does.
        let _ = client.try_send(&[1; 3_000]);
        match client.receive_all() {
            (bytes, End::Other(message)) => {
                assert!(bytes.is_empty() && message.contains("alert"), "{message}");
            }
            other => panic!("no alert: {other:?}"),
        }
        let failed = TlsClient::version(&pki, SslVersion::TLS1_2).connect(tunnel.address("web"));
        assert!(failed.is_err_and(|failure| failure.alerted));
    }
    assert_eq!(backend.accepted(), 0, "the server was bothered");
    assert!(tunnel.log_lines().iter().any(|line| line.is("handshake-failed")));
}

/// The library's error queue belongs to a thread, not to a connection: a failure on one must not be reported for
/// another (row 111).
#[test]
fn a_failed_handshake_leaves_others_alone() {
    let (pki, _backend, tunnel) = accepting(", min_version = \"1.3\"");
    let good = TlsClient::new(&pki);
    let old = hello(&TlsClient::version(&pki, SslVersion::TLS1_2));
    for cut in (1..400).step_by(full(1, 13)) {
        // B is in the middle of its handshake, and waits …
        let middle = match good.ssl().connect(Limited::connect(tunnel.address("web"), cut)) {
            Err(HandshakeError::WouldBlock(middle)) => middle,
            // The whole of its flights is shorter than this.
            Ok(_) => break,
            Err(error) => panic!("cut at {cut}: {error}"),
        };
        // … while A fails on the same thread.
        let mut bad = Peer::plain(tunnel.address("web"));
        bad.send(&old);
        assert_eq!(bad.receive_all().0.first(), Some(&21));
        let mut middle = middle;
        middle.get_mut().left = usize::MAX;
        let mut stream = middle.handshake().unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
        stream.ssl_write(b"ping").unwrap();
        let mut answer = [0; 4];
        stream.ssl_read(&mut answer).unwrap();
        assert_eq!(&answer, b"ping", "cut at {cut}");
    }
}

/// A hello in as many segments as it has bytes is the same hello.
#[test]
fn a_hello_byte_by_byte() {
    let rig = Rig::echo(Sides::Terminate, "");
    let client = TlsClient::new(&rig.pki);
    let mut middle = match client.ssl().connect(Limited::connect(rig.address(), 1)) {
        Err(HandshakeError::WouldBlock(middle)) => middle,
        other => panic!("{other:?}"),
    };
    loop {
        middle.get_mut().left = 1;
        match middle.handshake() {
            Err(HandshakeError::WouldBlock(again)) => middle = again,
            Ok(mut stream) => {
                stream.get_mut().left = usize::MAX;
                stream.ssl_write(b"ping").unwrap();
                let mut answer = [0; 4];
                stream.ssl_read(&mut answer).unwrap();
                assert_eq!(&answer, b"ping");
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn what_is_not_tls_is_refused_and_said_so() {
    let rig = Rig::echo(Sides::Terminate, "");
    for (bytes, reasons) in [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(), ["not-tls", "not-tls"]),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ["not-tls", "not-tls"]),
        (b"\x16\x03\x01\x00\x10\x01\x00\x00\x0c\x03\x03AAAAAAAAAA", ["bad-hello", "handshake-failed"]),
        (b"\x16\x03\x01\xff\xff\x01\x00\x00\x0c\x03\x03AAAAAAAAAA", ["bad-hello", "not-tls"]),
    ] {
        let mut client = Peer::plain(rig.address());
        let me = client.socket().local_addr().unwrap().to_string();
        client.send(bytes);
        let (_, end) = client.receive_all();
        assert!(matches!(end, End::Clean | End::Reset), "{end:?}");
        drop(client);
        let mine = |line: &Line| line.get("client") == me && !line.get("reason").is_empty();
        let line = rig.tunnel.wait_log("a reason", mine);
        assert!(reasons.contains(&line.get("reason")), "{}: {}", bytes.escape_ascii(), line.text);
    }
    assert_eq!(rig.backend.accepted(), 0);
}

/// A client that renews its keys again and again, and asks for the same, is served or dropped; it does not cost
/// memory or keep the process busy (row 53).
#[cfg(not(feature = "aws-lc"))]
#[test]
fn a_storm_of_key_updates_is_bounded() {
    let rig = Rig::echo(Sides::Terminate, "");
    let client = TlsClient::version(&rig.pki, SslVersion::TLS1_3);
    let mut peer = client.connect(rig.address()).unwrap();
    peer.send(b"ping");
    assert_eq!(peer.receive(4), b"ping");
    rig.tunnel.assert_rest();
    let before = rig.tunnel.figures();
    let mut sent = 0;
    for _ in 0..full(100_000, 10_000) {
        key_update(peer.tls().ssl());
        // An empty write is not possible in TLS; one byte of payload carries the update out.
        if peer.try_send(b"x").is_err() {
            break;
        }
        sent += 1;
    }
    // Nothing was read meanwhile. Either all comes back, or the connection was ended.
    peer.half_close();
    let (bytes, end) = peer.receive_all();
    assert!(
        bytes.len() == sent && end == End::Clean || bytes.len() < sent && end != End::Clean,
        "{sent}: {end:?}"
    );
    rig.tunnel.wait_closed(1);
    let after = rig.tunnel.figures();
    assert!(after.rss < before.rss + 4_096, "{before:?} became {after:?}");
    // A key update costs a few microseconds; far more would be a spin.
    assert!(after.cpu - before.cpu < 200_000 * (sent as u64 + 10_000), "{before:?} became {after:?}");
}

#[cfg(not(feature = "aws-lc"))]
#[expect(unsafe_code, reason = "the call that the openssl crate lacks")]
fn key_update(session: &openssl::ssl::SslRef) {
    unsafe extern "C" {
        fn SSL_key_update(ssl: *mut openssl_sys::SSL, kind: std::ffi::c_int) -> std::ffi::c_int;
    }
    /// SSL_KEY_UPDATE_REQUESTED of openssl/ssl.h: the peer shall renew its keys too.
    const REQUESTED: std::ffi::c_int = 1;
    // An `SslRef` is the library's object itself, seen through a reference.
    let ssl = std::ptr::from_ref(session).cast_mut().cast::<openssl_sys::SSL>();
    // SAFETY: the pointer is to a live session, and the one thread that uses it is here.
    let done = unsafe { SSL_key_update(ssl, REQUESTED) };
    assert_eq!(done, 1);
}

/// The line of a connection says what both ends know.
#[test]
fn both_ends_see_the_counts_of_the_log() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut peer = rig.client();
    peer.send(&[1; 1_000]);
    assert_eq!(peer.receive(1_000), vec![1; 1_000]);
    peer.half_close();
    assert_eq!(peer.receive_all().1, End::Clean);
    let line = rig.tunnel.wait_closed(1).remove(0);
    assert_eq!((line.number("in"), line.number("out")), (1_000, 1_000), "{}", line.text);
    assert_eq!(
        (line.get("service"), line.get("sni"), line.get("reason")),
        ("web", "localhost", "done"),
        "{}",
        line.text
    );
    assert!(line.get("tls").contains("1.3"), "{}", line.text);
    assert!(!line.get("cipher").is_empty() && !line.get("client").is_empty(), "{}", line.text);
}
