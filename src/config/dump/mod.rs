// SPDX-License-Identifier: MIT OR Apache-2.0
//! The effective configuration as TOML, for `-T`: every default filled in, includes put in place, paths absolute,
//! what a route's `tls` inherits written out.
//!
//! Invariant: what is written here can be read again and means the same. Files that hold secrets are shown by their
//! paths, never opened. No key holds a secret itself; the first one that does gets a type of its own below, whose
//! `Serialize` writes `***`, so that nobody can forget to mask it.

mod control;
mod health;
mod limit;
mod policy;
mod resolver;
mod server;
mod socket;
#[cfg(test)]
mod tests;
mod tls;

use self::control::Control;
use self::health::{Check, PassiveTable, Switched};
use self::limit::Limit;
use self::policy::{Connect, Monitor, ProxyProtocol, Route, Rule};
use self::resolver::Resolver;
use self::server::{Server, Spread};
use self::socket::AcceptSocket;
use self::tls::AcceptTls;
use super::address::Target;
use super::check::level_name;
use super::needs::PEEKS;
use super::raw::At;
use super::settings::{self, Endpoint, ServiceSettings, Settings};
use super::values::{format_duration, format_size};
use crate::log;
use crate::policy::service::{Timeouts, Truncation};
use crate::sys::address::Address;
use serde::Serialize;
use std::path::Path;

/// Writes `settings` as TOML.
pub(super) fn dump(settings: &Settings) -> String {
    let file = File {
        global: Global {
            workers: settings.global.workers,
            max_connections: settings.global.max_connections,
            shutdown_timeout: format_duration(settings.global.shutdown_timeout),
            log: Log::of(&settings.global.log),
        },
        control: Control::of(&settings.control),
        resolver: Resolver::of(&settings.resolver),
        service: settings.services.iter().map(Service::of).collect(),
    };
    // Only maps with keys that are no strings cannot be TOML, and there are none above.
    toml::to_string(&file).unwrap_or_else(|error| format!("# the configuration cannot be shown: {error}\n"))
}

#[derive(Serialize)]
struct File {
    global: Global,
    #[serde(skip_serializing_if = "Option::is_none")]
    control: Option<Control>,
    resolver: Resolver,
    service: Vec<Service>,
}

#[derive(Serialize)]
struct Global {
    workers: usize,
    max_connections: usize,
    shutdown_timeout: String,
    log: Log,
}

#[derive(Serialize)]
struct Log {
    target: String,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    facility: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<String>,
}

#[derive(Serialize)]
struct Service {
    name: String,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socks: Option<Socks>,
    /// Not where nobody is listened to.
    #[serde(skip_serializing_if = "Option::is_none")]
    peek: Option<&'static str>,
    buffer: String,
    truncation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    monitor: Option<Monitor>,
    accept: Accept,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Connect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Switched<Check>>,
    /// Not where nobody is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    passive: Option<Switched<PassiveTable>>,
    #[serde(flatten)]
    spread: Spread,
    timeout: Timeout,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server: Vec<Server>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rule: Vec<Rule>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    route: Vec<Route>,
}

/// Nothing where everybody may ask.
#[derive(Serialize)]
struct Socks {
    users: String,
}

#[derive(Serialize)]
struct Accept {
    address: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    starttls: Option<&'static str>,
    owner: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<AcceptSocket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<AcceptTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy_protocol: Option<ProxyProtocol>,
}

#[derive(Serialize)]
struct Timeout {
    handshake: String,
    connect: String,
    idle: String,
    half_close: String,
    linger: String,
    tarpit: String,
}

impl Log {
    fn of(log: &log::Settings) -> Self {
        let level = level_name(log.level);
        match &log.target {
            log::Target::Syslog { facility, socket } => Self {
                target: "syslog".to_owned(),
                level,
                facility: Some(facility_name(*facility)),
                socket: Some(path(socket)),
            },
            log::Target::Stderr => Self { target: "stderr".to_owned(), level, facility: None, socket: None },
            log::Target::File(file) => {
                Self { target: format!("file:{}", path(file)), level, facility: None, socket: None }
            }
        }
    }
}

impl Service {
    fn of(service: &ServiceSettings) -> Self {
        let permit = service.socket.permit.as_ref();
        let name = |name: Option<&At<String>>| name.map(|name| name.value.clone());
        let base_ca = service.accept_tls.as_ref().is_some_and(|tls| tls.spec.client_ca.is_some());
        Self {
            name: service.name.clone(),
            mode: service.mode.name,
            reply: service.reply.as_ref().map(|reply| reply.written.to_string()),
            socks: service.socks.as_ref().map(|users| Socks { users: path(&users.value) }),
            peek: service.reply.is_none().then(|| word(&PEEKS, service.peek)),
            buffer: format_size(u64::try_from(service.buffer).unwrap_or(u64::MAX)),
            truncation: match service.truncation {
                Truncation::Reset => "reset",
                Truncation::Close => "close",
            },
            monitor: service.monitor.as_ref().map(Monitor::of),
            accept: Accept {
                address: service.accept.iter().map(address).collect(),
                starttls: service.starttls.map(|protocol| protocol.value.name),
                owner: name(permit.and_then(|permit| permit.owner.as_ref())),
                group: name(permit.and_then(|permit| permit.group.as_ref())),
                mode: permit.map(|permit| format!("{:04o}", permit.mode)),
                socket: AcceptSocket::of(&service.socket.options),
                tls: service.accept_tls.as_ref().map(|tls| AcceptTls::of(&tls.spec, false)),
                proxy_protocol: service.proxy_protocol.as_ref().map(ProxyProtocol::of),
            },
            connect: service.connect.as_ref().map(Connect::of),
            check: service.health.check.as_ref().map(health::check),
            passive: service
                .mode
                .connects
                .then(|| health::passive(&service.health.passive.unwrap_or_default())),
            spread: Spread::whole(service.spread, service.connect.as_ref()),
            timeout: Timeout::of(&service.timeouts),
            limit: service.limit.as_ref().map(Limit::of),
            server: service.connect.as_ref().map(Server::all).unwrap_or_default(),
            rule: service.rules.iter().map(Rule::of).collect(),
            route: service.routes.iter().map(|route| Route::of(route, base_ca)).collect(),
        }
    }
}

impl Timeout {
    fn of(timeouts: &Timeouts) -> Self {
        Self {
            handshake: format_duration(timeouts.handshake),
            connect: format_duration(timeouts.connect),
            idle: format_duration(timeouts.idle),
            half_close: format_duration(timeouts.half_close),
            linger: format_duration(timeouts.linger),
            tarpit: format_duration(timeouts.tarpit),
        }
    }
}

/// The word that stands for `value`.
fn word<T: Copy + PartialEq>(words: &[(&'static str, T)], value: T) -> &'static str {
    words.iter().find(|(_, known)| *known == value).map_or("", |(word, _)| word)
}

fn facility_name(facility: log::Facility) -> &'static str {
    let known = |name: &&&str| log::Facility::from_name(name) == Some(facility);
    log::Facility::NAMES.iter().find(known).map_or(settings::FACILITY.0, |name| name)
}

/// The address as written, but a unix path absolute: the dump may be read from elsewhere.
fn address(endpoint: &Endpoint) -> String {
    match &endpoint.target {
        Target::Ready(Address::Unix(file)) => format!("unix:{}", path(file)),
        _ => endpoint.text.value.clone(),
    }
}

/// A path as text; in TOML it cannot be anything but UTF-8.
fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
