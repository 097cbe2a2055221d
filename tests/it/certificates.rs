// SPDX-License-Identifier: MIT OR Apache-2.0
//! The certificates in use, as the control socket tells them: the same that `openssl x509` says of their files, who uses
//! them, and whether a file waits for a reload.

use crate::harness::{Backend, Files, Listening, Pki, Tunnel, wait_for};
use crate::reload::reload_well;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A directory with a control socket in it, and the lines of the configuration that name it.
struct Asked {
    directory: TempDir,
}

impl Asked {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("control")
    }

    fn toml(&self) -> String {
        format!("[control]\nsocket = \"{}\"\n", self.socket().display())
    }

    /// What `show certificates json` answers.
    fn certificates(&self) -> Vec<Value> {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(b"show certificates json\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Those of a kind that came from `file`.
fn of<'v>(all: &'v [Value], kind: &str, file: &Path) -> Vec<&'v Value> {
    all.iter().filter(|one| one["kind"] == kind && one["file"] == file.to_str().unwrap()).collect()
}

/// The only one of a kind that came from `file`.
#[track_caller]
fn one<'v>(all: &'v [Value], kind: &str, file: &Path) -> &'v Value {
    let found = of(all, kind, file);
    assert_eq!(found.len(), 1, "{kind} {}: {all:?}", file.display());
    found[0]
}

/// What `openssl x509` prints of the first certificate of a file.
fn openssl(file: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("openssl");
    let output = command.args(["x509", "-noout", "-in"]).arg(file).args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl x509 {arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What follows the `=` of a line like "serial=0A".
fn value(file: &Path, argument: &str) -> String {
    openssl(file, &[argument]).split_once('=').unwrap().1.trim().to_owned()
}

/// A date as openssl prints it, in seconds since 1970.
fn seconds(date: &str) -> f64 {
    let output = Command::new("date").args(["-u", "-d", date, "+%s"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// What is told of `file` agrees with openssl.
#[track_caller]
fn agrees(found: &Value, file: &Path) {
    assert_eq!(found["serial"], value(file, "-serial"));
    assert_eq!(found["fingerprint"], {
        // "sha256 Fingerprint=AA:BB:…"
        let sum = openssl(file, &["-fingerprint", "-sha256"]);
        sum.split_once('=').unwrap().1.trim().replace(':', "")
    });
    assert_eq!(found["not_before"].as_f64().unwrap(), seconds(&value(file, "-startdate")));
    assert_eq!(found["not_after"].as_f64().unwrap(), seconds(&value(file, "-enddate")));
    // Older versions put blanks around the "=".
    assert_eq!(found["issuer"], value(file, "-issuer").replace(" = ", "="));
    assert_eq!(found["in_file"], 1);
    assert_eq!(found["newer_on_disk"], false);
}

fn service(name: &str, tls: &str, connect: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\naccept = {{ address = \"127.0.0.1:0\", tls = {{ {tls} }} }}\nconnect = {connect}\n"
    )
}

fn plainly(address: SocketAddr) -> String {
    format!("\"{address}\"")
}

#[test]
fn what_is_told_agrees_with_openssl() {
    let (asked, pki, backend) = (Asked::new(), Pki::new(), Backend::echo(Listening::default()));
    let ec = pki.issue("ec", &["ec.test", "*.ec.test", "192.0.2.1", "m@ec.test"]);
    let rsa = pki.issue_rsa("rsa", &["rsa.test"]);
    let ed = pki.issue_ed25519("ed", &["ed.test"]);
    let mine = pki.issue("mine", &["tunnel.test"]);
    let connect = format!(
        "{{ address = \"{}\", tls = {{ ca = \"{}\", server_name = \"localhost\", {} }} }}",
        backend.address(),
        pki.ca.display(),
        mine.toml()
    );
    let own =
        format!("[[service.route]]\nname = \"own\"\nsni = [\"rsa.test\"]\ntls = {{ {} }}\n", rsa.toml());
    let common = "[[service.route]]\nname = \"common\"\nsni = [\"ec.test\"]\n";
    let clients = format!("{}, client_ca = \"{}\"", ed.toml(), pki.ca.display());
    let _tunnel = Tunnel::start(
        &[
            asked.toml(),
            service("web", &ec.toml(), &plainly(backend.address())),
            own,
            common.to_owned(),
            service("mail", &clients, &connect),
        ]
        .concat(),
    );
    let all = asked.certificates();

    let of_file = |kind: &str, files: &Files| {
        let found = one(&all, kind, &files.certificate);
        agrees(found, &files.certificate);
        let text = |key: &str| found[key].to_string();
        (text("names"), text("key_type"), text("used_by"))
    };
    let told = |names: &str, key: &str, used: &str| (names.to_owned(), format!("\"{key}\""), used.to_owned());
    assert_eq!(
        of_file("certificate", &ec),
        told("[\"ec.test\",\"*.ec.test\",\"192.0.2.1\",\"m@ec.test\"]", "EC prime256v1", "[\"web/common\"]")
    );
    assert_eq!(of_file("certificate", &rsa), told("[\"rsa.test\"]", "RSA 2048", "[\"web/own\"]"));
    assert_eq!(of_file("certificate", &ed), told("[\"ed.test\"]", "ED25519", "[\"mail\"]"));
    assert_eq!(
        of_file("client-certificate", &mine),
        told("[\"tunnel.test\"]", "EC prime256v1", "[\"mail\"]")
    );
    let ca = one(&all, "ca", &pki.ca);
    agrees(ca, &pki.ca);
    assert_eq!(ca["names"].to_string(), "[\"CN=Test Authority\"]");
    assert_eq!(ca["used_by"].to_string(), "[\"mail\"]", "for clients and for servers");
    let keys: Vec<&Value> = all.iter().filter(|one| one["kind"] == "ticket-key").collect();
    assert_eq!(keys.len(), 1, "{all:?}");
    assert_eq!(keys[0]["used_by"].to_string(), "[\"web\",\"mail\"]");
    assert_eq!(all.len(), 6, "{all:?}");
}

#[test]
fn a_replaced_file_is_told_until_it_is_loaded() {
    let (asked, pki, backend) = (Asked::new(), Pki::new(), Backend::echo(Listening::default()));
    let web = pki.issue("web", &["web.test"]);
    let connect = plainly(backend.address());
    let tunnel = Tunnel::start(&[asked.toml(), service("web", &web.toml(), &connect)].concat());
    let look = || {
        let all = asked.certificates();
        let found = one(&all, "certificate", &web.certificate);
        (found["newer_on_disk"] == true, found["serial"].as_str().unwrap().to_owned())
    };
    let before = value(&web.certificate, "-serial");
    assert_eq!(look(), (false, before.clone()));

    let newer = pki.issue("newer", &["web.test"]);
    fs::rename(&newer.key, &web.key).unwrap();
    fs::rename(&newer.certificate, &web.certificate).unwrap();
    wait_for("the newer file to be seen", || look() == (true, before.clone()));

    reload_well(&tunnel);
    let after = value(&web.certificate, "-serial");
    assert_ne!(before, after);
    assert_eq!(look(), (false, after));
}
