// SPDX-License-Identifier: MIT OR Apache-2.0
//! STARTTLS on either side, with peers that say what a test wants: who is greeted by whom, what becomes of more in clear
//! (row 112 of the known failures of the field), of servers that decline and of peers that keep silent.
//!
//! Not here: real servers and clients (`starttls_programs`), what is said (`src/wire/starttls/`).

use crate::harness::{Backend, End, Line, Listening, Options, Peer, Pki, TlsClient, Tunnel};
use openssl::ssl::{Ssl, SslContext};
use std::fmt::Write;
use std::net::SocketAddr;

/// How one protocol gets to TLS.
struct Script {
    protocol: &'static str,
    /// What a client says for TLS.
    wish: &'static [u8],
    /// What our consent ends with.
    consent: &'static [u8],
    /// What a server says: at once (may be nothing), then upon each of our words.
    says: &'static [&'static [u8]],
    /// What a server greets with, once; nothing where it does not.
    greeting: &'static [u8],
}

const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

const SCRIPTS: &[Script] = &[
    Script {
        protocol: "smtp",
        wish: b"EHLO x\r\nSTARTTLS\r\n",
        consent: b"220 2.0.0 Ready to start TLS\r\n",
        says: &[b"220 in clear\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n"],
        greeting: b"220-you\r\n220 there\r\n",
    },
    Script {
        protocol: "imap",
        wish: b"a STARTTLS\r\n",
        consent: b"a OK begin TLS now\r\n",
        says: &[b"* OK in clear\r\n", b"tls1 OK go\r\n"],
        greeting: b"* OK there\r\n",
    },
    Script {
        protocol: "pop3",
        wish: b"STLS\r\n",
        consent: b"+OK begin TLS now\r\n",
        says: &[b"+OK in clear\r\n", b"+OK go\r\n"],
        greeting: b"+OK there\r\n",
    },
    Script {
        protocol: "pgsql",
        wish: b"\0\0\0\x08\x04\xd2\x16\x2f",
        consent: b"S",
        says: &[b"", b"S"],
        greeting: b"",
    },
    Script {
        protocol: "ldap",
        wish: START_TLS,
        consent: b"1.3.6.1.4.1.1466.20037",
        says: &[b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0"],
        greeting: b"",
    },
    Script {
        protocol: "ftp",
        wish: b"AUTH TLS\r\n",
        consent: b"234 begin TLS now\r\n",
        says: &[b"220 in clear\r\n", b"234 go\r\n"],
        greeting: b"220-you\r\n220 there\r\n",
    },
    Script {
        protocol: "nntp",
        wish: b"STARTTLS\r\n",
        consent: b"382 begin TLS now\r\n",
        says: &[b"200 in clear\r\n", b"382 go\r\n"],
        greeting: b"201 there\r\n",
    },
    Script {
        protocol: "sieve",
        wish: b"STARTTLS\r\n",
        consent: b"OK \"begin TLS now\"\r\n",
        says: &[b"\"SIEVE\" \"in clear\"\r\nOK\r\n", b"OK\r\n"],
        greeting: b"",
    },
    Script {
        protocol: "irc",
        wish: b"STARTTLS\r\n",
        consent: b":tunnel 670 * :begin TLS now\r\n",
        says: &[b":x NOTICE * :in clear\r\n", b":x 670 * :go\r\n"],
        greeting: b"",
    },
    Script {
        protocol: "xmpp",
        wish: b"<stream:stream to='x' xmlns='jabber:client'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        consent: b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        says: &[
            b"",
            b"<stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>",
            b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        ],
        greeting: b"",
    },
];

