// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why connections fail, as operators count it: few causes with fixed words, and a hint for each.
//!
//! A [`Reason`] says how a connection ended; where that was a TLS handshake, a cause says which of the many ways, so that
//! "no-shared-cipher" and "client-closed-early" are two numbers. The words are public, and never change their meaning. The
//! match below is exhaustive: a new reason must find its cause.

use crate::error::{Excess, Flaw, Reason, Refusal, Side};
use crate::wire::client_hello;

/// Declares the causes with their words and hints, in one place.
macro_rules! causes {
    ($($name:ident, $word:literal, $hint:literal;)*) => {
        /// A cause of failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Cause { $($name,)* }

        /// Every cause with its word and its hint, in the order of [`Cause`].
        pub const CAUSES: &[(Cause, &str, &str)] = &[$((Cause::$name, $word, $hint),)*];
    };
}

causes! {
    NoSharedCipher, "no-shared-cipher",
        "The client offers no cipher suite that is allowed here. Old clients need a broader `ciphers`, or an update.";
    UnsupportedProtocol, "unsupported-protocol",
        "The client offers only TLS versions that are not allowed here. Update it, or lower `min_version` if it must be.";
    NoSharedGroup, "no-shared-group",
        "The client supports none of the key exchange groups allowed here. See `groups`.";
    NoSharedSignature, "no-shared-signature",
        "The client cannot verify signatures of this certificate's kind. A second certificate (RSA beside ECDSA) helps.";
    NoSharedAlpn, "no-shared-alpn",
        "The client insists on application protocols (ALPN) that are not offered here. See `alpn`.";
    NoCertificate, "no-certificate",
        "The client showed no certificate where one is required. Give it one, or make it optional with `verify`.";
    CertificateExpired, "certificate-expired",
        "The client's certificate has expired or is not valid yet. Renew it, and check the clocks on both sides.";
    CertificateRevoked, "certificate-revoked",
        "The client's certificate was revoked. If that is a mistake, its CA must issue another one.";
    UnknownCa, "unknown-ca",
        "The client's certificate comes from a CA that is not in `client_ca`. Add the CA, or check what the client sends.";
    CertificateOther, "certificate-other",
        "The client's certificate was refused for another reason, which the log line names.";
    ClientRejectsOurCertificate, "client-rejects-our-certificate",
        "The client does not trust the certificate it is shown. Is it expired, is its chain complete, does it have the name?";
    ClientHandshakeAlert, "client-handshake-alert",
        "The client gave the handshake up with an alert, which the log line names. Versions and ciphers may not match.";
    PlainHttp, "plain-http",
        "The client speaks HTTP without TLS to a TLS port. Check the scheme of its URL: https, not http.";
    NotTls, "not-tls",
        "What the client sends is not TLS. Scanners do this all the time; a client that should work has the wrong port.";
    BadHello, "bad-hello",
        "The client's ClientHello is malformed. Scanners do this; a broken TLS library does, too.";
    BadRequest, "bad-request",
        "The client's first bytes are no HTTP/1 request with one Host. Does it speak HTTP/2 or TLS to a plain port?";
    BadProxyRequest, "bad-proxy-request",
        "The client asks for no way by SOCKS or CONNECT, or gives no good login. The log line says which. See `socks`.";
    NameChanged, "name-changed",
        "The TLS library read another name or protocol than was routed. Somebody tries to get around the routes.";
    StarttlsFailed, "starttls-failed",
        "The client did not ask for TLS as the protocol in `starttls` does: it left, or went on in clear.";
    StarttlsInjection, "starttls-injection",
        "The client sent more in clear behind STARTTLS. Somebody on the way adds commands, or the client is broken.";
    NoRoute, "no-route",
        "The client asked for no name, or for one that no route has. Add a route or a fallback, or fix the client's name.";
    RouteRejected, "route-rejected",
        "The client took a route with action \"reject\". This is as configured.";
    HandshakeFailed, "handshake-failed",
        "The TLS handshake with the client failed for another reason, which the log line names.";
    HandshakeTimeout, "handshake-timeout",
        "The client took longer for its handshake than `timeout.handshake`. Slow networks, dead clients, idle scanners.";
    ClientClosedEarly, "client-closed-early",
        "The client closed before its handshake was complete. Port checks of load balancers and scanners look like this.";
    BadProxyHeader, "bad-proxy-header",
        "The PROXY header is missing, malformed, or not taken from this peer. See `proxy_protocol` on both sides.";
    Rejected, "rejected", "A rule rejected the client. This is as configured.";
    Dropped, "dropped", "A rule dropped the client without a word. This is as configured.";
    Tarpitted, "tarpitted", "A rule held the client in a tarpit. This is as configured.";
    LimitConnections, "limit-connections",
        "The service or route had as many connections as its `limit` allows. Raise `max_connections`, or see who keeps them.";
    LimitRate, "limit-rate",
        "New connections came faster than the `rate` in the `limit` of the service or route allows.";
    ClientReset, "client-reset",
        "The client reset the connection. Often harmless: programs that end without closing do this.";
    ClientGone, "client-gone",
        "The client had closed before it took everything. Often harmless: a cancelled download.";
    ClientTruncated, "client-truncated",
        "The client ended TCP without ending TLS. Old clients do; `truncation = \"close\"` puts up with it.";
    ClientTlsError, "client-tls-error",
        "TLS with the client broke after the handshake: damaged records, or an alert, which the log line names.";
    ResolveFailed, "resolve-failed",
        "The name that the client asked for could not be resolved. Is the name server reachable, does the name exist?";
    ForbiddenTarget, "forbidden-target",
        "The client asked for a server that may not be connected to. See `connect.allow`.";
    ConnectFailed, "connect-failed",
        "No server of the route could be reached. Is it running, is its address right, does a firewall refuse?";
    ConnectTimeout, "connect-timeout",
        "No server of the route answered within `timeout.connect`. Is it up, does a firewall swallow packets?";
    ProxyFailed, "proxy-failed",
        "The proxy on the way to the server refused, or did not answer. The log line has its words; see also its own log.";
    Unconfirmed, "unconfirmed",
        "The next tunnel did not reach the server, or does not confirm. The log line has its words; see its own log.";
    ServersFull, "servers-full",
        "Every server of the route had as many connections as `max_connections` allows, and none became free in time.";
    ServerUnsupportedProtocol, "server-unsupported-protocol",
        "The server and `connect.tls` have no TLS version in common.";
    ServerNoSharedCipher, "server-no-shared-cipher",
        "The server and `connect.tls` have no cipher suite or group in common.";
    ServerCertificateExpired, "server-certificate-expired",
        "The server's certificate has expired or is not valid yet. Renew it there, and check the clocks on both sides.";
    ServerCertificateRevoked, "server-certificate-revoked", "The server's certificate was revoked.";
    ServerUnknownCa, "server-unknown-ca",
        "The server's certificate comes from a CA that is not in `connect.tls`'s `ca`, or its chain is incomplete.";
    ServerWrongName, "server-wrong-name",
        "The server's certificate is for another name. See `server_name`.";
    ServerWrongKey, "server-wrong-key",
        "The server's key is none of those in `pin`. Does it have a new one, or is it another server?";
    ServerCertificateOther, "server-certificate-other",
        "The server's certificate was refused for another reason, which the log line names.";
    ServerRejectsOurCertificate, "server-rejects-our-certificate",
        "The server wants a client certificate, or another one than it is shown. See `certificate` in `connect.tls`.";
    ServerNotTls, "server-not-tls",
        "What the server sends is not TLS. Does it speak TLS on that port?";
    ServerHandshakeFailed, "server-handshake-failed",
        "The TLS handshake with the server failed for another reason, which the log line names.";
    ServerHandshakeTimeout, "server-handshake-timeout",
        "The server took longer for its TLS handshake than `timeout.handshake`.";
    ServerClosedEarly, "server-closed-early",
        "The server closed before its TLS handshake was complete. Is it overloaded, does it want another name?";
    ServerStarttlsFailed, "server-starttls-failed",
        "The server declined STARTTLS or speaks another protocol; the log line has its words. See `opportunistic`.";
    ServerStarttlsInjection, "server-starttls-injection",
        "The server sent more in clear behind its consent to TLS. Somebody on the way adds answers.";
    ServerReset, "server-reset", "The server reset the connection. See the server's own log.";
    ServerGone, "server-gone", "The server had closed before it took everything.";
    ServerTruncated, "server-truncated",
        "The server ended TCP without ending TLS: its answers may be incomplete. See the server's own log.";
    ServerTlsError, "server-tls-error",
        "TLS with the server broke after the handshake: damaged records, or an alert, which the log line names.";
    Idle, "idle", "Nothing moved for `timeout.idle`. Raise it for protocols that pause for long.";
    Lifetime, "lifetime", "The connection had lived for the `lifetime` in the `limit` of its service or route. This is as configured.";
    HalfCloseTimeout, "half-close-timeout",
        "One side had ended, and nothing moved for `timeout.half_close`.";
    LingerTimeout, "linger-timeout",
        "The last bytes did not leave within `timeout.linger`: who should read them does not.";
    Killed, "killed", "Somebody ended the connection through the control interface.";
    Stopped, "stopped", "The connection was open when the daemon stopped. See `shutdown_timeout`.";
    System, "system",
        "The system refused something: descriptors, memory. The log line names it.";
    Panic, "panic", "A defect of this program. Please report it, with the log line.";
}

