// SPDX-License-Identifier: MIT OR Apache-2.0
//! Families with labels of their own, and the values that take more than a field.

use super::text::Text;
use super::{Value, each_server, proxy};
use crate::control::model::{Certificate, Rule, Server, Service, Share, Snapshot};

/// A time of day; 0 is none.
pub(super) fn at(time: f64) -> Value {
    if time > 0.0 { time.into() } else { Value::Absent }
}

/// A length; below 0 it is unknown.
pub(super) fn known(length: i64) -> Value {
    u64::try_from(length).map_or(Value::Absent, Value::from)
}

pub(super) fn build(snapshot: &Snapshot, text: &mut Text) {
    let process = &snapshot.process;
    text.sample(
        &[
            ("version", &*process.version),
            ("commit", &*process.commit),
            ("tls_library", &*process.tls_library),
        ],
        true,
    );
}

pub(super) fn threads(snapshot: &Snapshot, text: &mut Text) {
    text.sample(&[], snapshot.workers.len() as u64);
}

pub(super) fn reloads(snapshot: &Snapshot, text: &mut Text) {
    let reload = &snapshot.process.reload;
    text.sample(&[("result", "applied")], reload.applied);
    text.sample(&[("result", "refused")], reload.refused);
}

pub(super) fn problems(snapshot: &Snapshot, text: &mut Text) {
    for severity in ["error", "warning"] {
        let problems = snapshot.process.problems.iter().filter(|problem| problem.severity == severity);
        text.sample(&[("severity", severity)], problems.count() as u64);
    }
}

/// One sample per state there can be, 1 for the present one, as HAProxy does it.
fn states(text: &mut Text, labels: &[(&str, &str)], all: &[&str], present: &str) {
    for state in all {
        let mut labels = labels.to_vec();
        labels.push(("state", state));
        text.sample(&labels, state.eq_ignore_ascii_case(present));
    }
}

pub(super) fn service_states(snapshot: &Snapshot, text: &mut Text) {
    for service in &snapshot.services {
        let all = ["UP", "DRAINING", "PAUSED", "REMOVED"];
        states(text, &[("proxy", &service.name)], &all, &service.state);
    }
}

pub(super) fn listener_states(snapshot: &Snapshot, text: &mut Text) {
    for listener in &snapshot.listeners {
        let labels = [("proxy", &*listener.service), ("listener", &*listener.address)];
        states(text, &labels, &["ACCEPTING", "PAUSED", "CLOSED"], &listener.state);
    }
}

/// A route is up while it has a server that gets connections, or needs none.
pub(super) fn route_states(snapshot: &Snapshot, text: &mut Text) {
    for service in &snapshot.services {
        for route in &service.routes {
            let up = route.servers.is_empty() || route.servers.iter().any(takes_more);
            let present = if up { "UP" } else { "DOWN" };
            states(text, &[("proxy", &proxy(service, route))], &["UP", "DOWN"], present);
        }
    }
}

/// Whether it gets new connections.
pub(super) fn takes_more(server: &Server) -> bool {
    server_state(server) == "UP"
}

/// What the operator says comes first. A server that nobody checks is held to be up, as HAProxy does.
fn server_state(server: &Server) -> &'static str {
    match (&*server.admin, &*server.state) {
        ("maint", _) => "MAINT",
        ("drain", _) => "DRAIN",
        (_, "down") => "DOWN",
        (_, "unresolved") => "MAINT",
        (_, "paused" | "stopping") => "NOLB",
        _ => "UP",
    }
}

pub(super) fn server_states(snapshot: &Snapshot, text: &mut Text) {
    each_server(snapshot, |server, proxy, name| {
        let all = ["UP", "DOWN", "DRAIN", "MAINT", "NOLB"];
        states(text, &[("proxy", proxy), ("server", name)], &all, server_state(server));
    });
}

pub(super) fn check_states(snapshot: &Snapshot, text: &mut Text) {
    each_server(snapshot, |server, proxy, name| {
        if let Some(check) = server.checks.first() {
            text.sample(&[("proxy", proxy), ("server", name), ("state", &check.status)], true);
        }
    });
}

/// Connections that rules turned away.
pub(super) fn denied(service: &Service) -> Value {
    let refusing = service.rules.iter().filter(|rule| rule.action != "accept");
    refusing.map(|rule| rule.matched).sum::<u64>().into()
}

pub(super) fn failures(snapshot: &Snapshot, text: &mut Text) {
    for service in &snapshot.services {
        for failures in &service.failures {
            text.sample(&[("proxy", &service.name), ("cause", &failures.cause)], failures.count);
        }
    }
}

pub(super) fn shares(snapshot: &Snapshot, text: &mut Text, label: &str, of: fn(&Service) -> &[Share]) {
    for service in &snapshot.services {
        for share in of(service) {
            text.sample(&[("proxy", &service.name), (label, &share.name)], share.count);
        }
    }
}

pub(super) fn rules(snapshot: &Snapshot, text: &mut Text, value: fn(&Rule) -> u64) {
    for service in &snapshot.services {
        for rule in &service.rules {
            let labels = [("proxy", &*service.name), ("rule", &*rule.name), ("action", &*rule.action)];
            text.sample(&labels, value(rule));
        }
    }
}

/// The certificates proper, with their labels.
pub(super) fn certificates(snapshot: &Snapshot) -> impl Iterator<Item = (&Certificate, [(&str, &str); 3])> {
    let kinds = ["certificate", "client-certificate", "chain", "ca"];
    let proper = snapshot.certificates.iter().filter(move |certificate| kinds.contains(&&*certificate.kind));
    proper.map(|certificate| {
        let cn = certificate.names.first().map_or("", |name| &**name);
        (certificate, [("file", &*certificate.file), ("cn", cn), ("kind", &*certificate.kind)])
    })
}

/// Where a file has several of one name, the one that ends first is the one to know of.
pub(super) fn ends(snapshot: &Snapshot, text: &mut Text, time: fn(&Certificate) -> f64) {
    let mut all: Vec<_> = certificates(snapshot).collect();
    all.sort_by(|(one, _), (other, _)| one.not_after.total_cmp(&other.not_after));
    for (certificate, labels) in all {
        text.sample(&labels, at(time(certificate)));
    }
}

pub(super) fn revocations(snapshot: &Snapshot, text: &mut Text) {
    for crl in snapshot.certificates.iter().filter(|certificate| certificate.kind == "crl") {
        text.sample(&[("file", &*crl.file), ("issuer", &*crl.issuer)], at(crl.not_after));
    }
}

/// By who uses them: their names are secrets.
pub(super) fn ticket_keys(snapshot: &Snapshot, text: &mut Text) {
    let mut keys: Vec<_> = snapshot.certificates.iter().filter(|key| key.kind == "ticket-key").collect();
    keys.sort_by(|one, other| other.not_before.total_cmp(&one.not_before));
    for key in keys.into_iter().filter(|key| key.not_before > 0.0) {
        let age = (snapshot.at - key.not_before).max(0.0);
        text.sample(&[("file", &*key.file), ("proxy", &key.used_by.join(" "))], age);
    }
}
