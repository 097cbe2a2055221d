// SPDX-License-Identifier: MIT OR Apache-2.0
//! Connections in a loop of their own whose clock the test turns: the phases, their deadlines, their ends. The sockets
//! are real; the steps are the test's.

use super::closing_stage::{SECOND, TIMEOUTS, service};
use super::connection::Connection;
use super::context::{Common, Ctx};
use super::guard::Limit;
use super::pair::Pair;
use super::plan::Plan;
use super::relay::Duplex;
use crate::error::{Reason, Side};
use crate::event::backoff::LONGEST;
use crate::event::event_loop::Loop;
use crate::handshake::{For, Progress, Step};
use crate::log::{Level, Log, Memory};
use crate::stats::ServiceStats;
use crate::stream::Stream;
use crate::stream::endpoint::Endpoint;
use crate::stream::testing::{agree, await_input, drain, fill, pattern, reset, tcp_pair, unix_pair};
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use openssl::ssl::SslVersion;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Turns in which a connection must do what a test waits for.
const TURNS: usize = 10_000;

/// A loop, its clock, and what was logged.
struct World {
    connections: Loop<Box<Connection>>,
    ctx: Ctx,
    limit: Arc<Limit>,
    memory: Memory,
}

impl World {
    #[expect(clippy::disallowed_methods, reason = "the clock starts somewhere; the test turns it from there")]
    fn new() -> Self {
        let (log, memory) = Log::to_memory(Level::Info);
        Self {
            connections: Loop::new().unwrap(),
            ctx: Ctx::new(0, Common::alone(log), Instant::now()),
            limit: Limit::of(10),
            memory,
        }
    }

    /// Lets a connection of these ends begin, with `steps` before it relays.
    fn begin(&mut self, client: Socket, server: Option<Endpoint>, steps: &[Step]) {
        self.begin_with(Endpoint::new(Stream::raw(client), 0), server, steps);
    }

    fn begin_with(&mut self, client: Endpoint, server: Option<Endpoint>, steps: &[Step]) {
        let unused = unix_pair().0;
        let mut pair = Pair::new(unused, Address::Unnamed, 64 * 1024, self.ctx.now);
        pair.client = client;
        pair.server = server;
        let service = service(Arc::new(ServiceStats::default()));
        let plan = Plan { service, front: steps.into(), backs: Box::new([Arc::new([])]), relay: &Duplex };
        let guard = self.limit.enter().unwrap();
        let connection = Box::new(Connection::new(pair, Arc::new(plan), guard, &self.ctx));
        self.connections.insert(connection, self.ctx.now, &mut self.ctx);
    }

    /// One turn, without waiting.
    fn turn(&mut self) {
        self.connections.wait(Some(Duration::ZERO)).unwrap();
        self.connections.run(self.ctx.now, &mut self.ctx);
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        for _ in 0..TURNS {
            self.turn();
            if holds(self) {
                return;
            }
            std::thread::yield_now();
        }
        panic!("in vain: {what}");
    }

    /// Lets time pass in which nothing happens but deadlines.
    fn pass(&mut self, time: Duration) {
        self.ctx.now += time;
        self.turn();
        self.turn();
    }

    fn lives(&self) -> bool {
        !self.connections.is_empty()
    }

    fn doing(&self) -> &'static str {
        self.connections.handlers().next().map_or("gone", |connection| connection.activity())
    }

    /// The reason for which the only connection ended.
    fn reason(&mut self) -> String {
        self.until("the end of the connection", |world| !world.lives());
        let lines = self.memory.take();
        let line = lines.iter().find(|line| line.contains("connection-closed")).unwrap();
        line.split("reason=").nth(1).unwrap().trim().trim_matches('"').to_owned()
    }
}

fn raw(socket: Socket) -> Option<Endpoint> {
    Some(Endpoint::new(Stream::raw(socket), 1))
}

/// Client and server as the test holds them, and a connection between that relays.
fn relaying(world: &mut World) -> (Socket, Socket) {
    let ((client, ours), (server, theirs)) = (unix_pair(), unix_pair());
    world.begin(ours, raw(theirs), &[]);
    (client, server)
}

