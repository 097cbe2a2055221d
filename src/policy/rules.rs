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
mod tests {
    use super::*;
    use crate::policy::track::Rate;
    use std::time::Duration;

    const OTHER: &str = "203.0.113.1";
    const LISTED: &str = "192.0.2.1";

    const UNLIMITED: Limits = Limits { sources: 1000, ..Limits::NONE };

    fn rule(action: Action) -> RuleSpec {
        let name = "rule".into();
        RuleSpec { name, source: None, names: None, alpn: None, certificate: None, limits: None, action }
    }

    const REJECT: Action = Action::Reject(None);

    /// Connections from 192.0.2.0/24.
    fn from_listed(action: Action) -> RuleSpec {
        RuleSpec { source: Some(Networks::new(["192.0.2.0/24".parse().unwrap()])), ..rule(action) }
    }

    /// Those that ask for this name.
    fn for_name(name: &str, action: Action) -> RuleSpec {
        RuleSpec { names: Some(vec![Pattern::Exact(name.into())]), ..rule(action) }
    }

    fn with_certificate(present: bool, action: Action) -> RuleSpec {
        let certificate = CertificateMatch { present: Some(present), ..CertificateMatch::default() };
        RuleSpec { certificate: Some(certificate), ..rule(action) }
    }

    fn limited(limits: Limits) -> RuleSpec {
        RuleSpec { limits: Some(limits), ..rule(REJECT) }
    }

    /// With a name for each, as the configuration gives them.
    fn rules(specs: impl IntoIterator<Item = RuleSpec>) -> Rules {
        let named = |(at, spec)| RuleSpec { name: format!("rule-{}", at + 1).into(), ..spec };
        Rules::new(specs.into_iter().enumerate().map(named), "web", &Tables::default())
    }

