// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules: an ordered list, the first that matches wins.

use super::hostname::Pattern;
use super::networks::Networks;
use super::reply::Reply;
use super::tls_peer::{CertificateMatch, PeerCertificate};
use super::track::Limits;
use std::net::IpAddr;
use std::time::Instant;

/// What a rule does with a connection it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Accept,
    /// End it, with an alert on a TLS service, or with a canned reply on a plain one.
    Reject(Option<Reply>),
    /// End it without a word: not even a FIN, as far as the system lets us.
    Drop,
    /// Hold it, read nothing, and end it after `timeout.tarpit`.
    Tarpit,
}

/// One `[[service.rule]]`. Conditions that are not there match everything.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// As configured, else "rule-N" counted from 1.
    pub name: Box<str>,
    pub source: Option<Networks>,
    pub names: Option<Vec<Pattern>>,
    pub alpn: Option<Vec<Box<[u8]>>>,
    pub certificate: Option<CertificateMatch>,
    /// Matches where the source is beyond it.
    pub limits: Option<Limits>,
    pub action: Action,
}

/// When a rule is judged: each knows what those before it know, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// A PROXY header is expected: the peer's own address. Only rules with `source` and without what comes later or `limit`
    /// are looked at; none of them is settled by it.
    Peer,
    /// The client's address.
    Source,
    /// The name and the protocols it asks for.
    Name,
    /// Its certificate.
    Certificate,
    /// Its bytes.
    Relay,
}

/// What is known of a connection at a stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    pub source: Option<IpAddr>,
    pub name: Option<&'a str>,
    pub alpn: &'a [Box<[u8]>],
    pub certificate: Option<&'a PeerCertificate>,
}

/// How far one connection has come, and what is held for it in the tables; dropping lets go.
#[derive(Debug, Default)]
pub struct RuleState {
    next: u16,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Accepted, or suspended until more is known.
    GoOn,
    /// Not accepted, by the rule of that place.
    Refused(usize),
}

/// The rules of a service.
#[derive(Debug, Default)]
pub struct Rules {
    specs: Box<[RuleSpec]>,
}

impl Rules {
    /// Whether anything has to be judged at `stage` that could not be before; Source whenever there are rules.
    pub fn wants(&self, stage: Stage) -> bool {
        let _ = stage;
        !self.specs.is_empty()
    }

    /// The rules, in order.
    pub fn specs(&self) -> &[RuleSpec] {
        &self.specs
    }

    /// How each rule stands to a client, without traffic.
    pub fn explain(&self, known: &Known<'_>) -> Vec<(usize, Why)> {
        let _ = known;
        Vec::new()
    }

    /// Goes on judging at `stage`.
    pub fn judge(&self, state: &mut RuleState, stage: Stage, known: &Known<'_>, now: Instant) -> Judgement {
        let _ = (&state.next, stage, known, now);
        Judgement::GoOn
    }

    /// While relaying: `bytes` more have been moved.
    pub fn charge(&self, state: &mut RuleState, bytes: u64, now: Instant) -> Judgement {
        let _ = (state, bytes, now);
        Judgement::GoOn
    }
}

impl RuleState {
    /// The client's handshake failed: its source is charged for it.
    pub fn handshake_failed(&mut self, now: Instant) {
        let _ = (self.next, now);
    }
}

/// How a rule stands to a client.
#[derive(Clone, Copy, Debug)]
pub struct Why;

impl Why {
    /// Whether the list ends here.
    pub fn decides(self) -> bool {
        false
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not written yet")
    }
}
