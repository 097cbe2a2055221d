// SPDX-License-Identifier: MIT OR Apache-2.0
//! The examples for monitoring keep up with the metrics: every name, label and state that the alerts and the dashboard ask
//! for is among what a scrape gives, Prometheus takes every expression, and each alert fires when it should, and only then.

#![allow(clippy::unwrap_used, reason = "a test that cannot read the examples must fail")]

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tunnel::control::metrics::{Filter, METRICS, metrics};
use tunnel::control::model::{
    Certificate, Failures, Listener, Route, Rule, Server, Service, Share, Snapshot, Worker,
};

const ALERTS: &str = "packaging/examples/prometheus-alerts.yml";
const DASHBOARD: &str = "packaging/examples/grafana-dashboard.json";

/// Labels that the scrape itself gives.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Runs promtool, which must be content.
fn promtool(arguments: &[&str]) {
    let run = Command::new("promtool").args(arguments).current_dir(path("")).output();
    let output = run.expect("promtool is in Debian's package prometheus: packaging/need.sh test");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&text));
}

/// The expressions of the alerts: what follows `expr:`, with the deeper lines after a `|`.
fn of_alerts() -> Vec<String> {
    let text = read(ALERTS);
    let mut found = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim_start().strip_prefix("expr: ") else { continue };
        if expression != "|" {
            found.push(expression.to_owned());
            continue;
        }
        let mut folded = String::new();
        while let Some(deeper) = lines.next_if(|line| line.starts_with("          ")) {
            folded.extend([deeper, "\n"]);
        }
        found.push(folded);
    }
    assert_eq!(found.len(), text.matches("- alert: ").count(), "an expression was not found");
    found
}

fn dashboard() -> Value {
    serde_json::from_str(&read(DASHBOARD)).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// The expressions of the dashboard, with its variables given values.
fn of_dashboard() -> Vec<String> {
    let dashboard = dashboard();
    let targets = panels(&dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let expressions = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap());
    let given = |text: &str| {
        let text = text.replace("$__rate_interval", "5m");
        let text = ["$job", "$instance", "$proxy"].iter().fold(text, |text, name| text.replace(name, ".*"));
        assert!(!text.contains('$'), "a variable that the dashboard does not have: {text}");
        text
    };
    expressions.map(given).collect()
}

/// What a scrape gives, with something in every family: the labels of each, with their values.
fn scraped() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let one = || "one".to_owned();
    let share = || vec![Share { name: one(), count: 1 }];
    let mut service = Service {
        name: one(),
        failures: vec![Failures { cause: one(), count: 1, ..Failures::default() }],
        rules: vec![Rule { name: one(), action: one(), ..Rule::default() }],
        routes: vec![Route {
            name: one(),
            servers: vec![Server { name: one(), ..Server::default() }],
            ..Route::default()
        }],
        ..Service::default()
    };
    service.tls.versions = share();
    service.tls.ciphers = share();
    service.tls.groups = share();
    let certificate = |kind: &str| Certificate {
        kind: kind.to_owned(),
        file: one(),
        not_before: 1.0,
        not_after: 2.0,
        ..Certificate::default()
    };
    let snapshot = Snapshot {
        at: 3.0,
        services: vec![service],
        listeners: vec![Listener { address: one(), ..Listener::default() }],
        workers: vec![Worker::default()],
        certificates: ["certificate", "ca", "crl", "ticket-key"].map(certificate).to_vec(),
        ..Snapshot::default()
    };
    let mut families: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let text = metrics(&snapshot, &Filter::default());
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let family = families.entry(name.to_owned()).or_default();
        for (label, value) in matchers(labels.strip_suffix('}').unwrap()) {
            family.entry(label).or_default().insert(value);
        }
    }
    families
}

