// SPDX-License-Identifier: MIT OR Apache-2.0
//! Legal resumption works in every worker; none crosses a service, a route, a name, a certificate or a verification
//! policy, nor a reload that changes one of them (promise G5). Rows 1, 2, 4, 5, 8, 9, 13 and 14 of the known failures of
//! the field; row 3, the age of sessions, needs a clock of its own and is tested under the code.

use crate::harness::{Backend, End, Files, Listening, Peer, Pki, Rig, Sides, TlsClient, Tunnel, full};
use crate::reload::reload_well;
use openssl::ssl::{SslContextBuilder, SslSession, SslVersion};

const VERSIONS: [SslVersion; 2] = [SslVersion::TLS1_2, SslVersion::TLS1_3];

fn only(version: SslVersion) -> impl FnOnce(&mut SslContextBuilder) {
    move |builder| {
        builder.set_min_proto_version(Some(version)).unwrap();
        builder.set_max_proto_version(Some(version)).unwrap();
    }
}

/// As [`only`], with a certificate.
fn certified(version: SslVersion, files: &Files) -> impl FnOnce(&mut SslContextBuilder) + '_ {
    move |builder| {
        only(version)(builder);
        builder.set_certificate_chain_file(&files.certificate).unwrap();
        builder.set_private_key_file(&files.key, openssl::ssl::SslFiletype::PEM).unwrap();
    }
}

/// Whether the echo service behind `peer` answers: the proof that it was let in.
fn is_served(peer: &mut Peer) -> bool {
    if peer.try_send(b"ping").is_err() {
        return false;
    }
    let mut buffer = [0; 4];
    peer.read(&mut buffer).is_ok_and(|count| &buffer[..count] == b"ping")
}

/// A session that `client` is given for `address`.
#[track_caller]
fn session(client: &TlsClient, tunnel: &Tunnel, service: &str) -> SslSession {
    let mut peer = client.connect(tunnel.address(service)).unwrap();
    assert!(is_served(&mut peer), "no session without being served");
    assert!(!peer.tls().ssl().session_reused());
    peer.half_close();
    peer.receive_all();
    client.session().expect("the service gives sessions")
}

#[test]
fn sessions_are_resumed_in_every_worker() {
    for version in VERSIONS {
        let rig = Rig::echo(Sides::Terminate, "");
        let first = TlsClient::version(&rig.pki, version);
        let session = session(&first, &rig.tunnel, "web");
        let again = TlsClient::version(&rig.pki, version).resuming(session);
        // All held open, so that both workers get some.
        let mut peers: Vec<_> = (0..full(200, 24)).map(|_| again.connect(rig.address()).unwrap()).collect();
        for (number, peer) in peers.iter_mut().enumerate() {
            assert!(peer.tls().ssl().session_reused(), "{version:?}, connection {number}");
            assert!(is_served(peer), "{version:?}");
        }
        for mut peer in peers.drain(..) {
            peer.half_close();
            assert_eq!(peer.receive_all().1, End::Clean);
        }
        let closed = rig.tunnel.wait_closed(2);
        let resumed =
            closed.iter().filter(|line| ["yes", "true", "1"].contains(&line.get("resumed"))).count();
        assert!(resumed >= 1, "{version:?}: no line says that a session was resumed: {closed:?}");
    }
}

/// A chain of resumptions: every ticket that comes out of a resumption is good for the next.
#[test]
fn a_resumed_session_gives_the_next_ticket() {
    let rig = Rig::echo(Sides::Terminate, "");
    let first = TlsClient::version(&rig.pki, SslVersion::TLS1_3);
    let mut session = session(&first, &rig.tunnel, "web");
    for _ in 0..5 {
        let client = TlsClient::version(&rig.pki, SslVersion::TLS1_3).resuming(session);
        let mut peer = client.connect(rig.address()).unwrap();
        assert!(peer.tls().ssl().session_reused());
        assert!(is_served(&mut peer));
        session = client.session().expect("a new ticket");
        // The library takes the session of a connection that ends without close_notify for bad.
        peer.half_close();
    }
}

/// Services in front of one echoing server: "open" asks for no certificate, "ours" and "theirs" each for one of their own
/// authority. All show the same server certificate.
struct House {
    pki: Pki,
    others: Pki,
    tunnel: Tunnel,
    _backend: Backend<u64>,
}

fn house() -> House {
    let (pki, others) = (Pki::new(), Pki::named("Other Authority"));
    let backend = Backend::echo(Listening::default());
    let service = |name: &str, client_ca: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\nconnect = \"{}\"\n\
             accept = {{ address = [\"127.0.0.1:0\"], tls = {{ {}{client_ca} }} }}\n\n",
            backend.address(),
            pki.server.toml()
        )
    };
    let asks = |ca: &Pki| format!(", client_ca = \"{}\", verify = \"required\"", ca.ca.display());
    let text =
        [service("open", ""), service("ours", &asks(&pki)), service("theirs", &asks(&others))].concat();
    let tunnel = Tunnel::start(&text);
    House { pki, others, tunnel, _backend: backend }
}

