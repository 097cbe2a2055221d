// SPDX-License-Identifier: MIT OR Apache-2.0
//! Commands that change something: what is wanted of servers, and what only main can do.
//!
//! Not here: closing connections (`connections.rs`), what comes of an order (`control/order.rs`).

use super::shown::server_name;
use super::{Call, Done};
use crate::control::order::Order;
use crate::log;
use crate::policy::health::Seen;
use crate::policy::marks::{Admin, HEAVIEST, Marks};
use crate::policy::service::{Route, Service};
use crate::sys::time;
use std::sync::Arc;

/// A server that was named.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) service: String,
    pub(super) route: String,
    /// What its name resolved to.
    pub(super) addresses: Vec<String>,
    pub(super) marks: Arc<Marks>,
    /// As configured.
    pub(super) weight: u16,
}

pub(super) fn reload(_: &mut Call<'_>) -> Done {
    Done::Order(Order::Reload)
}

pub(super) fn drain(_: &mut Call<'_>) -> Done {
    Done::Order(Order::Drain)
}

pub(super) fn reopen_logs(_: &mut Call<'_>) -> Done {
    Done::Order(Order::ReopenLogs)
}

pub(super) fn log_level(call: &mut Call<'_>) -> Done {
    match call.words.first().and_then(|word| log::Level::from_name(word)) {
        Some(level) => Done::Order(Order::LogLevel(level)),
        None => Done::Refused(format!("Expects one of {}.", log::Level::NAMES.join(", "))),
    }
}

pub(super) fn disable(call: &mut Call<'_>) -> Done {
    set_admin(call, Admin::Maint)
}

pub(super) fn enable(call: &mut Call<'_>) -> Done {
    set_admin(call, Admin::Ready)
}

fn set_admin(call: &mut Call<'_>, admin: Admin) -> Done {
    match find_server(call) {
        Ok(server) => {
            server.marks.set_admin(admin, time::unix());
            call.state.changed();
            Done::Silent
        }
        Err(why) => Done::Refused(why),
    }
}

pub(super) fn disable_health(call: &mut Call<'_>) -> Done {
    watch(call, false)
}

pub(super) fn enable_health(call: &mut Call<'_>) -> Done {
    watch(call, true)
}

fn watch(call: &mut Call<'_>, watched: bool) -> Done {
    match find_server(call) {
        Ok(server) => {
            server.marks.health.watch(watched);
            call.state.changed();
            Done::Silent
        }
        Err(why) => Done::Refused(why),
    }
}

/// What the operator says checks would find; they may find otherwise later.
fn set_health(call: &mut Call<'_>, seen: Option<Seen>) -> Done {
    let Some(seen) = seen.filter(|seen| *seen != Seen::Unchecked) else {
        return Done::Refused("'set server <srv> health' expects 'up', 'stopping', or 'down'.".to_owned());
    };
    match find_server(call) {
        Ok(server) => {
            // Who changed it stands in the log with the command itself.
            let now = call.state.sources.registry.clock().at(call.state.now);
            let _told_by_the_command = server.marks.health.set_seen(seen, now);
            call.state.changed();
            Done::Silent
        }
        Err(why) => Done::Refused(why),
    }
}

/// `set server B/S state T`, `set server B/S health T` and `set server B/S weight N`.
pub(super) fn set_server(call: &mut Call<'_>) -> Done {
    let word = |at: usize| call.words.get(at).map(String::as_str);
    match (word(1), word(2)) {
        (Some("state"), state) => match state.and_then(Admin::from_name) {
            Some(admin) => set_admin(call, admin),
            None => {
                Done::Refused("'set server <srv> state' expects 'ready', 'drain' and 'maint'.".to_owned())
            }
        },
        (Some("health"), health) => {
            let seen = health.and_then(Seen::from_name);
            set_health(call, seen)
        }
        (Some("weight"), weight) => {
            let weight = weight.map(str::to_owned);
            change_weight(call, weight.as_deref())
        }
        _ => Done::Refused("'set server <srv>' only supports 'state', 'health' and 'weight'.".to_owned()),
    }
}

/// `set weight B/S N`.
pub(super) fn set_weight(call: &mut Call<'_>) -> Done {
    let weight = call.words.get(1).cloned();
    change_weight(call, weight.as_deref())
}

