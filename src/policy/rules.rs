// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rules: an ordered list, the first that matches wins.
//!
//! The list is walked as far as the facts of a [`Stage`] allow. A rule is passed as soon as one of its conditions is known not
//! to hold; one that could still match, but asks for what is not known yet, suspends the list, so that no later rule can win
//! early. A fact that is still absent at the stage that would bring it (no name, no certificate) does not match. Whoever no
//! rule matches is accepted.
//!
//! A rule with `limit` matches when its other conditions hold and the source is beyond one of its limits, or when its table
//! has no place for the source. Connections, rate and failures are looked at as soon as the other conditions are known, bytes
//! at [`Stage::Relay`]: a rule that limits bytes suspends the list until then. Passed, it goes on being watched by
//! [`Rules::charge`]; so only rules in front of the one that accepted can end a connection that is being relayed.
//!
//! * `connections`: this one counts, so with 20 the 21st is refused. It counts until it is closed, refused or not: a tarpit
//!   keeps its place.
//! * `rate`: a connection beyond it is refused and not counted, so a source that goes on trying is let in at the rate. One
//!   that another of the rule's limits refuses is not counted either; one that a later rule refuses is.
//! * `handshake_failures`: refused when one more failure would be beyond it. A failure is charged to the limits that had been
//!   looked at by then: a limit behind a rule that asks for the name does not see clients that never say one.
//! * `bytes`: refused, or ended, when what was carried is beyond it.
//!
//! Not here: what refusing means on the wire (`connection/`), how sources are counted (track.rs).

use super::hostname::Pattern;
use super::networks::Networks;
use super::reply::Reply;
use super::tls_peer::{CertificateMatch, PeerCertificate};
use super::track::{Held, Kind, Limits, Table, Tables};
use crate::error::Refusal;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
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

impl Action {
    /// Its word in the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject(_) => "reject",
            Self::Drop => "drop",
            Self::Tarpit => "tarpit",
        }
    }

    /// How it refuses, if it does.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Accept => None,
            Self::Reject(_) => Some(Refusal::Reject),
            Self::Drop => Some(Refusal::Drop),
            Self::Tarpit => Some(Refusal::Tarpit),
        }
    }
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
    /// Matches where the source is beyond it. Only refusing actions have one.
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
    /// The rule to go on with.
    next: usize,
    /// What was held for rules with limits, in their order. No memory before there is one.
    kept: Vec<Kept>,
}

/// The place of a connection's source in the table of one rule.
#[derive(Debug)]
struct Kept {
    rule: usize,
    held: Held,
}

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Accepted, or suspended until more is known.
    GoOn,
    /// Not accepted, by the rule of that place.
    Refused(usize),
}

/// What `tunnel explain` says of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It matches: nothing behind it is looked at.
    Matches,
    /// It would match a source that is beyond its limits, which depends on the traffic; else it is passed.
    Limited,
    /// It may match, once what comes at that stage is known; else it is passed.
    Later(Stage),
    /// The client does not come from its networks.
    Source,
    /// The client asks for none of its names.
    Name,
    /// The client offers none of its protocols.
    Alpn,
    /// The client's certificate is not as it says.
    Certificate,
    /// A rule in front of it matches.
    NotReached,
}

/// The rules of a service.
#[derive(Debug, Default)]
pub struct Rules {
    specs: Box<[RuleSpec]>,
    /// By rule; none for those without limits.
    tables: Box<[Option<Arc<Table>>]>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matches => "matches",
            Self::Limited => "matches a source that is beyond its limits",
            Self::Later(Stage::Certificate) => "depends on the client's certificate",
            Self::Later(_) => "depends on what comes later",
            Self::Source => "the client is not in its networks",
            Self::Name => "the client asks for none of its names",
            Self::Alpn => "the client offers none of its protocols",
            Self::Certificate => "the client's certificate is another one",
            Self::NotReached => "not reached",
        })
    }
}

/// How one rule stands with one connection.
enum Fit {
    Passed,
    Suspended,
    Matched,
}

