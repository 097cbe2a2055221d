// SPDX-License-Identifier: MIT OR Apache-2.0
//! Two tunnels in a row over a unix socket, of which the second holds the connection to the server (seed 1: "SSL over Remote
//! TCP to reach the server"): failures come back, and ends pass all three places.

use crate::harness::{
    Backend, BlackHole, Duplex, End, Listening, Options, Peer, Pki, TlsClient, Tunnel, digest_of_pattern,
    refusing,
};
use nix::sys::signal::Signal;
use std::path::Path;
use tempfile::TempDir;

/// The first, which clients come to, and the second, which goes to the servers.
struct Chain {
    first: Tunnel,
    second: Tunnel,
    dir: TempDir,
}

/// What both of them give up after.
const TIMEOUTS: &str = "timeout = { connect = \"1s\", handshake = \"4s\", linger = \"2s\" }";

impl Chain {
    /// `accept` and `connect` are the keys of the chain's two ends.
    fn start(accept: &str, connect: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("second");
        let second = second(&socket, connect);
        let first = Tunnel::start(&first(accept, &format!("\"unix:{}\"", socket.display())));
        Self { first, second, dir }
    }

    fn to(backend: &Backend<impl Send + 'static>) -> Self {
        Self::start("", &format!("address = \"{}\"", backend.address()))
    }

    fn connect(&self) -> Peer {
        Peer::plain(self.first.address("web"))
    }
}

fn second(socket: &Path, connect: &str) -> Tunnel {
    Tunnel::start(&format!(
        "[[service]]\nname = \"out\"\n{TIMEOUTS}\n\
         accept = {{ address = \"unix:{}\", proxy_protocol = {{ confirm = true }} }}\nconnect = {{ {connect} }}\n",
        socket.display()
    ))
}

fn first(accept: &str, servers: &str) -> String {
    format!(
        "[[service]]\nname = \"web\"\n{TIMEOUTS}\naccept = {{ address = \"127.0.0.1:0\"{accept} }}\n\
         connect = {{ address = [{servers}], send_proxy = {{ version = \"v2\", confirm = true }} }}\n"
    )
}

const BYTES: u64 = 3_000_000;

/// Both directions at once, each to its end.
#[test]
fn every_byte_and_both_ends_pass() {
    let pki = Pki::new();
    for tls in [false, true] {
        let backend =
            Backend::start(Listening::tls_if(tls, &pki), |mut peer| peer.duplex(&Duplex::whole(BYTES, 2)));
        let accept = if tls { format!(", tls = {{ {} }}", pki.server.toml()) } else { String::new() };
        let towards =
            if tls { format!(", tls = {{ ca = \"{}\" }}", pki.ca.display()) } else { String::new() };
        let address = backend.address();
        let chain = Chain::start(&accept, &format!("address = \"localhost:{}\"{towards}", address.port()));
        for _ in 0..3 {
            let mut client = if tls {
                TlsClient::new(&pki).connect(chain.first.address("web")).unwrap()
            } else {
                chain.connect()
            };
            let got = client.duplex(&Duplex::whole(BYTES, 1));
            assert_eq!((got.bytes, &got.end), (BYTES, &End::Clean), "tls {tls}");
            assert_eq!(got.digest, digest_of_pattern(2, BYTES));
            let got = backend.next();
            assert_eq!((got.bytes, &got.end), (BYTES, &End::Clean), "tls {tls}");
            assert_eq!(got.digest, digest_of_pattern(1, BYTES));
        }
        for tunnel in [&chain.first, &chain.second] {
            for line in tunnel.wait_closed(3) {
                assert_eq!(line.get("reason"), "done", "{}", line.text);
            }
        }
    }
}

/// A half-close crosses to the server, whose answer comes after it; and the other way round.
#[test]
fn a_half_close_crosses_and_the_answer_comes_back() {
    let backend = Backend::echo(Listening::default());
    let chain = Chain::to(&backend);
    let mut client = chain.connect();
    client.send(b"question");
    client.half_close();
    assert_eq!(client.receive_all(), (b"question".to_vec(), End::Clean));
    let backend = Backend::start(Listening::default(), |mut peer| {
        peer.send(b"banner");
        peer.half_close();
        peer.receive_all()
    });
    let chain = Chain::to(&backend);
    let mut client = chain.connect();
    assert_eq!(client.receive_all(), (b"banner".to_vec(), End::Clean));
    client.send(b"late");
    client.half_close();
    assert_eq!(backend.next(), (b"late".to_vec(), End::Clean));
}

