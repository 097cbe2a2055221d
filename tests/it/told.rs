// SPDX-License-Identifier: MIT OR Apache-2.0
//! What servers are told of clients and what is believed of tunnels before us: certificates and how their verification
//! went, with routes, PROXY headers and rules at once; and who the servers themselves are. Rows 6, 7, 12, 15, 32, 38 and 45
//! of the known failures of the field.
//!
//! Not here: the headers as such (`proxy_protocol`).

use crate::harness::{Backend, End, Files, Listening, Options, Peer, Pki, TlsClient, Tunnel, full, show};
use crate::identity::{asking, ca};
use crate::proxy_protocol::{TAKES, parse, recorder, service};
use openssl::ssl::{NameType, SslVersion};

/// What a server is told that gets `send_proxy`: the certificate too.
pub(crate) const TELLS: &str = ", send_proxy = { version = \"v2\", tlvs = [\"alpn\", \"authority\", \"ssl\", \"certificate\", \
                     \"unique-id\", \"crc32c\"] }";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A version 2 header: from 192.0.2.8:56325 to 198.51.100.1:443, with these TLVs.
fn header(command: u8, tlvs: &[u8]) -> Vec<u8> {
    let body = [&[192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 5, 1, 0xbb], tlvs].concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, 0x11], &length, &body].concat()
}

/// The TLV of TLS: these flags and code, and a common name.
fn ssl(flags: u8, verify: u32) -> Vec<u8> {
    tlv(0x20, &[&[flags][..], &verify.to_be_bytes(), &tlv(0x22, b"told")].concat())
}

/// Row 32: the name switches route, certificate and verification, while a header names another client and another name,
/// and protocols are agreed on; all at once and again and again.
#[test]
fn everything_at_once_stays_apart() {
    let pki = Pki::new();
    let servers = [recorder(), recorder()];
    let own = pki.issue("own", &["b.test"]);
    let route = |name: &str, server: &Backend<Vec<u8>>, tls: &str| {
        let connect = format!("{{ address = [\"{}\"]{TELLS} }}", server.address());
        format!("[[service.route]]\nsni = [\"{name}\"]\nconnect = {connect}\ntls = {{ {tls} }}\n")
    };
    let routes = [
        route("a.test", &servers[0], "alpn = [\"h2\"]"),
        route("b.test", &servers[1], &format!("{}, {}, alpn = [\"http/1.1\"]", own.toml(), ca(&pki))),
    ];
    let accept = format!("{TAKES}, tls = {{ {} }}", pki.issue("a", &["a.test"]).toml());
    let text = format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = [\"127.0.0.1:0\"]{accept} }}\n{}",
        routes.concat()
    );
    let tunnel = Tunnel::start(&text);
    let guest = pki.issue_common_name("guest", "the guest", 30);
    let (bare, known) = (None, Some(&guest));
    for round in 0..full(2_500, 15) {
        for (name, certificate, served) in
            [("a.test", bare, Some("h2")), ("b.test", known, Some("http/1.1")), ("b.test", bare, None)]
        {
            let client = TlsClient::with(&pki, |builder| {
                builder.set_alpn_protos(b"\x08http/1.1\x02h2").unwrap();
                certificate.into_iter().for_each(|files: &Files| show(builder, files));
            });
            let mut peer = Peer::plain(tunnel.address("web"));
            // The header's name is that of the other route.
            let other = if name == "a.test" { "b.test" } else { "a.test" };
            peer.send(&header(0x21, &[tlv(2, other.as_bytes()), tlv(5, b"their id")].concat()));
            let Peer::Plain(socket) = peer else { unreachable!() };
            let connected = client.named(name).connect_over(socket);
            let Some(alpn) = served else {
                // With TLS 1.3 a client learns only after its own handshake that it is refused.
                let refused = connected.map_or(true, |mut peer| peer.receive_all().1 != End::Clean);
                assert!(refused, "round {round}: {name} without a certificate");
                continue;
            };
            let mut peer = connected.unwrap();
            peer.send(b"payload");
            peer.half_close();
            assert_eq!(peer.receive_all(), (Vec::new(), End::Clean));
            let seen = servers[usize::from(name == "b.test")].next();
            let (header, length) = parse(&seen);
            assert_eq!(&seen[length..], b"payload");
            assert_eq!((header.authority(), header.alpn()), (Some(name), Some(alpn.as_bytes())), "{round}");
            assert_eq!(header.unique_id(), Some(&b"their id"[..]));
            assert_eq!(header.proxied_address().unwrap().source.to_string(), "192.0.2.8:56325");
            let ssl = header.ssl().unwrap();
            assert!(ssl.client_ssl() && ssl.client_cert_conn() == certificate.is_some());
            assert_eq!(ssl.cn(), certificate.map(|_| "the guest"), "round {round}");
        }
    }
    let [one, two] = servers.map(|server| server.accepted());
    assert_eq!((one, two), (full(2_500, 15), full(2_500, 15)), "the servers were bothered");
}

