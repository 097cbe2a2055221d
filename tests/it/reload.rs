// SPDX-License-Identifier: MIT OR Apache-2.0
//! SIGHUP: listeners kept, added and dropped by difference; live connections keep their plan; a broken configuration
//! changes nothing. What a reload must not cost over time is in `churn`.

use crate::harness::{
    Backend, End, Files, Line, Listening, Peer, Pki, Rig, Sides, TlsClient, Tunnel, full, wait_for,
};
use crate::program::{Place, descriptors, echo, free_address, plain, plain_at};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// SIGHUP; the lines of the log from there to the end of the reload.
#[track_caller]
pub(crate) fn reload(tunnel: &Tunnel) -> Vec<Line> {
    let before = tunnel.log_lines().len();
    tunnel.signal(Signal::SIGHUP);
    let mut lines = Vec::new();
    wait_for("the reload to end", || {
        lines = tunnel.log_lines().split_off(before);
        lines.iter().any(|line| line.is("reload-done") || line.is("reload-failed"))
    });
    lines
}

/// As [`reload`], which must go well.
#[track_caller]
pub(crate) fn reload_well(tunnel: &Tunnel) -> Vec<Line> {
    let lines = reload(tunnel);
    let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert!(!lines.iter().any(|line| line.is("reload-failed")), "{}", text.join("\n"));
    lines
}

#[test]
fn listeners_are_kept_added_and_dropped() {
    let (one, two) = (Backend::echo(Listening::default()), Backend::echo(Listening::default()));
    let (kept, dropped, added) = (free_address(), free_address(), free_address());
    let keep = plain_at("kept", kept, one.address());
    let tunnel = Tunnel::start(&format!("{keep}{}", plain_at("dropped", dropped, one.address())));
    let mut on_kept = Peer::plain(kept);
    let mut on_dropped = Peer::plain(dropped);
    echo(&mut on_kept, b"a");
    echo(&mut on_dropped, b"b");
    // The kept listener's connections go elsewhere from now on.
    let elsewhere = plain_at("kept", kept, two.address());
    tunnel.rewrite(&format!("{elsewhere}{}", plain_at("added", added, one.address())));
    let lines = reload_well(&tunnel);
    for (service, address, event) in [("added", added, "listening"), ("dropped", dropped, "listener-closed")]
    {
        tunnel.wait_log(event, |line| {
            line.is(event) && line.get("service") == service && line.get("address") == address.to_string()
        });
    }
    let kept_is_announced =
        lines.iter().any(|line| line.is("listener-closed") && line.get("service") == "kept");
    assert!(!kept_is_announced, "the kept listener was closed");
    echo(&mut Peer::plain(added), b"c");
    assert_eq!(
        TcpStream::connect(dropped).unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused,
        "the dropped listener still listens"
    );
    echo(&mut Peer::plain(kept), b"d");
    wait_for("the kept listener to use its new server", || two.accepted() == 1);
    for client in [&mut on_kept, &mut on_dropped] {
        echo(client, b"old connections live on");
        client.half_close();
        assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    }
    assert_eq!(one.accepted(), 3);
}

#[test]
fn a_port_the_kernel_chose_is_kept() {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&plain("web", backend.address()));
    let address = tunnel.address("web");
    reload_well(&tunnel);
    echo(&mut Peer::plain(address), b"x");
}

#[test]
fn a_dropped_listener_may_come_back_on_its_address() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let (other, both) = (plain("other", backend.address()), plain_at("web", address, backend.address()));
    let both = format!("{other}{both}");
    let tunnel = Tunnel::start(&both);
    for _ in 0..5 {
        echo(&mut Peer::plain(address), b"there");
        tunnel.rewrite(&other);
        reload_well(&tunnel);
        wait_for("the listener to be gone", || TcpStream::connect(address).is_err());
        tunnel.rewrite(&both);
        reload_well(&tunnel);
    }
    echo(&mut Peer::plain(address), b"there");
}

/// The certificate `peer`'s server showed.
fn shown(peer: &mut Peer) -> Vec<u8> {
    peer.tls().ssl().peer_certificate().unwrap().to_der().unwrap()
}

#[test]
fn live_connections_keep_their_certificate_and_new_ones_get_the_new() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut old = rig.client();
    echo(&mut old, b"before");
    let before = shown(&mut old);
    // The files are replaced in place, as certbot does; the configuration does not change.
    let Files { certificate, key } = rig.pki.issue("renewed", &["localhost"]);
    std::fs::copy(certificate, &rig.pki.server.certificate).unwrap();
    std::fs::copy(key, &rig.pki.server.key).unwrap();
    let mut unaware = rig.client();
    assert_eq!(shown(&mut unaware), before, "files were read without being asked to");
    reload_well(&rig.tunnel);
    let mut new = rig.client();
    assert_ne!(shown(&mut new), before, "the new certificate is not shown");
    for client in [&mut old, &mut unaware, &mut new] {
        echo(client, b"after");
    }
}

