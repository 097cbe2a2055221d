// SPDX-License-Identifier: MIT OR Apache-2.0
//! A small PKI for tests: authorities, leaves with any names, PEM forms, files in a directory that vanishes.

use super::tls_spec::CertificateFiles;
use openssl::asn1::{Asn1Object, Asn1OctetString, Asn1Time};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Extension, X509NameBuilder};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// A certificate and its key.
pub(crate) struct Issued {
    pub(crate) certificate: X509,
    pub(crate) key: PKey<Private>,
}

/// A self-signed CA.
pub(crate) struct Authority(Issued);

/// What a leaf shall say.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) dns: &'a [&'a str],
    pub(crate) emails: &'a [&'a str],
    pub(crate) ips: &'a [&'a str],
    /// One dNSName as raw bytes, instead of all other alternative names.
    pub(crate) raw_dns: Option<&'a [u8]>,
    pub(crate) rsa: bool,
}

impl<'a> Leaf<'a> {
    pub(crate) fn ec(dns: &'a [&'a str]) -> Self {
        Self { common_name: "leaf", dns, emails: &[], ips: &[], raw_dns: None, rsa: false }
    }

    pub(crate) fn rsa(dns: &'a [&'a str]) -> Self {
        Self { rsa: true, ..Self::ec(dns) }
    }
}

impl Authority {
    pub(crate) fn new(common_name: &str) -> Self {
        let key = new_key(false);
        let mut builder = begin(common_name, &key);
        let issuer = name(common_name);
        builder.set_issuer_name(&issuer).unwrap();
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self(Issued { certificate: builder.build(), key })
    }

    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> Issued {
        let key = new_key(leaf.rsa);
        let mut builder = begin(leaf.common_name, &key);
        builder.set_issuer_name(self.0.certificate.subject_name()).unwrap();
        let mut alternatives = SubjectAlternativeName::new();
        for name in leaf.dns {
            alternatives.dns(name);
        }
        for name in leaf.emails {
            alternatives.email(name);
        }
        for name in leaf.ips {
            alternatives.ip(name);
        }
        if let Some(raw) = leaf.raw_dns {
            let length = u8::try_from(raw.len()).unwrap();
            let der = [&[0x30, length + 2, 0x82, length], raw].concat();
            let oid = Asn1Object::from_str("2.5.29.17").unwrap();
            let value = Asn1OctetString::new_from_bytes(&der).unwrap();
            builder.append_extension(X509Extension::new_from_der(&oid, false, &value).unwrap()).unwrap();
        } else if !(leaf.dns.is_empty() && leaf.emails.is_empty() && leaf.ips.is_empty()) {
            let context = builder.x509v3_context(None, None);
            let extension = alternatives.build(&context).unwrap();
            builder.append_extension(extension).unwrap();
        }
        builder.sign(&self.0.key, MessageDigest::sha256()).unwrap();
        Issued { certificate: builder.build(), key }
    }

    pub(crate) fn certificate_pem(&self) -> Vec<u8> {
        self.0.certificate_pem()
    }
}

impl Issued {
    pub(crate) fn certificate_pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    pub(crate) fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }

    pub(crate) fn encrypted_key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_128_cbc(), b"secret").unwrap()
    }
}

/// A directory of PEM files.
pub(crate) struct Files(TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// `name`.pem and `name`.key.
    pub(crate) fn identity(&self, name: &str, issued: &Issued) -> CertificateFiles {
        CertificateFiles {
            certificate: self.write(&format!("{name}.pem"), &issued.certificate_pem()),
            key: self.write(&format!("{name}.key"), &issued.key_pem()),
        }
    }
}

fn new_key(rsa: bool) -> PKey<Private> {
    if rsa {
        return PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    }
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

fn name(common_name: &str) -> openssl::x509::X509Name {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, common_name).unwrap();
    name.build()
}

/// Everything but issuer, extensions and signature.
fn begin(common_name: &str, key: &PKey<Private>) -> X509Builder {
    static SERIAL: AtomicU32 = AtomicU32::new(1);
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(SERIAL.fetch_add(1, Ordering::Relaxed)).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name(common_name)).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}
