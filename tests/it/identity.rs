// SPDX-License-Identifier: MIT OR Apache-2.0
//! Who a client is and where that leads: names in every spelling and framing, inherited policies, lists of protocols.
//! Rows 16 to 22 and 29 to 31 of the known failures of the field, promise G6.
//!
//! Not here: sessions (`resume`), what a server is told of a client (`told`), what of it is logged (`injection`).

use crate::harness::{
    Backend, Files, Line, Listening, Options, Peer, Pki, TlsClient, Tunnel, full, hello, show,
};
use crate::program::echo;
use crate::proxy_protocol::{parse, recorder, service};
use crate::told::TELLS;
use openssl::ssl::{SslContextBuilder, SslVerifyMode, SslVersion};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A client that asks for `name` and takes whichever certificate it is shown.
pub(crate) fn asking(pki: &Pki, name: &str, more: impl FnOnce(&mut SslContextBuilder)) -> TlsClient {
    let client = TlsClient::with(pki, |builder| {
        more(builder);
        builder.set_verify(SslVerifyMode::NONE);
    });
    client.named(name)
}

/// Whether it is answered by an echo.
fn gets_in(client: &TlsClient, to: SocketAddr) -> bool {
    let Ok(mut peer) = client.connect(to) else { return false };
    peer.try_send(b"ping").is_ok() && peer.read(&mut [0; 4]).is_ok()
}

/// A service that accepts with these keys of `tls`, to `server`, with routes.
fn routed(tls: &str, server: SocketAddr, routes: &str) -> String {
    service(&format!(", tls = {{ {tls} }}"), "", server, routes)
}

pub(crate) fn ca(pki: &Pki) -> String {
    format!("client_ca = \"{}\"", pki.ca.display())
}

/// Row 16: what `accept.tls` asks of clients is asked by every route, and by which table it is said makes no difference.
#[test]
fn a_route_inherits_what_is_asked_of_clients() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let own = pki.issue("own", &["own.test"]);
    let asked = format!("{}, verify = \"required\", min_version = \"1.3\"", ca(&pki));
    let route = |name: &str, tls: &str| format!("[[service.route]]\nsni = [\"{name}.test\"]\n{tls}\n");
    let tls = |keys: &str| format!("tls = {{ {keys} }}");
    let (server, own_pair) = (pki.server.toml(), own.toml());
    let globally = [
        route("bare", ""),
        route("own", &tls(&own_pair)),
        route("alpn", &tls("alpn = [\"h2\"]")),
        route("both", &tls(&asked)),
    ];
    let by_route = ["bare", "own", "alpn", "both"].map(|name| route(name, &tls(&asked)));
    let guest = pki.issue("guest", &["guest"]);
    for (place, text) in [
        ("accept", routed(&format!("{server}, {asked}"), backend.address(), &globally.concat())),
        ("route", routed(&server, backend.address(), &by_route.concat())),
        ("both", routed(&format!("{server}, {asked}"), backend.address(), &by_route.concat())),
    ] {
        let tunnel = Tunnel::start(&text);
        for name in ["bare.test", "own.test", "alpn.test", "both.test"] {
            let (to, before) = (tunnel.address("web"), backend.accepted());
            let none = asking(&pki, name, |_| ());
            assert!(!gets_in(&none, to), "{place}, {name}: without a certificate");
            let old = asking(&pki, name, |builder| {
                show(builder, &guest);
                builder.set_max_proto_version(Some(SslVersion::TLS1_2)).unwrap();
            });
            assert!(!gets_in(&old, to), "{place}, {name}: with TLS 1.2");
            assert_eq!(backend.accepted(), before, "{place}, {name}: the server was bothered");
            let good = asking(&pki, name, |builder| show(builder, &guest));
            assert!(gets_in(&good, to), "{place}, {name}");
        }
    }
}

