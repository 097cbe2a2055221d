// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who is let in and where connections go, as `-T` shows it: `monitor`, `proxy_protocol`, `connect`, rules, routes.

use super::health::{self, Check, PassiveTable, Switched};
use super::server::{Server, Spread};
use super::socket::Socket;
use super::tls::{AcceptTls, ConnectTls};
use super::{address, path, word};
use crate::config::proxy::{OTHERS, TLVS, VERSIONS};
use crate::config::raw::At;
use crate::config::route::FALLBACKS;
use crate::config::rule::action_word;
use crate::config::settings::{
    ConnectSettings, MonitorSettings, NetworkList, NetworkSource, ProxySettings, RouteSettings, RuleSettings,
    ViaSettings,
};
use crate::config::socket::format_source;
use crate::config::socks::format_ports;
use crate::config::values::{Counted, format_rate};
use crate::config::via::KINDS;
use crate::policy::reply::Reply;
use crate::policy::rules::Action;
use crate::policy::service::{RouteAction, SendProxy};
use crate::policy::tls_peer::CertificateMatch;
use crate::policy::track::Limits;
use crate::wire::proxy_header::Version;
use ipnet::IpNet;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Monitor {
    source: Vec<String>,
    reply: String,
}

#[derive(Serialize)]
pub(super) struct ProxyProtocol {
    /// Nothing where all peers come over unix sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Vec<String>>,
    others: &'static str,
    confirm: bool,
}

#[derive(Serialize)]
pub(super) struct Connect {
    /// Nothing where each server has a table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    address: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expand: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allow: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<Socket>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxy: Option<Proxy>,
    starttls: Option<&'static str>,
    /// Nothing without `starttls`: there, writing it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    opportunistic: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    send_proxy: Option<Send>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<ConnectTls>,
}

#[derive(Serialize)]
struct Proxy {
    kind: &'static str,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_file: Option<String>,
}

#[derive(Serialize)]
struct Send {
    version: &'static str,
    /// Nothing in version 1: there, writing it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    tlvs: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct Rule {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sni: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sni_regex: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpn: Vec<String>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
}

#[derive(Serialize)]
struct Certificate {
    #[serde(skip_serializing_if = "Option::is_none")]
    present: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cn: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    issuer: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    san: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fingerprint: Vec<String>,
}

#[derive(Serialize)]
struct Limit {
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    handshake_failures: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
    prefix_v4: u8,
    prefix_v6: u8,
    sources: usize,
}

#[derive(Serialize)]
pub(super) struct Route {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sni: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sni_regex: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    host: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    host_regex: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpn: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallback: Vec<&'static str>,
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<super::limit::Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<AcceptTls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Connect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Switched<Check>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passive: Option<Switched<PassiveTable>>,
    #[serde(flatten)]
    spread: Spread,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    server: Vec<Server>,
}

impl Monitor {
    pub(super) fn of(monitor: &MonitorSettings) -> Self {
        Self { source: networks(&monitor.source), reply: monitor.reply.written.to_string() }
    }
}

impl ProxyProtocol {
    pub(super) fn of(proxy: &ProxySettings) -> Self {
        Self {
            from: proxy.from.as_ref().map(networks),
            others: word(&OTHERS, proxy.others),
            confirm: proxy.confirm,
        }
    }
}

impl Connect {
    pub(super) fn of(connect: &ConnectSettings) -> Self {
        let outgoing = connect.outgoing.as_ref();
        Self {
            address: connect.addresses.iter().map(address).collect(),
            expand: connect.expand.map(|at| at.value),
            allow: connect.allow.as_ref().map(networks),
            names: connect.names.iter().map(ToString::to_string).collect(),
            ports: connect.ports.iter().map(format_ports).collect(),
            proxy: connect.via.as_ref().map(Proxy::of),
            starttls: connect.starttls.map(|asks| asks.value.protocol.name),
            opportunistic: connect.starttls.map(|asks| asks.value.opportunistic),
            source: outgoing.map_or_else(Vec::new, |outgoing| {
                outgoing.sources.iter().map(|source| format_source(source.value)).collect()
            }),
            socket: outgoing.and_then(|outgoing| Socket::of(&outgoing.socket)),
            send_proxy: connect.send_proxy.map(Send::of),
            tls: connect.tls.as_ref().map(|tls| ConnectTls::of(&tls.spec)),
        }
    }
}

