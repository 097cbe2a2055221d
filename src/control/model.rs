// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can be seen of the daemon, as plain values: everything that shows something (the commands, the metrics, the API,
//! the page, tunnelctl) shows these and nothing else.
//!
//! Their JSON form is public interface: a field is never renamed or removed within a major version, new ones may come (and
//! are empty where an older daemon does not tell them).
//! Times of day are seconds since 1970 (UTC), spans are seconds, both with fractions; sizes are bytes of payload, rates are
//! per second. *In* is from clients to servers, *out* from servers to clients. Not here: connections (`connection/view.rs`),
//! where the values come from (`collect.rs`).

use serde::{Deserialize, Serialize};

/// All but the connections, at one moment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Snapshot {
    /// When it was taken.
    pub at: f64,
    pub process: Process,
    /// In the order of the configuration; services that a reload removed come last, while they have connections.
    pub services: Vec<Service>,
    pub listeners: Vec<Listener>,
    pub workers: Vec<Worker>,
    /// The first thousand, those that expire first ahead within each kind.
    pub certificates: Vec<Certificate>,
    pub certificates_total: u64,
}

/// The daemon as a whole.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Process {
    pub name: String,
    pub version: String,
    pub commit: String,
    /// "OpenSSL 3.0.19 27 Jan 2026".
    pub tls_library: String,
    pub pid: u32,
    pub user: String,
    /// Name of this host.
    pub node: String,
    /// "serving", "draining" or "stopping".
    pub state: String,
    /// Whether new clients should be sent here: serving, and every listener is bound and not paused.
    pub ready: bool,
    /// Why not, in words; empty if ready.
    pub not_ready: Vec<String>,
    pub started: f64,
    pub uptime: f64,
    /// The configuration file.
    pub config: String,
    pub reload: Reload,
    /// As configured.
    pub max_connections: u64,
    /// How many there may be with the descriptors there are.
    pub places: u64,
    /// The limit on open descriptors.
    pub open_files: u64,
    /// Sockets that were accepted and wait for a worker.
    pub queued: u64,
    /// Log lines that could not be written, for the life of the process.
    pub log_lost: u64,
    /// "info", "debug" …
    pub log_level: String,
    pub traffic: Traffic,
    pub handshakes: Timing,
    pub connects: Timing,
    pub lifetimes: Timing,
    pub failures: Vec<Failures>,
    pub tls: TlsShares,
    pub names: Names,
    /// Of the last five minutes.
    pub history: History,
    /// What an operator should know: one sentence each, most urgent first ("certificate web.pem expires in 6 days").
    pub problems: Vec<Problem>,
}

/// One thing that is wrong or will be.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Problem {
    /// "error" or "warning".
    pub severity: String,
    /// The service, listener, server or file it is about.
    pub subject: String,
    pub text: String,
}

/// How the last load of the configuration went.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Reload {
    /// Loads that took effect, the first one included.
    pub applied: u64,
    pub refused: u64,
    /// When the last one ended.
    pub last: f64,
    /// Whether that one took effect.
    pub ok: bool,
    /// Why not; warnings if it did.
    pub messages: Vec<String>,
    /// When the configuration in effect was loaded.
    pub in_effect_since: f64,
}

/// What passed through something.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Traffic {
    /// Connections now.
    pub active: u64,
    /// The most at once.
    pub peak: u64,
    pub total: u64,
    /// Those that ended otherwise than in order.
    pub failed: u64,
    /// New connections per second, over the last second.
    pub rate: f64,
    pub peak_rate: f64,
    /// Bytes, those of live connections as of a second ago at most.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// Bytes per second, over the last second.
    pub rate_in: f64,
    pub rate_out: f64,
    /// When the last connection came; 0: none yet.
    pub last: f64,
}

/// How long something took: a histogram.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Timing {
    pub count: u64,
    /// Seconds, all together.
    pub sum: f64,
    /// Interpolated within a bucket; 0 when nothing was measured.
    pub p50: f64,
    pub p99: f64,
    /// Upper bound in seconds (the last is infinite: `null` in JSON) and how many took at most that, cumulative.
    pub buckets: Vec<Bucket>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Bucket {
    pub le: Option<f64>,
    pub count: u64,
}

