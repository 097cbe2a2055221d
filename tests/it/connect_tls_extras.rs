// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS towards servers beyond the ordinary: whose name is asked for, which protocol, which key is expected, what is resumed
//! (row 15), what is written down, and servers that stall in each state of the handshake (row 58).

use crate::harness::{
    Backend, End, Listening, Options, Peer, Pki, Program, TlsClient, Tunnel, free_address, openssl_server,
    refusing, wait_for,
};
use openssl::hash::{MessageDigest, hash};
use openssl::ssl::{NameType, SslVersion};
use openssl::x509::X509;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A service with these keys in `accept` and in `connect.tls`, and more beside them.
fn service(accept: &str, server: SocketAddr, tls: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = \"127.0.0.1:0\"{accept} }}\n\
         connect = {{ address = \"{server}\", tls = {{ {tls} }} }}\n{more}\n"
    )
}

/// The pin of a certificate, as the manual says to make it.
fn pin(certificate: &Path) -> String {
    let script = format!(
        "openssl x509 -in {} -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | \
         openssl base64",
        certificate.display()
    );
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Made in another way it is the same.
    let der = X509::from_pem(&fs::read(certificate).unwrap()).unwrap().public_key().unwrap();
    let own = hash(MessageDigest::sha256(), &der.public_key_to_der().unwrap()).unwrap();
    assert_eq!(text.trim(), openssl::base64::encode_block(&own));
    format!("\"sha256//{}\"", text.trim())
}

#[test]
fn a_pin_holds_beside_verification_and_alone() {
    let (pki, other) = (Pki::new(), Pki::named("other"));
    let alone = pki.self_signed();
    let good = pin(&pki.server.certificate);
    let wrong = pin(&other.server.certificate);
    let (ca, strange) =
        (format!("ca = \"{}\"", pki.ca.display()), format!("ca = \"{}\"", other.ca.display()));
    let name = "server_name = \"localhost\"";
    for (files, tls, served, words) in [
        (&pki.server, format!("{ca}, {name}, pin = {good}"), true, ""),
        (&pki.server, format!("{ca}, {name}, pin = [{wrong}, {good}]"), true, ""),
        (&pki.server, format!("{ca}, {name}, pin = {wrong}"), false, "none of those in `pin`"),
        (&pki.server, format!("{strange}, {name}, pin = {good}"), false, "certificate verify failed"),
        (
            &pki.server,
            format!("{ca}, server_name = \"x.test\", pin = {good}"),
            false,
            "certificate verify failed",
        ),
        (&pki.server, format!("verify = false, pin = {good}"), true, ""),
        (&alone, format!("verify = false, pin = {}", pin(&alone.certificate)), true, ""),
        (&alone, format!("verify = false, pin = {good}"), false, "none of those in `pin`"),
    ] {
        let backend = Backend::echo(Listening::tls(files));
        let tunnel = Tunnel::start(&service("", backend.address(), &tls, ""));
        assert!(!tunnel.log_text().contains("does not verify"), "a pin is a verification");
        let mut client = Peer::plain(tunnel.address("web"));
        let _refused = client.try_send(b"ping");
        assert_eq!(client.read(&mut [0; 4]).is_ok(), served, "{tls}");
        if !served {
            let line = tunnel.wait_log("the failure", |line| line.is("tls-server-failed"));
            assert!(line.get("error").contains(words), "{tls}: {}", line.text);
        }
    }
}

/// A backend whose outcome is the name that it was asked for.
fn asked(pki: &Pki) -> Backend<Option<String>> {
    Backend::start(Listening::tls(&pki.server), |mut peer| {
        let name = peer.tls().ssl().servername(NameType::HOST_NAME).map(str::to_owned);
        crate::harness::echo(peer);
        name
    })
}

#[test]
fn the_name_asked_for_may_be_the_clients() {
    let pki = Pki::new();
    let backend = asked(&pki);
    let verified = format!("ca = \"{}\", server_name = \"localhost\"", pki.ca.display());
    for (sni, host, expected) in [
        ("server", "one.test", Some("localhost")),
        ("client", "One.Test", Some("one.test")),
        ("client", "192.0.2.7", None),
        ("client", "", Some("localhost")),
        ("none", "one.test", None),
    ] {
        let tls = format!("{verified}, sni = \"{sni}\"");
        let tunnel = Tunnel::start(&service("", backend.address(), &tls, "peek = \"http\""));
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        client.half_close();
        assert_eq!(client.receive_all().1, End::Clean, "{sni} {host}");
        assert_eq!(backend.next().as_deref(), expected, "{sni} {host}");
    }
    let accept = format!(", tls = {{ {} }}", pki.server.toml());
    let tunnel =
        Tunnel::start(&service(&accept, backend.address(), &format!("{verified}, sni = \"client\""), ""));
    let client = TlsClient::with(&pki, |builder| builder.set_verify(openssl::ssl::SslVerifyMode::NONE));
    let mut client = client.named("Two.test").connect(tunnel.address("web")).unwrap();
    client.half_close();
    client.receive_all();
    assert_eq!(backend.next().as_deref(), Some("two.test"));
}

