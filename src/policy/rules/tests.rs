// SPDX-License-Identifier: MIT OR Apache-2.0
//! The whole of the rules' semantics, stage by stage.

use super::*;
use crate::policy::bucket::Rate;
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
        RuleSpec { source: Some(Networks::new(["192.0.2.9/32".parse().unwrap()])), ..rule(Action::Accept) },
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
    let only =
        RuleSpec { limits: Some(Limits { connections: Some(0), ..UNLIMITED }), ..for_name("a.test", REJECT) };
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
    let load = |most| Rules::new([limited(Limits { connections: Some(most), ..UNLIMITED })], "web", &tables);
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
        RuleSpec { names: Some(vec![Pattern::Exact("a.test".into())]), ..with_certificate(false, REJECT) },
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
