// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every metric there is: the one list that the output, the manual, the dashboard and the alerts are made from or tested
//! against.

use super::families::{
    at, build, certificates, check_states, denied, ends, failures, known, listener_states, problems, reloads,
    revocations, route_states, rules, server_states, service_states, shares, takes_more, threads,
    ticket_keys,
};
use super::{Kind, Metric, Of, Scope, Value};
use crate::control::model::{Listener, Process, Route, Server, Service, Worker};

/// All metrics in the order of the output.
pub const METRICS: &[Metric] = &[
    // The process.
    gauge(
        "tunnel_process_build_info",
        Scope::Process,
        "1; the labels tell what is running.",
        Of::Each(build),
    ),
    process("tunnel_process_start_time_seconds", "When it started, since 1970.", |p| p.started.into()),
    process("tunnel_process_uptime_seconds", "How long it has been running.", |p| p.uptime.into()),
    gauge("tunnel_process_nbthread", Scope::Process, "Worker threads.", Of::Each(threads)),
    process("tunnel_process_max_fds", "Limit on open descriptors.", |p| p.open_files.into()),
    process("tunnel_process_max_connections", "Limit on connections, as configured.", |p| {
        p.max_connections.into()
    }),
    process("tunnel_process_hard_max_connections", "Connections there are descriptors for.", |p| {
        p.places.into()
    }),
    process("tunnel_process_current_connections", "Connections now.", |p| p.traffic.active.into()),
    process("tunnel_process_peak_connections", "The most connections at once.", |p| p.traffic.peak.into()),
    process("tunnel_process_queued_connections", "Accepted, and waiting for a worker.", |p| p.queued.into()),
    total("tunnel_process_connections_total", "Connections.", |p| p.traffic.total.into()),
    total("tunnel_process_connection_failures_total", "Connections that did not end in order.", |p| {
        p.traffic.failed.into()
    }),
    process("tunnel_process_current_connection_rate", "New connections in the last second.", |p| {
        p.traffic.rate.into()
    }),
    process("tunnel_process_max_connection_rate", "The most new connections in one second.", |p| {
        p.traffic.peak_rate.into()
    }),
    total("tunnel_process_bytes_in_total", "Payload from clients to servers.", |p| p.traffic.bytes_in.into()),
    total("tunnel_process_bytes_out_total", "Payload from servers to clients.", |p| {
        p.traffic.bytes_out.into()
    }),
    total("tunnel_process_tls_handshakes_total", "TLS handshakes with clients that were completed.", |p| {
        p.tls.handshakes.into()
    }),
    total("tunnel_process_tls_resumptions_total", "Those of them that resumed a session.", |p| {
        p.tls.resumed.into()
    }),
    process("tunnel_process_ready", "1 if new clients should be sent here.", |p| p.ready.into()),
    process("tunnel_process_stopping", "1 while it drains or stops.", |p| (p.state != "serving").into()),
    counter(
        "tunnel_process_reloads_total",
        Scope::Process,
        "Loads of the configuration, the first included, by result.",
        Of::Each(reloads),
    ),
    process("tunnel_process_last_reload_successful", "1 if the last load took effect.", |p| {
        p.reload.ok.into()
    }),
    process("tunnel_process_last_reload_timestamp_seconds", "When the last load ended, since 1970.", |p| {
        p.reload.last.into()
    }),
    gauge(
        "tunnel_process_problems",
        Scope::Process,
        "Things an operator should look at, by severity; the API and the page tell them in words.",
        Of::Each(problems),
    ),
    total("tunnel_process_names_kept_total", "Names that were answered by what is kept.", |p| {
        p.names.hits.into()
    }),
    total("tunnel_process_names_asked_total", "Names that had to be asked for.", |p| p.names.misses.into()),
    total("tunnel_process_names_unknown_total", "Those of them that do not exist.", |p| {
        p.names.no_names.into()
    }),
    total("tunnel_process_names_unanswered_total", "Those of them that nobody could say anything of.", |p| {
        p.names.unanswered.into()
    }),
    total("tunnel_process_name_queries_total", "Messages sent to name servers.", |p| p.names.queries.into()),
    total("tunnel_log_dropped_total", "Log lines that could not be written.", |p| p.log_lost.into()),
    // Services.
    gauge("tunnel_frontend_status", Scope::Frontend, "1 for the state it is in.", Of::Each(service_states)),
    frontend("tunnel_frontend_uptime_seconds", "Since its counters began.", |s| s.uptime.into()),
    frontend("tunnel_frontend_current_sessions", "Connections now.", |s| s.traffic.active.into()),
    frontend("tunnel_frontend_max_sessions", "The most connections at once.", |s| s.traffic.peak.into()),
    frontend_total("tunnel_frontend_sessions_total", "Connections.", |s| s.traffic.total.into()),
    frontend("tunnel_frontend_current_session_rate", "New connections in the last second.", |s| {
        s.traffic.rate.into()
    }),
    frontend("tunnel_frontend_max_session_rate", "The most new connections in one second.", |s| {
        s.traffic.peak_rate.into()
    }),
    frontend_total("tunnel_frontend_bytes_in_total", "Payload from clients to servers.", |s| {
        s.traffic.bytes_in.into()
    }),
    frontend_total("tunnel_frontend_bytes_out_total", "Payload from servers to clients.", |s| {
        s.traffic.bytes_out.into()
    }),
    frontend_total("tunnel_frontend_request_errors_total", "Connections that did not end in order.", |s| {
        s.traffic.failed.into()
    }),
    frontend_total("tunnel_frontend_requests_denied_total", "Connections that rules refused.", denied),
    counter(
        "tunnel_frontend_failures_total",
        Scope::Frontend,
        "Connections that failed, by cause.",
        Of::Each(failures),
    ),
    histogram(
        "tunnel_frontend_handshake_duration_seconds",
        Scope::Frontend,
        "From accept to the end of the client's handshake.",
        Of::FrontendTiming(|s| &s.handshakes),
    ),
    histogram(
        "tunnel_frontend_connect_duration_seconds",
        Scope::Frontend,
        "Connects to servers that succeeded.",
        Of::FrontendTiming(|s| &s.connects),
    ),
    histogram(
        "tunnel_frontend_session_duration_seconds",
        Scope::Frontend,
        "Connections from accept to close.",
        Of::FrontendTiming(|s| &s.lifetimes),
    ),
    frontend_total("tunnel_frontend_tls_handshakes_total", "TLS handshakes that were completed.", |s| {
        s.tls.handshakes.into()
    }),
    frontend_total("tunnel_frontend_tls_resumptions_total", "Those of them that resumed a session.", |s| {
        s.tls.resumed.into()
    }),
    counter(
        "tunnel_frontend_tls_versions_total",
        Scope::Frontend,
        "TLS handshakes by protocol version.",
        Of::Each(|snapshot, text| shares(snapshot, text, "version", |s| &s.tls.versions)),
    ),
    counter(
        "tunnel_frontend_tls_ciphers_total",
        Scope::Frontend,
        "TLS handshakes by cipher suite.",
        Of::Each(|snapshot, text| shares(snapshot, text, "cipher", |s| &s.tls.ciphers)),
    ),
    counter(
        "tunnel_frontend_tls_groups_total",
        Scope::Frontend,
        "TLS handshakes by group of the key exchange.",
        Of::Each(|snapshot, text| shares(snapshot, text, "group", |s| &s.tls.groups)),
    ),
    counter(
        "tunnel_frontend_rule_matches_total",
        Scope::Frontend,
        "Connections that a rule decided.",
        Of::Each(|snapshot, text| rules(snapshot, text, |rule| rule.matched)),
    ),
    frontend_total("tunnel_frontend_limited_total", "Connections that a limit refused.", |s| {
        s.limited.into()
    }),
    frontend_total(
        "tunnel_frontend_socket_option_errors_total",
        "Options of sockets towards servers that could not be set.",
        |s| s.option_errors.into(),
    ),
    gauge(
        "tunnel_frontend_rule_sources",
        Scope::Frontend,
        "Sources that the limits of a rule track.",
        Of::Each(|snapshot, text| rules(snapshot, text, |rule| rule.tracked)),
    ),
    gauge(
        "tunnel_frontend_rule_max_sources",
        Scope::Frontend,
        "Sources that the limits of a rule track at most; 0 without limits.",
        Of::Each(|snapshot, text| rules(snapshot, text, |rule| rule.capacity)),
    ),
    // Listeners.
    gauge("tunnel_listener_status", Scope::Listener, "1 for the state it is in.", Of::Each(listener_states)),
    listener("tunnel_listener_current_sessions", "Connections now.", |l| l.traffic.active.into()),
    counter(
        "tunnel_listener_sessions_total",
        Scope::Listener,
        "Connections.",
        Of::Listener(|l| l.traffic.total.into()),
    ),
    listener("tunnel_listener_accept_queue", "Connections the kernel has accepted and we have not.", |l| {
        known(l.backlog)
    }),
    listener("tunnel_listener_max_accept_queue", "The most of them it keeps.", |l| known(l.backlog_limit)),
    // Routes.
    gauge("tunnel_backend_status", Scope::Backend, "1 for the state it is in.", Of::Each(route_states)),
    backend("tunnel_backend_current_sessions", "Connections now.", |r| r.traffic.active.into()),
    backend("tunnel_backend_max_sessions", "The most connections at once.", |r| r.traffic.peak.into()),
    backend_total("tunnel_backend_sessions_total", "Connections.", |r| r.traffic.total.into()),
    backend_total("tunnel_backend_bytes_in_total", "Payload from clients to servers.", |r| {
        r.traffic.bytes_in.into()
    }),
    backend_total("tunnel_backend_bytes_out_total", "Payload from servers to clients.", |r| {
        r.traffic.bytes_out.into()
    }),
    backend_total("tunnel_backend_connection_errors_total", "Connects that failed.", |r| {
        r.servers.iter().map(|server| server.connect_errors).sum::<u64>().into()
    }),
    backend_total("tunnel_backend_limited_total", "Connections that its limit refused.", |r| {
        r.limited.into()
    }),
    backend("tunnel_backend_active_servers", "Servers that get new connections.", |r| {
        (r.servers.iter().filter(|server| takes_more(server)).count() as u64).into()
    }),
    backend("tunnel_backend_weight", "The weights of those servers together.", |r| {
        r.servers.iter().filter(|server| takes_more(server)).map(|s| u64::from(s.weight)).sum::<u64>().into()
    }),
    // Servers.
    gauge("tunnel_server_status", Scope::Server, "1 for the state it is in.", Of::Each(server_states)),
    server("tunnel_server_current_sessions", "Connections now.", |s| s.traffic.active.into()),
    server("tunnel_server_max_sessions", "The most connections at once.", |s| s.traffic.peak.into()),
    server_total("tunnel_server_sessions_total", "Connections.", |s| s.traffic.total.into()),
    server("tunnel_server_current_session_rate", "New connections in the last second.", |s| {
        s.traffic.rate.into()
    }),
    server("tunnel_server_max_session_rate", "The most new connections in one second.", |s| {
        s.traffic.peak_rate.into()
    }),
    server_total("tunnel_server_bytes_in_total", "Payload from clients.", |s| s.traffic.bytes_in.into()),
    server_total("tunnel_server_bytes_out_total", "Payload to clients.", |s| s.traffic.bytes_out.into()),
    server_total("tunnel_server_connection_errors_total", "Connects that failed.", |s| {
        s.connect_errors.into()
    }),
    histogram(
        "tunnel_server_connect_duration_seconds",
        Scope::Server,
        "Connects that succeeded.",
        Of::ServerTiming(|s| &s.connects),
    ),
    server("tunnel_server_weight", "How servers share the load, 0 to 256.", |s| u64::from(s.weight).into()),
    server("tunnel_server_state_since_timestamp_seconds", "In its state since, since 1970.", |s| at(s.since)),
    gauge(
        "tunnel_server_check_status",
        Scope::Server,
        "1 for the result of the last check.",
        Of::Each(check_states),
    ),
    server("tunnel_server_check_duration_seconds", "How long the last check took.", |s| {
        s.checks.first().map_or(Value::Absent, |check| check.took.into())
    }),
    server_total("tunnel_server_checks_total", "Checks.", |s| s.checked.into()),
    server_total("tunnel_server_check_failures_total", "Checks that failed.", |s| s.check_failures.into()),
    server_total("tunnel_server_check_up_down_total", "How often checks have found it down.", |s| {
        s.downs.into()
    }),
    server_total("tunnel_server_pauses_total", "How often connections that failed have paused it.", |s| {
        s.pauses.into()
    }),
    server_total("tunnel_server_downtime_seconds_total", "How long checks have found it down.", |s| {
        s.downtime.into()
    }),
    // Workers.
    worker("tunnel_worker_load_ratio", "Share of the last second that it was not asleep.", |w| w.load.into()),
    worker("tunnel_worker_current_sessions", "Connections now.", |w| w.connections.into()),
    counter("tunnel_worker_turns_total", Scope::Worker, "Turns of its loop.", Of::Worker(|w| w.turns.into())),
    histogram(
        "tunnel_worker_turn_duration_seconds",
        Scope::Worker,
        "How long its turns took.",
        Of::WorkerTiming(|w| &w.turn),
    ),
    worker("tunnel_worker_longest_turn_seconds", "Its longest turn.", |w| w.longest.into()),
    worker("tunnel_worker_busy_seconds", "How long the turn it is in has lasted; 0 asleep.", |w| {
        w.busy_for.into()
    }),
    worker("tunnel_worker_inbox", "Answers and requests that wait for it.", |w| w.inbox.into()),
    worker("tunnel_worker_bookmarks", "Listings that hold a place among its connections.", |w| {
        w.bookmarks.into()
    }),
    counter(
        "tunnel_worker_panics_total",
        Scope::Worker,
        "Panics it survived.",
        Of::Worker(|w| w.panics.into()),
    ),
    // Certificates, revocation lists, ticket keys.
    gauge(
        "tunnel_certificate_not_after_seconds",
        Scope::Certificate,
        "When it ends, since 1970.",
        Of::Each(|snapshot, text| ends(snapshot, text, |c| c.not_after)),
    ),
    gauge(
        "tunnel_certificate_not_before_seconds",
        Scope::Certificate,
        "When it begins, since 1970.",
        Of::Each(|snapshot, text| ends(snapshot, text, |c| c.not_before)),
    ),
    gauge(
        "tunnel_certificate_newer_on_disk",
        Scope::Certificate,
        "1 if the file was changed after it was loaded.",
        Of::Each(|snapshot, text| {
            for (certificate, labels) in certificates(snapshot) {
                text.sample(&labels, certificate.newer_on_disk);
            }
        }),
    ),
    gauge(
        "tunnel_crl_next_update_seconds",
        Scope::Certificate,
        "When the next revocation list is due, since 1970.",
        Of::Each(revocations),
    ),
    gauge(
        "tunnel_ticket_key_age_seconds",
        Scope::Certificate,
        "Age of the youngest key of session tickets.",
        Of::Each(ticket_keys),
    ),
];

