// SPDX-License-Identifier: MIT OR Apache-2.0
//! What sockets are told, read back from the kernel: by strace, ss, the file system and the other end.
//!
//! Not here: single options against getsockopt (unit tests of `sys/options.rs`).

use crate::harness::{Backend, End, Listening, Options, Peer, Tunnel, full, wait_for};
use crate::program::{Place, Strace, descriptors, echo, free_address, plain, say};
use nix::sys::signal::Signal;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

/// A server that tells each client where it comes from.
fn mirror() -> Backend<SocketAddr> {
    Backend::start(Listening::default(), |mut peer: Peer| {
        let from = peer.socket().peer_addr().unwrap();
        peer.send(from.to_string().as_bytes());
        peer.half_close();
        // Until the other side has ended too, its port is in use.
        peer.receive_all();
        from
    })
}

/// A service with its sides written out.
fn service(name: &str, accept: &str, connect: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\naccept = {{ {accept} }}\nconnect = {{ {connect} }}\n")
}

const ACCEPT: &str = "backlog = 77, keepalive = { idle = \"61s\", interval = \"7s\", count = 5 }, user_timeout = \"12345ms\", \
                      congestion = \"reno\", tos = 72, receive_buffer = \"40KiB\", send_buffer = \"50KiB\", \
                      freebind = true, reuse_port = true";

const CONNECT: &str = "keepalive = { idle = \"62s\", interval = \"8s\", count = 6 }, user_timeout = \"23456ms\", \
                       congestion = \"reno\", tos = 16, receive_buffer = \"60KiB\", send_buffer = \"70KiB\"";

