// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tunnel explain`: what would become of a client, answered from the configuration and without traffic.
//!
//! It asks the same tables that connections ask, so the answer and the deed cannot differ; what depends on traffic (limits)
//! is said to do so. Not here: reading the command line (`args.rs`).

use crate::args::Explain;
use crate::config::{Config, format_duration};
use crate::connection::plan::Plan;
use crate::policy::hostname::normalise;
use crate::policy::networks::Networks;
use crate::policy::route_table::{Miss, Query};
use crate::policy::rules::{Action, Known, Why};
use crate::policy::service::{Others, Peek, Route, RouteAction, Service};
use crate::wire::destination::Destination;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The whole answer. Its JSON form is public interface.
#[derive(Debug, Serialize)]
pub struct Explanation {
    service: String,
    listens_on: Vec<String>,
    client: Client,
    /// What every client meets first, before any rule or route.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    before: Vec<String>,
    steps: Vec<&'static str>,
    rules: Vec<Passed>,
    /// The rule that decides, if one does already.
    rule: Option<String>,
    /// Rules in front of it, or of the route, that depend on what is not known without traffic.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unless: Vec<String>,
    route: Option<Taken>,
    routes_not_taken: Vec<Passed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    timeouts: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Client {
    source: Option<String>,
    name: Option<String>,
    alpn: Vec<String>,
}

/// A rule or route, and how it stands to this client.
#[derive(Debug, Serialize)]
struct Passed {
    name: String,
    action: &'static str,
    why: String,
}

/// The route that takes the client.
#[derive(Debug, Serialize)]
struct Taken {
    name: String,
    action: &'static str,
    tls: &'static str,
    certificates: Vec<String>,
    /// How they are chosen from, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<&'static str>,
    servers: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_tls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_proxy: Option<&'static str>,
}

/// Routes that are told of beside the one that is taken.
const TOLD: usize = 50;

/// Answers `asked` from `config`.
///
/// # Errors
/// In one line, why there is no answer: no such service, a name that is none.
pub fn explain(config: &Config, asked: &Explain) -> Result<Explanation, String> {
    let binds: Vec<_> =
        config.listeners.iter().filter(|bind| *bind.plan.service.name == *asked.service).collect();
    let Some(plan) = binds.first().map(|bind| &*bind.plan) else {
        return Err(no_such_service(config, &asked.service));
    };
    let name = asked_name(&plan.service, asked)?.map(normalise).transpose()?;
    let alpn: Vec<Box<[u8]>> = asked.alpn.iter().map(|name| name.as_bytes().into()).collect();
    let source = asked.source.map(|ip| ip.to_canonical());
    let service = &plan.service;
    let known = Known { source, name: name.as_deref(), alpn: &alpn, certificate: None };
    let query = Query { name: name.as_deref(), alpn: &alpn, source };
    let (rules, rule, unless) = rules(service, &known);
    let found = service.table.find(&query);
    let route = found.ok().map(|place| taken(&service.routes[place], name.as_deref()));
    let decided = rule.as_deref().filter(|_| unless.is_empty());
    let refused = refused(service, asked, &rules, decided, found)
        .or_else(|| not_to_be_asked_for(&service.routes[found.ok()?], name.as_deref()?));
    // Who is refused, or answered, gets no further than that.
    let route = route.filter(|_| refused.is_none());
    let not_taken = service.table.explain(&query, TOLD).into_iter();
    let not_taken = not_taken.filter(|(place, _)| found.ok() != Some(*place));
    Ok(Explanation {
        service: service.name.to_string(),
        listens_on: binds.iter().map(|bind| bind.address.to_string()).collect(),
        client: Client {
            source: source.map(|ip| ip.to_string()),
            name: name.clone(),
            alpn: asked.alpn.clone(),
        },
        before: before(service, asked),
        steps: steps(plan, found.ok().filter(|_| refused.is_none())),
        rules,
        rule,
        unless,
        route,
        routes_not_taken: not_taken
            .map(|(place, why)| {
                let route = &service.routes[place];
                Passed { name: route.name.to_string(), action: action(route), why }
            })
            .collect(),
        refused,
        timeouts: timeouts(service),
    })
}

/// The name that was asked about, if the service looks for one of that kind.
fn asked_name<'a>(service: &Service, asked: &'a Explain) -> Result<Option<&'a str>, String> {
    let called = &service.name;
    match (&asked.sni, &asked.host, service.peek) {
        (Some(_), _, Peek::Http) => Err(format!("service {called:?} reads HTTP requests: use --host")),
        (_, Some(_), Peek::Tls) => Err(format!("service {called:?} reads TLS hellos: use --sni")),
        (None, None, _) => Ok(None),
        (_, _, Peek::None) if service.proxy_protocol.is_none() => {
            Err(format!("service {called:?} looks for no name (its peek is \"none\")"))
        }
        (sni, host, _) => Ok(sni.as_deref().or(host.as_deref())),
    }
}

