// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers that are reached through a proxy: SOCKS5 and CONNECT, to other people's programs and to scripted ones that do
//! not play by the rules.

use crate::harness::{
    Backend, Duplex, End, Listening, Options, Peer, Pki, Program, Tunnel, digest_of_pattern, free_address,
    refusing,
};
use crate::proxy_programs::started;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// A service that goes to `servers` through the proxy that `proxy` describes.
fn service(servers: &str, proxy: &str, more: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\n\
         timeout = {{ connect = \"3s\", linger = \"1s\" }}\n\
         connect = {{ address = [{servers}], proxy = {{ {proxy} }}{more} }}\n"
    )
}

fn socks5(address: SocketAddr) -> String {
    format!("kind = \"socks5\", address = \"{address}\"")
}

fn http(address: SocketAddr) -> String {
    format!("kind = \"http\", address = \"{address}\"")
}

/// A file with a password that nobody else may read, as a part of a configuration.
fn login(dir: &TempDir, password: &str) -> String {
    let path = dir.path().join("password");
    fs::write(&path, format!("{password}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    format!(", user = \"me\", password_file = \"{}\"", path.display())
}

pub(crate) fn microsocks(more: &[&str]) -> (Program, SocketAddr) {
    let address = free_address();
    let mut command = Command::new("microsocks");
    command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]).args(more);
    (started(&mut command, &[address]), address)
}

fn dante(dir: &TempDir) -> (Program, SocketAddr) {
    let address = free_address();
    let text = format!(
        "logoutput: stderr\ninternal: 127.0.0.1 port = {}\nexternal: lo\nsocksmethod: none\nclientmethod: none\n\
         user.privileged: root\nuser.unprivileged: nobody\n\
         client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
         socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }}\n\
         socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n",
        address.port()
    );
    let file = dir.path().join("danted.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("danted");
    command.arg("-f").arg(&file).arg("-p").arg(dir.path().join("danted.pid"));
    (started(&mut command, &[address]), address)
}

fn tinyproxy(dir: &TempDir, more: &str) -> (Program, SocketAddr) {
    let address = free_address();
    let text = format!("Port {}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n{more}\n", address.port());
    let file = dir.path().join("tinyproxy.conf");
    fs::write(&file, text).unwrap();
    (started(Command::new("tinyproxy").arg("-d").arg("-c").arg(&file), &[address]), address)
}

/// `ssh -D` to an sshd of its own.
struct Ssh {
    _server: Program,
    _client: Program,
    address: SocketAddr,
}

impl Ssh {
    fn start(dir: &TempDir) -> Self {
        let path = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host", "user"] {
            let mut command = Command::new("ssh-keygen");
            let status = command.args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status().unwrap();
            assert!(status.success());
        }
        // sshd wants it, and nobody else makes it where no init system runs.
        fs::create_dir_all("/run/sshd").unwrap();
        let (listens, address) = (free_address(), free_address());
        let text = format!(
            "ListenAddress {listens}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
             PermitRootLogin prohibit-password\nAllowTcpForwarding yes\n",
            path("host"),
            path("user.pub")
        );
        fs::write(path("sshd.conf"), text).unwrap();
        let server =
            started(Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &path("sshd.conf")]), &[listens]);
        let mut command = Command::new("ssh");
        command.args(["-N", "-F", "none", "-i", &path("user"), "-D", &address.to_string(), "-p"]);
        command.args([&listens.port().to_string(), "-o", "StrictHostKeyChecking=no", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", path("known"))).arg("127.0.0.1");
        let client = started(&mut command, &[address]);
        Self { _server: server, _client: client, address }
    }
}

const BYTES: u64 = 2_000_000;

/// What a side does: all of its bytes, and an end behind them if the proxy knows half of an end.
fn work(seed: u64, half_closes: bool) -> Duplex {
    let whole = Duplex::whole(BYTES, seed);
    if half_closes { whole } else { Duplex { half_close: false, receive: Some(BYTES), ..whole } }
}

/// Every byte arrives in either direction, and both ends do.
#[track_caller]
fn assert_carries(proxy: &str, half_closes: bool) {
    let backend = Backend::start(Listening::default(), move |mut peer| {
        let got = peer.duplex(&work(2, half_closes));
        // Who has all may go when the other has, too.
        (got, peer.receive_all())
    });
    let tunnel = Tunnel::start(&service(&format!("\"{}\"", backend.address()), proxy, ""));
    let mut client = Peer::plain(tunnel.address("web"));
    let got = client.duplex(&work(1, half_closes));
    assert_eq!((got.bytes, got.end, got.sent), (BYTES, End::Clean, BYTES), "{proxy}");
    assert_eq!(got.digest, digest_of_pattern(2, BYTES), "{proxy}");
    drop(client);
    let (got, _) = backend.next();
    assert_eq!((got.bytes, got.end), (BYTES, End::Clean), "{proxy}");
    assert_eq!(got.digest, digest_of_pattern(1, BYTES), "{proxy}");
    let line = &tunnel.wait_closed(1)[0];
    assert_eq!(line.get("target"), backend.address().to_string(), "{}", line.text);
    assert_eq!((line.number("in"), line.number("out")), (BYTES, BYTES), "{}", line.text);
}

