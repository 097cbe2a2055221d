// SPDX-License-Identifier: MIT OR Apache-2.0
//! The line before servers that are full: the step that chooses a server, with calls that the test delivers and a clock that
//! it sets.

use super::Progress;
use super::connect::{self, STEP};
use crate::connection::context::{Ask, Call, Common, Ctx, Question};
use crate::connection::pair::{Attempt, Pair};
use crate::error::Reason;
use crate::event::Key;
use crate::log::{Level, Log};
use crate::policy::marks::MarkBook;
use crate::policy::service::{Route, Service};
use crate::policy::upstream::{Server, Upstream};
use crate::policy::waiting::{Bounds, Caller};
use crate::stream::testing::unix_pair;
use crate::sys::address::Address;
use crate::sys::socket::Socket;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// How many may wait in the line, and how long each.
const LENGTH: usize = 8;
const PATIENCE: Duration = Duration::from_millis(900);

/// The places of the servers: "a" takes one connection, "b" any number.
const A: u32 = 0;
const B: u32 = 1;

#[derive(Debug)]
struct Calls(Sender<(Caller, Call)>);

impl Ask for Calls {
    fn ask(&self, _: Question) -> bool {
        false
    }

    fn call(&self, caller: Caller, call: &Call) -> bool {
        self.0.send((caller, call.clone())).is_ok()
    }
}

/// A route with its servers, and who has come.
struct Scene {
    book: MarkBook,
    listeners: [TcpListener; 2],
    service: Arc<Service>,
    ctx: Ctx,
    calls: Receiver<(Caller, Call)>,
    clients: Vec<Client>,
}

struct Client {
    pair: Pair,
    /// As it was when the client came.
    service: Arc<Service>,
    _socket: Socket,
}

impl Scene {
    #[expect(clippy::disallowed_methods, reason = "the clock starts somewhere")]
    fn new() -> Self {
        let (sender, calls) = channel();
        let common = Common { asks: Arc::new(Calls(sender)), ..Common::alone(Log::to_memory(Level::Info).0) };
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let book = MarkBook::default();
        let (service, ctx) = (service(&book, &listeners), Ctx::new(0, common, Instant::now()));
        Self { book, listeners, service, ctx, calls, clients: Vec::new() }
    }

    /// Who comes from now on has another plan.
    fn reload(&mut self) {
        self.service = service(&self.book, &self.listeners);
    }

    /// A client, which has tried those servers in vain; its number.
    fn come(&mut self, tried: &[u32]) -> usize {
        let (ours, theirs) = unix_pair();
        let mut pair = Pair::new(ours, Address::Unnamed, 64 * 1024, self.ctx.now);
        pair.facts.id = self.clients.len() as u64;
        pair.key = Some(Key { index: u32::try_from(self.clients.len()).unwrap(), generation: 0 });
        pair.attempt = Some(Box::new(Attempt { tried: tried.into(), ..Attempt::default() }));
        self.clients.push(Client { pair, service: Arc::clone(&self.service), _socket: theirs });
        self.clients.len() - 1
    }

    fn look(&mut self, client: usize) -> Result<Progress, Reason> {
        let Client { pair, service, .. } = &mut self.clients[client];
        (STEP.run)(pair, service, &mut self.ctx)
    }

    /// The server that it has got, if it has got one.
    fn server(&self, client: usize) -> Option<u32> {
        let pair = &self.clients[client].pair;
        pair.held.as_ref().map(|_| pair.facts.server)
    }

    /// It looks, and finds no place.
    fn waits(&mut self, client: usize) {
        assert!(matches!(self.look(client), Ok(Progress::Ask(_))), "client {client}");
        assert_eq!(self.server(client), None, "client {client}");
    }

    /// It looks, and has a server.
    fn goes_to(&mut self, client: usize, server: u32) {
        assert!(self.look(client).is_ok(), "client {client}");
        assert_eq!(self.server(client), Some(server), "client {client}");
    }

    /// Delivers what calls there are, and what follows from them; who was reached, in that order.
    fn deliver(&mut self) -> Vec<usize> {
        let mut reached = Vec::new();
        while let Ok((caller, call)) = self.calls.try_recv() {
            let client = caller.key.index as usize;
            if connect::hear_call(&mut self.clients[client].pair, &call) {
                reached.push(client);
                assert!(self.look(client).is_ok(), "client {client}");
            } else {
                call.next(&*self.ctx.asks);
            }
        }
        reached
    }

