// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the metrics tell of a made-up snapshot, and the rules that names and series keep.

use super::*;
use crate::control::model::{Bucket, Certificate, Check, Failures, Problem, Rule, Share, TlsShares, Traffic};
use std::collections::{BTreeMap, BTreeSet};

fn timing() -> Timing {
    let buckets =
        [(Some(0.001), 1), (Some(0.5), 3), (None, 4)].map(|(le, count)| Bucket { le, count }).to_vec();
    Timing { count: 4, sum: 1.25, p50: 0.2, p99: 2.0, buckets }
}

fn traffic() -> Traffic {
    Traffic { active: 2, peak: 5, total: 9_007_199_254_740_993, bytes_in: 7, ..Traffic::default() }
}

fn service(name: &str) -> Service {
    let server = Server {
        name: "127.0.0.1:80".into(),
        state: "unchecked".into(),
        admin: "ready".into(),
        number: 1,
        weight: 100,
        traffic: traffic(),
        connects: timing(),
        checks: vec![Check { at: 1.0, ok: true, status: "L4OK".into(), took: 0.01, text: String::new() }],
        ..Server::default()
    };
    let twin = Server { number: 2, state: "down".into(), ..server.clone() };
    let drained = Server { name: "b".into(), admin: "drain".into(), number: 3, ..server.clone() };
    let route = |name: &str, servers| Route { name: name.into(), servers, ..Route::default() };
    let share = |name: &str| vec![Share { name: name.into(), count: 3 }];
    Service {
        name: name.into(),
        state: "up".into(),
        traffic: traffic(),
        handshakes: timing(),
        failures: vec![Failures { cause: "no-shared-cipher".into(), count: 3, ..Failures::default() }],
        tls: TlsShares { versions: share("TLSv1.3"), groups: share("X25519"), ..TlsShares::default() },
        routes: vec![route("default", vec![server, twin]), route("mail", vec![drained])],
        rules: vec![Rule { name: "bad".into(), action: "reject".into(), matched: 8, ..Rule::default() }],
        ..Service::default()
    }
}

fn sample() -> Snapshot {
    let certificate = |kind: &str, cn: &str, end| Certificate {
        kind: kind.into(),
        file: "a \"b\"\\\n.pem".into(),
        names: vec![cn.into()],
        not_before: 50.0,
        not_after: end,
        ..Certificate::default()
    };
    Snapshot {
        at: 100.0,
        process: Process {
            version: "1".into(),
            state: "serving".into(),
            ready: true,
            traffic: traffic(),
            problems: vec![Problem { severity: "error".into(), ..Problem::default() }],
            ..Process::default()
        },
        services: vec![service("web"), service("mail")],
        listeners: vec![Listener {
            address: "[::]:443".into(),
            service: "web".into(),
            state: "accepting".into(),
            backlog: -1,
            backlog_limit: 4096,
            ..Listener::default()
        }],
        workers: vec![Worker { number: 0, load: 0.25, turn: timing(), ..Worker::default() }],
        certificates: vec![
            certificate("certificate", "www", 900.0),
            certificate("certificate", "www", 800.0),
            certificate("crl", "", 700.0),
            certificate("ticket-key", "", 0.0),
        ],
        ..Snapshot::default()
    }
}

fn all() -> String {
    metrics(&sample(), &Filter::default())
}

#[track_caller]
fn contains(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
}

#[test]
fn what_it_tells_is_what_the_snapshot_has() {
    let text = all();
    for line in [
        "tunnel_process_build_info{version=\"1\",commit=\"\",tls_library=\"\"} 1",
        "tunnel_process_ready 1",
        "tunnel_process_stopping 0",
        "tunnel_process_problems{severity=\"error\"} 1",
        "tunnel_process_problems{severity=\"warning\"} 0",
        "tunnel_frontend_status{proxy=\"web\",state=\"UP\"} 1",
        "tunnel_frontend_status{proxy=\"web\",state=\"DRAINING\"} 0",
        "tunnel_frontend_failures_total{proxy=\"mail\",cause=\"no-shared-cipher\"} 3",
        "tunnel_frontend_requests_denied_total{proxy=\"web\"} 8",
        "tunnel_frontend_tls_groups_total{proxy=\"web\",group=\"X25519\"} 3",
        "tunnel_backend_active_servers{proxy=\"web\"} 1",
        "tunnel_backend_status{proxy=\"web/mail\",state=\"DOWN\"} 1",
        "tunnel_server_status{proxy=\"web\",server=\"127.0.0.1:80\",state=\"UP\"} 1",
        "tunnel_server_status{proxy=\"web\",server=\"127.0.0.1:80#2\",state=\"DOWN\"} 1",
        "tunnel_server_status{proxy=\"web/mail\",server=\"b\",state=\"DRAIN\"} 1",
        "tunnel_server_check_status{proxy=\"web\",server=\"127.0.0.1:80\",state=\"L4OK\"} 1",
        "tunnel_listener_max_accept_queue{proxy=\"web\",listener=\"[::]:443\"} 4096",
        "tunnel_worker_load_ratio{worker=\"0\"} 0.25",
        "tunnel_ticket_key_age_seconds{file=\"a \\\"b\\\"\\\\\\n.pem\",proxy=\"\"} 50",
    ] {
        contains(&text, line);
    }
    assert!(!text.contains("tunnel_listener_accept_queue{"), "an unknown length has no sample");
}

