// SPDX-License-Identifier: MIT OR Apache-2.0
//! PROXY headers from and to haproxy, nginx and another tunnel.

use crate::harness::{Options, Peer, Pki, Program, TlsClient, Tunnel, free_address, show, wait_for};
use crate::proxy_protocol::{TAKES, parse, recorder, service, taking};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

/// A program with its configuration in a file, once it listens at all of `addresses`.
pub(crate) fn started(command: &mut Command, addresses: &[SocketAddr]) -> Program {
    let mut program = Program::start(command);
    for address in addresses {
        wait_for("a program to listen", || {
            assert!(program.is_running(), "it ended: {}", program.stderr());
            TcpStream::connect(address).is_ok()
        });
    }
    program
}

const HAPROXY: &str = "defaults\n timeout client 20s\n timeout server 20s\n timeout connect 5s\n";

fn haproxy(dir: &TempDir, text: &str, addresses: &[SocketAddr]) -> Program {
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, format!("{HAPROXY}{text}")).unwrap();
    started(Command::new("haproxy").arg("-db").arg("-f").arg(&file), addresses)
}

/// One request and its answer's body.
fn get(peer: &mut Peer) -> String {
    peer.send(b"GET / HTTP/1.0\r\n\r\n");
    let answer = String::from_utf8(peer.receive_all().0).unwrap();
    answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1.trim().to_owned()
}

/// haproxy checks the checksum by itself.
#[test]
fn haproxy_understands_what_we_send() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let (plain, secured) = (free_address(), free_address());
    let both = dir.path().join("both.pem");
    let pem = [&pki.server.certificate, &pki.server.key].map(|file| fs::read(file).unwrap()).concat();
    fs::write(&both, pem).unwrap();
    let text = format!(
        "listen echo\n mode http\n bind {plain} accept-proxy\n bind {secured} accept-proxy ssl crt {}\n http-request \
         return status 200 content-type text/plain lf-string \"%[src]:%[src_port] %[dst]:%[dst_port] \
         %[fc_pp_authority] %[fc_pp_unique_id,length]\"\n",
        both.display()
    );
    let _haproxy = haproxy(&dir, &text, &[plain, secured]);
    for (version, known) in [("\"v1\"", false), ("\"v2\"", true)] {
        for (server, tls) in
            [(plain, String::new()), (secured, format!(", tls = {{ ca = \"{}\" }}", pki.ca.display()))]
        {
            let accept = format!(", tls = {{ {} }}", pki.server.toml());
            let connect = format!(", send_proxy = {version}{tls}");
            let tunnel = Tunnel::start(&service(&accept, &connect, server, ""));
            let mut client = TlsClient::new(&pki).connect(tunnel.address("web")).unwrap();
            let own = client.socket().local_addr().unwrap();
            let more = if known { " localhost 16" } else { "" };
            assert_eq!(
                get(&mut client),
                format!("{own} {}{more}", tunnel.address("web")),
                "{version} to {server}"
            );
        }
    }
}

#[test]
fn nginx_understands_what_we_send() {
    let dir = tempfile::tempdir().unwrap();
    let address = free_address();
    let path = dir.path().display();
    let text = format!(
        "daemon off; master_process off; pid {path}/pid; error_log {path}/error.log;\nevents {{ }}\n\
         http {{ access_log off; client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;\n\
         uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;\n\
         server {{ listen {address} proxy_protocol;\nlocation / {{ return 200 \"$proxy_protocol_addr \
         $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\"; }} }} }}\n"
    );
    let file = dir.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-p").arg(dir.path()).arg("-c").arg(&file).arg("-e").arg(dir.path().join("error.log"));
    let _nginx = started(&mut command, &[address]);
    for version in ["v1", "v2"] {
        let connect = format!(", send_proxy = \"{version}\"");
        let tunnel = Tunnel::start(&service("", &connect, address, ""));
        let mut client = Peer::plain(tunnel.address("web"));
        let own = client.socket().local_addr().unwrap();
        let web = tunnel.address("web");
        let expected = format!("{} {} {} {}", own.ip(), own.port(), web.ip(), web.port());
        assert_eq!(get(&mut client), expected, "{version}");
    }
}

