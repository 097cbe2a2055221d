// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mode "socks": clients that say by SOCKS or CONNECT where they want to be taken, other people's and scripted ones; where
//! they are taken, what they are told, and where they never are.

use crate::harness::{
    Backend, BlackHole, Duplex, End, Listening, Nginx, Options, OwnNetwork, Peer, Pki, Program, TlsClient,
    Tunnel, digest_of_pattern, openssl_server, refusing,
};
use crate::via_proxy::microsocks;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const LOCAL: &str = "allow = [\"127.0.0.0/8\", \"::1\"]";

/// A service with these keys in `connect`, and more beside it.
fn service(accept: &str, connect: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"way\"\nmode = \"socks\"\ntimeout = {{ connect = \"1s\", linger = \"2s\" }}\n\
         accept = {{ address = \"127.0.0.1:0\"{accept} }}\nconnect = {{ address = \"*:*\", {connect} }}\n{more}\n"
    )
}

/// A file of users, as a part of a configuration.
fn users(dir: &tempfile::TempDir) -> String {
    let path = dir.path().join("users");
    fs::write(&path, "# ours\nme:sec:ret\nyou:x\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!("socks = {{ users = \"{}\" }}", path.display())
}

fn curl(arguments: &[&str], url: &str) -> (Option<i32>, String) {
    let output = Command::new("curl")
        .args(["-sS", "-g", "--max-time", "15", "--noproxy", ""])
        .args(arguments)
        .arg(url)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn curl_gets_its_files_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let nginx = Nginx::start(None);
    nginx.put("file", b"the file");
    let port = nginx.address().port();
    let (url, named) = (format!("http://127.0.0.1:{port}/file"), format!("http://localhost:{port}/file"));
    let tunnel = Tunnel::start(&service("", LOCAL, ""));
    let way = tunnel.address("way");
    let uses: [(String, &str); 6] = [
        (format!("socks5://{way}"), &url),
        (format!("socks5h://{way}"), &named),
        (format!("socks4://{way}"), &url),
        (format!("socks4a://{way}"), &named),
        (format!("http://{way}"), &url),
        (format!("http://{way}"), &named),
    ];
    for (proxy, url) in &uses {
        let got = curl(&["--proxytunnel", "--proxy", proxy], url);
        assert_eq!(got, (Some(0), "the file".to_owned()), "{proxy}");
    }
    for line in tunnel.wait_closed(uses.len()) {
        assert_eq!(line.get("reason"), "done", "{}", line.text);
        assert!(line.get("target").ends_with(&format!(":{port}")), "{}", line.text);
    }
    let guarded = Tunnel::start(&service("", LOCAL, &users(&dir)));
    let way = guarded.address("way");
    for scheme in ["socks5", "socks5h", "http"] {
        let proxy = format!("{scheme}://{way}");
        let with = |user: &str| curl(&["--proxytunnel", "--proxy", &proxy, "--proxy-user", user], &url);
        assert_eq!(with("me:sec:ret"), (Some(0), "the file".to_owned()), "{scheme}");
        assert_ne!(with("me:wrong").0, Some(0), "{scheme}");
        assert_ne!(curl(&["--proxytunnel", "--proxy", &proxy], &url).0, Some(0), "{scheme}");
    }
    assert_ne!(curl(&["--proxy", &format!("socks4://{way}")], &url).0, Some(0));
    let failed = guarded.log_lines().into_iter().filter(|line| line.get("reason") == "bad-proxy-request");
    assert!(failed.count() >= 7, "{}", guarded.log_text());
}

/// `openssl s_client -proxy` and `nc -X`.
#[test]
fn other_clients_are_taken_there_too() {
    let pki = Pki::new();
    let (_server, address) = openssl_server(&pki, &[]);
    let tunnel = Tunnel::start(&service("", LOCAL, ""));
    let way = tunnel.address("way").to_string();
    let mut client = Program::start(
        Command::new("openssl")
            .args([
                "s_client",
                "-quiet",
                "-no_ign_eof",
                "-verify_return_error",
                "-verify_hostname",
                "localhost",
            ])
            .args(["-proxy", &way, "-connect", &format!("localhost:{}", address.port()), "-CAfile"])
            .arg(&pki.ca),
    );
    client.stdin.as_mut().unwrap().write_all(b"abc\n").unwrap();
    client.wait_output("cba");
    let backend = Backend::echo(Listening::default());
    let port = backend.address().port().to_string();
    for version in ["5", "4", "connect"] {
        let mut client =
            Program::start(Command::new("nc").args(["-N", "-X", version, "-x", &way, "127.0.0.1", &port]));
        client.stdin.as_mut().unwrap().write_all(b"through the way\n").unwrap();
        client.stdin.take();
        client.wait_output("through the way");
        assert!(client.wait_exit().success(), "{version}");
        assert_eq!(backend.next(), 16);
    }
}

/// SOCKS inside TLS, and what a client says in the same breath as its request, which is the server's.
#[test]
fn requests_come_inside_tls_and_in_any_pieces() {
    const BYTES: u64 = 1_000_000;
    let pki = Pki::new();
    let accept = format!(", tls = {{ {} }}", pki.server.toml());
    let plain = Tunnel::start(&service("", LOCAL, ""));
    let secured = Tunnel::start(&service(&accept, LOCAL, ""));
    let backend = Backend::echo(Listening::default());
    let [high, low] = backend.address().port().to_be_bytes();
    let asks: [(Vec<u8>, usize); 3] = [
        ([&b"\x05\x02\x00\x02"[..], &[5, 1, 0, 1, 127, 0, 0, 1, high, low]].concat(), 2 + 10),
        ([&[4, 1, high, low, 0, 0, 0, 1][..], b"me\0localhost\0"].concat(), 8),
        (
            format!("CONNECT localhost:{} HTTP/1.1\r\nHost: x\r\n\r\n", backend.address().port())
                .into_bytes(),
            b"HTTP/1.1 200 Connection established\r\n\r\n".len(),
        ),
    ];
    for (ask, answer) in asks {
        for piece in [1, 7, usize::MAX] {
            for tls in [false, true] {
                let mut client = if tls {
                    TlsClient::new(&pki).connect(secured.address("way")).unwrap()
                } else {
                    Peer::plain(plain.address("way"))
                };
                client.socket().set_nodelay(true).unwrap();
                let all = [&ask[..], b"early"].concat();
                for piece in all.chunks(piece) {
                    client.send(piece);
                }
                client.receive(answer);
                assert_eq!(client.receive(5), b"early", "by {piece}, tls {tls}");
                let got = client.duplex(&Duplex::whole(BYTES, 1));
                assert_eq!((got.bytes, got.end), (BYTES, End::Clean), "by {piece}, tls {tls}");
                assert_eq!(got.digest, digest_of_pattern(1, BYTES));
                assert_eq!(backend.next(), BYTES + 5);
            }
        }
    }
}

/// Asks by SOCKS5; the code of the answer.
fn code_of(way: SocketAddr, kind: u8, host: &[u8], port: u16) -> u8 {
    let mut client = Peer::plain(way);
    client.send(&[&b"\x05\x01\x00\x05\x01\x00"[..], &[kind], host, &port.to_be_bytes()].concat());
    assert_eq!(client.receive(2), b"\x05\x00");
    let answer = client.receive_all();
    assert_eq!((answer.0.len(), answer.0[0], answer.1), (10, 5, End::Clean));
    answer.0[1]
}

/// Asks by CONNECT; the status of the answer.
fn status_of(way: SocketAddr, target: &str) -> String {
    let mut client = Peer::plain(way);
    client.send(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes());
    let (answer, end) = client.receive_all();
    assert_eq!(end, End::Clean);
    String::from_utf8(answer).unwrap().split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_failure_is_told_by_its_code() {
    let hole = BlackHole::new();
    let backend = Backend::echo(Listening::default());
    let port = backend.address().port();
    let tunnel = Tunnel::start(&service("", &format!("{LOCAL}, ports = [\"1-65000\"]"), ""));
    let way = tunnel.address("way");
    let v4 = [127, 0, 0, 1];
    let refused = refusing().port();
    for (kind, host, port, code) in [
        (1, &v4[..], refused, 5),
        (1, &v4, hole.address().port(), 6),
        (1, &[10, 0, 0, 1], port, 2),
        (1, &[169, 254, 169, 254], 80, 2),
        (1, &v4, 65_001, 2),
        (3, b"\x0enobody.invalid", port, 4),
        (4, &[0; 16], port, 2),
    ] {
        assert_eq!(code_of(way, kind, host, port), code, "{kind} {host:?} {port}");
    }
    for (target, status) in [
        (format!("127.0.0.1:{refused}"), "502"),
        (hole.address().to_string(), "504"),
        ("10.0.0.1:80".to_owned(), "403"),
        ("[::ffff:10.0.0.1]:80".to_owned(), "403"),
        (format!("localhost:{}", way.port()), "403"),
        ("127.0.0.1:65001".to_owned(), "403"),
        ("nobody.invalid:80".to_owned(), "502"),
        ("127.1:80".to_owned(), "400"),
        ("nothing".to_owned(), "400"),
    ] {
        assert_eq!(status_of(way, &target), status, "{target}");
    }
    assert_eq!(backend.accepted(), 0);
}

/// Names and ports that are listed, and nothing beside them: not by address either, in whatever spelling.
#[test]
fn only_what_is_listed_is_reached() {
    let backend = Backend::echo(Listening::default());
    let port = backend.address().port();
    let listed = format!("{LOCAL}, names = [\"localhost\"], ports = [{port}]");
    let tunnel = Tunnel::start(&service("", &listed.replace("\"127.0.0.0/8\", ", ""), ""));
    let way = tunnel.address("way");
    // The name leads to two addresses, of which one is allowed.
    for target in
        [format!("127.0.0.1:{port}"), format!("nobody.invalid:{port}"), format!("[::ffff:127.0.0.1]:{port}")]
    {
        assert_eq!(status_of(way, &target), "403", "{target}");
    }
    let tunnel = Tunnel::start(&service("", &listed, ""));
    let way = tunnel.address("way");
    assert_eq!(status_of(way, "localhost:1"), "403");
    let mut client = Peer::plain(way);
    client.send(format!("CONNECT LOCALHOST.:{port} HTTP/1.1\r\nHost: x\r\n\r\nping").as_bytes());
    client.half_close();
    let (answer, end) = client.receive_all();
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"\r\n\r\nping"), "{answer:?}");
    assert_eq!(end, End::Clean);
}

/// Who speaks neither, or badly, is told so where there is a way to, and goes.
#[test]
fn who_asks_badly_is_refused() {
    let tunnel = Tunnel::start(&service("", LOCAL, ""));
    let way = tunnel.address("way");
    let head = [&b"CONNECT a:1 HTTP/1.1\r\nX: "[..], &[b'y'; 20_000]].concat();
    let cases: [(&[u8], &[u8], &str); 9] = [
        (b"\x16\x03\x01\x00\x05hello", b"", "neither SOCKS nor HTTP"),
        (b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 400 ", "malformed"),
        (
            b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"HTTP/1.1 405 ",
            "instead of CONNECT",
        ),
        (&head, b"HTTP/1.1 400 ", "larger than 16384 bytes"),
        (b"\x05\x01\x02", b"\x05\xff", "no way to log in"),
        (b"\x05\x01\x00\x05\x02\x00\x01\x7f\0\0\x01\0\x50", b"\x05\x00\x05\x07", "instead of CONNECT"),
        (b"\x05\x01\x00\x05\x01\x00\x09", b"\x05\x00\x05\x08", "instead of CONNECT"),
        (b"\x04\x02\x00\x50\x7f\0\0\x01\0", b"\x00\x5b", "instead of CONNECT"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x03a b\0\x50", b"\x05\x00\x05\x01", "no host name has"),
    ];
    for (said, told, why) in cases {
        let mut client = Peer::plain(way);
        client.send(said);
        let (answer, end) = client.receive_all();
        assert!(answer.starts_with(told) && answer.is_empty() == told.is_empty(), "{why}: {answer:?}");
        assert_eq!(end, End::Clean, "{why}");
        drop(client);
        let line = tunnel.wait_log(why, |line| line.get("error").contains(why));
        assert_eq!(line.get("reason"), "bad-proxy-request", "{}", line.text);
    }
    // One that says nothing, or only half, has the time of a handshake.
    let text = service("", LOCAL, "").replace("connect = \"1s\"", "handshake = \"700ms\"");
    let tunnel = Tunnel::start_with(&text, Options::default());
    for said in [&b""[..], b"\x05", b"CONNECT a:1 HTTP/1.1\r\n"] {
        let mut client = Peer::plain(tunnel.address("way"));
        client.send(said);
        assert_ne!(client.receive_all().1, End::Clean);
    }
    for line in tunnel.wait_closed(3) {
        assert_eq!(line.get("reason"), "handshake-timeout", "{}", line.text);
    }
}

/// Our own ways, one behind the other and beside another program's.
#[test]
fn ways_lead_through_other_ways() {
    let backend = Backend::echo(Listening::default());
    let inner = Tunnel::start(&service("", LOCAL, ""));
    let (_micro, micro) = microsocks(&[]);
    for (kind, address) in
        [("socks5", inner.address("way")), ("http", inner.address("way")), ("socks5", micro)]
    {
        let outer = Tunnel::start(&format!(
            "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = {{ address = \"{}\", proxy = {{ kind = \
             \"{kind}\", address = \"{address}\" }} }}\n",
            backend.address()
        ));
        let mut client = Peer::plain(outer.address("web"));
        client.send(b"ping");
        assert_eq!(client.receive(4), b"ping", "{kind} {address}");
        drop(client);
        backend.next();
    }
}

/// With `fast_open` a connect can seem to succeed before anything was sent.
#[test]
fn who_is_told_that_it_is_connected_is() {
    let Some(_network) = OwnNetwork::new() else { return };
    // As a client and as a server (ip-sysctl): of this network, in which this thread is.
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3").unwrap();
    let backend = Backend::echo(Listening::default());
    let open = "socket = { fast_open = true }";
    let server = Tunnel::start(&format!(
        "[[service]]\nname = \"server\"\naccept = {{ address = \"127.0.0.1:0\", {open} }}\nconnect = \"{}\"\n",
        backend.address()
    ));
    let port = server.address("server").port();
    let tunnel = Tunnel::start(&service("", &format!("{LOCAL}, {open}"), ""));
    let ask = || {
        let mut client = Peer::plain(tunnel.address("way"));
        // SOCKS 4, and what the server is to have first.
        client.send(&[&[4, 1][..], &port.to_be_bytes(), &[127, 0, 0, 1, 0], b"early"].concat());
        let granted = client.receive(8)[1] == 0x5a;
        if granted {
            client.half_close();
            assert_eq!(client.receive_all(), (b"early".to_vec(), End::Clean));
        }
        granted
    };
    // The first one brings the cookie that later ones send.
    assert!(ask() && ask() && ask());
    drop(server);
    assert!(!ask(), "granted, and nobody is there");
}
