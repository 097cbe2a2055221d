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
use crate::policy::access::Level;
use crate::policy::balance::Kind;
use crate::policy::check::CheckSpec;
use crate::policy::health::Passive;
use crate::policy::hostname::Pattern;
use crate::policy::outgoing::Source;
use crate::policy::quota::QuotaSpec;
use crate::policy::reply::Reply;
use crate::policy::route_table::Fallback;
use crate::policy::rules::Action;
use crate::policy::service::{AskTls, Others, Peek, RouteAction, SendProxy, Timeouts, Truncation};
use crate::policy::tls_peer::CertificateMatch;
use crate::policy::tls_spec::{ClientTlsSpec, Problem, ServerTlsSpec};
use crate::policy::track::Limits;
use crate::policy::via;
use crate::resolver;
use crate::sys::listening::ListenOptions;
use crate::sys::options::SocketOptions;
use crate::wire::starttls::Protocol;
use ipnet::IpNet;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// The default of `max_connections`.
pub(super) const MAX_CONNECTIONS: usize = 20_000;

/// The default of `shutdown_timeout`.
pub(super) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

/// The default of `queue.length`, where a server has `max_connections`.
pub(super) const QUEUE_LENGTH: usize = 1024;

/// The default of `queue.timeout`.
pub(super) const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);

/// The default of `expand` for a service ("_imap._tcp.example.org").
pub(super) const EXPAND: usize = 8;

/// The default of `buffer`, in bytes.
pub(super) const BUFFER: usize = 256 << 10;

/// The default of `log.socket`.
pub(super) const SYSLOG_SOCKET: &str = "/dev/log";

/// The default of `log.facility`.
pub(super) const FACILITY: (&str, log::Facility) = ("daemon", log::Facility(3));

/// The default of the control socket's `mode`: the daemon's own user and root.
pub(super) const CONTROL_MODE: u32 = 0o600;

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
    pub(super) control: Control,
    pub(super) resolver: resolver::Settings,
    pub(super) services: Vec<ServiceSettings>,
}

/// What `[control]` says.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) socket: Option<At<PathBuf>>,
    /// Permissions of the socket.
    pub(super) mode: u32,
    pub(super) group: Option<At<String>>,
    /// Users, and groups after an "@".
    pub(super) admin: Vec<At<String>>,
    pub(super) operate: Vec<At<String>>,
    pub(super) http: Option<SocketAddr>,
    /// In lower case.
    pub(super) hosts: Vec<String>,
    /// Files with a secret in each.
    pub(super) tokens: Vec<(At<PathBuf>, Level)>,
    /// Common names.
    pub(super) certificates: Vec<(String, Level)>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            socket: None,
            mode: CONTROL_MODE,
            group: None,
            admin: Vec::new(),
            operate: Vec::new(),
            http: None,
            hosts: Vec::new(),
            tokens: Vec::new(),
            certificates: Vec::new(),
        }
    }
}

/// What one `[[service]]` says.
#[derive(Debug)]
pub(super) struct ServiceSettings {
    pub(super) name: String,
    pub(super) mode: &'static Mode,
    /// In mode "health", and nowhere else.
    pub(super) reply: Option<Reply>,
    /// The users of mode "socks".
    pub(super) socks: Option<At<PathBuf>>,
    pub(super) monitor: Option<MonitorSettings>,
    pub(super) peek: Peek,
    pub(super) accept: Vec<Endpoint>,
    pub(super) starttls: Option<At<&'static Protocol>>,
    pub(super) socket: SocketSettings,
    pub(super) proxy_protocol: Option<ProxySettings>,
    /// Without a certificate it only holds what the routes' own inherit.
    pub(super) accept_tls: Option<Tls<ServerTlsSpec>>,
    /// For routes that have none of their own.
    pub(super) connect: Option<ConnectSettings>,
    /// For routes that say nothing else.
    pub(super) health: HealthSettings,
    pub(super) spread: Spread,
    pub(super) timeouts: Timeouts,
    /// In bytes.
    pub(super) buffer: usize,
    pub(super) truncation: Truncation,
    pub(super) limit: Option<QuotaSpec>,
    pub(super) rules: Vec<RuleSettings>,
    /// None: everybody goes one way.
    pub(super) routes: Vec<RouteSettings>,
}

