// SPDX-License-Identifier: MIT OR Apache-2.0
//! Several servers: who gets the next connection, who waits while all are full, and what becomes of clients when servers
//! go, hang, refuse or flap.

use crate::control_socket::ask;
use crate::harness::{
    Backend, BlackHole, End, Listening, Options, Peer, Pki, TlsClient, Tunnel, full, refusing, wait_for,
};
use crate::reload::reload_well;
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A server that says its letter to everybody, and echoes what follows.
fn lettered(letter: u8) -> Backend<u64> {
    Backend::start(Listening::default(), move |peer| tell(peer, letter))
}

/// The letter, then an echo.
fn tell(mut peer: Peer, letter: u8) -> u64 {
    // The client may have gone: what it was told is for it to check.
    let _told = peer.try_send(&[letter]);
    crate::harness::echo(peer)
}

/// One that speaks TLS.
fn lettered_tls(letter: u8, pki: &Pki) -> Backend<u64> {
    Backend::start(Listening::tls(&pki.server), move |peer| tell(peer, letter))
}

/// A service called "farm" with these servers, each an address and further keys.
fn farm(lines: &str, servers: &[(SocketAddr, &str)]) -> String {
    let mut text = format!("[[service]]\nname = \"farm\"\naccept = \"127.0.0.1:0\"\n{lines}\n");
    for (address, keys) in servers {
        writeln!(text, "[[service.server]]\naddress = \"{address}\"\n{keys}").unwrap();
    }
    text
}

/// A client and the letter of the server it got.
fn served(tunnel: &Tunnel) -> (Peer, u8) {
    let mut client = Peer::plain(tunnel.address("farm"));
    let letter = client.receive(1)[0];
    (client, letter)
}

/// How many of so many clients, one after the other, got each of the letters "abc".
fn shares(tunnel: &Tunnel, clients: usize) -> [usize; 3] {
    let mut shares = [0; 3];
    for _ in 0..clients {
        let (mut client, letter) = served(tunnel);
        shares[usize::from(letter - b'a')] += 1;
        client.half_close();
        assert_eq!(client.receive_all().1, End::Clean);
    }
    shares
}

#[test]
fn turns_go_round_by_weight_over_all_workers() {
    let servers = [lettered(b'a'), lettered(b'b'), lettered(b'c')];
    let keys = ["weight = 1", "weight = 2", "weight = 5"];
    let list: Vec<_> = servers.iter().map(Backend::address).zip(keys).collect();
    let tunnel = Tunnel::start_with(&farm("balance = \"roundrobin\"", &list), Options::global("workers = 4"));
    assert_eq!(shares(&tunnel, 80), [10, 20, 50]);
}

#[test]
fn the_fewest_connections_are_counted_over_all_workers() {
    let servers = [lettered(b'a'), lettered(b'b'), lettered(b'c')];
    let list: Vec<_> = servers.iter().map(|server| (server.address(), "")).collect();
    let tunnel = Tunnel::start_with(&farm("balance = \"leastconn\"", &list), Options::global("workers = 4"));
    let mut held: Vec<(Peer, u8)> = (0..30).map(|_| served(&tunnel)).collect();
    let of = |held: &[(Peer, u8)], letter| held.iter().filter(|(_, got)| *got == letter).count();
    assert_eq!([b'a', b'b', b'c'].map(|letter| of(&held, letter)), [10, 10, 10]);
    // Those of one server go: the next ten are its.
    let before = tunnel.wait_closed(0).len();
    held.retain(|(_, letter)| *letter != b'b');
    tunnel.wait_closed(before + 10);
    let next: Vec<(Peer, u8)> = (0..10).map(|_| served(&tunnel)).collect();
    assert_eq!(of(&next, b'b'), 10);
}

#[test]
fn a_client_address_keeps_its_server_and_moves_only_when_that_goes() {
    let servers = [lettered(b'a'), lettered(b'b'), lettered(b'c')];
    let list: Vec<_> = servers.iter().map(|server| (server.address(), "")).collect();
    let tunnel = Tunnel::start_with(&farm("balance = \"source\"", &list), Options::global("workers = 2"));
    let address = tunnel.address("farm");
    let who = |host: u8| {
        let from = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 1, host)), 0);
        let mut client = Peer::from_socket(connect_from(from, address));
        client.receive(1)[0]
    };
    let first: Vec<u8> = (1..=60).map(who).collect();
    assert_eq!((1..=60).map(who).collect::<Vec<_>>(), first, "a second connection");
    assert!([b'a', b'b', b'c'].iter().all(|letter| first.contains(letter)), "{first:?}");
    // The second server goes: its clients move, and nobody else.
    tunnel.rewrite(&farm("balance = \"source\"", &[list[0], list[2]]));
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    for (host, (before, after)) in (1..=60).zip(first.iter().zip((1..=60).map(who))) {
        assert!(after == *before || *before == b'b', "host {host} moved from {before} to {after}");
        assert_ne!(after, b'b');
    }
}

