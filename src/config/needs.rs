// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the rules and routes of a service need to know of a client, and what the service can know: `peek`, a PROXY
//! header, a certificate. Both sides are noted while the service is read and compared at the end.
//!
//! Invariant: each contradiction is told once, at the first place that needs what is not there.

use super::raw::Node;
use super::report::{Place, Report};
use crate::policy::service::Peek;

/// What `peek` may say.
pub(super) const PEEKS: [(&str, Peek); 3] = [("tls", Peek::Tls), ("http", Peek::Http), ("none", Peek::None)];

/// A key that needs something, and where it stands.
#[derive(Clone, Copy, Debug)]
struct Need {
    key: &'static str,
    place: Place,
}

/// What the keys of one service need and give; the first place of each.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Clients are decrypted.
    terminates: Option<Place>,
    /// A name or a protocol out of a ClientHello.
    hello: Option<Need>,
    /// A name out of an HTTP request.
    host: Option<Need>,
    /// A name of any kind: to connect to it.
    name: Option<Place>,
    /// That some name is looked for, so that it can be an unknown one.
    unknown_name: Option<Place>,
    /// A client that speaks plain text may be answered with plain text.
    plain: Option<Place>,
    /// A client certificate.
    certificate: Option<Place>,
    /// Clients are asked for a certificate.
    asks_certificate: bool,
    /// A route has a `tls` of its own, be it good or not.
    has_route_tls: bool,
}

impl Needs {
    pub(super) fn terminates(&mut self, place: Place, asks_certificate: bool) {
        self.terminates.get_or_insert(place);
        self.asks_certificate |= asks_certificate;
    }

    /// Where it is said that clients are decrypted, if they are.
    pub(super) fn terminates_at(&self) -> Option<Place> {
        self.terminates
    }

    pub(super) fn route_tls(&mut self) {
        self.has_route_tls = true;
    }

    pub(super) fn has_route_tls(&self) -> bool {
        self.has_route_tls
    }

    /// Notes `node`, if there is one.
    pub(super) fn hello(&mut self, node: Option<Node<'_>>) {
        self.hello = self.hello.or_else(|| node.map(need));
    }

    /// Notes `node`, if there is one.
    pub(super) fn host(&mut self, node: Option<Node<'_>>) {
        self.host = self.host.or_else(|| node.map(need));
    }

    pub(super) fn name(&mut self, place: Place) {
        self.name.get_or_insert(place);
    }

    pub(super) fn unknown_name(&mut self, place: Place) {
        self.unknown_name.get_or_insert(place);
    }

    pub(super) fn plain(&mut self, place: Place) {
        self.plain.get_or_insert(place);
    }

    pub(super) fn certificate(&mut self, place: Place) {
        self.certificate.get_or_insert(place);
    }

    /// Where names come from, by `node`, which is `peek`, or by what is needed; contradictions are reported.
    /// `has_proxy`: a PROXY header may tell all that a hello and a certificate do.
    pub(super) fn peek(&self, node: Option<Node<'_>>, has_proxy: bool, report: &mut Report) -> Peek {
        let default = match (self.terminates.is_some() || self.hello.is_some(), self.host) {
            (true, _) => Peek::Tls,
            (false, Some(_)) => Peek::Http,
            (false, None) => Peek::None,
        };
        let Some(peek) = node.map_or(Some(default), |node| node.choice(&PEEKS, report)) else {
            return default;
        };
        let note = |finding: &mut super::report::Finding| {
            if let Some(node) = node {
                finding.note(node.place, "`peek` is set here");
            }
        };
        if let (Some(tls), Peek::Http | Peek::None, Some(node)) = (self.terminates, peek, node) {
            let message = "TLS is terminated here, so `peek` must be \"tls\"";
            report.error(node.place, message).note(tls, "TLS is set here").help("leave `peek` out");
            return peek;
        }
        if let (Some(Need { key, place }), true) =
            (self.hello, peek == Peek::Http || (peek == Peek::None && !has_proxy))
        {
            let message = format!("`{key}` is told by a TLS ClientHello, which is not looked at");
            note(report.error(place, message).help("write peek = \"tls\", or leave `peek` out"));
        }
        if let (Some(Need { key, place }), Peek::Tls | Peek::None) = (self.host, peek) {
            let finding =
                report.error(place, format!("`{key}` is told by an HTTP request, which is not looked at"));
            match (self.terminates, self.hello) {
                _ if node.is_some() => note(finding.help("write peek = \"http\"")),
                (Some(tls), _) => drop(finding.note(tls, "the service speaks TLS").help("route by `sni`")),
                (None, Some(need)) => {
                    let help = "a service has routes by `sni` or by `host`, not both";
                    finding
                        .note(need.place, format!("`{}` makes this a service for TLS", need.key))
                        .help(help);
                }
                (None, None) => {}
            }
        }
        if let (Some(place), Peek::Tls) = (self.plain, peek) {
            let message = "`reply` on a service for TLS: its clients would not understand it";
            let finding = report.error(place, message);
            match (self.terminates, self.hello) {
                _ if node.is_some() => note(finding),
                (Some(tls), _) => drop(finding.note(tls, "TLS is set here")),
                (None, Some(need)) => {
                    finding.note(need.place, format!("`{}` makes this a service for TLS", need.key));
                }
                (None, None) => {}
            }
        }
        if let (Some(place), Peek::None, false) = (self.name, peek, has_proxy) {
            report
                .error(place, "this connects to the name a client asks for, but no name is ever known")
                .help("write peek = \"tls\" or peek = \"http\"");
        }
        if let (Some(place), Peek::None, false) = (self.unknown_name, peek, has_proxy) {
            report
                .error(place, "\"unknown-name\", but no name is ever looked for")
                .help("write peek = \"tls\" or peek = \"http\"; \"no-name\" alone takes everybody");
        }
        if let (Some(place), false, false) = (self.certificate, self.asks_certificate, has_proxy) {
            report
                .error(place, "`client_certificate`, but no client is ever asked for one")
                .help("set `client_ca` in accept.tls, or `proxy_protocol`");
        }
        peek
    }
}

fn need(node: Node<'_>) -> Need {
    Need { key: node.key, place: node.place }
}