/// What the server says in the moment it is reached comes behind the confirmation, and is all there.
#[test]
fn a_server_that_speaks_first_loses_nothing() {
    const FRAME: &[u8] = b"\xf4TNC\x01\x01\x00\x03bad";
    let backend = Backend::start(Listening::default(), |mut peer| {
        peer.send(FRAME);
        peer.half_close();
        peer.receive_all();
    });
    let chain = Chain::to(&backend);
    for _ in 0..20 {
        let mut client = chain.connect();
        client.half_close();
        assert_eq!(client.receive_all(), (FRAME.to_vec(), End::Clean));
        backend.next();
    }
}

/// A reset of either side reaches the other one, behind the bytes before it: before and after a half-close. A unix socket
/// alone would make an end in order of it.
#[test]
fn resets_cross_in_both_directions() {
    for half_closed in [false, true] {
        let backend = Backend::start(Listening::default(), move |mut peer| {
            let asked = if half_closed { peer.receive_all().0 } else { peer.receive(8) };
            assert_eq!(asked, b"question");
            peer.send(b"half an ans");
            // The tunnel must have read it before the reset, which would overtake it.
            crate::harness::wait_for("the answer to be taken", || unsent(&peer) == 0);
            peer.reset();
        });
        let chain = Chain::to(&backend);
        let mut client = chain.connect();
        client.send(b"question");
        if half_closed {
            client.half_close();
        }
        let (got, end) = client.receive_all();
        assert!(end.is_broken(), "half-closed {half_closed}: {end:?}");
        assert!(b"half an ans".starts_with(&got), "{got:?}");
        backend.next();
        assert_eq!(chain.second.wait_closed(1)[0].get("reason"), "server-reset");
        assert_eq!(chain.first.wait_closed(1)[0].get("reason"), "server-reset");

        let backend = Backend::start(Listening::default(), move |mut peer| {
            peer.send(b"hello");
            if half_closed {
                peer.half_close();
            }
            peer.receive_all()
        });
        let chain = Chain::to(&backend);
        let mut client = chain.connect();
        assert_eq!(client.receive(5), b"hello");
        if half_closed {
            assert_eq!(client.receive_all().1, End::Clean);
        }
        client.send(b"half a quest");
        crate::harness::wait_for("the question to be taken", || unsent(&client) == 0);
        client.reset();
        let (got, end) = backend.next();
        assert!(end.is_broken(), "half-closed {half_closed}: {end:?}");
        assert!(b"half a quest".starts_with(&got[..]), "{got:?}");
        assert_eq!(chain.first.wait_closed(1)[0].get("reason"), "client-reset");
        assert_eq!(chain.second.wait_closed(1)[0].get("reason"), "client-reset");
    }
}

/// Bytes the other side has not acknowledged.
fn unsent(peer: &Peer) -> usize {
    use std::os::fd::AsRawFd;
    nix::ioctl_read_bad!(outq, libc::TIOCOUTQ, libc::c_int);
    let mut bytes = 0;
    #[expect(unsafe_code, reason = "an ioctl has no safe form")]
    // SAFETY: TIOCOUTQ writes one int to the pointer, which is valid for the call.
    unsafe { outq(peer.socket().as_raw_fd(), &raw mut bytes) }.unwrap();
    usize::try_from(bytes).unwrap()
}

/// When the second dies, nobody takes half an answer for a whole one.
#[test]
fn the_death_of_the_second_is_no_end_in_order() {
    let backend = Backend::start(Listening::default(), |mut peer| {
        peer.send(b"half an ans");
        peer.receive_all().1
    });
    let mut chain = Chain::to(&backend);
    let mut client = chain.connect();
    assert_eq!(client.receive(11), b"half an ans");
    chain.second.signal(Signal::SIGKILL);
    chain.second.wait_exit();
    assert!(client.receive_all().1.is_broken());
    assert_eq!(chain.first.wait_closed(1)[0].get("reason"), "server-reset");
    backend.next();
}