#[test]
fn a_handshake_in_progress_ends_with_the_plan_it_began_with() {
    let rig = Rig::echo(Sides::Terminate, "");
    // Half a ClientHello before the reload, the rest after it.
    let client = TlsClient::new(&rig.pki);
    let socket = TcpStream::connect(rig.address()).unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(proxy.local_addr().unwrap()).unwrap();
    let (far, _) = proxy.accept().unwrap();
    let halves =
        std::thread::spawn(move || client.connect_over(near).map(|mut peer| echo(&mut peer, b"late")));
    let mut hello = vec![0; 4096];
    let length = std::io::Read::read(&mut &far, &mut hello).unwrap();
    std::io::Write::write_all(&mut &socket, &hello[..20]).unwrap();
    // The tunnel has read those bytes when the connection is old enough to have been accepted: one reload later.
    reload_well(&rig.tunnel);
    std::io::Write::write_all(&mut &socket, &hello[20..length]).unwrap();
    for (mut from, mut to) in [(&far, &socket), (&socket, &far)]
        .map(|(from, to)| (from.try_clone().unwrap(), to.try_clone().unwrap()))
    {
        std::thread::spawn(move || {
            // However it ends, the other side shall see an end.
            let _ = std::io::copy(&mut from, &mut to);
            to.shutdown(std::net::Shutdown::Write)
        });
    }
    drop((far, socket));
    halves.join().unwrap().unwrap();
}

#[test]
fn no_connection_is_refused_or_reset_during_reloads() {
    // Row 68: connections queued on a listening socket that is replaced are lost.
    let rig = Rig::echo(Sides::Plain, "");
    let (address, stop, served) = (rig.address(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Peer::plain(address);
                    echo(&mut client, b"constant connects");
                    client.half_close();
                    assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stop = StopOnDrop(&stop);
        for round in 1..=full(200, 5) {
            reload_well(&rig.tunnel);
            // Connections are made during and after each reload.
            let wanted = served.load(Ordering::Relaxed) + 20;
            wait_for("connections to go on", || served.load(Ordering::Relaxed) >= wanted);
            assert!(served.load(Ordering::Relaxed) >= round * 20);
        }
        drop(stop);
    });
}

/// Ends the clients' threads also when an assertion failed.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Broken configurations: what kind, the text, and a word the log must say about it. `GOOD` stands for the service
/// that runs, `TAKEN` for an address somebody else listens on, `PKI` for a directory with a valid pair of files and
/// some invalid ones.
const BROKEN: &[(&str, &str, &str)] = &[
    ("no service at all", "", "service"),
    ("syntax", "GOOD\n[[service]\n", "tunnel.conf:"),
    ("not UTF-8", "GOOD\n# \u{FFFF}\n", "tunnel.conf:"),
    ("unknown key", "GOOD\ncolour = \"red\"\n", "colour"),
    ("unknown table", "GOOD\n[globals]\n", "globals"),
    ("wrong type", "GOOD\nbuffer = true\n", "buffer"),
    ("negative size", "GOOD\nbuffer = \"-1KiB\"\n", "-1KiB"),
    ("overflowing size", "GOOD\nbuffer = \"99999999999999GiB\"\n", "99999999999999GiB"),
    ("bad duration", "GOOD\ntimeout = { idle = \"soon\" }\n", "soon"),
    ("no connect", "GOOD\n[[service]]\nname = \"b\"\naccept = \"127.0.0.1:0\"\n", "connect"),
    ("no accept", "GOOD\n[[service]]\nname = \"b\"\nconnect = \"127.0.0.1:9\"\n", "accept"),
    ("one name twice", "GOOD\nGOOD\n", "web"),
    (
        "bad port",
        "GOOD\n[[service]]\nname = \"b\"\naccept = \"127.0.0.1:0\"\nconnect = \"127.0.0.1:70000\"\n",
        "70000",
    ),
    (
        "port in use",
        "GOOD\n[[service]]\nname = \"b\"\naccept = \"TAKEN\"\nconnect = \"127.0.0.1:9\"\n",
        "TAKEN",
    ),
    (
        "unix socket in no folder",
        "GOOD\n[[service]]\nname = \"b\"\naccept = \"unix:/no/such/folder/s\"\nconnect = \"127.0.0.1:9\"\n",
        "/no/such/folder",
    ),
    ("missing certificate", "TLS certificate = \"PKI/no.pem\", key = \"PKI/server.key\" END", "no.pem"),
    ("missing key file", "TLS certificate = \"PKI/server.pem\", key = \"PKI/no.key\" END", "no.key"),
    ("no key named", "TLS certificate = \"PKI/ca.pem\" END", "key"),
    ("key of another", "TLS certificate = \"PKI/server.pem\", key = \"PKI/other.key\" END", "key"),
    ("empty certificate", "TLS certificate = \"PKI/empty.pem\", key = \"PKI/server.key\" END", "empty.pem"),
    ("truncated certificate", "TLS certificate = \"PKI/cut.pem\", key = \"PKI/server.key\" END", "cut.pem"),
    // Row 10: with a missing or broken CA file another program fell back to the system's roots.
    ("missing client CA", "TLS SERVER, client_ca = \"PKI/no-ca.pem\" END", "no-ca.pem"),
    ("empty client CA", "TLS SERVER, client_ca = \"PKI/empty.pem\" END", "empty.pem"),
    ("truncated client CA", "TLS SERVER, client_ca = \"PKI/cut.pem\" END", "cut.pem"),
    ("verify without CA", "TLS SERVER, verify = \"required\" END", "client_ca"),
    ("CA without verify", "TLS SERVER, client_ca = \"PKI/ca.pem\", verify = \"none\" END", "verify"),
    ("bad cipher", "TLS SERVER, ciphers = \"ROT13\" END", "ROT13"),
    ("bad suite", "TLS SERVER, ciphersuites = \"TLS_ROT_13\" END", "TLS_ROT_13"),
    ("bad group", "TLS SERVER, groups = \"P-13\" END", "P-13"),
    ("versions crossed", "TLS SERVER, min_version = \"1.3\", max_version = \"1.2\" END", "version"),
    ("unknown version", "TLS SERVER, min_version = \"1.4\" END", "1.4"),
    ("missing server CA", "ORIGINATE ca = \"PKI/no-ca.pem\" END", "no-ca.pem"),
    ("empty server CA", "ORIGINATE ca = \"PKI/empty.pem\" END", "empty.pem"),
];

