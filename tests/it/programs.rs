// SPDX-License-Identifier: MIT OR Apache-2.0
//! Other people's programs on either side: openssl s_client and s_server, curl, gnutls-cli, nginx, Python's ssl.

use crate::harness::{
    Backend, End, Listening, Nginx, Pattern, Peer, Pki, Program, Rig, Sides, TlsClient, Tunnel,
    openssl_server,
};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Command;

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

#[test]
fn openssl_s_client() {
    for version in VERSIONS {
        let rig = Rig::echo(Sides::Terminate, "");
        let mut client = Program::start(
            Command::new("openssl")
                .args(["s_client", "-connect", &rig.address().to_string(), version])
                .args(["-quiet", "-no_ign_eof", "-verify_return_error", "-verify_hostname", "localhost"])
                .args(["-servername", "localhost", "-CAfile"])
                .arg(&rig.pki.ca),
        );
        writeln!(client.stdin.as_mut().unwrap(), "there and back").unwrap();
        client.wait_output("there and back\n");
        client.stdin = None;
        assert!(client.wait_exit().success(), "{version}: {}", client.stderr());
        let line = &rig.tunnel.wait_closed(1)[0];
        assert_eq!((line.number("in"), line.get("sni")), (15, "localhost"), "{version}: {}", line.text);
    }
}

#[test]
fn openssl_s_server() {
    for sides in [Sides::Originate, Sides::Reencrypt] {
        for version in VERSIONS {
            let pki = Pki::new();
            let (_server, address) = openssl_server(&pki, &[version]);
            let tunnel = Tunnel::start(&sides.service("web", &pki, address, ""));
            let mut client = if sides.client_tls() {
                TlsClient::new(&pki).connect(tunnel.address("web")).unwrap()
            } else {
                Peer::plain(tunnel.address("web"))
            };
            client.send(b"drawer\n");
            assert_eq!(client.receive(7), b"reward\n", "{sides:?}, {version}");
            client.half_close();
            client.receive_all();
        }
    }
}

/// `curl` for a file of localhost at `address`.
fn curl(scheme: &str, address: SocketAddr, pki: &Pki, more: &[&str]) -> Program {
    let port = address.port();
    Program::start(
        Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "20", "--noproxy", "*", "--cacert"])
            .arg(&pki.ca)
            .args(["--resolve", &format!("localhost:{port}:127.0.0.1")])
            .args(more)
            .arg(format!("{scheme}://localhost:{port}/file")),
    )
}

#[test]
fn curl_fetches_from_nginx() {
    let content = Pattern::bytes(11, 5_000_003);
    for sides in Sides::ALL {
        let pki = Pki::new();
        let nginx = Nginx::start(sides.server_tls().then_some(&pki.server));
        nginx.put("file", &content);
        let tunnel = Tunnel::start(&sides.service("web", &pki, nginx.address(), ""));
        let scheme = if sides.client_tls() { "https" } else { "http" };
        // HTTP/1.0 ends its answers by closing.
        for protocol in ["--http1.1", "--http1.0"] {
            let mut curl = curl(scheme, tunnel.address("web"), &pki, &[protocol]);
            let status = curl.wait_exit();
            assert!(status.success(), "{sides:?}, {protocol}: {status}: {}", curl.stderr());
            assert!(curl.stdout() == content, "{sides:?}, {protocol}: {} bytes", curl.stdout().len());
        }
    }
}

#[test]
fn curl_posts_to_a_server() {
    let upload = tempfile::NamedTempFile::new().unwrap();
    let content = Pattern::bytes(12, 3_000_001);
    fs::write(upload.path(), &content).unwrap();
    let data = format!("@{}", upload.path().display());
    for sides in Sides::ALL {
        let length = content.len();
        let rig = Rig::new(sides, "", move |mut peer: Peer| {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.extend(peer.receive(1));
            }
            let body = peer.receive(length);
            peer.send(b"HTTP/1.0 200 OK\r\n\r\ngot it");
            peer.half_close();
            body
        });
        let scheme = if sides.client_tls() { "https" } else { "http" };
        let more = ["--data-binary", &data, "--header", "Expect:"];
        let mut curl = curl(scheme, rig.address(), &rig.pki, &more);
        assert!(curl.wait_exit().success(), "{sides:?}: {}", curl.stderr());
        assert_eq!(curl.stdout(), b"got it", "{sides:?}");
        assert!(rig.backend.next() == content, "{sides:?}");
    }
}

/// A backend that sends so many bytes and closes.
fn source(length: usize) -> Backend<End> {
    Backend::start(Listening::default(), move |mut peer: Peer| {
        peer.send(&Pattern::bytes(13, length));
        peer.half_close();
        peer.receive_all().1
    })
}

/// Row 71: strict readers get every byte of an answer that is ended by closing, and a proper end after it.
const LENGTHS: [usize; 6] = [0, 1, 1_000, 16_384, 100_000, 1_000_000];

#[test]
fn gnutls_cli_sees_a_proper_end() {
    for length in LENGTHS {
        let pki = Pki::new();
        let backend = source(length);
        let tunnel = Tunnel::start(&Sides::Terminate.service("web", &pki, backend.address(), ""));
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut client = Program::start(
            Command::new("gnutls-cli")
                .arg("--x509cafile")
                .arg(&pki.ca)
                .arg("--logfile")
                .arg(log.path())
                .args(["--port", &tunnel.address("web").port().to_string(), "localhost"]),
        );
        let status = client.wait_exit();
        let said = fs::read_to_string(log.path()).unwrap() + &client.stderr();
        assert!(status.success(), "{length} bytes: {status}: {said}");
        assert!(!said.contains("non-properly"), "{length} bytes: {said}");
        let got = client.stdout();
        assert!(got == Pattern::bytes(13, length), "{length} bytes: {} came: {said}", got.len());
    }
}

/// Reads to the end, strictly, and prints how many bytes came, or the name of what went wrong.
const PYTHON: &str = "
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[1])
raw = socket.create_connection(('127.0.0.1', int(sys.argv[2])), timeout=20)
tls = context.wrap_socket(raw, server_hostname='localhost', suppress_ragged_eofs=False)
count = 0
try:
    while True:
        block = tls.recv(65536)
        if not block:
            break
        count += len(block)
    print('clean', count)
except (ssl.SSLError, OSError) as error:
    print(type(error).__name__, count)
";

fn python(pki: &Pki, address: SocketAddr) -> String {
    let mut client = Program::start(
        Command::new("python3").arg("-c").arg(PYTHON).arg(&pki.ca).arg(address.port().to_string()),
    );
    assert!(client.wait_exit().success(), "{}", client.stderr());
    String::from_utf8(client.stdout()).unwrap().trim().to_owned()
}

#[test]
fn python_sees_a_proper_end() {
    for length in LENGTHS {
        let pki = Pki::new();
        let backend = source(length);
        let tunnel = Tunnel::start(&Sides::Terminate.service("web", &pki, backend.address(), ""));
        assert_eq!(python(&pki, tunnel.address("web")), format!("clean {length}"));
    }
}

#[test]
fn python_sees_a_broken_stream() {
    let pki = Pki::new();
    let backend = Backend::start(Listening::default(), |mut peer: Peer| {
        peer.send(b"a part");
        peer.reset();
    });
    let tunnel = Tunnel::start(&Sides::Terminate.service("web", &pki, backend.address(), ""));
    let seen = python(&pki, tunnel.address("web"));
    assert!(!seen.starts_with("clean"), "{seen}");
}