#[test]
fn the_protocol_asked_for_may_be_the_clients() {
    let pki = Pki::new();
    let listening = Listening::tls_with(&pki.server, |builder| {
        builder.set_alpn_select_callback(|_, offered| {
            openssl::ssl::select_next_proto(b"\x02h2", offered).ok_or(openssl::ssl::AlpnError::NOACK)
        });
    });
    let backend = Backend::start(listening, |mut peer| {
        let agreed = peer.tls().ssl().selected_alpn_protocol().map(<[u8]>::to_vec);
        crate::harness::echo(peer);
        agreed
    });
    let accept = format!(", tls = {{ {}, alpn = [\"h2\", \"http/1.1\"] }}", pki.server.toml());
    let tls = format!("ca = \"{}\", server_name = \"localhost\", alpn = \"client\"", pki.ca.display());
    let tunnel = Tunnel::start(&service(&accept, backend.address(), &tls, ""));
    for (offers, agreed) in [(&b"\x02h2\x08http/1.1"[..], Some(b"h2".to_vec())), (b"", None)] {
        let client = TlsClient::with(&pki, |builder| {
            if !offers.is_empty() {
                builder.set_alpn_protos(offers).unwrap();
            }
        });
        let mut client = client.connect(tunnel.address("web")).unwrap();
        client.send(b"ping");
        assert_eq!(client.receive(4), b"ping");
        client.half_close();
        client.receive_all();
        assert_eq!(backend.next(), agreed);
    }
    // The client speaks it by then, and the server does not.
    let client = TlsClient::with(&pki, |builder| builder.set_alpn_protos(b"\x08http/1.1").unwrap());
    let mut client = client.connect(tunnel.address("web")).unwrap();
    assert_ne!(client.receive_all().1, End::Clean);
    let line = tunnel.wait_log("the failure", |line| line.is("tls-server-failed"));
    assert!(line.get("error").contains("did not agree on \"http/1.1\""), "{}", line.text);
}

/// Which of the connections to these backends, in the order they came, resumed a session.
fn visits(tunnel: &Tunnel, backend: &Backend<bool>, hosts: &[&str]) -> Vec<bool> {
    hosts
        .iter()
        .map(|host| {
            let mut client = Peer::plain(tunnel.address("web"));
            client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
            client.half_close();
            assert_eq!(client.receive_all().1, End::Clean);
            backend.next()
        })
        .collect()
}

