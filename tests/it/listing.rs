// SPDX-License-Identifier: MIT OR Apache-2.0
//! Listing connections while they come and go: by many readers, some of them slow, some that never ask; while a worker
//! ends in the middle.
//!
//! Who was connected before a listing began and still is when it ends must be told exactly once; nobody twice. That is held
//! against what the clients know of themselves: their own addresses.

use crate::harness::{Options, Peer, Tunnel, full, wait_for, wait_up_to};
use nix::sys::signal::Signal;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// How long a listing may take here: there may be hundreds, of thousands of connections, and the machine may be busy.
const LISTED_WITHIN: Duration = Duration::from_secs(600);

/// Threads that open and close connections as fast as they can.
const CHURNERS: usize = 4;

/// Memory that a reader may cost at most, in KiB: what waits for it, twice, for vectors grow by doubling.
const PER_READER: u64 = 512;

/// What listing may cost beside that, in KiB: the allocator's, and the churn's.
const ALLOWANCE: u64 = 48 * 1024;

/// What `show connections json` answers, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Listing {
    connections: Vec<Row>,
    next: Option<String>,
    silent: Vec<usize>,
}

#[derive(Debug, Deserialize)]
struct Row {
    id: u64,
    worker: usize,
    client: String,
}

/// A tunnel with a control socket, and two services that answer by themselves.
struct Watched {
    tunnel: Tunnel,
    directory: TempDir,
}

impl Watched {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Those who stay say nothing for as long as the readers take.
        let service = |name| {
            format!(
                "[[service]]\nname = \"{name}\"\naccept = \"127.0.0.1:0\"\nmode = \"demo\"\ntimeout = {{ idle = \"1h\" }}\n"
            )
        };
        let config = format!(
            "[control]\nsocket = \"{}\"\n\n{}\n{}",
            directory.path().join("control").display(),
            service("stays"),
            service("churns")
        );
        let options = Options {
            global: "workers = 2\nmax_connections = 15000".to_owned(),
            level: "notice",
            ..Options::default()
        };
        let limit = options.limit.max(LISTED_WITHIN);
        Self { tunnel: Tunnel::start_with(&config, Options { limit, ..options }), directory }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    /// Somebody who asks for all connections, and has read nothing yet.
    fn ask(&self) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LISTED_WITHIN)).unwrap();
        stream.write_all(b"show connections json\n").unwrap();
        stream
    }

    /// Clients that stay, each of which a worker has.
    fn clients(&self, count: usize) -> Vec<Peer> {
        let address = self.tunnel.address("stays");
        let mut clients: Vec<Peer> = (0..count)
            .map(|_| {
                let mut client = Peer::plain(address);
                client.send(b"?");
                client
            })
            .collect();
        clients.iter_mut().for_each(|client| assert_eq!(client.receive(1), b"?"));
        clients
    }
}

fn name(client: &Peer) -> String {
    client.socket().local_addr().unwrap().to_string()
}

fn names(clients: &[Peer]) -> BTreeSet<String> {
    clients.iter().map(name).collect()
}

/// Reads the rest of an answer.
fn finish(mut stream: UnixStream, mut text: Vec<u8>) -> Listing {
    stream.set_nonblocking(false).unwrap();
    stream.read_to_end(&mut text).unwrap();
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        let end = text.len().saturating_sub(300);
        panic!("{error}; {} bytes, at the end: {}", text.len(), String::from_utf8_lossy(&text[end..]))
    })
}

/// Nobody is told twice, and of `stayed` everybody is told; how many are told in all.
#[track_caller]
fn check(listing: &Listing, stayed: &BTreeSet<String>) -> usize {
    assert_eq!((&listing.next, &listing.silent), (&None, &vec![]));
    let mut ids = BTreeSet::new();
    let mut clients: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &listing.connections {
        assert!(ids.insert(row.id), "number {} is told twice", row.id);
        *clients.entry(&row.client).or_default() += 1;
    }
    for client in stayed {
        assert_eq!(clients.get(client.as_str()), Some(&1), "{client} among {}", ids.len());
    }
    ids.len()
}