/// Whether a client that offers `session` gets in.
fn gets_in(client: &TlsClient, tunnel: &Tunnel, service: &str) -> bool {
    client.connect(tunnel.address(service)).is_ok_and(|mut peer| is_served(&mut peer))
}

#[test]
fn a_ticket_of_an_open_service_opens_no_other() {
    for version in VERSIONS {
        let house = house();
        let session = session(&TlsClient::version(&house.pki, version), &house.tunnel, "open");
        for closed in ["ours", "theirs"] {
            let intruder = TlsClient::version(&house.pki, version).resuming(session.clone());
            assert!(
                !gets_in(&intruder, &house.tunnel, closed),
                "{version:?}: into {closed} without a certificate"
            );
        }
        // The ticket itself is good: it was not refused for another reason.
        let again = TlsClient::version(&house.pki, version).resuming(session);
        let mut peer = again.connect(house.tunnel.address("open")).unwrap();
        assert!(peer.tls().ssl().session_reused(), "{version:?}");
    }
}

#[test]
fn a_ticket_of_one_authority_is_not_good_for_another() {
    for version in VERSIONS {
        let house = house();
        let guest = house.pki.issue("guest", &["guest"]);
        let stranger = house.others.issue("stranger", &["stranger"]);
        let known = TlsClient::with(&house.pki, certified(version, &guest));
        let ticket = session(&known, &house.tunnel, "ours");
        let bare = TlsClient::version(&house.pki, version).resuming(ticket.clone());
        assert!(!gets_in(&bare, &house.tunnel, "theirs"), "{version:?}: resumed without a certificate");
        let guest = TlsClient::with(&house.pki, certified(version, &guest)).resuming(ticket.clone());
        assert!(
            !gets_in(&guest, &house.tunnel, "theirs"),
            "{version:?}: resumed with the other's certificate"
        );
        // The other direction of the same test: both keys fit their own locks.
        let stranger = TlsClient::with(&house.pki, certified(version, &stranger));
        assert!(gets_in(&stranger, &house.tunnel, "theirs"), "{version:?}");
        let resumed = TlsClient::version(&house.pki, version).resuming(ticket);
        let mut peer = resumed.connect(house.tunnel.address("ours")).unwrap();
        assert!(peer.tls().ssl().session_reused(), "{version:?}: legal resumption with verification");
        assert!(is_served(&mut peer), "{version:?}");
    }
}

#[test]
fn a_client_without_a_certificate_never_gets_in() {
    for version in VERSIONS {
        let house = house();
        let stranger = house.others.issue("stranger", &["stranger"]);
        for _ in 0..3 {
            let bare = TlsClient::version(&house.pki, version);
            assert!(!gets_in(&bare, &house.tunnel, "ours"), "{version:?}");
            let wrong = TlsClient::with(&house.pki, certified(version, &stranger));
            assert!(!gets_in(&wrong, &house.tunnel, "ours"), "{version:?}");
        }
        assert_eq!(house._backend.accepted(), 0, "the server was bothered");
    }
}

/// Two names with certificates of their own on one listener: a ticket of one is not good for the other.
#[test]
fn a_ticket_of_one_name_is_not_good_for_another() {
    for version in VERSIONS {
        let pki = Pki::new();
        let backend = Backend::echo(Listening::default());
        let (a, b) = (pki.issue("a", &["a.test"]), pki.issue("b", &["b.test"]));
        let tunnel = Tunnel::start(&two_names(&a, &b, &backend));
        let ticket = session(&TlsClient::version(&pki, version).named("a.test"), &tunnel, "web");
        let other = TlsClient::version(&pki, version).named("b.test").resuming(ticket.clone());
        // Either a full handshake with the right certificate or none at all; never the old session.
        if let Ok(mut peer) = other.connect(tunnel.address("web")) {
            assert!(!peer.tls().ssl().session_reused(), "{version:?}");
            let shown = peer.tls().ssl().peer_certificate().unwrap();
            let names = shown.subject_alt_names().unwrap();
            assert_eq!(names[0].dnsname(), Some("b.test"), "{version:?}");
        }
        let same = TlsClient::version(&pki, version).named("a.test").resuming(ticket);
        assert!(same.connect(tunnel.address("web")).unwrap().tls().ssl().session_reused(), "{version:?}");
    }
}