/// Row 22: a name is the same name however it is spelt, for a route that has it and for one that has it by a wildcard.
#[test]
fn spelling_changes_neither_route_nor_policy() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let routes = format!(
        "[[service.route]]\nname = \"exact\"\nsni = [\"Site.Test\"]\ntls = {{ {0} }}\n\
         [[service.route]]\nname = \"wild\"\nsni = [\"*.wild.test\"]\ntls = {{ {0} }}\n\
         [[service.route]]\nname = \"regex\"\nsni_regex = ['a[0-9]\\.regex\\.test']\ntls = {{ {0} }}\n\
         [[service.route]]\nname = \"rest\"\nfallback = [\"no-name\", \"unknown-name\"]\n",
        ca(&pki)
    );
    let tunnel = Tunnel::start(&routed(&pki.server.toml(), backend.address(), &routes));
    let guest = pki.issue("guest", &["guest"]);
    let to = tunnel.address("web");
    for (route, name) in [("exact", "site.test"), ("wild", "a.b.wild.test"), ("regex", "a1.regex.test")] {
        let mixed: String = (name.chars().enumerate())
            .map(|(place, letter)| if place % 2 == 0 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        let upper = name.to_ascii_uppercase();
        for spelt in [name.to_owned(), format!("{name}."), upper.clone(), format!("{upper}."), mixed] {
            let before = backend.accepted();
            assert!(!gets_in(&asking(&pki, &spelt, |_| ()), to), "{spelt}: without a certificate");
            assert_eq!(backend.accepted(), before, "{spelt}: the server was bothered");
            assert!(gets_in(&asking(&pki, &spelt, |builder| show(builder, &guest)), to), "{spelt}");
            let served = |line: &&Line| line.number("in") > 0;
            let lines = tunnel.wait_closed(2 * (before + 1));
            let line = lines.iter().rfind(served).unwrap();
            assert_eq!((line.get("route"), line.get("sni")), (route, name), "{spelt}: {}", line.text);
        }
    }
    // What is not quite the name belongs to the others.
    for other in ["site.test..", "xsite.test", "wild.test", "xwild.test", "aa1.regex.test", "a1.regex.test.x"]
    {
        assert!(gets_in(&asking(&pki, other, |_| ()), to), "{other}");
        tunnel
            .wait_log(other, |line| line.get("route") == "rest" && line.get("sni").starts_with(&other[..8]));
    }
}

/// The first record of what is written goes in records of `size` bytes, of which `together` go in one segment.
#[derive(Debug)]
struct Reframing {
    socket: TcpStream,
    size: usize,
    together: usize,
    done: bool,
}

