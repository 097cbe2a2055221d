// SPDX-License-Identifier: MIT OR Apache-2.0
//! A certificate authority for one test: everything it issues is a pair of PEM files in a directory that goes with it.
//!
//! Keys are ECDSA P-256 unless asked otherwise, because making them is quick.

use openssl::asn1::{Asn1Time, Asn1Type};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};
use std::net::IpAddr;
use std::path::PathBuf;
use tempfile::TempDir;

/// A certificate and its key, each in a PEM file.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Files {
    /// `certificate = "…", key = "…"`, for an inline table of the configuration.
    pub(crate) fn toml(&self) -> String {
        format!("certificate = \"{}\", key = \"{}\"", self.certificate.display(), self.key.display())
    }
}

/// An authority and the directory its files are in.
#[derive(Debug)]
pub(crate) struct Pki {
    dir: TempDir,
    authority: X509,
    authority_key: PKey<Private>,
    /// The authority's certificate: what clients and servers trust.
    pub(crate) ca: PathBuf,
    /// A server's certificate for localhost, 127.0.0.1 and ::1.
    pub(crate) server: Files,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("Test Authority")
    }

    /// An authority of another name, whom nobody trusts who trusts another.
    pub(crate) fn named(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority_key = ecdsa();
        let authority = authority(name, &authority_key);
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, authority.to_pem().unwrap()).unwrap();
        let nothing = Files { certificate: PathBuf::new(), key: PathBuf::new() };
        let mut pki = Self { dir, authority, authority_key, ca, server: nothing };
        pki.server = pki.issue("server", &["localhost", "127.0.0.1", "::1"]);
        pki
    }

    /// An ECDSA certificate for `names` (DNS names, IP addresses, URIs or e-mail addresses), in files named after `stem`.
    pub(crate) fn issue(&self, stem: &str, names: &[&str]) -> Files {
        self.issue_for(stem, names, &ecdsa())
    }

    /// As [`Self::issue`], with an RSA key of 2,048 bits.
    pub(crate) fn issue_rsa(&self, stem: &str, names: &[&str]) -> Files {
        self.issue_for(stem, names, &PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap())
    }

    /// As [`Self::issue`], with an Ed25519 key.
    pub(crate) fn issue_ed25519(&self, stem: &str, names: &[&str]) -> Files {
        self.issue_for(stem, names, &PKey::generate_ed25519().unwrap())
    }

    /// A certificate of that common name, whatever is in it, and without any other name; good until `days` from now,
    /// which may lie in the past.
    pub(crate) fn issue_common_name(&self, stem: &str, name: &str, days: i64) -> Files {
        let key = ecdsa();
        let mut builder = begin("replaced", &key);
        let mut subject = X509NameBuilder::new().unwrap();
        // With a type of its own the text is taken as it is, also beyond the 64 characters that X.520 allows.
        subject.append_entry_by_nid_with_type(Nid::COMMONNAME, name, Asn1Type::UTF8STRING).unwrap();
        builder.set_subject_name(&subject.build()).unwrap();
        builder.set_issuer_name(self.authority.subject_name()).unwrap();
        builder.set_not_before(&at_day(days.min(0) - 1)).unwrap();
        builder.set_not_after(&at_day(days)).unwrap();
        builder.sign(&self.authority_key, MessageDigest::sha256()).unwrap();
        self.write(stem, &builder.build(), &key)
    }

    /// The authority's own certificate and key: what vouches for itself.
    pub(crate) fn self_signed(&self) -> Files {
        self.write("self", &self.authority, &self.authority_key)
    }

    fn write(&self, stem: &str, certificate: &X509, key: &PKey<Private>) -> Files {
        let files = Files {
            certificate: self.dir.path().join(format!("{stem}.pem")),
            key: self.dir.path().join(format!("{stem}.key")),
        };
        std::fs::write(&files.certificate, certificate.to_pem().unwrap()).unwrap();
        std::fs::write(&files.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        files
    }

    fn issue_for(&self, stem: &str, names: &[&str], key: &PKey<Private>) -> Files {
        let mut builder = begin(names[0], key);
        builder.set_issuer_name(self.authority.subject_name()).unwrap();
        let mut alternatives = SubjectAlternativeName::new();
        for name in names {
            if name.parse::<IpAddr>().is_ok() {
                alternatives.ip(name)
            } else if name.contains("://") {
                alternatives.uri(name)
            } else if name.contains('@') {
                alternatives.email(name)
            } else {
                alternatives.dns(name)
            };
        }
        let context = builder.x509v3_context(Some(&self.authority), None);
        let alternatives = alternatives.build(&context).unwrap();
        builder.append_extension(alternatives).unwrap();
        let usage = ExtendedKeyUsage::new().server_auth().client_auth().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&self.authority_key, MessageDigest::sha256()).unwrap();
        self.write(stem, &builder.build(), key)
    }
}

fn ecdsa() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn authority(name: &str, key: &PKey<Private>) -> X509 {
    let mut builder = begin(name, key);
    let mut issuer = X509NameBuilder::new().unwrap();
    issuer.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.set_issuer_name(&issuer.build()).unwrap();
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    let usage = KeyUsage::new().critical().key_cert_sign().crl_sign().build().unwrap();
    builder.append_extension(usage).unwrap();
    builder.sign(key, MessageDigest::sha256()).unwrap();
    builder.build()
}

/// What every certificate has: version, serial number, subject, key, and the days from yesterday to next month.
fn begin(name: &str, key: &PKey<Private>) -> X509Builder {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(127, MsbOption::MAYBE_ZERO, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject.build()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&at_day(-1)).unwrap();
    builder.set_not_after(&at_day(30)).unwrap();
    builder
}

/// So many days from now.
fn at_day(days: i64) -> Asn1Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    Asn1Time::from_unix(i64::try_from(now).unwrap() + days * 86_400).unwrap()
}
