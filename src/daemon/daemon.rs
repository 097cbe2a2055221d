// SPDX-License-Identifier: MIT OR Apache-2.0
//! The main thread: starts everything, accepts, and answers signals. It does nothing else to a connection.

use super::inbox::{Inboxes, Names};
use super::interface::Interface;
use super::keeper::Keeper;
use super::listener::{AcceptCtx, Listener};
use super::queue::Queue;
use super::reload::{self, Answers};
use super::start::{Options, StartError};
use super::tasks::Tasks;
use super::worker::{self, Shared};
use crate::checks::{self, Checks};
use crate::config::{Config, Global, LoadContext};
use crate::connection::context::{Common, Receive};
use crate::connection::guard::Limit;
use crate::connection::walk::Pages;
use crate::control::bind::Bound;
use crate::control::running;
use crate::control::visits::Visits;
use crate::error::Reason;
use crate::event::event_loop::Loop;
use crate::live::View;
use crate::log::{Level, Log, Target, Writer};
use crate::policy::marks::MarkBook;
use crate::policy::quota::QuotaBook;
use crate::policy::tls_server::ProcessSecret;
use crate::policy::track::Tables;
use crate::policy::watch::Watches;
use crate::resolver::Current;
use crate::stats::{COUNTERS, MAX_WORKERS, Registry};
use crate::sys::eventfd::EventFd;
use crate::sys::process::{self, PidFile};
use crate::sys::signals::{Request, Signals};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const SIGNALS: u8 = 0;
const ROOM: u8 = 1;
const ANSWERS: u8 = 2;
const ORDERS: u8 = 3;
const NAMES: u8 = 4;

/// Task threads. What they do is rare: loading a configuration.
const TASK_THREADS: usize = 2;

/// Threads for the names that clients ask for: apart, since a name server may hang for long.
const NAME_THREADS: usize = 4;

/// How long workers have to end once everything was closed.
const LAST_TURN: Duration = Duration::from_secs(5);

/// A tunnel that is bound and ready to serve.
#[derive(Debug)]
pub struct Tunnel {
    pub(super) listeners: Loop<Listener>,
    pub(super) ctx: AcceptCtx,
    pub(super) shared: Arc<Shared>,
    pub(super) global: Global,
    pub(super) answers: Arc<Answers>,
    pub(super) options: Options,
    pub(super) context: Arc<LoadContext>,
    pub(super) keeper: Keeper,
    signals: Signals,
    pub(super) tasks: Tasks,
    life: Life,
    pub(super) interface: Interface,
    pub(super) checks: Checks,
    /// A configuration is being loaded.
    pub(super) reloading: bool,
    /// Another reload was asked for meanwhile.
    pub(super) reload_again: bool,
    writer: Option<Writer>,
    _pidfile: Option<PidFile>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// No more is accepted; what was accepted may finish until then.
    Draining(Instant),
    /// Everything is being closed; who has not ended then is left behind.
    Stopping(Instant),
}