impl Read for Reframing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Reframing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.done {
            return self.socket.write(bytes);
        }
        self.done = true;
        let mut records = Vec::new();
        let mut rest = bytes;
        while let Some((header, more)) = rest.split_at_checked(5) {
            let (payload, next) = more.split_at(usize::from(u16::from_be_bytes([header[3], header[4]])));
            for part in payload.chunks(self.size) {
                let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                records.push([&header[..3], &length, part].concat());
            }
            rest = next;
        }
        for segment in records.concat().chunks(self.together) {
            self.socket.write_all(segment)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A service with the route "closed", which wants a certificate, and "open" for everybody who asks for another name.
struct Gates {
    pki: Pki,
    backend: Backend<u64>,
    tunnel: Tunnel,
    guest: Files,
}

impl Gates {
    fn new() -> Self {
        let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
        let routes = format!(
            "[[service.route]]\nname = \"closed\"\nsni = [\"closed.test\"]\ntls = {{ {} }}\n\
             [[service.route]]\nname = \"open\"\nfallback = [\"no-name\", \"unknown-name\"]\n",
            ca(&pki)
        );
        let tunnel = Tunnel::start(&routed(&pki.server.toml(), backend.address(), &routes));
        let guest = pki.issue("guest", &["guest"]);
        Self { pki, backend, tunnel, guest }
    }

    /// Whether a client is served whose hello is so large, cut like that, with a certificate or none.
    fn serves(&self, kilobytes: usize, size: usize, together: usize, certified: bool) -> bool {
        let protocols = [&[255][..], &[b'x'; 255]].concat().repeat(4 * kilobytes);
        let client = asking(&self.pki, "closed.test", |builder| {
            if kilobytes > 0 {
                builder.set_alpn_protos(&protocols).unwrap();
            }
            if certified {
                show(builder, &self.guest);
            }
        });
        let socket = TcpStream::connect(self.tunnel.address("web")).unwrap();
        socket.set_nodelay(true).unwrap();
        let stream = client.ssl().connect(Reframing { socket, size, together, done: false });
        stream.is_ok_and(|mut stream| {
            stream.write_all(b"ping").is_ok() && stream.read(&mut [0; 4]).is_ok_and(|count| count == 4)
        })
    }
}

/// Rows 19, 20 and 21: a hello cut into records and segments in whichever way, and however large, has the route and the
/// policy that it has whole; never those of clients who ask for nothing.
#[test]
fn framing_changes_neither_route_nor_policy() {
    const WAYS: [(usize, usize); 6] =
        [(16_384, 1_400), (1_000, 1_400), (64, usize::MAX), (64, 9), (1, usize::MAX), (1, 6)];
    let gates = Gates::new();
    let (mut served, mut count) = (0, 0);
    for kilobytes in [0, 2, 15, 20, 60] {
        for (size, together) in WAYS {
            // Others make more records than a hello may have, or than `many_records…` is about.
            if kilobytes == 0 || kilobytes <= 20 && size >= 64 || size >= 1_000 {
                for certified in [true, false] {
                    let got = gates.serves(kilobytes, size, together, certified);
                    assert_eq!(got, certified, "{kilobytes} kB in records of {size}, segments of {together}");
                    served += usize::from(certified);
                    count += 1;
                }
            }
        }
    }
    assert_eq!(gates.backend.accepted(), served, "the server was bothered");
    for line in gates.tunnel.wait_closed(count) {
        assert_eq!(line.get("route"), "closed", "{}", line.text);
    }
}

/// The same with more records than the library is shown at a time.
#[test]
fn many_records_are_not_left_waiting() {
    let gates = Gates::new();
    for (kilobytes, size) in [(2, 1), (8, 8), (8, 1)] {
        assert!(gates.serves(kilobytes, size, usize::MAX, true), "{kilobytes} kB in records of {size}");
        assert!(!gates.serves(kilobytes, size, usize::MAX, false), "{kilobytes} kB in records of {size}");
    }
}

/// Row 29: a service knows its own names and no other's.
#[test]
fn a_wildcard_answers_on_its_own_service_only() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let wild = pki.issue("wild", &["*.one.test"]);
    let one = "[[service.route]]\nsni = [\"*.one.test\"]\n";
    let two = "[[service.route]]\nsni = [\"*.two.test\"]\n";
    let text = [
        routed(&wild.toml(), backend.address(), one),
        routed(&pki.server.toml(), backend.address(), two).replace("\"web\"", "\"two\""),
    ];
    let tunnel = Tunnel::start(&text.concat());
    let client = asking(&pki, "a.one.test", |_| ());
    assert!(gets_in(&client, tunnel.address("web")));
    let failure = client.connect(tunnel.address("two")).unwrap_err();
    assert!(failure.message.contains("unrecognized name"), "{}", failure.message);
    let client = asking(&pki, "a.two.test", |_| ());
    assert!(gets_in(&client, tunnel.address("two")));
    assert!(!gets_in(&client, tunnel.address("web")));
    assert_eq!(backend.accepted(), 2);
}

