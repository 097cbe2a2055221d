// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration: from `tunnel.conf` to what the daemon serves.
//!
//! Three stages: `raw` is the file as written, `check` gives it meaning (`settings`), `load` resolves names, loads
//! certificates and builds plans. All problems of all stages and files are collected in one [`Report`]. A [`Config`]
//! is immutable; a reload makes a new one. Not here: who listens, and how a new configuration replaces an old one.

mod address;
mod check;
mod control;
mod dump;
mod find;
mod health;
mod include;
mod limit;
mod load;
mod names;
mod needs;
mod networks;
mod proxy;
mod raw;
mod reply;
mod report;
mod resolver;
mod route;
mod rule;
mod server;
mod service;
mod settings;
mod side;
mod socket;
mod socks;
mod starttls;
mod tables;
#[cfg(test)]
mod tests;
mod tls;
mod tls_client;
mod tree;
mod values;
mod via;

pub use find::control_socket;
pub use report::Report;
pub use report::nearest;
pub use resolver::Kept;
pub use settings::Global;
pub use tables::{TABLES, Table};
pub(crate) use values::format_duration;

use self::load::Loaded;
use crate::connection::plan::Plan;
use crate::policy::access::ControlSettings;
use crate::policy::marks::MarkBook;
use crate::policy::quota::QuotaBook;
use crate::policy::tls_server::ProcessSecret;
use crate::policy::track::Tables;
use crate::policy::watch::Watches;
use crate::resolver::{Current, Resolver};
use crate::stats::Registry;
use crate::sys::address::Address;
use crate::sys::listening::ListenOptions;
use std::path::Path;
use std::sync::Arc;

/// A configuration that was read, checked and loaded with everything it names. Immutable.
#[derive(Debug)]
pub struct Config {
    pub global: Global,
    pub control: ControlSettings,
    /// At least one.
    pub listeners: Vec<Bind>,
    /// Whom to ask for names.
    pub resolver: Arc<Resolver>,
    /// The names to keep asking for.
    pub names: Vec<Kept>,
    /// Warnings found on the way, one line each ("FILE:LINE:COL: warning: …").
    pub warnings: Vec<String>,
    effective: String,
}

/// One listening address and what happens to its connections.
#[derive(Clone, Debug)]
pub struct Bind {
    pub address: Address,
    pub plan: Arc<Plan>,
    /// What the socket is told, the same for all addresses of a service.
    pub options: Arc<ListenOptions>,
}

/// What loading needs from the process.
#[derive(Debug)]
pub struct LoadContext {
    /// What `workers = "auto"` means: the processors this process may use.
    pub workers_available: usize,
    /// Where counters live, over all configurations.
    pub registry: Registry,
    /// What the operator says of servers, over all configurations.
    pub marks: MarkBook,
    /// What the limits of rules have counted, over all configurations.
    pub tables: Tables,
    /// What the limits of services and routes have counted, over all configurations.
    pub quotas: QuotaBook,
    /// Who is asked for names; the next configuration takes over what it knows.
    pub resolver: Current,
    /// The names that are looked after; the next configuration takes over where they lead.
    pub watches: Watches,
    /// From which ticket keys derive.
    pub secret: ProcessSecret,
}

/// Reads, checks and loads the configuration file `path`.
///
/// Blocks while names are resolved, a few seconds where no name to listen on is among them: call it on a task thread. Nothing outside changes when it fails.
///
/// # Errors
/// Everything that is wrong with all files, with warnings among it.
pub fn load(path: &Path, context: &LoadContext) -> Result<Config, Report> {
    let mut report = Report::default();
    let documents = include::read_all(path, &mut report);
    let settings = check::check(&documents, context.workers_available, &mut report);
    // Of 100,000 routes, the text as a tree takes more room than what is made of it.
    drop(documents);
    match load::load(&settings, context, &mut report) {
        Some(Loaded { listeners, control, resolver, names }) => Ok(Config {
            effective: dump::dump(&settings),
            global: settings.global,
            control,
            listeners,
            resolver,
            names,
            warnings: report.warnings(),
        }),
        None => Err(report),
    }
}

impl Config {
    /// The plans of its services, in their order.
    pub fn plans(&self) -> Vec<Arc<Plan>> {
        let mut plans: Vec<Arc<Plan>> = Vec::new();
        for bind in &self.listeners {
            // Those of one service stand together.
            if !plans.last().is_some_and(|last| Arc::ptr_eq(last, &bind.plan)) {
                plans.push(Arc::clone(&bind.plan));
            }
        }
        plans
    }

    /// The configuration as TOML with every default filled in; it can be read again and means the same.
    pub fn effective(&self) -> &str {
        &self.effective
    }
}
