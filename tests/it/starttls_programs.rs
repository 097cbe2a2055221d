// SPDX-License-Identifier: MIT OR Apache-2.0
//! STARTTLS towards the clients and servers that people have: each server of Debian, with a configuration of its own in a
//! directory of its own, and each with its client, through a service that takes the client to TLS, one that takes the
//! server to TLS, and one that does both.
//!
//! Postfix and Dovecot change users while they start, which only root can; without it their tests do nothing and say so.
//! Not here: exim (its package excludes that of postfix).

use crate::harness::{Peer, Pki, Program, Tunnel, free_address, wait_for};
use nix::unistd::Uid;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory that a server of another user can read, with a certificate.
pub(crate) struct Place {
    dir: TempDir,
    pki: Pki,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap(), pki: Pki::new() };
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        for (from, to) in [(&place.pki.server.certificate, "cert.pem"), (&place.pki.server.key, "key.pem")] {
            fs::copy(from, place.path().join(to)).unwrap();
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in which `DIR` stands for the directory.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.path().join(name);
        fs::write(&file, text.replace("DIR", &self.path().display().to_string())).unwrap();
        file
    }

    pub(crate) fn mkdir(&self, name: &str) -> PathBuf {
        let dir = self.path().join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// Gives all that is there to `user`, where we may; what a command begins with to be that user.
    pub(crate) fn give_to(&self, user: &str) -> Vec<String> {
        if !Uid::effective().is_root() {
            return Vec::new();
        }
        output(Command::new("chown").arg("-R").arg(user).arg(self.path()));
        let ids = [format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()];
        [vec!["setpriv".to_owned()], ids.to_vec()].concat()
    }

    fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path().join(name)).unwrap_or_default()).into_owned()
    }

    /// The three services for `protocol`: "serve" to `plain`, "ask" to `secured`, and "both".
    fn tunnel(&self, protocol: &str, plain: SocketAddr, secured: SocketAddr, send_proxy: bool) -> Tunnel {
        let proxy = if send_proxy { ", send_proxy = \"v2\"" } else { "" };
        let bare = "accept = \"127.0.0.1:0\"".to_owned();
        let tls = format!(
            "accept = {{ address = \"127.0.0.1:0\", starttls = \"{protocol}\", tls = {{ {} }} }}",
            self.pki.server.toml()
        );
        let to_plain = format!("connect = {{ address = \"{plain}\"{proxy} }}");
        let to_tls = format!(
            "connect = {{ address = \"{secured}\"{proxy}, starttls = \"{protocol}\", tls = {{ ca = {:?}, \
             server_name = \"localhost\" }} }}",
            self.pki.ca
        );
        let of = |name, accept: &str, connect: &str| {
            format!("[[service]]\nname = \"{name}\"\n{accept}\n{connect}\n")
        };
        Tunnel::start(
            &[of("serve", &tls, &to_plain), of("ask", &bare, &to_tls), of("both", &tls, &to_tls)].concat(),
        )
    }
}

/// Whether we may become others; if not, that is said.
pub(crate) fn may_become_others(what: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "skipped: {what} is started by root only").unwrap();
    }
    root
}