/// Row 31: names around the sizes at which others broke, through each way to route and to be told on.
#[test]
fn names_of_every_length_are_routed_and_told() {
    let (pki, backend) = (Pki::new(), recorder());
    let name = |length: usize| {
        let letters = (1..=length - ".len.test".len()).map(|place| if place % 60 == 0 { '.' } else { 'n' });
        [&letters.collect::<String>(), ".len.test"].concat()
    };
    let exact = [63, 64, 65, 253].map(|length| format!("\"{}\"", name(length).replacen('n', "e", 1)));
    let routes = format!(
        "[[service.route]]\nname = \"exact\"\nsni = [{}]\n[[service.route]]\nname = \"wild\"\nsni = [\"*.len.test\"]\n\
         [[service.route]]\nname = \"regex\"\nsni_regex = ['r[a-z.]*']\n\
         [[service.route]]\nname = \"rest\"\nfallback = [\"unknown-name\"]\n",
        exact.join(", ")
    );
    let tls = format!(", tls = {{ {} }}", pki.server.toml());
    let tunnel = Tunnel::start(&service(&tls, TELLS, backend.address(), &routes));
    let mut count = 0;
    for length in [63, 64, 65, 253, 255] {
        let wild = name(length);
        assert_eq!(wild.len(), length);
        for (route, asked) in [
            ("exact", wild.replacen('n', "e", 1)),
            ("wild", wild.clone()),
            ("regex", format!("r{}z", &wild[2..])),
            ("rest", format!("x{}z", &wild[2..])),
            ("rest", "y".repeat(length)),
        ] {
            // A configuration takes no name beyond what the DNS has.
            let route = if (route, length) == ("exact", 255) { "wild" } else { route };
            let mut peer = asking(&pki, &asked, |_| ()).connect(tunnel.address("web")).unwrap();
            peer.half_close();
            peer.receive_all();
            assert_eq!(parse(&backend.next()).0.authority(), Some(&*asked));
            count += 1;
            let line = tunnel.wait_closed(count).pop().unwrap();
            assert_eq!((line.get("route"), line.get("sni")), (route, &*asked), "{}", line.text);
        }
    }
    // One more is refused; no library asks for it, so it is put into a hello in the place of a shorter one.
    let mut peer = Peer::plain(tunnel.address("web"));
    let whole = hello(&asking(&pki, &"z".repeat(255), |_| ()));
    peer.send(&patched(&whole, &server_name(255, b'z'), &server_name(256, b'z')));
    assert_eq!(peer.receive_all().0, DECODE_ERROR);
}

/// The body of a server name extension, with its length in front.
fn server_name(length: usize, letter: u8) -> Vec<u8> {
    let part = |value: Vec<u8>| [&u16::try_from(value.len()).unwrap().to_be_bytes()[..], &value].concat();
    part(part([vec![0], part(vec![letter; length])].concat()))
}

const DECODE_ERROR: [u8; 7] = [21, 3, 1, 0, 2, 2, 50];

/// Where the extensions of the body of a hello begin, their length first.
fn extensions(body: &[u8]) -> usize {
    let ciphers = 35 + usize::from(body[34]);
    let compressions = ciphers + 2 + usize::from(u16::from_be_bytes([body[ciphers], body[ciphers + 1]]));
    compressions + 1 + usize::from(body[compressions])
}

/// A hello, in as many records as it takes, with `new` for `old` in its extensions, and all lengths made to fit.
fn patched(hello: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let body = &hello[9..];
    let at = body.windows(old.len()).position(|window| window == old).expect("the hello has it");
    let mut changed = [&body[..at], new, &body[at + old.len()..]].concat();
    let extensions = extensions(body);
    let length = u16::try_from(changed.len() - extensions - 2).unwrap();
    changed[extensions..extensions + 2].copy_from_slice(&length.to_be_bytes());
    let length = u32::try_from(changed.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &changed].concat();
    let record =
        |part: &[u8]| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat();
    message.chunks(16_384).flat_map(record).collect()
}