#[test]
fn counts_are_exact_beyond_what_a_float_holds() {
    contains(&all(), "tunnel_process_connections_total 9007199254740993");
}

#[test]
fn a_histogram_is_cumulative_and_ends_in_infinity() {
    let text = all();
    for line in [
        "tunnel_frontend_handshake_duration_seconds_bucket{proxy=\"web\",le=\"0.001\"} 1",
        "tunnel_frontend_handshake_duration_seconds_bucket{proxy=\"web\",le=\"0.5\"} 3",
        "tunnel_frontend_handshake_duration_seconds_bucket{proxy=\"web\",le=\"+Inf\"} 4",
        "tunnel_frontend_handshake_duration_seconds_sum{proxy=\"web\"} 1.25",
        "tunnel_frontend_handshake_duration_seconds_count{proxy=\"web\"} 4",
        // Nothing was measured.
        "tunnel_frontend_connect_duration_seconds_bucket{proxy=\"web\",le=\"+Inf\"} 0",
    ] {
        contains(&text, line);
    }
}

#[test]
fn of_certificates_with_the_same_name_in_one_file_the_first_to_end_is_told() {
    let labels = "{file=\"a \\\"b\\\"\\\\\\n.pem\",cn=\"www\",kind=\"certificate\"}";
    let text = all();
    contains(&text, &format!("tunnel_certificate_not_after_seconds{labels} 800"));
    assert!(!text.contains("} 900\n"));
}

#[test]
fn no_two_samples_are_of_the_same_series() {
    let text = all();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(seen.insert(series), "{series} is there twice");
        assert!(value == "+Inf" || value.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn names_follow_the_rules_and_are_there_once() {
    let mut names = BTreeSet::new();
    for Metric { name, kind, help, .. } in METRICS {
        assert!(name.starts_with("tunnel_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(!["_count", "_sum", "_bucket"].iter().any(|suffix| name.ends_with(suffix)), "{name}");
        assert!(help.ends_with('.'), "{name}: {help}");
        assert!(names.insert(name), "{name} is there twice");
    }
}

#[test]
fn every_family_is_told_together_with_its_labels() {
    let text = all();
    let mut families = BTreeMap::new();
    for metric in METRICS {
        assert!(text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind.name())));
        families.insert(metric.name, metric);
    }
    let mut present = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            present = families.get(rest.split(' ').next().unwrap());
        } else if !line.starts_with('#') {
            let metric = present.unwrap();
            assert!(line.starts_with(metric.name), "{line} under {}", metric.name);
            if metric.name != "tunnel_ticket_key_age_seconds" {
                for label in metric.scope.labels() {
                    assert!(line.contains(&format!("{label}=\"")), "{line} has no {label}");
                }
            }
        }
    }
}

fn filtered(query: &[(&str, &str)]) -> Result<BTreeSet<String>, String> {
    let query: Vec<_> = query.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let text = metrics(&sample(), &Filter::new(&query)?);
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    Ok(families.map(|rest| rest.split(' ').next().unwrap_or_default().to_owned()).collect())
}

#[test]
fn a_filter_takes_scopes_and_names() {
    let every = METRICS.len();
    assert_eq!(filtered(&[]).unwrap().len(), every);
    assert_eq!(filtered(&[("scope", "*")]).unwrap().len(), every);
    assert_eq!(filtered(&[("x", "y")]).unwrap().len(), every);
    assert_eq!(filtered(&[("metrics", "-tunnel_process_ready")]).unwrap().len(), every - 1);
    assert_eq!(filtered(&[("metrics", "tunnel_process_ready")]).unwrap().len(), 1);
    assert_eq!(filtered(&[("metrics", "tunnel_process_ready"), ("scope", "server")]).unwrap().len(), 0);
    let two = filtered(&[("scope", "worker,global")]).unwrap();
    assert_eq!(two, filtered(&[("scope", "worker"), ("scope", "process")]).unwrap());
    assert!(two.contains("tunnel_process_ready") && two.contains("tunnel_worker_turns_total"));
    assert!(!two.contains("tunnel_server_weight"));
    assert_eq!(filtered(&[("scope", "nowhere")]), Err("there is no scope \"nowhere\"".to_owned()));
    assert!(filtered(&[("metrics", "up")]).is_err());
}