/// Why the client gets to no server, if it does not.
fn refused(
    service: &Service,
    asked: &Explain,
    rules: &[Passed],
    decided: Option<&str>,
    found: Result<usize, Miss>,
) -> Option<String> {
    if service.monitor.as_ref().is_some_and(|monitor| is_within(monitor.source.as_ref(), asked)) {
        return Some("answered by the monitor's reply".to_owned());
    }
    let rule = decided.and_then(|name| rules.iter().find(|rule| rule.name == name));
    if let Some(Passed { name, action, .. }) = rule.filter(|rule| rule.action != "accept") {
        return Some(format!("rule {name} has the action {action}"));
    }
    match found.map(|place| &service.routes[place]) {
        Ok(Route { name, action: RouteAction::Reject(_), .. }) => {
            Some(format!("route {name} rejects{}", alert(service)))
        }
        Ok(_) => None,
        Err(miss) => Some(format!("{}: rejected{}", missing(miss), alert(service))),
    }
}

/// Why the client may not name its server so, if it may not.
fn not_to_be_asked_for(route: &Route, name: &str) -> Option<String> {
    let requested = route.upstream.requested.as_ref()?;
    let why = requested.permits_asking(&Destination::known(name, requested.port?)).err()?;
    Some(format!("route {}: {why}", route.name))
}

/// Whether the client is in `networks`; everybody is where there are none.
fn is_within(networks: Option<&Networks>, asked: &Explain) -> bool {
    networks.is_none_or(|networks| asked.source.is_some_and(|source| networks.contains(source)))
}

fn missing(miss: Miss) -> &'static str {
    match miss {
        Miss::NoName => "the client asks for no name",
        Miss::UnknownName => "no route takes this client",
    }
}

fn no_such_service(config: &Config, asked: &str) -> String {
    let mut names: Vec<&str> = config.listeners.iter().map(|bind| &*bind.plan.service.name).collect();
    names.dedup();
    format!("no service is called {asked:?}; there are {}", names.join(", "))
}

/// Monitors and PROXY headers, which come before everything else.
fn before(service: &Service, asked: &Explain) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(monitor) = &service.monitor {
        if is_within(monitor.source.as_ref(), asked) {
            told.push(format!(
                "a peer at this address is a monitor: it gets {:?} and is let go",
                monitor.reply.written
            ));
        }
    }
    if let Some(proxy) = &service.proxy_protocol {
        told.push(match (is_within(Some(&proxy.from), asked), proxy.others) {
            (true, _) => "a peer at this address must send a PROXY header; what follows holds for the client it names",
            (false, Others::Reject) => {
                "a peer at this address is refused: it is not among proxy_protocol.from; what follows holds for a \
                 client that a PROXY header names"
            }
            (false, Others::Direct) => "a peer at this address is served directly, without a PROXY header",
        }
        .to_owned());
    }
    told
}

/// How each rule stands, which one decides, and which in front of that may yet.
fn rules(service: &Service, known: &Known<'_>) -> (Vec<Passed>, Option<String>, Vec<String>) {
    let (mut told, mut decided, mut unless) = (Vec::new(), None, Vec::new());
    for (place, why) in service.rules.explain(known) {
        let Some(rule) = service.rules.specs().get(place) else { continue };
        let action = match rule.action {
            Action::Accept => "accept",
            Action::Reject(_) => "reject",
            Action::Drop => "drop",
            Action::Tarpit => "tarpit",
        };
        match why {
            Why::Matches => decided = Some(rule.name.to_string()),
            Why::Limited | Why::Later(_) => unless.push(rule.name.to_string()),
            _ => {}
        }
        told.push(Passed { name: rule.name.to_string(), action, why: why.to_string() });
    }
    (told, decided, unless)
}

fn steps(plan: &Plan, route: Option<usize>) -> Vec<&'static str> {
    let back = route.map_or(&[][..], |route| plan.steps(true, route));
    plan.front.iter().chain(back).map(|step| step.name).collect()
}

fn action(route: &Route) -> &'static str {
    match route.action {
        RouteAction::Connect => "connect",
        RouteAction::Reject(_) => "reject",
    }
}