/// Row 18: lists of protocols that end early or reach far.
#[test]
fn protocol_lists_are_read_within_their_bounds() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let longest = "p".repeat(255);
    let tls = format!("{}, alpn = [\"h2\", \"{longest}\"]", pki.server.toml());
    let tunnel = Tunnel::start(&routed(&tls, backend.address(), ""));
    let to = tunnel.address("web");
    let entry = |name: &[u8]| [&[u8::try_from(name.len()).unwrap()], name].concat();
    let many = |count: usize| (0..count).flat_map(|_| entry(&[b'x'; 255])).collect::<Vec<_>>();
    let offers = [
        (entry(longest.as_bytes()), longest.as_bytes()),
        ([entry(longest.as_bytes()), entry(b"h2")].concat(), b"h2"),
        // The last of a list of 60 kB.
        ([many(234), entry(b"h2")].concat(), b"h2"),
    ];
    for (offer, agreed) in offers {
        let client = asking(&pki, "localhost", |builder| builder.set_alpn_protos(&offer).unwrap());
        let mut peer = client.connect(to).unwrap();
        assert_eq!(peer.tls().ssl().selected_alpn_protocol(), Some(agreed));
        echo(&mut peer, b"served");
    }
    let whole = hello(&asking(&pki, "localhost", |builder| builder.set_alpn_protos(b"\x02h2").unwrap()));
    let good = [0, 16, 0, 5, 0, 3, 2, b'h', b'2'];
    // Extension, its length, the length of the list, the list.
    let bad: [&[u8]; 9] = [
        &[0, 16, 0, 0],
        &[0, 16, 0, 2, 0, 0],
        &[0, 16, 0, 3, 0, 1, 0],
        &[0, 16, 0, 5, 0, 2, 2, b'h', b'2'],
        &[0, 16, 0, 5, 0, 4, 2, b'h', b'2'],
        &[0, 16, 0, 5, 0, 3, 3, b'h', b'2'],
        &[0, 16, 0, 5, 0, 3, 255, b'h', b'2'],
        &[0, 16, 0, 6, 0, 4, 2, b'h', b'2', 0],
        &[0, 16, 0, 1, 0],
    ];
    let before = backend.accepted();
    for bad in bad {
        let mut peer = Peer::plain(to);
        peer.send(&patched(&whole, &good, bad));
        assert_eq!(peer.receive_all().0, DECODE_ERROR, "{bad:?}");
    }
    // The longest list for which the extensions can tell their length makes the hello longer than one may be.
    let room = 65_535 - (whole.len() - 9 - extensions(&whole[9..]) - 2 - good.len()) - 6;
    let list = [many(room / 256), entry(&vec![b'x'; room % 256 - 1])].concat();
    let size = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
    let longest = [&[0, 16][..], &size(list.len() + 2), &size(list.len()), &list].concat();
    let mut peer = Peer::plain(to);
    peer.send(&patched(&whole, &good, &longest));
    assert_eq!(peer.receive_all().0, DECODE_ERROR);
    assert_eq!(backend.accepted(), before, "the server was bothered");
}

/// The random bytes of the first record of an answer to `hello`, a ServerHello.
fn server_random(to: SocketAddr, hello: &[u8]) -> Vec<u8> {
    let mut peer = Peer::plain(to);
    peer.send(hello);
    let start = peer.receive(43);
    assert_eq!((start[0], start[5]), (22, 2), "no ServerHello: {start:?}");
    peer.reset();
    start[11..43].to_vec()
}

