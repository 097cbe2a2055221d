// SPDX-License-Identifier: MIT OR Apache-2.0
//! The listeners, with what the kernel says of their queues.

use super::View;
use super::shapes::traffic;
use crate::control::model::Listener;
use crate::sys::address::Address;
use crate::sys::{backlog, time};

pub(super) fn listeners(view: &View<'_>) -> Vec<Listener> {
    let addresses: Vec<Address> =
        view.running.listeners.iter().map(|listening| listening.address.clone()).collect();
    let waiting = if view.is_serving() { backlog::backlogs(&addresses) } else { Vec::new() };
    let mut waiting = waiting.into_iter();
    let now = time::unix();
    let listener = |listening: &crate::control::running::Listening| {
        let paused = listening.stats.paused();
        let (backlog, backlog_limit) =
            waiting.next().flatten().map_or((-1, -1), |(waiting, most)| (waiting.into(), most.into()));
        let state = match paused {
            _ if !view.is_serving() => "closed",
            Some(_) => "paused",
            None => "accepting",
        };
        Listener {
            address: listening.address.to_string(),
            service: listening.service.to_string(),
            state: state.to_owned(),
            reason: paused.map(|pause| pause.reason().to_owned()).unwrap_or_default(),
            backlog,
            backlog_limit,
            uptime: (now - listening.since).max(0.0),
            traffic: traffic(view, &listening.stats),
        }
    };
    view.running.listeners.iter().map(listener).collect()
}