#[test]
fn socks5_proxies_lead_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let (_micro, plain) = microsocks(&[]);
    let (_guarded, guarded) = microsocks(&["-u", "me", "-P", "sec ret"]);
    let (_dante, dante) = dante(&dir);
    let ssh = Ssh::start(&dir);
    let password = login(&dir, "sec ret");
    for (proxy, half_closes) in [
        (socks5(plain), false),
        (socks5(guarded) + &password, false),
        (socks5(dante), true),
        (socks5(ssh.address), true),
    ] {
        assert_carries(&proxy, half_closes);
    }
}

#[test]
fn http_proxies_lead_to_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let (_plain, plain) = tinyproxy(&dir, "");
    let other = tempfile::tempdir().unwrap();
    let (_guarded, guarded) = tinyproxy(&other, "BasicAuth me secret");
    for proxy in [http(plain), http(guarded) + &login(&dir, "secret")] {
        assert_carries(&proxy, false);
    }
}

#[test]
fn a_refusal_is_told_in_the_proxys_words() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = format!("\"{}\"", refusing());
    let (_micro, micro) = microsocks(&[]);
    let (_guarded, guarded) = microsocks(&["-u", "me", "-P", "right"]);
    let (_tiny, tiny) = tinyproxy(&dir, "BasicAuth me right\nConnectPort 443");
    let wrong = login(&dir, "wrong");
    for (proxy, words) in [
        (socks5(micro), "connection refused (code 5)"),
        (socks5(micro) + &wrong, "connection refused (code 5)"),
        (socks5(guarded), "it lets nobody in without a login"),
        (socks5(guarded) + &wrong, "it refuses the name or the password"),
        (http(tiny), "407 Proxy Authentication Required"),
        (http(tiny) + &wrong, "401 Unauthorized"),
        (http(micro), "in SOCKS, not in HTTP"),
        (socks5(tiny), "no answer in time"),
    ] {
        let tunnel = Tunnel::start(&service(&nobody, &proxy, ""));
        let mut client = Peer::plain(tunnel.address("web"));
        assert_ne!(client.receive_all().1, End::Clean, "{proxy}");
        let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
        assert_eq!(line.get("reason"), "proxy-failed", "{}", line.text);
        let told = line.get("error");
        assert!(
            told.contains(words) || words == "401 Unauthorized" && told.contains("40"),
            "{words}: {}",
            line.text
        );
    }
}

/// A proxy that reads `asked` and writes `said` in pieces of that size, then echoes.
fn scripted(asked: &'static [&'static [u8]], said: Vec<Vec<u8>>, piece: usize) -> Backend<u64> {
    Backend::start(Listening::default(), move |mut peer| {
        peer.socket().set_nodelay(true).unwrap();
        for (asked, said) in asked.iter().zip(&said) {
            assert_eq!(
                peer.receive(asked.len()).escape_ascii().to_string(),
                asked.escape_ascii().to_string()
            );
            for piece in said.chunks(piece) {
                if peer.try_send(piece).is_err() {
                    return 0;
                }
            }
        }
        crate::harness::echo(peer)
    })
}

const NAME: &str = "\"Db.invalid:5432\"";
const ASKED: &[u8] = b"CONNECT db.invalid:5432 HTTP/1.1\r\nHost: db.invalid:5432\r\n\r\n";
const SOCKS: &[&[u8]] = &[b"\x05\x01\x00", b"\x05\x01\x00\x03\x0adb.invalid\x15\x38"];

/// The name goes to the proxy as it is, and what the server says in the same breath as the proxy is the client's.
#[test]
fn names_are_the_proxys_to_resolve_and_early_bytes_are_the_clients() {
    const BANNER: &[u8] = b"\r\n\r\nHTTP/1.1 200 not the proxy's\r\n\r\n\x05\x00banner";
    let answers: [&[u8]; 3] = [
        b"HTTP/1.1 200 Connection established\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\nHTTP/1.1 299 fine\r\n\r\n",
    ];
    let replies: [&[u8]; 3] = [
        b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34",
        b"\x05\x00\x00\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34",
        b"\x05\x00\x00\x03\x00\x12\x34",
    ];
    for piece in [1, 3, 1000] {
        let http = answers.iter().map(|answer| {
            let proxy = scripted(&[ASKED], vec![[answer, BANNER].concat()], piece);
            (http(proxy.address()), proxy)
        });
        let socks = replies.iter().map(|reply| {
            let proxy = scripted(SOCKS, vec![b"\x05\x00".to_vec(), [reply, BANNER].concat()], piece);
            (socks5(proxy.address()), proxy)
        });
        for (proxy, backend) in http.chain(socks) {
            let tunnel = Tunnel::start(&service(NAME, &proxy, ""));
            let mut client = Peer::plain(tunnel.address("web"));
            assert_eq!(client.receive(BANNER.len()), BANNER, "{proxy} by {piece}");
            client.send(b"payload");
            client.half_close();
            assert_eq!(client.receive_all(), (b"payload".to_vec(), End::Clean));
            assert_eq!(backend.next(), 7);
        }
    }
}

