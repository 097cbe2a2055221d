// SPDX-License-Identifier: MIT OR Apache-2.0
//! What bytes can do to the choice of a route: nothing, however a good hello is split; and never a server for what is none.
//!
//! The hellos are those of the programs that are installed, taken on a plain listener. Every cut and every size of record
//! is tried inside the crate (`handshake/route_tests.rs`); here some of them go through the kernel.

use crate::harness::{Backend, End, Listening, Options, Peer, Program, Tunnel, full, wait_for};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

const NAME: &str = "site1.example.com";

/// A service that passes [`NAME`] to one server and everybody else whose hello is good to another.
struct Passing {
    named: Backend<Vec<u8>>,
    rest: Backend<Vec<u8>>,
    tunnel: Tunnel,
}

impl Passing {
    fn start(handshake: &str) -> Self {
        let hearing = || Backend::start(Listening::default(), |mut peer| peer.receive_all().0);
        let (named, rest) = (hearing(), hearing());
        let service = format!(
            "[[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\ntimeout = {{ handshake = \"{handshake}\" }}\n\
             [[service.route]]\nname = \"named\"\nsni = [\"{NAME}\"]\nconnect = \"{}\"\n\
             [[service.route]]\nname = \"rest\"\nfallback = [\"no-name\", \"unknown-name\"]\nconnect = \"{}\"\n",
            named.address(),
            rest.address(),
        );
        Self { named, rest, tunnel: Tunnel::start_with(&service, Options::global("workers = 1")) }
    }

    fn client(&self) -> Peer {
        Peer::plain(self.tunnel.address("web"))
    }

    /// Sends `parts` in as many segments, and checks that the named server gets them all.
    #[track_caller]
    fn assert_named(&self, parts: &[&[u8]]) {
        let mut client = self.client();
        parts.iter().for_each(|part| client.send(part));
        client.fin();
        assert!(self.named.next() == parts.concat(), "the bytes arrive as they were sent");
    }
}

/// The hello that `command` sends, which is told where to.
fn hello_of(command: impl FnOnce(SocketAddr) -> Command) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let _program = Program::start(&mut command(listener.local_addr().unwrap()));
    let mut hello = Vec::new();
    // A browser may open connections that it does not use.
    wait_for("a program's hello", || {
        let Ok((mut socket, _)) = listener.accept() else { return false };
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut header = [0; 5];
        if socket.read_exact(&mut header).is_err() {
            return false;
        }
        let mut message = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        socket.read_exact(&mut message).unwrap();
        hello = [&header[..], &message].concat();
        hello.windows(NAME.len()).any(|window| window == NAME.as_bytes())
    });
    hello
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn hellos() -> Vec<(&'static str, Vec<u8>)> {
    let home = tempfile::tempdir().unwrap();
    let home = format!("--user-data-dir={}", home.path().display());
    vec![
        (
            "openssl",
            hello_of(|to| {
                command("openssl", &["s_client", "-servername", NAME, "-connect", &to.to_string()])
            }),
        ),
        (
            "gnutls-cli",
            hello_of(|to| {
                let port = to.port().to_string();
                command("gnutls-cli", &["--insecure", "--sni-hostname", NAME, "-p", &port, "127.0.0.1"])
            }),
        ),
        (
            "curl",
            hello_of(|to| {
                let (port, at) = (to.port(), format!("{NAME}:{}:127.0.0.1", to.port()));
                command(
                    "curl",
                    &["-sk", "--noproxy", "*", "--resolve", &at, &format!("https://{NAME}:{port}/")],
                )
            }),
        ),
        (
            "python",
            hello_of(|to| {
                let script = format!(
                    "import socket, ssl\nssl._create_unverified_context().wrap_socket(\
                     socket.create_connection(('127.0.0.1', {})), server_hostname='{NAME}')",
                    to.port()
                );
                command("python3", &["-c", &script])
            }),
        ),
        (
            "chromium",
            hello_of(|to| {
                let at = format!("--host-resolver-rules=MAP {NAME} {to}");
                let url = format!("https://{NAME}/");
                let mut chromium =
                    command("chromium", &["--headless", "--no-sandbox", "--disable-gpu", &home, &at]);
                chromium.arg(url);
                chromium
            }),
        ),
    ]
}

/// Split into records of `size` bytes.
fn records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&[22, 3, 1], &length[..], part].concat()
    };
    hello[5..].chunks(size).flat_map(record).collect()
}

/// Rows 19 and 20 of the field's known failures: what is split elsewhere went to the default.
#[test]
fn hellos_of_programs_route_alike_however_they_are_split() {
    let passing = Passing::start("10s");
    for (program, hello) in hellos() {
        assert!(program != "chromium" || hello.len() > 1_500, "not post-quantum: {} bytes", hello.len());
        for cut in (1..hello.len()).step_by(full(1, 41)) {
            passing.assert_named(&[&hello[..cut], &hello[cut..]]);
        }
        for size in (1..hello.len()).step_by(full(1, 53)) {
            passing.assert_named(&[&records(&hello, size)]);
        }
        passing.assert_named(&hello.chunks(1).collect::<Vec<_>>());
    }
    assert_eq!(passing.rest.accepted(), 0, "somebody went to the default");
}

fn vector16(data: &[u8]) -> Vec<u8> {
    [&u16::try_from(data.len()).unwrap().to_be_bytes()[..], data].concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector16(data)].concat()
}

/// A list of server names.
fn sni(names: &[&[u8]]) -> Vec<u8> {
    let entries: Vec<u8> = names.iter().flat_map(|name| [&[0][..], &vector16(name)].concat()).collect();
    extension(0, &vector16(&entries))
}

