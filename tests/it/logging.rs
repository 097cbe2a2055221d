// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the log says, and that it neither blocks nor kills nor can be forged. Grammar and events: tunnel-log(7). The
//! real syslog daemon is in `syslogd`.

use crate::harness::{
    Backend, End, Line, Listening, Options, Peer, Pki, Rig, Sides, TlsClient, full, wait_for,
};
use crate::program::{Place, Process, TUNNEL, descriptors, echo, plain};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

#[test]
fn a_connections_line_tells_all_about_it() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut client = rig.client();
    let from = client.socket().local_addr().unwrap();
    echo(&mut client, b"twelve bytes");
    client.half_close();
    client.receive_all();
    let line = rig.tunnel.wait_closed(1).remove(0);
    for (key, value) in [
        ("service", "web".to_owned()),
        ("client", from.to_string()),
        ("server", rig.backend.address().to_string()),
        ("sni", "localhost".to_owned()),
        ("tls", "TLSv1.3".to_owned()),
        ("resumed", "no".to_owned()),
        ("in", "12".to_owned()),
        ("out", "12".to_owned()),
        ("reason", "done".to_owned()),
    ] {
        assert_eq!(line.get(key), value, "{key} in: {}", line.text);
    }
    assert!(line.get("cipher").starts_with("TLS_"), "{}", line.text);
    assert!(line.number("id") > 0);
    let [handshake, connect, total] = ["t_handshake", "t_connect", "t_total"].map(|key| {
        let value: f64 = line.get(key).parse().unwrap_or_else(|_| panic!("no time {key} in: {}", line.text));
        value
    });
    assert!(0.0 < handshake && handshake <= total && connect <= total, "{}", line.text);
}

