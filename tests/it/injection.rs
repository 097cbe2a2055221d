// SPDX-License-Identifier: MIT OR Apache-2.0
//! Row 93 of the known failures of the field: what a peer sends, in whichever field, forges no line of the log, reaches no
//! terminal as it came, and takes no more than a line may.
//!
//! Not here: names in a ClientHello that no library would send, and the bounds of single values (`logging`).

use crate::harness::{Backend, End, Line, Listening, Options, Peer, Pki, TlsClient, Tunnel};
use crate::proxy_protocol::{TAKES, service};

/// What may be tried: in a line, in a terminal, in a reader of either, and by sheer length.
fn evils() -> Vec<Vec<u8>> {
    let mut evils: Vec<Vec<u8>> = [
        &b"a\nevent=forged forged=1"[..],
        b"a\r\nevent=connection-closed forged=1",
        b"a\" forged=1 b=\"",
        b"a forged=1",
        b"a\\\" forged=1",
        b"forged=1",
        b"\x1b[2J\x1b]0;owned\x07 forged=1",
        b"a\0b forged=1",
        b"\x80\xff\xc3\x28 forged=1",
        b"\xe2\x80\xa6 forged=1",
        b"\x7f\x08\x08\x08 forged=1",
        b"%s%n%x{} forged=1",
    ]
    .map(<[u8]>::to_vec)
    .into();
    evils.push((0..=255).collect());
    evils.push(b"\x1b\n\" forged=1".repeat(10_000 / 12));
    evils.push(vec![b'x'; 10_000]);
    evils
}

/// As text, where only text is taken: what is none becomes the characters of the same numbers.
fn as_text(evil: &[u8]) -> String {
    String::from_utf8(evil.to_vec()).unwrap_or_else(|_| evil.iter().copied().map(char::from).collect())
}

