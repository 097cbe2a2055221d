// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reload: everything new is loaded first, on a task thread, and bound and opened; only when all of it is there does anything
//! change, and then nothing can fail any more. Listeners are kept, added and dropped by difference; live connections keep
//! their plan. A daemon that is stopping takes no configuration over, even one that was being loaded.

use super::daemon::Tunnel;
use super::listener::{Change, Listener};
use super::start::{Options, StartError};
use super::tasks::Tasks;
use crate::config::{self, Bind, Config, LoadContext, Report};
use crate::control::bind::Bound;
use crate::error::Reason;
use crate::log::{self, Level};
use crate::sys::address::Address;
use crate::sys::eventfd::EventFd;
use crate::sys::process;
use crossbeam_queue::ArrayQueue;
use std::collections::HashMap;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc;

/// Why a reload is refused once a drain has begun.
const STOPPING: &str = "the daemon is stopping";

/// What each listener that stays needs, by the address it was asked for.
type Changes = HashMap<Address, Change>;

/// What a configuration needs of the system, all of it there.
#[derive(Debug)]
struct Prepared {
    /// Those that are new.
    listeners: Vec<Listener>,
    changes: Changes,
    control: Bound,
    /// The log's target, if it changes.
    log: Option<log::Opened>,
}

/// What loading came to: nothing, if the loader itself failed.
type Answer = Option<Result<Config, Report>>;

/// Where task threads post what they loaded.
#[derive(Debug)]
pub struct Answers {
    queue: ArrayQueue<Answer>,
    bell: EventFd,
}

impl Answers {
    /// # Errors
    /// When the system has no descriptor to give.
    pub fn new() -> io::Result<Self> {
        // One load at a time.
        Ok(Self { queue: ArrayQueue::new(1), bell: EventFd::new()? })
    }

    /// Readable when there is an answer.
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }
}

/// Loads, and answers even if the loader panics.
fn load(options: &Options, context: &LoadContext) -> Answer {
    // Here, where a table of a hundred thousand routes delays nobody.
    context.registry.forget_unused();
    panic::catch_unwind(AssertUnwindSafe(|| config::load(&options.config, context))).ok()
}

/// Has a task thread load the configuration; false if too many tasks wait.
fn submit(tasks: &Tasks, answers: &Arc<Answers>, options: &Options, context: &Arc<LoadContext>) -> bool {
    let (answers, options, context) = (Arc::clone(answers), options.clone(), Arc::clone(context));
    let task = move || {
        drop(answers.queue.force_push(load(&options, &context)));
        answers.bell.signal();
    };
    tasks.submit(Box::new(task)).is_ok()
}

/// At the start there is nothing to do meanwhile: waits for the answer.
pub(super) fn load_and_wait(
    tasks: &Tasks,
    options: &Options,
    context: &Arc<LoadContext>,
) -> Result<Config, StartError> {
    let (sender, receiver) = mpsc::channel();
    let (options, context) = (options.clone(), Arc::clone(context));
    let task = move || drop(sender.send(load(&options, &context)));
    let failed = || StartError::System("cannot load the configuration", "the loader failed".to_owned());
    tasks.submit(Box::new(task)).map_err(|_| failed())?;
    let answer = receiver.recv().ok().flatten().ok_or_else(failed)?;
    answer.map_err(StartError::Config)
}

impl Tunnel {
    /// Takes what the loader answered, and applies it.
    pub(super) fn take_answers(&mut self) {
        self.answers.bell().drain();
        while let Some(answer) = self.answers.queue.pop() {
            self.reloading = false;
            match answer {
                _ if !self.is_serving() => self.refuse(&[STOPPING.to_owned()]),
                Some(Ok(config)) => self.apply(config),
                Some(Err(report)) => self.refuse(&report.errors()),
                None => self.refuse(&["the loader failed".to_owned()]),
            }
        }
        if mem::take(&mut self.reload_again) {
            self.begin_reload();
        }
    }

    /// Reads the configuration anew, on a task thread; the answer comes to [`Self::take_answers`]. Refused at once if it
    /// cannot be begun.
    pub(super) fn begin_reload(&mut self) {
        if !self.is_serving() {
            return self.refuse(&[STOPPING.to_owned()]);
        }
        if self.reloading {
            self.reload_again = true;
            return;
        }
        let line = self.ctx.log.line(Level::Notice, "reload-started");
        line.field("config", self.options.config.display()).send();
        self.reloading = submit(&self.tasks, &self.answers, &self.options, &self.context);
        if !self.reloading {
            self.refuse(&["too many tasks wait".to_owned()]);
        }
    }

