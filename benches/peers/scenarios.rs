// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is measured, as one table.
//!
//! The command line, the runs, the report and docs/benchmarks.md all follow it.
//! Not here: how a case is run (`runner.rs`).

use super::configs::Role;
use super::tls::Version;

/// Cases that belong together: same role, same peers, one name on the command line.
#[derive(Debug)]
pub(super) struct Scenario {
    /// As on the command line.
    pub(super) name: &'static str,
    /// What the peers are asked to be.
    pub(super) role: Role,
    /// One table each.
    pub(super) cases: &'static [Case],
}

/// One table of the report.
#[derive(Debug)]
pub(super) struct Case {
    /// The table's heading.
    pub(super) title: &'static str,
    /// How the client speaks to the peer; `None` is plain TCP.
    pub(super) tls: Option<Version>,
    /// What is done and counted.
    pub(super) work: Work,
}

/// A load and the unit its cost is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// Connections with one byte to and fro, `AT_ONCE` under way.
    Connect { resume: bool },
    /// Bytes in bulk over connections that stand.
    Bulk { up: bool, connections: usize },
    /// Messages of `MESSAGE` bytes to and fro over `PINGING` connections.
    Ping,
    /// Connections that do nothing.
    Idle,
    /// System calls while bytes move; costs no CPU figure, since tracing distorts it.
    SystemCalls { up: bool, connections: usize },
}

/// Connections under way at once in `Work::Connect`.
pub(super) const AT_ONCE: usize = 16;
/// Connections of `Work::Ping`.
pub(super) const PINGING: usize = 64;
/// Bytes of a message in `Work::Ping`.
pub(super) const MESSAGE: usize = 512;

impl Work {
    /// What one figure counts.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Connect { .. } => "CPU ms per connection",
            Self::Bulk { .. } => "CPU s per GB",
            Self::Ping => "CPU µs per round trip",
            Self::Idle => "KiB per connection",
            Self::SystemCalls { .. } => "calls per 16 KiB",
        }
    }

    /// Whether peers that only tune the moving of bytes take part.
    pub(super) fn is_bulk(self) -> bool {
        matches!(self, Self::Bulk { .. } | Self::SystemCalls { .. })
    }
}

const fn bulk(title: &'static str, tls: Option<Version>, up: bool, connections: usize) -> Case {
    Case { title, tls, work: Work::Bulk { up, connections } }
}

const fn calls(title: &'static str, up: bool, connections: usize) -> Case {
    Case { title, tls: Some(Version::V13), work: Work::SystemCalls { up, connections } }
}

const fn connect(title: &'static str, tls: Option<Version>, resume: bool) -> Case {
    Case { title, tls, work: Work::Connect { resume } }
}

/// Every scenario, in the report's order.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "handshake-full",
        role: Role::Terminate,
        cases: &[connect("TLS 1.3, ECDSA P-256, X25519, one byte to and fro", Some(Version::V13), false)],
    },
    Scenario {
        name: "handshake-resume",
        role: Role::Terminate,
        cases: &[
            connect("TLS 1.3 ticket, one byte to and fro", Some(Version::V13), true),
            connect("TLS 1.2 ticket, one byte to and fro", Some(Version::V12), true),
        ],
    },
    Scenario {
        name: "bulk-down",
        role: Role::Terminate,
        cases: &[
            bulk("TLS 1.3 to the client, 1 connection", Some(Version::V13), false, 1),
            bulk("TLS 1.3 to the client, 8 connections", Some(Version::V13), false, 8),
        ],
    },
    Scenario {
        name: "bulk-up",
        role: Role::Terminate,
        cases: &[
            bulk("TLS 1.3 from the client, 1 connection", Some(Version::V13), true, 1),
            bulk("TLS 1.3 from the client, 8 connections", Some(Version::V13), true, 8),
        ],
    },
    Scenario {
        name: "plain-tcp",
        role: Role::Plain,
        cases: &[
            bulk("to the client, 1 connection", None, false, 1),
            bulk("to the client, 8 connections", None, false, 8),
            bulk("from the client, 1 connection", None, true, 1),
            bulk("from the client, 8 connections", None, true, 8),
            connect("connect, one byte to and fro, close", None, false),
        ],
    },
    Scenario {
        name: "sni-route",
        role: Role::RouteByName,
        cases: &[
            connect("connect, ClientHello, one byte to and fro, close", None, false),
            bulk("to the client, 1 connection", None, false, 1),
            bulk("to the client, 8 connections", None, false, 8),
            bulk("from the client, 1 connection", None, true, 1),
            bulk("from the client, 8 connections", None, true, 8),
        ],
    },
    Scenario {
        name: "source-limit",
        role: Role::Limit,
        cases: &[connect("plain TCP from 100,000 addresses, one byte to and fro, close", None, false)],
    },
    Scenario {
        name: "small-msg",
        role: Role::Terminate,
        cases: &[Case {
            title: "512 bytes to and fro over 64 TLS 1.3 connections",
            tls: Some(Version::V13),
            work: Work::Ping,
        }],
    },
    Scenario {
        name: "idle-mem",
        role: Role::Terminate,
        cases: &[Case { title: "idle TLS 1.3 connections", tls: Some(Version::V13), work: Work::Idle }],
    },
    Scenario {
        name: "client-mode",
        role: Role::Originate,
        cases: &[connect("plain in, TLS 1.3 out: connect, one byte to and fro, close", None, false)],
    },
    Scenario {
        name: "syscalls",
        role: Role::Terminate,
        cases: &[
            calls("TLS 1.3 to the client, 1 connection", false, 1),
            calls("TLS 1.3 to the client, 8 connections", false, 8),
            calls("TLS 1.3 from the client, 1 connection", true, 1),
            calls("TLS 1.3 from the client, 8 connections", true, 8),
        ],
    },
];

#[cfg(test)]
#[allow(dead_code, unused_imports, reason = "the bench target drops tests but keeps their modules")]
mod tests {
    use super::*;

    #[test]
    fn the_manual_names_every_scenario() {
        let manual = include_str!("../../docs/benchmarks.md");
        for scenario in SCENARIOS {
            assert!(manual.contains(&format!("`{}`", scenario.name)), "{} is not described", scenario.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