impl Tunnel {
    /// Loads the configuration with everything it names, binds every listener and starts the workers.
    ///
    /// Blocks the signals of tunnel(8) in the calling thread, which becomes the main thread.
    ///
    /// # Errors
    /// The first kind of failure, with everything of that kind.
    pub fn new(options: Options) -> Result<Self, StartError> {
        let system = |what: &'static str| move |error: io::Error| StartError::System(what, error.to_string());
        let signals = Signals::block().map_err(system("cannot take signals"))?;
        let descriptors = process::raise_descriptor_limit();
        let context = Arc::new(load_context()?);
        let tasks = Tasks::start("task", TASK_THREADS).map_err(system("cannot start the task threads"))?;
        let answers = Arc::new(Answers::new().map_err(system("cannot make an eventfd"))?);
        let config = reload::load_and_wait(&tasks, &options, &context)?;
        let (log, writer) =
            Log::start(&config.global.log, "tunnel", std::process::id()).map_err(StartError::Log)?;
        let (listeners, ctx, shared, interface) =
            assemble(&config, log, &context).map_err(system("cannot make the event loop"))?;
        let keeper = Keeper::new().map_err(system("cannot make an eventfd"))?;
        listeners.watch(&signals, SIGNALS).map_err(system("cannot watch signals"))?;
        listeners.watch(answers.bell(), ANSWERS).map_err(system("cannot watch the tasks"))?;
        listeners.watch(shared.limit.room(), ROOM).map_err(system("cannot watch the workers"))?;
        listeners.watch(interface.orders.bell(), ORDERS).map_err(system("cannot watch the orders"))?;
        listeners.watch(keeper.bell(), NAMES).map_err(system("cannot watch the names"))?;
        let checks = Checks::new(ctx.log.clone(), context.registry.clock())
            .map_err(system("cannot make an eventfd"))?;
        let mut tunnel = Self {
            listeners,
            ctx,
            shared,
            global: config.global.clone(),
            answers,
            options,
            context,
            keeper,
            signals,
            tasks,
            life: Life::Serving,
            interface,
            checks,
            reloading: false,
            reload_again: false,
            writer: Some(writer),
            _pidfile: None,
        };
        // All of it, before anybody is served: a start that fails has taken nothing in.
        let (bound, control) = tunnel.bind_all(&config)?;
        if let Some(path) = &tunnel.options.pidfile {
            let created = PidFile::create(path);
            tunnel._pidfile = Some(created.map_err(|error| StartError::PidFile(path.clone(), error))?);
        }
        for number in 0..tunnel.global.workers {
            worker::start(number, Arc::clone(&tunnel.shared)).map_err(system("cannot start the workers"))?;
        }
        tunnel.warn(&config);
        tunnel.keep_names(&config);
        tunnel.make_room(&config, descriptors);
        for listener in bound {
            tunnel.open(listener);
        }
        tunnel.publish_addresses();
        tunnel.check_servers(&config).map_err(system("cannot check servers"))?;
        tunnel.open_interface(&config, control);
        tunnel.say_started(descriptors);
        Ok(tunnel)
    }

    /// Whether the log goes to stderr, which a daemon in the background has not.
    pub fn logs_to_stderr(&self) -> bool {
        self.global.log.target == Target::Stderr
    }

    /// Serves until a signal asks for the end.
    ///
    /// # Errors
    /// The event loop's, which nothing but a broken system causes.
    pub fn serve_forever(mut self) -> io::Result<()> {
        // Where main and a worker share a processor, each new connection would interrupt the worker, twice: this way they
        // are accepted by the dozen.
        process::wait_for_our_turn();
        while !self.is_over() {
            self.turn()?;
        }
        self.interface.close();
        self.say_stopped();
        if let Some(writer) = self.writer.take() {
            writer.finish();
        }
        Ok(())
    }

    pub(super) fn is_serving(&self) -> bool {
        self.life == Life::Serving
    }

    fn is_over(&self) -> bool {
        match self.life {
            Life::Serving => false,
            Life::Draining(_) => self.running() == 0,
            Life::Stopping(until) => self.running() == 0 || self.ctx.now >= until,
        }
    }

    fn running(&self) -> usize {
        self.shared.running.load(Ordering::SeqCst)
    }

