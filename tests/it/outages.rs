// SPDX-License-Identifier: MIT OR Apache-2.0
//! Outages as networks and machines have them: servers that are killed, stopped, black-holed, refusing or flapping, and a name
//! server that nobody reaches any more, each test in a network of its own.

use crate::control_socket::ask;
use crate::harness::{
    Backend, Line, Listening, NameServer, Nginx, Options, OwnNetwork, Peer, Pki, Tunnel, full, refusing,
    wait_for, wait_up_to,
};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// Clients at a time.
const AT_ONCE: usize = 16;

/// How long all of them may take.
const LONG: Duration = Duration::from_secs(100);

/// A web server with TLS whose file "name" says who it is.
fn web(letter: u8, pki: &Pki) -> Nginx {
    let server = Nginx::start(Some(&pki.server));
    server.put("name", &[letter]);
    server
}

/// Servers with TLS in turn, sooner given up than by default.
fn farm(pki: &Pki, servers: &[SocketAddr]) -> String {
    let mut text = format!(
        "[control]\nsocket = \"control\"\n[[service]]\nname = \"farm\"\naccept = \"127.0.0.1:0\"\n\
         connect = {{ tls = {{ ca = \"{}\" }} }}\nbalance = \"roundrobin\"\n\
         timeout = {{ connect = \"500ms\", handshake = \"2s\", idle = \"3s\" }}\n",
        pki.ca.display()
    );
    for address in servers {
        writeln!(text, "[[service.server]]\naddress = \"{address}\"").unwrap();
    }
    text
}

/// Who answers a request: the last byte of what comes.
fn fetch(address: SocketAddr) -> Option<u8> {
    let mut client = Peer::try_plain(address).ok()?;
    // Whoever is let down may be so before it has asked.
    let _asked = client.try_send(b"GET /name HTTP/1.0\r\n\r\n");
    client.receive_all().0.pop()
}

/// Comes and goes at `address`, each time for one client, until it is `over`.
fn flap(address: SocketAddr, pki: &Pki, over: &AtomicBool) -> usize {
    let mut flaps = 0;
    while !over.load(Ordering::SeqCst) {
        let Ok(listener) = TcpListener::bind(address) else { continue };
        let backend = Backend::serve_on(listener, Listening::tls(&pki.server), |mut peer| {
            let mut request = [0; 64];
            // The client may have gone to another one.
            let _asked = peer.read(&mut request);
            let _told = peer.try_send(b"e");
        });
        wait_up_to(LONG, "a client, or the end", || backend.accepted() > 0 || over.load(Ordering::SeqCst));
        flaps += 1;
    }
    flaps
}

/// Clients that come until there were `count`, [`AT_ONCE`] at a time; who was served by whom counts in `served`.
fn clients<'s>(
    scope: &'s Scope<'s, '_>,
    address: SocketAddr,
    count: usize,
    served: &'s [AtomicUsize; 5],
) -> Vec<ScopedJoinHandle<'s, ()>> {
    let one = move || {
        for _ in 0..count / AT_ONCE {
            if let Some(letter) = fetch(address) {
                served[usize::from(letter - b'a')].fetch_add(1, Ordering::SeqCst);
            }
        }
    };
    (0..AT_ONCE).map(|_| scope.spawn(one)).collect()
}

fn sum(served: &[AtomicUsize; 5]) -> usize {
    served.iter().map(|count| count.load(Ordering::SeqCst)).sum()
}

/// A number of the service's own line in `show stat`.
fn figure(tunnel: &Tunnel, column: &str) -> usize {
    let table = ask(&tunnel.dir().join("control"), "show stat");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let index = lines.next().unwrap().iter().position(|name| *name == column).unwrap();
    let line = lines.find(|line| line[0] == "farm" && line[1] == "FRONTEND").unwrap();
    line[index].parse().unwrap()
}

