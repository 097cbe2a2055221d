// SPDX-License-Identifier: MIT OR Apache-2.0
//! The order of routes, ties, and a comparison with a search that knows no tables.

use super::*;
use std::collections::BTreeSet;

fn protocols(names: &[&str]) -> Vec<Box<[u8]>> {
    names.iter().map(|name| name.as_bytes().into()).collect()
}

fn pattern(text: &str) -> Pattern {
    match text.strip_prefix('~') {
        Some(regex) => Pattern::regex(regex).unwrap(),
        None => Pattern::name(text).unwrap(),
    }
}

/// A route with names; "~" begins an expression.
fn names(names: &[&str]) -> Match {
    Match { names: names.iter().map(|name| pattern(name)).collect(), ..Match::default() }
}

impl Match {
    fn alpn(self, names: &[&str]) -> Self {
        Self { alpn: protocols(names), ..self }
    }

    fn from(self, networks: &[&str]) -> Self {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        Self { source: Some(Networks::new(networks)), ..self }
    }

    fn fallback(self, no_name: bool, unknown_name: bool) -> Self {
        Self { fallback: Fallback { no_name, unknown_name }, ..self }
    }
}

fn table(routes: &[Match]) -> RouteTable {
    RouteTable::build(routes).unwrap()
}

/// The route for a name, or an empty one for none, from an address, with protocols.
fn find(table: &RouteTable, name: &str, source: &str, alpn: &[&str]) -> Result<usize, Miss> {
    let name = Some(name).filter(|name| !name.is_empty());
    let alpn = protocols(alpn);
    table.find(&Query { name, alpn: &alpn, source: source.parse().ok() })
}

fn by_name(table: &RouteTable, name: &str) -> Result<usize, Miss> {
    find(table, name, "192.0.2.1", &[])
}

#[test]
fn the_more_specific_name_wins_whatever_the_order() {
    let table = table(&[
        Match::default(),
        names(&["~.*\\.a\\.test"]),
        names(&["*.test"]),
        names(&["*.a.test"]),
        names(&["x.a.test", "a.test"]),
    ]);
    for (name, route) in [
        ("x.a.test", 4),
        ("a.test", 4),
        ("y.a.test", 3),
        ("x.y.a.test", 3),
        ("b.test", 2),
        ("test", 0),
        ("", 0),
    ] {
        assert_eq!(by_name(&table, name), Ok(route), "{name:?}");
    }
}

#[test]
fn expressions_come_after_names_in_the_order_of_the_file() {
    let table = table(&[names(&["~a.*"]), names(&["~.*b", "~ab"]), names(&["ax"])]);
    for (name, route) in [("ab", Ok(0)), ("xb", Ok(1)), ("ax", Ok(2)), ("x", Err(Miss::UnknownName))] {
        assert_eq!(by_name(&table, name), route, "{name:?}");
    }
}

#[test]
fn the_longest_prefix_wins_among_routes_of_one_name() {
    let table = table(&[
        names(&["a.test"]),
        names(&["a.test"]).from(&["10.0.0.0/8", "2001:db8::/32"]),
        names(&["a.test"]).from(&["10.1.0.0/16"]),
        names(&["a.test"]).from(&["0.0.0.0/0"]),
    ]);
    for (source, route) in [
        ("10.1.2.3", 2),
        ("::ffff:10.1.2.3", 2),
        ("10.2.2.3", 1),
        ("2001:db8::1", 1),
        ("192.0.2.1", 3),
        ("2001:db9::1", 0),
        ("no address", 0),
    ] {
        assert_eq!(find(&table, "a.test", source, &[]), Ok(route), "{source}");
    }
}

#[test]
fn networks_of_mapped_addresses_are_what_they_stand_for() {
    let table = table(&[Match::default().from(&["::ffff:10.0.0.0/104"]), Match::default().from(&["::/0"])]);
    assert_eq!(find(&table, "", "10.1.1.1", &[]), Ok(0));
    assert_eq!(find(&table, "", "11.1.1.1", &[]), Err(Miss::NoName));
    assert_eq!(find(&table, "", "2001:db8::1", &[]), Ok(1));
}