/// Row 45: what a server is told of a client's certificate. The library lets no client through whose certificate it cannot
/// verify, also where none is required, so of those no server hears.
#[test]
fn a_server_is_told_how_verification_went() {
    let (pki, others, backend) = (Pki::new(), Pki::named("Other Authority"), recorder());
    let tls = format!(", tls = {{ {}, {}, verify = \"optional\" }}", pki.server.toml(), ca(&pki));
    let tunnel = Tunnel::start(&service(&tls, TELLS, backend.address(), ""));
    let to = tunnel.address("web");
    let good = pki.issue_common_name("good", "the good", 30);
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for (certificate, flags, verify) in
            [(None, (false, false), 1), (Some(&good), (true, true), 0), (Some(&good), (false, true), 0)]
        {
            let client = |with: Option<&Files>| {
                TlsClient::with(&pki, |builder| {
                    builder.set_min_proto_version(Some(version)).unwrap();
                    builder.set_max_proto_version(Some(version)).unwrap();
                    with.into_iter().for_each(|files| show(builder, files));
                })
            };
            let mut client = client(certificate);
            if flags == (false, true) {
                let mut first = client.connect(to).unwrap();
                first.half_close();
                first.receive_all();
                backend.next();
                let session = client.session().unwrap();
                client = client.resuming(session);
            }
            let mut peer = client.connect(to).unwrap();
            peer.half_close();
            peer.receive_all();
            let seen = backend.next();
            let told = parse(&seen).0;
            let ssl = told.ssl().unwrap();
            assert!(ssl.client_ssl());
            assert_eq!(
                (ssl.client_cert_conn(), ssl.client_cert_sess(), ssl.verify()),
                (flags.0, flags.1, verify)
            );
            assert_eq!(ssl.cn(), certificate.map(|_| "the good"), "{version:?}");
        }
    }
    let before = backend.accepted();
    for (what, files) in [
        ("certificate has expired", pki.issue_common_name("late", "late", -1)),
        ("self-signed certificate", others.self_signed()),
        ("unable to get local issuer certificate", others.issue("stranger", &["stranger"])),
    ] {
        let mut told = String::new();
        match TlsClient::certified(&pki, &files).connect(to) {
            Ok(mut peer) => told = format!("{:?}", peer.receive_all().1),
            Err(failure) => told.push_str(&failure.message),
        }
        assert!(told.contains("alert"), "{what}: {told}");
        tunnel.wait_log(what, |line| line.is("handshake-failed") && line.get("error").contains(what));
    }
    assert_eq!(backend.accepted(), before, "the server was bothered");
}

/// Row 12: whatever code the tunnel before us tells, the server hears it, and a rule takes no certificate for good that
/// was not verified.
#[test]
fn every_code_of_verification_is_told_on_as_it_came() {
    let backend = recorder();
    let tunnel = Tunnel::start(&service(TAKES, TELLS, backend.address(), ""));
    for verify in (0..=100).chain([127, 128, 255, 256, 65_535, 65_536, 1 << 31, u32::MAX]) {
        let mut peer = Peer::plain(tunnel.address("web"));
        peer.send(&header(0x21, &ssl(7, verify)));
        peer.half_close();
        let seen = backend.next();
        let told = parse(&seen).0;
        let ssl = told.ssl().unwrap();
        assert_eq!((ssl.verify(), ssl.cn(), ssl.client_cert_conn()), (verify, Some("told"), true));
    }
    let rule = "[[service.rule]]\nclient_certificate = { cn = [\"told\"] }\naction = \"accept\"\n\
                [[service.rule]]\naction = \"reject\"\n";
    let tunnel = Tunnel::start(&service(TAKES, TELLS, backend.address(), rule));
    for (flags, verify, served) in [
        (7, 0, true),
        (5, 0, true),
        (7, 1, false),
        (7, 10, false),
        (7, 64, false),
        (7, 1 << 8, false),
        (1, 0, false),
    ] {
        let mut peer = Peer::plain(tunnel.address("web"));
        let before = backend.accepted();
        peer.send(&header(0x21, &ssl(flags, verify)));
        let _refused_early = peer.socket().shutdown(std::net::Shutdown::Write);
        let (_, end) = peer.receive_all();
        assert_ne!(end, End::Silence);
        assert_eq!(backend.accepted() > before, served, "flags {flags}, code {verify}");
    }
}