/// Row 15. All backends share one TLS context, so each would resume what was agreed with another: it is never offered.
#[test]
fn sessions_never_cross_servers_names_or_pins() {
    let pki = Pki::new();
    let context = Listening::tls(&pki.server).tls.unwrap();
    let start = || {
        Backend::start(Listening { tls: Some(context.clone()), cramped: false }, |mut peer| {
            let resumed = peer.tls().ssl().session_reused();
            crate::harness::echo(peer);
            resumed
        })
    };
    let (one, two) = (start(), start());
    let tls = format!("ca = \"{}\", server_name = \"localhost\"", pki.ca.display());
    let options = || Options::global("workers = 1");
    let balanced = |balance: &str, servers: [SocketAddr; 2]| {
        let [first, second] = servers;
        format!(
            "[[service]]\nname = \"web\"\nbalance = \"{balance}\"\naccept = \"127.0.0.1:0\"\n\
             connect = {{ address = [\"{first}\", \"{second}\"], tls = {{ {tls} }} }}\n"
        )
    };
    // Two servers by turns.
    let both = balanced("roundrobin", [one.address(), two.address()]);
    let tunnel = Tunnel::start_with(&both, options());
    let mut seen = [Vec::new(), Vec::new()];
    for turn in 0..6 {
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(b"ping");
        client.half_close();
        assert_eq!(client.receive_all().1, End::Clean);
        wait_for("a backend to serve", || one.accepted() + two.accepted() > turn);
        let closed = tunnel.wait_closed(turn + 1);
        let by_one = closed[turn].get("server") == one.address().to_string();
        let backend = if by_one { &one } else { &two };
        seen[usize::from(by_one)].push(backend.next());
    }
    for seen in seen {
        assert_eq!(seen, [false, true, true], "each server has a session of its own");
    }
    // A server that is only reached behind one that refuses.
    let tunnel = Tunnel::start_with(&balanced("first", [refusing(), one.address()]), options());
    assert_eq!(visits(&tunnel, &one, &["a", "a"]), [false, true]);
    // Names that clients ask for, and are passed on.
    let by_name = service("", one.address(), &format!("{tls}, sni = \"client\""), "peek = \"http\"");
    let tunnel = Tunnel::start_with(&by_name, options());
    let hosts = ["one.test", "two.test", "one.test", "two.test"];
    assert_eq!(visits(&tunnel, &one, &hosts), [false, false, true, true]);
    // Routes with other pins, to one server.
    let (good, more) = (pin(&pki.server.certificate), pin(&Pki::named("other").server.certificate));
    let route = |host: &str, pins: &str| {
        format!(
            "[[service.route]]\nhost = [\"{host}\"]\nconnect = {{ address = \"{}\", tls = {{ {tls}, pin = [{pins}] }} }}\n",
            one.address()
        )
    };
    let text = "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n".to_owned()
        + &route("one.test", &good)
        + &route("two.test", &format!("{good}, {more}"));
    let tunnel = Tunnel::start_with(&text, options());
    assert_eq!(visits(&tunnel, &one, &hosts), [false, false, true, true]);
    // Routes that share all of the policy, to servers of their own.
    let route = |host: &str, server: &Backend<bool>| {
        let address = server.address();
        format!(
            "[[service.route]]\nhost = [\"{host}\"]\nconnect = {{ address = \"{address}\", tls = {{ {tls} }} }}\n"
        )
    };
    let text = "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n".to_owned()
        + &route("one.test", &one)
        + &route("two.test", &two);
    let tunnel = Tunnel::start_with(&text, options());
    assert_eq!(visits(&tunnel, &one, &["one.test"]), [false]);
    assert_eq!(visits(&tunnel, &two, &["two.test", "two.test"]), [false, true]);
    assert_eq!(visits(&tunnel, &one, &["one.test"]), [true]);
}

/// The secrets in the file, those with the given client random where there is one.
fn secrets(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// What we write down is what OpenSSL's own tools write of the same sessions.
#[test]
fn secrets_are_written_as_other_tools_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let path = |name: &str| dir.path().join(name);
    let (theirs, server_log) = (path("client"), path("server"));
    let (ours, ours_up) = (path("accept"), path("connect"));
    let (_server, address) = openssl_server(&pki, &["-keylogfile", server_log.to_str().unwrap()]);
    let accept = format!(", tls = {{ {}, key_log = \"{}\" }}", pki.server.toml(), ours.display());
    let tls = format!(
        "ca = \"{}\", server_name = \"localhost\", key_log = \"{}\"",
        pki.ca.display(),
        ours_up.display()
    );
    let tunnel = Tunnel::start(&service(&accept, address, &tls, ""));
    let warnings =
        tunnel.log_lines().into_iter().filter(|line| line.get("warning").contains("key_log")).count();
    assert_eq!(warnings, 2, "{}", tunnel.log_text());
    for version in ["-tls1_2", "-tls1_3"] {
        let mut client = Program::start(
            Command::new("openssl")
                .args(["s_client", "-quiet", "-no_ign_eof", version, "-servername", "localhost", "-connect"])
                .arg(tunnel.address("web").to_string())
                .arg("-keylogfile")
                .arg(&theirs),
        );
        client.stdin.as_mut().unwrap().write_all(b"abc\n").unwrap();
        client.wait_output("cba");
        client.stdin.take();
        client.wait_exit();
    }
    wait_for("both sides of the client's sessions to agree", || {
        secrets(&theirs).len() >= 5 && secrets(&theirs) == secrets(&ours)
    });
    wait_for("both sides of the server's sessions to agree", || {
        secrets(&server_log).len() >= 4 && secrets(&server_log) == secrets(&ours_up)
    });
    for file in [&ours, &ours_up] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::read(file).unwrap().ends_with(b"\n"));
    }
}

