// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is written for people must keep up with the code: every configuration key stands in the manual and in the
//! sample. That the tables of keys are complete is tested where they are (`src/config`): every key is read, and the
//! effective configuration has exactly these.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use toml::de::{DeTable, DeValue};
use tunnel::config::TABLES;
use tunnel::control::metrics::METRICS;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words after `macro_name` of each `.Ss` section of the manual, by the title of the section.
fn items_by_section(manual: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut current = "";
    for line in manual.lines() {
        if let Some(title) = line.strip_prefix(".Ss ") {
            current = title;
        } else if line.starts_with(".Sh ") {
            current = "";
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            sections.entry(current).or_default().extend(item.split(' ').next());
        }
    }
    sections.remove("");
    sections
}

#[test]
fn the_manual_describes_exactly_the_keys_there_are() {
    let manual = read("man/tunnel.conf.5");
    let sections = items_by_section(&manual);
    for table in TABLES {
        let mut described = sections.get(table.title).cloned().unwrap_or_default();
        let mut known = table.keys.to_vec();
        described.sort_unstable();
        known.sort_unstable();
        assert_eq!(described, known, "section {:?} of man/tunnel.conf.5", table.title);
    }
    assert_eq!(
        sections.len(),
        TABLES.len(),
        "a section for a table that does not exist: {:?}",
        sections.keys()
    );
}

/// The sample with every example switched on: a line "#key = …" is one, a line "# …" is text.
fn sample_in_full() -> String {
    let switched_on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with(' ') => rest.to_owned(),
        _ => line.to_owned(),
    };
    read("tunnel.conf").lines().map(|line| switched_on(line) + "\n").collect()
}

/// Notes which keys stand in which table; `title` is as in [`TABLES`].
fn collect(table: &DeTable<'_>, title: &str, found: &mut BTreeMap<String, Vec<String>>) {
    for (key, value) in table {
        let key = key.get_ref().to_string();
        let below = match (title, key.as_str()) {
            ("top level", "global" | "control" | "resolver") => format!("[{key}]"),
            ("top level", "service") => "[[service]]".to_owned(),
            ("[[service]]" | "[[service.route]]", "server") => "[[service.server]]".to_owned(),
            ("[[service]]", "rule" | "route") => format!("[[service.{key}]]"),
            // A route has what its service has, which is described there.
            ("[[service]] connect.socket", "keepalive") => "[[service]] accept.socket.keepalive".to_owned(),
            ("[[service.route]]", "limit") => "[[service]] limit".to_owned(),
            ("[[service.route]]", "tls") => "[[service]] accept.tls".to_owned(),
            ("[[service.route]]", "connect") => "[[service]] connect".to_owned(),
            ("[[service.route]]", "queue") => "[[service]] queue".to_owned(),
            ("[[service.route]]" | "[[service.server]]", "check") => "[[service]] check".to_owned(),
            ("[[service.route]]", "passive") => "[[service]] passive".to_owned(),
            ("[global]" | "[control]" | "[[service]]" | "[[service.rule]]", key) => format!("{title} {key}"),
            _ => format!("{title}.{key}"),
        };
        found.entry(title.to_owned()).or_default().push(key);
        match value.get_ref() {
            DeValue::Table(table) => collect(table, &below, found),
            DeValue::Array(items) => {
                for item in items.iter() {
                    if let DeValue::Table(table) = item.get_ref() {
                        collect(table, &below, found);
                    }
                }
            }
            _ => {}
        }
    }
}

#[test]
fn the_sample_shows_exactly_the_keys_there_are() {
    let text = sample_in_full();
    let root = DeTable::parse(&text).unwrap_or_else(|error| panic!("{error}"));
    let mut found = BTreeMap::new();
    collect(root.get_ref(), "top level", &mut found);
    for table in TABLES {
        let mut shown = found.remove(table.title).unwrap_or_default();
        let mut known = table.keys.to_vec();
        shown.sort_unstable();
        shown.dedup();
        known.sort_unstable();
        assert_eq!(shown, known, "{} in tunnel.conf", table.title);
    }
    assert!(found.is_empty(), "tables that do not exist: {found:?}");
}

#[test]
fn the_sample_as_it_is_does_nothing() {
    let active: Vec<String> = read("tunnel.conf").lines().map(str::to_owned).collect();
    let active: Vec<&String> =
        active.iter().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(active.is_empty(), "{active:?}");
}

#[test]
fn the_examples_of_the_manual_are_toml() {
    let manual = read("man/tunnel.conf.5");
    let (_, examples) = manual.split_once(".Sh EXAMPLES").expect("the manual has examples");
    let blocks = examples.split(".Bd ").skip(1).filter_map(|block| block.split_once('\n'));
    let blocks: Vec<&str> = blocks.filter_map(|(_, block)| block.split(".Ed").next()).collect();
    assert!(blocks.len() >= 2, "{} examples", blocks.len());
    let lines =
        manual.lines().filter_map(|line| line.strip_prefix(".Dl ")).map(|line| line.replace("\\(dq", "\""));
    for text in blocks.into_iter().map(str::to_owned).chain(lines) {
        DeTable::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
    }
}

#[test]
fn the_manual_describes_exactly_the_metrics_there_are() {
    let manual = read("man/tunnel-http.7");
    let items = manual.lines().filter_map(|line| line.strip_prefix(".It Ic tunnel_"));
    let described: Vec<String> = items.map(|item| format!("tunnel_{item}")).collect();
    let known = METRICS.iter().map(|metric| format!("{} Pq {}", metric.name, metric.kind.name()));
    assert_eq!(described, known.collect::<Vec<_>>());
    for metric in METRICS {
        assert!(manual.contains(&format!("{}\n{}\n", metric.kind.name(), metric.help)), "{}", metric.name);
    }
}

#[test]
fn the_manuals_are_clean() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    for entry in fs::read_dir(directory).expect("man/ is there") {
        let path = entry.expect("man/ can be listed").path();
        let output = match Command::new("mandoc").args(["-Tlint", "-W", "warning"]).arg(&path).output() {
            Ok(output) => output,
            // Not everybody who runs the tests has it; `make test` installs it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => panic!("mandoc: {error}"),
        };
        let complaints = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && complaints.is_empty(), "{}:\n{complaints}", path.display());
    }
}

#[test]
fn the_manual_of_the_control_socket_describes_exactly_the_commands_there_are() {
    let manual = read("man/tunnel-control.7");
    let (_, commands) = manual.split_once(".Sh COMMANDS\n").expect("the manual has commands");
    let commands = commands.split("\n.Sh ").next().unwrap_or_default();
    // Arguments stand in other macros behind the words.
    let words =
        |line: &str| line.split(" Ar ").next().and_then(|line| line.split(" Oo").next()).map(str::to_owned);
    let mut described: Vec<String> =
        commands.lines().filter_map(|line| line.strip_prefix(".It Ic ")).filter_map(words).collect();
    let mut known: Vec<String> = tunnel::control::command::commands().map(str::to_owned).collect();
    described.sort_unstable();
    known.sort_unstable();
    assert_eq!(described, known, "man/tunnel-control.7");
}
