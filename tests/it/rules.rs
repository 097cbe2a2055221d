// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules: who is refused, in which order, at which moment; limits per source and what they remember. Row 86 of the known
//! failures of the field: a full table that fails open, IPv6 sources counted one address at a time.
//!
//! Sources are addresses of the loopback network, or those that a PROXY header names.

use crate::harness::{Backend, End, Listening, Options, Peer, Pki, Rig, Sides, TlsClient, Tunnel, wait_for};
use crate::program::echo;
use crate::proxy_protocol::{TAKES, service, taking};
use crate::reload::reload_well;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;

/// A connection from `source`, an address of the loopback network.
fn socket_from(source: &str, to: SocketAddr) -> TcpStream {
    let SocketAddr::V4(to) = to else { panic!("{to} is not IPv4") };
    let source = SocketAddrV4::new(source.parse::<Ipv4Addr>().unwrap(), 0);
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrIn::from(source)).unwrap();
    connect(fd.as_raw_fd(), &SockaddrIn::from(to)).unwrap();
    TcpStream::from(fd)
}

fn from(source: &str, to: SocketAddr) -> Peer {
    Peer::from_socket(socket_from(source, to))
}

/// A connection whose PROXY header names `source` as the client.
fn behind_proxy(source: &str, to: SocketAddr) -> Peer {
    let (family, own) =
        if source.contains(':') { ("TCP6", "2001:db8:ffff::1") } else { ("TCP4", "198.51.100.1") };
    let mut peer = Peer::plain(to);
    peer.send(format!("PROXY {family} {source} {own} 1024 443\r\n").as_bytes());
    peer
}

/// Whether the connection ends without a byte for it.
fn is_refused(peer: &mut Peer) -> bool {
    let (bytes, end) = peer.receive_all();
    assert!(bytes.is_empty() && end != End::Silence, "{bytes:?}, {end:?}");
    true
}

#[track_caller]
fn served(mut peer: Peer) -> Peer {
    echo(&mut peer, b"served");
    peer
}

#[track_caller]
fn refused(mut peer: Peer) -> Peer {
    assert!(is_refused(&mut peer));
    peer
}

/// A plain service with rules, in front of an echo.
fn ruled(rules: &str) -> (Tunnel, Backend<u64>, SocketAddr) {
    let backend = Backend::echo(Listening::default());
    let tunnel = Tunnel::start(&service("", "", backend.address(), rules));
    let address = tunnel.address("web");
    (tunnel, backend, address)
}

#[test]
fn networks_of_a_rule_come_from_the_configuration_and_from_files() {
    let files = tempfile::tempdir().unwrap();
    let list = files.path().join("bad.txt");
    fs::write(&list, "# comment\n\n127.0.1.0/24 # these\n127.0.2.7\n2001:db8::/32").unwrap();
    let (tunnel, backend, address) = ruled(&format!(
        "[[service.rule]]\nname = \"bad\"\nsource = [\"127.0.0.2\", \"file:{}\"]\naction = \"reject\"",
        list.display()
    ));
    for source in ["127.0.0.1", "127.0.0.3", "127.0.2.6", "127.0.2.8"] {
        served(from(source, address));
    }
    for source in ["127.0.0.2", "127.0.1.1", "127.0.1.255", "127.0.2.7"] {
        refused(from(source, address));
    }
    let lines = tunnel.wait_closed(8);
    let rejected: Vec<_> = lines.iter().filter(|line| line.get("reason") == "rejected").collect();
    assert_eq!(rejected.len(), 4);
    assert!(rejected.iter().all(|line| line.text.contains("bad")), "the rule is told: {rejected:?}");
    assert_eq!(backend.accepted(), 4, "who is refused reaches no server");
    // A file is read when the configuration is.
    fs::write(&list, "127.0.0.1\n").unwrap();
    served(from("127.0.0.1", address));
    reload_well(&tunnel);
    refused(from("127.0.0.1", address));
    served(from("127.0.2.7", address));
}