/// Row 17: workers draw from the same generator, and never the same number.
#[test]
fn randoms_never_repeat() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let options = Options { level: "notice", ..Options::global("workers = 4") };
    let tunnel = Tunnel::start_with(&routed(&pki.server.toml(), backend.address(), ""), options);
    let hello = hello(&TlsClient::new(&pki));
    let count = full(100_000, 1_000);
    let mut seen: Vec<_> = (0..count).map(|_| server_random(tunnel.address("web"), &hello)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

/// Row 30: what a hello that has to be said twice costs is given back.
#[test]
fn a_hello_said_twice_leaves_nothing_behind() {
    // RFC 8446 section 4.1.3: a ServerHello of this random is a HelloRetryRequest.
    const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tls = format!("{}, groups = \"P-384\", {}, verify = \"optional\"", pki.server.toml(), ca(&pki));
    let routes = "[[service.route]]\nsni = [\"localhost\"]\n";
    let options = Options { level: "notice", ..Options::default() };
    let tunnel = Tunnel::start_with(&routed(&tls, backend.address(), routes), options);
    let to = tunnel.address("web");
    let client = TlsClient::with(&pki, |builder| builder.set_groups_list("P-256:P-384").unwrap());
    assert_eq!(server_random(to, &hello(&client))[..4], RETRY, "the first hello is not enough");
    let count = full(100_000, 800);
    let mut rss = 0;
    for round in 0..count {
        echo(&mut client.connect(to).unwrap(), b"served");
        if round == count / 4 {
            tunnel.assert_rest();
            rss = tunnel.figures().rss;
        }
    }
    tunnel.assert_rest();
    let after = tunnel.figures().rss;
    assert!(after <= rss + rss / 50 + 384, "{rss} KiB after a quarter, {after} KiB after {count}");
}

/// A client that asks for another name in its second hello than in its first gets nowhere: the first was routed.
#[test]
#[cfg(not(feature = "aws-lc"))]
fn a_name_that_changes_between_two_hellos_reaches_nobody() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tls = format!("{}, groups = \"P-384\"", pki.server.toml());
    let routes = format!(
        "[[service.route]]\nsni = [\"open.test\"]\n[[service.route]]\nsni = [\"closed.test\"]\ntls = {{ {} }}\n",
        ca(&pki)
    );
    let tunnel = Tunnel::start(&routed(&tls, backend.address(), &routes));
    for (first, second) in
        [("open.test", "closed.test"), ("open.test", ""), ("", "open.test"), ("open.test", "OPEN.test")]
    {
        let client = asking(&pki, first, |builder| builder.set_groups_list("P-256:P-384").unwrap());
        let socket = TcpStream::connect(tunnel.address("web")).unwrap();
        socket.set_nonblocking(true).unwrap();
        // Until the first hello is sent, nobody answers.
        let paused = tunnel.frozen(|| match client.ssl().connect(socket) {
            Err(openssl::ssl::HandshakeError::WouldBlock(paused)) => {
                rename(paused.ssl(), second);
                paused
            }
            other => panic!("nobody can have answered: {other:?}"),
        });
        paused.get_ref().set_nonblocking(false).unwrap();
        let served = paused.handshake().is_ok_and(|stream| {
            let mut peer = Peer::Tls(stream);
            peer.try_send(b"ping").is_ok() && peer.read(&mut [0; 4]).is_ok()
        });
        assert_eq!(served, second == "OPEN.test", "from {first:?} to {second:?}");
    }
    assert_eq!(backend.accepted(), 1, "the server was bothered");
    let changed = |line: &Line| line.get("reason") == "name-changed";
    assert!(tunnel.wait_closed(3).iter().filter(|line| changed(line)).count() >= 2);
}

/// Asks for `name` from now on.
#[cfg(not(feature = "aws-lc"))]
#[expect(unsafe_code, reason = "the library's binding has no call for a session that is already in a stream")]
fn rename(ssl: &openssl::ssl::SslRef, name: &str) {
    use foreign_types::ForeignTypeRef;
    const SET_HOST_NAME: std::ffi::c_int = 55; // SSL_CTRL_SET_TLSEXT_HOSTNAME
    let name = std::ffi::CString::new(name).unwrap();
    let value = if name.is_empty() { std::ptr::null_mut() } else { name.as_ptr().cast_mut().cast() };
    // SAFETY: the session is alive, nothing else uses it meanwhile, and the name is copied.
    let done = unsafe { openssl_sys::SSL_ctrl(ssl.as_ptr(), SET_HOST_NAME, 0, value) };
    assert_eq!(done, 1);
}
