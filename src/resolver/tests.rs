// SPDX-License-Identifier: MIT OR Apache-2.0
//! Against a name server that lies, hangs and changes its mind.

#[allow(dead_code, clippy::disallowed_types, reason = "it is the integration tests' server")]
#[path = "../../tests/it/harness/name_server.rs"]
mod name_server;

use self::name_server::{A, AAAA, Asked, CNAME, NameServer, SRV, record, service, wire};
use super::*;
use std::fs;

const SHORT: Duration = Duration::from_millis(150);
const LONG: Duration = Duration::from_secs(20);

/// Asks these servers, and reads a hosts file that is not there.
fn settings(servers: &[&NameServer]) -> Settings {
    Settings {
        servers: servers.iter().map(|server| server.address()).collect(),
        hosts: "/nonexistent/hosts".into(),
        min: Duration::ZERO,
        timeout: Some(LONG),
        attempts: Some(1),
        ..Settings::default()
    }
}

fn resolver(servers: &[&NameServer]) -> Resolver {
    Resolver::new(settings(servers))
}

fn ask(resolver: &Resolver, name: &str) -> Result<Vec<String>, Failure> {
    let answer = resolver.host(name, Written::Elsewhere, Take::Kept, clock() + LONG)?;
    Ok(answer.found.iter().map(IpAddr::to_string).collect())
}