const fn counter(name: &'static str, scope: Scope, help: &'static str, of: Of) -> Metric {
    Metric { name, kind: Kind::Counter, scope, help, of }
}

const fn gauge(name: &'static str, scope: Scope, help: &'static str, of: Of) -> Metric {
    Metric { name, kind: Kind::Gauge, scope, help, of }
}

const fn histogram(name: &'static str, scope: Scope, help: &'static str, of: Of) -> Metric {
    Metric { name, kind: Kind::Histogram, scope, help, of }
}

const fn process(name: &'static str, help: &'static str, value: fn(&Process) -> Value) -> Metric {
    gauge(name, Scope::Process, help, Of::Process(value))
}

const fn total(name: &'static str, help: &'static str, value: fn(&Process) -> Value) -> Metric {
    counter(name, Scope::Process, help, Of::Process(value))
}

const fn frontend(name: &'static str, help: &'static str, value: fn(&Service) -> Value) -> Metric {
    gauge(name, Scope::Frontend, help, Of::Frontend(value))
}

const fn frontend_total(name: &'static str, help: &'static str, value: fn(&Service) -> Value) -> Metric {
    counter(name, Scope::Frontend, help, Of::Frontend(value))
}

const fn listener(name: &'static str, help: &'static str, value: fn(&Listener) -> Value) -> Metric {
    gauge(name, Scope::Listener, help, Of::Listener(value))
}

const fn backend(name: &'static str, help: &'static str, value: fn(&Route) -> Value) -> Metric {
    gauge(name, Scope::Backend, help, Of::Backend(value))
}

const fn backend_total(name: &'static str, help: &'static str, value: fn(&Route) -> Value) -> Metric {
    counter(name, Scope::Backend, help, Of::Backend(value))
}

const fn server(name: &'static str, help: &'static str, value: fn(&Server) -> Value) -> Metric {
    gauge(name, Scope::Server, help, Of::Server(value))
}

const fn server_total(name: &'static str, help: &'static str, value: fn(&Server) -> Value) -> Metric {
    counter(name, Scope::Server, help, Of::Server(value))
}

const fn worker(name: &'static str, help: &'static str, value: fn(&Worker) -> Value) -> Metric {
    gauge(name, Scope::Worker, help, Of::Worker(value))
}