fn two_names(a: &Files, b: &Files, backend: &Backend<u64>) -> String {
    format!(
        "[[service]]\nname = \"web\"\nconnect = \"{}\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ \
         certificate = [\"{}\", \"{}\"], key = [\"{}\", \"{}\"] }} }}\n",
        backend.address(),
        a.certificate.display(),
        b.certificate.display(),
        a.key.display(),
        b.key.display()
    )
}

/// A certificate for both names of [`two_routes`].
fn both(pki: &Pki) -> Files {
    pki.issue("both", &["open.test", "closed.test"])
}

/// A service of two names, which show the same certificate: "open.test" and, with the keys of `closed` in its TLS,
/// "closed.test". Whoever asks for no name is at "open.test".
fn two_routes(both: &Files, backend: &Backend<u64>, closed: &str) -> String {
    let server = backend.address();
    format!(
        "[[service]]\nname = \"web\"\nconnect = \"{server}\"\n\
         accept = {{ address = \"127.0.0.1:0\", tls = {{ {} }} }}\n\
         [[service.route]]\nsni = [\"open.test\"]\nfallback = [\"no-name\"]\n{}",
        both.toml(),
        closed_route(closed),
    )
}

fn closed_route(tls: &str) -> String {
    format!("[[service.route]]\nname = \"closed\"\nsni = [\"closed.test\"]\ntls = {{ {tls} }}\n")
}

fn asks_for(ca: &Pki) -> String {
    format!("client_ca = \"{}\"", ca.ca.display())
}

/// Rows 1 and 4: the client certificate of one name was skipped by whoever had a session of another.
#[test]
fn a_ticket_of_an_open_route_opens_no_other() {
    for version in VERSIONS {
        let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
        let tunnel = Tunnel::start(&two_routes(&both(&pki), &backend, &asks_for(&pki)));
        for name in ["open.test", ""] {
            let open = TlsClient::with(&pki, |builder| {
                only(version)(builder);
                // Without a name there is none to be verified.
                builder.set_verify(openssl::ssl::SslVerifyMode::NONE);
            });
            let ticket = session(&open.named(name), &tunnel, "web");
            let served = backend.accepted();
            for closed in ["closed.test", "CLOSED.test", "closed.test."] {
                let intruder = TlsClient::version(&pki, version).named(closed).resuming(ticket.clone());
                assert!(!gets_in(&intruder, &tunnel, "web"), "{version:?}: from {name:?} into {closed}");
            }
            assert_eq!(backend.accepted(), served, "{version:?}: the server was bothered");
        }
        // The ticket of an open name is good where it was given; and who shows a certificate is let in with a whole
        // handshake.
        let open = TlsClient::version(&pki, version).named("open.test");
        let ticket = session(&open, &tunnel, "web");
        let again = TlsClient::version(&pki, version).named("open.test").resuming(ticket.clone());
        assert!(again.connect(tunnel.address("web")).unwrap().tls().ssl().session_reused(), "{version:?}");
        let guest = pki.issue("guest", &["guest"]);
        let guest = TlsClient::with(&pki, certified(version, &guest)).named("closed.test").resuming(ticket);
        let mut peer = guest.connect(tunnel.address("web")).unwrap();
        assert!(is_served(&mut peer) && !peer.tls().ssl().session_reused(), "{version:?}");
    }
}

/// Row 14, the counterpart: with a certificate asked for, sessions resume as they do without, in every worker, and the
/// server is told the same certificate.
#[test]
fn a_ticket_of_a_closed_route_opens_it_again() {
    for version in VERSIONS {
        let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
        let tunnel = Tunnel::start(&two_routes(&both(&pki), &backend, &asks_for(&pki)));
        let guest = pki.issue("guest", &["guest"]);
        let guest = TlsClient::with(&pki, certified(version, &guest)).named("closed.test");
        let ticket = session(&guest, &tunnel, "web");
        let again = TlsClient::version(&pki, version).named("closed.test").resuming(ticket.clone());
        let count = full(200, 16);
        let mut peers: Vec<_> = (0..count).map(|_| again.connect(tunnel.address("web")).unwrap()).collect();
        for peer in &mut peers {
            assert!(is_served(peer) && peer.tls().ssl().session_reused(), "{version:?}");
        }
        drop(peers);
        for line in tunnel.wait_closed(count + 1) {
            assert_eq!((line.get("route"), line.get("client_cn")), ("closed", "guest"), "{}", line.text);
        }
        // It opens nothing else, be it open anyway: there a whole handshake is made.
        let elsewhere = TlsClient::version(&pki, version).named("open.test").resuming(ticket);
        let mut peer = elsewhere.connect(tunnel.address("web")).unwrap();
        assert!(is_served(&mut peer) && !peer.tls().ssl().session_reused(), "{version:?}");
    }
}