    fn leave(&mut self, client: usize) {
        let Client { pair, service, .. } = &mut self.clients[client];
        connect::leave(pair, service, &self.ctx);
    }
}

fn service(book: &MarkBook, listeners: &[TcpListener; 2]) -> Arc<Service> {
    let server = |(name, listener, max_connections): (&str, &TcpListener, u32)| {
        let address = Address::Inet(listener.local_addr().unwrap());
        let marks = Some(book.of("test", "default", name));
        Server { marks, max_connections, ..Server::new(name.into(), address, None, Arc::default()) }
    };
    let servers = [("a", &listeners[0], 1), ("b", &listeners[1], u32::MAX)].map(server).into();
    let queue = Bounds { length: LENGTH, patience: PATIENCE };
    let waiting = book.line_of("test", "default");
    let upstream = Upstream { servers, waiting, queue, attempts: u32::MAX, ..Upstream::default() };
    let routes = Box::new([Route { upstream, ..Route::plain("default") }]);
    Arc::new(Service { routes, ..Service::plain() })
}

#[test]
fn a_call_goes_on_to_who_can_use_the_server_that_is_free() {
    let mut scene = Scene::new();
    let first = scene.come(&[]);
    scene.goes_to(first, A);
    // They have failed at the server that has room.
    let stuck = [scene.come(&[B]), scene.come(&[B])];
    for client in stuck {
        scene.waits(client);
    }
    let fresh = scene.come(&[]);
    // Nobody overtakes those who wait, but they leave what they cannot use to who comes behind them.
    scene.waits(fresh);
    assert_eq!(scene.deliver(), [stuck[0], stuck[1], fresh]);
    assert_eq!(scene.server(fresh), Some(B));
    assert_eq!(stuck.map(|client| scene.server(client)), [None, None]);
    // And they still stand in the line.
    scene.leave(first);
    assert_eq!(scene.deliver(), [stuck[0]]);
    assert_eq!(scene.server(stuck[0]), Some(A));
}

#[test]
fn a_call_that_nobody_can_use_ends() {
    let mut scene = Scene::new();
    let first = scene.come(&[]);
    scene.goes_to(first, A);
    let stuck = [scene.come(&[B]), scene.come(&[B]), scene.come(&[B])];
    for client in stuck {
        scene.waits(client);
    }
    let passing = scene.come(&[A]);
    scene.waits(passing);
    // It has gone when the call comes to it.
    scene.clients[passing].pair.attempt = None;
    let [first, second, third] = stuck;
    assert_eq!(scene.deliver(), [first, second, third, first], "as many as waited, not for ever");
    assert_eq!(stuck.map(|client| scene.server(client)), [None; 3]);
}

#[test]
fn a_reload_leaves_the_line_as_it_is() {
    let mut scene = Scene::new();
    let first = scene.come(&[]);
    scene.goes_to(first, A);
    let early = scene.come(&[B]);
    scene.waits(early);
    scene.reload();
    let late = scene.come(&[B]);
    scene.waits(late);
    // Places go from one configuration to the other, in the order in which their clients came.
    scene.leave(first);
    assert_eq!((scene.deliver(), scene.server(early)), (vec![early], Some(A)));
    scene.leave(early);
    assert_eq!((scene.deliver(), scene.server(late)), (vec![late], Some(A)));
    // And all of them count.
    for _ in 0..LENGTH {
        let next = scene.come(&[B]);
        scene.waits(next);
        scene.reload();
    }
    let beyond = scene.come(&[B]);
    assert!(matches!(scene.look(beyond), Err(Reason::ServersFull(_))));
}

#[test]
fn what_is_free_when_the_time_is_over_is_taken() {
    let mut scene = Scene::new();
    let first = scene.come(&[]);
    scene.goes_to(first, A);
    let waiting = [scene.come(&[B]), scene.come(&[B])];
    for client in waiting {
        scene.waits(client);
    }
    scene.ctx.now += PATIENCE;
    // As if the server had come back: nobody is called for that.
    scene.clients[first].pair.held = None;
    scene.goes_to(waiting[0], A);
    assert!(matches!(scene.look(waiting[1]), Err(Reason::ServersFull(_))));
}