#[test]
fn both_sides_of_a_connection_have_what_was_said() {
    let backend = Backend::echo(Listening::default());
    let accept = format!("address = \"127.0.0.1:0\", socket = {{ {ACCEPT} }}");
    let connect = format!("address = \"{}\", socket = {{ {CONNECT} }}", backend.address());
    let tunnel = Tunnel::start(&service("web", &accept, &connect));
    let address = tunnel.address("web");
    let strace = Strace::attach(tunnel.pid(), true, &["-e", "trace=setsockopt"]);
    let mut client = Peer::plain(address);
    echo(&mut client, b"x");
    let ss = |filter: &str| {
        let output =
            Command::new("ss").args(["-tinmoOH", "--tos", "state", "established", filter]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Of the three sockets on this machine, ours: it has the local port of the listener, or the server's as its peer's.
    let accepted = ss(&format!("sport = :{}", address.port()));
    let connected = ss(&format!("dport = :{}", backend.address().port()));
    for (what, line, wanted) in [
        ("accepted", &accepted, ["reno", "tos:0x48", "rb81920", "tb102400", "timer:(keepalive,"]),
        ("connected", &connected, ["reno", "tos:0x10", "rb122880", "tb143360", "timer:(keepalive,"]),
    ] {
        for word in wanted {
            assert!(line.contains(word), "{what}: {word} is not in {line:?}");
        }
    }
    let listening =
        Command::new("ss").args(["-ltnH", &format!("sport = :{}", address.port())]).output().unwrap();
    let listening = String::from_utf8(listening.stdout).unwrap();
    assert_eq!(listening.split_whitespace().nth(2), Some("77"), "the backlog: {listening}");
    if let Some(strace) = strace {
        let told = |what: &str| strace.calls().iter().any(|call| call.contains(what));
        wait_for("the calls to be written down", || told("TCP_KEEPCNT, [6]"));
        for what in
            ["TCP_KEEPIDLE, [62]", "TCP_KEEPINTVL, [8]", "TCP_USER_TIMEOUT, [23456]", "SO_KEEPALIVE, [1]"]
        {
            assert!(told(what), "{what} is not in {:?}", strace.calls());
        }
        assert!(!told("[61]"), "an accepted socket inherits and costs no call: {:?}", strace.calls());
        strace.detach();
    }
}

#[test]
fn servers_see_the_source_and_ports_of_the_range() {
    let backend = mirror();
    // Ports that nobody has just now.
    let first = (21_000..30_000)
        .step_by(8)
        .find(|first| (*first..first + 8).all(|port| TcpListener::bind(("127.0.0.9", port)).is_ok()))
        .unwrap();
    let connect = |source: &str| format!("address = \"{}\", source = \"{source}\"", backend.address());
    let at = "address = \"127.0.0.1:0\"";
    let range = format!("127.0.0.9:{first}-{}", first + 7);
    let tunnel = Tunnel::start(
        &(service("address", at, &connect("127.0.0.8")) + &service("range", at, &connect(&range))),
    );
    let seen = |name: &str| {
        let mut client = Peer::plain(tunnel.address(name));
        let (text, end) = client.receive_all();
        assert_eq!(end, End::Clean, "{}", tunnel.log_text());
        let address: SocketAddr = String::from_utf8(text).unwrap().parse().unwrap();
        (address, client)
    };
    assert_eq!(seen("address").0.ip().to_string(), "127.0.0.8");
    let held: Vec<_> = (0..8).map(|_| seen("range")).collect();
    let mut ports: Vec<u16> = held.iter().map(|(address, _)| address.port()).collect();
    ports.sort_unstable();
    assert_eq!(ports, (first..first + 8).collect::<Vec<_>>());
    // All are taken: the next is told so, and nothing spins.
    let mut beyond = Peer::plain(tunnel.address("range"));
    assert_eq!(beyond.receive_all().1, End::Reset);
    let line = tunnel.wait_log("the failure", |line| line.is("connect-failed"));
    assert!(line.text.contains("in use") || line.text.contains("Cannot assign"), "{}", line.text);
    tunnel.assert_rest();
    for (_, client) in held {
        client.reset();
    }
}

#[test]
fn what_the_system_refuses_is_told_at_start_with_its_place_and_what_to_do() {
    for (accept, connect, wanted) in [
        (
            "socket = { interface = \"no-such-if0\" }",
            "",
            "3:46: error: the system refuses the option `interface`: ",
        ),
        (
            "",
            "socket = { congestion = \"nonsense\" }",
            "4:47: error: the system refuses the option `congestion`: ",
        ),
        ("owner = \"root\"", "", "3:45: error: `owner` without a unix socket that has a path"),
        ("mode = \"0999\"", "", "3:44: error: \"0999\" is not a mode"),
        ("", "source = \"everywhere\"", "4:47: error: \"everywhere\" is not a source"),
        ("", "source = [\"127.0.0.1\", \"127.0.0.2\"]", "4:61: error: \"127.0.0.2\" beside another source"),
        (
            "",
            "socket = { keepalive = 7 }",
            "4:61: error: `keepalive` must be a table, true or false, not an integer",
        ),
        ("", "socket = { keepalive = { idle = \"1500ms\" } }", "4:70: error: `idle` must be whole seconds"),
        ("", "socket = { tos = 256 }", "4:55: error: `tos` must be between 0 and 255"),
        ("socket = { backlog = 0 }", "", "3:58: error: `backlog` must be between 1 and 1048576"),
        ("socket = { sources = 1 }", "", "3:48: error: unknown key \"sources\" in [[service]] accept.socket"),
    ] {
        let side = |more: &str| if more.is_empty() { String::new() } else { format!(", {more}") };
        let text = service(
            "web",
            &format!("address = \"127.0.0.1:0\"{}", side(accept)),
            &format!("address = \"127.0.0.1:9\"{}", side(connect)),
        );
        let outcome = Place::new(&text).run(&["-t", "-c", "tunnel.conf"]).expect(78);
        assert!(outcome.err.contains(wanted), "{wanted}\n{}", outcome.err);
    }
    let text = service("web", "address = \"192.0.2.77:8443\"", "address = \"127.0.0.1:9\"");
    let outcome = Place::new(&text).run(&["-c", "tunnel.conf"]).expect(69);
    assert!(outcome.err.contains("help: no interface of this machine has that address"), "{}", outcome.err);
    // With freebind that very address is listened on.
    let text = service(
        "web",
        "address = \"192.0.2.77:8443\", socket = { freebind = true }",
        "address = \"127.0.0.1:9\"",
    );
    let place = Place::new(&("[global]\nlog = { target = \"stderr\" }\n".to_owned() + &text));
    let mut process = place.start(&[]);
    process.wait_started();
    process.stop();
}

#[test]
fn a_unix_socket_has_its_owner_and_mode_and_a_reload_changes_them() {
    let backend = Backend::echo(Listening::default());
    let config = |permit: &str| {
        let accept = format!("address = [\"unix:s\", \"unix:@tunnel-test-{}\"]{permit}", std::process::id());
        service("web", &accept, &format!("address = \"{}\"", backend.address()))
    };
    let tunnel = Tunnel::start(&config(", mode = \"0620\""));
    let path = tunnel.dir().join("s");
    let file = || fs::metadata(&path).unwrap();
    assert!(file().file_type().is_socket());
    assert_eq!(file().permissions().mode() & 0o777, 0o620);
    let inode = file().ino();
    let us = file().uid();
    // As root the file can be given away; else only what it has already can be asked for.
    let owner = if us == 0 { 65534 } else { us };
    tunnel.rewrite(&config(&format!(", mode = \"0660\", owner = \"{owner}\"")));
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    assert_eq!((file().permissions().mode() & 0o777, file().uid(), file().ino()), (0o660, owner, inode));
    UnixStream::connect(&path).unwrap();
}

#[test]
fn two_processes_share_an_address_that_both_say_may_be_shared() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let text = |shared: &str| {
        let accept = format!("address = \"{address}\"{shared}");
        let connect = format!("address = \"{}\"", backend.address());
        "[global]\nlog = { target = \"stderr\" }\n".to_owned() + &service("web", &accept, &connect)
    };
    let shared = text(", socket = { reuse_port = true }");
    let places = [Place::new(&shared), Place::new(&shared)];
    let mut processes = places.each_ref().map(|place| place.start(&[]));
    processes.iter_mut().for_each(|process| process.wait_started());
    let closed = |process: &crate::program::Process| {
        process.log.lines().iter().filter(|line| line.is("connection-closed")).count()
    };
    wait_for("both to get clients", || {
        for _ in 0..8 {
            echo(&mut Peer::plain(address), b"x");
        }
        processes.iter().all(|process| closed(process) > 0)
    });
    let third = Place::new(&text("")).run(&["-c", "tunnel.conf"]).expect(69);
    assert!(third.err.contains("another process listens there"), "{}", third.err);
    processes.iter_mut().for_each(|process| process.stop());
}

#[test]
fn reloads_that_change_options_lose_no_client_and_no_descriptor() {
    let backend = Backend::echo(Listening::default());
    let address = free_address();
    let config = |options: &str| {
        let accept = format!("address = \"{address}\", socket = {{ {options} }}");
        service("web", &accept, &format!("address = \"{}\", source = \"127.0.0.7\"", backend.address()))
    };
    // The second is told the living socket; the third and, from there, the first take another one.
    let kinds = ["tos = 8", "tos = 16, backlog = 99", "reuse_port = true"];
    let tunnel = Tunnel::start(&config(kinds[0]));
    echo(&mut Peer::plain(address), b"x");
    tunnel.wait_closed(1);
    tunnel.assert_rest();
    let before = descriptors(tunnel.pid());
    let mut kept = Peer::plain(address);
    echo(&mut kept, b"x");
    let rounds = full(200, 45);
    for round in 1..=rounds {
        tunnel.rewrite(&config(kinds[round % kinds.len()]));
        tunnel.signal(Signal::SIGHUP);
        let mut served = 0;
        wait_for("the reload", || {
            echo(&mut Peer::plain(address), b"while it is reloaded");
            served += 1;
            tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count() == round
        });
        let listening = Command::new("ss").args(["-ltnH", &format!("sport = :{}", address.port())]).output();
        let listening = String::from_utf8(listening.unwrap().stdout).unwrap();
        assert_eq!(listening.lines().count(), 1, "round {round}: {listening}");
        let backlog = if round % kinds.len() == 1 { "99" } else { "4096" };
        assert_eq!(listening.split_whitespace().nth(2), Some(backlog), "round {round}: {listening}");
    }
    echo(&mut kept, b"through all of them");
    drop(kept);
    wait_for("every descriptor to be given back", || descriptors(tunnel.pid()) == before);
    assert!(!tunnel.log_lines().iter().any(|line| line.is("reload-failed")), "{}", tunnel.log_text());
}

/// Network namespaces that are gone at the end; nothing where we have no right to make any.
struct Namespaces(Vec<String>);

impl Namespaces {
    fn new(names: &[&str]) -> Option<Self> {
        let mut made = Self(Vec::new());
        for name in names {
            let name = format!("tunnel-{}-{name}", std::process::id());
            let output = Command::new("ip").args(["netns", "add", &name]).output();
            if !output.as_ref().is_ok_and(|output| output.status.success()) {
                say(&format!("skipped: no network namespaces: {output:?}"));
                return None;
            }
            made.0.push(name);
        }
        Some(made)
    }

    #[track_caller]
    fn run(&self, index: usize, line: &str) -> String {
        let words: Vec<&str> = ["netns", "exec", &self.0[index]].into_iter().chain(line.split(' ')).collect();
        let output = Command::new("ip").args(words).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.0 {
            let _gone_with_the_machine_at_the_latest =
                Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

#[test]
fn a_transparent_server_sees_the_clients_own_address() {
    const CLIENT: usize = 0;
    const MIDDLE: usize = 1;
    const SERVER: usize = 2;
    let Some(net) = Namespaces::new(&["client", "middle", "server"]) else { return };
    for (index, other, here, there) in
        [(CLIENT, "c", "10.9.1.2/24", "10.9.1.1/24"), (SERVER, "s", "10.9.2.2/24", "10.9.2.1/24")]
    {
        net.run(MIDDLE, &format!("ip link add {other}0 type veth peer name eth0 netns {}", net.0[index]));
        net.run(MIDDLE, &format!("ip addr add {there} dev {other}0"));
        net.run(MIDDLE, &format!("ip link set {other}0 up"));
        net.run(index, &format!("ip addr add {here} dev eth0"));
        net.run(index, "ip link set eth0 up");
        net.run(index, &format!("ip route add default via {}", there.trim_end_matches("/24")));
    }
    net.run(MIDDLE, "ip link set lo up");
    // What the server answers to the client's address is ours to hear: tunnel.conf(5), source.
    net.run(MIDDLE, "ip rule add iif s0 lookup 100");
    net.run(MIDDLE, "ip route add local default dev lo table 100");
    let connect = "address = \"10.9.2.2:8080\", source = \"client\"";
    let text = "[global]\nlog = { target = \"stderr\" }\n".to_owned()
        + &service("web", "address = \"10.9.1.1:80\"", connect);
    let place = Place::new(&text);
    let mut process = place.start_under(&["ip", "netns", "exec", &net.0[MIDDLE]], &[]);
    process.wait_started();
    let serve = [
        "ip",
        "netns",
        "exec",
        &net.0[SERVER],
        "socat",
        "TCP-LISTEN:8080,fork,reuseaddr",
        "SYSTEM:echo $SOCAT_PEERADDR",
    ];
    let mut server = place.spawn("server", &serve);
    wait_for("the server to listen", || net.run(SERVER, "ss -ltnH").contains(":8080"));
    assert_eq!(net.run(CLIENT, "socat -T 20 - TCP:10.9.1.1:80").trim(), "10.9.1.2");
    server.kill();
    process.stop();
}

#[test]
fn without_multipath_tcp_in_the_kernel_tcp_is_spoken_and_it_is_told_once() {
    let Some(net) = Namespaces::new(&["without"]) else { return };
    net.run(0, "ip link set lo up");
    net.run(0, "sysctl -q -w net.mptcp.enabled=0");
    let mptcp = "socket = { mptcp = true }";
    let text = "[global]\nlog = { target = \"stderr\" }\n".to_owned()
        + &service(
            "web",
            &format!("address = \"127.0.0.1:80\", {mptcp}"),
            &format!("address = \"127.0.0.1:81\", {mptcp}"),
        );
    let place = Place::new(&text);
    let mut process = place.start_under(&["ip", "netns", "exec", &net.0[0]], &[]);
    process.wait_started();
    let mut server = place.spawn(
        "server",
        &["ip", "netns", "exec", &net.0[0], "socat", "TCP-LISTEN:81,fork,reuseaddr", "SYSTEM:echo served"],
    );
    wait_for("the server to listen", || net.run(0, "ss -ltnH").contains(":81"));
    for _ in 0..3 {
        assert_eq!(net.run(0, "socat -T 20 - TCP:127.0.0.1:80").trim(), "served");
    }
    let lines = process.log.lines();
    let warned = lines.iter().filter(|line| line.is("config-warning") && line.text.contains("mptcp")).count();
    assert_eq!(warned, 2, "one for each side:\n{}", process.log.text());
    let told = lines.iter().filter(|line| line.is("socket-option-failed")).count();
    assert_eq!(told, 1, "{}", process.log.text());
    server.kill();
    process.stop();
}

#[test]
fn multipath_tcp_is_spoken_where_there_is_some() {
    if fs::read_to_string("/proc/sys/net/mptcp/enabled").ok().is_none_or(|text| text.trim() != "1") {
        say("skipped: no multipath TCP here");
        return;
    }
    let backend = Backend::echo(Listening::default());
    let mptcp = "socket = { mptcp = true }";
    let tunnel = Tunnel::start(&service(
        "web",
        &format!("address = \"127.0.0.1:0\", {mptcp}"),
        &format!("address = \"{}\", {mptcp}", backend.address()),
    ));
    let mut client = Peer::plain(tunnel.address("web"));
    echo(&mut client, b"plain TCP speaks to it as ever");
    let protocol = fs::read_to_string(format!("/proc/{}/net/protocols", tunnel.pid())).unwrap();
    assert!(protocol.contains("MPTCP"), "{protocol}");
    let listening = Command::new("ss").args(["-MlnH"]).output().unwrap();
    let listening = String::from_utf8(listening.stdout).unwrap();
    assert!(listening.contains(&format!(":{} ", tunnel.address("web").port())), "{listening}");
}

#[test]
fn limits_and_options_beside_everything_plain_change_nothing_for_others() {
    // A service without any of it beside one with all of it, in one process.
    let backend = Backend::echo(Listening::default());
    let accept = format!("address = \"127.0.0.1:0\", socket = {{ {ACCEPT} }}");
    let more = service("told", &accept, &format!("address = \"{}\"", backend.address()));
    let tunnel = Tunnel::start_with(&(plain("web", backend.address()) + &more), Options::default());
    echo(&mut Peer::plain(tunnel.address("web")), b"x");
    let port = tunnel.address("web").port();
    let listening = Command::new("ss").args(["-ltnH", &format!("sport = :{port}")]).output().unwrap();
    let listening = String::from_utf8(listening.stdout).unwrap();
    assert_eq!(listening.split_whitespace().nth(2), Some("4096"), "{listening}");
}