/// [`BROKEN`]'s text with its words replaced.
fn fill_in(text: &str, good: &str, pki: &Pki, taken: SocketAddr) -> String {
    let folder = pki.ca.parent().unwrap().to_str().unwrap();
    let service = "GOOD\n[[service]]\nname = \"b\"\n";
    let tls = format!("{service}connect = \"127.0.0.1:9\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ ");
    let originate =
        format!("{service}accept = \"127.0.0.1:0\"\nconnect = {{ address = \"127.0.0.1:9\", tls = {{ ");
    text.replace("TLS ", &tls)
        .replace("ORIGINATE ", &originate)
        .replace("END", "} }")
        .replace("SERVER", "certificate = \"PKI/server.pem\", key = \"PKI/server.key\"")
        .replace("PKI", folder)
        .replace("TAKEN", &taken.to_string())
        .replace("GOOD", good)
}

/// What [`BROKEN`] needs beside the certificates every test has; the listener holds the address that is taken.
fn prepare(pki: &Pki) -> (TcpListener, SocketAddr) {
    let folder = pki.ca.parent().unwrap();
    pki.issue("other", &["localhost"]);
    let pem = std::fs::read(&pki.ca).unwrap();
    std::fs::write(folder.join("cut.pem"), &pem[..pem.len() / 2]).unwrap();
    std::fs::write(folder.join("empty.pem"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    (taken, address)
}

/// The bytes of a text of [`BROKEN`]: U+FFFF stands for what is no UTF-8.
fn bytes(config: &str) -> Vec<u8> {
    config.bytes().map(|byte| if byte == 0xef { 0xff } else { byte }).collect()
}

#[test]
fn a_broken_configuration_is_refused_at_start() {
    let pki = Pki::new();
    let (_held, taken) = prepare(&pki);
    let good = Sides::Terminate.service("web", &pki, crate::harness::refusing(), "");
    let place = Place::new("");
    let mut faults = Vec::new();
    for (kind, text, says) in BROKEN {
        place.write("tunnel.conf", bytes(&fill_in(text, &good, &pki, taken)));
        let outcome = place.run(&["-c", "tunnel.conf"]);
        let code = if *kind == "port in use" || kind.starts_with("unix socket") { 69 } else { 78 };
        let says = says.replace("TAKEN", &taken.to_string());
        if outcome.code != Some(code) || !outcome.err.contains(&says) {
            faults
                .push(format!("{kind}: exit {:?}, not {code} and {says:?}:\n{}", outcome.code, outcome.err));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_broken_configuration_leaves_the_old_one_serving_and_says_why() {
    // Row 92: failed reloads that left half of their work behind.
    let rig = Rig::echo(Sides::Terminate, "");
    let (_held, taken) = prepare(&rig.pki);
    let good = Sides::Terminate.service("web", &rig.pki, rig.backend.address(), "");
    let address = rig.address();
    let mut old = rig.client();
    echo(&mut old, b"before");
    reload_well(&rig.tunnel);
    rig.tunnel.assert_rest();
    let before = descriptors(rig.tunnel.pid());
    for (kind, text, says) in BROKEN {
        rig.tunnel.rewrite("");
        let global = std::fs::read(rig.tunnel.config_file()).unwrap();
        let config = bytes(&fill_in(text, &good, &rig.pki, taken));
        std::fs::write(rig.tunnel.config_file(), [global, config].concat()).unwrap();
        expect_failure(&rig.tunnel, kind, &says.replace("TAKEN", &taken.to_string()));
        echo(&mut old, b"old connection");
        let mut new = rig.client();
        echo(&mut new, b"new connection");
        assert_eq!(rig.address(), address, "{kind}: a new listener was left behind");
    }
    std::fs::remove_file(rig.tunnel.config_file()).unwrap();
    expect_failure(&rig.tunnel, "no file", "tunnel.conf");
    // The last client's connection is closed by now, and nothing of a failed reload is left.
    wait_for("the connections to close", || descriptors(rig.tunnel.pid()).len() <= before.len());
    assert_eq!(descriptors(rig.tunnel.pid()), before);
    rig.tunnel.rewrite(&good);
    reload_well(&rig.tunnel);
    echo(&mut rig.client(), b"repaired");
}

/// A reload that fails and whose lines say `says`.
#[track_caller]
fn expect_failure(tunnel: &Tunnel, kind: &str, says: &str) {
    let before = tunnel.log_lines().len();
    let lines = reload(tunnel);
    assert!(!lines.iter().any(|line| line.is("reload-done")), "{kind}: was accepted");
    // One failure may be told in several lines, of which the first ends `reload`.
    let mut lines = Vec::new();
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        crate::harness::wait_up_to(Duration::from_secs(2), "the log to say why", || {
            lines = tunnel.log_lines().split_off(before);
            lines.iter().any(|line| line.text.contains(says))
        });
    }));
    let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
    assert!(told.is_ok(), "{kind}: the log does not say {says:?}:\n{}", text.join("\n"));
}

#[test]
fn a_reload_while_draining_is_harmless() {
    let mut rig = Rig::echo(Sides::Terminate, "");
    let mut client = rig.client();
    let address = rig.address();
    echo(&mut client, b"before");
    rig.tunnel.signal(Signal::SIGTERM);
    rig.tunnel.wait_log("the listener to close", |line| line.is("listener-closed"));
    for _ in 0..3 {
        rig.tunnel.signal(Signal::SIGHUP);
        echo(&mut client, b"draining");
    }
    rig.tunnel.assert_rest();
    assert!(TcpStream::connect(address).is_err(), "a reload opened the listener again");
    client.half_close();
    assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    assert_eq!(rig.tunnel.wait_exit().code(), Some(0), "{}", rig.tunnel.log_text());
}

#[test]
fn a_reload_that_a_drain_overtakes_opens_nothing() {
    let backend = Backend::echo(Listening::default());
    let service = plain("web", backend.address());
    let mut tunnel = Tunnel::start(&service);
    let mut client = Peer::plain(tunnel.address("web"));
    echo(&mut client, b"before");
    // A token is read from a pipe: the load lasts until somebody writes to it.
    let pipe = tunnel.dir().join("token");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
    let added = free_address();
    tunnel.rewrite(&format!(
        "[control]\nsocket = \"control\"\ntokens = [{{ file = \"token\", level = \"admin\" }}]\n\n{service}{}",
        plain_at("added", added, backend.address())
    ));
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-started"));
    // A second one, which is to come after the first.
    tunnel.signal(Signal::SIGHUP);
    tunnel.signal(Signal::SIGTERM);
    tunnel.wait_log("the drain", |line| line.is("stopping"));
    std::fs::write(&pipe, "0123456789abcdef-token").unwrap();
    tunnel.wait_log("the refusal", |line| {
        line.is("reload-failed") && line.get("error") == "the daemon is stopping"
    });
    echo(&mut client, b"draining");
    assert!(TcpStream::connect(added).is_err(), "a listener was opened");
    assert!(!tunnel.dir().join("control").exists());
    client.half_close();
    assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
    assert_eq!(tunnel.wait_exit().code(), Some(0), "{}", tunnel.log_text());
    assert!(!tunnel.log_lines().iter().any(|line| line.is("reload-done")), "{}", tunnel.log_text());
}

#[test]
fn a_signal_to_stop_during_a_reload_is_obeyed() {
    for _ in 0..full(50, 5) {
        let mut rig = Rig::echo(Sides::Terminate, "");
        rig.tunnel.signal(Signal::SIGHUP);
        rig.tunnel.signal(Signal::SIGTERM);
        assert_eq!(rig.tunnel.wait_exit().code(), Some(0), "{}", rig.tunnel.log_text());
    }
}