#[test]
fn the_clients_first_protocol_that_a_route_names_wins() {
    let table = table(&[
        names(&["a.test"]).alpn(&["h2", "h3"]),
        names(&["a.test"]),
        names(&["a.test"]).alpn(&["http/1.1"]),
    ]);
    let find = |alpn: &[&str]| find(&table, "a.test", "192.0.2.1", alpn);
    assert_eq!(find(&["http/1.1", "h2"]), Ok(2));
    assert_eq!(find(&["spdy", "h3", "http/1.1"]), Ok(0));
    assert_eq!(find(&["spdy"]), Ok(1));
    assert_eq!(find(&[]), Ok(1));
}

#[test]
fn where_conditions_do_not_hold_the_search_goes_on() {
    let table = table(&[
        names(&["a.b.test"]).from(&["10.0.0.0/8"]),
        names(&["*.b.test"]).alpn(&["h2"]),
        names(&["*.test"]).from(&["10.1.0.0/16"]).alpn(&["h2"]),
        names(&["~a.*"]).alpn(&["imap"]),
        Match::default().alpn(&["h3"]),
        Match::default().fallback(false, true).from(&["127.0.0.0/8"]),
        names(&["*.test"]).from(&["10.0.0.0/8"]).alpn(&["smtp"]),
    ]);
    let a = |source, alpn: &[&str]| find(&table, "a.b.test", source, alpn);
    assert_eq!(a("10.1.2.3", &["h2"]), Ok(0));
    assert_eq!(a("192.0.2.1", &["h2"]), Ok(1));
    assert_eq!(a("192.0.2.1", &["smtp", "imap"]), Ok(3));
    assert_eq!(a("192.0.2.1", &["h3"]), Ok(4));
    assert_eq!(a("127.0.0.1", &[]), Ok(5));
    assert_eq!(a("192.0.2.1", &[]), Err(Miss::UnknownName));
    assert_eq!(find(&table, "c.test", "10.1.2.3", &["smtp"]), Ok(6), "a shorter prefix");
}

#[test]
fn a_fallback_takes_only_whom_it_names() {
    let none = table(&[names(&["a.test"])]);
    assert_eq!((by_name(&none, ""), by_name(&none, "b.test")), (Err(Miss::NoName), Err(Miss::UnknownName)));
    let first = table(&[names(&["a.test"]).fallback(true, false)]);
    assert_eq!((by_name(&first, ""), by_name(&first, "b.test")), (Ok(0), Err(Miss::UnknownName)));
    let second = table(&[names(&["a.test"]), Match::default().fallback(false, true)]);
    assert_eq!((by_name(&second, ""), by_name(&second, "b.test")), (Err(Miss::NoName), Ok(1)));
    assert_eq!(by_name(&RouteTable::default(), ""), Err(Miss::NoName));
}

#[test]
fn every_tie_is_told() {
    let ties = |routes: &[Match]| match RouteTable::build(routes) {
        Ok(_) => Vec::new(),
        Err(ties) => ties.into_iter().map(|tie| (tie.first, tie.second, tie.what)).collect(),
    };
    let tie = |what: &str| vec![(0, 1, what.to_owned())];
    let a = || names(&["a.test"]);
    assert_eq!(ties(&[a(), names(&["b.test", "A.test."])]), tie("\"a.test\""));
    assert_eq!(ties(&[names(&["*.a.test"]), names(&["*.a.test"])]), tie("\"*.a.test\""));
    assert_eq!(ties(&[names(&["~a+"]), names(&["~a+"])]), tie("\"a+\""));
    assert_eq!(ties(&[Match::default(), Match::default()]), tie("any name"));
    let nets = a().from(&["10.0.0.0/8", "10.1.0.0/16"]);
    assert_eq!(ties(&[nets, a().from(&["10.1.2.3/16"])]), tie("\"a.test\" from 10.1.0.0/16"));
    let both = a().alpn(&["h2", "h3"]);
    assert_eq!(ties(&[both, a().alpn(&["h3"])]), tie("\"a.test\" with the protocol \"h3\""));
    let fallback = |no, unknown| Match::default().fallback(no, unknown);
    assert_eq!(ties(&[fallback(true, false), fallback(true, true)]), tie("fallback \"no-name\""));
    assert_eq!(ties(&[fallback(false, true), fallback(true, true)]), tie("fallback \"unknown-name\""));
    let three = ties(&[a(), a(), a()]);
    assert_eq!(three, [(0, 1, "\"a.test\"".to_owned()), (0, 2, "\"a.test\"".to_owned())]);
}