    fn known(source: &str) -> Known<'_> {
        Known { source: Some(source.parse().unwrap()), ..Known::default() }
    }

    #[expect(clippy::disallowed_methods, reason = "a test begins its own time somewhere")]
    fn start() -> Instant {
        Instant::now()
    }

    const STAGES: [Stage; 4] = [Stage::Source, Stage::Name, Stage::Certificate, Stage::Relay];

    /// Walks all stages with the same facts; where it ended, and how.
    fn walk(rules: &Rules, state: &mut RuleState, known: &Known<'_>, now: Instant) -> Option<(Stage, usize)> {
        STAGES.into_iter().find_map(|stage| match rules.judge(state, stage, known, now) {
            Judgement::GoOn => None,
            Judgement::Refused(rule) => Some((stage, rule)),
        })
    }

    fn outcome(rules: &Rules, known: &Known<'_>) -> Option<(Stage, usize)> {
        walk(rules, &mut RuleState::default(), known, start())
    }

    #[test]
    fn nobody_is_refused_without_a_rule_that_matches() {
        assert_eq!(outcome(&Rules::default(), &known(LISTED)), None);
        assert_eq!(outcome(&rules([from_listed(REJECT)]), &known(OTHER)), None);
        assert_eq!(outcome(&rules([rule(REJECT)]), &known(OTHER)), Some((Stage::Source, 0)));
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let list = rules([from_listed(Action::Accept), rule(Action::Drop)]);
        assert_eq!(outcome(&list, &known(LISTED)), None);
        assert_eq!(outcome(&list, &known(OTHER)), Some((Stage::Source, 1)));
        let list = rules([rule(Action::Drop), from_listed(Action::Accept)]);
        assert_eq!(outcome(&list, &known(LISTED)), Some((Stage::Source, 0)));
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let both = RuleSpec { names: Some(vec![Pattern::Exact("a.test".into())]), ..from_listed(REJECT) };
        let list = rules([both]);
        for (source, name, refused) in [
            (LISTED, Some("a.test"), true),
            (LISTED, Some("b.test"), false),
            (LISTED, None, false),
            (OTHER, Some("a.test"), false),
        ] {
            let known = Known { name, ..known(source) };
            assert_eq!(outcome(&list, &known), refused.then_some((Stage::Name, 0)), "{source} {name:?}");
        }
    }

    #[test]
    fn any_protocol_of_a_rule_that_the_client_offers_will_do() {
        let list = rules([RuleSpec { alpn: Some(vec![b"h2"[..].into(), b"h3"[..].into()]), ..rule(REJECT) }]);
        let offers = [b"http/1.1"[..].into(), b"h2"[..].into()];
        assert_eq!(outcome(&list, &Known { alpn: &offers, ..known(OTHER) }), Some((Stage::Name, 0)));
        assert_eq!(outcome(&list, &Known { alpn: &offers[..1], ..known(OTHER) }), None);
        assert_eq!(outcome(&list, &known(OTHER)), None);
    }

    #[test]
    fn a_rule_that_waits_for_a_fact_lets_no_later_one_win() {
        // An accept behind a name: the list is suspended, so the source alone does not let anybody in.
        let list = rules([for_name("bad.test", REJECT), from_listed(Action::Accept), rule(Action::Drop)]);
        let mut state = RuleState::default();
        let bad = Known { name: Some("bad.test"), ..known(LISTED) };
        assert_eq!(list.judge(&mut state, Stage::Source, &bad, start()), Judgement::GoOn);
        assert_eq!(list.judge(&mut state, Stage::Name, &bad, start()), Judgement::Refused(0));
        assert_eq!(outcome(&list, &Known { name: Some("good.test"), ..known(LISTED) }), None);
        assert_eq!(outcome(&list, &known(OTHER)), Some((Stage::Name, 2)));
        // A refusal behind a certificate comes after it, too.
        let list = rules([with_certificate(true, Action::Accept), rule(REJECT)]);
        let certificate = PeerCertificate::from_common_name("a");
        assert_eq!(outcome(&list, &known(OTHER)), Some((Stage::Certificate, 1)));
        assert_eq!(outcome(&list, &Known { certificate: Some(&certificate), ..known(OTHER) }), None);
    }

    #[test]
    fn a_rule_that_is_known_to_fail_is_passed_before_all_its_facts_are_there() {
        let waiting =
            RuleSpec { names: Some(vec![Pattern::Exact("a.test".into())]), ..from_listed(Action::Accept) };
        let list = rules([waiting, rule(REJECT)]);
        assert_eq!(outcome(&list, &known(OTHER)), Some((Stage::Source, 1)));
        assert_eq!(outcome(&list, &known(LISTED)), Some((Stage::Name, 1)));
    }

    #[test]
    fn once_accepted_nothing_is_judged_any_more() {
        let list = rules([from_listed(Action::Accept), for_name("a.test", REJECT)]);
        assert_eq!(outcome(&list, &Known { name: Some("a.test"), ..known(LISTED) }), None);
        assert_eq!(outcome(&list, &Known { name: Some("a.test"), ..known(OTHER) }), Some((Stage::Name, 1)));
    }

    #[test]
    fn a_client_without_an_address_is_in_no_network() {
        assert_eq!(outcome(&rules([from_listed(REJECT)]), &Known::default()), None);
        assert_eq!(outcome(&rules([rule(REJECT)]), &Known::default()), Some((Stage::Source, 0)));
    }

    #[test]
    fn a_peer_is_judged_by_rules_about_addresses_alone_and_nothing_is_kept() {
        let limit = Limits { connections: Some(0), ..UNLIMITED };
        let list = rules([
            RuleSpec { names: Some(vec![]), ..from_listed(REJECT) },
            RuleSpec { limits: Some(limit), ..from_listed(REJECT) },
            rule(REJECT),
            RuleSpec {
                source: Some(Networks::new(["192.0.2.9/32".parse().unwrap()])),
                ..rule(Action::Accept)
            },
            from_listed(Action::Drop),
        ]);
        let mut state = RuleState::default();
        let mut peer = |source| list.judge(&mut state, Stage::Peer, &known(source), start());
        assert_eq!(peer(LISTED), Judgement::Refused(4));
        assert_eq!(peer("192.0.2.9"), Judgement::GoOn);
        assert_eq!(peer(OTHER), Judgement::GoOn);
        assert!(state.next == 0 && state.kept.is_empty());
        // Behind the header the list begins anew, with its address.
        assert_eq!(walk(&list, &mut state, &known(OTHER), start()), Some((Stage::Source, 2)));
    }

    #[test]
    fn stages_are_wanted_only_where_a_rule_asks_for_what_they_bring() {
        let wanted = |specs: Vec<RuleSpec>| {
            let list = rules(specs);
            [Stage::Peer, Stage::Source, Stage::Name, Stage::Certificate, Stage::Relay]
                .map(|stage| list.wants(stage))
        };
        let bytes = Some(Rate { most: 1, per: Duration::from_secs(1) });
        let both = RuleSpec { names: Some(vec![]), ..with_certificate(true, REJECT) };
        let connections = limited(Limits { connections: Some(1), ..UNLIMITED });
        assert_eq!(wanted(vec![]), [false; 5]);
        assert_eq!(wanted(vec![rule(REJECT)]), [false, true, false, false, false]);
        assert_eq!(wanted(vec![from_listed(REJECT)]), [true, true, false, false, false]);
        assert_eq!(wanted(vec![connections]), [false, true, false, false, false]);
        assert_eq!(
            wanted(vec![RuleSpec { alpn: Some(vec![]), ..rule(REJECT) }]),
            [false, true, true, false, false]
        );
        assert_eq!(wanted(vec![both]), [false, true, true, true, false]);
        assert_eq!(wanted(vec![limited(Limits { bytes, ..UNLIMITED })]), [false, true, false, false, true]);
    }

    #[test]
    fn connections_beyond_the_limit_are_refused_until_others_end() {
        let list = rules([limited(Limits { connections: Some(2), ..UNLIMITED })]);
        let now = start();
        let mut open = Vec::new();
        let mut connect = |source: &str| {
            let mut state = RuleState::default();
            let outcome = walk(&list, &mut state, &known(source), now);
            open.push(state);
            outcome
        };
        assert_eq!([connect(LISTED), connect(LISTED)], [None, None]);
        assert_eq!(connect(LISTED), Some((Stage::Source, 0)));
        assert_eq!(connect(OTHER), None, "another source");
        open.remove(0);
        let again = |open: &mut Vec<RuleState>| {
            open.push(RuleState::default());
            walk(&list, open.last_mut().unwrap(), &known(LISTED), now)
        };
        assert_eq!(again(&mut open), Some((Stage::Source, 0)), "the refused one counts until it is closed");
        open.clear();
        assert_eq!([again(&mut open), again(&mut open)], [None, None]);
    }

    #[test]
    fn a_rate_refuses_what_is_beyond_it_and_does_not_count_it() {
        let rate = Some(Rate { most: 2, per: Duration::from_secs(2) });
        let list = rules([limited(Limits { rate, ..UNLIMITED })]);
        let now = start();
        let connect = |at| walk(&list, &mut RuleState::default(), &known(LISTED), at).is_none();
        assert_eq!([connect(now), connect(now), connect(now), connect(now)], [true, true, false, false]);
        let later = now + Duration::from_secs(1);
        assert_eq!([connect(later), connect(later)], [true, false]);
    }

    #[test]
    fn what_another_limit_refuses_is_not_counted_in_the_rate() {
        let rate = Some(Rate { most: 2, per: Duration::from_secs(100) });
        let list = rules([limited(Limits { rate, connections: Some(1), ..UNLIMITED })]);
        let now = start();
        let mut first = RuleState::default();
        assert_eq!(walk(&list, &mut first, &known(LISTED), now), None);
        for _ in 0..5 {
            assert!(walk(&list, &mut RuleState::default(), &known(LISTED), now).is_some());
        }
        drop(first);
        assert_eq!(walk(&list, &mut RuleState::default(), &known(LISTED), now), None);
    }

    #[test]
    fn failed_handshakes_refuse_the_next_connections() {
        let failures = Some(Rate { most: 2, per: Duration::from_secs(2) });
        let list = rules([limited(Limits { handshake_failures: failures, ..UNLIMITED })]);
        let now = start();
        let fail = |at| {
            let mut state = RuleState::default();
            let outcome = walk(&list, &mut state, &known(LISTED), at);
            state.handshake_failed(at);
            outcome.is_none()
        };
        assert_eq!([fail(now), fail(now)], [true, true]);
        assert_eq!(outcome(&list, &known(OTHER)), None);
        let refused = walk(&list, &mut RuleState::default(), &known(LISTED), now);
        assert_eq!(refused, Some((Stage::Source, 0)));
        let later = now + Duration::from_secs(1);
        assert_eq!(walk(&list, &mut RuleState::default(), &known(LISTED), later), None);
    }

    #[test]
    fn bytes_suspend_the_list_until_the_relay_and_are_watched_there() {
        let bytes = Some(Rate { most: 1000, per: Duration::from_secs(1) });
        let list = rules([limited(Limits { bytes, ..UNLIMITED }), from_listed(Action::Drop)]);
        let now = start();
        assert_eq!(walk(&list, &mut RuleState::default(), &known(LISTED), now), Some((Stage::Relay, 1)));
        let mut state = RuleState::default();
        assert_eq!(walk(&list, &mut state, &known(OTHER), now), None);
        assert!(state.watches_bytes());
        assert_eq!(list.charge(&mut state, 1000, now), Judgement::GoOn);
        assert_eq!(list.charge(&mut state, 500, now), Judgement::Refused(0));
        let mut next = RuleState::default();
        assert_eq!(walk(&list, &mut next, &known(OTHER), now), Some((Stage::Relay, 0)), "beyond it already");
        let later = now + Duration::from_millis(500);
        assert_eq!(walk(&list, &mut RuleState::default(), &known(OTHER), later), None);
    }

    #[test]
    fn bytes_are_charged_to_every_rule_in_front_of_the_one_that_accepted() {
        let limit =
            |most| limited(Limits { bytes: Some(Rate { most, per: Duration::from_secs(1) }), ..UNLIMITED });
        let list = rules([limit(2000), limit(1000), from_listed(Action::Accept), limit(1)]);
        let now = start();
        let mut state = RuleState::default();
        assert_eq!(walk(&list, &mut state, &known(LISTED), now), None);
        assert_eq!(list.charge(&mut state, 900, now), Judgement::GoOn, "not by the rule behind");
        assert_eq!(list.charge(&mut state, 200, now), Judgement::Refused(1));
        assert_eq!(list.charge(&mut state, 1000, now), Judgement::Refused(0));
        let mut accepted = RuleState::default();
        let list = rules([from_listed(Action::Accept), limit(1)]);
        assert_eq!(walk(&list, &mut accepted, &known(LISTED), now), None);
        assert!(!accepted.watches_bytes());
        assert_eq!(list.charge(&mut accepted, 1 << 40, now), Judgement::GoOn);
    }

    #[test]
    fn a_rule_with_bytes_and_other_limits_judges_each_in_its_time_and_once() {
        let rate = Some(Rate { most: 2, per: Duration::from_secs(100) });
        let bytes = Some(Rate { most: 10, per: Duration::from_secs(1) });
        let list = rules([limited(Limits { rate, bytes, ..UNLIMITED })]);
        let now = start();
        let connect = || walk(&list, &mut RuleState::default(), &known(LISTED), now);
        assert_eq!([connect(), connect()], [None, None], "counted once for each connection");
        assert_eq!(connect(), Some((Stage::Source, 0)));
    }

    #[test]
    fn a_limit_looks_only_at_whom_the_rule_is_about() {
        let only = RuleSpec {
            limits: Some(Limits { connections: Some(0), ..UNLIMITED }),
            ..for_name("a.test", REJECT)
        };
        let list = rules([only]);
        assert_eq!(outcome(&list, &Known { name: Some("b.test"), ..known(LISTED) }), None);
        assert_eq!(outcome(&list, &Known { name: Some("a.test"), ..known(LISTED) }), Some((Stage::Name, 0)));
    }

    #[test]
    fn a_full_table_refuses() {
        let list = rules([limited(Limits { connections: Some(5), sources: 1, ..UNLIMITED })]);
        let now = start();
        let mut first = RuleState::default();
        assert_eq!(walk(&list, &mut first, &known(LISTED), now), None);
        assert_eq!(outcome(&list, &known(OTHER)), Some((Stage::Source, 0)));
        assert_eq!(outcome(&list, &Known::default()), Some((Stage::Source, 0)));
        drop(first);
        assert_eq!(outcome(&list, &known(OTHER)), None);
    }

    #[test]
    fn rules_of_a_new_configuration_count_on() {
        let tables = Tables::default();
        let load =
            |most| Rules::new([limited(Limits { connections: Some(most), ..UNLIMITED })], "web", &tables);
        let (old, now) = (load(5), start());
        let mut state = RuleState::default();
        assert_eq!(walk(&old, &mut state, &known(LISTED), now), None);
        let new = load(1);
        drop(old);
        assert_eq!(outcome(&new, &known(LISTED)), Some((Stage::Source, 0)));
        assert_eq!(outcome(&new, &known(OTHER)), None);
    }

    #[test]
    fn a_connection_without_limits_holds_no_memory() {
        let list = rules([from_listed(Action::Accept), for_name("a.test", REJECT)]);
        let mut state = RuleState::default();
        assert_eq!(walk(&list, &mut state, &known(OTHER), start()), None);
        assert_eq!(state.kept.capacity(), 0);
        assert!(size_of::<RuleState>() <= 32);
    }

    #[test]
    fn an_explanation_names_what_each_rule_lacks() {
        let bytes = Some(Rate { most: 1, per: Duration::from_secs(1) });
        let list = rules([
            from_listed(REJECT),
            for_name("b.test", REJECT),
            RuleSpec { alpn: Some(vec![b"h2"[..].into()]), ..rule(REJECT) },
            with_certificate(true, REJECT),
            limited(Limits { bytes, ..UNLIMITED }),
            RuleSpec {
                names: Some(vec![Pattern::Exact("a.test".into())]),
                ..with_certificate(false, REJECT)
            },
            for_name("a.test", Action::Accept),
            rule(REJECT),
        ]);
        let known = Known { name: Some("a.test"), ..known(OTHER) };
        let why: Vec<Why> = list.explain(&known).into_iter().map(|(_, why)| why).collect();
        let certificate = Why::Later(Stage::Certificate);
        assert_eq!(
            why,
            [
                Why::Source,
                Why::Name,
                Why::Alpn,
                certificate,
                Why::Limited,
                certificate,
                Why::Matches,
                Why::NotReached
            ]
        );
        assert_eq!(why.iter().position(|why| *why == Why::Matches), Some(6));
    }
}
