// SPDX-License-Identifier: MIT OR Apache-2.0
//! Takes a PROXY header from peers that must send one; what it says of the client becomes facts.
//!
//! Invariants: exactly the header's bytes are consumed; a peer that must send a header gets nowhere without one, and a peer
//! that need not is never looked at for one, so nobody can choose; of a LOCAL header nothing is believed: the sender
//! speaks for itself, and its own address counts.
//!
//! Not here: the deadline, which is the handshake's, a total; so a header that comes a byte at a time is in time or not.

use super::early::{self, MORE, Stop};
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Awaits, Facts, Pair, TlsFacts};
use crate::error::Reason;
use crate::policy::service::{AcceptProxy, Others, Service};
use crate::policy::tls_peer::PeerCertificate;
use crate::sys::address::Address;
use crate::wire::proxy_header::{Header, MAX_HEADER, Ssl, parse};

pub const STEP: Step = Step { name: "reading the PROXY header", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    let Some(policy) = &service.proxy_protocol else { return Ok(Progress::Done) };
    if !must_send(&pair.facts.client, policy) {
        return match policy.others {
            Others::Direct => Ok(Progress::Done),
            Others::Reject => Err(refused("the peer is not among proxy_protocol.from")),
        };
    }
    match early::read_until(pair, ctx, |bytes| parse(bytes, MAX_HEADER)) {
        Ok(Some((header, length))) => {
            if let Some(raw) = pair.client.stream.as_raw() {
                raw.consume(length);
            }
            if policy.confirm && header.tlvs.confirm {
                pair.facts.awaits = Awaits::Confirmation;
            }
            note(header, &mut pair.facts);
            Ok(Progress::Done)
        }
        Ok(None) => Ok(MORE),
        Err(Stop::Bad(why)) => Err(refused(why)),
        Err(Stop::Ended { begun: true }) => Err(refused("the peer closed in the middle of its PROXY header")),
        Err(Stop::Ended { begun: false }) => Err(refused("the peer closed without a word")),
        Err(Stop::Broken(reason)) => Err(reason),
    }
}

fn refused(why: &str) -> Reason {
    Reason::ProxyHeader(why.into())
}

/// Who may connect to a unix socket is the file's matter, and whoever may is trusted.
fn must_send(peer: &Address, policy: &AcceptProxy) -> bool {
    peer.ip().is_none_or(|ip| policy.from.contains(ip))
}

/// Makes facts of what the header says, as if we had learnt them ourselves.
fn note(header: Header, facts: &mut Facts) {
    facts.server_name.clone_from(&header.tlvs.authority);
    facts.alpn = header.tlvs.alpn.iter().cloned().collect();
    let ssl = header.tlvs.ssl.as_deref().filter(|ssl| ssl.used);
    facts.tls = ssl.map(|ssl| Box::new(tls_facts(ssl, header.tlvs.alpn.as_deref())));
    facts.header = Some(Box::new(header));
}

fn tls_facts(ssl: &Ssl, alpn: Option<&[u8]>) -> TlsFacts {
    let shown = ssl.certificate_now || ssl.certificate_in_session;
    let der = ssl.certificate.clone().filter(|_| shown);
    // A whole certificate that cannot be read says nothing, not even its name: it would be ours to vouch for.
    let certificate = match &der {
        Some(der) => PeerCertificate::from_der(der),
        None => shown
            .then(|| PeerCertificate { common_name: ssl.common_name.clone(), ..PeerCertificate::default() }),
    };
    TlsFacts {
        version: ssl.version.clone().unwrap_or_default(),
        cipher: ssl.cipher.clone().unwrap_or_default(),
        alpn: alpn.map(Box::from),
        // The sender's "not verified" without a certificate tells only that there is none.
        verify: if shown { ssl.verify } else { 0 },
        certificate,
        der,
        resumed: ssl.certificate_in_session && !ssl.certificate_now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::networks::Networks;
    use crate::stream::testing::unix_pair;
    use crate::wire::proxy_header::{Addresses, Tlvs};

    #[expect(clippy::disallowed_methods, reason = "nothing here looks at the time")]
    fn facts() -> Facts {
        let now = std::time::Instant::now();
        Pair::new(unix_pair().0, Address::Inet("192.0.2.9:1".parse().unwrap()), 1, now).facts
    }

    fn ssl() -> Ssl {
        Ssl {
            used: true,
            certificate_now: true,
            certificate_in_session: true,
            version: Some("TLSv1.3".into()),
            common_name: Some("client one".into()),
            ..Ssl::default()
        }
    }

    #[test]
    fn peers_are_told_apart_by_their_addresses() {
        let from = Networks::new(["10.0.0.0/8".parse().unwrap()]);
        let policy = AcceptProxy { from, others: Others::Reject, confirm: false };
        let inet = |text: &str| Address::Inet(text.parse().unwrap());
        assert!(must_send(&inet("10.1.2.3:4"), &policy) && must_send(&inet("[::ffff:10.1.2.3]:4"), &policy));
        assert!(!must_send(&inet("11.1.2.3:4"), &policy) && !must_send(&inet("[2001:db8::1]:4"), &policy));
        assert!(must_send(&Address::Unnamed, &policy) && must_send(&Address::Abstract(b"x".into()), &policy));
    }

    #[test]
    fn what_the_header_says_becomes_facts() {
        let mut facts = facts();
        let tlvs = Tlvs {
            authority: Some("a.test".into()),
            alpn: Some(Box::from(&b"h2"[..])),
            ssl: Some(Box::new(ssl())),
            ..Tlvs::default()
        };
        note(Header { tlvs, ..Header::default() }, &mut facts);
        assert_eq!(facts.server_name.as_deref(), Some("a.test"));
        assert_eq!(*facts.alpn, [Box::from(&b"h2"[..])]);
        let tls = facts.tls.unwrap();
        assert_eq!((&*tls.version, tls.alpn.as_deref(), tls.verify), ("TLSv1.3", Some(&b"h2"[..]), 0));
        assert_eq!(tls.certificate.unwrap().common_name.as_deref(), Some("client one"));
        assert!(!tls.resumed);
    }

    #[test]
    fn a_certificate_counts_only_where_the_client_showed_one() {
        let none = Ssl { certificate_now: false, certificate_in_session: false, verify: 1, ..ssl() };
        let facts = tls_facts(&none, None);
        assert_eq!((facts.certificate, facts.verify), (None, 0));
        let resumed = tls_facts(&Ssl { certificate_now: false, verify: 10, ..ssl() }, None);
        assert!(resumed.resumed && resumed.certificate.is_some() && resumed.verify == 10);
        let garbage = Some(Box::from(&b"garbage"[..]));
        let torn = tls_facts(&Ssl { certificate: garbage.clone(), ..ssl() }, None);
        assert_eq!((torn.certificate, torn.der), (None, garbage));
    }

    #[test]
    fn a_client_without_tls_leaves_no_tls_facts() {
        let mut facts = facts();
        let tlvs = Tlvs { ssl: Some(Box::new(Ssl { used: false, ..ssl() })), ..Tlvs::default() };
        note(Header { tlvs, addresses: Addresses::Unknown, local: false }, &mut facts);
        assert_eq!(facts.tls, None);
    }
}