impl Proxy {
    fn of(via: &ViaSettings) -> Self {
        Self {
            kind: word(&KINDS, via.kind),
            address: address(&via.endpoint),
            user: via.login.as_ref().map(|(user, _)| user.clone()),
            password_file: via.login.as_ref().map(|(_, file)| path(&file.value)),
        }
    }
}

impl Send {
    fn of(mut send: SendProxy) -> Self {
        let tlvs = TLVS.iter().filter(|(_, switch)| *switch(&mut send.tlvs));
        let tlvs: Vec<_> = tlvs.map(|(name, _)| *name).collect();
        let second = send.version == Version::V2;
        Self {
            version: word(&VERSIONS, send.version),
            tlvs: second.then_some(tlvs),
            confirm: second.then_some(send.confirm),
        }
    }
}

impl Rule {
    pub(super) fn of(rule: &RuleSettings) -> Self {
        Self {
            name: rule.name.clone(),
            source: rule.source.as_ref().map(networks),
            sni: texts(&rule.sni.names),
            sni_regex: texts(&rule.sni.regexes),
            alpn: rule.alpn.clone(),
            action: action_word(&rule.action),
            reply: match &rule.action {
                Action::Reject(reply) => written(reply.as_ref()),
                Action::Accept | Action::Drop | Action::Tarpit => None,
            },
            client_certificate: rule.certificate.as_ref().map(Certificate::of),
            limit: rule.limits.as_ref().map(Limit::of),
        }
    }
}

impl Certificate {
    fn of(wanted: &CertificateMatch) -> Self {
        let list = |texts: &[Box<str>]| texts.iter().map(ToString::to_string).collect();
        Self {
            present: wanted.present,
            cn: list(&wanted.common_name),
            subject: list(&wanted.subject),
            issuer: list(&wanted.issuer),
            san: list(&wanted.alternative_name),
            fingerprint: list(&wanted.fingerprint),
        }
    }
}

impl Limit {
    fn of(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            rate: limits.rate.map(|rate| format_rate(rate, Counted::Events)),
            handshake_failures: limits.handshake_failures.map(|rate| format_rate(rate, Counted::Events)),
            bytes: limits.bytes.map(|rate| format_rate(rate, Counted::Bytes)),
            prefix_v4: limits.v4_prefix,
            prefix_v6: limits.v6_prefix,
            sources: limits.sources,
        }
    }
}

impl Route {
    /// `base_ca`: `accept.tls` has a CA, which routes inherit.
    pub(super) fn of(route: &RouteSettings, base_ca: bool) -> Self {
        let fallback = route.fallback.value;
        let [no_name, unknown_name] = FALLBACKS;
        let fallback = [(fallback.no_name, no_name), (fallback.unknown_name, unknown_name)];
        let (action, reply) = match &route.action {
            RouteAction::Connect => ("connect", None),
            RouteAction::Reject(reply) => ("reject", written(reply.as_ref())),
        };
        Self {
            name: route.name.clone(),
            sni: texts(&route.sni.names),
            sni_regex: texts(&route.sni.regexes),
            host: texts(&route.host.names),
            host_regex: texts(&route.host.regexes),
            alpn: route.alpn.clone(),
            source: route.source.as_ref().map(networks),
            fallback: fallback.into_iter().filter_map(|(set, word)| set.then_some(word)).collect(),
            action,
            reply,
            limit: route.limit.as_ref().map(super::limit::Limit::of),
            tls: route.tls.as_ref().map(|tls| AcceptTls::of(&tls.spec, base_ca)),
            connect: route.connect.as_ref().map(Connect::of),
            check: route.health.check.as_ref().map(health::check),
            passive: route.health.passive.as_ref().map(health::passive),
            spread: Spread::written(route.spread),
            server: route.connect.as_ref().map(Server::all).unwrap_or_default(),
        }
    }
}

fn texts(list: &[At<String>]) -> Vec<String> {
    list.iter().map(|text| text.value.clone()).collect()
}

fn written(reply: Option<&Reply>) -> Option<String> {
    reply.map(|reply| reply.written.to_string())
}

/// Networks as networks, files by their paths.
fn networks(list: &NetworkList) -> Vec<String> {
    let source = |source: &At<NetworkSource>| match &source.value {
        NetworkSource::Network(IpNet::V4(network)) if network.prefix_len() == 32 => {
            network.addr().to_string()
        }
        NetworkSource::Network(IpNet::V6(network)) if network.prefix_len() == 128 => {
            network.addr().to_string()
        }
        NetworkSource::Network(network) => network.to_string(),
        NetworkSource::File(file) => format!("file:{}", path(file)),
    };
    list.0.iter().map(source).collect()
}