/// Proxies that say what no proxy says cost their connection, in time and in bounded memory, and the client gets nothing of
/// it.
#[test]
fn proxies_that_break_the_rules_are_refused() {
    let endless = [&b"HTTP/1.1 200 ok\r\nX: "[..], &vec![b'y'; 10_000_000]].concat();
    let cases: Vec<(bool, Vec<Vec<u8>>, &str)> = vec![
        (true, vec![endless], "larger than 16384 bytes"),
        (true, vec![b"SSH-2.0-OpenSSH\r\n".to_vec()], "not HTTP/1"),
        (true, vec![b"HTTP/1.1 101 Switching\r\n\r\n".to_vec()], "a status that is none"),
        (true, vec![b"HTTP/1.1 403 \x1b[31mno\x07\r\n\r\n".to_vec()], "malformed"),
        (true, vec![b"HTTP/1.1 502 Bad \"Gateway\" \\\r\n\r\n".to_vec()], "502 Bad \"Gateway\" \\"),
        (false, vec![b"\x04\x00".to_vec()], "not version 5"),
        (false, vec![b"\x05\x02".to_vec()], "it wants a name and a password"),
        (false, vec![b"\x05\x01".to_vec()], "a method that was not offered"),
        (false, vec![b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()], "in HTTP, not in SOCKS"),
        (
            false,
            vec![b"\x05\x00".to_vec(), b"\x05\x02".to_vec()],
            "connection not allowed by ruleset (code 2)",
        ),
        (false, vec![b"\x05\x00".to_vec(), b"\x05\x63".to_vec()], "(code 99)"),
        (false, vec![b"\x05\x00".to_vec(), b"\x05\x00\x00\x09".to_vec()], "an address of an unknown form"),
        (false, vec![b"\x05\x00".to_vec(), b"\x05\x00\x00\x01\x00".to_vec()], "no answer in time"),
    ];
    for (is_http, said, words) in cases {
        let proxy = scripted(if is_http { &[ASKED] } else { SOCKS }, said, usize::MAX);
        let kind = if is_http { http(proxy.address()) } else { socks5(proxy.address()) };
        let text = service(NAME, &kind, "").replace("connect = \"3s\"", "connect = \"700ms\"");
        let tunnel = Tunnel::start(&text);
        let mut client = Peer::plain(tunnel.address("web"));
        let (got, end) = client.receive_all();
        assert!(got.is_empty() && end != End::Clean, "{words}: {got:?} {end:?}");
        let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
        assert_eq!(line.get("reason"), "proxy-failed", "{}", line.text);
        assert!(line.get("error").contains(words), "{words}: {}", line.text);
    }
}

/// A proxy that trickles or keeps silent has `timeout.connect`, in total, and costs no CPU meanwhile.
#[test]
fn a_silent_proxy_is_given_up_in_time() {
    for kind in [socks5, http] {
        let silent = Backend::start(Listening::default(), |peer| peer.wait_broken());
        let text = service(NAME, &kind(silent.address()), "").replace("3s", "1500ms");
        let tunnel = Tunnel::start_with(&text, Options::default());
        let mut client = Peer::plain(tunnel.address("web"));
        tunnel.assert_rest();
        assert_ne!(client.receive_all().1, End::Clean);
        let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
        assert!(line.get("error").contains("no answer in time"), "{}", line.text);
        silent.next();
    }
}

/// TLS goes through the proxy to the server, whose name is verified.
#[test]
fn tls_is_spoken_with_the_server_behind_the_proxy() {
    let pki = Pki::new();
    let backend = Backend::echo(Listening::tls(&pki.server));
    let (_proxy, address) = microsocks(&[]);
    let tls = format!(", send_proxy = \"v1\", tls = {{ ca = \"{}\" }}", pki.ca.display());
    let name = format!("\"localhost:{}\"", backend.address().port());
    let without = tls.replace("send_proxy = \"v1\", ", "");
    let tunnel = Tunnel::start(&service(&name, &socks5(address), &without));
    let mut client = Peer::plain(tunnel.address("web"));
    client.send(b"ping");
    assert_eq!(client.receive(4), b"ping");
    drop(client);
    assert_eq!(tunnel.wait_closed(1)[0].get("server_tls"), "TLSv1.3");
    // Its header comes behind the proxy, and ahead of TLS: the server takes it for a bad hello.
    let tunnel = Tunnel::start(&service(&name, &socks5(address), &tls));
    let mut client = Peer::plain(tunnel.address("web"));
    assert_ne!(client.receive_all().1, End::Clean);
    assert!(backend.failed_handshakes() > 0);
}
