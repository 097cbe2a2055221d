// SPDX-License-Identifier: MIT OR Apache-2.0
//! Real handshakes between [`ServerTls`] and [`ClientTls`] over a socket pair, in one thread: names, certificates,
//! protocols, verification, resumption. Rows 1–7, 10, 14 and 22 of the known failures of the field are among them.

use super::testpki::{Authority, Files, Issued, Leaf};
use super::tls_client::ClientTls;
use super::tls_server::{ProcessSecret, ServerTls};
use super::tls_spec::{
    CertificateFiles, ClientTlsSpec, ClientVerify, CommonTlsSpec, Problem, ServerTlsSpec, TlsVersion,
};
use crate::sys::openssl::KeptSession;
#[cfg(not(feature = "aws-lc"))]
use crate::sys::openssl::TicketAge;
use crate::wire::{Parsed, client_hello};
use openssl::ssl::{Error, ErrorCode, ShutdownState, Ssl, SslStream};
use std::os::unix::net::UnixStream;
#[cfg(not(feature = "aws-lc"))]
use std::sync::atomic::{AtomicU64, Ordering};

const SECRET: ProcessSecret = ProcessSecret::of(7);

/// A CA, its files, and what servers and clients are made from.
struct World {
    files: Files,
    ca: Authority,
}

impl World {
    fn new() -> Self {
        Self { files: Files::new(), ca: Authority::new("Test Root") }
    }

    fn certificate(&self, file: &str, leaf: &Leaf<'_>) -> CertificateFiles {
        self.files.identity(file, &self.ca.issue(leaf))
    }

    fn ca_file(&self) -> std::path::PathBuf {
        self.files.write("ca.pem", &self.ca.certificate_pem())
    }

    /// A server with one ECDSA certificate for `a.test`.
    fn server_spec(&self) -> ServerTlsSpec {
        ServerTlsSpec {
            certificates: vec![self.certificate("a", &Leaf::ec(&["a.test"]))],
            ..ServerTlsSpec::default()
        }
    }

    /// A client that trusts the CA.
    fn client_spec(&self) -> ClientTlsSpec {
        ClientTlsSpec { ca: Some(self.ca_file()), verify: true, ..ClientTlsSpec::default() }
    }

    fn client(&self) -> ClientTls {
        client(&self.client_spec())
    }

    /// A client that shows a certificate of this CA.
    fn known_client(&self) -> ClientTls {
        let certificate = Some(self.certificate("client", &Leaf::ec(&["someone"])));
        client(&ClientTlsSpec { certificate, ..self.client_spec() })
    }
}

fn server(spec: &ServerTlsSpec) -> ServerTls {
    ServerTls::load(spec, "web/main", &SECRET, 2).unwrap()
}

fn client(spec: &ClientTlsSpec) -> ClientTls {
    ClientTls::load(spec, 2).unwrap()
}

/// What came of a handshake and one byte in each direction after it.
#[derive(Debug)]
struct Outcome {
    /// Both sides agreed and the bytes arrived.
    good: bool,
    resumed: bool,
    /// What either side has to say against it.
    complaint: String,
    /// The first name of the certificate the server showed.
    shown: Option<String>,
    rsa: bool,
    chain: usize,
    alpn: Option<String>,
    session: Option<KeptSession>,
}

/// How long either side may go on before a handshake counts as stuck.
const TURNS: usize = 50;

