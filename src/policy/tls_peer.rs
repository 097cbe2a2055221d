// SPDX-License-Identifier: MIT OR Apache-2.0
//! A client's certificate: what it says, and conditions on that.
//!
//! Invariants: every text is as long as the certificate says, so a NUL byte in a name ends nothing ("good\0.evil" is not
//! "good", CVE-2009-2408) and control characters stay what they are: whoever prints a text escapes it. A condition on a text
//! that the certificate does not have does not hold.
//!
//! Not here: whether a certificate is to be trusted (tls_server.rs).

use crate::sys::openssl::relative_name;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::{GeneralNameRef, X509, X509NameEntryRef, X509NameRef};
use std::fmt::Write;
use std::net::IpAddr;

/// What a certificate says; made from DER, or, of a PROXY header without the whole certificate, from its common name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The last common name of the subject.
    pub common_name: Option<Box<str>>,
    /// Distinguished names in the form of RFC 2253: last part first, UTF-8.
    pub subject: Box<str>,
    pub issuer: Box<str>,
    /// DNS names, e-mail addresses, URIs and IP addresses of subjectAltName, as text.
    pub alternative_names: Vec<Box<str>>,
    /// SHA-256 of the whole certificate, in lower-case hex.
    pub fingerprint: Box<str>,
}

/// Conditions on a client certificate: all that are there must hold. Texts are exact, or with one leading or trailing `*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateMatch {
    /// Whether there is one at all.
    pub present: Option<bool>,
    pub common_name: Vec<Box<str>>,
    pub subject: Vec<Box<str>>,
    pub issuer: Vec<Box<str>>,
    pub alternative_name: Vec<Box<str>>,
    /// In hex; colons and case do not matter.
    pub fingerprint: Vec<Box<str>>,
}

impl PeerCertificate {
    /// What the certificate `der` says, none if it is not exactly one certificate.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let certificate = X509::from_der(der).ok()?;
        if certificate.to_der().ok()? != der {
            return None; // something stands behind it, or it is not in the one form DER has for it
        }
        let digest = certificate.digest(MessageDigest::sha256()).ok()?;
        let alternatives = certificate.subject_alt_names();
        Some(Self {
            common_name: common_name(certificate.subject_name()),
            subject: distinguished_name(certificate.subject_name()),
            issuer: distinguished_name(certificate.issuer_name()),
            alternative_names: alternatives.iter().flatten().filter_map(alternative_name).collect(),
            fingerprint: hex(&digest),
        })
    }

    /// A certificate of which nothing but the common name is known.
    pub fn from_common_name(name: &str) -> Self {
        Self { common_name: Some(name.into()), ..Self::default() }
    }
}

impl CertificateMatch {
    /// Whether all conditions hold for `certificate`, or for there being none.
    pub fn matches(&self, certificate: Option<&PeerCertificate>) -> bool {
        if self.present.is_some_and(|present| present != certificate.is_some()) {
            return false;
        }
        let Some(certificate) = certificate else { return !self.asks_what_it_says() };
        let any = |patterns: &[Box<str>], text: &str| {
            patterns.is_empty() || (!text.is_empty() && patterns.iter().any(|pattern| fits(pattern, text)))
        };
        let alternatives = &certificate.alternative_names;
        any(&self.common_name, certificate.common_name.as_deref().unwrap_or_default())
            && any(&self.subject, &certificate.subject)
            && any(&self.issuer, &certificate.issuer)
            && (self.alternative_name.is_empty()
                || alternatives.iter().any(|name| any(&self.alternative_name, name)))
            && (self.fingerprint.is_empty()
                || self.fingerprint.iter().any(|hex| same_hex(hex, &certificate.fingerprint)))
    }

    /// Whether it has a condition that only a certificate can meet, beyond being there.
    fn asks_what_it_says(&self) -> bool {
        let lists =
            [&self.common_name, &self.subject, &self.issuer, &self.alternative_name, &self.fingerprint];
        lists.iter().any(|list| !list.is_empty())
    }
}