fn taken(route: &Route, name: Option<&str>) -> Taken {
    let certificates = route.accept_tls.as_ref().map_or_else(Vec::new, |tls| {
        let told = tls.certificates_for(name).map(|one| {
            format!("{} ({}, {}, until {})", one.file.display(), one.key, one.names.join(" "), one.expires)
        });
        told.collect()
    });
    let requested = route.upstream.requested.as_ref().map(|requested| {
        let name = name.unwrap_or("the name the client asks for");
        format!("{name}:{}, resolved for each connection", requested.port_text())
    });
    let servers = route.upstream.servers.iter().map(|server| {
        let addresses: Vec<String> = server.place.all().iter().map(ToString::to_string).collect();
        match &*addresses {
            [] => format!("{} (no address is known)", server.name),
            [address] if *server.name == **address => address.clone(),
            addresses => format!("{} ({})", server.name, addresses.join(" ")),
        }
    });
    Taken {
        name: route.name.to_string(),
        action: action(route),
        tls: if route.accept_tls.is_some() { "terminated here" } else { "not touched" },
        certificates,
        balance: (route.upstream.servers.len() > 1).then(|| route.upstream.balance.kind.word()),
        servers: requested.into_iter().chain(servers).collect(),
        server_tls: route.connect_tls.as_ref().map(|_| {
            let name = route.upstream.servers.first().and_then(|server| server.tls_name.as_deref());
            format!("originated here, to {}", name.unwrap_or("a server without a name"))
        }),
        send_proxy: route.send_proxy.map(|send| match send.version {
            crate::wire::proxy_header::Version::V1 => "v1",
            crate::wire::proxy_header::Version::V2 => "v2",
        }),
    }
}

fn alert(service: &Service) -> &'static str {
    if service.peek == Peek::Tls { " with the alert unrecognized_name" } else { "" }
}

fn timeouts(service: &Service) -> BTreeMap<&'static str, String> {
    let timeouts = &service.timeouts;
    [
        ("handshake", timeouts.handshake),
        ("connect", timeouts.connect),
        ("idle", timeouts.idle),
        ("half_close", timeouts.half_close),
        ("linger", timeouts.linger),
        ("tarpit", timeouts.tarpit),
    ]
    .map(|(name, duration)| (name, format_duration(duration)))
    .into()
}

impl Explanation {
    /// As one JSON object.
    pub fn json(&self) -> String {
        // Only maps with keys that are no strings cannot be JSON, and there are none above.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Client { source, name, alpn } = &self.client;
        writeln!(f, "service     {} on {}", self.service, self.listens_on.join(", "))?;
        write!(f, "client      from {}", source.as_deref().unwrap_or("anywhere"))?;
        match name {
            Some(name) => write!(f, ", asks for {name}")?,
            None => f.write_str(", asks for no name")?,
        }
        if !alpn.is_empty() {
            write!(f, ", offers {}", alpn.join(" "))?;
        }
        f.write_char('\n')?;
        for line in &self.before {
            writeln!(f, "first       {line}")?;
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let head = if index == 0 { "rules" } else { "" };
            writeln!(f, "{head:<12}{} ({}): {}", rule.name, rule.action, rule.why)?;
        }
        if let Some(rule) = &self.rule {
            writeln!(f, "decided by  rule {rule}")?;
        }
        if !self.unless.is_empty() {
            writeln!(f, "unless      rule {} decides first", self.unless.join(" or "))?;
        }
        if let Some(refused) = &self.refused {
            writeln!(f, "ends there  {refused}")?;
        }
        if let Some(route) = &self.route {
            writeln!(f, "route       {} ({}), TLS {}", route.name, route.action, route.tls)?;
            for certificate in &route.certificates {
                writeln!(f, "certificate {certificate}")?;
            }
            if let Some(balance) = route.balance {
                writeln!(f, "balance     {balance}")?;
            }
            for server in &route.servers {
                writeln!(f, "server      {server}")?;
            }
            if let Some(tls) = &route.server_tls {
                writeln!(f, "server TLS  {tls}")?;
            }
            if let Some(version) = route.send_proxy {
                writeln!(f, "sends       a PROXY header {version}")?;
            }
        }
        for (index, route) in self.routes_not_taken.iter().enumerate() {
            let head = if index == 0 { "not taken" } else { "" };
            writeln!(f, "{head:<12}{} ({}): {}", route.name, route.action, route.why)?;
        }
        writeln!(f, "steps       {}", self.steps.join(", "))?;
        let timeouts: Vec<String> =
            self.timeouts.iter().map(|(name, time)| format!("{name} {time}")).collect();
        write!(f, "timeouts    {}", timeouts.join(", "))
    }
}