#[test]
fn start_and_end_are_told_with_what_is_in_effect() {
    let mut rig = Rig::echo(Sides::Plain, "");
    let started = rig.tunnel.wait_log("started", |line| line.is("started"));
    assert_eq!(started.get("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(started.number("workers"), 2);
    assert!(started.number("open_files") > 0 && started.number("max_connections") > 0, "{}", started.text);
    assert!(!started.get("user").is_empty(), "{}", started.text);
    rig.tunnel.signal(Signal::SIGTERM);
    rig.tunnel.wait_exit();
    let last = rig.tunnel.log_lines().pop().unwrap();
    assert!(last.is("stopped") && last.number("lost") == 0, "{}", last.text);
}

#[test]
fn a_failed_handshake_is_told_in_plain_words() {
    let rig = Rig::echo(Sides::Terminate, "");
    let mut client = Peer::plain(rig.address());
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.receive_all();
    let line = rig.tunnel.wait_log("the handshake to fail", |line| line.is("handshake-failed"));
    assert_eq!((line.get("service"), line.get("reason")), ("web", "not-tls"), "{}", line.text);
    assert!(line.get("error").contains(' ') && !line.get("error").contains("error:"), "{}", line.text);
}

#[test]
fn a_flood_of_failures_folds_and_none_is_forgotten() {
    let flood = full(20_000, 300);
    let rig = Rig::echo(Sides::Terminate, "");
    for _ in 0..flood {
        let mut client = Peer::plain(rig.address());
        client.send(b"GET / HTTP/1.0\r\n\r\n");
        client.receive_all();
    }
    let told = |lines: &[Line]| -> u64 {
        let failed = lines.iter().filter(|line| line.is("handshake-failed"));
        failed.map(|line| if line.get("more").is_empty() { 1 } else { line.number("more") }).sum()
    };
    wait_for("every failure to be counted", || told(&rig.tunnel.log_lines()) >= flood as u64);
    let lines = rig.tunnel.log_lines();
    assert_eq!(told(&lines), flood as u64);
    let written = lines.iter().filter(|line| line.is("handshake-failed")).count();
    assert!(written < flood / 5, "{written} lines about {flood} failures");
}

/// What a peer may try to write into somebody's log or terminal.
const EVIL: &[&[u8]] = &[
    b"a\nevent=forged service=web",
    b"a\r\nevent=forged",
    b"a\" event=forged b=\"",
    b"a event=forged",
    b"\x1b[2J\x1b]0;owned\x07",
    b"a\0b event=forged",
    b"\x80\xff\xc3\x28 event=forged",
    b"a\\\" event=forged",
    b"\x7f\x08\x08\x08event=forged",
];

#[test]
fn nothing_a_peer_sends_can_forge_a_line() {
    // Row 93. The name is long enough to be found in the hello, and replaced there by bytes no library would send.
    let rig = Rig::echo(Sides::Terminate, "");
    let name = "n".repeat(64);
    let hello = crate::harness::hello(&TlsClient::new(&rig.pki).named(&name));
    let at = hello.windows(64).position(|window| window == name.as_bytes()).unwrap();
    let mut sent = 0;
    for evil in EVIL {
        let mut hello = hello.clone();
        hello[at..at + evil.len()].copy_from_slice(evil);
        let mut client = Peer::plain(rig.address());
        client.send(&hello);
        client.fin();
        client.receive_all();
        sent += 1;
        rig.tunnel.wait_closed(sent);
    }
    // ALPN is the peer's too, and where the name is fit to be served it is logged.
    for evil in EVIL {
        let protocol = [&[u8::try_from(evil.len()).unwrap()][..], evil].concat();
        let client = TlsClient::with(&rig.pki, |builder| builder.set_alpn_protos(&protocol).unwrap());
        if let Ok(mut peer) = client.connect(rig.address()) {
            peer.half_close();
            peer.receive_all();
        }
        sent += 1;
        rig.tunnel.wait_closed(sent);
    }
    check_grammar(&rig);
    let lines = rig.tunnel.log_lines();
    assert_eq!(lines.iter().filter(|line| line.is("connection-closed")).count(), sent);
}

#[test]
fn what_a_peer_sends_is_cut_to_a_bound() {
    let rig = Rig::echo(Sides::Terminate, "");
    let name = format!("{}.example", "n".repeat(240));
    let _ = TlsClient::new(&rig.pki).named(&name).connect(rig.address());
    rig.tunnel.wait_closed(1);
    check_grammar(&rig);
}

/// Every line is one line of tunnel-log(7): printable ASCII but for the ellipsis, bounded, an event nobody forged.
#[track_caller]
fn check_grammar(rig: &Rig<u64>) {
    let text = rig.tunnel.log_text();
    for line in text.lines() {
        assert!(line.len() < 2_000, "a line of {} bytes", line.len());
        let odd = line.chars().find(|c| !(' '..='~').contains(c) && *c != '…');
        assert!(odd.is_none(), "{odd:?} in: {line}");
        let line = Line::parse(line);
        assert!(!line.get("event").is_empty() && !line.is("forged"), "{}", line.text);
    }
}

fn with_file(server: std::net::SocketAddr) -> Place {
    let log = "[global]\nworkers = 1\nlog = { target = \"file:log\" }\n\n";
    Place::new(&format!("{log}{}", plain("web", server)))
}

/// One connection through the service "web", logged when it has ended.
fn connection(place: &Place, file: &str) {
    let address = place.log(file).address("web");
    visit(address);
}

fn visit(address: std::net::SocketAddr) {
    let mut client = Peer::plain(address);
    echo(&mut client, b"x");
    client.half_close();
    assert_eq!(client.receive_all(), (Vec::new(), End::Clean));
}

#[test]
fn a_renamed_file_is_written_on_until_usr1() {
    let backend = Backend::echo(Listening::default());
    let place = with_file(backend.address());
    let mut process = place.start(&[]);
    place.log("log").wait_event("started");
    connection(&place, "log");
    place.log("log").wait_event("connection-closed");
    fs::rename(place.path("log"), place.path("log.1")).unwrap();
    connection(&place, "log.1");
    let old = place.log("log.1");
    let closed =
        |file: &str| place.log(file).lines().iter().filter(|line| line.is("connection-closed")).count();
    wait_for("the renamed file to be written on", || closed("log.1") == 2);
    assert!(!place.path("log").exists());
    let before = descriptors(process.pid()).len();
    process.signal(Signal::SIGUSR1);
    place.log("log").wait_event("log-reopened");
    connection(&place, "log.1");
    wait_for("the new file to be used", || closed("log") == 1);
    assert_eq!(closed("log.1"), 2);
    assert!(place.log("log").lines()[0].is("log-reopened"), "not the first line");
    assert_eq!(descriptors(process.pid()).len(), before, "the old file is still open");
    assert!(!old.lines().iter().any(|line| line.is("lines-lost")));
    process.stop();
}

#[test]
fn a_file_that_cannot_be_reopened_is_written_on() {
    let backend = Backend::echo(Listening::default());
    let place = with_file(backend.address());
    let mut process = place.start(&[]);
    place.log("log").wait_event("started");
    fs::rename(place.path("log"), place.path("log.1")).unwrap();
    fs::create_dir(place.path("log")).unwrap();
    process.signal(Signal::SIGUSR1);
    place.log("log.1").wait_event("log-reopen-failed");
    connection(&place, "log.1");
    place.log("log.1").wait_event("connection-closed");
    fs::remove_dir(place.path("log")).unwrap();
    process.signal(Signal::SIGUSR1);
    place.log("log").wait_event("log-reopened");
    process.stop();
}

#[test]
fn a_file_that_is_a_link_elsewhere_is_refused() {
    // Row 90: a log planted as a symbolic link by somebody who may write to the folder.
    let backend = Backend::echo(Listening::default());
    let place = with_file(backend.address());
    place.write("precious", "precious");
    std::os::unix::fs::symlink(place.path("precious"), place.path("log")).unwrap();
    let outcome = place.run(&["-c", "tunnel.conf"]);
    assert!(outcome.code.is_some_and(|code| code != 0) && outcome.err.contains("log"), "{outcome:?}");
    assert_eq!(fs::read_to_string(place.path("precious")).unwrap(), "precious");
}

#[test]
fn a_reload_moves_the_log() {
    let backend = Backend::echo(Listening::default());
    let place = with_file(backend.address());
    let mut process = place.start(&[]);
    place.log("log").wait_event("started");
    let address = place.log("log").address("web");
    let text = fs::read_to_string(place.path("tunnel.conf")).unwrap();
    place.write("tunnel.conf", text.replace("file:log", "file:other"));
    process.signal(Signal::SIGHUP);
    place.log("other").wait_event("reload-done");
    visit(address);
    place.log("other").wait_event("connection-closed");
    assert!(!place.log("log").lines().iter().any(|line| line.is("connection-closed")));
    process.stop();
}

/// The binary with stderr as a pipe, and where its service listens.
fn with_pipe(place: &Place) -> (Process, BufReader<std::process::ChildStderr>, std::net::SocketAddr) {
    let mut child = Command::new(TUNNEL)
        .args(["-c", "tunnel.conf"])
        .current_dir(place.dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = BufReader::new(child.stderr.take().unwrap());
    let process = Process::of(child);
    let mut address = None;
    loop {
        let mut line = String::new();
        assert_ne!(pipe.read_line(&mut line).unwrap(), 0, "it ended at start");
        let line = Line::parse(line.trim_end());
        if line.is("listening") {
            address = line.get("address").parse().ok();
        }
        if let (true, Some(address)) = (line.is("started"), address) {
            return (process, pipe, address);
        }
    }
}

fn with_stderr(server: std::net::SocketAddr) -> Place {
    let log = "[global]\nworkers = 2\nlog = { target = \"stderr\" }\n\n";
    Place::new(&format!("{log}{}", plain("web", server)))
}

#[test]
fn the_reader_of_the_log_may_die() {
    // Row 66: SIGPIPE.
    let backend = Backend::echo(Listening::default());
    let place = with_stderr(backend.address());
    let (mut process, pipe, address) = with_pipe(&place);
    drop(pipe);
    for _ in 0..50 {
        visit(address);
    }
    process.signal(Signal::SIGHUP);
    process.signal(Signal::SIGUSR1);
    visit(address);
    assert!(process.is_alive());
    process.stop();
}

/// Connections enough to fill the queue of 8192 lines, and a pipe or socket besides.
fn more_than_the_queue_holds() -> usize {
    full(50_000, 10_000)
}

/// So many connections that each leave a line, from four clients at once.
pub(crate) fn many(address: std::net::SocketAddr) {
    let each = more_than_the_queue_holds() / 4;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..each).for_each(|_| visit(address)));
        }
    });
}