/// Whether `text` is as `pattern` says: equal, or with one `*` at the beginning or the end for the rest.
fn fits(pattern: &str, text: &str) -> bool {
    if let Some(end) = pattern.strip_prefix('*') {
        return text.ends_with(end);
    }
    match pattern.strip_suffix('*') {
        Some(begin) => text.starts_with(begin),
        None => text == pattern,
    }
}

/// Whether two fingerprints are the same; the written one may have colons and capitals.
fn same_hex(written: &str, fingerprint: &str) -> bool {
    let digits = written.bytes().filter(|byte| *byte != b':').map(|byte| byte.to_ascii_lowercase());
    !fingerprint.is_empty() && digits.eq(fingerprint.bytes())
}

/// The last, which is the most specific one. None if it cannot be text.
fn common_name(name: &X509NameRef) -> Option<Box<str>> {
    let last = name.entries_by_nid(Nid::COMMONNAME).last()?;
    last.data().to_string().ok().map(Into::into)
}

/// A name in the form of RFC 2253 section 2: last part first, parts separated by commas, the attributes of one part by plus
/// signs. What openssl-x509(1) prints with `-nameopt RFC2253,utf8,-esc_ctrl,-dump_unknown`.
fn distinguished_name(name: &X509NameRef) -> Box<str> {
    let entries: Vec<&X509NameEntryRef> = name.entries().collect();
    let mut text = String::new();
    let mut written = None;
    for part in entries.chunk_by(|one, next| relative_name(one) == relative_name(next)).rev() {
        for entry in part {
            if let Some(previous) = written.replace(relative_name(entry)) {
                text.push(if previous == relative_name(entry) { '+' } else { ',' });
            }
            text.push_str(&attribute_type(entry));
            text.push('=');
            match entry.data().to_string() {
                Ok(value) => escape(&value, &mut text),
                Err(_) => text.push_str(&["#", &*hex(entry.data().as_slice())].concat()),
            }
        }
    }
    text.into()
}

/// "CN", or numbers with dots where the library has no short name.
fn attribute_type(entry: &X509NameEntryRef) -> String {
    match entry.object().nid() {
        Nid::UNDEF => entry.object().to_string(),
        nid => nid.short_name().unwrap_or_default().to_owned(),
    }
}

/// RFC 2253 section 2.4: what would be taken for a separator gets a backslash, and so does what would be taken off at the
/// ends.
fn escape(value: &str, into: &mut String) {
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let special = matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (index == 0 && matches!(character, ' ' | '#'))
            || (index == last && character == ' ');
        if special {
            into.push('\\');
        }
        into.push(character);
    }
}

/// The text of an alternative name; none for kinds that have no obvious one.
fn alternative_name(name: &GeneralNameRef) -> Option<Box<str>> {
    let text = name.dnsname().or_else(|| name.email()).or_else(|| name.uri());
    text.map(Into::into).or_else(|| {
        let bytes = name.ipaddress()?;
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
        let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()?;
        Some(address.to_string().into())
    })
}