/// A step that is done with the client's first byte, and takes it.
const FIRST_BYTE: Step = Step {
    name: "waiting for a byte",
    run: |pair, _, _| {
        let socket = pair.client.stream.socket().unwrap();
        Ok(match socket.recv(&mut [0]) {
            Ok(_) => Progress::Done,
            Err(_) => Progress::Wait(For { side: Side::Client, read: true, patience: None }),
        })
    },
    expired: |_, _, _| Some(Reason::HandshakeTimeout(Side::Client)),
};

/// A step that swallows what comes and is never done.
const NEVER: Step = Step {
    name: "swallowing bytes",
    run: |pair, _, _| {
        drain(pair.client.stream.socket().unwrap());
        Ok(Progress::Wait(For { side: Side::Client, read: true, patience: None }))
    },
    expired: |_, _, _| Some(Reason::HandshakeTimeout(Side::Client)),
};

/// A step that fails as soon as the client speaks.
const REFUSE: Step = Step {
    name: "refusing",
    run: |pair, _, ctx| {
        let socket = pair.client.stream.socket().unwrap();
        if socket.recv(&mut [0; 16]).is_err() {
            return Ok(Progress::Wait(For { side: Side::Client, read: true, patience: None }));
        }
        pair.client.write(b"no", &mut ctx.buffers.scratch);
        Err(Reason::NotTls("something else"))
    },
    expired: |_, _, _| Some(Reason::HandshakeTimeout(Side::Client)),
};

#[test]
fn both_ends_in_order_are_done() {
    let mut world = World::new();
    let (client, server) = relaying(&mut world);
    client.send(b"question").unwrap();
    client.shutdown_write().unwrap();
    world.until("the client's end", |world| world.doing() == "relaying after the client's end");
    assert_eq!(drain(&server), (b"question".to_vec(), true));
    assert!(world.lives(), "a half-closed connection goes on");
    server.send(b"answer").unwrap();
    server.shutdown_write().unwrap();
    assert_eq!(world.reason(), "done");
    assert_eq!(drain(&client), (b"answer".to_vec(), true));
    assert_eq!(world.limit.active(), 0);
}

#[test]
fn the_handshake_deadline_is_a_total() {
    let mut world = World::new();
    let (client, ours) = unix_pair();
    world.begin(ours, None, &[NEVER]);
    for _ in 0..3 {
        client.send(b"a byte now and then").unwrap();
        world.pass(3 * SECOND);
        assert!(world.lives());
    }
    client.send(b"and then").unwrap();
    world.pass(SECOND);
    assert_eq!(world.reason(), "handshake-timeout");
}

#[test]
fn silence_after_the_handshake_is_measured_by_the_idle_time() {
    let mut world = World::new();
    let ((client, ours), (_server, theirs)) = (unix_pair(), unix_pair());
    world.begin(ours, raw(theirs), &[FIRST_BYTE]);
    client.send(b"x").unwrap();
    world.pass(SECOND);
    assert_eq!(world.doing(), "relaying");
    world.pass(TIMEOUTS.idle - SECOND);
    assert_eq!(world.doing(), "relaying", "the handshake's deadline is over with the handshake");
    world.pass(SECOND);
    assert_eq!(world.reason(), "idle");
}

#[test]
fn bytes_either_way_put_the_idle_time_off() {
    let mut world = World::new();
    let (client, server) = relaying(&mut world);
    for end in [&client, &server, &client] {
        end.send(b"x").unwrap();
        world.pass(TIMEOUTS.idle - SECOND);
        assert!(world.lives());
    }
    world.pass(TIMEOUTS.idle);
    assert_eq!(world.doing(), "delivering the last bytes before a reset", "nobody has read them yet");
    assert_eq!((drain(&client).0, drain(&server).0), (b"x".to_vec(), b"xx".to_vec()));
    world.pass(SECOND);
    assert_eq!(world.reason(), "idle");
}

#[test]
fn after_one_end_the_half_close_time_counts_and_bytes_put_it_off() {
    let mut world = World::new();
    let (client, server) = relaying(&mut world);
    client.shutdown_write().unwrap();
    world.turn();
    assert_eq!(world.doing(), "relaying after the client's end");
    for _ in 0..3 {
        world.pass(TIMEOUTS.half_close - SECOND);
        server.send(b"slowly").unwrap();
        world.turn();
        assert!(world.lives());
    }
    world.pass(TIMEOUTS.half_close);
    assert_eq!(drain(&client), (b"slowlyslowlyslowly".to_vec(), false));
    world.pass(SECOND);
    assert_eq!(world.reason(), "half-close-timeout");
}