/// Ends the threads of a scope also where a test fails, or it would wait for them for ever.
struct Over<'a>(&'a [&'a AtomicBool]);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|flag| flag.store(true, Ordering::Relaxed));
    }
}

/// Opens and closes connections until `over`, in every way there is.
fn churn(address: SocketAddr, over: &AtomicBool, count: &AtomicUsize) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut client) = Peer::try_plain(address) else { continue };
        let number = count.fetch_add(1, Ordering::Relaxed);
        if number % 3 > 0 {
            client.send(b"!");
        }
        if number % 3 > 1 {
            assert_eq!(client.receive(1), b"!");
        }
        // Ports are not left waiting: there are not enough of them.
        client.reset();
    }
}

/// Reads a byte of each in turn until `over`; what each has read then.
fn read_slowly(streams: Vec<UnixStream>, over: &AtomicBool) -> Vec<(UnixStream, Vec<u8>)> {
    let mut slow: Vec<_> = streams.into_iter().map(|stream| (stream, Vec::new())).collect();
    for (stream, _) in &slow {
        stream.set_nonblocking(true).unwrap();
    }
    while !over.load(Ordering::Relaxed) {
        for (stream, text) in &mut slow {
            let mut byte = [0];
            match stream.read(&mut byte) {
                Ok(read) => text.extend(&byte[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        thread::yield_now();
    }
    slow
}

#[test]
fn everybody_who_stays_is_told_exactly_once_to_every_reader() {
    let mut watched = Watched::start();
    // With 20,000 descriptors the daemon has places for somewhat less than 10,000, churn included.
    let mut clients = watched.clients(full(9_500, 1_000));
    let stayed = names(&clients);
    let (readers, rounds) = (full(200, 24), full(3, 2));
    let (over, read) = (AtomicBool::new(false), AtomicBool::new(false));
    let churned = AtomicUsize::new(0);
    let address = watched.tunnel.address("churns");
    let mut peak = 0;
    let (told, before) = thread::scope(|scope| {
        let _ends = Over(&[&over, &read]);
        for _ in 0..CHURNERS {
            scope.spawn(|| churn(address, &over, &churned));
        }
        wait_for("some churn", || churned.load(Ordering::Relaxed) > 1_000);
        let before = watched.tunnel.figures().rss;
        let slow: Vec<UnixStream> = (0..readers / 2).map(|_| watched.ask()).collect();
        let slow = scope.spawn(|| read_slowly(slow, &read));
        let (watched, stayed) = (&watched, &stayed);
        let list =
            move || (0..rounds).map(|_| check(&finish(watched.ask(), Vec::new()), stayed)).sum::<usize>();
        let fast: Vec<_> = (0..readers / 2).map(|_| scope.spawn(list)).collect();
        wait_up_to(LISTED_WITHIN, "the listings", || {
            peak = peak.max(watched.tunnel.figures().rss);
            fast.iter().all(thread::ScopedJoinHandle::is_finished)
        });
        let told: usize = fast.into_iter().map(|reader| reader.join().unwrap()).sum();
        let during = churned.load(Ordering::Relaxed);
        // Those who were slow are not any more: theirs is as good, though most of the churn came in its middle.
        read.store(true, Ordering::Relaxed);
        for (stream, text) in slow.join().unwrap() {
            assert!(!text.is_empty());
            // One that took too little for too long has been let go: what it has begins well.
            check_slow(stream, text, stayed);
        }
        assert!(during > 2_000, "only {during} came and went");
        (told, before)
    });
    assert!(told >= rounds * readers / 2 * stayed.len());
    let most = before + readers as u64 * PER_READER + ALLOWANCE;
    assert!(peak <= most, "{before} KiB before, {peak} KiB with {readers} readers");
    for client in &mut clients {
        client.send(b"?");
        assert_eq!(client.receive(1), b"?", "ended early");
    }
    assert!(watched.tunnel.is_alive());
}

/// A reader that was slow reads on. In a long run it may have been let go meanwhile, and has a beginning.
fn check_slow(stream: UnixStream, mut text: Vec<u8>, stayed: &BTreeSet<String>) {
    stream.set_nonblocking(false).unwrap();
    let (mut rest, mut stream) = (Vec::new(), stream);
    let ended = stream.read_to_end(&mut rest);
    text.extend(rest);
    if ended.is_ok() && serde_json::from_slice::<Listing>(&text).is_ok() {
        check(&serde_json::from_slice(&text).unwrap(), stayed);
        return;
    }
    assert!(full(1, 0) == 1, "cut short after {} bytes: {ended:?}", text.len());
    let text = String::from_utf8(text).unwrap();
    let ids: Vec<&str> =
        text.split("{\"id\":").skip(1).filter_map(|row| row.split_once(',')).map(|row| row.0).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "somebody is told twice");
}

/// A worker ends while a reader is in the middle of a listing, of that worker's connections or before them.
fn end_in_the_middle(ending: usize) {
    let mut watched = Watched::start();
    let clients = watched.clients(full(5_000, 3_000));
    let first = finish(watched.ask(), Vec::new());
    assert_eq!(check(&first, &names(&clients)), clients.len());
    let workers: BTreeMap<String, usize> =
        first.connections.iter().map(|row| (row.client.clone(), row.worker)).collect();
    let (mut go, stay): (Vec<_>, Vec<_>) =
        clients.into_iter().partition(|client| workers[&name(client)] == ending);
    assert!(!go.is_empty() && !stay.is_empty(), "{} and {}", go.len(), stay.len());
    let mut reader = watched.ask();
    let mut begun = vec![0; 10_000];
    reader.read_exact(&mut begun).unwrap();
    let threads = watched.tunnel.figures().threads;
    watched.tunnel.signal(Signal::SIGTERM);
    watched.tunnel.wait_log("the end to begin", |line| line.is("stopping"));
    go.drain(..).for_each(Peer::reset);
    wait_for("the worker to end", || watched.tunnel.figures().threads < threads);
    let listing = finish(reader, begun);
    check(&listing, &names(&stay));
    // Who asks only now has nothing to wait for either.
    let later = finish(watched.ask(), Vec::new());
    assert_eq!(check(&later, &names(&stay)), stay.len());
    drop(stay);
    assert_eq!(watched.tunnel.wait_exit().code(), Some(0));
}

#[test]
fn a_worker_that_ends_before_it_is_asked_is_no_hindrance() {
    end_in_the_middle(1);
}

#[test]
fn a_worker_that_ends_while_it_is_listed_is_no_hindrance() {
    end_in_the_middle(0);
}

#[test]
fn a_flood_of_readers_who_ask_nothing_keeps_nobody_out() {
    let watched = Watched::start();
    let clients = watched.clients(10);
    let fds = watched.tunnel.figures().fds;
    let flood: Vec<UnixStream> =
        (0..full(2_000, 700)).map(|_| UnixStream::connect(watched.socket()).unwrap()).collect();
    // Somebody who is let go after a moment makes room for who asks: that moment may have to pass.
    wait_for("a reader to be served", || {
        let mut text = Vec::new();
        let mut stream = UnixStream::connect(watched.socket()).unwrap();
        let asked = stream.write_all(b"show connections json\n");
        let read = asked.and_then(|()| stream.read_to_end(&mut text));
        let answer = read.ok().and_then(|_| serde_json::from_slice::<Listing>(&text).ok());
        answer.is_some_and(|listing| check(&listing, &names(&clients)) == clients.len())
    });
    let most = fds + 600;
    assert!(
        watched.tunnel.figures().fds < most,
        "{} descriptors, {fds} before",
        watched.tunnel.figures().fds
    );
    drop(flood);
    wait_for("the readers to be let go", || watched.tunnel.figures().fds <= fds);
}