/// One service, which has the name of its protocol or whatever it is given.
fn service(name: &str, accept: &str, server: SocketAddr, connect: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\naccept = {{ address = \"127.0.0.1:0\"{accept} }}\n\
         connect = {{ address = \"{server}\"{connect} }}\n"
    )
}

/// `accept` with the protocol and a certificate.
fn serving(pki: &Pki, protocol: &str) -> String {
    format!(", starttls = \"{protocol}\", tls = {{ {} }}", pki.server.toml())
}

/// `connect` with the protocol.
fn asking(pki: &Pki, protocol: &str) -> String {
    format!(", starttls = \"{protocol}\", tls = {{ ca = \"{}\" }}", pki.ca.display())
}

/// Reads until `end` has come; all of it.
#[track_caller]
fn read_until(peer: &mut Peer, end: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !all.ends_with(end) {
        all.extend(peer.receive(1));
    }
    all
}

/// A client that has got through to TLS.
#[track_caller]
fn taken_to_tls(address: SocketAddr, script: &Script, pki: &Pki) -> Peer {
    let mut peer = Peer::plain(address);
    peer.send(script.wish);
    read_until(&mut peer, script.consent);
    let Peer::Plain(socket) = peer else { unreachable!() };
    TlsClient::new(pki).connect_over(socket).unwrap_or_else(|error| panic!("{}: {error:?}", script.protocol))
}

/// Says `says`, one upon each word of the other side; whether that was there to the end.
fn play(peer: &mut Peer, says: &[&[u8]]) -> bool {
    let mut buffer = [0; 4096];
    for (index, words) in says.iter().enumerate() {
        if index > 0 && peer.read(&mut buffer).is_err() || peer.try_send(words).is_err() {
            return false;
        }
    }
    true
}

fn context(pki: &Pki) -> SslContext {
    Listening::tls(&pki.server).tls.unwrap()
}

/// What a client gets that sends `words` and is to be turned away, which may be before it knows that it was let in.
fn turned_away(address: SocketAddr, words: &[u8]) -> Vec<u8> {
    let Ok(mut peer) = Peer::try_plain(address) else { return Vec::new() };
    let _it_may_be_over = peer.try_send(words);
    peer.receive_all().0
}

/// What comes back for "ping".
#[track_caller]
fn ping(peer: &mut Peer) -> Vec<u8> {
    peer.send(b"ping\n");
    read_until(peer, b"ping\n")
}

/// Sends back what comes, after `greeting`.
fn greeting_echo(greeting: &'static [u8], listening: Listening) -> Backend<u64> {
    Backend::start(listening, move |mut peer| {
        peer.try_send(greeting).map_or(0, |()| crate::harness::echo(peer))
    })
}

#[test]
fn a_client_is_taken_to_tls_and_greeted_once() {
    let pki = Pki::new();
    let mut backends = Vec::new();
    let mut services = String::new();
    for script in SCRIPTS {
        let bare = greeting_echo(script.greeting, Listening::default());
        let secured = greeting_echo(script.greeting, Listening::tls(&pki.server));
        let accept = serving(&pki, script.protocol);
        let tls = format!(", tls = {{ ca = \"{}\" }}", pki.ca.display());
        services += &service(script.protocol, &accept, bare.address(), "");
        services += &service(&format!("{}-tls", script.protocol), &accept, secured.address(), &tls);
        backends.push((bare, secured));
    }
    let tunnel = Tunnel::start(&services);
    for script in SCRIPTS {
        for name in [script.protocol.to_owned(), format!("{}-tls", script.protocol)] {
            let mut peer = taken_to_tls(tunnel.address(&name), script, &pki);
            assert_eq!(ping(&mut peer), b"ping\n", "{name}: the server's greeting is not for the client");
        }
    }
}

#[test]
fn a_server_is_taken_to_tls_and_the_client_greeted_once() {
    let pki = Pki::new();
    let mut backends = Vec::new();
    let mut services = String::new();
    for script in SCRIPTS {
        let context = context(&pki);
        let backend = Backend::start(Listening::default(), move |mut peer| {
            if !play(&mut peer, script.says) {
                return 0;
            }
            let Peer::Plain(socket) = peer else { unreachable!() };
            Ssl::new(&context)
                .unwrap()
                .accept(socket)
                .map_or(0, |stream| crate::harness::echo(Peer::Tls(stream)))
        });
        let connect = asking(&pki, script.protocol);
        services += &service(script.protocol, "", backend.address(), &connect);
        let both = serving(&pki, script.protocol);
        services += &service(&format!("{}-both", script.protocol), &both, backend.address(), &connect);
        backends.push(backend);
    }
    let tunnel = Tunnel::start(&services);
    for script in SCRIPTS {
        let mut peer = Peer::plain(tunnel.address(script.protocol));
        // The first message of a client; PostgreSQL's is waited for.
        let first: &[u8] = if script.protocol == "pgsql" { b"\0\0\0\x0dping\0\0ng\n" } else { b"ping\n" };
        peer.send(first);
        let got = read_until(&mut peer, b"ng\n");
        let greeting = got.strip_suffix(first).unwrap_or_else(|| panic!("{}: {got:?}", script.protocol));
        assert_eq!(greeting.is_empty(), script.greeting.is_empty(), "{}", script.protocol);
        assert!(!greeting.windows(5).any(|words| words == b"clear"), "{}: {greeting:?}", script.protocol);
        let mut peer = taken_to_tls(tunnel.address(&format!("{}-both", script.protocol)), script, &pki);
        assert_eq!(ping(&mut peer), b"ping\n", "{} on both sides", script.protocol);
    }
}

/// Row 112: what a client sends in clear behind its wish for TLS reaches nobody, and TLS does not begin.
#[test]
fn what_a_client_adds_in_clear_ends_the_connection() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let mut services = String::new();
    for script in SCRIPTS {
        services += &service(script.protocol, &serving(&pki, script.protocol), backend.address(), "");
    }
    let tunnel = Tunnel::start(&services);
    let mut count = 0;
    for script in SCRIPTS {
        for more in [&b"MAIL FROM:<evil@x>\r\n"[..], b"\0", b"\x16\x03\x01\x02\0"] {
            let mut peer = Peer::plain(tunnel.address(script.protocol));
            peer.send(&[script.wish, more].concat());
            peer.half_close();
            let (said, end) = peer.receive_all();
            assert_eq!(end, End::Clean, "{}", script.protocol);
            assert!(!said.ends_with(script.consent), "{}: {said:?}", script.protocol);
            count += 1;
            let line = tunnel.wait_closed(count).pop().unwrap();
            assert_eq!(line.get("reason"), "starttls-injection", "{}", line.text);
        }
    }
    assert_eq!(backend.accepted(), 0);
    let lines = tunnel.log_lines();
    let told = |line: &&Line| line.is("handshake-failed") && line.get("while") == "STARTTLS with the client";
    assert_eq!(lines.iter().filter(told).count(), count);
}