#[test]
fn a_client_that_is_refused_is_told_and_heard_out() {
    let mut world = World::new();
    let (client, ours) = unix_pair();
    world.begin(ours, None, &[REFUSE]);
    client.send(b"GET / HTTP/1.1").unwrap();
    world.turn();
    assert_eq!(drain(&client), (b"no".to_vec(), true), "told, and told the end");
    assert_eq!(world.doing(), "hearing the client out");
    for _ in 0..5 {
        client.send(&pattern(10_000)).unwrap();
        world.turn();
        assert!(world.lives());
    }
    client.shutdown_write().unwrap();
    assert_eq!(world.reason(), "not-tls");
}

#[test]
fn hearing_out_is_a_total_too() {
    let mut world = World::new();
    let (client, ours) = unix_pair();
    world.begin(ours, None, &[REFUSE]);
    client.send(b"GET / HTTP/1.1").unwrap();
    world.turn();
    for _ in 0..3 {
        world.pass(2 * SECOND);
        client.send(b"and another thing").unwrap();
        world.turn();
        assert!(world.lives());
    }
    world.pass(SECOND);
    assert_eq!(world.reason(), "not-tls");
}

#[test]
fn a_servers_reset_reaches_the_client_after_the_bytes() {
    let mut world = World::new();
    let ((client, ours), (server, theirs)) = (tcp_pair(), tcp_pair());
    world.begin(ours, raw(theirs), &[]);
    server.send(b"half an ans").unwrap();
    let mut got = [0; 100];
    await_input(
        world.connections.handlers().next().unwrap().pair.server.as_ref().unwrap().stream.socket().unwrap(),
    );
    world.turn();
    reset(server);
    assert_eq!(world.reason(), "server-reset");
    assert_eq!(client.recv(&mut got).unwrap(), 11);
    await_input(&client);
    assert!(client.recv(&mut got).is_err(), "an end would present a broken answer as complete");
}

#[test]
fn a_reset_waits_until_the_bytes_before_it_are_acknowledged() {
    let mut world = World::new();
    // Of a unix socket all bytes count as unacknowledged that were not read.
    let ((client, ours), (server, theirs)) = (unix_pair(), tcp_pair());
    world.begin(ours, raw(theirs), &[]);
    server.send(b"half an ans").unwrap();
    world.until("bytes from the server", |world| {
        world.connections.handlers().all(|c| c.pair.down.read() == 11)
    });
    reset(server);
    world.until("the reset", |world| world.doing() == "delivering the last bytes before a reset");
    world.pass(SECOND);
    world.pass(SECOND);
    assert!(world.lives(), "the client has not read yet");
    let patience = world.connections.patience(world.ctx.now).unwrap();
    assert!(patience > Duration::ZERO, "it looks again and does not spin");
    assert_eq!(drain(&client).0, b"half an ans");
    world.pass(SECOND);
    assert_eq!(world.reason(), "server-reset");
}

#[test]
fn who_never_acknowledges_is_waited_for_as_long_as_linger_says() {
    let mut world = World::new();
    let ((_client, ours), (server, theirs)) = (unix_pair(), tcp_pair());
    world.begin(ours, raw(theirs), &[]);
    server.send(b"half an ans").unwrap();
    world.until("bytes from the server", |world| {
        world.connections.handlers().all(|c| c.pair.down.read() == 11)
    });
    reset(server);
    world.until("the reset", |world| world.doing() == "delivering the last bytes before a reset");
    for _ in 0..6 {
        world.pass(SECOND);
        assert!(world.lives());
    }
    world.pass(2 * SECOND);
    assert_eq!(world.reason(), "server-reset");
}

#[test]
fn who_is_gone_is_not_waited_for() {
    let mut world = World::new();
    let ((client, ours), (server, theirs)) = (tcp_pair(), tcp_pair());
    while ours.unacknowledged() < 1_000_000 {
        ours.send(&[0; 4096]).unwrap();
    }
    world.begin(ours, raw(theirs), &[]);
    server.send(b"half an ans").unwrap();
    world.until("bytes from the server", |world| {
        world.connections.handlers().all(|c| c.pair.down.written() == 11)
    });
    reset(server);
    world.until("the reset", |world| world.doing() == "delivering the last bytes before a reset");
    world.pass(SECOND);
    assert!(world.lives(), "the client may still take them");
    reset(client);
    for _ in 0..100 {
        world.pass(Duration::from_millis(20));
    }
    assert!(!world.lives(), "long before the linger time is over");
    assert_eq!(world.reason(), "server-reset");
}