/// Whatever keeps the second from its server is told by both: by the first as a failed attempt, in the second's words.
#[test]
fn a_failure_behind_the_second_comes_back_as_a_failed_attempt() {
    let pki = Pki::new();
    let other = Pki::named("other");
    let strict = Backend::echo(Listening::tls(&other.server));
    let plain = Backend::echo(Listening::default());
    let hole = BlackHole::new();
    let tls = format!(", tls = {{ ca = \"{}\" }}", pki.ca.display());
    for (connect, reason, words) in [
        (format!("address = \"{}\"", refusing()), "connect-failed", "Connection refused"),
        (format!("address = \"{}\"", hole.address()), "connect-timeout", "connect-timeout"),
        (
            format!("address = \"localhost:{}\"{tls}", strict.address().port()),
            "server-handshake-failed",
            "certificate",
        ),
        (
            format!(
                "address = \"{}\", proxy = {{ kind = \"socks5\", address = \"{}\" }}",
                refusing(),
                plain.address()
            ),
            "proxy-failed",
            "a method that was not offered",
        ),
    ] {
        let chain = Chain::start("", &connect);
        let mut client = chain.connect();
        let (got, end) = client.receive_all();
        assert!(got.is_empty() && end != End::Clean, "{reason}: {got:?} {end:?}");
        assert_eq!(chain.second.wait_closed(1)[0].get("reason"), reason);
        assert_eq!(chain.first.wait_closed(1)[0].get("reason"), "unconfirmed");
        let line = chain.first.wait_log("the failure", |line| line.is("connect-failed"));
        assert!(line.get("error").contains(reason) && line.get("error").contains(words), "{}", line.text);
    }
}

/// The next server is tried, and the client never learns of it.
#[test]
fn another_server_serves_when_the_way_behind_the_second_fails() {
    let backend = Backend::echo(Listening::default());
    let chain = Chain::start("", &format!("address = \"{}\"", refusing()));
    let socket = chain.dir.path().join("other");
    let other = second(&socket, &format!("address = \"{}\"", backend.address()));
    let broken = format!("\"unix:{}\"", chain.dir.path().join("second").display());
    let servers = format!("{broken}, \"unix:{}\"", socket.display());
    let tunnel = Tunnel::start(&first("", &servers));
    let mut client = Peer::plain(tunnel.address("web"));
    client.send(b"question");
    client.half_close();
    assert_eq!(client.receive_all(), (b"question".to_vec(), End::Clean));
    assert_eq!(tunnel.wait_closed(1)[0].get("reason"), "done");
    assert_eq!(other.wait_closed(1)[0].get("reason"), "done");
    assert_eq!(chain.second.wait_closed(1)[0].get("reason"), "connect-failed");
}

/// Who is not asked does not confirm, and who does not confirm is told apart from a server.
#[test]
fn confirmation_is_by_agreement() {
    let backend = Backend::echo(Listening::default());
    let chain = Chain::to(&backend);
    // The second serves who does not ask, too.
    let socket = chain.dir.path().join("second");
    let text = first("", &format!("\"unix:{}\"", socket.display())).replace(", confirm = true", "");
    let unasked = Tunnel::start(&text);
    let mut client = Peer::plain(unasked.address("web"));
    client.send(b"ping");
    assert_eq!(client.receive(4), b"ping");
    // What a server says that knows of nothing is no confirmation, and none of it reaches the client.
    let speaks = Backend::start(Listening::default(), |mut peer| {
        let _gone = peer.try_send(b"SSH-2.0-server\r\n");
        peer.receive_all();
    });
    let tunnel = Tunnel::start(&first("", &format!("\"{}\"", speaks.address())));
    let mut client = Peer::plain(tunnel.address("web"));
    assert!(client.receive_all().0.is_empty());
    let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
    assert!(line.get("error").contains("no confirmation"), "{}", line.text);
    // One that says nothing has the time of a handshake.
    let silent = Backend::start(Listening::default(), |mut peer| peer.receive_all().1);
    let text = first("", &format!("\"{}\"", silent.address())).replace("\"4s\"", "\"600ms\"");
    let tunnel = Tunnel::start_with(&text, Options::default());
    let mut client = Peer::plain(tunnel.address("web"));
    assert!(client.receive_all().0.is_empty());
    let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
    assert!(line.get("error").contains("no confirmation in time"), "{}", line.text);
}

/// Over TCP, which has resets of its own, the same without a mark.
#[test]
fn a_chain_over_tcp_confirms_as_well() {
    let backend = Backend::echo(Listening::default());
    let second = Tunnel::start(&format!(
        "[[service]]\nname = \"out\"\naccept = {{ address = \"127.0.0.1:0\", proxy_protocol = {{ from = [\"127.0.0.1\"], \
         confirm = true }} }}\nconnect = \"{}\"\n",
        backend.address()
    ));
    let tunnel = Tunnel::start(&first("", &format!("\"{}\"", second.address("out"))));
    let mut client = Peer::plain(tunnel.address("web"));
    client.send(b"question");
    client.half_close();
    assert_eq!(client.receive_all(), (b"question".to_vec(), End::Clean));
}