/// Connections that failed for one cause. Causes are few and fixed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Failures {
    /// "no-shared-cipher".
    pub cause: String,
    pub count: u64,
    /// What it means and what to do, in plain language.
    pub hint: String,
    /// The last client that met it, if known.
    pub last_client: String,
    /// When; 0: not since the daemon remembers.
    pub last: f64,
}

/// What was agreed on in completed handshakes with clients, most frequent first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct TlsShares {
    pub handshakes: u64,
    pub resumed: u64,
    pub versions: Vec<Share>,
    pub ciphers: Vec<Share>,
    pub groups: Vec<Share>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Share {
    pub name: String,
    pub count: u64,
}

/// Regular samples, oldest first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct History {
    /// Seconds from one sample to the next.
    pub step: f64,
    /// When the last one was taken.
    pub last: f64,
    /// New connections per second.
    pub connections: Vec<f64>,
    /// Failures per second.
    pub failures: Vec<f64>,
    /// Bytes per second.
    pub bytes_in: Vec<f64>,
    pub bytes_out: Vec<f64>,
    /// Connections at the moment of the sample.
    pub active: Vec<u64>,
}

/// A `[[service]]`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Service {
    pub name: String,
    /// "relay", "health" …
    pub mode: String,
    /// "up", "draining", "paused" or "removed".
    pub state: String,
    /// In configuration order.
    pub listens_on: Vec<String>,
    /// Whether a route terminates TLS; whether one speaks TLS to its servers.
    pub accepts_tls: bool,
    pub connects_tls: bool,
    /// Seconds since the counters began.
    pub uptime: f64,
    pub traffic: Traffic,
    pub handshakes: Timing,
    pub connects: Timing,
    pub lifetimes: Timing,
    /// Connections that a `limit` of it or of a route refused.
    pub limited: u64,
    /// Options of sockets towards servers that could not be set.
    pub option_errors: u64,
    pub failures: Vec<Failures>,
    pub tls: TlsShares,
    pub history: History,
    /// The first thousand in configuration order; how many there are is in `routes_total`.
    pub routes: Vec<Route>,
    pub routes_total: u64,
    /// Connections that rules refused, by rule.
    pub rules: Vec<Rule>,
}

/// A `[[service.rule]]`, and what its limits track.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Rule {
    pub name: String,
    /// "accept", "reject", "drop" or "tarpit".
    pub action: String,
    /// Connections it decided.
    pub matched: u64,
    /// Sources it tracks now, and at most; 0 without a limit.
    pub tracked: u64,
    pub capacity: u64,
}

/// A `[[service.route]]`, or "default".
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Route {
    pub name: String,
    /// "connect" or "reject".
    pub action: String,
    /// What it takes, as configured: names, patterns, "fallback no-name" …
    pub takes: Vec<String>,
    /// "terminated" or "passed through" or "none".
    pub tls: String,
    pub traffic: Traffic,
    /// Connections that its `limit` refused.
    pub limited: u64,
    /// How its servers are chosen from ("leastconn"); empty where it has none.
    pub balance: String,
    /// Connections that wait because every server is full.
    pub waiting: u64,
    pub servers: Vec<Server>,
}

/// How names are resolved, for the life of the process.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Names {
    /// Answers that are kept.
    pub kept: u64,
    /// Names that were answered by what is kept.
    pub hits: u64,
    /// Names that had to be asked for.
    pub misses: u64,
    /// Of those: there is no such name.
    pub no_names: u64,
    /// Of those: nobody could say.
    pub unanswered: u64,
    /// Messages sent to name servers.
    pub queries: u64,
    /// Tries that came to nothing.
    pub failed_tries: u64,
}