/// Waits for the ends of `count` connections; no line says anything but what we say.
#[track_caller]
fn check(tunnel: &Tunnel, count: usize) -> Vec<Line> {
    let lines = tunnel.wait_closed(count);
    assert_eq!(lines.len(), count, "one line for each connection");
    let text = tunnel.log_text();
    for line in text.lines() {
        assert!(line.len() < 2_000, "a line of {} bytes", line.len());
        let odd = line.chars().find(|c| !(' '..='~').contains(c) && *c != '…');
        assert!(odd.is_none(), "{odd:?} in: {line}");
        let line = Line::parse(line);
        assert!(!line.get("event").is_empty() && !line.is("forged"), "{}", line.text);
        assert_eq!(line.get("forged"), "", "{}", line.text);
    }
    lines
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

/// A version 2 header of this family, block and TLVs.
fn header(family: u8, block: &[u8], tlvs: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len() + tlvs.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n\x21", &[family][..], &length, block, tlvs].concat()
}

#[test]
fn nothing_in_a_proxy_header_forges_a_line() {
    let backend = Backend::echo(Listening::default());
    let connect = ", send_proxy = \"v2\"";
    let options = Options { level: "debug", ..Options::default() };
    let tunnel = Tunnel::start_with(&service(TAKES, connect, backend.address(), ""), options);
    let four = [192, 0, 2, 8, 198, 51, 100, 1, 0xdc, 5, 1, 0xbb];
    let ssl = |more: &[u8]| tlv(0x20, &[&[7, 0, 0, 0, 0][..], more].concat());
    let mut count = 0;
    let mut told = 0;
    for evil in evils() {
        let text = as_text(&evil);
        let text = text.as_bytes();
        let name: Vec<u8> = evil.iter().copied().take(108).collect();
        let unix = [&name[..], &vec![0; 216 - name.len()]].concat();
        let headers = [
            header(0x11, &four, &tlv(2, &evil)),
            header(0x11, &four, &[tlv(1, &evil[..evil.len().min(255)]), ssl(b"")].concat()),
            header(0x11, &four, &tlv(5, &evil[..evil.len().min(128)])),
            header(0x11, &four, &tlv(5, &evil)),
            header(0x11, &four, &tlv(0x30, &evil)),
            header(0x11, &four, &ssl(&tlv(0x22, &evil))),
            header(0x11, &four, &ssl(&tlv(0x22, text))),
            header(0x11, &four, &ssl(&[tlv(0x21, text), tlv(0x23, text), tlv(0x25, text)].concat())),
            header(0x31, &unix, b""),
            [&b"PROXY "[..], &evil, b"\r\n"].concat(),
        ];
        for header in headers {
            let mut peer = Peer::plain(tunnel.address("web"));
            let _refused_early = peer.try_send(&header);
            let _refused_early = peer.socket().shutdown(std::net::Shutdown::Write);
            assert_ne!(peer.receive_all().1, End::Silence);
            count += 1;
        }
        told = check(&tunnel, count).iter().filter(|line| !line.get("client_cn").is_empty()).count();
    }
    assert!(told >= 10, "{told} common names were told, so they were not all refused");
}

#[test]
fn nothing_in_a_request_forges_a_line() {
    let backend = Backend::echo(Listening::default());
    let routes = "peek = \"http\"\n[[service.route]]\nhost = [\"a.test\"]\n";
    let tunnel = Tunnel::start(&service("", "", backend.address(), routes));
    let mut count = 0;
    for evil in evils() {
        for request in [
            [&b"GET / HTTP/1.1\r\nHost: "[..], &evil, b"\r\n\r\n"].concat(),
            [&b"GET / HTTP/1.1\r\n"[..], &evil, b": x\r\nHost: b.test\r\n\r\n"].concat(),
            [&b"GET "[..], &evil, b" HTTP/1.1\r\nHost: b.test\r\n\r\n"].concat(),
            [&b"GET http://"[..], &evil, b"/ HTTP/1.1\r\nHost: b.test\r\n\r\n"].concat(),
        ] {
            let mut peer = Peer::plain(tunnel.address("web"));
            let _refused_early = peer.try_send(&request);
            let _refused_early = peer.socket().shutdown(std::net::Shutdown::Write);
            assert_ne!(peer.receive_all().1, End::Silence);
            count += 1;
        }
        check(&tunnel, count);
    }
    // Of visible characters a name may have any, and it is told.
    let mut peer = Peer::plain(tunnel.address("web"));
    peer.send(b"GET / HTTP/1.1\r\nHost: a_$forged-1.test\r\n\r\n");
    peer.receive_all();
    assert_eq!(backend.accepted(), 0);
    let _all = check(&tunnel, count + 1);
}

/// Every visible character may stand in the name that a hello asks for: nothing says that it must be one of the DNS.
#[test]
fn no_name_in_a_hello_forges_a_line() {
    let (pki, backend) = (Pki::new(), Backend::echo(Listening::default()));
    let tls = format!(", tls = {{ {} }}", pki.server.toml());
    let routes = "[[service.route]]\nsni = [\"a.test\"]\n";
    let refusing = Tunnel::start(&service(&tls, "", backend.address(), routes));
    let serving = Tunnel::start(&service(&tls, "", backend.address(), ""));
    let visible: String = ('!'..='~').collect();
    let names = [
        "a\"forged=1",
        "a\\\"forged=1",
        "a=forged=1\"b",
        "forged=1",
        "%s%n",
        &visible,
        &visible[..94].repeat(2),
    ];
    for (number, name) in names.into_iter().enumerate() {
        let client = TlsClient::with(&pki, |builder| builder.set_verify(openssl::ssl::SslVerifyMode::NONE));
        let client = client.named(name);
        assert!(client.connect(refusing.address("web")).is_err(), "{name}");
        let lines = check(&refusing, number + 1);
        assert_eq!(lines[number].get("reason"), "no-route");
        let mut peer = client.connect(serving.address("web")).unwrap();
        peer.half_close();
        peer.receive_all();
        let lines = check(&serving, number + 1);
        assert_eq!(lines[number].get("sni"), name.to_ascii_lowercase(), "told as it was asked for");
    }
}

#[test]
fn nothing_in_a_certificate_forges_a_line() {
    let (pki, others) = (Pki::new(), Pki::named("Other\nevent=forged forged=1"));
    let backend = Backend::echo(Listening::default());
    let tls = format!(", tls = {{ {}, client_ca = \"{}\" }}", pki.server.toml(), pki.ca.display());
    let tunnel = Tunnel::start(&service(&tls, "", backend.address(), ""));
    let mut count = 0;
    for evil in evils() {
        let name = as_text(&evil);
        for (ca, served) in [(&pki, true), (&others, false)] {
            let client = TlsClient::certified(&pki, &ca.issue_common_name("evil", &name, 30));
            if let Ok(mut peer) = client.connect(tunnel.address("web")) {
                let _refused_early = peer.try_send(b"ping");
                let _refused_early = peer.tls().shutdown();
                peer.receive_all();
            }
            count += 1;
            let line = check(&tunnel, count).pop().unwrap();
            assert_eq!(line.get("reason") == "done", served, "{}", line.text);
            assert!(!served || !line.get("client_cn").is_empty(), "{}", line.text);
        }
    }
}