#[test]
fn the_first_rule_that_matches_wins() {
    let accept = "[[service.rule]]\nsource = [\"127.0.0.3\"]\naction = \"accept\"\n";
    let drop = "[[service.rule]]\nsource = [\"127.0.0.0/8\"]\naction = \"drop\"\n";
    let (tunnel, _backend, address) = ruled(&[accept, drop].concat());
    served(from("127.0.0.3", address));
    let dropped = from("127.0.0.1", address);
    assert!(tunnel.wait_reason("dropped").text.contains("rule-2"));
    drop_quietly(dropped);
    let (tunnel, _backend, address) = ruled(&[drop, accept].concat());
    drop_quietly(from("127.0.0.3", address));
    assert!(tunnel.wait_reason("dropped").text.contains("rule-1"));
}

/// Lets go of a connection that the other side has forgotten without a word.
fn drop_quietly(peer: Peer) {
    peer.reset();
}

#[test]
fn connections_beyond_the_limit_are_refused_until_one_ends() {
    let (tunnel, _backend, address) =
        ruled("[[service.rule]]\nlimit = { connections = 2 }\naction = \"reject\"");
    let (first, _second) = (served(from("127.0.0.1", address)), served(from("127.0.0.1", address)));
    refused(from("127.0.0.1", address));
    served(from("127.0.0.2", address));
    tunnel.wait_closed(2);
    drop(first);
    tunnel.wait_closed(3);
    served(from("127.0.0.1", address));
}

#[test]
fn every_worker_counts_in_the_same_table() {
    const MOST: usize = 10;
    let backend = Backend::echo(Listening::default());
    let rules = format!("[[service.rule]]\nlimit = {{ connections = {MOST} }}\naction = \"reject\"");
    let tunnel =
        Tunnel::start_with(&service("", "", backend.address(), &rules), Options::global("workers = 4"));
    let address = tunnel.address("web");
    for round in 1..=5 {
        let _inside: Vec<_> = (0..MOST).map(|_| served(from("127.0.0.1", address))).collect();
        for _ in 0..MOST {
            refused(from("127.0.0.1", address));
        }
        drop(_inside);
        tunnel.wait_closed(round * 2 * MOST);
    }
}

#[test]
fn connections_beyond_the_rate_are_refused() {
    let (_tunnel, _backend, address) =
        ruled("[[service.rule]]\nlimit = { rate = \"3/1h\" }\naction = \"reject\"");
    for _ in 0..3 {
        served(from("127.0.0.1", address));
    }
    for _ in 0..3 {
        refused(from("127.0.0.1", address));
    }
    served(from("127.0.0.2", address));
}

#[test]
fn a_rate_that_has_leaked_away_lets_the_source_in_again() {
    let (_tunnel, _backend, address) =
        ruled("[[service.rule]]\nlimit = { rate = \"1/300ms\" }\naction = \"reject\"");
    served(from("127.0.0.1", address));
    wait_for("the source to be let in again", || {
        let mut peer = from("127.0.0.1", address);
        peer.try_send(b"x").is_ok() && peer.read(&mut [0; 1]).is_ok()
    });
}

#[test]
fn a_source_whose_handshakes_fail_is_refused() {
    let rules = "[[service.rule]]\nlimit = { handshake_failures = \"2/1h\" }\naction = \"reject\"";
    let rig = Rig::<u64>::echo(Sides::Terminate, rules);
    let client = TlsClient::new(&rig.pki);
    for failures in 1..=2 {
        echo(&mut client.connect_over(socket_from("127.0.0.1", rig.address())).unwrap(), b"in");
        let mut garbage = from("127.0.0.1", rig.address());
        garbage.send(b"GET / HTTP/1.1\r\n\r\n");
        garbage.receive_all();
        rig.tunnel.wait_closed(2 * failures);
    }
    assert!(client.connect_over(socket_from("127.0.0.1", rig.address())).is_err());
    rig.tunnel.wait_reason("rejected");
    echo(&mut client.connect_over(socket_from("127.0.0.2", rig.address())).unwrap(), b"others");
}