impl Rules {
    /// The rules `specs` of `service`, with their tables, found or made in `tables`.
    pub fn new(specs: impl IntoIterator<Item = RuleSpec>, service: &str, tables: &Tables) -> Self {
        let specs: Box<[RuleSpec]> = specs.into_iter().collect();
        let find = |spec: &RuleSpec| Some(tables.find(service, &spec.name, spec.limits.as_ref()?));
        Self { tables: specs.iter().map(find).collect(), specs }
    }

    /// Whether anything has to be judged at `stage` that could not be before; Source whenever there are rules.
    pub fn wants(&self, stage: Stage) -> bool {
        match stage {
            Stage::Peer => self.specs.iter().any(RuleSpec::is_about_source_alone),
            Stage::Source => !self.specs.is_empty(),
            later => self.specs.iter().any(|spec| spec.needs(later)),
        }
    }

    /// The rules, in order.
    pub fn specs(&self) -> &[RuleSpec] {
        &self.specs
    }

    /// What the rule of that place tracks, if it has limits.
    pub fn table(&self, rule: usize) -> Option<&Arc<Table>> {
        self.tables.get(rule)?.as_ref()
    }

    /// Goes on judging at `stage`. Stages come in their order; those that are not wanted may be left out.
    pub fn judge(&self, state: &mut RuleState, stage: Stage, known: &Known<'_>, now: Instant) -> Judgement {
        if stage == Stage::Peer {
            return self.judge_peer(known);
        }
        while let Some(spec) = self.specs.get(state.next) {
            match self.fit(state, spec, stage, known, now) {
                Fit::Passed => state.next += 1,
                Fit::Suspended => return Judgement::GoOn,
                Fit::Matched => {
                    let rule = state.next;
                    state.next = self.specs.len();
                    return spec.action.refusal().map_or(Judgement::GoOn, |_| Judgement::Refused(rule));
                }
            }
        }
        Judgement::GoOn
    }

    /// What the rules about addresses alone say of the peer's own; the header's will be judged from the beginning.
    fn judge_peer(&self, known: &Known<'_>) -> Judgement {
        let applies =
            |spec: &RuleSpec| spec.is_about_source_alone() && spec.misses(Stage::Source, known).is_none();
        match self.specs.iter().position(applies) {
            Some(rule) if self.specs[rule].action.refusal().is_some() => Judgement::Refused(rule),
            _ => Judgement::GoOn,
        }
    }

    /// How the rule that is next stands.
    fn fit(
        &self,
        state: &mut RuleState,
        spec: &RuleSpec,
        stage: Stage,
        known: &Known<'_>,
        now: Instant,
    ) -> Fit {
        if spec.misses(stage, known).is_some() {
            return Fit::Passed;
        }
        if spec.facts_come_at() > stage {
            return Fit::Suspended;
        }
        let Some(Some(table)) = self.tables.get(state.next) else { return Fit::Matched };
        let Some(limits) = &spec.limits else { return Fit::Matched };
        let seen_before = state.kept.last().filter(|kept| kept.rule == state.next);
        if seen_before.is_none() {
            let Ok(held) = table.hold(known.source, now) else { return Fit::Matched };
            let beyond = is_beyond(&held, limits, now);
            state.kept.reserve_exact(1);
            state.kept.push(Kept { rule: state.next, held });
            if beyond {
                return Fit::Matched;
            }
        }
        match &state.kept[..] {
            _ if limits.bytes.is_none() => Fit::Passed,
            _ if stage < Stage::Relay => Fit::Suspended,
            [.., kept] if kept.held.is_beyond(Kind::Byte, 0, now) => Fit::Matched,
            _ => Fit::Passed,
        }
    }

    /// While relaying: `bytes` more have been moved.
    pub fn charge(&self, state: &mut RuleState, bytes: u64, now: Instant) -> Judgement {
        let mut judgement = Judgement::GoOn;
        for kept in &state.kept {
            // All are charged, whichever refuses.
            kept.held.charge(Kind::Byte, bytes, now);
            if judgement == Judgement::GoOn && kept.held.is_beyond(Kind::Byte, 0, now) {
                judgement = Judgement::Refused(kept.rule);
            }
        }
        judgement
    }