fn hex(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testpki::{Authority, Leaf};
    use openssl::asn1::{Asn1Integer, Asn1Time, Asn1Type};
    use openssl::bn::BigNum;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::pkey::PKey;
    use openssl::x509::{X509Builder, X509Name, X509NameBuilder};

    fn issue(leaf: &Leaf<'_>) -> PeerCertificate {
        let issued = Authority::new("Root, the \"first\"").issue(leaf);
        PeerCertificate::from_der(&issued.certificate.to_der().unwrap()).unwrap()
    }

    /// A name of these attributes.
    fn name(attributes: &[(&str, &str)]) -> X509Name {
        let mut builder = X509NameBuilder::new().unwrap();
        for (kind, value) in attributes {
            builder.append_entry_by_text_with_type(kind, value, Asn1Type::UTF8STRING).unwrap();
        }
        builder.build()
    }

    #[test]
    fn what_a_certificate_says_is_read() {
        let leaf = Leaf {
            common_name: "a.test",
            emails: &["a@test"],
            ips: &["192.0.2.1", "2001:db8::1"],
            ..Leaf::ec(&["b.test", "c.test"])
        };
        let found = issue(&leaf);
        assert_eq!(found.common_name.as_deref(), Some("a.test"));
        assert_eq!(&*found.subject, "CN=a.test");
        assert_eq!(&*found.issuer, "CN=Root\\, the \\\"first\\\"");
        let names: Vec<&str> = found.alternative_names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["b.test", "c.test", "a@test", "192.0.2.1", "2001:db8::1"]);
        assert!(found.fingerprint.len() == 64 && found.fingerprint.bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn the_fingerprint_is_the_digest_of_the_bytes() {
        let issued = Authority::new("Root").issue(&Leaf::ec(&[]));
        let der = issued.certificate.to_der().unwrap();
        let found = PeerCertificate::from_der(&der).unwrap();
        assert_eq!(found.fingerprint, hex(&openssl::sha::sha256(&der)));
        assert!(found.alternative_names.is_empty());
    }

    #[test]
    fn a_nul_byte_ends_no_name() {
        let found = issue(&Leaf { common_name: "admin\0.evil", ..Leaf::ec(&[]) });
        assert_eq!(found.common_name.as_deref(), Some("admin\0.evil"));
        assert_eq!(&*found.subject, "CN=admin\0.evil");
        let wants = CertificateMatch { common_name: vec!["admin".into()], ..CertificateMatch::default() };
        assert!(!wants.matches(Some(&found)));
        let found = issue(&Leaf { raw_dns: Some(b"good\0.evil"), ..Leaf::ec(&[]) });
        assert_eq!(found.alternative_names, [Box::from("good\0.evil")]);
    }

    #[test]
    fn what_is_not_exactly_a_certificate_is_none() {
        let der = Authority::new("Root").issue(&Leaf::ec(&["a.test"])).certificate.to_der().unwrap();
        assert_eq!(PeerCertificate::from_der(&[&der[..], b"x"].concat()), None);
        for length in 0..der.len() {
            assert_eq!(PeerCertificate::from_der(&der[..length]), None, "{length}");
        }
    }

    #[test]
    fn distinguished_names_are_written_as_rfc_2253_says() {
        for (attributes, expected) in [
            (&[][..], ""),
            (
                &[("C", "DE"), ("O", "Example, Inc."), ("CN", "Steve Kille")],
                "CN=Steve Kille,O=Example\\, Inc.,C=DE",
            ),
            (&[("O", "Sue; Grabbit + <Runn>")], "O=Sue\\; Grabbit \\+ \\<Runn\\>"),
            (&[("O", " a "), ("O", "#1"), ("O", "x#y z"), ("O", " ")], "O=\\ ,O=x#y z,O=\\#1,O=\\ a\\ "),
            (&[("O", "back\\slash")], "O=back\\\\slash"),
            (&[("CN", "Lučić"), ("emailAddress", "a\nb")], "emailAddress=a\nb,CN=Lučić"),
            (&[("1.3.6.1.4.1.99999.1", "own")], "1.3.6.1.4.1.99999.1=own"),
        ] {
            assert_eq!(&*distinguished_name(&name(attributes)), expected);
        }
    }

    #[test]
    fn attributes_of_one_part_stand_together() {
        // RDNSequence of { OU=Sales + CN=J. Smith } and before it { O=Widget }; RFC 2253 section 5.
        let attribute = |kind: u8, value: &str| {
            let length = u8::try_from(value.len()).unwrap();
            let mut der = vec![0x30, length + 7, 0x06, 3, 0x55, 0x04, kind, 0x0c, length];
            der.extend(value.as_bytes());
            der
        };
        let wrap =
            |tag: u8, content: Vec<u8>| [&[tag, u8::try_from(content.len()).unwrap()], &content[..]].concat();
        let sales = wrap(0x31, [attribute(11, "Sales"), attribute(3, "J. Smith")].concat());
        let widget = wrap(0x31, attribute(10, "Widget"));
        let name = X509Name::from_der(&wrap(0x30, [widget, sales].concat())).unwrap();
        assert_eq!(&*distinguished_name(&name), "OU=Sales+CN=J. Smith,O=Widget");
    }

    #[test]
    fn of_several_common_names_the_last_counts() {
        let names = name(&[("CN", "first"), ("O", "between"), ("CN", "last")]);
        assert_eq!(common_name(&names).as_deref(), Some("last"));
        assert_eq!(common_name(&name(&[("O", "none")])), None);
    }

    #[test]
    fn a_certificate_without_names_meets_no_condition_on_them() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut builder: X509Builder = X509::builder().unwrap();
        let serial: Asn1Integer = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let nameless = PeerCertificate::from_der(&builder.build().to_der().unwrap()).unwrap();
        assert_eq!((nameless.common_name.as_deref(), &*nameless.subject), (None, ""));
        let any = || vec![Box::from("*")];
        for wants in [
            CertificateMatch { common_name: any(), ..CertificateMatch::default() },
            CertificateMatch { subject: any(), ..CertificateMatch::default() },
            CertificateMatch { issuer: any(), ..CertificateMatch::default() },
            CertificateMatch { alternative_name: any(), ..CertificateMatch::default() },
        ] {
            assert!(!wants.matches(Some(&nameless)), "{wants:?}");
        }
    }

    #[test]
    fn all_conditions_must_hold_and_any_text_of_each() {
        let found = PeerCertificate {
            common_name: Some("ops-1".into()),
            subject: "CN=ops-1,O=Example".into(),
            issuer: "CN=Root".into(),
            alternative_names: vec!["a.test".into(), "b.test".into()],
            fingerprint: "00ff".repeat(16).into(),
        };
        let none = CertificateMatch::default();
        let list = |texts: &[&str]| texts.iter().map(|text| Box::from(*text)).collect::<Vec<Box<str>>>();
        let colons = ["00", "FF"].repeat(16).join(":");
        for (wants, expected) in [
            (none.clone(), true),
            (CertificateMatch { present: Some(true), ..none.clone() }, true),
            (CertificateMatch { present: Some(false), ..none.clone() }, false),
            (CertificateMatch { common_name: list(&["x", "ops-1"]), ..none.clone() }, true),
            (CertificateMatch { common_name: list(&["ops-*"]), ..none.clone() }, true),
            (CertificateMatch { common_name: list(&["*-1"]), ..none.clone() }, true),
            (
                CertificateMatch { common_name: list(&["OPS-1", "ops-", "ops-11", "o*1"]), ..none.clone() },
                false,
            ),
            (CertificateMatch { subject: list(&["*,O=Example"]), ..none.clone() }, true),
            (CertificateMatch { issuer: list(&["CN=Other"]), ..none.clone() }, false),
            (CertificateMatch { alternative_name: list(&["b.*"]), ..none.clone() }, true),
            (CertificateMatch { alternative_name: list(&["c.test"]), ..none.clone() }, false),
            (CertificateMatch { fingerprint: list(&[&colons]), ..none.clone() }, true),
            (CertificateMatch { fingerprint: list(&["00ff", ""]), ..none.clone() }, false),
            (
                CertificateMatch {
                    common_name: list(&["ops-1"]),
                    issuer: list(&["CN=Other"]),
                    ..none.clone()
                },
                false,
            ),
        ] {
            assert_eq!(wants.matches(Some(&found)), expected, "{wants:?}");
        }
    }

    #[test]
    fn no_certificate_meets_only_that_there_is_none() {
        let none = CertificateMatch::default();
        assert!(none.matches(None));
        assert!(CertificateMatch { present: Some(false), ..none.clone() }.matches(None));
        assert!(!CertificateMatch { present: Some(true), ..none.clone() }.matches(None));
        assert!(!CertificateMatch { common_name: vec!["*".into()], ..none.clone() }.matches(None));
        assert!(!CertificateMatch { fingerprint: vec!["".into()], ..none }.matches(None));
    }

    #[test]
    fn of_a_proxy_header_the_common_name_is_all_there_is() {
        let found = PeerCertificate::from_common_name("ops");
        let by_name = CertificateMatch { common_name: vec!["ops".into()], ..CertificateMatch::default() };
        assert!(by_name.matches(Some(&found)));
        assert!(!CertificateMatch { fingerprint: vec!["".into()], ..by_name.clone() }.matches(Some(&found)));
        assert!(!CertificateMatch { subject: vec!["*".into()], ..by_name }.matches(Some(&found)));
    }
}