/// Passes everything on to `server`, but only the first `limit` bytes back; how many came back is counted.
fn choked(server: SocketAddr, limit: usize, came: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let Ok((mut client, _)) = listener.accept() else { return };
        let mut upstream = TcpStream::connect(server).unwrap();
        let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _over = std::io::copy(&mut from, &mut to);
            let _gone = to.shutdown(Shutdown::Both);
        });
        let mut left = limit;
        let mut buffer = [0; 4_096];
        while let Ok(count @ 1..) = upstream.read(&mut buffer) {
            came.fetch_add(count, Ordering::SeqCst);
            let passed = count.min(left);
            left -= passed;
            if client.write_all(&buffer[..passed]).is_err() {
                break;
            }
        }
        drop(up.join());
    });
    address
}

/// Row 58: wherever a server stops in its handshake, in whatever flight and in the middle of whatever record, we wait for
/// it, use no CPU, and give it up in time.
#[test]
fn a_server_may_stall_anywhere_in_its_handshake() {
    const STALLS: usize = 14;
    let pki = Pki::new();
    for version in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        let backend = Backend::echo(Listening::tls_with(&pki.server, |builder| {
            builder.set_max_proto_version(Some(version)).unwrap();
        }));
        let tls = format!("ca = \"{}\", server_name = \"localhost\"", pki.ca.display());
        let came = Arc::new(AtomicUsize::new(0));
        let whole = choked(backend.address(), usize::MAX, Arc::clone(&came));
        let tunnel = Tunnel::start(&service("", whole, &tls, ""));
        let mut client = Peer::plain(tunnel.address("web"));
        client.send(b"ping");
        assert_eq!(client.receive(4), b"ping");
        drop(client);
        let total = came.load(Ordering::SeqCst);
        let cuts = (0..STALLS).map(|part| match part {
            0..4 => part * 3,
            _ => total * (part - 3) / (STALLS - 3),
        });
        let mut text = String::new();
        for (number, cut) in cuts.enumerate() {
            let address = choked(backend.address(), cut, Arc::default());
            let timeout = "timeout = { handshake = \"3s\" }";
            text += &service("", address, &tls, timeout).replace("\"web\"", &format!("\"cut-{number}\""));
        }
        let tunnel = Tunnel::start_with(&text, Options::global("workers = 1"));
        let clients: Vec<Peer> =
            (0..STALLS).map(|number| Peer::plain(tunnel.address(&format!("cut-{number}")))).collect();
        tunnel.assert_rest();
        // The last of them have got all that a handshake takes, and are served.
        let timed_out = |line: &&crate::harness::Line| line.get("reason") == "server-handshake-timeout";
        wait_for("those that stall to be given up", || {
            let lines = tunnel.log_lines();
            lines.iter().filter(|line| line.is("connection-closed")).filter(timed_out).count() >= STALLS / 2
        });
        tunnel.assert_rest();
        for line in tunnel.log_lines().iter().filter(|line| line.is("connection-closed")) {
            assert!(timed_out(&line), "{}", line.text);
        }
        drop(clients);
    }
}

/// Bad files and values are told with what to do.
#[test]
fn a_key_log_that_others_may_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keys");
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let tls = format!("verify = false, key_log = \"{}\"", file.display());
    let mut tunnel = Tunnel::spawn(&service("", free_address(), &tls, ""), Options::default());
    assert!(!tunnel.wait_exit().success());
    assert!(tunnel.log_text().contains("chmod 600"), "{}", tunnel.log_text());
}

/// As nginx' stream module does: our close_notify is answered by the end of TCP alone.
#[test]
fn a_server_that_closes_without_a_word_is_resumed_all_the_same() {
    let pki = Pki::new();
    let backend = Backend::start(Listening::tls(&pki.server), |mut peer| {
        let word = peer.receive(4);
        peer.send(&word);
        peer.receive_all();
        peer.fin();
    });
    let text = format!(
        "[[service]]\nname = \"way\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ address = \"{}\", tls = {{ ca = \"{}\" }} }}\n",
        backend.address(),
        pki.ca.display()
    );
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 1"));
    for (number, resumed) in ["no", "yes", "yes"].into_iter().enumerate() {
        let mut client = Peer::plain(tunnel.address("way"));
        client.send(b"ping");
        assert_eq!(client.receive(4), b"ping");
        client.half_close();
        client.receive_all();
        let line = tunnel.wait_closed(number + 1).pop().unwrap();
        assert_eq!(
            (line.get("reason"), line.get("server_resumed")),
            ("server-truncated", resumed),
            "{}",
            line.text
        );
    }
}