    /// The old configuration stays; the log says why.
    fn refuse(&mut self, errors: &[String]) {
        self.interface.loaded(&Err(errors.join("\n")), errors.to_vec());
        for error in errors {
            self.ctx.log.line(Level::Error, "reload-failed").field("error", error).send();
        }
    }

    fn apply(&mut self, config: Config) {
        let Prepared { listeners, changes, control, log } = match self.prepare(&config) {
            Ok(prepared) => prepared,
            Err(errors) => return self.refuse(&errors),
        };
        if let Some(log) = log {
            self.ctx.log.switch(log);
        }
        let (kept, dropped) = self.keep_and_drop(&config.listeners, changes);
        let added = listeners.len();
        for listener in listeners {
            self.open(listener);
        }
        self.publish_addresses();
        self.make_room(&config, process::descriptor_limit());
        // A pause for a limit that was raised is over.
        self.shared.limit.room().signal();
        self.warn(&config);
        self.keep_names(&config);
        if config.global.workers != self.global.workers {
            let text = "the number of workers changes with a restart only";
            self.ctx.log.line(Level::Warning, "config-warning").field("warning", text).send();
        }
        if let Err(error) = self.check_servers(&config) {
            self.ctx.log.line(Level::Error, "checks-failed").field("error", error).send();
        }
        self.interface.takes_configuration(&config);
        self.interface.listen(control);
        let outcome = format!("kept {kept} listeners, added {added}, dropped {dropped}");
        self.interface.loaded(&Ok(outcome), config.warnings);
        let workers = self.global.workers;
        self.global = config.global;
        self.global.workers = workers;
        self.ctx
            .log
            .line(Level::Notice, "reload-done")
            .field("kept", kept)
            .field("added", added)
            .field("dropped", dropped)
            .send();
    }

    /// Does everything that may fail; on failure all is as it was.
    fn prepare(&self, config: &Config) -> Result<Prepared, Vec<String>> {
        let unbound = |(place, error)| vec![format!("cannot open the control interface: {place}: {error}")];
        let (listeners, changes) = self.bind_new(&config.listeners)?;
        let control = self.interface.bind(config).map_err(unbound)?;
        let log = (config.global.log != self.global.log).then(|| self.ctx.log.open(&config.global.log));
        let log = log.transpose().map_err(|error| vec![format!("cannot open the log: {error}")])?;
        // The last, for it is the one that others see at once.
        control.guard().map_err(unbound)?;
        Ok(Prepared { listeners, changes, control, log })
    }

    /// Binds what is not bound yet, and what must be bound anew; or tells all that cannot be.
    fn bind_new(&self, binds: &[Bind]) -> Result<(Vec<Listener>, Changes), Vec<String>> {
        let (mut bound, mut changes, mut errors) = (Vec::new(), HashMap::new(), Vec::new());
        for bind in binds {
            let kept = self.listeners.handlers().find(|listener| *listener.asked() == bind.address);
            let done = match kept {
                Some(listener) => {
                    listener.prepare(bind).map(|change| drop(changes.insert(bind.address.clone(), change)))
                }
                None => Listener::bind(bind, &self.ctx.stats).map(|listener| bound.push(listener)),
            };
            if let Err(error) = done {
                errors.push(format!("cannot listen on {}: {error}", bind.address));
            }
        }
        if errors.is_empty() { Ok((bound, changes)) } else { Err(errors) }
    }

    /// Gives the listeners that stay their new plan and closes the others; how many of each.
    fn keep_and_drop(&mut self, binds: &[Bind], mut changes: Changes) -> (usize, usize) {
        let (mut kept, mut dropped) = (0, 0);
        for key in self.listeners.keys() {
            let Some(listener) = self.listeners.get_mut(key) else { continue };
            let bind = binds.iter().find(|bind| bind.address == *listener.asked());
            match bind {
                Some(bind) => {
                    listener.replace_plan(Arc::clone(&bind.plan), &self.ctx.stats);
                    if let Some(change) = changes.remove(&bind.address) {
                        listener.change(change, bind, &self.ctx);
                    }
                    // The loop may have another socket to watch.
                    self.listeners.poke(key, self.ctx.now, &mut self.ctx);
                    kept += 1;
                }
                None => {
                    listener.accept_rest(&self.ctx);
                    self.listeners.close(key, Reason::Stopped, &mut self.ctx);
                    dropped += 1;
                }
            }
        }
        (kept, dropped)
    }
}
