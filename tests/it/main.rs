// SPDX-License-Identifier: MIT OR Apache-2.0
//! Integration tests: the real binary, real sockets, real programs.
//!
//! One test binary, because linking is what takes the time. Every module is named after a behaviour. Tests never
//! sleep: they wait on conditions (`harness::wait_for`, a peer's [`harness::Gate`], a backend's outcome), each with a
//! deadline. After every test the harness checks that the process is alive, that it uses no CPU time while
//! nothing moves, and that it ends cleanly when asked to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on must stop where it stands")]
#![allow(clippy::disallowed_methods, reason = "tests have no worker whose clock they could use")]
#![allow(clippy::disallowed_types, reason = "test threads share what they saw")]

#[allow(dead_code, unused_imports, reason = "offers more than any one set of tests uses")]
mod harness;

mod blame;
mod certificates;
mod chains;
mod checks;
mod churn;
mod closing;
mod command_line;
mod config_errors;
mod connect;
mod connect_tls_extras;
mod control_http;
mod control_socket;
mod daemonize;
mod explain;
mod half_close;
mod handshake;
mod harness_sees;
mod hatop;
mod hellos;
#[cfg(not(feature = "aws-lc"))]
mod hostile;
mod identity;
mod init_script;
mod injection;
mod limits;
mod listing;
mod logging;
mod names;
mod outages;
mod page;
mod phases;
mod program;
mod programs;
mod proxy_programs;
mod proxy_protocol;
mod quota;
mod regression;
mod reload;
mod requested;
mod reset;
mod resume;
mod review;
mod routing;
mod rules;
mod servers;
mod shutdown;
mod signals;
mod slow_reader;
mod small_buffer;
mod sockets;
mod socks;
mod starttls;
mod starttls_programs;
mod statistics;
mod stuck;
mod syslogd;
mod told;
mod transfer;
mod truncation;
mod tunnelctl;
mod via_proxy;
