// SPDX-License-Identifier: MIT OR Apache-2.0
//! Main's side of the control interface: what it publishes of itself, and the orders it takes.
//!
//! Not here: who asks and what is answered (`control/`).

use super::daemon::Tunnel;
use super::worker::Shared;
use crate::config::Config;
use crate::control::Control;
use crate::control::bind::{Bound, Failure};
use crate::control::order::{Order, Orders, Outcome};
use crate::control::running::{Life, Running};
use crate::control::state::Sources;
use crate::control::visits::Visits;
use crate::live::{Live, View};
use crate::log::{Level, Log};
use crate::resolver::Current;
use crate::stats::Registry;
use crate::sys::eventfd::EventFd;
use crate::sys::time;
use std::io;
use std::mem;
use std::sync::Arc;

/// The control thread, and what is between it and main.
#[derive(Debug)]
pub(super) struct Interface {
    control: Arc<Control>,
    pub(super) orders: Arc<Orders>,
    live: Arc<Live<Running>>,
    /// Where it listens; the control thread has it too.
    bound: Bound,
    /// What was published last.
    running: Running,
    /// Orders that wait for the present reload, and for the one after it.
    waiting: Vec<u64>,
    next: Vec<u64>,
}

impl Interface {
    /// Starts the control thread; `bell` is the one the workers ring for pages.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        shared: &Shared,
        workers: usize,
        registry: Registry,
        log: Log,
        visits: Arc<Visits>,
        bell: Arc<EventFd>,
        resolver: Current,
    ) -> io::Result<Self> {
        let orders = Arc::new(Orders::new(Arc::clone(&bell))?);
        let live = Arc::default();
        let sources = Sources {
            registry,
            limit: Arc::clone(&shared.limit),
            queue: Arc::clone(&shared.queue),
            inboxes: Arc::clone(&shared.inboxes),
            pages: Arc::clone(&shared.pages),
            orders: Arc::clone(&orders),
            ids: Arc::clone(&shared.common.ids),
            running: View::new(Arc::clone(&live)),
            visits,
            log,
            resolver,
            workers,
        };
        let control = Control::start(sources, bell)?;
        let (bound, running) = (Bound::default(), Running::default());
        Ok(Self { control, orders, live, bound, running, waiting: Vec::new(), next: Vec::new() })
    }

    /// Binds what the configuration says of the control interface, and changes nothing yet.
    ///
    /// # Errors
    /// What cannot be bound, and the system's error.
    pub(super) fn bind(&self, config: &Config) -> Result<Bound, Failure> {
        self.bound.change(config.control.clone())
    }

    /// Listens there from now on.
    pub(super) fn listen(&mut self, bound: Bound) {
        // At once, and not when the control thread looks: who sees the reload done sees that it is gone.
        if !self.bound.shares_socket(&bound) {
            self.bound.remove_file();
        }
        self.bound = bound.clone();
        self.control.listen(bound);
    }

    /// Listens to nobody any more, and removes the socket's file; who has asked is still answered, as far as time allows.
    pub(super) fn close(&self) {
        self.bound.remove_file();
        self.control.close();
    }

    /// Publishes what `change` makes of what was published last.
    pub(super) fn publish(&mut self, change: impl FnOnce(&mut Running)) {
        change(&mut self.running);
        self.live.set(self.running.clone());
    }

    /// A load of the configuration ended: publishes it, and tells those who asked for it.
    pub(super) fn loaded(&mut self, outcome: &Outcome, messages: Vec<String>) {
        self.publish(|running| {
            running.last_load = time::unix();
            running.last_ok = outcome.is_ok();
            running.messages = messages.into();
            match outcome {
                Ok(_) => {
                    running.applied += 1;
                    running.in_effect_since = running.last_load;
                }
                Err(_) => running.refused += 1,
            }
        });
        for number in mem::replace(&mut self.waiting, mem::take(&mut self.next)) {
            self.orders.answer(number, outcome.clone());
        }
    }

    pub(super) fn takes_configuration(&mut self, config: &Config) {
        self.publish(|running| {
            running.effective = config.effective().into();
            running.max_connections = config.global.max_connections;
            running.log_level = config.global.log.level.name();
            running.plans = config.plans().into();
        });
    }
}

impl Drop for Interface {
    /// A start that failed leaves no file behind; the control thread holds the socket for as long as the process lives.
    fn drop(&mut self) {
        self.bound.remove_file();
    }
}

impl Tunnel {
    pub(super) fn obey_orders(&mut self) {
        self.interface.orders.bell().drain();
        while let Some((number, order)) = self.interface.orders.take() {
            let outcome = match order {
                Order::Reload if !self.is_serving() => Err("the daemon is stopping".to_owned()),
                Order::Reload => {
                    let (later, interface) = (self.reloading, &mut self.interface);
                    if later { &mut interface.next } else { &mut interface.waiting }.push(number);
                    self.begin_reload();
                    continue;
                }
                Order::Drain if self.is_serving() => {
                    self.drain("the control interface");
                    Ok("draining".to_owned())
                }
                Order::Drain => Err("the daemon is stopping already".to_owned()),
                Order::LogLevel(level) => self.set_log_level(level),
                Order::ReopenLogs => {
                    self.ctx.log.reopen();
                    Ok("the log is opened anew".to_owned())
                }
            };
            self.interface.orders.answer(number, outcome);
        }
    }

    fn set_log_level(&mut self, level: Level) -> Outcome {
        self.ctx.log.set_level(level);
        self.interface.publish(|running| running.log_level = level.name());
        Ok(format!(
            "lines from level {} on are logged, until the configuration of the log changes",
            level.name()
        ))
    }

    pub(super) fn publish_life(&mut self, life: Life) {
        self.interface.publish(|running| running.life = life);
    }
}