impl Cause {
    /// Its word.
    pub fn word(self) -> &'static str {
        CAUSES[self as usize].1
    }

    /// What it means and what to do, for an operator.
    pub fn hint(self) -> &'static str {
        CAUSES[self as usize].2
    }

    /// The cause of an end for that reason; none of one that is no failure.
    pub fn of(reason: &Reason) -> Option<Self> {
        Some(match reason {
            Reason::Done | Reason::Replied => return None,
            Reason::Reset(Side::Client) => Self::ClientReset,
            Reason::Reset(Side::Server) => Self::ServerReset,
            Reason::Truncated(Side::Client) => Self::ClientTruncated,
            Reason::Truncated(Side::Server) => Self::ServerTruncated,
            Reason::Gone(Side::Client) => Self::ClientGone,
            Reason::Gone(Side::Server) => Self::ServerGone,
            // With TLS 1.3 a side refuses the other's certificate when that one's handshake is complete already.
            Reason::TlsBroken(Side::Client, Flaw::RejectsCertificate, _) => Self::ClientRejectsOurCertificate,
            Reason::TlsBroken(Side::Server, Flaw::RejectsCertificate, _) => Self::ServerRejectsOurCertificate,
            Reason::TlsBroken(Side::Client, ..) => Self::ClientTlsError,
            Reason::TlsBroken(Side::Server, ..) => Self::ServerTlsError,
            Reason::Idle => Self::Idle,
            Reason::Lifetime => Self::Lifetime,
            Reason::HalfCloseTimeout => Self::HalfCloseTimeout,
            Reason::LingerTimeout => Self::LingerTimeout,
            Reason::HandshakeTimeout(Side::Client) => Self::HandshakeTimeout,
            Reason::HandshakeTimeout(Side::Server) => Self::ServerHandshakeTimeout,
            Reason::ConnectTimeout => Self::ConnectTimeout,
            Reason::ServersFull(_) => Self::ServersFull,
            Reason::Handshake(Side::Client, flaw, _) => Self::of_client(*flaw),
            Reason::Handshake(Side::Server, flaw, _) => Self::of_server(*flaw),
            Reason::NotTls(what) if *what == client_hello::HTTP => Self::PlainHttp,
            Reason::NotTls(_) => Self::NotTls,
            Reason::BadHello(_) => Self::BadHello,
            Reason::BadRequest(_) => Self::BadRequest,
            Reason::BadAsking(_) => Self::BadProxyRequest,
            Reason::NameChanged => Self::NameChanged,
            Reason::ProxyHeader(_) => Self::BadProxyHeader,
            Reason::Rule(_, Refusal::Reject) => Self::Rejected,
            Reason::Rule(_, Refusal::Drop) => Self::Dropped,
            Reason::Rule(_, Refusal::Tarpit) => Self::Tarpitted,
            Reason::Starttls(Side::Client, _) => Self::StarttlsFailed,
            Reason::Starttls(Side::Server, _) => Self::ServerStarttlsFailed,
            Reason::Injected(Side::Client, _) => Self::StarttlsInjection,
            Reason::Injected(Side::Server, _) => Self::ServerStarttlsInjection,
            Reason::Limit(Excess::Connections, _) => Self::LimitConnections,
            Reason::Limit(Excess::Rate, _) => Self::LimitRate,
            Reason::NoRoute(_) => Self::NoRoute,
            Reason::RouteRejects(_) => Self::RouteRejected,
            Reason::Resolve(_) => Self::ResolveFailed,
            Reason::Target(_) => Self::ForbiddenTarget,
            Reason::Via(_) => Self::ProxyFailed,
            Reason::Unconfirmed(..) => Self::Unconfirmed,
            Reason::Connect(_) => Self::ConnectFailed,
            Reason::Killed => Self::Killed,
            Reason::Stopped => Self::Stopped,
            Reason::System(_) => Self::System,
            Reason::Panic => Self::Panic,
        })
    }

    fn of_client(flaw: Flaw) -> Self {
        match flaw {
            Flaw::NoSharedCipher => Self::NoSharedCipher,
            Flaw::OldProtocol => Self::UnsupportedProtocol,
            Flaw::NoSharedGroup => Self::NoSharedGroup,
            Flaw::NoSharedSignature => Self::NoSharedSignature,
            Flaw::NoSharedAlpn => Self::NoSharedAlpn,
            Flaw::NoCertificate => Self::NoCertificate,
            Flaw::CertificateExpired => Self::CertificateExpired,
            Flaw::CertificateRevoked => Self::CertificateRevoked,
            Flaw::UnknownCa => Self::UnknownCa,
            Flaw::WrongName | Flaw::WrongKey | Flaw::BadCertificate => Self::CertificateOther,
            Flaw::RejectsCertificate => Self::ClientRejectsOurCertificate,
            Flaw::Alert => Self::ClientHandshakeAlert,
            Flaw::PlainHttp => Self::PlainHttp,
            Flaw::NotTls => Self::NotTls,
            Flaw::Closed => Self::ClientClosedEarly,
            Flaw::Other => Self::HandshakeFailed,
        }
    }

    fn of_server(flaw: Flaw) -> Self {
        match flaw {
            Flaw::NoSharedCipher | Flaw::NoSharedGroup | Flaw::NoSharedSignature => {
                Self::ServerNoSharedCipher
            }
            Flaw::OldProtocol => Self::ServerUnsupportedProtocol,
            Flaw::CertificateExpired => Self::ServerCertificateExpired,
            Flaw::CertificateRevoked => Self::ServerCertificateRevoked,
            Flaw::UnknownCa => Self::ServerUnknownCa,
            Flaw::WrongName => Self::ServerWrongName,
            Flaw::WrongKey => Self::ServerWrongKey,
            Flaw::NoCertificate | Flaw::BadCertificate => Self::ServerCertificateOther,
            Flaw::RejectsCertificate => Self::ServerRejectsOurCertificate,
            Flaw::PlainHttp | Flaw::NotTls => Self::ServerNotTls,
            Flaw::Closed => Self::ServerClosedEarly,
            Flaw::NoSharedAlpn | Flaw::Alert | Flaw::Other => Self::ServerHandshakeFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_table_is_in_the_order_of_the_enum_and_every_word_is_its_own() {
        let mut words = HashSet::new();
        for (index, (cause, word, hint)) in CAUSES.iter().enumerate() {
            assert_eq!(*cause as usize, index);
            assert!(words.insert(word), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{word}");
            assert!(hint.ends_with(['.', '?']) && hint.len() < 140, "{word}: {}", hint.len());
        }
    }

    #[test]
    fn the_manual_lists_every_cause() {
        let manual = include_str!("../../man/tunnel-http.7");
        let (_, causes) = manual.split_once(".Sh CAUSES\n").unwrap();
        let listed: Vec<_> = causes.split(".Sh ").next().unwrap().lines().collect();
        let items = listed.iter().filter_map(|line| line.strip_prefix(".It Cm ")).collect::<Vec<_>>();
        assert_eq!(items, CAUSES.iter().map(|(_, word, _)| *word).collect::<Vec<_>>());
    }

    #[test]
    fn a_reason_that_says_it_all_keeps_its_word() {
        let text = || Box::from("x");
        let reasons = [
            Reason::Reset(Side::Client),
            Reason::Gone(Side::Server),
            Reason::Truncated(Side::Server),
            Reason::TlsBroken(Side::Client, Flaw::Other, text()),
            Reason::Handshake(Side::Client, Flaw::Other, text()),
            Reason::Handshake(Side::Server, Flaw::Other, text()),
            Reason::HandshakeTimeout(Side::Server),
            Reason::NotTls("not TLS"),
            Reason::Rule(text(), Refusal::Drop),
            Reason::Resolve(text()),
            Reason::Panic,
        ];
        for reason in reasons {
            assert_eq!(Cause::of(&reason).map(Cause::word), Some(reason.word()));
        }
        assert_eq!(Cause::of(&Reason::Done), None);
        assert_eq!(Cause::of(&Reason::Replied), None);
    }

    #[test]
    fn handshakes_are_told_apart() {
        let handshake = |side, flaw| Cause::of(&Reason::Handshake(side, flaw, "x".into())).map(Cause::word);
        assert_eq!(handshake(Side::Client, Flaw::NoSharedCipher), Some("no-shared-cipher"));
        assert_eq!(handshake(Side::Client, Flaw::RejectsCertificate), Some("client-rejects-our-certificate"));
        assert_eq!(handshake(Side::Client, Flaw::Closed), Some("client-closed-early"));
        assert_eq!(handshake(Side::Server, Flaw::UnknownCa), Some("server-unknown-ca"));
        assert_eq!(Cause::of(&Reason::NotTls(client_hello::HTTP)), Some(Cause::PlainHttp));
    }
}