    fn turn(&mut self) -> io::Result<()> {
        let deadline = match self.life {
            Life::Serving => None,
            Life::Draining(until) | Life::Stopping(until) => Some(until.saturating_duration_since(clock())),
        };
        let patience = self.listeners.patience(self.ctx.now);
        let names = self.keeper.patience(self.ctx.now);
        self.listeners.wait([patience, deadline, names].into_iter().flatten().min())?;
        self.ctx.now = clock();
        let woken = self.listeners.run(self.ctx.now, &mut self.ctx);
        if woken.by(ROOM) {
            self.shared.limit.room().drain();
            for key in self.listeners.keys() {
                self.listeners.poke(key, self.ctx.now, &mut self.ctx);
            }
        }
        if woken.by(ANSWERS) {
            self.take_answers();
        }
        if woken.by(NAMES) {
            self.keeper.hear();
        }
        self.keeper.turn(self.ctx.now, &self.ctx.log);
        if woken.by(ORDERS) {
            self.obey_orders();
        }
        if woken.by(SIGNALS) {
            while let Some(request) = self.signals.next() {
                self.obey(request);
            }
        }
        if matches!(self.life, Life::Draining(until) if self.ctx.now >= until) {
            self.stop("shutdown_timeout is over");
        }
        Ok(())
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::Reload => self.begin_reload(),
            Request::ReopenLogs => self.ctx.log.reopen(),
            Request::Upgrade => {
                let line = self.ctx.log.line(Level::Notice, "signal-ignored");
                line.field("signal", "USR2").field("reason", "reserved for a later version").send();
            }
            Request::Stop if self.life == Life::Serving => self.drain("a signal"),
            Request::Stop => self.stop("a second signal"),
            Request::Quit => {
                self.dump();
                self.shared.dump.store(true, Ordering::SeqCst);
                self.stop("SIGQUIT");
            }
        }
    }

    /// Stops accepting; who was accepted is served.
    pub(super) fn drain(&mut self, why: &str) {
        let now = clock();
        let until = now.checked_add(self.global.shutdown_timeout);
        self.life = Life::Draining(until.unwrap_or(now + Duration::from_secs(365 * 24 * 3600)));
        self.say_stopping("drain", why);
        self.publish_life(running::Life::Draining);
        self.close_listeners();
        self.shared.drain.signal();
    }

    /// Closes everything.
    fn stop(&mut self, why: &str) {
        if matches!(self.life, Life::Stopping(_)) {
            return;
        }
        self.life = Life::Stopping(clock() + LAST_TURN);
        self.say_stopping("close", why);
        self.publish_life(running::Life::Stopping);
        self.close_listeners();
        self.shared.stop.signal();
    }

    fn close_listeners(&mut self) {
        for key in self.listeners.keys() {
            if let Some(listener) = self.listeners.get_mut(key) {
                listener.accept_rest(&self.ctx);
            }
            self.listeners.close(key, Reason::Stopped, &mut self.ctx);
        }
    }

    /// Binds everything, or tells everything that could not be bound.
    fn bind_all(&self, config: &Config) -> Result<(Vec<Listener>, Bound), StartError> {
        let mut failures = Vec::new();
        let mut listeners = Vec::new();
        for bind in &config.listeners {
            match Listener::bind(bind, &self.ctx.stats) {
                Ok(listener) => listeners.push(listener),
                Err(error) => failures.push((bind.address.to_string(), error)),
            }
        }
        let control = self.interface.bind(config).map_err(|failure| failures.push(failure));
        control
            .ok()
            .filter(|_| failures.is_empty())
            .map(|control| (listeners, control))
            .ok_or(StartError::Bind(failures))
    }

    /// Asks from now on as this configuration says, and for its names.
    pub(super) fn keep_names(&mut self, config: &Config) {
        self.context.resolver.set(Arc::clone(&config.resolver));
        self.context.watches.set(config.names.iter().map(|kept| Arc::clone(&kept.watch)).collect());
        self.keeper.take(&config.resolver, &config.names, clock());
    }

    /// Takes a bound listener into service; [`Self::publish_addresses`] is to follow.
    pub(super) fn open(&mut self, listener: Listener) {
        self.ctx
            .log
            .line(Level::Notice, "listening")
            .field("address", listener.address())
            .field("service", listener.service())
            .send();
        self.listeners.insert(listener, self.ctx.now, &mut self.ctx);
    }

    /// Tells the workers where we listen.
    pub(super) fn publish_addresses(&mut self) {
        let address = |listener: &Listener| (listener.address().clone(), listener.service().into());
        self.ctx.own.set(self.listeners.handlers().map(address).collect());
        let listening: Vec<_> = self.listeners.handlers().map(Listener::published).collect();
        self.interface.publish(|running| running.listeners = listening.into());
    }

    /// Tells the control thread what there is, and has it listen.
    fn open_interface(&mut self, config: &Config, bound: Bound) {
        let (path, open_files) = (self.options.config.display().to_string(), process::descriptor_limit());
        self.interface.publish(|running| (running.config, running.open_files) = (path, open_files));
        self.interface.takes_configuration(config);
        self.interface.loaded(&Ok(String::new()), config.warnings.clone());
        self.interface.listen(bound);
    }

    /// Has the servers of the configuration checked, and no others.
    pub(super) fn check_servers(&mut self, config: &Config) -> io::Result<()> {
        self.checks.settle(checks::targets(&config.plans()))
    }

    fn dump(&self) {
        for (name, stats) in self.context.registry.services() {
            let mut line = self.ctx.log.line(Level::Notice, "state").field("service", name);
            for (counter, word) in COUNTERS {
                line = line.field(word, stats.sum(counter));
            }
            line.send();
        }
        self.ctx
            .log
            .line(Level::Notice, "state")
            .field("connections", self.shared.limit.active())
            .field("queued", self.shared.queue.len())
            .field("workers", self.running())
            .field("listeners", self.listeners.len())
            .send();
    }

    /// Tells what the configuration allows that is unsafe or useless.
    pub(super) fn warn(&self, config: &Config) {
        for warning in &config.warnings {
            self.ctx.log.line(Level::Warning, "config-warning").field("warning", warning).send();
        }
    }

    fn say_started(&self, descriptors: u64) {
        self.ctx
            .log
            .line(Level::Notice, "started")
            .field("version", env!("TUNNEL_VERSION"))
            .field("user", process::user())
            .field("workers", self.global.workers)
            .field("max_connections", self.global.max_connections)
            .field("open_files", descriptors)
            .field("listeners", self.listeners.len())
            .field("config", self.options.config.display())
            .send();
    }

    fn say_stopping(&self, how: &str, why: &str) {
        self.ctx
            .log
            .line(Level::Notice, "stopping")
            .field("how", how)
            .field("reason", why)
            .field("connections", self.shared.limit.active())
            .send();
    }

    fn say_stopped(&self) {
        self.ctx
            .log
            .line(Level::Notice, "stopped")
            .field("connections", self.shared.limit.active())
            .field("lost", self.ctx.log.lost())
            .send();
    }
}