/// Row 38: rules judge the sender of a LOCAL header by where it is, not by what the header says.
#[test]
fn a_local_header_is_judged_by_its_senders_address() {
    let backend = recorder();
    let rules = |source: &str| format!("[[service.rule]]\nsource = [\"{source}\"]\naction = \"reject\"\n");
    for (source, served) in [("192.0.2.8", true), ("127.0.0.1", false)] {
        let tunnel = Tunnel::start(&service(TAKES, TELLS, backend.address(), &rules(source)));
        let before = backend.accepted();
        let mut peer = Peer::plain(tunnel.address("web"));
        let own = peer.socket().local_addr().unwrap();
        let _refused_early = peer.try_send(&header(0x20, &tlv(2, b"evil.test")));
        let _refused_early = peer.socket().shutdown(std::net::Shutdown::Write);
        peer.receive_all();
        assert_eq!(backend.accepted() > before, served, "{source} is banned");
        if served {
            let seen = backend.next();
            let told = parse(&seen).0;
            assert_eq!((told.proxied_address().unwrap().source, told.authority()), (own, None));
        }
    }
}

/// Two routes to one address where two servers have names of their own; the outcome of a connection is the name that it
/// asked for, and whether it resumed a session.
fn two_servers(pki: &Pki) -> (Tunnel, Backend<(Option<String>, bool)>) {
    let both = pki.issue("both", &["one.test", "two.test"]);
    let backend = Backend::start(Listening::tls(&both), |mut peer: Peer| {
        peer.receive_all();
        peer.half_close();
        let ssl = peer.tls().ssl();
        (ssl.servername(NameType::HOST_NAME).map(str::to_owned), ssl.session_reused())
    });
    let route = |name: &str| {
        format!(
            "[[service.route]]\nsni = [\"{name}\"]\nconnect = {{ address = [\"{}\"], tls = {{ ca = \"{}\", \
             server_name = \"{name}\" }} }}\n",
            backend.address(),
            pki.ca.display()
        )
    };
    let text = format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = [\"127.0.0.1:0\"], tls = {{ {} }} }}\n{}{}",
        pki.server.toml(),
        route("one.test"),
        route("two.test")
    );
    (Tunnel::start_with(&text, Options::global("workers = 1")), backend)
}

/// Visits the servers of those names, one after the other; which visits resumed a session.
#[track_caller]
fn visit(names: &[&str]) -> Vec<bool> {
    let pki = Pki::new();
    let (tunnel, backend) = two_servers(&pki);
    let visits = names.iter().enumerate().map(|(number, name)| {
        let mut peer = asking(&pki, name, |_| ()).connect(tunnel.address("web")).unwrap();
        peer.half_close();
        peer.receive_all();
        let (asked, reused) = backend.next();
        assert_eq!(asked.as_deref(), Some(*name));
        tunnel.wait_closed(number + 1);
        reused
    });
    visits.collect()
}

/// Row 15: a session with one server is offered to no other, though both are at one address.
#[test]
fn sessions_with_servers_stay_with_their_name() {
    assert_eq!(visit(&["one.test", "one.test", "two.test", "two.test"]), [false, true, false, true]);
}

/// A service keeps its sessions with the servers of all its routes.
#[test]
fn sessions_with_the_servers_of_two_routes_are_kept_beside_each_other() {
    assert_eq!(visit(&["one.test", "two.test", "one.test", "two.test"]), [false, false, true, true]);
}