fn connect_from(from: SocketAddr, to: SocketAddr) -> TcpStream {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None).unwrap();
    bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).unwrap();
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to)).unwrap();
    TcpStream::from(fd)
}

#[test]
fn a_name_keeps_its_server() {
    let pki = Pki::new();
    let servers = [lettered(b'a'), lettered(b'b'), lettered(b'c')];
    let list: Vec<_> = servers.iter().map(|server| (server.address(), "")).collect();
    let text = farm("balance = \"sni\"\npeek = \"tls\"", &list);
    let tls = format!("accept = {{ address = \"127.0.0.1:0\", tls = {{ {} }} }}", pki.server.toml());
    let tunnel = Tunnel::start(&text.replace("accept = \"127.0.0.1:0\"", &tls));
    let who = |number: usize| {
        let client = TlsClient::with(&pki, |builder| builder.set_verify(openssl::ssl::SslVerifyMode::NONE));
        let mut client = client.named(&format!("n{number}.example")).connect(tunnel.address("farm")).unwrap();
        client.receive(1)[0]
    };
    let first: Vec<u8> = (0..20).map(who).collect();
    assert_eq!((0..20).map(who).collect::<Vec<_>>(), first);
    assert!([b'a', b'b', b'c'].iter().all(|letter| first.contains(letter)), "{first:?}");
}