#[test]
fn a_source_that_moves_too_much_is_ended_and_refused() {
    let (tunnel, _backend, address) =
        ruled("[[service.rule]]\nname = \"heavy\"\nlimit = { bytes = \"64KiB/1h\" }\naction = \"reject\"");
    let mut peer = from("127.0.0.1", address);
    echo(&mut peer, &[7; 16 * 1024]);
    let mut other = served(from("127.0.0.2", address));
    // 32 KiB have been moved, both ways together; this is more than what is left.
    let _until_it_ends = peer.try_send(&[7; 512 * 1024]);
    let (_, end) = peer.receive_all();
    assert_ne!(end, End::Silence);
    assert!(tunnel.wait_reason("rejected").text.contains("heavy"));
    refused(from("127.0.0.1", address));
    echo(&mut other, b"other sources go on");
}

#[test]
fn a_limit_on_bytes_suspends_the_rules_behind_it_until_the_relay() {
    let (tunnel, backend, address) = ruled(
        "[[service.rule]]\nlimit = { bytes = \"64KiB/1h\" }\naction = \"reject\"\n\
         [[service.rule]]\nname = \"late\"\nsource = [\"127.0.0.2\"]\naction = \"reject\"",
    );
    served(from("127.0.0.1", address));
    refused(from("127.0.0.2", address));
    assert!(tunnel.wait_reason("rejected").text.contains("late"));
    wait_for("the server to have been reached before", || backend.accepted() == 2);
}

#[test]
fn a_source_of_ipv6_is_a_network_of_64_bits() {
    let rule = "[[service.rule]]\nlimit = { connections = 1 }\naction = \"reject\"";
    let (tunnel, _backend) = taking(rule);
    let address = tunnel.address("web");
    let _first = served(behind_proxy("2001:db8::1", address));
    refused(behind_proxy("2001:db8::ffff:0:0:1", address));
    let _second = served(behind_proxy("2001:db8:0:1::1", address));
    let _third = served(behind_proxy("192.0.2.1", address));
    refused(behind_proxy("::ffff:192.0.2.1", address));
    let _fourth = served(behind_proxy("192.0.2.2", address));
    let wide = rule.replace("connections = 1", "connections = 1, prefix_v4 = 24, prefix_v6 = 128");
    let (tunnel, _backend) = taking(&wide);
    let address = tunnel.address("web");
    let _first = served(behind_proxy("2001:db8::1", address));
    let _second = served(behind_proxy("2001:db8::2", address));
    let _third = served(behind_proxy("192.0.2.1", address));
    refused(behind_proxy("192.0.2.2", address));
}

#[test]
fn a_full_table_refuses() {
    let (tunnel, _backend) =
        taking("[[service.rule]]\nlimit = { connections = 5, sources = 2 }\naction = \"reject\"");
    let address = tunnel.address("web");
    let first = served(behind_proxy("192.0.2.1", address));
    let _second = served(behind_proxy("192.0.2.2", address));
    refused(behind_proxy("192.0.2.3", address));
    let _again = served(behind_proxy("192.0.2.2", address));
    tunnel.wait_closed(1);
    drop(first);
    tunnel.wait_closed(2);
    served(behind_proxy("192.0.2.3", address));
}

#[test]
fn no_later_rule_wins_while_one_waits_for_the_name() {
    let rules = "[[service.rule]]\nsni = [\"bad.test\"]\naction = \"reject\"\n\
                 [[service.rule]]\nsource = [\"127.0.0.1\"]\naction = \"accept\"\n\
                 [[service.rule]]\nname = \"rest\"\naction = \"reject\"";
    let rig = Rig::<u64>::echo(Sides::Terminate, rules);
    let client = TlsClient::new(&rig.pki);
    echo(&mut client.connect_over(socket_from("127.0.0.1", rig.address())).unwrap(), b"accepted");
    assert!(client.connect_over(socket_from("127.0.0.2", rig.address())).is_err());
    assert!(rig.tunnel.wait_reason("rejected").text.contains("rest"));
    let bad = TlsClient::new(&rig.pki).named("BAD.test");
    assert!(bad.connect_over(socket_from("127.0.0.1", rig.address())).is_err());
    let lines = rig.tunnel.wait_closed(3);
    assert!(lines.iter().any(|line| line.text.contains("rule-1")), "{lines:?}");
    assert_eq!(rig.backend.accepted(), 1);
}