/// Row 112, the other way: what a server, or somebody before it, adds in clear behind its consent.
#[test]
fn what_a_server_adds_in_clear_ends_the_connection() {
    let pki = Pki::new();
    let mut backends = Vec::new();
    let mut services = String::new();
    for script in SCRIPTS {
        let backend = Backend::start(Listening::default(), move |mut peer| {
            let mut says: Vec<Vec<u8>> = script.says.iter().map(|words| words.to_vec()).collect();
            says.last_mut().unwrap().extend_from_slice(b"* EVIL in clear\r\n");
            let says: Vec<&[u8]> = says.iter().map(Vec::as_slice).collect();
            assert!(play(&mut peer, &says));
            peer.receive_all().0
        });
        let connect =
            format!("{}, opportunistic = {}", asking(&pki, script.protocol), script.protocol != "xmpp");
        services += &service(script.protocol, "", backend.address(), &connect);
        backends.push(backend);
    }
    let tunnel = Tunnel::start(&services);
    for (index, (script, backend)) in SCRIPTS.iter().zip(&backends).enumerate() {
        // PostgreSQL's client must have begun.
        let said = turned_away(tunnel.address(script.protocol), b"\0\0\0\x08\0\x03\0\0");
        assert_eq!(said, b"", "{}: nothing of it reaches the client", script.protocol);
        assert_eq!(backend.next(), b"", "{}: nor does TLS begin", script.protocol);
        let line = tunnel.wait_closed(index + 1).pop().unwrap();
        assert_eq!(line.get("reason"), "server-starttls-injection", "{}", line.text);
    }
}

/// The same for the first message of MySQL, which offers TLS: the client gets neither.
#[test]
fn what_follows_a_challenge_ends_the_connection() {
    let pki = Pki::new();
    let backend = Backend::start(Listening::default(), |mut peer| {
        peer.send(b"\x15\0\0\0\x0ax\0\x01\0\0\0challeng\0\xff\xff\x21\x02\0\x01\0\0\x02\0");
        peer.receive_all().0
    });
    let tunnel = Tunnel::start(&service("mysql", "", backend.address(), &asking(&pki, "mysql")));
    assert_eq!(turned_away(tunnel.address("mysql"), b""), b"");
    assert_eq!(backend.next(), b"");
    tunnel.wait_reason("server-starttls-injection");
}

/// The same for the wish of MySQL's clients, behind which only TLS may follow at once.
#[test]
fn what_follows_a_wish_of_mysql_ends_the_connection() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&service("mysql", &serving(&pki, "mysql"), backend.address(), ""));
    let wish = [b"\x20\0\0\x01\x05\xaa\x08\0", &[0; 28][..]].concat();
    let quit = b"\x01\0\0\0\x01";
    let said = turned_away(tunnel.address("mysql"), &[&wish[..], quit].concat());
    assert!(said.ends_with(b"mysql_native_password\0"), "nothing but the greeting: {said:?}");
    tunnel.wait_reason("starttls-injection");
    assert_eq!(backend.accepted(), 0);
}

