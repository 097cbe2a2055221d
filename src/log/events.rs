// SPDX-License-Identifier: MIT OR Apache-2.0
//! The table of event words: public interface, like the names of counters. A word is never given another meaning.
//!
//! Invariants, tested below: every word of the table stands in tunnel-log(7) with its level and nothing else stands
//! there; every word the sources log stands in the table. What keys an event has is said in the manual.

use super::Level;

/// A kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The word after `event=`.
    pub name: &'static str,
    /// The level it usually has.
    pub level: Level,
    /// When it is logged, in half a sentence.
    pub help: &'static str,
}

const fn event(name: &'static str, level: Level, help: &'static str) -> Event {
    Event { name, level, help }
}

/// Every event, in the order of the manual: the daemon's life, listeners, configuration, connections, the log.
pub const EVENTS: &[Event] = &[
    event("started", Level::Notice, "the daemon serves"),
    event("stopping", Level::Notice, "a signal asked the daemon to end"),
    event("stopped", Level::Notice, "the last line of a daemon"),
    event("state", Level::Notice, "one line of the dump at SIGQUIT"),
    event("control-failed", Level::Error, "the control interface met an error of the system and goes on"),
    event("control-command", Level::Notice, "somebody changed something through the control interface"),
    event(
        "checks-failed",
        Level::Error,
        "the thread that checks servers met an error of the system and goes on",
    ),
    event("worker-panicked", Level::Error, "a defect in the program ended one connection"),
    event("listening", Level::Notice, "a listener was opened"),
    event("listener-closed", Level::Notice, "a listener was closed"),
    event("listener-paused", Level::Warning, "nothing more is accepted for now"),
    event("listener-resumed", Level::Notice, "a paused listener accepts again"),
    event("reload-started", Level::Notice, "the configuration is read anew"),
    event("reload-done", Level::Notice, "the new configuration applies"),
    event("reload-failed", Level::Error, "the old configuration stays"),
    event("config-warning", Level::Warning, "the configuration allows something unsafe or useless"),
    event("name-failed", Level::Warning, "a configured name cannot be resolved"),
    event("name-resolved", Level::Notice, "a configured name that failed is resolved"),
    event("name-changed", Level::Notice, "a configured name has other addresses"),
    event("connection-closed", Level::Info, "a connection ended"),
    event("handshake-failed", Level::Warning, "a client's TLS handshake failed"),
    event("proxy-header-failed", Level::Warning, "a PROXY header is missing, wrong or not expected"),
    event("limit-reached", Level::Warning, "a limit of a service or a route left no room for a client"),
    event("no-route", Level::Warning, "no route takes what a client asked for"),
    event("connect-failed", Level::Warning, "a server could not be reached"),
    event("server-down", Level::Warning, "checks find that a server is not well"),
    event("server-up", Level::Notice, "checks find that a server is well again"),
    event("server-paused", Level::Warning, "connections to a server failed: it gets none for a while"),
    event("server-resumed", Level::Notice, "a connection to a paused server succeeded"),
    event("socket-option-failed", Level::Warning, "a socket towards a server could not be told an option"),
    event("tls-server-failed", Level::Warning, "the TLS handshake with a server failed"),
    event("system-failed", Level::Warning, "the system refused what a connection needs"),
    event("signal-ignored", Level::Notice, "a signal that is reserved for later"),
    event("lines-lost", Level::Warning, "lines of this log were lost"),
    event("log-reopened", Level::Notice, "a log file was opened anew"),
    event("log-reopen-failed", Level::Error, "a log file could not be opened anew"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    const MANUAL: &str = include_str!("../../man/tunnel-log.7");

    /// The items of the manual's section `heading`: the word and what stands in parentheses after it.
    fn items(heading: &str) -> BTreeSet<(String, String)> {
        let section = MANUAL.split_once(&format!(".Sh {heading}\n")).unwrap().1;
        let section = section.split("\n.Sh ").next().unwrap();
        let item = |line: &str| {
            let mut words = line.strip_prefix(".It Ic ")?.split(' ');
            let name = words.next()?.to_owned();
            let level = words.skip_while(|word| *word != "Pq").nth(1).unwrap_or_default();
            Some((name, level.to_owned()))
        };
        section.lines().filter_map(item).collect()
    }

    #[test]
    fn the_manual_lists_every_event_with_its_level_and_no_other() {
        let table: BTreeSet<_> =
            EVENTS.iter().map(|event| (event.name.to_owned(), event.level.name().to_owned())).collect();
        assert_eq!(items("EVENTS"), table);
        assert_eq!(table.len(), EVENTS.len(), "a word stands twice");
    }

    #[test]
    fn words_are_lower_case_with_hyphens_and_helps_are_half_sentences() {
        for Event { name, help, .. } in EVENTS {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{name}");
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}");
        }
    }

    /// The event words in a source: the second argument of `.line(` and `.failure(`, where it is a literal.
    fn words(source: &str) -> Vec<&str> {
        let call = |rest: &'_ str| -> Option<usize> { rest.find(',') };
        source
            .match_indices(".line(")
            .chain(source.match_indices(".failure("))
            .filter_map(|(at, name)| {
                let rest = source.get(at + name.len()..)?;
                let after = rest.get(call(rest)? + 1..)?.trim_start();
                after.strip_prefix('"')?.split('"').next()
            })
            .collect()
    }

    fn walk(folder: &Path, unknown: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // This folder's own tests log words that mean nothing.
            if path.is_dir() && !path.ends_with("src/log") {
                walk(&path, unknown);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                for word in words(&source) {
                    if !EVENTS.iter().any(|event| event.name == word) {
                        unknown.push(format!("{}: {word}", path.display()));
                    }
                }
            }
        }
    }

    #[test]
    fn every_word_the_sources_log_is_in_the_table() {
        assert_eq!(
            words("log.line(Level::Info, \"a-b\").x(); l\n.failure(\n  level,\n  \"c\",\n s)"),
            ["a-b", "c"]
        );
        let mut unknown = Vec::new();
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut unknown);
        assert_eq!(unknown, [""; 0]);
    }
}
