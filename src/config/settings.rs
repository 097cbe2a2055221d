// SPDX-License-Identifier: MIT OR Apache-2.0
//! The configuration with its meaning: typed, every default filled in, places kept for what can still go wrong when
//! names are resolved and files are loaded.
//!
//! Invariant: a [`Settings`] that came with no error in the report can be loaded or shown; nothing in it is checked
//! again. Not here: reading (`check.rs`), loading (`load.rs`).

use super::address::Target;
use super::raw::At;
use super::report::Place;
use crate::log;
use crate::mode::Mode;
use crate::policy::service::{Timeouts, Truncation};
use crate::policy::tls_spec::{ClientTlsSpec, Problem, ServerTlsSpec};
use std::time::Duration;

/// The default of `max_connections`.
pub(super) const MAX_CONNECTIONS: usize = 20_000;

/// The default of `shutdown_timeout`.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// The default of `buffer`, in bytes.
pub(super) const BUFFER: usize = 256 << 10;

/// The default of `log.socket`.
pub(super) const SYSLOG_SOCKET: &str = "/dev/log";

/// The default of `log.facility`.
pub(super) const FACILITY: (&str, log::Facility) = ("daemon", log::Facility(3));

/// What `[global]` says.
#[derive(Clone, Debug)]
pub struct Global {
    /// Worker threads.
    pub workers: usize,
    /// Connections at once, over all listeners.
    pub max_connections: usize,
    pub log: log::Settings,
    /// How long a drain may last before everything is closed.
    pub shutdown_timeout: Duration,
}

/// Everything the files say.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) global: Global,
    pub(super) services: Vec<ServiceSettings>,
}

/// What one `[[service]]` says.
#[derive(Debug)]
pub(super) struct ServiceSettings {
    pub(super) name: String,
    pub(super) mode: &'static Mode,
    pub(super) accept: Vec<Endpoint>,
    pub(super) accept_tls: Option<Tls<ServerTlsSpec>>,
    /// At least one, unless the mode connects nowhere.
    pub(super) connect: Vec<Endpoint>,
    pub(super) connect_tls: Option<Tls<ClientTlsSpec>>,
    pub(super) timeouts: Timeouts,
    /// In bytes.
    pub(super) buffer: usize,
    pub(super) truncation: Truncation,
}

/// An address as written and as understood.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) text: At<String>,
    pub(super) target: Target,
}

/// A TLS specification and where its parts were written.
#[derive(Debug)]
pub(super) struct Tls<S> {
    pub(super) spec: S,
    pub(super) places: TlsPlaces,
}

/// Where the parts of a `tls` table were written.
#[derive(Debug)]
pub(super) struct TlsPlaces {
    pub(super) table: Place,
    pub(super) keys: Vec<(&'static str, Place)>,
    pub(super) certificates: Vec<Place>,
    pub(super) private_keys: Vec<Place>,
}

impl TlsPlaces {
    /// The place to blame for a problem that showed up in loading: as near as the file allows.
    pub(super) fn of(&self, problem: &Problem) -> Place {
        let certificate = self.certificates.get(problem.index);
        let listed = match problem.key {
            "certificate" => certificate,
            // Without a `key` of its own, the key is looked for in the certificate's file.
            "key" => self.private_keys.get(problem.index).or(certificate),
            _ => None,
        };
        let named = || self.keys.iter().find(|(key, _)| *key == problem.key).map(|(_, place)| place);
        *listed.or_else(named).unwrap_or(&self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_blamed_on_the_nearest_place() {
        let at = |start| Place { file: 0, start, end: start + 1 };
        let places = TlsPlaces {
            table: at(0),
            keys: vec![("ciphers", at(1)), ("certificate", at(2))],
            certificates: vec![at(3), at(4)],
            private_keys: vec![at(5)],
        };
        for (key, index, start) in [
            ("certificate", 1, 4),
            ("certificate", 9, 2),
            ("key", 0, 5),
            ("key", 1, 4),
            ("ciphers", 0, 1),
            ("ca", 0, 0),
        ] {
            let problem = Problem { key, index, message: String::new(), help: None };
            assert_eq!(places.of(&problem), at(start), "{key} {index}");
        }
    }
}