fn pending(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

/// Repeats `step` of both sides until both are done or one has failed.
fn alternate(mut steps: [&mut dyn FnMut() -> Result<(), Error>; 2]) -> Result<(), String> {
    let mut done = [false; 2];
    for _ in 0..TURNS {
        for (step, done) in steps.iter_mut().zip(&mut done) {
            match step() {
                _ if *done => {}
                Ok(()) => *done = true,
                Err(error) if pending(&error) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        if done == [true; 2] {
            return Ok(());
        }
    }
    Err("stuck".to_owned())
}

fn run(server: Ssl, client: Ssl) -> Outcome {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    let mut server = SslStream::new(server, a).unwrap();
    let mut client = SslStream::new(client, b).unwrap();
    let mut result = alternate([&mut || client.do_handshake(), &mut || server.do_handshake()]);
    if result.is_ok() {
        let mut byte = [0];
        // The client reads last: what the server refuses after a TLS 1.3 handshake, it learns only here.
        client.ssl_write(b"x").unwrap();
        result = alternate([&mut || server.ssl_read(&mut byte).map(drop), &mut || Ok(())]);
        if result.is_ok() {
            server.ssl_write(b"y").unwrap();
        }
        if result.is_ok() {
            result = alternate([&mut || client.ssl_read(&mut byte).map(drop), &mut || Ok(())]);
        }
    }
    let session = KeptSession::of(client.ssl());
    client.set_shutdown(ShutdownState::SENT); // else dropping it would spoil the session
    let leaf = client.ssl().peer_certificate();
    let first = |leaf: &openssl::x509::X509| leaf.subject_alt_names()?.get(0)?.dnsname().map(str::to_owned);
    Outcome {
        good: result.is_ok(),
        resumed: client.ssl().session_reused() && server.ssl().session_reused(),
        complaint: result.err().unwrap_or_default(),
        rsa: leaf.as_ref().is_some_and(|leaf| leaf.public_key().unwrap().rsa().is_ok()),
        shown: leaf.as_ref().and_then(first),
        chain: client.ssl().peer_cert_chain().map_or(0, |chain| chain.len()),
        alpn: client.ssl().selected_alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        session,
    }
}

/// As a client that asks for `name` on worker 0 of the server.
fn meet(server: &ServerTls, client: &ClientTls, name: &str) -> Outcome {
    run(server.session(Some(name), "default", 0).unwrap(), client.session(0, Some(name)).unwrap())
}

/// Offers the session of `before` to worker `worker` of `server`.
fn again(server: &ServerTls, worker: usize, client: &ClientTls, name: &str, before: &Outcome) -> Outcome {
    let mut ssl = client.session(0, Some(name)).unwrap();
    let session = before.session.as_ref().expect("a session to offer");
    assert!(session.offer(&mut ssl).unwrap());
    run(server.session(Some(name), "default", worker).unwrap(), ssl)
}

fn only(version: TlsVersion) -> CommonTlsSpec {
    CommonTlsSpec { min_version: Some(version), max_version: Some(version), ..CommonTlsSpec::default() }
}

const VERSIONS: [TlsVersion; 2] = [TlsVersion::Tls12, TlsVersion::Tls13];

#[test]
fn names_choose_the_certificate_and_the_first_is_the_default() {
    let world = World::new();
    let spec = ServerTlsSpec {
        certificates: vec![
            world.certificate("a", &Leaf::ec(&["a.test"])),
            world.certificate("b", &Leaf::ec(&["b.test", "c.test"])),
            world.certificate("w", &Leaf::ec(&["*.w.test"])),
        ],
        ..ServerTlsSpec::default()
    };
    let server = server(&spec);
    let anyone = client(&ClientTlsSpec::default());
    for (name, shown) in [
        ("a.test", "a.test"),
        ("b.test", "b.test"),
        ("c.test", "b.test"),
        ("x.w.test", "*.w.test"),
        ("x.y.w.test", "a.test"),
        ("w.test", "a.test"),
        ("unknown.test", "a.test"),
    ] {
        assert_eq!(meet(&server, &anyone, name).shown.as_deref(), Some(shown), "{name}");
    }
    let nameless = run(server.session(None, "default", 1).unwrap(), anyone.session(0, None).unwrap());
    assert_eq!(nameless.shown.as_deref(), Some("a.test"));
    assert!(server.knows("x.w.test") && !server.knows("unknown.test"));
    assert_eq!(server.certificates()[1].names.len(), 2);
}

#[test]
fn rsa_and_ecdsa_for_one_name_are_offered_together_each_with_its_chain() {
    let world = World::new();
    let rsa = world.ca.issue(&Leaf::rsa(&["a.test"]));
    let rsa = CertificateFiles {
        certificate: world
            .files
            .write("r.pem", &[rsa.certificate_pem(), world.ca.certificate_pem()].concat()),
        key: world.files.write("r.key", &rsa.key_pem()),
    };
    let spec = ServerTlsSpec {
        certificates: vec![rsa, world.certificate("e", &Leaf::ec(&["a.test"]))],
        common: only(TlsVersion::Tls12),
        ..ServerTlsSpec::default()
    };
    let server = server(&spec);
    for (ciphers, rsa, chain) in
        [("ECDHE-RSA-AES128-GCM-SHA256", true, 2), ("ECDHE-ECDSA-AES128-GCM-SHA256", false, 1)]
    {
        let common = CommonTlsSpec { ciphers: Some(ciphers.into()), ..CommonTlsSpec::default() };
        let got = meet(&server, &client(&ClientTlsSpec { common, ..world.client_spec() }), "a.test");
        assert!(got.good, "{got:?}");
        assert_eq!((got.rsa, got.chain), (rsa, chain), "{ciphers}");
    }
}

#[test]
fn the_servers_order_of_protocols_counts_and_none_in_common_is_fatal() {
    let world = World::new();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let with = |alpn: &[&str]| CommonTlsSpec { alpn: names(alpn), ..CommonTlsSpec::default() };
    let server = server(&ServerTlsSpec { common: with(&["h2", "http/1.1"]), ..world.server_spec() });
    let offer = |alpn: &[&str]| {
        meet(&server, &client(&ClientTlsSpec { common: with(alpn), ..world.client_spec() }), "a.test")
    };
    assert_eq!(offer(&["http/1.1", "h2"]).alpn.as_deref(), Some("h2"));
    assert_eq!(offer(&["http/1.1", "x"]).alpn.as_deref(), Some("http/1.1"));
    let none = offer(&[]);
    assert!(none.good && none.alpn.is_none(), "{none:?}");
    let foreign = offer(&["x", "h"]);
    let complaint = foreign.complaint.to_lowercase().replace('_', " ");
    assert!(!foreign.good && complaint.contains("no application protocol"), "{foreign:?}");
}

#[test]
fn client_certificates_are_asked_for_as_configured() {
    let world = World::new();
    let stranger = {
        let other = Authority::new("Other Root");
        let certificate = Some(world.files.identity("stranger", &other.issue(&Leaf::ec(&["someone"]))));
        client(&ClientTlsSpec { certificate, ..world.client_spec() })
    };
    let (nobody, known) = (world.client(), world.known_client());
    for version in VERSIONS {
        for (verify, expected) in [
            (ClientVerify::None, [true, true, true]),
            (ClientVerify::Optional, [true, true, false]),
            (ClientVerify::Required, [false, true, false]),
        ] {
            let client_ca = (verify != ClientVerify::None).then(|| world.ca_file());
            let server =
                server(&ServerTlsSpec { client_ca, verify, common: only(version), ..world.server_spec() });
            let got = [&nobody, &known, &stranger].map(|client| meet(&server, client, "a.test").good);
            assert_eq!(got, expected, "{version:?} {verify:?}");
        }
    }
}

#[test]
fn a_bad_ca_file_is_refused_and_never_replaced_by_the_systems() {
    let world = World::new();
    let whole = world.ca.certificate_pem();
    let cases = [
        ("missing", None, "does not exist"),
        ("empty", Some(&b""[..]), "is empty"),
        ("cut", Some(&whole[..whole.len() / 2]), "cut off"),
        ("text", Some(&b"hello\n"[..]), "no certificate"),
    ];
    for (name, bytes, words) in cases {
        let path = world.files.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let spec = ServerTlsSpec {
            client_ca: Some(path.clone()),
            verify: ClientVerify::Required,
            ..world.server_spec()
        };
        let problems = ServerTls::load(&spec, "s/r", &SECRET, 1).unwrap_err();
        assert!(
            matches!(&problems[..], [Problem { key: "client_ca", message, .. }] if message.contains(words))
        );
        let problems =
            ClientTls::load(&ClientTlsSpec { ca: Some(path), ..world.client_spec() }, 1).unwrap_err();
        assert!(matches!(&problems[..], [Problem { key: "ca", message, .. }] if message.contains(words)));
    }
    let spec = ServerTlsSpec { verify: ClientVerify::Optional, ..world.server_spec() };
    assert_eq!(ServerTls::load(&spec, "s/r", &SECRET, 1).unwrap_err()[0].key, "verify");
}

#[test]
fn sessions_resume_on_every_worker_and_after_a_reload_of_the_same_material() {
    let world = World::new();
    let (nobody, known) = (world.client(), world.known_client());
    for version in VERSIONS {
        for (client_ca, verify, client) in
            [(None, ClientVerify::None, &nobody), (Some(world.ca_file()), ClientVerify::Required, &known)]
        {
            let spec = ServerTlsSpec { client_ca, verify, common: only(version), ..world.server_spec() };
            let first = server(&spec);
            let full = meet(&first, client, "a.test");
            assert!(full.good && !full.resumed, "{full:?}");
            let other_worker = again(&first, 1, client, "a.test", &full);
            assert!(other_worker.good && other_worker.resumed, "{version:?} {verify:?} {other_worker:?}");
            let reloaded = again(&server(&spec), 0, client, "a.test", &full);
            assert!(reloaded.good && reloaded.resumed, "{version:?} {verify:?} {reloaded:?}");
        }
    }
}

#[test]
fn sessions_resume_under_no_other_policy() {
    let world = World::new();
    let known = world.known_client();
    let second_ca = {
        let both = [world.ca.certificate_pem(), Authority::new("Other Root").certificate_pem()].concat();
        world.files.write("both.pem", &both)
    };
    for version in VERSIONS {
        let open = ServerTlsSpec { common: only(version), ..world.server_spec() };
        let optional = ServerTlsSpec {
            client_ca: Some(world.ca_file()),
            verify: ClientVerify::Optional,
            ..open.clone()
        };
        let required = ServerTlsSpec { verify: ClientVerify::Required, ..optional.clone() };
        let more_trust = ServerTlsSpec { client_ca: Some(second_ca.clone()), ..required.clone() };
        let other_leaf = ServerTlsSpec {
            certificates: vec![world.certificate("a2", &Leaf::ec(&["a.test"]))],
            ..open.clone()
        };
        let load =
            |spec: &ServerTlsSpec, identity: &str| ServerTls::load(spec, identity, &SECRET, 1).unwrap();
        let policies = [
            load(&open, "web/main"),
            load(&open, "web/other"),
            load(&optional, "web/main"),
            load(&required, "web/main"),
            load(&more_trust, "web/main"),
            load(&other_leaf, "web/main"),
            ServerTls::load(&open, "web/main", &ProcessSecret::of(8), 1).unwrap(),
        ];
        for (i, agreed) in policies.iter().enumerate() {
            let full = meet(agreed, &known, "a.test");
            assert!(full.good, "{full:?}");
            for (j, tried) in policies.iter().enumerate() {
                let got = again(tried, 0, &known, "a.test", &full);
                assert!(got.good, "a full handshake, not an error: {got:?}");
                assert_eq!(got.resumed, i == j, "{version:?} from {i} to {j}");
            }
        }
    }
}

#[test]
fn a_ticket_from_an_open_name_does_not_open_a_protected_one() {
    let world = World::new();
    let nobody = world.client();
    for version in VERSIONS {
        let spec = ServerTlsSpec {
            certificates: vec![world.certificate("w", &Leaf::ec(&["*.w.test"]))],
            common: only(version),
            ..ServerTlsSpec::default()
        };
        let protected = ServerTlsSpec {
            client_ca: Some(world.ca_file()),
            verify: ClientVerify::Required,
            ..spec.clone()
        };
        let full = meet(&server(&spec), &nobody, "open.w.test");
        assert!(full.good);
        let got = again(&server(&protected), 0, &nobody, "secret.w.test", &full);
        assert!(!got.good && !got.resumed, "{got:?}");
    }
}

#[test]
#[cfg(not(feature = "aws-lc"))]
fn a_session_ends_its_lifetime_after_the_first_handshake_however_often_renewed() {
    static NOW: AtomicU64 = AtomicU64::new(0);
    let world = World::new();
    let client = world.client();
    for version in VERSIONS {
        NOW.store(1_000_000, Ordering::Relaxed);
        let age = TicketAge { limit: 7200, now: || NOW.load(Ordering::Relaxed) };
        let spec = ServerTlsSpec { common: only(version), ..world.server_spec() };
        let server = ServerTls::load_with_age(&spec, "web/main", &SECRET, 1, age).unwrap();
        let mut last = meet(&server, &client, "a.test");
        for passed in [3600, 7200] {
            NOW.store(1_000_000 + passed, Ordering::Relaxed);
            let renewed = again(&server, 0, &client, "a.test", &last);
            assert!(renewed.good && renewed.resumed, "{version:?} after {passed}: {renewed:?}");
            last = renewed;
        }
        NOW.store(1_000_000 + 7201, Ordering::Relaxed);
        let full = again(&server, 0, &client, "a.test", &last);
        assert!(full.good && !full.resumed, "{version:?}: {full:?}");
        let fresh = again(&server, 0, &client, "a.test", &full);
        assert!(fresh.good && fresh.resumed, "the full handshake brought a new ticket");
        NOW.store(1_000_000, Ordering::Relaxed);
        let future = again(&server, 0, &client, "a.test", &fresh);
        assert!(future.good && !future.resumed, "a stamp from the future is not trusted");
    }
}

#[test]
#[cfg(not(feature = "aws-lc"))]
fn a_panic_in_a_callback_costs_one_connection_and_not_the_process() {
    let world = World::new();
    let age = TicketAge { limit: 1, now: || panic!("no time") };
    let server = ServerTls::load_with_age(&world.server_spec(), "web/main", &SECRET, 1, age).unwrap();
    assert!(!meet(&server, &world.client(), "a.test").good);
}

#[test]
fn clients_verify_chain_and_name() {
    let world = World::new();
    let other = Authority::new("Other Root");
    let issued: [(&str, Issued, &str, bool); 9] = [
        ("right", world.ca.issue(&Leaf::ec(&["a.test"])), "a.test", true),
        ("case and dot", world.ca.issue(&Leaf::ec(&["a.test"])), "A.Test.", true),
        ("wildcard", world.ca.issue(&Leaf::ec(&["*.w.test"])), "a.w.test", true),
        ("partial wildcard", world.ca.issue(&Leaf::ec(&["a*.w.test"])), "ab.w.test", false),
        ("wrong name", world.ca.issue(&Leaf::ec(&["b.test"])), "a.test", false),
        ("unknown CA", other.issue(&Leaf::ec(&["a.test"])), "a.test", false),
        (
            "in an email only",
            world.ca.issue(&Leaf { emails: &["x@a.test"], ..Leaf::ec(&[]) }),
            "a.test",
            false,
        ),
        ("address", world.ca.issue(&Leaf { ips: &["::1"], ..Leaf::ec(&[]) }), "[::1]", true),
        ("other address", world.ca.issue(&Leaf { ips: &["127.0.0.1"], ..Leaf::ec(&[]) }), "127.0.0.2", false),
    ];
    let client = world.client();
    for (what, issued, name, expected) in issued {
        let certificates = vec![world.files.identity("v", &issued)];
        let server = server(&ServerTlsSpec { certificates, ..ServerTlsSpec::default() });
        let got = meet(&server, &client, name);
        assert_eq!(got.good, expected, "{what}: {got:?}");
    }
}

#[test]
#[cfg(not(feature = "aws-lc"))]
fn the_common_name_of_a_server_is_not_a_name() {
    let world = World::new();
    let issued = world.ca.issue(&Leaf { common_name: "a.test", ..Leaf::ec(&[]) });
    let certificates = vec![world.files.identity("cn", &issued)];
    let server = server(&ServerTlsSpec { certificates, ..ServerTlsSpec::default() });
    assert!(!meet(&server, &world.client(), "a.test").good);
}

#[test]
fn without_verification_anything_goes_and_without_a_name_nothing_does() {
    let world = World::new();
    let server = server(&world.server_spec());
    let blind = client(&ClientTlsSpec::default());
    assert!(meet(&server, &blind, "other.test").good);
    let nameless = |client: &ClientTls| {
        run(server.session(None, "default", 0).unwrap(), client.session(0, None).unwrap()).good
    };
    assert!(nameless(&blind));
    assert!(!nameless(&world.client()), "a verifying client needs a name");
}

#[test]
fn addresses_are_not_sent_as_names() {
    let client = client(&ClientTlsSpec::default());
    for name in ["127.0.0.1", "::1", "[::1]"] {
        let ssl = client.session(0, Some(name)).unwrap();
        assert_eq!(ssl.servername_raw(openssl::ssl::NameType::HOST_NAME), None, "{name}");
    }
    let ssl = client.session(0, Some("a.test.")).unwrap();
    assert_eq!(ssl.servername_raw(openssl::ssl::NameType::HOST_NAME), Some(&b"a.test"[..]));
}

#[test]
fn a_clients_session_stays_with_its_policy_and_worker() {
    let world = World::new();
    let (one, two) = (world.client(), world.client());
    assert_ne!(one.id(), two.id());
    let full = meet(&server(&world.server_spec()), &one, "a.test");
    let session = full.session.unwrap();
    assert!(session.offer(&mut one.session(0, Some("a.test")).unwrap()).unwrap());
    assert!(!session.offer(&mut one.session(1, Some("a.test")).unwrap()).unwrap());
    assert!(!session.offer(&mut two.session(0, Some("a.test")).unwrap()).unwrap());
}

#[test]
fn old_versions_are_refused() {
    let world = World::new();
    let server = server(&world.server_spec());
    let mut old = openssl::ssl::SslContext::builder(openssl::ssl::SslMethod::tls_client()).unwrap();
    old.set_min_proto_version(None).unwrap();
    old.set_max_proto_version(Some(openssl::ssl::SslVersion::TLS1_1)).unwrap();
    #[cfg(not(feature = "aws-lc"))]
    old.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    let mut ssl = Ssl::new(&old.build()).unwrap();
    ssl.set_connect_state();
    let got = run(server.session(None, "default", 0).unwrap(), ssl);
    assert!(!got.good && got.complaint.to_lowercase().contains("protocol"), "{got:?}");
}

/// A stream that takes everything and has nothing to read.
struct Sink(Vec<u8>);

impl std::io::Read for Sink {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::WouldBlock.into())
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn our_reader_sees_in_a_hello_what_the_library_put_there() {
    let longest = format!("{}.test", "a".repeat(250));
    for (name, alpn, max_version) in [
        (Some("A.Test"), vec!["h2".to_owned(), "x".to_owned()], None),
        (Some(longest.as_str()), vec![], None),
        (None, vec!["h2".to_owned()], Some(TlsVersion::Tls12)),
    ] {
        let common = CommonTlsSpec { alpn: alpn.clone(), max_version, ..CommonTlsSpec::default() };
        let ssl = client(&ClientTlsSpec { common, ..ClientTlsSpec::default() }).session(0, name).unwrap();
        let mut stream = SslStream::new(ssl, Sink(Vec::new())).unwrap();
        assert!(pending(&stream.do_handshake().unwrap_err()));
        let flight = &stream.get_ref().0;
        for length in 0..flight.len() {
            assert_eq!(client_hello::parse(&flight[..length]), Parsed::More, "cut at {length}");
        }
        let Parsed::Done(hello, 0) = client_hello::parse(flight) else { panic!("{flight:?}") };
        assert_eq!(hello.server_name.as_deref(), name.map(str::to_ascii_lowercase).as_deref());
        assert_eq!(hello.alpn, alpn.iter().map(|name| name.as_bytes().into()).collect::<Vec<Box<[u8]>>>());
        assert_eq!(hello.offers_tls13, max_version.is_none());
    }
}