    /// How each rule stands to a client of which address, name and protocols are known, but not its certificate. Touches no
    /// table.
    pub fn explain(&self, known: &Known<'_>) -> Vec<(usize, Why)> {
        let stage = Stage::Name;
        let mut matched = false;
        let why = |(rule, spec): (usize, &RuleSpec)| {
            let why = match spec.misses(stage, known) {
                _ if matched => Why::NotReached,
                Some(why) => why,
                None if spec.facts_come_at() > stage => Why::Later(spec.facts_come_at()),
                None if spec.limits.is_some() => Why::Limited,
                None => Why::Matches,
            };
            matched |= why == Why::Matches;
            (rule, why)
        };
        self.specs.iter().enumerate().map(why).collect()
    }
}

impl RuleSpec {
    /// The condition that is known at `stage` not to hold.
    fn misses(&self, stage: Stage, known: &Known<'_>) -> Option<Why> {
        let source = |networks: &Networks| known.source.is_some_and(|source| networks.contains(source));
        let name = |patterns: &Vec<Pattern>| {
            known.name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
        };
        let alpn = |wanted: &Vec<Box<[u8]>>| wanted.iter().any(|one| known.alpn.contains(one));
        let certificate = |wanted: &CertificateMatch| wanted.matches(known.certificate);
        let at = |brings: Stage| stage >= brings;
        if self.source.as_ref().is_some_and(|wanted| !source(wanted)) {
            Some(Why::Source)
        } else if at(Stage::Name) && self.names.as_ref().is_some_and(|wanted| !name(wanted)) {
            Some(Why::Name)
        } else if at(Stage::Name) && self.alpn.as_ref().is_some_and(|wanted| !alpn(wanted)) {
            Some(Why::Alpn)
        } else if at(Stage::Certificate)
            && self.certificate.as_ref().is_some_and(|wanted| !certificate(wanted))
        {
            Some(Why::Certificate)
        } else {
            None
        }
    }

    /// The stage at which all of its conditions, without its limits, are known.
    fn facts_come_at(&self) -> Stage {
        if self.certificate.is_some() {
            Stage::Certificate
        } else if self.names.is_some() || self.alpn.is_some() {
            Stage::Name
        } else {
            Stage::Source
        }
    }

    /// Whether something of it is known at `stage` and not before. For stages behind Source.
    fn needs(&self, stage: Stage) -> bool {
        match stage {
            Stage::Peer | Stage::Source => false,
            Stage::Name => self.names.is_some() || self.alpn.is_some(),
            Stage::Certificate => self.certificate.is_some(),
            Stage::Relay => self.limits.as_ref().is_some_and(|limits| limits.bytes.is_some()),
        }
    }

    fn is_about_source_alone(&self) -> bool {
        self.source.is_some() && self.facts_come_at() == Stage::Source && self.limits.is_none()
    }
}

impl RuleState {
    /// The client's handshake failed, otherwise than by a rule: its source is charged for it.
    pub fn handshake_failed(&mut self, now: Instant) {
        self.kept.iter().for_each(|kept| kept.held.charge(Kind::HandshakeFailure, 1, now));
    }

    /// Whether [`Rules::charge`] wants to know of this connection's bytes.
    pub fn watches_bytes(&self) -> bool {
        self.kept.iter().any(|kept| kept.held.limits(Kind::Byte))
    }
}

/// Whether the source is beyond a limit that does not wait for bytes. What is beyond another one is not counted in the rate.
fn is_beyond(held: &Held, limits: &Limits, now: Instant) -> bool {
    limits.connections.is_some_and(|most| held.connections() > u64::from(most))
        || held.is_beyond(Kind::HandshakeFailure, 1, now)
        || !held.admit(Kind::Connection, now)
}

#[cfg(test)]
mod tests;
