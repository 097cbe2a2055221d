// SPDX-License-Identifier: MIT OR Apache-2.0
//! Servers and how they are chosen from, as `-T` shows it.

use super::address;
use super::health::{self, Check, Switched};
use crate::config::settings::{self, ConnectSettings, QUEUE_LENGTH, QUEUE_TIMEOUT, ServerSettings};
use crate::config::values::format_duration;
use crate::policy::balance::Kind;
use serde::Serialize;

#[derive(Default, Serialize)]
pub(super) struct Spread {
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retries: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
}

#[derive(Serialize)]
struct Queue {
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Server {
    /// Nothing where its address is its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expand: Option<usize>,
    weight: u16,
    backup: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_start: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Switched<Check>>,
}

impl Spread {
    /// As a route says it: what it does not say comes from its service.
    pub(super) fn written(spread: settings::Spread) -> Self {
        let queue = Queue { length: spread.queue_length, timeout: spread.queue_timeout.map(format_duration) };
        let says = queue.length.is_some() || queue.timeout.is_some();
        Self {
            balance: spread.balance.map(Kind::word),
            retries: spread.retries,
            queue: says.then_some(queue),
        }
    }

    /// As it is for a service, with every default that has an effect.
    pub(super) fn whole(spread: settings::Spread, connect: Option<&ConnectSettings>) -> Self {
        let servers = connect.map_or(&[][..], |connect| &connect.servers);
        let bounded = servers.iter().any(|server| server.max_connections.is_some());
        let defaults = settings::Spread {
            balance: connect.map(|_| Kind::default()),
            queue_length: bounded.then_some(QUEUE_LENGTH),
            queue_timeout: bounded.then_some(QUEUE_TIMEOUT),
            retries: None,
        };
        Self::written(spread.or(defaults))
    }
}

impl Server {
    /// Those that have tables of their own.
    pub(super) fn all(connect: &ConnectSettings) -> Vec<Self> {
        connect.servers.iter().map(Self::of).collect()
    }

    fn of(server: &ServerSettings) -> Self {
        Self {
            name: (server.name.value != server.endpoint.text.value).then(|| server.name.value.clone()),
            address: address(&server.endpoint),
            expand: server.expand.map(|at| at.value),
            weight: server.weight,
            backup: server.backup,
            max_connections: server.max_connections,
            slow_start: server.slow_start.map(format_duration),
            check: server.check.as_ref().map(health::check),
        }
    }
}