#[test]
fn haproxy_is_understood() {
    let dir = tempfile::tempdir().unwrap();
    let pki = Pki::new();
    let certified = pki.issue("client", &["client one"]);
    let both = dir.path().join("both.pem");
    let pem = [&pki.server.certificate, &pki.server.key].map(|file| fs::read(file).unwrap()).concat();
    fs::write(&both, pem).unwrap();
    let (tunnel, _backend) = taking("");
    let web = tunnel.address("web");
    let (line, binary, secured) = (free_address(), free_address(), free_address());
    let text = format!(
        "listen a\n mode tcp\n bind {line}\n server s {web} send-proxy\n\
         listen b\n mode tcp\n bind {binary}\n server s {web} send-proxy-v2 proxy-v2-options crc32c\n\
         listen c\n mode tcp\n bind {secured} ssl crt {} ca-file {} verify optional alpn h2\n unique-id-format id-%ci\n\
         server s {web} send-proxy-v2 proxy-v2-options \
         ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id\n",
        both.display(),
        pki.ca.display()
    );
    let _haproxy = haproxy(&dir, &text, &[line, binary, secured]);
    for address in [line, binary] {
        let mut client = Peer::plain(address);
        let own = client.socket().local_addr().unwrap().to_string();
        client.send(b"payload");
        assert_eq!(client.receive(7), b"payload");
        drop(client);
        tunnel.wait_log("that client", |line| line.is("connection-closed") && line.get("client") == own);
    }
    let client = TlsClient::with(&pki, |builder| {
        show(builder, &certified);
        builder.set_alpn_protos(b"\x02h2").unwrap();
    });
    let mut client = client.connect(secured).unwrap();
    let own = client.socket().local_addr().unwrap().to_string();
    client.send(b"payload");
    assert_eq!(client.receive(7), b"payload");
    drop(client);
    let line =
        tunnel.wait_log("that client", |line| line.is("connection-closed") && line.get("client") == own);
    for (key, value) in
        [("sni", "localhost"), ("alpn", "h2"), ("tls", "TLSv1.3"), ("client_cn", "client one")]
    {
        assert_eq!(line.get(key), value, "{key}: {}", line.text);
    }
}

/// The TLS is done by another tunnel; the second knows of it as if it had done it itself, and routes by it.
#[test]
fn two_tunnels_in_a_row_are_like_one() {
    let pki = Pki::new();
    let certified = pki.issue("client", &["client one"]);
    let (mail, other) = (recorder(), recorder());
    let second = Tunnel::start(&format!(
        "[[service]]\nname = \"web\"\naccept = {{ address = [\"127.0.0.1:0\"]{TAKES} }}\n\
         [[service.route]]\nname = \"mail\"\nsni = [\"localhost\"]\nconnect = {{ address = [\"{}\"], send_proxy = \
         {{ version = \"v2\", tlvs = [\"alpn\", \"authority\", \"ssl\", \"certificate\", \"unique-id\", \"crc32c\"] }} }}\n\
         [[service.route]]\nname = \"other\"\nfallback = [\"no-name\", \"unknown-name\"]\nconnect = \"{}\"\n",
        mail.address(),
        other.address(),
    ));
    let accept =
        format!(", tls = {{ {}, client_ca = \"{}\", alpn = [\"h2\"] }}", pki.server.toml(), pki.ca.display());
    let connect = ", send_proxy = { version = \"v2\", tlvs = [\"alpn\", \"authority\", \"ssl\", \"certificate\", \
                   \"unique-id\", \"crc32c\"] }";
    let first = Tunnel::start_with(
        &service(&accept, connect, second.address("web"), ""),
        Options::global("workers = 1"),
    );
    let client = TlsClient::with(&pki, |builder| {
        show(builder, &certified);
        builder.set_alpn_protos(b"\x02h2").unwrap();
    });
    let mut client = client.connect(first.address("web")).unwrap();
    let own = client.socket().local_addr().unwrap();
    client.send(b"payload");
    client.half_close();
    let seen = mail.next();
    let line = second.wait_closed(1).remove(0);
    for (key, value) in [
        ("client", &*own.to_string()),
        ("route", "mail"),
        ("sni", "localhost"),
        ("alpn", "h2"),
        ("tls", "TLSv1.3"),
        ("client_cn", "client one"),
        ("reason", "done"),
    ] {
        assert_eq!(line.get(key), value, "{key}: {}", line.text);
    }
    let one = first.wait_closed(1).remove(0);
    assert_eq!(line.get("cipher"), one.get("cipher"));
    assert_eq!(other.accepted(), 0);
    // And it is all told on, down to the certificate.
    let (header, length) = parse(&seen);
    assert_eq!(&seen[length..], b"payload");
    assert_eq!(header.proxied_address().unwrap().source, own);
    let ssl = header.ssl().unwrap();
    assert!(ssl.client_ssl() && ssl.client_cert_conn() && ssl.verify() == 0);
    assert_eq!((ssl.version(), ssl.cn()), (Some("TLSv1.3"), Some("client one")));
    let pem = fs::read(&certified.certificate).unwrap();
    let der = openssl::x509::X509::from_pem(&pem).unwrap().to_der().unwrap();
    assert!(seen.windows(der.len()).any(|window| window == der), "the whole certificate is there");
}
