// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is told about certificates in use: to whom they belong, until when they are good, and whether their files have
//! changed since they were read.
//!
//! Made once, when the files are loaded, and kept beside what was loaded: whoever shows it parses nothing. Not here:
//! reading the files (certificate.rs), who uses them and in which form it is shown (`control/certificates.rs`).

use super::certificate::{Identity, fingerprint};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::nid::Nid;
use openssl::pkey::{Id, PKeyRef, Public};
use openssl::x509::{GeneralNameRef, X509, X509NameRef, X509Ref};
use std::fmt::Write;
use std::fs::{self, Metadata};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What certificates of a file are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Shown to clients.
    Server,
    /// Shown to servers.
    Client,
    /// Shown after one of the above, to lead to a CA that the peer trusts.
    Chain,
    /// A CA that peers' certificates are checked against.
    Authority,
}

/// The certificates of one file, with whatever else must stay as it was for them to be current.
#[derive(Clone, Debug)]
pub struct CertificateFile {
    /// The file itself first, then that of the key.
    pub sources: Box<[Source]>,
    /// The first [`CARDS`]; none of the system's own set of CAs, which nobody here can do anything about.
    pub cards: Box<[(Role, Card)]>,
    /// How many certificates the file holds.
    pub total: usize,
}

/// One certificate. All text is free of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Common name and alternative names; without any, and of a CA, the subject ("C=DE, O=Example, CN=Root").
    pub names: Box<[Box<str>]>,
    /// "RSA 2048", "EC prime256v1", "ED25519".
    pub key_type: Box<str>,
    pub issuer: Box<str>,
    /// Upper-case hexadecimal.
    pub serial: Box<str>,
    /// SHA-256 of the DER form.
    pub fingerprint: [u8; 32],
    /// Seconds since 1970; 0: unknown.
    pub not_before: i64,
    pub not_after: i64,
}

/// A file as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    pub path: Box<Path>,
    stamp: Stamp,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

/// Certificates of one file that are told of one by one; of more only the number is.
pub const CARDS: usize = 50;

/// Alternative names that are told of one certificate.
const NAMES: usize = 100;

impl Source {
    /// `metadata` is of the open file, so it is of what was read.
    pub(super) fn new(path: &Path, metadata: &Metadata) -> Self {
        Self { path: path.into(), stamp: Stamp::of(metadata) }
    }

    /// Whether there is another file now, or it has been written to; false where that cannot be seen. It asks the file
    /// system, and so may wait for it.
    pub fn has_changed(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|now| Stamp::of(&now) != self.stamp)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl CertificateFile {
    /// A certificate of ours with its chain.
    pub(super) fn own(identity: &Identity, role: Role) -> Self {
        let leaf = (role, Card::of(&identity.leaf, role));
        let chain = identity.chain.iter().map(|one| (Role::Chain, Card::of(one, Role::Chain)));
        Self {
            sources: identity.sources.clone(),
            cards: [leaf].into_iter().chain(chain).take(CARDS).collect(),
            total: 1 + identity.chain.len(),
        }
    }

    /// CAs that the configuration names.
    pub(super) fn authorities(certificates: &[X509], source: Source) -> Self {
        let card = |one: &X509| (Role::Authority, Card::of(one, Role::Authority));
        Self {
            sources: [source].into(),
            cards: certificates.iter().take(CARDS).map(card).collect(),
            total: certificates.len(),
        }
    }

    /// CAs that came with the system.
    pub(super) fn system(certificates: &[X509], source: Source) -> Self {
        Self { sources: [source].into(), cards: [].into(), total: certificates.len() }
    }
}

impl Card {
    fn of(certificate: &X509Ref, role: Role) -> Self {
        let key = certificate.public_key();
        Self {
            names: match role {
                Role::Server | Role::Client => names(certificate),
                Role::Chain | Role::Authority => [subject(certificate.subject_name())].into(),
            },
            key_type: key.map_or_else(|_| "unknown".into(), |key| key_type(&key).into()),
            issuer: subject(certificate.issuer_name()),
            serial: serial(certificate).into(),
            fingerprint: fingerprint(certificate).ok().and_then(|sum| sum.try_into().ok()).unwrap_or([0; 32]),
            not_before: unix(certificate.not_before()),
            not_after: unix(certificate.not_after()),
        }
    }
}

/// Common name and alternative names, each once; the subject where there are none.
fn names(certificate: &X509Ref) -> Box<[Box<str>]> {
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let common = common.filter_map(|entry| Some(printable(&entry.data().to_string().ok()?)));
    let alternatives = certificate.subject_alt_names();
    let alternatives = alternatives.iter().flatten().filter_map(alternative);
    let mut names: Vec<Box<str>> = Vec::new();
    for name in common.chain(alternatives).take(NAMES) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(subject(certificate.subject_name()));
    }
    names.into()
}