/// No client is let down that another server could have served, except those that had a server when that went.
#[test]
fn servers_go_in_every_way_and_clients_do_not_see_it() {
    let Some(network) = OwnNetwork::new() else { return };
    let pki = Pki::new();
    let [steady, killed, stopped, lost] = [b'a', b'b', b'c', b'd'].map(|letter| web(letter, &pki));
    let flapping = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let servers =
        [steady.address(), killed.address(), stopped.address(), lost.address(), flapping, refusing()];
    let tunnel = Tunnel::start_with(&farm(&pki, &servers), Options::default());
    let count = full(2000, 400);
    let served: [AtomicUsize; 5] = Default::default();
    let over = AtomicBool::new(false);
    let flaps = std::thread::scope(|scope| {
        let flapper = scope.spawn(|| flap(flapping, &pki, &over));
        let clients = clients(scope, tunnel.address("farm"), count, &served);
        let reached = |tenths: usize| {
            wait_up_to(LONG, "clients to be served", || sum(&served) >= count * tenths / 10);
        };
        reached(2);
        killed.signal(Signal::SIGKILL);
        reached(4);
        stopped.signal(Signal::SIGSTOP);
        reached(6);
        network.lose(lost.address());
        reached(8);
        stopped.signal(Signal::SIGCONT);
        network.heal();
        clients.into_iter().for_each(|client| client.join().unwrap());
        over.store(true, Ordering::SeqCst);
        flapper.join().unwrap()
    });
    let closed = tunnel.wait_closed(count);
    let let_down: Vec<&Line> = closed.iter().filter(|line| line.number("out") == 0).collect();
    // Who had sent its request to a server could not be given to another.
    let preventable: Vec<_> = let_down.iter().filter(|line| line.number("in") == 0).collect();
    assert!(preventable.is_empty(), "{preventable:?}");
    // At each of the outages no more than were there at the time, and those whose server flapped.
    assert!(let_down.len() <= 3 * AT_ONCE + flaps, "{} of {count}: {let_down:?}", let_down.len());
    assert_eq!(sum(&served) + let_down.len(), count, "{served:?}");
    assert_eq!((figure(&tunnel, "stot"), figure(&tunnel, "scur")), (count, 0));
    assert!(flaps > 1 && served.iter().all(|one| one.load(Ordering::SeqCst) > 0), "{flaps} {served:?}");
}

/// Rows 101 to 104, where packets are lost and not only answers: a name server lies, is not reached, and changes its mind.
#[test]
fn a_name_server_that_is_lost_takes_nothing_with_it() {
    let Some(network) = OwnNetwork::new() else { return };
    let says = |ip: &str, what: &'static str| {
        let listener = TcpListener::bind((ip, 4000)).unwrap();
        Backend::serve_on(listener, Listening::default(), move |mut peer| peer.send(what.as_bytes()))
    };
    let (_old, _new) = (says("127.0.0.2", "old"), says("127.0.0.3", "new"));
    // The port that everybody expects, which is free here.
    let at = SocketAddr::from(([127, 0, 0, 53], 53));
    let names = NameServer::at(at, |asked| asked.addresses(1, &[[127, 0, 0, 2].into()]));
    let tunnel = Tunnel::start(
        "[resolver]\nservers = [\"127.0.0.53\"]\nmin = \"1s\"\ntimeout = \"300ms\"\n\
         [[service]]\nname = \"web\"\naccept = \"127.0.0.1:0\"\nconnect = \"db.example:4000\"\n",
    );
    let who = || String::from_utf8(Peer::plain(tunnel.address("web")).receive_all().0).unwrap();
    assert_eq!(who(), "old");
    network.lose(at);
    let failed = tunnel.wait_log("that it is lost", |line| line.is("name-failed"));
    assert_eq!(failed.get("state"), "resolved", "{}", failed.text);
    assert_eq!(who(), "old");
    tunnel.signal(Signal::SIGHUP);
    tunnel.wait_log("the reload", |line| line.is("reload-done"));
    assert_eq!(who(), "old");
    // It lies: an answer of another question, then none that is one, then the truth, which is another by now.
    names.change(|asked| {
        let mut answer = asked.addresses(1, &[[127, 0, 0, 4].into()]);
        answer[0] ^= 0xff;
        answer
    });
    network.heal();
    let asked = names.asked().len();
    wait_for("questions that get lies", || names.asked().len() >= asked + 4);
    assert_eq!(who(), "old");
    names.change(|asked| asked.addresses(1, &[[127, 0, 0, 3].into()]));
    tunnel.wait_log("the new address", |line| {
        line.is("name-resolved") && line.get("addresses") == "127.0.0.3:4000"
    });
    assert_eq!(who(), "new");
}