impl ServiceSettings {
    /// What clients are decrypted with where a route says nothing else.
    pub(super) fn shared_tls(&self) -> Option<&Tls<ServerTlsSpec>> {
        self.accept_tls.as_ref().filter(|tls| tls.terminates())
    }
}

/// What `monitor` says.
#[derive(Debug)]
pub(super) struct MonitorSettings {
    pub(super) source: NetworkList,
    pub(super) reply: Reply,
}

/// What `accept.proxy_protocol` says.
#[derive(Debug)]
pub(super) struct ProxySettings {
    /// None where every peer comes over a unix socket.
    pub(super) from: Option<NetworkList>,
    pub(super) others: Others,
    pub(super) confirm: bool,
}

/// What a `connect` says, with the servers beside it.
#[derive(Debug, Default)]
pub(super) struct ConnectSettings {
    /// The short list; [`Target::Requested`] is always the only one. Empty where there are servers.
    pub(super) addresses: Vec<Endpoint>,
    /// Servers in tables of their own.
    pub(super) servers: Vec<ServerSettings>,
    /// Into how many servers each name of the short list is made.
    pub(super) expand: Option<At<usize>>,
    /// With [`Target::Requested`] only.
    pub(super) allow: Option<NetworkList>,
    /// The same.
    pub(super) names: Vec<Pattern>,
    /// With "*:*" only.
    pub(super) ports: PortList,
    pub(super) via: Option<ViaSettings>,
    /// With `tls` only.
    pub(super) starttls: Option<At<AskTls>>,
    pub(super) tls: Option<Tls<ClientTlsSpec>>,
    pub(super) send_proxy: Option<SendProxy>,
    pub(super) outgoing: Option<OutgoingSettings>,
}

/// What `accept` says of its sockets.
#[derive(Debug, Default)]
pub(super) struct SocketSettings {
    /// `permit` is yet to be made.
    pub(super) options: ListenOptions,
    pub(super) permit: Option<PermitSettings>,
    /// Of `accept.socket`.
    pub(super) place: Option<Place>,
}

/// Who may connect to its unix sockets; names or numbers.
#[derive(Debug)]
pub(super) struct PermitSettings {
    pub(super) owner: Option<At<String>>,
    pub(super) group: Option<At<String>>,
    pub(super) mode: u32,
}

/// What a `connect` says of its sockets.
#[derive(Debug)]
pub(super) struct OutgoingSettings {
    pub(super) sources: Vec<At<Source>>,
    pub(super) socket: SocketOptions,
    /// Of one of the two.
    pub(super) place: Place,
}

/// What `check` and `passive` say; nothing where they are not written.
#[derive(Debug, Default)]
pub(super) struct HealthSettings {
    /// Nothing within: no check.
    pub(super) check: Option<At<Option<CheckSettings>>>,
    pub(super) passive: Option<Passive>,
}

/// A `check`.
#[derive(Clone, Debug)]
pub(super) struct CheckSettings {
    /// But for `tls`, where that depends on the route.
    pub(super) spec: CheckSpec,
    /// As written, or as the kind wants it.
    pub(super) tls: Option<bool>,
}

/// Ports, by ranges.
pub(super) type PortList = Vec<RangeInclusive<u16>>;

/// What `connect.proxy` says.
#[derive(Debug)]
pub(super) struct ViaSettings {
    pub(super) kind: via::Kind,
    pub(super) endpoint: Endpoint,
    /// A name, and the file with its password.
    pub(super) login: Option<(String, At<PathBuf>)>,
}