fn alternative(name: &GeneralNameRef) -> Option<Box<str>> {
    let text = name.dnsname().or_else(|| name.email()).or_else(|| name.uri());
    text.map(printable).or_else(|| address(name.ipaddress()?))
}

/// An iPAddress (RFC 5280 section 4.2.1.6): 4 or 16 bytes.
fn address(bytes: &[u8]) -> Option<Box<str>> {
    let v4 = || <[u8; 4]>::try_from(bytes).ok().map(|bytes| Ipv4Addr::from(bytes).to_string());
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|bytes| Ipv6Addr::from(bytes).to_string());
    v4().or_else(v6).map(Into::into)
}

/// A distinguished name in the order in which it is written, as `openssl x509 -subject` shows it: "C=DE, CN=Root".
fn subject(name: &X509NameRef) -> Box<str> {
    let mut text = String::new();
    for entry in name.entries() {
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().map_or_else(|_| "?".into(), |value| printable(&value));
        let comma = if text.is_empty() { "" } else { ", " };
        let _to_a_string = write!(text, "{comma}{kind}={value}");
    }
    text.into()
}

/// Whoever wrote the certificate shall not write on the reader's terminal.
fn printable(text: &str) -> Box<str> {
    text.chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect::<String>()
        .into()
}

fn key_type(key: &PKeyRef<Public>) -> String {
    match key.id() {
        Id::RSA => format!("RSA {}", key.bits()),
        Id::RSA_PSS => format!("RSA-PSS {}", key.bits()),
        Id::EC => {
            let curve = key.ec_key().ok().and_then(|key| key.group().curve_name()?.short_name().ok());
            format!("EC {}", curve.unwrap_or("with parameters of its own"))
        }
        Id::ED25519 => "ED25519".to_owned(),
        #[cfg(not(feature = "aws-lc"))]
        Id::ED448 => "ED448".to_owned(),
        _ => format!("other, {} bits", key.bits()),
    }
}

fn serial(certificate: &X509Ref) -> String {
    let number =
        certificate.serial_number().to_bn().and_then(|number| number.to_hex_str().map(|hex| hex.to_string()));
    number.unwrap_or_default()
}

fn unix(time: &Asn1TimeRef) -> i64 {
    let since = Asn1Time::from_unix(0).and_then(|epoch| epoch.diff(time));
    since.map_or(0, |since| i64::from(since.days) * 24 * 60 * 60 + i64::from(since.secs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testpki::{Authority, Files, Leaf};

    fn card(leaf: &Leaf<'_>) -> Card {
        Card::of(&Authority::new("Root").issue(leaf).certificate, Role::Server)
    }

    #[test]
    fn names_are_all_told_once_and_without_control_characters() {
        let leaf = Leaf {
            common_name: "a.test",
            emails: &["m@a.test"],
            ips: &["192.0.2.1", "2001:db8::1"],
            ..Leaf::ec(&["a.test", "*.b.test"])
        };
        let names = card(&leaf).names;
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["a.test", "*.b.test", "m@a.test", "192.0.2.1", "2001:db8::1"]);
        let hostile = Leaf { common_name: "a\x1b[2Jb\n", ..Leaf::ec(&[]) };
        assert_eq!(&*card(&hostile).names, [Box::from("a\u{fffd}[2Jb\u{fffd}")]);
    }

    #[test]
    fn keys_are_named_by_type_and_size() {
        assert_eq!(&*card(&Leaf::ec(&["a.test"])).key_type, "EC prime256v1");
        assert_eq!(&*card(&Leaf::rsa(&["a.test"])).key_type, "RSA 2048");
        assert_eq!(&*card(&Leaf::ec(&["a.test"])).issuer, "CN=Root");
    }

    #[test]
    fn times_are_those_of_the_certificate() {
        let found = card(&Leaf::ec(&["a.test"]));
        assert_eq!(found.not_after - found.not_before, 30 * 24 * 60 * 60);
        assert_eq!(unix(&Asn1Time::from_unix(4_102_444_799).unwrap()), 4_102_444_799, "the year 2099");
        assert_eq!(unix(&Asn1Time::from_unix(-86_401).unwrap()), -86_401, "before 1970");
    }

    #[test]
    fn a_file_that_is_replaced_or_written_to_has_changed() {
        let files = Files::new();
        let path = files.write("c.pem", b"one");
        let source = || Source::new(&path, &fs::metadata(&path).unwrap());
        let before = source();
        assert!(!before.has_changed());
        files.write("c.pem", b"longer");
        assert!(before.has_changed());
        let before = source();
        let other = files.write("d.pem", b"longer");
        fs::rename(other, &path).unwrap();
        assert!(before.has_changed());
        let before = source();
        fs::remove_file(&path).unwrap();
        assert!(!before.has_changed(), "there is nothing that could be loaded instead");
    }
}