/// A hello with these extensions, in records as large as may be.
fn forged(extensions: &[Vec<u8>]) -> Vec<u8> {
    let body = [&[3, 3][..], &[9; 32], &[0, 0, 2, 0x13, 1, 1, 0], &vector16(&extensions.concat())].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1, length[1], length[2], length[3]], &body[..]].concat();
    records(&[&[0; 5], &message[..]].concat(), 1 << 14)
}

/// Rows 21 and 24 to 28, and 33: an alert in TLS, an end for others, and no server in any case.
#[test]
fn what_is_no_good_hello_reaches_no_server() {
    let passing = Passing::start("5s");
    let name = NAME.as_bytes();
    let good = forged(&[sni(&[name])]);
    passing.assert_named(&[&good]);
    let mut alerted: Vec<(String, Vec<u8>)> = vec![
        ("a NUL in the name".into(), forged(&[sni(&[b"site1.example.com\0.evil.test"])])),
        ("a line end in the name".into(), forged(&[sni(&[b"site1.example.com\r\nX: y"])])),
        ("two names".into(), forged(&[sni(&[name, b"evil.test"])])),
        ("a name twice".into(), forged(&[sni(&[name, name])])),
        ("two extensions".into(), forged(&[sni(&[name]), sni(&[b"evil.test"])])),
        ("an empty list".into(), forged(&[sni(&[])])),
        ("an empty name".into(), forged(&[sni(&[b""])])),
        ("a long name".into(), forged(&[sni(&[&[b'a'; 300]])])),
        ("a name of 65,000 bytes".into(), forged(&[sni(&[&[b'a'; 65_000]])])),
        ("a hello above the limit".into(), forged(&[sni(&[name]), extension(21, &[0; 65_480])])),
        ("an empty record".into(), [&[22, 3, 1, 0, 0][..], &good].concat()),
        ("a record that is too long".into(), vec![22, 3, 1, 0x40, 1]),
        ("something behind the hello".into(), records(&[&good[..], &[0]].concat(), 1 << 14)),
        ("another message".into(), vec![22, 3, 1, 0, 4, 2, 0, 0, 0]),
    ];
    // Lengths that lie: of the session, the ciphers, the compressions, the extensions, the extension, the list, the name.
    for (place, width) in [(43, 1), (44, 2), (48, 1), (50, 2), (54, 2), (56, 2), (59, 2)] {
        for new in [0_u16, 1, 0xffff] {
            let mut lying = good.clone();
            let bytes = new.to_be_bytes();
            lying[place..place + width].copy_from_slice(&bytes[2 - width..]);
            if lying != good {
                alerted.push((format!("{new} at {place}"), lying));
            }
        }
    }
    for (what, bytes) in &alerted {
        let mut client = passing.client();
        // It may be refused before all of it was sent.
        let _sent = client.try_send(bytes);
        let (told, end) = client.receive_all();
        assert!(told.starts_with(&[21, 3]) && told.len() == 7 && told[5] == 2, "{what}: {told:?}, {end:?}");
        assert_eq!(end, End::Clean, "{what}");
    }
    let silent: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: site1.example.com\r\n\r\n",
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80, 3, 0, 0x80, 7, 0, 0xc0],
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        &[21, 3, 1, 0, 2, 2, 40],
    ];
    for bytes in silent {
        let mut client = passing.client();
        client.send(&[bytes, &good].concat());
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean), "{:?}", bytes.escape_ascii().to_string());
    }
    let count = alerted.len() + silent.len();
    let lines = passing.tunnel.wait_closed(count + 1);
    let reasons = |word: &str| lines.iter().filter(|line| line.get("reason") == word).count();
    assert_eq!((reasons("bad-hello"), reasons("not-tls")), (alerted.len(), silent.len()), "{lines:#?}");
    // One line each, whatever was in the name.
    assert_eq!(
        passing.tunnel.log_lines().iter().filter(|line| line.is("connection-closed")).count(),
        count + 1
    );
    assert_eq!((passing.named.accepted(), passing.rest.accepted()), (1, 0));
}

/// Row 34, and the handshake's time as a total: neither silence nor a byte now and then holds a place for longer.
#[test]
fn a_hello_that_never_ends_is_given_up() {
    let passing = Passing::start("500ms");
    let good = forged(&[sni(&[NAME.as_bytes()])]);
    let mut longer = good.clone();
    longer[8] += 1;
    for (what, bytes, drips) in
        [("half of it", &good[..30], false), ("a length that lies", &longer, false), ("drops", &good, true)]
    {
        let begin = Instant::now();
        let mut client = passing.client();
        if drips {
            drip(&mut client, bytes);
        } else {
            client.send(bytes);
        }
        let (told, end) = client.receive_all();
        assert!(matches!(end, End::Clean | End::Reset), "{what}: {end:?}");
        assert!(told.is_empty(), "{what}: {told:?}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{what}: {:?}", begin.elapsed());
    }
    for line in passing.tunnel.wait_closed(3) {
        assert_eq!(line.get("reason"), "handshake-timeout", "{}", line.text);
    }
    assert_eq!((passing.named.accepted(), passing.rest.accepted()), (0, 0));
}

/// Sends a byte whenever nothing has come for a while, until something does.
fn drip(client: &mut Peer, bytes: &[u8]) {
    client.socket().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    for byte in bytes {
        if client.try_send(&[*byte]).is_err() {
            return;
        }
        let mut end = [0; 1];
        match client.socket().peek(&mut end) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
    panic!("it was never cut off");
}