#[test]
fn what_looks_alike_is_no_tie() {
    let a = || names(&["a.test"]);
    for routes in [
        vec![names(&["a.test", "a.test"]).alpn(&["h2", "h2"]).from(&["10.0.0.0/8", "10.0.0.0/8"])],
        vec![a(), a().alpn(&["h2"]), a().alpn(&["h3"]), a().from(&["10.0.0.0/8"])],
        vec![a().from(&["10.0.0.0/8"]), a().from(&["10.0.0.0/9"])],
        vec![a().from(&["10.0.0.0/8"]).alpn(&["h2"]), a().from(&["10.0.0.0/8"])],
        vec![names(&["*.test"]), names(&["test"]), names(&["~test"]), names(&["~.*"])],
        vec![Match::default(), Match::default().fallback(true, true)],
        vec![Match::default().fallback(true, false), Match::default().fallback(false, true)],
    ] {
        table(&routes);
    }
}

#[test]
fn explanations_give_each_other_route_a_reason() {
    let table = table(&[
        names(&["a.test"]).alpn(&["h2"]),
        names(&["*.test"]),
        names(&["b.test"]),
        names(&["*.test"]).from(&["10.0.0.0/8"]),
        Match::default().fallback(true, false),
        Match::default().fallback(false, true),
    ]);
    let query = Query { name: Some("a.test"), alpn: &[], source: "192.0.2.1".parse().ok() };
    assert_eq!(table.find(&query), Ok(1));
    let reasons = table.explain(&query, 10);
    let expected = [
        (0, "the client offers none of its protocols"),
        (2, "it does not have the name \"a.test\""),
        (3, "192.0.2.1 is in none of its networks"),
        (4, "it is for clients without a name"),
        (5, "another route is more specific"),
    ];
    assert_eq!(reasons, expected.map(|(route, why)| (route, why.to_owned())));
    assert_eq!(table.explain(&query, 2).len(), 2);
    let nobody = Query { name: None, ..query };
    assert_eq!(table.find(&nobody), Ok(4));
    assert_eq!(table.explain(&nobody, 1), [(0, "the client asks for no name".to_owned())]);
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }

    fn some<'a>(&mut self, of: &[&'a str], most: usize) -> Vec<&'a str> {
        (0..self.below(most + 1)).map(|_| of[self.below(of.len())]).collect()
    }
}

const NAMES: [&str; 10] =
    ["a.b.c", "*.b.c", "*.c", "b.c", "c", "*.a.b.c", "~a.*", "~.*c", "~[ab].*", "b.b.c"];
const NETWORKS: [&str; 7] =
    ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.0/24", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.1.1.1/32"];
const PROTOCOLS: [&str; 3] = ["h2", "h3", "x"];
const ASKED: [&str; 9] = ["", "a.b.c", "b.c", "c", "x.a.b.c", "x.y.c", "d", "a", "b.b.c"];
const SOURCES: [&str; 6] = ["10.1.1.1", "10.1.1.2", "10.9.9.9", "192.0.2.1", "2001:db8::1", "none"];

fn route(dice: &mut Dice) -> Match {
    let mut route = names(&dice.some(&NAMES, 3)).alpn(&dice.some(&PROTOCOLS, 2));
    if dice.below(2) == 0 {
        let networks = [NETWORKS[dice.below(NETWORKS.len())], NETWORKS[dice.below(NETWORKS.len())]];
        route = route.from(&networks);
    }
    if dice.below(3) == 0 { route.fallback(dice.below(2) == 0, dice.below(2) == 0) } else { route }
}

/// The places of a route, as texts: what is looked for one after the other.
fn places(route: &Match) -> BTreeSet<String> {
    let mut places: BTreeSet<String> = route.names.iter().map(|name| format!("{name:?}")).collect();
    places.extend(route.fallback.no_name.then(|| "no name".to_owned()));
    places.extend(route.fallback.unknown_name.then(|| "unknown name".to_owned()));
    if places.is_empty() {
        places.insert("any".to_owned());
    }
    places
}

fn networks(route: &Match) -> BTreeSet<String> {
    let written = route.source.iter().flat_map(|source| source.written());
    written.map(ToString::to_string).collect()
}

fn do_tie(a: &Match, b: &Match) -> bool {
    let alike = a.source.is_none() && b.source.is_none() || !networks(a).is_disjoint(&networks(b));
    let protocols = a.alpn.is_empty() && b.alpn.is_empty() || a.alpn.iter().any(|name| b.alpn.contains(name));
    !places(a).is_disjoint(&places(b)) && alike && protocols
}