/// A server of a route.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Server {
    pub service: String,
    pub route: String,
    /// As configured.
    pub name: String,
    /// Where it is; of several addresses that its name has now, the first; empty: its name has none.
    pub address: String,
    /// What the operator says: "ready", "drain" or "maint".
    pub admin: String,
    /// What was seen of it: "unresolved" while its name has no address; "up", "down" or "unchecked" by checks; "paused" after connections failed; "stopping" as the
    /// operator says.
    pub state: String,
    /// In the present state since.
    pub since: f64,
    /// 0 to 256; how servers share the load: as the operator said last, or as configured.
    pub weight: u32,
    /// As configured.
    pub initial_weight: u32,
    /// It serves only while no other can.
    pub backup: bool,
    /// Connections it may have at once; 0: as many as come.
    pub max_connections: u64,
    /// 1-based, unique in its service.
    pub number: u32,
    pub traffic: Traffic,
    pub connects: Timing,
    /// Connects that failed.
    pub connect_errors: u64,
    /// When one last failed, and how; 0 and empty: never.
    pub last_error_at: f64,
    pub last_error: String,
    /// The newest first.
    pub checks: Vec<Check>,
    /// The kind of its check ("tcp"); empty: it is not checked.
    pub check: String,
    /// Whether the operator lets it be checked.
    pub watched: bool,
    /// Checks in a row that bring it up again, and down; how many there have been in a row against its state.
    pub rise: u32,
    pub fall: u32,
    pub streak: u32,
    /// Checks that were made, and that failed.
    pub checked: u64,
    pub check_failures: u64,
    /// How often it went down, and how often it was paused.
    pub downs: u64,
    pub pauses: u64,
    /// Seconds it was down, all together.
    pub downtime: f64,
}

/// One check of a server.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Check {
    pub at: f64,
    pub ok: bool,
    /// "L4OK", "L4CON", "L4TOUT", "L6OK", "L6RSP", "L6TOUT", "L7OK", "L7RSP", "L7STS", "L7TOUT", "SOCKERR": as HAProxy calls them.
    pub status: String,
    pub took: f64,
    pub text: String,
}

/// A bound socket.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Listener {
    /// The address in effect.
    pub address: String,
    pub service: String,
    /// "accepting", "paused" or "closed".
    pub state: String,
    /// Why it is paused.
    pub reason: String,
    /// Connections the kernel has accepted and we have not, and how many it keeps at most; -1: unknown.
    pub backlog: i64,
    pub backlog_limit: i64,
    pub uptime: f64,
    pub traffic: Traffic,
}

/// A worker thread.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Worker {
    pub number: u64,
    /// "asleep", "busy" or "gone".
    pub state: String,
    /// How long the turn it is in has lasted; 0 asleep.
    pub busy_for: f64,
    /// What it is doing, if it has been long about it.
    pub doing: String,
    /// The share of the last second it was not asleep, 0 to 1.
    pub load: f64,
    pub connections: u64,
    pub traffic: Traffic,
    pub turns: u64,
    pub turn: Timing,
    /// The longest turn, in seconds.
    pub longest: f64,
    /// Answers and requests that wait for it.
    pub inbox: u64,
    /// Listings that hold a place in its list.
    pub bookmarks: u64,
    /// Panics it survived.
    pub panics: u64,
}

/// A certificate, a revocation list or a ticket key.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Certificate {
    /// "certificate", "client-certificate" (shown to servers), "chain" (shown with one of those), "ca", "crl" or
    /// "ticket-key".
    pub kind: String,
    /// Empty: not from a file.
    pub file: String,
    /// Common name and alternative names; of a CA or CRL, its subject or issuer. None for the system's set of CAs.
    pub names: Vec<String>,
    /// "RSA 2048", "EC prime256v1", "ED25519".
    pub key_type: String,
    pub issuer: String,
    /// Upper-case hexadecimal.
    pub serial: String,
    /// SHA-256, upper-case hexadecimal.
    pub fingerprint: String,
    /// 0: unknown.
    pub not_before: f64,
    /// Of a CRL: when the next one is due; of a ticket key: when it is replaced.
    pub not_after: f64,
    /// "web", "web/mail": services, or a service and its route.
    pub used_by: Vec<String>,
    /// The file was changed after it was loaded.
    pub newer_on_disk: bool,
    /// How many certificates the file holds, of which the first fifty are shown; 0: not from a file.
    pub in_file: u64,
}

/// A failure that was noted, newest first in lists.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Failure {
    pub at: f64,
    pub worker: u64,
    /// The connection's.
    pub id: u64,
    pub service: String,
    pub route: String,
    pub client: String,
    /// The name it asked for.
    pub name: String,
    pub server: String,
    pub cause: String,
    pub hint: String,
    /// "reading the hello".
    pub doing: String,
    pub text: String,
}
