// SPDX-License-Identifier: MIT OR Apache-2.0
//! A snapshot in the text format of Prometheus (exposition format 0.0.4): a pure function of the snapshot and a filter.
//!
//! Names and labels have HAProxy's shape, so that dashboards and alerts made for it are ported by search and replace:
//! frontends are services, backends their routes. Label values come from the configuration or from fixed sets, never from
//! clients, so the number of series is bounded by the configuration. Names are public interface.
//!
//! The crates there are write OpenMetrics, whose `# TYPE` lines name counters without `_total`; the linter of Prometheus
//! takes that for untyped counters. The format is a page long, so it is written here (`text.rs`).

mod families;
mod table;
mod text;

pub use table::METRICS;

use super::model::{Listener, Process, Route, Server, Service, Snapshot, Timing, Worker};
use text::Text;

/// The media type of what [`metrics`] makes.
pub const MEDIA: &str = "text/plain; version=0.0.4; charset=utf-8";

/// One family of series.
#[derive(Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    pub scope: Scope,
    /// One sentence; its unit is in the name.
    pub help: &'static str,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// As `# TYPE` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What a family tells of; the values of `?scope=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Process,
    /// A service.
    Frontend,
    Listener,
    /// A route.
    Backend,
    Server,
    Worker,
    Certificate,
}

impl Scope {
    /// Every scope with its name, in the order of the output.
    pub const ALL: [(&'static str, Self); 7] = [
        ("process", Self::Process),
        ("frontend", Self::Frontend),
        ("listener", Self::Listener),
        ("backend", Self::Backend),
        ("server", Self::Server),
        ("worker", Self::Worker),
        ("certificate", Self::Certificate),
    ];

    /// The scope of that name; "global" is HAProxy's word for "process".
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "global" { "process" } else { name };
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, scope)| *scope)
    }

    /// The labels its series have, beside those of one family.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Process => &[],
            Self::Frontend | Self::Backend => &["proxy"],
            Self::Listener => &["proxy", "listener"],
            Self::Server => &["proxy", "server"],
            Self::Worker => &["worker"],
            Self::Certificate => &["file"],
        }
    }
}

/// Where the values of a family come from.
#[derive(Debug)]
enum Of {
    Process(fn(&Process) -> Value),
    Frontend(fn(&Service) -> Value),
    FrontendTiming(fn(&Service) -> &Timing),
    Listener(fn(&Listener) -> Value),
    Backend(fn(&Route) -> Value),
    Server(fn(&Server) -> Value),
    ServerTiming(fn(&Server) -> &Timing),
    Worker(fn(&Worker) -> Value),
    WorkerTiming(fn(&Worker) -> &Timing),
    /// Families with labels of their own.
    Each(fn(&Snapshot, &mut Text)),
}

/// One value. Counts are written as the whole numbers they are.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Count(u64),
    Real(f64),
    /// Unknown, or it never happened: there is no sample.
    Absent,
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Count(u64::from(value))
    }
}

/// Which families are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// None: all.
    scopes: Vec<Scope>,
    /// None: all.
    names: Vec<String>,
    without: Vec<String>,
}

impl Filter {
    /// From the fields of a query: `scope` (repeated, or several with commas; "*" is all) and `metrics` (names with commas;
    /// "-name" leaves one out). Others are ignored.
    ///
    /// # Errors
    /// What there is no scope or metric of the name of.
    pub fn new(query: &[(String, String)]) -> Result<Self, String> {
        let mut filter = Self::default();
        let words = |key: &'static str| {
            let values = query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value);
            values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
        };
        let mut every = false;
        for word in words("scope") {
            every |= word == "*";
            match Scope::named(word) {
                Some(scope) => filter.scopes.push(scope),
                None if word == "*" => {}
                None => return Err(format!("there is no scope {word:?}")),
            }
        }
        if every {
            filter.scopes.clear();
        }
        for word in words("metrics") {
            let (name, list) = match word.strip_prefix('-') {
                Some(name) => (name, &mut filter.without),
                None => (word, &mut filter.names),
            };
            if !METRICS.iter().any(|metric| metric.name == name) {
                return Err(format!("there is no metric {name:?}"));
            }
            list.push(name.to_owned());
        }
        Ok(filter)
    }

    fn takes(&self, metric: &Metric) -> bool {
        let is = |name: &String| name == metric.name;
        (self.scopes.is_empty() || self.scopes.contains(&metric.scope))
            && (self.names.is_empty() || self.names.iter().any(is))
            && !self.without.iter().any(is)
    }
}

/// The metrics that `filter` takes.
pub fn metrics(snapshot: &Snapshot, filter: &Filter) -> String {
    let mut text = Text::default();
    for metric in METRICS.iter().filter(|metric| filter.takes(metric)) {
        text.family(metric.name, metric.kind, metric.help);
        metric.samples(snapshot, &mut text);
    }
    text.finish()
}

/// As what a route appears: its service, and its own name unless it is the only one there can be.
fn proxy(service: &Service, route: &Route) -> String {
    if route.name.is_empty() || route.name == "default" {
        service.name.clone()
    } else {
        format!("{}/{}", service.name, route.name)
    }
}

/// Calls `tell` with every server, its route's and its own label. Servers may be configured twice under one name.
fn each_server(snapshot: &Snapshot, mut tell: impl FnMut(&Server, &str, &str)) {
    for service in &snapshot.services {
        for route in &service.routes {
            let proxy = proxy(service, route);
            for (index, server) in route.servers.iter().enumerate() {
                let again = route.servers[..index].iter().any(|other| other.name == server.name);
                if again {
                    tell(server, &proxy, &format!("{}#{}", server.name, server.number));
                } else {
                    tell(server, &proxy, &server.name);
                }
            }
        }
    }
}

impl Metric {
    fn samples(&self, snapshot: &Snapshot, text: &mut Text) {
        let workers = snapshot.workers.iter().map(|worker| (worker, worker.number.to_string()));
        match self.of {
            Of::Process(value) => text.sample(&[], value(&snapshot.process)),
            Of::Frontend(value) => {
                snapshot.services.iter().for_each(|s| text.sample(&[("proxy", &s.name)], value(s)));
            }
            Of::FrontendTiming(timing) => {
                snapshot.services.iter().for_each(|s| text.histogram(&[("proxy", &s.name)], timing(s)));
            }
            Of::Listener(value) => {
                for listener in &snapshot.listeners {
                    let labels = [("proxy", &*listener.service), ("listener", &*listener.address)];
                    text.sample(&labels, value(listener));
                }
            }
            Of::Backend(value) => {
                for service in &snapshot.services {
                    for route in &service.routes {
                        text.sample(&[("proxy", &proxy(service, route))], value(route));
                    }
                }
            }
            Of::Server(value) => each_server(snapshot, |server, proxy, name| {
                text.sample(&[("proxy", proxy), ("server", name)], value(server));
            }),
            Of::ServerTiming(timing) => each_server(snapshot, |server, proxy, name| {
                text.histogram(&[("proxy", proxy), ("server", name)], timing(server));
            }),
            Of::Worker(value) => {
                workers.for_each(|(w, number)| text.sample(&[("worker", &number)], value(w)));
            }
            Of::WorkerTiming(timing) => {
                workers.for_each(|(w, number)| text.histogram(&[("worker", &number)], timing(w)));
            }
            Of::Each(tell) => tell(snapshot, text),
        }
    }
}

#[cfg(test)]
mod tests;