/// The best of `candidates`, by trying every length of prefix.
fn best(routes: &[Match], candidates: &[usize], query: &Query<'_>) -> Option<usize> {
    let has = |route: &Match, length: Option<u8>| match (&route.source, length, query.source) {
        (None, None, _) => true,
        (Some(source), Some(length), Some(address)) => {
            source.written().iter().any(|net| net.prefix_len() == length && net.contains(&address))
        }
        _ => false,
    };
    for length in (0..=128).rev().map(Some).chain([None]) {
        let here = || candidates.iter().copied().filter(|number| has(&routes[*number], length));
        for protocol in query.alpn {
            if let Some(number) = here().find(|number| routes[*number].alpn.contains(protocol)) {
                return Some(number);
            }
        }
        if let Some(number) = here().find(|number| routes[*number].alpn.is_empty()) {
            return Some(number);
        }
    }
    None
}

/// What `find` promises, by looking at everything.
fn search(routes: &[Match], query: &Query<'_>) -> Result<usize, Miss> {
    let with = |wanted: &dyn Fn(&Match) -> bool| -> Vec<usize> {
        (0..routes.len()).filter(|number| wanted(&routes[*number])).collect()
    };
    let mut lists = Vec::new();
    if let Some(name) = query.name {
        lists.push(with(&|route| {
            route.names.iter().any(|one| matches!(one, Pattern::Exact(exact) if **exact == *name))
        }));
        for length in (1..name.len()).rev() {
            lists.push(with(&|route| {
                let long = |one: &Pattern| matches!(one, Pattern::Suffix(suffix) if suffix.len() == length);
                route.names.iter().any(|one| long(one) && one.matches(name))
            }));
        }
        for text in routes.iter().flat_map(|route| &route.names) {
            if matches!(text, Pattern::Regex(_)) && text.matches(name) {
                let same =
                    |one: &Pattern| matches!(one, Pattern::Regex(_)) && one.to_string() == text.to_string();
                lists.push(with(&|route| route.names.iter().any(same)));
            }
        }
    }
    lists.push(with(&|route| places(route).contains("any")));
    let fallback = if query.name.is_some() { "unknown name" } else { "no name" };
    lists.push(with(&|route| places(route).contains(fallback)));
    let found = lists.iter().find_map(|candidates| best(routes, candidates, query));
    let miss = if query.name.is_some() { Miss::UnknownName } else { Miss::NoName };
    found.ok_or(miss)
}

#[test]
fn a_search_without_tables_finds_the_same() {
    let mut dice = Dice(1);
    let (mut ties, mut hits, mut misses) = (0, 0, 0);
    for _ in 0..120 {
        let mut routes: Vec<Match> = Vec::new();
        for _ in 0..=dice.below(12) {
            let next = route(&mut dice);
            let tie = routes.iter().any(|other| do_tie(other, &next));
            routes.push(next);
            let built = RouteTable::build(&routes);
            assert_eq!(built.is_err(), tie, "{routes:#?}");
            if tie {
                routes.pop();
                ties += 1;
            }
        }
        let table = table(&routes);
        for name in ASKED {
            for source in SOURCES {
                let alpn = protocols(&dice.some(&PROTOCOLS, 3));
                let name = Some(name).filter(|name| !name.is_empty());
                let query = Query { name, alpn: &alpn, source: source.parse().ok() };
                let found = table.find(&query);
                assert_eq!(found, search(&routes, &query), "{query:?} among {routes:#?}");
                if found.is_ok() {
                    hits += 1
                } else {
                    misses += 1
                }
                let reasons = table.explain(&query, usize::MAX);
                assert_eq!(reasons.len() + usize::from(found.is_ok()), routes.len());
            }
        }
    }
    assert!(ties > 50 && hits > 1000 && misses > 1000, "{ties} {hits} {misses}");
}

#[test]
fn a_large_table_knows_its_routes() {
    let mut routes: Vec<Match> = (0..20_000).map(|n| names(&[&format!("host{n}.example.org")])).collect();
    routes.extend((0..20_000).map(|n| names(&[&format!("*.zone{n}.example.org")])));
    let table = table(&routes);
    for n in (0..20_000).step_by(777) {
        assert_eq!(by_name(&table, &format!("host{n}.example.org")), Ok(n));
        assert_eq!(by_name(&table, &format!("a.b.zone{n}.example.org")), Ok(20_000 + n));
    }
    assert_eq!(by_name(&table, "host20000.example.org"), Err(Miss::UnknownName));
}