/// What a server says that declines TLS, upon each of our words; then it echoes.
const DECLINES: &[(&str, &[&[u8]])] = &[
    ("smtp", &[b"220 x\r\n", b"250 HELP\r\n"]),
    ("imap", &[b"* OK\r\n", b"tls1 BAD no\r\n"]),
    ("pop3", &[b"+OK\r\n", b"-ERR no\r\n"]),
    ("pgsql", &[b"", b"N"]),
    ("mysql", &[b"\x15\0\0\0\x0ax\0\x01\0\0\0challeng\0\xff\xf7\x21\x02\0"]),
    ("ldap", &[b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0"]),
    ("ftp", &[b"220 x\r\n", b"502 no\r\n"]),
    ("nntp", &[b"200 x\r\n", b"580 no\r\n"]),
    ("irc", &[b"", b":x 421 * STARTTLS :no\r\n"]),
];

#[test]
fn a_server_that_declines_is_an_error_unless_that_is_allowed() {
    let pki = Pki::new();
    let mut backends = Vec::new();
    let mut services = String::new();
    for (protocol, says) in DECLINES {
        let backend = Backend::start(Listening::default(), move |mut peer| {
            if play(&mut peer, says) { crate::harness::echo(peer) } else { 0 }
        });
        let connect = asking(&pki, protocol);
        services += &service(protocol, "", backend.address(), &connect);
        let allowed = format!("{connect}, opportunistic = true");
        services += &service(&format!("{protocol}-allowed"), "", backend.address(), &allowed);
        backends.push(backend);
    }
    let tunnel = Tunnel::start(&services);
    let first: &[u8] = b"\0\0\0\x0dping\0\0ng\n";
    for (protocol, _) in DECLINES {
        assert_eq!(turned_away(tunnel.address(protocol), first), b"", "{protocol}");
        tunnel.wait_log(protocol, |line| {
            line.get("service") == *protocol && line.get("reason") == "server-starttls-failed"
        });
        let mut peer = Peer::plain(tunnel.address(&format!("{protocol}-allowed")));
        peer.send(first);
        assert!(read_until(&mut peer, b"ng\n").ends_with(first), "{protocol}");
    }
}

/// That one declines is a server's fault like any other: the next one serves the client.
#[test]
fn another_server_is_tried() {
    let pki = Pki::new();
    let declining = Backend::start(Listening::default(), |mut peer| play(&mut peer, DECLINES[0].1));
    let context = context(&pki);
    let good = Backend::start(Listening::default(), move |mut peer| {
        assert!(play(&mut peer, SCRIPTS[0].says));
        let Peer::Plain(socket) = peer else { unreachable!() };
        crate::harness::echo(Peer::Tls(Ssl::new(&context).unwrap().accept(socket).unwrap()))
    });
    let tunnel = Tunnel::start(&format!(
        "[[service]]\nname = \"smtp\"\naccept = \"127.0.0.1:0\"\nbalance = \"first\"\n\
         connect = {{ address = [\"{}\", \"{}\"]{} }}\n",
        declining.address(),
        good.address(),
        asking(&pki, "smtp")
    ));
    let mut peer = Peer::plain(tunnel.address("smtp"));
    peer.send(b"ping\n");
    assert!(read_until(&mut peer, b"ping\n").starts_with(b"220 "));
    assert_eq!((declining.accepted(), good.accepted()), (1, 1));
}

#[test]
fn neither_side_may_keep_silent() {
    let pki = Pki::new();
    let backend = Backend::start(Listening::default(), |mut peer| peer.receive_all().0);
    let timeout = "timeout = { handshake = \"200ms\" }\n";
    let services = [
        service("client", &serving(&pki, "smtp"), backend.address(), ""),
        service("server", "", backend.address(), &asking(&pki, "smtp")),
        service("greeting", &serving(&pki, "smtp"), backend.address(), ""),
    ];
    let services = services.map(|service| service + timeout).concat();
    let tunnel = Tunnel::start(&services);
    Peer::plain(tunnel.address("client")).receive_all();
    assert_eq!(tunnel.wait_closed(1)[0].get("reason"), "handshake-timeout");
    Peer::plain(tunnel.address("server")).receive_all();
    assert_eq!(tunnel.wait_closed(2)[1].get("reason"), "server-handshake-timeout");
    taken_to_tls(tunnel.address("greeting"), &SCRIPTS[0], &pki).receive_all();
    assert_eq!(tunnel.wait_closed(3)[2].get("reason"), "server-handshake-timeout");
}

#[test]
fn byte_by_byte_is_as_good_as_at_once() {
    let pki = Pki::new();
    let backend = greeting_echo(b"220 there\r\n", Listening::default());
    let tunnel = Tunnel::start(&service("smtp", &serving(&pki, "smtp"), backend.address(), ""));
    let mut peer = Peer::plain(tunnel.address("smtp"));
    peer.socket().set_nodelay(true).unwrap();
    read_until(&mut peer, b" ESMTP\r\n");
    for byte in SCRIPTS[0].wish {
        peer.send(&[*byte]);
    }
    read_until(&mut peer, SCRIPTS[0].consent);
    let Peer::Plain(socket) = peer else { unreachable!() };
    let mut peer = TlsClient::new(&pki).connect_over(socket).unwrap();
    assert_eq!(ping(&mut peer), b"ping\n");
}

/// What follows a server's greeting is the client's, in clear as in TLS.
#[test]
fn only_the_greeting_is_taken_in() {
    let pki = Pki::new();
    let both = [Listening::default(), Listening::tls(&pki.server)];
    for (listening, connect) in both.into_iter().zip(["", &format!(", tls = {{ ca = {:?} }}", pki.ca)]) {
        let backend = greeting_echo(b"+OK there\r\n* more\r\n", listening);
        let tunnel = Tunnel::start(&service("pop3", &serving(&pki, "pop3"), backend.address(), connect));
        let mut peer = taken_to_tls(tunnel.address("pop3"), &SCRIPTS[2], &pki);
        assert_eq!(peer.receive(8), b"* more\r\n");
        assert_eq!(ping(&mut peer), b"ping\n");
    }
}

#[test]
fn the_name_in_the_hello_behind_it_chooses_the_route() {
    let pki = Pki::new();
    let (one, other) = (pki.issue("one", &["one.test"]), pki.issue("other", &["other.test"]));
    let [first, second] = ["1", "2"].map(|mark| {
        Backend::start(Listening::default(), move |mut peer| {
            peer.send(format!("* OK there\r\n{mark}").as_bytes());
            peer.receive_all().0
        })
    });
    let mut services =
        "[[service]]\nname = \"imap\"\naccept = { address = \"127.0.0.1:0\", starttls = \"imap\" }\n"
            .to_owned();
    for (name, files, backend) in [("one.test", &one, &first), ("other.test", &other, &second)] {
        write!(
            services,
            "[[service.route]]\nsni = \"{name}\"\ntls = {{ {} }}\nconnect = \"{}\"\n",
            files.toml(),
            backend.address()
        )
        .unwrap();
    }
    let tunnel = Tunnel::start(&services);
    for (name, mark) in [("one.test", b"1"), ("other.test", b"2")] {
        let mut peer = Peer::plain(tunnel.address("imap"));
        peer.send(SCRIPTS[1].wish);
        read_until(&mut peer, SCRIPTS[1].consent);
        let Peer::Plain(socket) = peer else { unreachable!() };
        let mut peer = TlsClient::new(&pki).named(name).connect_over(socket).unwrap();
        assert_eq!(peer.receive(1), mark, "{name}");
    }
}

/// An alert would be no line of the client's protocol.
#[test]
fn who_is_rejected_ahead_of_starttls_is_sent_no_alert() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let rule = "[[service.rule]]\nsource = [\"127.0.0.1\"]\naction = \"reject\"\n";
    let services = service("smtp", &serving(&pki, "smtp"), backend.address(), "") + rule;
    let tunnel = Tunnel::start_with(&services, Options::default());
    assert_eq!(Peer::plain(tunnel.address("smtp")).receive_all().0, b"");
    tunnel.wait_reason("rejected");
}

#[test]
fn who_finds_no_place_ahead_of_starttls_is_sent_no_alert() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let limit = "limit = { max_connections = 1 }\n";
    let tunnel = Tunnel::start(&(service("smtp", &serving(&pki, "smtp"), backend.address(), "") + limit));
    let mut first = Peer::plain(tunnel.address("smtp"));
    read_until(&mut first, b"\r\n");
    assert_eq!(Peer::plain(tunnel.address("smtp")).receive_all().0, b"");
    tunnel.wait_reason("limit-connections");
}