/// Rows 6 and 7: a server is known by the names of hosts in its certificate, whole, and by nothing that resembles one.
#[test]
fn a_server_is_known_by_its_names_alone() {
    let pki = Pki::new();
    for (name, good) in [
        ("localhost", true),
        ("LocalHost", true),
        ("someone@localhost", false),
        ("https://localhost/", false),
        ("https://localhost", false),
        ("localhost\0.evil.test", false),
        ("localhost.evil.test", false),
        ("127.0.0.1", false),
    ] {
        let files = pki.issue("named", &[name]);
        let backend = Backend::echo(Listening::tls(&files));
        let connect = format!(", tls = {{ ca = \"{}\", server_name = \"localhost\" }}", pki.ca.display());
        let tunnel = Tunnel::start(&service("", &connect, backend.address(), ""));
        let mut peer = Peer::plain(tunnel.address("web"));
        let _refused_early = peer.try_send(b"ping");
        assert_eq!(peer.read(&mut [0; 4]).is_ok(), good, "{name:?}");
        if !good {
            let line = tunnel.wait_log("the failure", |line| line.is("tls-server-failed"));
            assert!(line.get("error").contains("certificate verify failed"), "{}", line.text);
        }
    }
}

/// Promise G3 on the ways that are new: behind a header, on a route with TLS of its own, with a header in front of what the
/// server gets. What was cut short arrives as cut short, behind every byte that came before.
#[test]
fn a_broken_stream_stays_broken_behind_headers_and_routes() {
    let pki = Pki::new();
    let backend = Backend::start(Listening::default(), |mut peer: Peer| {
        let mut seen = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            match peer.read(&mut buffer) {
                Ok(count) => seen.extend_from_slice(&buffer[..count]),
                Err(end) => return (seen, end),
            }
            if seen.ends_with(b"half a requ") {
                peer.send(b"seen");
            }
            if seen.ends_with(b"break") {
                peer.send(b"half an ans");
                peer.reset();
                return (seen, End::Other("ours".to_owned()));
            }
        }
    });
    let own = format!("tls = {{ {} }}", pki.issue("own", &["own.test"]).toml());
    let routes = format!(
        "[[service.rule]]\nsource = [\"203.0.113.0/24\"]\naction = \"reject\"\n\
         [[service.route]]\nsni = [\"own.test\"]\n{own}\n[[service.route]]\nfallback = [\"unknown-name\"]\n"
    );
    let accept = format!("{TAKES}, tls = {{ {} }}", pki.server.toml());
    let secured = Tunnel::start(&service(&accept, TELLS, backend.address(), &routes));
    let plain = Tunnel::start(&service(TAKES, TELLS, backend.address(), ""));
    let connect = |name: &str| {
        let tunnel = if name.is_empty() { &plain } else { &secured };
        let mut peer = Peer::plain(tunnel.address("web"));
        peer.send(&header(0x21, &tlv(2, b"own.test")));
        match peer {
            Peer::Plain(socket) if !name.is_empty() => {
                asking(&pki, name, |_| ()).connect_over(socket).unwrap()
            }
            plain => plain,
        }
    };
    let ended = |said: &[u8]| {
        let (seen, end) = backend.next();
        assert_eq!(&seen[parse(&seen).1..], said);
        end
    };
    for name in ["", "own.test", "localhost"] {
        for round in 0..full(200, 10) {
            let mut client = connect(name);
            client.send(b"half a requ");
            assert_eq!(client.receive(4), b"seen");
            if round % 2 == 0 || name.is_empty() {
                client.half_close();
                assert_eq!(client.receive_all().1, End::Clean, "{name:?}: a proper end is one");
                assert_eq!(ended(b"half a requ"), End::Clean, "{name:?}");
                let mut client = connect(name);
                client.send(b"break");
                let (answer, end) = client.receive_all();
                assert!(end.is_broken(), "{name:?}: {end:?} behind {answer:?}");
                ended(b"break");
            } else {
                client.fin();
                assert_eq!(ended(b"half a requ"), End::Reset, "{name:?}: a client that vanished");
            }
        }
        let mut client = connect(name);
        client.send(b"half a requ");
        // Who resets before it was read takes it back.
        assert_eq!(client.receive(4), b"seen");
        client.reset();
        assert_eq!(ended(b"half a requ"), End::Reset, "{name:?}: a client that reset");
    }
}