fn change_weight(call: &mut Call<'_>, weight: Option<&str>) -> Done {
    let server = match find_server(call) {
        Ok(server) => server,
        Err(why) => return Done::Refused(why),
    };
    match read_weight(weight, server.weight) {
        Ok(weight) => {
            server.marks.set_weight(weight);
            call.state.changed();
            Done::Silent
        }
        Err(why) => Done::Refused(why.to_owned()),
    }
}

/// A weight, or a share of the one that was configured.
fn read_weight(text: Option<&str>, configured: u16) -> Result<u16, &'static str> {
    let text = text.filter(|text| !text.is_empty()).ok_or("Require <weight> or <weight%>.")?;
    let (digits, relative) = match text.strip_suffix('%') {
        Some(digits) => (digits, true),
        None => (text, false),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) || digits.is_empty() {
        return Err("Trailing garbage in weight string.");
    }
    let number = digits.parse::<u32>().unwrap_or(u32::MAX);
    // Something that is not nothing stays something.
    let weight = if relative { number.saturating_mul(u32::from(configured)).div_ceil(100) } else { number };
    match u16::try_from(weight) {
        Ok(weight) if weight <= HEAVIEST => Ok(weight),
        _ if relative => Err("Relative weight can only lead to 0 to 256 inclusive."),
        _ => Err("Absolute weight can only be between 0 and 256 inclusive."),
    }
}

pub(super) fn get_weight(call: &mut Call<'_>) -> Done {
    match find_server(call) {
        Ok(server) => {
            let now = server.marks.weight().unwrap_or(server.weight);
            Done::Text(format!("{now} (initial {})\n", server.weight))
        }
        Err(why) => Done::Refused(why),
    }
}

/// The server that the first word names: `service/route/server`, or `service/server` where no other route has one of that
/// name.
pub(super) fn find_server(call: &mut Call<'_>) -> Result<Found, String> {
    let said = call.words.first().filter(|said| said.contains('/'));
    let said = said.ok_or_else(|| "Require 'backend/server'.".to_owned())?;
    let running = call.state.running();
    let mut knows_service = false;
    for service in running.plans.iter().map(|plan| &plan.service) {
        let Some(name) = said.strip_prefix(&*service.name).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        knows_service = true;
        let whole =
            |route: &Route, server: &str| server_name(service.routes.len(), &route.name, server) == name;
        if let Some(found) =
            service.routes.iter().find_map(|route| found(service, route, |one| whole(route, one)))
        {
            return Ok(found);
        }
        let mut several = service.routes.iter().filter_map(|route| found(service, route, |one| one == name));
        match (several.next(), several.next()) {
            (Some(one), None) => return Ok(one),
            (Some(_), Some(_)) => {
                return Err("Several routes have that server: say 'backend/route/server'.".to_owned());
            }
            _ => {}
        }
    }
    Err(if knows_service { "No such server." } else { "No such backend." }.to_owned())
}

/// The server of a route whose name `is_it`.
fn found(service: &Service, route: &Route, is_it: impl Fn(&str) -> bool) -> Option<Found> {
    let mut servers = route.upstream.servers.iter().filter(|server| is_it(&server.name)).peekable();
    let first = servers.peek()?;
    let (marks, weight) = (first.marks.clone()?, first.weight);
    let addresses =
        servers.flat_map(|server| server.place.all()).map(|address| address.to_string()).collect();
    let (service, route) = (service.name.to_string(), route.name.to_string());
    Some(Found { service, route, addresses, marks, weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::upstream::WEIGHT;

    #[test]
    fn weights_are_numbers_or_shares() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("256", Ok(256)),
            ("50%", Ok(1)),
            ("0%", Ok(0)),
            ("300%", Ok(3)),
            ("257", Err("Absolute weight can only be between 0 and 256 inclusive.")),
            ("99999999999999999999", Err("Absolute weight can only be between 0 and 256 inclusive.")),
            ("99999%", Err("Relative weight can only lead to 0 to 256 inclusive.")),
            ("1x", Err("Trailing garbage in weight string.")),
            ("-1", Err("Trailing garbage in weight string.")),
            ("%", Err("Trailing garbage in weight string.")),
            ("", Err("Require <weight> or <weight%>.")),
        ] {
            assert_eq!(read_weight(Some(text), WEIGHT), expected, "{text:?}");
        }
        assert_eq!(read_weight(None, WEIGHT), Err("Require <weight> or <weight%>."));
    }
}