fn v4(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

/// 192.0.2.1 and nothing else.
fn one(asked: &Asked) -> Vec<u8> {
    asked.addresses(300, &[v4(1)])
}

#[test]
fn literals_and_this_machine_need_nobody() {
    let resolver = Resolver::new(Settings { hosts: "/nonexistent/hosts".into(), ..settings(&[]) });
    assert_eq!(ask(&resolver, "192.0.2.7").unwrap(), ["192.0.2.7"]);
    for name in ["localhost", "LocalHost.", "a.localhost"] {
        let found = ask(&resolver, name).unwrap();
        assert!(found.contains(&"127.0.0.1".to_owned()) && found.len() == 2, "{found:?}");
    }
}

#[test]
fn the_hosts_file_comes_before_dns() {
    let server = NameServer::new(one);
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    fs::write(&hosts, "192.0.2.9 db.example\n").unwrap();
    let resolver = Resolver::new(Settings { hosts, ..settings(&[&server]) });
    assert_eq!(ask(&resolver, "DB.example").unwrap(), ["192.0.2.9"]);
    assert_eq!(server.asked(), []);
    assert_eq!(ask(&resolver, "web.example").unwrap(), ["192.0.2.1"]);
}

#[test]
fn both_families_are_asked_for_at_once_and_kept_as_long_as_they_say() {
    let six = "2001:db8::1".parse().unwrap();
    let server = NameServer::new(move |asked| asked.addresses(300, &[v4(1), v4(2), six]));
    let resolver = resolver(&[&server]);
    let mut found = ask(&resolver, "a.example").unwrap();
    found.sort();
    assert_eq!(found, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    for _ in 0..3 {
        ask(&resolver, "A.EXAMPLE.").unwrap();
    }
    assert_eq!((server.count("a.example", A), server.count("a.example", AAAA)), (1, 1));
    assert_eq!(resolver.counts().hits.load(Ordering::Relaxed), 3);
    // With nothing to keep it for, it is asked anew.
    server.change(|asked| asked.addresses(0, &[v4(3)]));
    for _ in 0..2 {
        assert_eq!(ask(&resolver, "b.example").unwrap(), ["192.0.2.3"]);
    }
    assert_eq!(server.count("b.example", A), 2);
}

#[test]
fn time_is_bounded_both_ways() {
    let server =
        NameServer::new(|asked| asked.addresses(if asked.name == "a" { 0 } else { u32::MAX }, &[v4(1)]));
    let (min, max) = (Duration::from_secs(50), Duration::from_secs(500));
    let resolver = Resolver::new(Settings { min, max, ..settings(&[&server]) });
    for (name, bound) in [("a", min), ("b", max)] {
        let before = clock();
        let answer = resolver.host(name, Written::Elsewhere, Take::Kept, before + LONG).unwrap();
        assert!(answer.until >= before + bound && answer.until <= clock() + bound, "{name}");
    }
}

/// Wrong numbers, wrong names, nonsense: passed over, until the true answer comes.
#[test]
fn what_is_no_answer_is_passed_over() {
    let server = NameServer::saying(|asked| {
        let mut forged = asked.addresses(300, &[v4(66)]);
        forged[0] ^= 0x55;
        let mut other = asked.addresses(300, &[v4(67)]);
        other[13] = b'x';
        let looped = record_loop(asked);
        let mut all = vec![forged, other, Vec::new(), vec![0; 4000]];
        // A broken one that bears the right number is the server's own word.
        if asked.name == "looped.example" {
            all.push(looped);
        }
        all.push(one(asked));
        all
    });
    let resolver = resolver(&[&server]);
    assert_eq!(ask(&resolver, "good.example").unwrap(), ["192.0.2.1"]);
    let failure = ask(&resolver, "looped.example").unwrap_err();
    assert!(failure.to_string().ends_with("says FORMERR"), "{failure}");
}

/// A compression pointer that points to itself.
fn record_loop(asked: &Asked) -> Vec<u8> {
    let mut bytes = asked.reply(0, &[vec![0; 0]]);
    let here = u8::try_from(bytes.len()).unwrap();
    bytes.extend([0xc0, here, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 1]);
    bytes
}

/// More strays than are passed over: the try ends, and with it the question.
#[test]
fn a_flood_of_strays_ends_the_try() {
    let server = NameServer::saying(|asked| {
        let mut forged = asked.addresses(300, &[v4(66)]);
        forged[1] ^= 1;
        vec![forged; 200]
    });
    let failure = ask(&resolver(&[&server]), "a.example").unwrap_err();
    assert!(matches!(failure, Failure::Unanswered(_)), "{failure}");
}

#[test]
fn what_does_not_fit_is_fetched_over_tcp() {
    let many = |asked: &Asked| {
        let all: Vec<IpAddr> = (1..=250).map(v4).collect();
        asked.addresses(300, &all)
    };
    let server = NameServer::new(move |asked| match (asked.tcp, &*asked.name) {
        (true, _) => many(asked),
        (false, "cut.example") => asked.reply(0x200, &[]),
        // 4 kB and more over UDP, although nobody asked for so much.
        (false, _) => many(asked),
    });
    let resolver = resolver(&[&server]);
    for name in ["cut.example", "large.example"] {
        let answer = resolver.host(name, Written::Here, Take::Kept, clock() + LONG).unwrap();
        assert_eq!(answer.found.len(), 250, "{name}");
    }
    assert_eq!(server.asked().iter().filter(|asked| asked.tcp && asked.kind == A).count(), 2);
    // Truncated there as well: a failure, not a circle.
    server.change(|asked| asked.reply(0x200, &[]));
    assert!(matches!(ask(&resolver, "never.example"), Err(Failure::Unanswered(_))));
}

/// Who asks for names of a zone of its own neither fills our memory nor makes us forget where our servers are.
#[test]
fn what_clients_ask_for_is_kept_short_and_apart() {
    let all: Vec<IpAddr> =
        (1..=100).flat_map(|last| [v4(last), format!("2001:db8::{last}").parse().unwrap()]).collect();
    let server = NameServer::new(move |asked| asked.addresses(300, &all));
    let resolver = resolver(&[&server]);
    let configured = |take| resolver.host("a.example", Written::InAnswer, take, clock() + LONG);
    assert_eq!(configured(Take::Kept).unwrap().found.len(), 200);
    let found = ask(&resolver, "a.example").unwrap();
    assert_eq!(found.iter().filter(|ip| ip.contains(':')).count(), FAMILY);
    assert_eq!(found.len(), 2 * FAMILY);
    assert_eq!(configured(Take::Known).unwrap().found.len(), 200);
    assert_eq!(resolver.kept(), 2);
}

#[test]
fn where_tcp_is_closed_what_came_over_udp_is_an_answer() {
    let server = NameServer::new(|asked| match (asked.kind, asked.tcp) {
        (A, false) => one(asked),
        // Over TCP nothing comes but the end.
        (_, true) => Vec::new(),
        _ => asked.reply(0x200, &[]),
    });
    assert_eq!(ask(&resolver(&[&server]), "a.example").unwrap(), ["192.0.2.1"]);
    assert!(server.asked().iter().any(|asked| asked.tcp));
}

#[test]
fn an_old_server_is_asked_without_the_extension() {
    let server = NameServer::new(|asked| {
        let extended = asked.bytes[11] == 1;
        if extended { asked.reply(1, &[]) } else { one(asked) }
    });
    assert_eq!(ask(&resolver(&[&server]), "a.example").unwrap(), ["192.0.2.1"]);
}

#[test]
fn aliases_lead_to_addresses_and_circles_nowhere() {
    let server = NameServer::new(|asked| {
        let alias = |from: &str, to: &str| record(from, CNAME, 60, &wire(to));
        let address = record("c.example", A, 300, &[192, 0, 2, 1]);
        match (&*asked.name, asked.kind) {
            ("a.example", A) => {
                asked.reply(0, &[alias("a.example", "b.example"), alias("b.example", "c.example"), address])
            }
            ("a.example", _) => asked.reply(0, &[alias("a.example", "b.example")]),
            _ => asked.reply(0, &[alias("x.example", "y.example"), alias("y.example", "x.example")]),
        }
    });
    let resolver = resolver(&[&server]);
    assert_eq!(ask(&resolver, "a.example").unwrap(), ["192.0.2.1"]);
    assert!(matches!(ask(&resolver, "x.example"), Err(Failure::Unanswered(_))));
}

#[test]
fn a_server_that_fails_or_keeps_silent_is_passed_over_and_then_asked_last() {
    let good = NameServer::new(one);
    for bad in [NameServer::silent(), NameServer::new(|asked| asked.reply(2, &[]))] {
        let timeout = Some(Duration::from_millis(300));
        let resolver = Resolver::new(Settings { timeout, ..settings(&[&bad, &good]) });
        assert_eq!(ask(&resolver, "a.example").unwrap(), ["192.0.2.1"]);
        assert_eq!(bad.count("a.example", A), 1);
        assert_eq!(ask(&resolver, "b.example").unwrap(), ["192.0.2.1"]);
        assert_eq!(bad.count("b.example", A), 0, "the one that answered is asked first");
    }
}

#[test]
fn tries_are_counted_and_silence_ends() {
    let silent = NameServer::silent();
    let few = Settings { timeout: Some(SHORT), attempts: Some(3), ..settings(&[&silent]) };
    let resolver = Resolver::new(few);
    let failure = ask(&resolver, "a.example").unwrap_err();
    assert_eq!(failure.to_string(), "no name server answered in time");
    assert_eq!((silent.count("a.example", A), silent.count("a.example", AAAA)), (3, 3));
    // Who asks at once is told the same, and nobody is asked.
    assert_eq!(ask(&resolver, "a.example"), Err(failure));
    assert_eq!(silent.count("a.example", A), 3);
    // Whoever has no more time asks nobody.
    let answer = resolver.host("b.example", Written::Elsewhere, Take::Kept, clock());
    assert!(matches!(answer, Err(Failure::Unanswered(_))));
    assert_eq!(silent.count("b.example", A), 0);
}

#[test]
fn one_family_that_is_not_answered_does_not_hold_up_the_other() {
    let server = NameServer::saying(|asked| if asked.kind == A { vec![one(asked)] } else { Vec::new() });
    let before = clock();
    assert_eq!(ask(&resolver(&[&server]), "a.example").unwrap(), ["192.0.2.1"]);
    assert!(clock() - before < LONG / 2);
}

#[test]
fn that_there_is_no_such_name_is_kept_for_a_while() {
    let server = NameServer::new(Asked::no_such_name);
    let resolver = resolver(&[&server]);
    for _ in 0..3 {
        let failure = ask(&resolver, "a.example").unwrap_err();
        assert_eq!(failure, Failure::NoName("there is no such name".into()));
    }
    assert_eq!(server.count("a.example", A), 1);
    server.change(|asked| asked.reply(0, &[]));
    assert_eq!(ask(&resolver, "b.example"), Err(Failure::NoName("the name has no address".into())));
}

#[test]
fn the_last_good_answer_is_told_while_the_server_is_down() {
    let server = NameServer::new(|asked| asked.addresses(0, &[v4(1)]));
    let resolver = Resolver::new(Settings { timeout: Some(SHORT), ..settings(&[&server]) });
    ask(&resolver, "a.example").unwrap();
    server.hang();
    assert_eq!(ask(&resolver, "a.example").unwrap(), ["192.0.2.1"]);
    let question = Question::Host("a.example.".into(), 80);
    assert!(resolver.answer(&question, Take::New, clock() + LONG).is_err(), "who wants a new one is told");
    assert_eq!(resolver.known(&question), None, "what clients ask for is apart");
    server.change(|asked| asked.addresses(0, &[v4(1)]));
    let answer = |take| resolver.answer(&question, take, clock() + LONG);
    assert!(answer(Take::New).is_ok());
    server.hang();
    assert!(answer(Take::New).is_err());
    assert_eq!(resolver.known(&question).unwrap()[0].to_vec(), [SocketAddr::new(v4(1), 80)]);
    assert_eq!(resolver.known(&Question::Host("b.example.".into(), 80)), None);
    assert_eq!(resolver.kept(), 2, "looking leaves no trace");
}

#[test]
fn a_service_leads_to_its_targets_and_those_of_the_lowest_priority_come_first() {
    let server = NameServer::new(|asked| match (asked.kind, &*asked.name) {
        (SRV, "_imap._tcp.example") => asked.reply(
            0,
            &[
                service(&asked.name, 60, (20, 0, 144), "spare.example"),
                service(&asked.name, 60, (10, 100, 143), "one.example"),
                service(&asked.name, 60, (10, 900, 143), "two.example"),
                service(&asked.name, 60, (10, 1, 143), "gone.example"),
            ],
        ),
        (SRV, "_none._tcp.example") => asked.reply(0, &[service(&asked.name, 60, (0, 0, 0), "")]),
        (_, "one.example") => asked.addresses(60, &[v4(1), v4(11)]),
        (_, "two.example") => asked.addresses(60, &[v4(2)]),
        (_, "spare.example") => asked.addresses(60, &[v4(3)]),
        _ => asked.no_such_name(),
    });
    let resolver = resolver(&[&server]);
    let answer = |name: &str| resolver.answer(&Question::Service(name.into()), Take::New, clock() + LONG);
    let found = answer("_imap._tcp.example").unwrap().found;
    let seen: Vec<_> = found
        .iter()
        .map(|target| {
            let all: Vec<_> = target.iter().map(SocketAddr::to_string).collect();
            (all.join(" "), target.weight, target.spare)
        })
        .collect();
    let expected = [
        ("192.0.2.2:143", 256, false),
        ("192.0.2.1:143 192.0.2.11:143", 28, false),
        ("192.0.2.3:144", 1, true),
    ];
    assert_eq!(seen, expected.map(|(all, weight, spare)| (all.to_owned(), weight, spare)));
    for name in ["_none._tcp.example", "_other._tcp.example"] {
        assert!(matches!(answer(name), Err(Failure::NoName(_))), "{name}");
    }
}

/// A target of which nobody can say anything is no target that is gone.
#[test]
fn a_target_that_is_not_answered_stays_and_is_asked_for_again_soon() {
    let answer = |asked: &Asked, two: Option<u16>| match (asked.kind, &*asked.name, two) {
        (SRV, ..) => {
            let target = |name| service(&asked.name, 0, (0, 0, 143), name);
            asked.reply(0, &[target("one.example"), target("two.example")])
        }
        (_, "one.example", _) => asked.addresses(3600, &[v4(1)]),
        (.., Some(code)) => asked.reply(code, &[]),
        _ => asked.addresses(0, &[v4(2)]),
    };
    let server = NameServer::new(move |asked| answer(asked, None));
    let min = Duration::from_secs(30);
    let resolver = Resolver::new(Settings { min, ..settings(&[&server]) });
    let question = Question::Service("_imap._tcp.example".into());
    let found = || {
        let answer = resolver.answer(&question, Take::New, clock() + LONG)?;
        assert!(answer.until <= clock() + min);
        Ok(answer.found.iter().map(|target| target[0].ip()).collect::<Vec<_>>())
    };
    assert_eq!(found(), Ok(vec![v4(1), v4(2)]));
    server.change(move |asked| answer(asked, Some(2)));
    assert_eq!(found(), Ok(vec![v4(1), v4(2)]));
    server.change(move |asked| answer(asked, Some(3)));
    assert_eq!(found(), Ok(vec![v4(1)]));
    // Where no target is answered, that is a failure as any other.
    server.change(move |asked| if asked.kind == SRV { answer(asked, None) } else { asked.reply(2, &[]) });
    assert!(matches!(found(), Err(Failure::Unanswered(_))));
}

#[test]
fn a_family_that_is_not_answered_keeps_its_addresses_and_is_asked_for_again_soon() {
    let six: IpAddr = "2001:db8::1".parse().unwrap();
    let server = NameServer::new(move |asked| asked.addresses(3600, &[v4(1), six]));
    let min = Duration::from_secs(30);
    let resolver = Resolver::new(Settings { min, ..settings(&[&server]) });
    let question = Question::Host("a.example".into(), 80);
    let ask = || resolver.answer(&question, Take::New, clock() + LONG).unwrap();
    assert_eq!(ask().found[0].len(), 2);
    server
        .change(|asked| if asked.kind == A { asked.addresses(3600, &[v4(1)]) } else { asked.reply(2, &[]) });
    let answer = ask();
    assert_eq!(answer.found[0].len(), 2);
    assert!(answer.until <= clock() + min, "and not an hour");
    server.change(|asked| asked.addresses(3600, &[v4(1)]));
    assert_eq!(ask().found[0].to_vec(), [SocketAddr::new(v4(1), 80)]);
}

#[test]
fn the_next_configuration_takes_the_answers_over_unless_it_asks_elsewhere() {
    let (server, other) = (NameServer::new(one), NameServer::new(one));
    let first = Arc::new(resolver(&[&server]));
    ask(&first, "a.example").unwrap();
    assert!(Arc::ptr_eq(&first, &first.next(settings(&[&server]))));
    let second = first.next(Settings { max: LONG, ..settings(&[&server]) });
    assert_eq!(second.kept(), 1);
    assert_eq!(second.next(settings(&[&other])).kept(), 0);
}