/// `a="b", c!~"d"` as pairs. No value of ours has a quote or a comma in it.
fn matchers(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (label, value) = part.split_once(['=', '!']).unwrap();
        (label.trim().to_owned(), value.trim_matches(['=', '~', '"']).to_owned())
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// Every metric that `expression` names, with what stands in the braces after it.
fn selectors(expression: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find("tunnel_") {
        let name: String =
            rest[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        rest = &rest[at + name.len()..];
        let braces = rest.strip_prefix('{').and_then(|inside| inside.split_once('}'));
        found.push((name, braces.map_or("", |(inside, _)| inside).to_owned()));
    }
    found
}

#[test]
fn every_metric_and_label_that_is_asked_for_is_there() {
    let families = scraped();
    let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
    let mut used = BTreeSet::new();
    for expression in of_alerts().iter().chain(&of_dashboard()) {
        for (name, inside) in selectors(expression) {
            let family = families.get(&name).unwrap_or_else(|| panic!("there is no {name}: {expression}"));
            for (label, value) in matchers(&inside) {
                if OF_THE_SCRAPE.contains(&&*label) {
                    continue;
                }
                let values = family.get(&label).unwrap_or_else(|| panic!("{name} has no label {label}"));
                let any = value.contains('*');
                assert!(any || values.contains(&value), "{name} never has {label}={value:?}: {values:?}");
            }
            let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            used.insert(of_histogram.filter(|base| names.contains(base)).unwrap_or(&name).to_owned());
        }
    }
    assert!(used.len() > 25 && used.iter().all(|name| names.contains(&**name)), "{used:?}");
}

#[test]
fn labels_that_texts_and_groups_name_are_there() {
    let families = scraped();
    let known: BTreeSet<&str> =
        families.values().flat_map(BTreeMap::keys).map(String::as_str).chain(OF_THE_SCRAPE).collect();
    let alerts = read(ALERTS);
    let in_texts = alerts.split("$labels.").skip(1);
    let word = |text: &str| text.chars().take_while(|c| c.is_ascii_alphabetic()).collect::<String>();
    let mut asked: BTreeSet<String> = in_texts.map(word).collect();
    let dashboard = dashboard();
    for panel in panels(&dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let legend = panel["legendFormat"].as_str().unwrap();
        asked.extend(legend.split("{{").skip(1).map(word));
    }
    for expression in of_alerts().iter().chain(&of_dashboard()) {
        let groups = expression.split("by (").skip(1).filter_map(|rest| rest.split_once(')'));
        asked.extend(groups.flat_map(|(labels, _)| labels.split(',')).map(|label| label.trim().to_owned()));
    }
    assert!(asked.len() > 8, "{asked:?}");
    for label in &asked {
        assert!(known.contains(&**label), "no series has the label {label:?}");
    }
}

#[test]
fn prometheus_takes_the_configuration_and_the_alerts() {
    promtool(&["check", "config", "packaging/examples/prometheus.yml"]);
    promtool(&["check", "rules", ALERTS]);
}

#[test]
fn every_alert_fires_when_it_should() {
    let tests = "tests/alerts.yml";
    let text = read(tests);
    for alert in read(ALERTS).split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let fires = text.contains(&format!("ALERTS{{alertname=\"{name}\", alertstate=\"firing\""));
        assert!(fires, "{tests} does not show that {name} fires");
    }
    promtool(&["test", "rules", tests]);
}

#[test]
fn prometheus_takes_every_expression_of_the_dashboard() {
    let rule = |(number, expression): (usize, &String)| json!({ "record": format!("panel:{number}"), "expr": expression });
    let rules: Vec<Value> = of_dashboard().iter().enumerate().map(rule).collect();
    assert!(rules.len() > 25);
    // JSON is YAML.
    let file = tempfile::NamedTempFile::new().unwrap();
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    fs::write(file.path(), groups.to_string()).unwrap();
    promtool(&["check", "rules", file.path().to_str().unwrap()]);
}

#[test]
fn the_dashboard_can_be_imported() {
    let dashboard = dashboard();
    assert!(dashboard["id"].is_null() && dashboard["title"] == "tunnel");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "job", "instance", "proxy"]);
    assert_eq!(variables[0]["type"], "datasource");
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its number is taken");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is beyond the edge");
        for cell in 0..place("w") * place("h") {
            let (x, y) = (place("x") + cell % place("w"), place("y") + cell / place("w"));
            assert!(taken.insert((x, y)), "{title} covers another panel");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}