/// Starts `line` once it listens at `addresses`.
#[track_caller]
pub(crate) fn started(line: &[String], addresses: &[SocketAddr]) -> Program {
    let mut command = Command::new(&line[0]);
    // Some are not in the path of ordinary users.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut program = Program::start(command.args(&line[1..]).env("PATH", path));
    for address in addresses {
        wait_for(&format!("{} to listen", line[0]), || {
            assert!(
                program.is_running(),
                "it ended: {}{}",
                String::from_utf8_lossy(&program.stdout()),
                program.stderr()
            );
            TcpStream::connect(address).is_ok()
        });
    }
    program
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Runs a program to its end, which must be a good one; what it printed.
#[track_caller]
pub(crate) fn output(command: &mut Command) -> String {
    let (good, text) = result(command);
    assert!(good, "{command:?}:\n{text}");
    text
}

#[track_caller]
fn result(command: &mut Command) -> (bool, String) {
    let mut program = Program::start(command);
    drop(program.stdin.take());
    let status = program.wait_exit();
    (status.success(), String::from_utf8_lossy(&program.stdout()).into_owned() + &program.stderr())
}

/// `openssl s_client`, which says `words` once TLS stands, until `wanted` has come.
#[track_caller]
fn s_client(place: &Place, address: SocketAddr, starttls: &[&str], words: &str, wanted: &str) {
    let mut client = Program::start(
        Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_quiet", "-verify_return_error", "-servername", "localhost"])
            .arg("-CAfile")
            .arg(&place.pki.ca)
            .args(["-connect", &address.to_string(), "-starttls"])
            .args(starttls),
    );
    client.stdin.as_mut().unwrap().write_all(words.as_bytes()).unwrap();
    wait_for(wanted, || {
        let text = String::from_utf8_lossy(&client.stdout()).into_owned() + &client.stderr();
        assert!(client.is_running() || text.contains(wanted), "s_client -starttls {starttls:?}:\n{text}");
        text.contains(wanted)
    });
}

/// What a plain client is told upon `words`.
#[track_caller]
fn plainly(address: SocketAddr, words: &str, wanted: &str) {
    let mut peer = Peer::plain(address);
    peer.send(words.as_bytes());
    let mut all = Vec::new();
    while !String::from_utf8_lossy(&all).contains(wanted) {
        let mut buffer = [0; 4096];
        let got = peer.read(&mut buffer);
        let text = String::from_utf8_lossy(&all);
        all = [&all[..], &buffer[..got.unwrap_or_else(|end| panic!("{end:?} after {text}"))]].concat();
    }
}

pub(crate) const POSTFIX: &str = "compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = DIR
inet_interfaces = 127.0.0.1
mydestination = localhost
local_recipient_maps =
default_transport = discard
local_transport = discard
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_upstream_proxy_protocol = haproxy
smtpd_peername_lookup = no
smtpd_tls_cert_file = DIR/cert.pem
smtpd_tls_key_file = DIR/key.pem
";

pub(crate) const POSTFIX_SERVICES: &str = "cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
anvil unix - - n - 1 anvil
discard unix - - n - - discard
tlsmgr unix - - n 1000? 1 tlsmgr
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
";

/// Starts the postfix whose configuration is in `directory`, where its queue is, too.
#[track_caller]
pub(crate) fn start_postfix(directory: &Path, addresses: &[SocketAddr]) -> Program {
    let config = directory.display();
    // Makes the directories of the queue.
    output(Command::new("postfix").args(["-c", &config.to_string(), "check"]));
    // As `postfix start-fg` does, without a shell between it and us that would be all we end.
    let line = format!("env MAIL_CONFIG={config} /usr/lib/postfix/sbin/master -s");
    started(&words(&line), addresses)
}

/// The client's own address is in postfix's log: the PROXY header goes ahead of STARTTLS.
#[test]
fn postfix_and_swaks() {
    if !may_become_others("postfix") {
        return;
    }
    let place = Place::new();
    let (plain, secured) = (free_address(), free_address());
    fs::create_dir(place.path().join("queue")).unwrap();
    output(Command::new("chown").arg("postfix").arg(place.mkdir("data")));
    place.write("main.cf", POSTFIX);
    let listeners = format!(
        "{plain} inet n - n - - smtpd -o smtpd_tls_security_level=none\n\
         {secured} inet n - n - - smtpd -o smtpd_tls_security_level=encrypt\n"
    );
    place.write("master.cf", &(listeners + POSTFIX_SERVICES));
    let _postfix = start_postfix(place.path(), &[plain, secured]);
    let tunnel = place.tunnel("smtp", plain, secured, true);
    for (index, (service, tls)) in [("serve", true), ("ask", false), ("both", true)].into_iter().enumerate() {
        let (server, own) = (tunnel.address(service).to_string(), format!("127.0.0.{}", index + 2));
        let mut swaks = Command::new("swaks");
        swaks.args(["--server", &server, "--local-interface", &own]);
        swaks.args(["--from", "a@example.org", "--to", "b@localhost", "--timeout", "20"]);
        if tls {
            swaks
                .args(["--tls", "--tls-verify", "--tls-sni", "localhost", "--tls-ca-path"])
                .arg(&place.pki.ca);
        }
        let said = output(&mut swaks);
        assert!(said.contains("queued as"), "{said}");
        wait_for("the client's address in the log", || {
            place.log("log").contains(&format!("client=unknown[{own}]"))
        });
    }
    let log = place.log("log");
    assert_eq!(log.matches("starttls=1").count(), 2, "{log}");
    s_client(&place, tunnel.address("serve"), &["smtp"], "EHLO x\r\n", "250 CHUNKING");
}

const DOVECOT: &str = "base_dir = DIR/run
state_dir = DIR/state
log_path = DIR/log
listen = 127.0.0.1
protocols = imap pop3 sieve
ssl = yes
ssl_cert = <DIR/cert.pem
ssl_key = <DIR/key.pem
haproxy_trusted_networks = 127.0.0.0/8
mail_location = maildir:DIR/mail
first_valid_uid = 1
passdb {
  driver = static
  args = password=secret
}
userdb {
  driver = static
  args = uid=mail gid=mail home=DIR/mail
}
";

/// A listener of dovecot that takes PROXY headers, and nothing on the usual ports.
fn dovecot_listener(service: &str, name: &str, address: SocketAddr) -> String {
    let usual =
        if name == "sieve" { String::new() } else { format!("inet_listener {name}s {{\nport = 0\n}}\n") };
    format!(
        "service {service} {{\n{usual}inet_listener {name} {{\nport = {}\nhaproxy = yes\n}}\n}}\n",
        address.port()
    )
}

/// Three protocols of one server; it, too, logs the client's own address.
#[test]
fn dovecot_and_curl() {
    if !may_become_others("dovecot") {
        return;
    }
    let place = Place::new();
    let [imap, pop3, sieve] = [free_address(), free_address(), free_address()];
    output(Command::new("chown").arg("mail").arg(place.mkdir("mail")));
    let listeners = [
        dovecot_listener("imap-login", "imap", imap),
        dovecot_listener("pop3-login", "pop3", pop3),
        dovecot_listener("managesieve-login", "sieve", sieve),
    ];
    let file = place.write("dovecot.conf", &(DOVECOT.to_owned() + &listeners.concat()));
    let _dovecot = started(&words(&format!("dovecot -F -c {}", file.display())), &[imap, pop3, sieve]);
    for (index, (protocol, address)) in [("imap", imap), ("pop3", pop3)].into_iter().enumerate() {
        let tunnel = place.tunnel(protocol, address, address, true);
        for (number, (service, tls)) in
            [("serve", true), ("ask", false), ("both", true)].into_iter().enumerate()
        {
            let own = format!("127.0.{}.{}", index + 1, number + 2);
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-u", "user:secret", "--max-time", "20", "--interface", &own]).arg("--cacert");
            curl.arg(&place.pki.ca);
            if tls {
                curl.arg("--ssl-reqd");
            }
            let url = format!("{protocol}://{}/", tunnel.address(service));
            output(curl.arg(&url));
            wait_for("a login from the client's address", || {
                let log = place.log("log");
                let mut lines = log.lines().filter(|line| line.contains(&format!("rip={own}")));
                lines.any(|line| line.contains("Login: user=<user>"))
            });
        }
        s_client(&place, tunnel.address("serve"), &[protocol], "", "");
    }
    let tunnel = place.tunnel("sieve", sieve, sieve, true);
    for service in ["serve", "both"] {
        s_client(&place, tunnel.address(service), &["sieve"], "LOGOUT\r\n", "Logout completed");
    }
    plainly(tunnel.address("ask"), "CAPABILITY\r\nLOGOUT\r\n", "Logout completed");
}

#[test]
fn postgres_and_psql() {
    let place = Place::new();
    let address = free_address();
    let found = fs::read_dir("/usr/lib/postgresql").unwrap().filter_map(Result::ok).map(|entry| entry.path());
    let bin = found.max().unwrap().join("bin");
    let mut become_it = place.give_to("postgres");
    fs::set_permissions(place.path().join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    let (bin, dir) = (bin.display(), place.path().display());
    let initdb = [become_it.clone(), words(&format!("{bin}/initdb -N -A trust -U me -D {dir}/db"))].concat();
    output(Command::new(&initdb[0]).args(&initdb[1..]).current_dir("/"));
    become_it.extend(words(&format!(
        "{bin}/postgres -D {dir}/db -k {dir} -h 127.0.0.1 -p {} -c fsync=off -c ssl=on -c ssl_cert_file={dir}/cert.pem \
         -c ssl_key_file={dir}/key.pem",
        address.port()
    )));
    let _postgres = started(&become_it, &[address]);
    let tunnel = place.tunnel("pgsql", address, address, false);
    let ask = |service: &str, mode: &str| {
        let (port, ca) = (tunnel.address(service).port(), place.pki.ca.display());
        let target = format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=me dbname=postgres sslmode={mode} sslrootcert={ca}"
        );
        let query = "select 'tls:' || ssl from pg_stat_ssl where pid = pg_backend_pid()";
        result(Command::new("psql").args([&target, "-XAtc", query]))
    };
    wait_for("postgres to be ready", || ask("serve", "require").0);
    assert_eq!(ask("serve", "verify-full"), (true, "tls:false\n".to_owned()));
    assert_eq!(ask("both", "verify-full"), (true, "tls:true\n".to_owned()));
    // "prefer" is the default: such a client asks for TLS, is told that there is none, and goes on.
    for mode in ["disable", "prefer"] {
        assert_eq!(ask("ask", mode), (true, "tls:true\n".to_owned()), "{mode}");
    }
    let (good, text) = ask("serve", "disable");
    assert!(!good && text.contains("set sslmode=require"), "{text}");
}

/// The login is what TLS begins in the middle of, so good ones and bad ones are tried.
#[test]
fn mariadb() {
    let place = Place::new();
    let address = free_address();
    let mut line = place.give_to("mysql");
    fs::set_permissions(place.path().join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    let dir = place.path().display();
    let install = format!(
        "mariadb-install-db --no-defaults --datadir={dir}/db --auth-root-authentication-method=normal \
         --skip-test-db --skip-name-resolve"
    );
    let install = [line.clone(), words(&install)].concat();
    output(Command::new(&install[0]).args(&install[1..]).current_dir("/"));
    let users = "create user one@'%' identified by 'secret' require ssl;\n\
                 create user other@'%' identified via ed25519 using password('secret') require ssl;\n\
                 create user bare@'%' identified by 'secret';\n\
                 create user empty@'%';\n\
                 create user odd@'%' identified via ed25519 using password('secret');\n";
    let users = place.write("users.sql", &format!("install soname 'auth_ed25519';\n{users}"));
    line.extend(words(&format!(
        "mariadbd --no-defaults --datadir={dir}/db --socket={dir}/socket --bind-address=127.0.0.1 --port={} \
         --ssl-cert={dir}/cert.pem --ssl-key={dir}/key.pem --skip-name-resolve --pid-file={dir}/pid --init-file={}",
        address.port(),
        users.display()
    )));
    let _mariadb = started(&line, &[address]);
    let tunnel = place.tunnel("mysql", address, address, false);
    let ask = |service: &str, user: &str, password: &str, tls: &[&str]| {
        let port = tunnel.address(service).port().to_string();
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", user]).args(tls);
        client.arg(format!("-p{password}")).args(["-N", "-e", "show status like 'ssl_cipher'; select 6 * 7"]);
        result(&mut client)
    };
    let ca = format!("--ssl-ca={}", place.pki.ca.display());
    let verified = ["--ssl-verify-server-cert", &ca];
    let secured = [&verified[..], &["-D", "mysql"]].concat();
    for (service, tls, secure, users) in [
        ("ask", &["--skip-ssl"][..], true, &["one", "other"][..]),
        ("serve", &verified, false, &["bare", "odd"]),
        ("both", &verified, true, &["one", "other", "bare"]),
    ] {
        for user in users {
            let (good, text) = ask(service, user, "secret", tls);
            assert!(good && text.contains("\n42\n"), "{service} {user}: {text}");
            assert_eq!(text.contains("Ssl_cipher\tTLS_AES"), secure, "{service} {user}: {text}");
            let (good, text) = ask(service, user, "wrong", tls);
            assert!(!good && text.contains("Access denied for user"), "{service} {user}: {text}");
        }
    }
    let (good, text) = ask("serve", "empty", "", &verified);
    assert!(good && text.contains("\n42\n"), "no password: {text}");
    let (good, text) = ask("serve", "empty", "", &secured);
    assert!(!good && text.contains("Access denied for user 'empty'@'%' to database 'mysql'"), "{text}");
    let (good, text) = ask("serve", "bare", "secret", &["--skip-ssl"]);
    assert!(!good && text.contains("this server is reached by TLS only"), "{text}");
}

#[test]
fn slapd_and_ldapsearch() {
    let place = Place::new();
    let address = free_address();
    let text = "pidfile DIR/pid\nTLSCertificateFile DIR/cert.pem\nTLSCertificateKeyFile DIR/key.pem\ndatabase config\n";
    let file = place.write("slapd.conf", text);
    let line = format!("slapd -f {} -h ldap://{address} -d 256", file.display());
    let slapd = started(&words(&line), &[address]);
    let tunnel = place.tunnel("ldap", address, address, false);
    for (service, tls) in [("serve", true), ("ask", false), ("both", true)] {
        let url = format!("ldap://{}", tunnel.address(service));
        let mut search = Command::new("ldapsearch");
        search
            .env("LDAPTLS_CACERT", &place.pki.ca)
            .env("LDAPTLS_REQCERT", "demand")
            .args(["-x", "-LLL", "-H", &url]);
        if tls {
            search.arg("-ZZ");
        }
        let found = output(search.args(["-s", "base", "-b", "", "supportedExtension"]));
        assert!(found.contains("1.3.6.1.4.1.1466.20037"), "{service}: {found}");
    }
    let log = slapd.stderr();
    assert_eq!(log.matches("TLS established").count(), 2, "{log}");
    s_client(&place, tunnel.address("serve"), &["ldap"], "", "");
}

const VSFTPD: &str = "listen=YES
listen_address=127.0.0.1
background=NO
anonymous_enable=YES
anon_root=DIR/files
no_anon_password=YES
secure_chroot_dir=DIR/empty
ssl_enable=YES
allow_anon_ssl=YES
force_local_data_ssl=NO
force_local_logins_ssl=NO
require_ssl_reuse=NO
seccomp_sandbox=NO
rsa_cert_file=DIR/cert.pem
rsa_private_key_file=DIR/key.pem
";

/// The control connection only: with PROT, data connections would go past us to a server without TLS.
#[test]
fn vsftpd_and_curl() {
    if !may_become_others("vsftpd") {
        return;
    }
    let place = Place::new();
    let address = free_address();
    place.mkdir("empty");
    fs::write(place.mkdir("files").join("file"), "what is there").unwrap();
    let file = place.write("conf", &format!("{VSFTPD}listen_port={}\n", address.port()));
    let _vsftpd = started(&words(&format!("vsftpd {}", file.display())), &[address]);
    let tunnel = place.tunnel("ftp", address, address, false);
    for (service, tls) in [("serve", true), ("ask", false), ("both", true)] {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(&place.pki.ca);
        if tls {
            curl.arg("--ftp-ssl-control");
        }
        let text = output(curl.arg(format!("ftp://{}/file", tunnel.address(service))));
        assert_eq!(text, "what is there", "{service}");
    }
    s_client(&place, tunnel.address("serve"), &["ftp"], "QUIT\r\n", "221");
}

const INN: &str = "mta: \"/bin/true %s\"
pathhost: localhost
domain: localhost
pathnews: /usr/lib/news
patharticles: DIR
pathdb: DIR
pathetc: DIR
pathlog: DIR
pathoverview: DIR
pathrun: DIR
pathspool: DIR
pathtmp: DIR
ovmethod: tradindexed
hismethod: hisv6
enableoverview: true
tlscafile: DIR/cert.pem
tlscapath: DIR
tlscertfile: DIR/cert.pem
tlskeyfile: DIR/key.pem
";

/// Only where the package could be set up: it wants a machine with a full name (packaging/need.sh).
#[test]
fn nnrpd_of_inn() {
    if !Path::new("/usr/lib/news/bin/nnrpd").exists() {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "skipped: inn2 is not installed").unwrap();
        return;
    }
    let place = Place::new();
    let address = free_address();
    let config = place.write("inn.conf", INN);
    for (name, text) in [
        (
            "readers.conf",
            "auth \"all\" {\nhosts: \"*\"\ndefault: \"<u>\"\n}\naccess \"all\" {\nusers: \"*\"\nnewsgroups: \"*\"\n}\n",
        ),
        ("storage.conf", "method tradspool {\nnewsgroups: *\nclass: 0\n}\n"),
        ("active", "test.a 0000000000 0000000001 y\n"),
        ("newsgroups", ""),
        ("history", ""),
        ("history.dir", ""),
        ("history.hash", ""),
        ("history.index", ""),
        ("expire.ctl", ""),
    ] {
        place.write(name, text);
    }
    let mut line = place.give_to("news");
    fs::set_permissions(place.path().join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    line.extend(["env".to_owned(), format!("INNCONF={}", config.display())]);
    // It makes the index of the overview, in passing.
    let index = [line.clone(), words("/usr/lib/news/bin/tdx-util -F")].concat();
    result(Command::new(&index[0]).args(&index[1..]));
    let (dir, port) = (place.path().display(), address.port());
    line.extend(words(&format!(
        "/usr/lib/news/bin/nnrpd -D -f -p {port} -b 127.0.0.1 -c {dir}/readers.conf"
    )));
    let _nnrpd = started(&line, &[address]);
    let tunnel = place.tunnel("nntp", address, address, false);
    for service in ["serve", "both"] {
        s_client(&place, tunnel.address(service), &["nntp"], "CAPABILITIES\r\n", "IMPLEMENTATION INN");
    }
    plainly(tunnel.address("ask"), "CAPABILITIES\r\n", "IMPLEMENTATION INN");
}

const INSPIRCD: &str = "<server name=\"irc.test\" description=\"x\" network=\"T\">
<admin name=\"a\" nick=\"a\" email=\"a@b\">
<connect allow=\"*\" timeout=\"20\" resolvehostnames=\"no\">
<module name=\"ssl_gnutls\">
<module name=\"starttls\">
<module name=\"cap\">
<sslprofile name=\"Clients\" provider=\"gnutls\" certfile=\"DIR/cert.pem\" keyfile=\"DIR/key.pem\">
<starttls provider=\"Clients\">
<power diepass=\"x\" restartpass=\"y\">
<pid file=\"DIR/pid\">
";

#[test]
fn inspircd() {
    let place = Place::new();
    let address = free_address();
    let bind = format!("<bind address=\"127.0.0.1\" port=\"{}\" type=\"clients\">\n", address.port());
    let file = place.write("conf", &(INSPIRCD.to_owned() + &bind));
    let root = if Uid::effective().is_root() { " --runasroot" } else { "" };
    let _inspircd =
        started(&words(&format!("inspircd{root} --nofork --config={}", file.display())), &[address]);
    let tunnel = place.tunnel("irc", address, address, false);
    let register = "NICK somebody\r\nUSER a b c d\r\n";
    for service in ["serve", "both"] {
        s_client(&place, tunnel.address(service), &["irc"], register, ":Welcome to the T IRC Network");
    }
    plainly(tunnel.address("ask"), register, ":Welcome to the T IRC Network");
}

const PROSODY: &str = "pidfile = \"DIR/pid\"
daemonize = false
run_as_root = true
data_path = \"DIR\"
interfaces = { \"127.0.0.1\" }
s2s_ports = { }
modules_enabled = { \"tls\", \"saslauth\" }
modules_disabled = { \"s2s\" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
authentication = \"anonymous\"
log = { info = \"DIR/log\" }
ssl = { certificate = \"DIR/cert.pem\"; key = \"DIR/key.pem\" }
VirtualHost \"localhost\"
";

#[test]
fn prosody() {
    let place = Place::new();
    let address = free_address();
    let ports = format!("c2s_ports = {{ {} }}\n", address.port());
    let file = place.write("prosody.cfg.lua", &(ports + PROSODY));
    let _prosody = started(&words(&format!("prosody -F --root --config {}", file.display())), &[address]);
    let tunnel = place.tunnel("xmpp", address, address, false);
    let stream = "<?xml version='1.0'?><stream:stream to='localhost' xmlns='jabber:client' \
                  xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
    for service in ["serve", "both"] {
        let starttls = ["xmpp", "-xmpphost", "localhost"];
        s_client(&place, tunnel.address(service), &starttls, stream, "<mechanism>ANONYMOUS");
    }
    plainly(tunnel.address("ask"), stream, "<mechanism>ANONYMOUS");
}