#[test]
fn a_backup_serves_while_nobody_else_can() {
    let (backup, primary) = (lettered(b'b'), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = primary.local_addr().unwrap();
    drop(primary);
    let servers = [(backup.address(), "backup = true"), (address, "")];
    let tunnel = Tunnel::start(&farm("", &servers));
    assert_eq!(served(&tunnel).1, b'b');
    // As soon as the other one is there, it serves.
    let listener = TcpListener::bind(address).unwrap();
    let _primary = Backend::serve_on(listener, Listening::default(), |peer| tell(peer, b'a'));
    wait_for("the first server to serve again", || served(&tunnel).1 == b'a');
}

#[test]
fn who_finds_every_server_full_waits_in_line() {
    let servers = [lettered(b'a'), lettered(b'b')];
    let list: Vec<_> = servers.iter().map(|server| (server.address(), "max_connections = 1")).collect();
    let text = farm("queue = { length = 3, timeout = \"1h\" }", &list);
    let text = format!("[control]\nsocket = \"control\"\n{text}");
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 4"));
    let mut closed = 0;
    for _ in 0..full(50, 8) {
        let ((first, a), (second, b)) = (served(&tunnel), served(&tunnel));
        assert_eq!([a, b], [b'a', b'b']);
        let mut waiting = Vec::new();
        for count in 1..=3 {
            waiting.push(Peer::plain(tunnel.address("farm")));
            wait_for("the line", || in_line(&tunnel) == count);
        }
        // One more has no room even in the line.
        assert!(is_let_down(&tunnel));
        assert!(tunnel.wait_reason("servers-full").get("error").contains("too many wait already"));
        drop(first);
        // Each has the place that the one before it leaves, and none comes before its turn.
        while let Some(place) = wait_readable(&waiting) {
            assert_eq!((place, waiting.remove(0).receive(1)), (0, b"a".to_vec()));
        }
        drop(second);
        closed += 6;
        tunnel.wait_closed(closed);
        assert_eq!(in_line(&tunnel), 0);
    }
}

/// A line forms while one server is full and the other one is paused: when that is well again, its trial is for one of those
/// who wait, and not lost on their looking for a place.
#[test]
fn who_waits_gets_the_trial_of_a_paused_server() {
    let (full, lost) = (lettered(b'a'), TcpListener::bind("127.0.0.1:0").unwrap());
    let address = lost.local_addr().unwrap();
    drop(lost);
    let list = [(full.address(), "max_connections = 1"), (address, "")];
    let lines = "queue = { timeout = \"1h\" }\npassive = { fails = 1, pause = \"100ms\" }";
    let tunnel = Tunnel::start(&format!("[control]\nsocket = \"control\"\n{}", farm(lines, &list)));
    let (_held, _) = served(&tunnel);
    // The first of them has tried it, and can only wait for the other one.
    let mut waiting: Vec<Peer> = Vec::new();
    for count in 1..=3 {
        waiting.push(Peer::plain(tunnel.address("farm")));
        wait_for("the line", || in_line(&tunnel) == count);
    }
    let listener = TcpListener::bind(address).unwrap();
    let _again = Backend::serve_on(listener, Listening::default(), |peer| tell(peer, b'b'));
    for client in &mut waiting[1..] {
        assert_eq!(client.receive(1), b"b");
    }
}

/// A reload changes nothing for who waits: the line goes on, and so does what it counts.
#[test]
fn who_waits_goes_on_waiting_over_a_reload() {
    let server = lettered(b'a');
    let list = [(server.address(), "max_connections = 1")];
    let text = farm("queue = { length = 1, timeout = \"1h\" }", &list);
    let text = format!("[control]\nsocket = \"control\"\n{text}");
    let tunnel = Tunnel::start(&text);
    let (held, _) = served(&tunnel);
    let mut waiting = Peer::plain(tunnel.address("farm"));
    wait_for("the line", || in_line(&tunnel) == 1);
    reload_well(&tunnel);
    assert!(is_let_down(&tunnel));
    assert!(tunnel.wait_reason("servers-full").get("error").contains("too many wait already"));
    drop(held);
    assert_eq!(waiting.receive(1), b"a");
}

/// A client that goes while it waits leaves its place in the line to another, and no server hears of it.
#[test]
fn who_goes_while_it_waits_leaves_the_line() {
    let server = lettered(b'a');
    let list = [(server.address(), "max_connections = 1")];
    let text = farm("queue = { length = 1, timeout = \"1h\" }", &list);
    let tunnel = Tunnel::start(&format!("[control]\nsocket = \"control\"\n{text}"));
    let (held, _) = served(&tunnel);
    for _ in 0..3 {
        let waiting = Peer::plain(tunnel.address("farm"));
        wait_for("the line", || in_line(&tunnel) == 1);
        waiting.reset();
        wait_for("the line to be empty", || in_line(&tunnel) == 0);
        tunnel.wait_reason("client-reset");
    }
    // One that has only said all it has to say still waits.
    let mut waiting = Peer::plain(tunnel.address("farm"));
    waiting.half_close();
    wait_for("the line", || in_line(&tunnel) == 1);
    drop(held);
    assert_eq!(waiting.receive_all(), (b"a".to_vec(), End::Clean));
}

/// Whether a client that comes now is let down.
fn is_let_down(tunnel: &Tunnel) -> bool {
    // The reset may be there before we look.
    Peer::try_plain(tunnel.address("farm")).map_or(true, |mut client| client.receive_all().1.is_broken())
}

/// How many wait for a server.
fn in_line(tunnel: &Tunnel) -> usize {
    ask(&tunnel.dir().join("control"), "show connections json").matches("\"a server with room\"").count()
}

/// The place of one that has something to read; nothing: none is left.
fn wait_readable(clients: &[Peer]) -> Option<usize> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    if clients.is_empty() {
        return None;
    }
    let mut polled: Vec<PollFd<'_>> =
        clients.iter().map(|client| PollFd::new(client.socket().as_fd(), PollFlags::POLLIN)).collect();
    assert!(poll(&mut polled, PollTimeout::from(20_000_u16)).unwrap() > 0, "nobody is served");
    polled.iter().position(|one| one.any().unwrap_or_default())
}

#[test]
fn nobody_waits_for_longer_than_is_said() {
    let server = lettered(b'a');
    let text = farm("queue = { timeout = \"100ms\" }", &[(server.address(), "max_connections = 1")]);
    let tunnel = Tunnel::start(&text);
    let (_held, _) = served(&tunnel);
    assert!(is_let_down(&tunnel));
    let line = tunnel.wait_reason("servers-full");
    assert_eq!(line.get("error"), "none became free in time", "{}", line.text);
}

/// Clients that give up while they wait leave nothing behind that others would wait for.
#[test]
fn those_who_leave_the_line_hold_nobody_up() {
    let server = lettered(b'a');
    let list = [(server.address(), "max_connections = 1")];
    let text = farm("queue = { length = 4, timeout = \"1h\" }", &list);
    let text = format!("[control]\nsocket = \"control\"\n{text}");
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 2"));
    let mut closed = 0;
    for _ in 0..full(50, 6) {
        let (held, _) = served(&tunnel);
        let waiting: Vec<Peer> = (0..3).map(|_| Peer::plain(tunnel.address("farm"))).collect();
        let mut last = Peer::plain(tunnel.address("farm"));
        wait_for("the line", || in_line(&tunnel) == 4);
        for client in waiting {
            client.reset();
        }
        drop(held);
        assert_eq!(last.receive(1), b"a");
        drop(last);
        closed += 5;
        tunnel.wait_closed(closed);
    }
}