/// Row 5: whatever changes in how clients are verified ends the sessions from before, of the same name and certificate.
#[test]
fn a_ticket_does_not_outlive_a_change_of_its_policy() {
    for version in VERSIONS {
        let (pki, others) = (Pki::new(), Pki::named("Other Authority"));
        let backend = Backend::echo(Listening::default());
        let both = both(&pki);
        let text = |closed: &str| two_routes(&both, &backend, closed);
        let optional = format!("{}, verify = \"optional\"", asks_for(&pki));
        let guest = pki.issue("guest", &["guest"]);
        let verify = |before: &str, after: &str, with: Option<&Files>| {
            let tunnel = Tunnel::start(&text(before));
            let client = TlsClient::with(&pki, |builder| match with {
                Some(files) => certified(version, files)(builder),
                None => only(version)(builder),
            });
            let ticket = session(&client.named("closed.test"), &tunnel, "web");
            let bare = TlsClient::version(&pki, version).named("closed.test").resuming(ticket);
            let mut peer = bare.connect(tunnel.address("web")).unwrap();
            assert!(is_served(&mut peer) && peer.tls().ssl().session_reused(), "{version:?}: before");
            let served = backend.accepted();
            tunnel.rewrite(&text(after));
            reload_well(&tunnel);
            for _ in 0..full(20, 3) {
                assert!(!gets_in(&bare, &tunnel, "web"), "{version:?}: {before:?} became {after:?}");
            }
            assert_eq!(backend.accepted(), served, "{version:?}: the server was bothered");
            tunnel.rewrite(&text(before));
            reload_well(&tunnel);
            let mut peer = bare.connect(tunnel.address("web")).unwrap();
            assert!(is_served(&mut peer) && peer.tls().ssl().session_reused(), "{version:?}: as it was");
        };
        verify("", &asks_for(&pki), None);
        verify(&optional, &asks_for(&pki), None);
        verify(&asks_for(&pki), &asks_for(&others), Some(&guest));
        verify(&optional, &asks_for(&others), Some(&guest));
    }
}

/// Row 13: a route that is gone takes nobody, whatever ticket it gave.
#[test]
fn a_ticket_of_a_route_that_is_gone_is_told_so() {
    for version in VERSIONS {
        let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
        let text = two_routes(&both(&pki), &backend, "");
        let tunnel = Tunnel::start(&text);
        let ticket = session(&TlsClient::version(&pki, version).named("closed.test"), &tunnel, "web");
        let served = backend.accepted();
        tunnel.rewrite(text.strip_suffix(&closed_route("")).unwrap());
        reload_well(&tunnel);
        let late = TlsClient::version(&pki, version).named("closed.test").resuming(ticket);
        for _ in 0..full(20, 3) {
            let failure = late.connect(tunnel.address("web")).unwrap_err();
            assert!(failure.message.contains("unrecognized name"), "{version:?}: {}", failure.message);
        }
        assert_eq!(backend.accepted(), served, "{version:?}");
    }
}

/// Rows 8 and 9: who was refused once, by its certificate or by a rule, is refused again, whichever session it brings.
#[test]
fn who_is_refused_stays_refused() {
    const RULE: &str = "[[service.rule]]\nname = \"no-guests\"\nsni = [\"closed.test\"]\n\
                        client_certificate = { cn = [\"guest\"] }\naction = \"reject\"\n";
    for version in VERSIONS {
        let (pki, others) = (Pki::new(), Pki::named("Other Authority"));
        let backend = Backend::echo(Listening::default());
        let tunnel =
            Tunnel::start(&[two_routes(&both(&pki), &backend, &asks_for(&pki)), RULE.to_owned()].concat());
        let (guest, stranger) = (pki.issue("guest", &["guest"]), others.issue("stranger", &["stranger"]));
        for files in [Some(&guest), Some(&stranger), None] {
            let mut brings = None;
            for round in 0..full(100, 10) {
                let client = TlsClient::with(&pki, |builder| match files {
                    Some(files) => certified(version, files)(builder),
                    None => only(version)(builder),
                });
                let mut client = client.named("closed.test");
                if let Some(session) = brings.clone() {
                    client = client.resuming(session);
                }
                assert!(!gets_in(&client, &tunnel, "web"), "{version:?}, {files:?}, round {round}");
                // Not every resumption gives a new ticket.
                brings = client.session().or(brings);
            }
        }
        assert_eq!(backend.accepted(), 0, "{version:?}: the server was bothered");
        // Whom the rule refuses has shaken hands, so it came with sessions indeed.
        let lines = tunnel.wait_closed(full(100, 10) * 3);
        let by_rule = lines.iter().filter(|line| line.get("reason") == "rejected");
        let resumed = by_rule.filter(|line| line.get("resumed") == "yes").count();
        assert!(resumed >= 9, "{version:?}: {resumed} resumed");
    }
}