#[test]
fn an_upload_is_complete_although_the_client_takes_no_answer() {
    let mut world = World::new();
    let (client, server) = relaying(&mut world);
    client.send(b"all of the upload").unwrap();
    drop(client);
    server.send(b"an answer for nobody").unwrap();
    world.until("the failed write", |world| world.doing() == "delivering the last bytes before a reset");
    world.pass(SECOND);
    assert!(world.lives(), "a reset now might eat what the server has not read");
    assert_eq!(drain(&server), (b"all of the upload".to_vec(), true));
    world.pass(SECOND);
    assert_eq!(world.reason(), "client-gone");
}

#[test]
fn last_bytes_that_nobody_takes_end_with_the_linger_time() {
    let mut world = World::new();
    let ((_client, ours), (server, theirs)) = (unix_pair(), tcp_pair());
    fill(&ours);
    world.begin(ours, raw(theirs), &[]);
    server.send(b"no room for it").unwrap();
    world.until("bytes from the server", |world| {
        world.connections.handlers().all(|c| c.pair.down.held() == 14)
    });
    reset(server);
    world.until("the reset", |world| {
        world.connections.handlers().all(|c| matches!(c.pair.down.flow(), crate::channel::Flow::Breaking(_)))
    });
    world.pass(TIMEOUTS.linger - SECOND);
    assert!(world.lives());
    world.pass(SECOND);
    assert_eq!(world.reason(), "linger-timeout");
}

#[test]
fn an_end_is_passed_on_although_the_other_direction_is_stuck() {
    let mut world = World::new();
    let ((client, ours), (server, theirs)) = (unix_pair(), unix_pair());
    fill(&theirs);
    world.begin(ours, raw(theirs), &[]);
    client.send(b"a long upload that the server does not take yet").unwrap();
    client.shutdown_write().unwrap();
    world.until("the client's end", |world| world.doing() == "relaying after the client's end");
    server.send(b"early answer").unwrap();
    server.shutdown_write().unwrap();
    world.until("the server's end", |world| world.doing() == "delivering the last bytes");
    assert!(world.lives(), "the upload is not over");
    assert_eq!(drain(&client), (b"early answer".to_vec(), true));
}

#[test]
fn a_slow_tls_client_is_not_idle() {
    let mut world = World::new();
    let ((ours, theirs), (server, upstream)) = (unix_pair(), unix_pair());
    let (stream, peer, _scratch) = agree(ours, theirs, SslVersion::TLS1_3);
    stream.socket().shrink_send_buffer();
    fill(stream.socket());
    world.begin_with(Endpoint::new(Stream::Tls(Box::new(stream)), 0), raw(upstream), &[]);
    server.send(&pattern(180_000)).unwrap();
    let residue = |world: &World| world.connections.handlers().map(|c| c.pair.client.stream.residue()).sum();
    world.until("a residue", |world| residue(world) > 0);
    // The client takes a little at a time, each time within the idle time: all of it is progress.
    let mut rounds = 0;
    let mut piece = vec![0; 4096];
    while residue(&world) > 0 {
        let before: usize = residue(&world);
        world.pass(TIMEOUTS.idle - SECOND);
        assert!(world.lives(), "idle, although bytes leave; round {rounds}");
        while residue(&world) == before {
            peer.socket.recv(&mut piece).unwrap();
            world.pass(LONGEST);
        }
        rounds += 1;
    }
    assert!(rounds > 1, "this shows nothing");
}

#[test]
fn stopping_closes_and_says_so() {
    let mut world = World::new();
    let (_client, _server) = relaying(&mut world);
    for key in world.connections.keys() {
        world.connections.close(key, Reason::Stopped, &mut world.ctx);
    }
    assert_eq!(world.reason(), "stopped");
}

#[test]
fn a_connection_stays_small() {
    // What an idle one costs beside its TLS session, some 10 KiB: what is shown and counted of it is 72 bytes of these,
    // and 8 lead to what a `limit` holds, where there is one.
    assert!(size_of::<Connection>() <= 968, "{}", size_of::<Connection>());
}