impl Drop for Tunnel {
    /// One that never served, or whose loop broke, must not leave workers behind.
    fn drop(&mut self) {
        self.shared.stop.signal();
    }
}

/// Loads `options.config` and everything it names, without serving it.
///
/// # Errors
/// As [`Tunnel::new`], of the configuration only.
pub fn check(options: &Options) -> Result<Config, StartError> {
    crate::config::load(&options.config, &load_context()?).map_err(StartError::Config)
}

fn load_context() -> Result<LoadContext, StartError> {
    let random = |error: String| StartError::System("cannot get random bytes", error);
    Ok(LoadContext {
        workers_available: thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS),
        registry: Registry::default(),
        tables: Tables::default(),
        quotas: QuotaBook::default(),
        marks: MarkBook::default(),
        resolver: Current::default(),
        watches: Watches::default(),
        secret: ProcessSecret::generate().map_err(|error| random(error.to_string()))?,
    })
}

type Parts = (Loop<Listener>, AcceptCtx, Arc<Shared>, Interface);

fn assemble(config: &Config, log: Log, context: &LoadContext) -> io::Result<Parts> {
    let registry = context.registry.clone();
    let bell = Arc::new(EventFd::new()?);
    let limit = Arc::new(Limit::new(EventFd::new()?));
    let queue = Arc::new(Queue::new(config.global.workers)?);
    let inboxes = Arc::new(Inboxes::new(config.global.workers));
    let names = Names {
        tasks: Tasks::start("name", NAME_THREADS)?,
        inboxes: Arc::clone(&inboxes),
        queue: Arc::clone(&queue),
        resolver: context.resolver.clone(),
    };
    let own = Arc::default();
    let visits = Arc::new(Visits::new(Arc::clone(&bell)));
    let common = Common {
        ids: Arc::new(AtomicU64::new(1)),
        // The standard library's own source of randomness for tables.
        process: RandomState::new().hash_one(std::process::id()),
        log: log.clone(),
        asks: Arc::new(names),
        receives: Arc::clone(&visits) as Arc<dyn Receive>,
        own: View::new(Arc::clone(&own)),
        stats: registry.clone(),
    };
    let shared = Shared {
        queue: Arc::clone(&queue),
        limit: Arc::clone(&limit),
        inboxes,
        common,
        drain: EventFd::new()?,
        stop: EventFd::new()?,
        dump: AtomicBool::new(false),
        running: AtomicUsize::new(0),
        pages: Arc::new(Pages::new(Arc::clone(&bell))),
    };
    let stats = registry.clone();
    let (workers, resolver) = (config.global.workers, context.resolver.clone());
    let interface = Interface::start(&shared, workers, registry, log.clone(), visits, bell, resolver)?;
    let ctx = AcceptCtx { now: clock(), queue, limit, log, stats, own };
    Ok((Loop::new()?, ctx, Arc::new(shared), interface))
}

/// The main thread's one look at the clock per turn.
fn clock() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "here it is read, for all below")]
    Instant::now()
}