#[test]
fn a_server_that_fails_in_its_handshake_is_given_up_for_another() {
    let (pki, others) = (Pki::new(), Pki::named("Other Authority"));
    let good = lettered_tls(b'a', &pki);
    let stranger = Backend::echo(Listening::tls(&others.server));
    let rude = Backend::start(Listening::default(), Peer::reset);
    // Its connections are taken by the kernel, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let hole = BlackHole::new();
    let tls = format!("connect = {{ tls = {{ ca = \"{}\" }} }}", pki.ca.display());
    for (bad, reason) in [
        (stranger.address(), "certificate"),
        (rude.address(), "closed"),
        (silent.local_addr().unwrap(), "time"),
        (refusing(), "refused"),
        (hole.address(), "time"),
    ] {
        let lines = format!("{tls}\ntimeout = {{ handshake = \"300ms\", connect = \"300ms\" }}");
        let text = farm(&lines, &[(bad, "name = \"bad\""), (good.address(), "name = \"good\"")]);
        let text = format!("[control]\nsocket = \"control\"\n{text}");
        let tunnel = Tunnel::start(&text);
        let (mut client, letter) = served(&tunnel);
        client.send(b"on it goes");
        assert_eq!((letter, client.receive(10)), (b'a', b"on it goes".to_vec()), "{reason}");
        let servers = ask(&tunnel.dir().join("control"), "show servers json");
        assert!(servers.contains("\"connect_errors\":1"), "{reason}: {servers}");
        // With no more attempts allowed it is the client that is let down.
        tunnel.rewrite(&text.replace(&lines, &format!("{lines}\nretries = 0")));
        tunnel.signal(Signal::SIGHUP);
        tunnel.wait_log("the reload", |line| line.is("reload-done"));
        assert!(is_let_down(&tunnel), "{reason}");
    }
}

/// Servers are stopped, refuse and flap while thousands of clients come; one stays.
#[test]
fn no_client_sees_what_another_server_could_have_prevented() {
    let steady = lettered(b'a');
    let flapping = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hole = BlackHole::new();
    let servers =
        [(flapping, ""), (refusing(), ""), (hole.address(), "weight = 1"), (steady.address(), "weight = 2")];
    let text = farm("balance = \"roundrobin\"\ntimeout = { connect = \"100ms\" }", &servers);
    let tunnel = Tunnel::start_with(&text, Options::global("workers = 2"));
    let (over, flaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let flapper = std::thread::spawn({
        let (over, flaps) = (Arc::clone(&over), Arc::clone(&flaps));
        move || {
            while !over.load(Ordering::SeqCst) {
                let Ok(listener) = TcpListener::bind(flapping) else { continue };
                let backend = Backend::serve_on(listener, Listening::default(), |peer| tell(peer, b'b'));
                let before = backend.accepted();
                wait_for("a client, or the end", || {
                    backend.accepted() > before || over.load(Ordering::SeqCst)
                });
                flaps.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    let clients = full(2000, 400);
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let address = tunnel.address("farm");
            std::thread::spawn(move || {
                let mut letters = [0_usize; 2];
                for _ in 0..clients / 8 {
                    let Ok(mut client) = Peer::try_plain(address) else { continue };
                    let mut letter = [0];
                    match client.read(&mut letter) {
                        Ok(1) => letters[usize::from(letter[0] - b'a')] += 1,
                        // It was connected to when its server went: nothing could have prevented that.
                        other => assert!(matches!(other, Err(End::Reset | End::Clean)), "{other:?}"),
                    }
                }
                letters
            })
        })
        .collect();
    let letters = threads.into_iter().map(|thread| thread.join().unwrap());
    let letters = letters.fold([0, 0], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
    over.store(true, Ordering::SeqCst);
    flapper.join().unwrap();
    let closed = tunnel.wait_closed(clients);
    let failed =
        closed.iter().filter(|line| ["connect-failed", "connect-timeout"].contains(&line.get("reason")));
    assert_eq!(failed.count(), 0, "{letters:?}");
    assert!(letters[0] > clients / 4 && flaps.load(Ordering::SeqCst) > 0, "{letters:?}");
}
