// SPDX-License-Identifier: MIT OR Apache-2.0
//! `limit` of a service and of a route: connections at once, new connections, bytes, and how long one may live.
//!
//! Rows 60 and 65 of the field's bug list. Bytes are counted, and the time they took is a lower bound: that something was not
//! fast enough is never a failure. Not here: max_connections of the process, and what runs out (`limits.rs`).

use crate::harness::{
    Backend, Duplex, End, Line, Listening, Options, Pattern, Peer, Rig, Sides, TlsClient, Tunnel,
    digest_of_pattern, full, wait_for,
};
use crate::program::{Outcome, Place, echo, plain};
use std::io::{ErrorKind, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const TUNNELCTL: &str = env!("CARGO_BIN_EXE_tunnelctl");

const CONTROL: &str = "[control]\nsocket = \"control.sock\"\n";

/// Connections that the services below let in.
const MOST: usize = 4;

fn ctl(tunnel: &Tunnel, words: &[&str]) -> Outcome {
    let config = tunnel.config_file();
    let mut line = vec!["-c", config.to_str().unwrap()];
    line.extend(words);
    Place::new("").run_program(TUNNELCTL, &line).expect(0)
}

/// A client that got a place, which the last one may still be about to give back.
fn let_in(address: std::net::SocketAddr) -> Peer {
    let mut found = None;
    wait_for("a place", || {
        let mut client = Peer::plain(address);
        let greeted = client.try_send(b"hello").is_ok();
        let mut answer = [0; 5];
        if greeted && client.read(&mut answer) == Ok(5) {
            found = Some(client);
        }
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn who_finds_no_place_is_refused_at_once_and_every_place_comes_back() {
    let rig = Rig::echo(Sides::Plain, &format!("limit = {{ max_connections = {MOST} }}"));
    for round in 0..full(500, 50) {
        let mut clients: Vec<_> = (0..MOST).map(|_| let_in(rig.address())).collect();
        let before = rig.backend.accepted();
        let mut beyond = rig.client();
        assert_eq!(beyond.receive_all(), (Vec::new(), End::Clean), "round {round}");
        assert_eq!(rig.backend.accepted(), before, "the server heard of it");
        clients.iter_mut().for_each(|client| echo(client, b"still served"));
        for (number, client) in clients.into_iter().enumerate() {
            if (round + number) % 2 == 0 { client.reset() } else { drop(client) }
        }
    }
    for event in ["limit-reached", "connection-closed"] {
        let told = |line: &Line| line.is(event) && line.get("reason") == "limit-connections";
        rig.tunnel.wait_log("the reason", told);
    }
}

#[test]
fn a_tls_client_beyond_the_limit_is_told_by_an_alert_before_any_handshake() {
    let rig = Rig::echo(Sides::Terminate, "limit = { max_connections = 1 }");
    let mut first = rig.client();
    echo(&mut first, b"x");
    let failure = TlsClient::new(&rig.pki).connect(rig.address()).unwrap_err();
    assert!(failure.alerted && failure.message.contains("internal error"), "{}", failure.message);
    rig.tunnel.wait_reason("limit-connections");
    echo(&mut first, b"y");
}

#[test]
fn new_connections_beyond_the_rate_are_refused_and_counted_by_cause() {
    let backend = Backend::echo(Listening::default());
    let service = plain("web", backend.address()) + "limit = { rate = \"5/1h\" }\n";
    let tunnel = Tunnel::start(&format!("{CONTROL}{service}"));
    let address = tunnel.address("web");
    (0..5).for_each(|_| echo(&mut Peer::plain(address), b"x"));
    for _ in 0..3 {
        assert_eq!(Peer::plain(address).receive_all(), (Vec::new(), End::Clean));
    }
    let lines = tunnel.wait_closed(8);
    let refused: Vec<_> = lines.iter().filter(|line| line.get("reason") == "limit-rate").collect();
    assert_eq!(refused.len(), 3, "{}", tunnel.log_text());
    assert_eq!(backend.accepted(), 5);
    let errors = ctl(&tunnel, &["errors"]).out;
    assert_eq!(errors.lines().filter(|line| line.contains("limit-rate")).count(), 3, "{errors}");
    assert!(errors.contains("`rate`"), "no hint: {errors}");
    let services = ctl(&tunnel, &["services", "--json"]).out;
    assert!(services.contains("\"limited\":3"), "{services}");
    // What was counted outlives a reload; a rate that has changed begins anew.
    tunnel.signal(nix::sys::signal::Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    assert_eq!(Peer::plain(address).receive_all(), (Vec::new(), End::Clean));
    tunnel.rewrite(&format!("{CONTROL}{}", service.replace("5/1h", "6/1h")));
    tunnel.signal(nix::sys::signal::Signal::SIGHUP);
    wait_for("the second reload", || {
        tunnel.log_lines().iter().filter(|line| line.is("reload-done")).count() == 2
    });
    echo(&mut Peer::plain(tunnel.address("web")), b"x");
}

#[test]
fn a_route_has_limits_of_its_own() {
    let backend = Backend::echo(Listening::default());
    let routes = "limit = { max_connections = 3 }\n[[service.route]]\nhost = [\"a.example\"]\n\
                  limit = { max_connections = 1 }\n[[service.route]]\nhost = [\"b.example\"]\n";
    let tunnel = Tunnel::start(&(plain("web", backend.address()) + routes));
    let client = |host: &str| {
        let mut client = Peer::plain(tunnel.address("web"));
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request.as_bytes());
        (client, request.len())
    };
    let served = |(mut client, count): (Peer, usize)| {
        assert_eq!(client.receive(count).len(), count);
        client
    };
    let first = served(client("a.example"));
    assert_eq!(client("a.example").0.receive_all(), (Vec::new(), End::Clean));
    let line = tunnel.wait_log("the end", |line| line.is("connection-closed"));
    assert_eq!(line.get("reason"), "limit-connections", "{}", line.text);
    assert_eq!(line.get("route"), "a.example", "{}", line.text);
    let others = [served(client("b.example")), served(client("b.example"))];
    // Three are there: now it is the service that has no place.
    assert_eq!(Peer::plain(tunnel.address("web")).receive_all(), (Vec::new(), End::Clean));
    wait_for("the service to refuse", || {
        let refused = |line: &Line| line.is("connection-closed") && line.get("reason") == "limit-connections";
        tunnel.log_lines().iter().any(|line| refused(line) && line.get("route").is_empty())
    });
    drop((first, others));
}

/// Bytes per second of the bandwidths below, and what one may take at once.
const SPEED: u64 = 2_048_000;
const BURST: u64 = 20 << 10;
const RATE: &str = "20KiB/10ms";

const CROWD: usize = 10;

/// `CROWD` clients move bytes in one direction as fast as they may, until all together have moved enough; what each moved.
fn share(sides: Sides, down: bool) {
    let direction = if down { "down" } else { "up" };
    let enough = full(40 << 20, 6 << 20) as u64;
    let (moved, all): (Vec<AtomicU64>, AtomicU64) =
        ((0..CROWD).map(|_| AtomicU64::new(0)).collect(), AtomicU64::new(0));
    let (moved, all) = (&*Box::leak(moved.into_boxed_slice()), &*Box::leak(Box::new(all)));
    // The receiver counts: what it has went through the tunnel.
    let count = move |peer: &mut Peer, number: usize| {
        let mut buffer = vec![0; 16 << 10];
        while all.load(Ordering::Relaxed) < enough {
            let Ok(count) = peer.read(&mut buffer) else { return };
            moved[number].fetch_add(count as u64, Ordering::Relaxed);
            all.fetch_add(count as u64, Ordering::Relaxed);
        }
    };
    let flood = |peer: &mut Peer| {
        let block = vec![7; 16 << 10];
        while peer.try_send(&block).is_ok() {}
    };
    let limit = format!("limit = {{ bandwidth = {{ {direction} = \"{RATE}\" }} }}");
    let rig = Rig::new(sides, &limit, move |mut peer: Peer| {
        // Who it is; until everybody is there nobody begins.
        let number = usize::from(peer.receive(1)[0]);
        if down { flood(&mut peer) } else { count(&mut peer, number) }
    });
    let (barrier, begin) = (Barrier::new(CROWD), std::sync::OnceLock::new());
    std::thread::scope(|scope| {
        for number in 0..CROWD {
            let mut client = rig.client();
            let (barrier, begin) = (&barrier, &begin);
            scope.spawn(move || {
                barrier.wait();
                begin.get_or_init(Instant::now);
                client.send(&[u8::try_from(number).unwrap()]);
                if down {
                    count(&mut client, number)
                } else {
                    flood(&mut client)
                }
                client.reset();
            });
        }
    });
    let (all, elapsed) = (all.load(Ordering::Relaxed), begin.get().unwrap().elapsed().as_secs_f64());
    let allowed = (SPEED as f64 * elapsed).mul_add(1.1, BURST as f64);
    assert!(
        all as f64 <= allowed,
        "{sides:?} {direction}: {all} bytes in {elapsed:.2} s, {allowed:.0} allowed"
    );
    let fair = all / CROWD as u64;
    let shares: Vec<_> = moved.iter().map(|count| count.load(Ordering::Relaxed) * 100 / fair).collect();
    assert!(shares.iter().all(|share| (70..=130).contains(share)), "{sides:?} {direction}: {shares:?} %");
}

#[test]
fn a_bandwidth_is_shared_evenly_by_plain_downloads() {
    share(Sides::Plain, true);
}

#[test]
fn a_bandwidth_is_shared_evenly_by_plain_uploads() {
    share(Sides::Plain, false);
}

#[test]
fn a_bandwidth_is_shared_evenly_by_tls_downloads() {
    share(Sides::Terminate, true);
}

#[test]
fn a_bandwidth_is_shared_evenly_by_tls_uploads() {
    share(Sides::Reencrypt, false);
}

#[test]
fn rationed_bytes_arrive_complete_and_in_order_both_ways() {
    let bytes = full(20 << 20, 2 << 20) as u64;
    for sides in Sides::ALL {
        let limit = format!("limit = {{ connection_bandwidth = {{ up = \"{RATE}\", down = \"{RATE}\" }} }}");
        let rig = Rig::echo(sides, &limit);
        let begin = Instant::now();
        let received = rig.client().duplex(&Duplex::whole(bytes, 5));
        let least = Duration::from_secs_f64((bytes - BURST) as f64 / SPEED as f64 * 0.9);
        assert!(begin.elapsed() >= least, "{sides:?}: {bytes} bytes in {:?}", begin.elapsed());
        assert_eq!((received.bytes, received.end), (bytes, End::Clean), "{sides:?}");
        assert_eq!(received.digest, digest_of_pattern(5, bytes), "{sides:?}");
        rig.tunnel.wait_reason("done");
    }
}

#[test]
fn who_is_kept_waiting_by_us_is_not_idle() {
    let more = "timeout = { idle = \"200ms\", half_close = \"200ms\" }\n\
                limit = { connection_bandwidth = { up = \"1KiB/1s\" } }";
    for sides in [Sides::Plain, Sides::Terminate] {
        let rig = Rig::echo(sides, more);
        let mut client = rig.client();
        let sent = Pattern::bytes(9, 4096);
        client.send(&sent);
        client.half_close();
        assert_eq!(client.receive_all(), (sent, End::Clean), "{sides:?}");
        rig.tunnel.wait_reason("done");
    }
    // And silence that is the peer's own counts as ever.
    let rig = Rig::echo(Sides::Plain, more);
    let mut silent = rig.client();
    echo(&mut silent, b"x");
    rig.tunnel.wait_reason("idle");
}

#[test]
fn a_fast_sender_that_is_throttled_costs_no_more_than_its_buffer() {
    for sides in [Sides::Plain, Sides::Terminate] {
        let more = "buffer = \"64KiB\"\nlimit = { connection_bandwidth = { up = \"1KiB/1s\" } }";
        // What had been accepted of who is gone still goes to the server, at that rate: for minutes.
        let global = "workers = 2\nshutdown_timeout = \"100ms\"";
        let options = Options { idle_check: false, ..Options::global(global) };
        let rig = Rig::with(sides, more, |listening| listening, options, crate::harness::echo);
        let before = rig.tunnel.figures().rss;
        let mut clients: Vec<_> = (0..full(400, 40)).map(|_| rig.client()).collect();
        let block = vec![1; 1 << 20];
        for client in &mut clients {
            client.socket().set_nonblocking(true).unwrap();
            let mut stuck = 0;
            while stuck < 3 {
                let written = match client {
                    Peer::Plain(socket) => socket.write(&block),
                    Peer::Tls(stream) => stream.write(&block),
                };
                match written {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
                    other => drop(other.unwrap()),
                }
            }
        }
        let grown = rig.tunnel.figures().rss.saturating_sub(before);
        // The configured buffer, an incomplete record and TLS; beside that what the workers take once.
        let bound = (64 + 96) * clients.len() as u64 + 4096;
        assert!(grown <= bound, "{sides:?}: {grown} KiB, more than {bound}");
        clients.into_iter().for_each(Peer::reset);
    }
}

/// Long enough for a handshake on a machine that is busy.
const LIFE: Duration = Duration::from_secs(4);

#[test]
fn a_life_ends_in_order_with_what_was_accepted_delivered() {
    let ends = |sides: Sides| {
        let rig = Rig::echo(sides, "limit = { lifetime = \"4s\", lifetime_jitter = \"1s\" }");
        let begin = Instant::now();
        let mut client = rig.client();
        echo(&mut client, b"while it lives");
        let (rest, end) = client.receive_all();
        assert_eq!(rest, b"", "{sides:?}");
        assert!(end.is_broken(), "{sides:?}: what was cut short looks like {end:?}");
        assert!(begin.elapsed() >= LIFE - Duration::from_secs(1), "{sides:?}: {:?}", begin.elapsed());
        rig.tunnel.wait_reason("lifetime");
    };
    // A reader that is behind gets what had been accepted.
    let behind = || {
        let bytes = 4 << 20;
        let rig = Rig::new(Sides::Plain, "limit = { lifetime = \"4s\" }", move |mut peer: Peer| {
            let _cut_short = peer.try_send(&Pattern::bytes(3, bytes));
        });
        let begin = Instant::now();
        let mut client = rig.cramped_client();
        client.receive(100_000);
        wait_for("its life to be over", || begin.elapsed() > LIFE + Duration::from_millis(500));
        let (rest, end) = client.receive_all();
        assert_eq!(rest, Pattern::bytes(3, bytes)[100_000..100_000 + rest.len()]);
        assert!(end.is_broken() && rest.len() > 100_000, "{end:?} after {} bytes", rest.len());
        rig.tunnel.wait_reason("lifetime");
    };
    std::thread::scope(|scope| {
        for sides in Sides::ALL {
            scope.spawn(move || ends(sides));
        }
        scope.spawn(behind);
    });
}