/// What one `[[service.server]]` says.
#[derive(Debug)]
pub(super) struct ServerSettings {
    /// As written, or the address.
    pub(super) name: At<String>,
    pub(super) endpoint: Endpoint,
    pub(super) weight: u16,
    pub(super) backup: bool,
    /// None: as many as come.
    pub(super) max_connections: Option<u32>,
    pub(super) slow_start: Option<Duration>,
    /// Into how many servers its name is made.
    pub(super) expand: Option<At<usize>>,
    /// Instead of that of its service or route.
    pub(super) check: Option<At<Option<CheckSettings>>>,
}

/// How servers are chosen from; what a route does not say, its service says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spread {
    pub(super) balance: Option<Kind>,
    pub(super) queue_length: Option<usize>,
    pub(super) queue_timeout: Option<Duration>,
    pub(super) retries: Option<usize>,
}

impl Spread {
    /// With what `other` says where this says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            balance: self.balance.or(other.balance),
            queue_length: self.queue_length.or(other.queue_length),
            queue_timeout: self.queue_timeout.or(other.queue_timeout),
            retries: self.retries.or(other.retries),
        }
    }
}

/// What one `[[service.rule]]` says.
#[derive(Debug)]
pub(super) struct RuleSettings {
    pub(super) name: String,
    pub(super) source: Option<NetworkList>,
    pub(super) sni: NameList,
    pub(super) alpn: Vec<String>,
    pub(super) certificate: Option<CertificateMatch>,
    pub(super) limits: Option<Limits>,
    pub(super) action: Action,
}

/// What one `[[service.route]]` says.
#[derive(Debug)]
pub(super) struct RouteSettings {
    pub(super) name: String,
    pub(super) place: Place,
    /// One of the two is empty.
    pub(super) sni: NameList,
    pub(super) host: NameList,
    pub(super) alpn: Vec<String>,
    pub(super) source: Option<NetworkList>,
    pub(super) fallback: At<Fallback>,
    pub(super) action: RouteAction,
    pub(super) limit: Option<QuotaSpec>,
    /// Its own, with what it inherits.
    pub(super) tls: Option<Tls<ServerTlsSpec>>,
    /// Its own.
    pub(super) connect: Option<ConnectSettings>,
    /// Its own.
    pub(super) health: HealthSettings,
    pub(super) spread: Spread,
}

/// Names a rule or a route is for, as written and as understood.
#[derive(Debug, Default)]
pub(super) struct NameList {
    /// Names and `*.suffix`.
    pub(super) names: Vec<At<String>>,
    pub(super) regexes: Vec<At<String>>,
    /// Those of both lists.
    pub(super) patterns: Vec<Pattern>,
}

impl NameList {
    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.regexes.is_empty()
    }
}

/// Networks, and files of them that are yet to be read; at least one.
#[derive(Debug)]
pub(super) struct NetworkList(pub(super) Vec<At<NetworkSource>>);

/// One entry of a [`NetworkList`].
#[derive(Debug)]
pub(super) enum NetworkSource {
    Network(IpNet),
    File(PathBuf),
}

/// An address as written and as understood.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) text: At<String>,
    pub(super) target: Target,
}

/// A TLS specification and where its parts were written.
#[derive(Clone, Debug)]
pub(super) struct Tls<S> {
    pub(super) spec: S,
    pub(super) places: TlsPlaces,
}

impl Tls<ServerTlsSpec> {
    /// Whether clients can be decrypted with it; else it is only there to be inherited from.
    pub(super) fn terminates(&self) -> bool {
        !self.spec.certificates.is_empty()
    }
}

impl<S> Tls<S> {
    /// Whether `key` was written, be it good or not.
    pub(super) fn names(&self, key: &str) -> bool {
        self.places.keys.iter().any(|(known, _)| *known == key)
    }
}

/// Where the parts of a `tls` table were written.
#[derive(Clone, Debug)]
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