#[test]
fn a_certificate_is_judged_after_the_handshake_and_before_the_server() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tls = format!(
        ", tls = {{ {}, client_ca = \"{}\", verify = \"optional\" }}",
        pki.server.toml(),
        pki.ca.display()
    );
    let rules = "[[service.rule]]\nclient_certificate = { present = true, cn = [\"good*\"] }\naction = \"accept\"\n\
                 [[service.rule]]\nname = \"rest\"\naction = \"reject\"";
    let tunnel = Tunnel::start(&service(&tls, "", backend.address(), rules));
    let good = TlsClient::certified(&pki, &pki.issue("good", &["good.test"]));
    let other = TlsClient::certified(&pki, &pki.issue("other", &["other.test"]));
    echo(&mut good.connect(tunnel.address("web")).unwrap(), b"accepted");
    for client in [other, TlsClient::new(&pki)] {
        // With TLS 1.3 the client's handshake is done before the server knows the certificate.
        let mut peer = client.connect(tunnel.address("web")).unwrap();
        assert!(is_refused(&mut peer));
    }
    let lines = tunnel.wait_closed(3);
    assert_eq!(lines.iter().filter(|line| line.text.contains("rest")).count(), 2, "{lines:?}");
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_peer_is_judged_before_its_header_and_the_client_after_it() {
    let (tunnel, backend) = taking(
        "[[service.rule]]\nname = \"bad\"\nsource = [\"127.0.0.2\", \"192.0.2.0/24\"]\naction = \"reject\"",
    );
    let address = tunnel.address("web");
    served(behind_proxy("198.51.100.7", address));
    // The peer itself, which has not said a word.
    refused(from("127.0.0.2", address));
    refused(behind_proxy("192.0.2.1", address));
    refused(behind_proxy("127.0.0.2", address));
    tunnel.wait_closed(4);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn accepting_a_peer_accepts_none_of_its_clients() {
    let (tunnel, backend) = taking(
        "[[service.rule]]\nsource = [\"127.0.0.1\", \"192.0.2.1\"]\naction = \"accept\"\n\
         [[service.rule]]\nname = \"rest\"\nsource = [\"0.0.0.0/0\"]\naction = \"reject\"",
    );
    let address = tunnel.address("web");
    served(behind_proxy("192.0.2.1", address));
    refused(behind_proxy("192.0.2.2", address));
    refused(from("127.0.0.2", address));
    tunnel.wait_closed(3);
    assert_eq!(backend.accepted(), 1);
}

#[test]
fn a_reload_forgets_nothing_that_is_counted_in_the_same_way() {
    let backend = Backend::echo(Listening::default());
    let with = |limit: &str| {
        let rule = format!("[[service.rule]]\nname = \"flood\"\nlimit = {{ {limit} }}\naction = \"reject\"");
        service(TAKES, "", backend.address(), &rule)
    };
    let tunnel = Tunnel::start(&with("connections = 1, rate = \"3/1h\""));
    let address = tunnel.address("web");
    let _first = served(behind_proxy("192.0.2.1", address));
    reload_well(&tunnel);
    refused(behind_proxy("192.0.2.1", address));
    // More connections are allowed, and those there are still count; so does the rate.
    tunnel.rewrite(&with("connections = 2, rate = \"3/1h\""));
    reload_well(&tunnel);
    let second = served(behind_proxy("192.0.2.1", address));
    refused(behind_proxy("192.0.2.1", address));
    tunnel.wait_closed(2);
    drop(second);
    tunnel.wait_closed(3);
    drop(served(behind_proxy("192.0.2.1", address)));
    tunnel.wait_closed(4);
    refused(behind_proxy("192.0.2.1", address));
    // Another rate is another table.
    tunnel.rewrite(&with("connections = 2, rate = \"4/1h\""));
    reload_well(&tunnel);
    served(behind_proxy("192.0.2.1", address));
}