#[test]
fn a_reader_that_does_not_read_costs_lines_and_nothing_else() {
    let backend = Backend::echo(Listening::default());
    let place = with_stderr(backend.address());
    let (mut process, mut pipe, address) = with_pipe(&place);
    many(address);
    // Everything was served while nobody read. Now somebody does, and is told what is missing.
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        text
    });
    visit(address);
    process.stop();
    let text = reader.join().unwrap();
    let lines: Vec<_> = text.lines().map(Line::parse).collect();
    let written = lines.iter().filter(|line| line.is("connection-closed")).count();
    let lost: u64 = lines.iter().filter(|line| line.is("lines-lost")).map(|line| line.number("lines")).sum();
    assert!(lost > 0, "{written} lines, and none lost: the test did not fill the queue");
    assert_eq!(written as u64 + lost, more_than_the_queue_holds() as u64 + 1, "lines unaccounted for");
}

#[test]
fn the_level_says_what_is_written() {
    let options = Options { level: "warning", ..Options::default() };
    let pki = Pki::new();
    let backend = Backend::echo(Listening::default());
    let place = Place::new("");
    let config = Sides::Terminate.service("web", &pki, backend.address(), "");
    let address = crate::program::free_address();
    let config = config.replace("127.0.0.1:0", &address.to_string());
    place.write(
        "tunnel.conf",
        format!("[global]\nlog = {{ target = \"stderr\", level = \"{}\" }}\n{config}", options.level),
    );
    let mut process = place.start(&[]);
    wait_for("it to listen", || std::net::TcpStream::connect(address).is_ok());
    let mut client = TlsClient::new(&pki).connect(address).unwrap();
    echo(&mut client, b"x");
    drop(client);
    let mut client = Peer::plain(address);
    client.send(b"GET / HTTP/1.0\r\n\r\n");
    client.receive_all();
    process.log.wait_event("handshake-failed");
    let quiet = process.log.lines().iter().all(|line| !line.is("connection-closed") && !line.is("started"));
    assert!(quiet, "{}", process.log.text());
    process.stop();
}
