// SPDX-License-Identifier: MIT OR Apache-2.0
//! Certificates, chains, keys and CAs read from PEM files, and what is wrong with a file in words that say what to do.
//!
//! Invariants: what cannot be read whole is refused (a file cut in the middle never counts as a shorter chain or a
//! smaller set of CAs); nothing asks a terminal for a passphrase; a name with a NUL byte is refused, because some
//! verifiers see only what stands before it.
//!
//! Not here: which certificate answers for which name (names.rs), TLS contexts (tls_server.rs, tls_client.rs).

use super::certificate_card::Source;
use super::tls_common::reason;
use super::tls_spec::{CertificateFiles, Problem};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::x509::{X509, X509Ref};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// A certificate with its key and chain, ready to be shown to a peer.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) leaf: X509,
    /// The rest of the file, in its order.
    pub(super) chain: Vec<X509>,
    pub(super) key: PKey<Private>,
    /// What it answers for, normalised: dNSNames of the subject's alternative names, or the common name where there
    /// are no alternative names at all.
    pub(super) names: Box<[Box<str>]>,
    /// The files: the certificate's, and the key's if that is another.
    pub(super) sources: Box<[Source]>,
}

/// What a file of certificates holds, at least one, and how it was found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certificates: Vec<X509>,
    pub(super) source: Source,
}

impl Identity {
    /// Reads the files of certificate `index` of the list; `None` when there were problems, all of which are reported.
    pub(super) fn load(files: &CertificateFiles, index: usize, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut note = |problem: Problem| problems.push(problem.at(index));
        let certificates = load_certificates(&files.certificate, "certificate").map_err(&mut note).ok();
        let key = load_key(&files.key).map_err(&mut note).ok();
        let Loaded { certificates, source } = certificates?;
        let mut certificates = certificates.into_iter();
        let leaf = certificates.next()?;
        let chain: Vec<X509> = certificates.collect();
        let names = names(&leaf, &files.certificate).map_err(&mut note).ok();
        let (key, key_source) = key?;
        if let Err(problem) = check_pair(&leaf, &chain, &key, files) {
            note(problem);
            return None;
        }
        let key_source = (key_source.path != source.path).then_some(key_source);
        let sources = [source].into_iter().chain(key_source).collect();
        Some(Self { leaf, chain, key, names: names?, sources })
    }

    /// The type of the key, as a number that differs between types that can be offered side by side.
    pub(super) fn kind(&self) -> i32 {
        self.key.id().as_raw()
    }

    /// The type of the key in words.
    pub(super) fn kind_name(&self) -> &'static str {
        match self.key.id() {
            Id::RSA => "RSA",
            Id::EC => "ECDSA",
            Id::ED25519 => "Ed25519",
            _ => "other",
        }
    }
}

/// SHA-256 over the DER form.
///
/// # Errors
/// Out of memory.
pub(super) fn fingerprint(certificate: &X509Ref) -> Result<Vec<u8>, ErrorStack> {
    certificate.digest(MessageDigest::sha256()).map(|digest| digest.to_vec())
}

/// All certificates of a PEM file, at least one; `key` is the configuration key that names the file.
///
/// # Errors
/// The problem, naming the file.
pub(super) fn load_certificates(path: &Path, key: &'static str) -> Result<Loaded, Problem> {
    let (pem, source) = read(path, key)?;
    let shown = path.display();
    if !has_block(&pem, "CERTIFICATE") {
        let help = "a PEM file has lines \"-----BEGIN CERTIFICATE-----\"; for DER: openssl x509 -inform DER -in FILE";
        return Err(Problem::new(key, format!("{shown} holds no certificate in PEM form")).help(help));
    }
    let certificates = X509::stack_from_pem(&pem).map_err(|error| {
        Problem::new(key, format!("{shown} holds a broken certificate: {}", reason(&error)))
    })?;
    if certificates.is_empty() {
        return Err(Problem::new(key, format!("{shown} holds no certificate")));
    }
    Ok(Loaded { certificates, source })
}

/// The private key of a PEM file, which may hold certificates too.
fn load_key(path: &Path) -> Result<(PKey<Private>, Source), Problem> {
    let (pem, source) = read(path, "key")?;
    let shown = path.display();
    if !has_block(&pem, "PRIVATE KEY") {
        let help = "a PEM file has a line \"-----BEGIN PRIVATE KEY-----\"; for DER: openssl pkey -inform DER -in FILE";
        return Err(Problem::new("key", format!("{shown} holds no private key in PEM form")).help(help));
    }
    let mut encrypted = false;
    let key = PKey::private_key_from_pem_callback(&pem, |_| {
        encrypted = true;
        Ok(0)
    });
    match key {
        Ok(key) if !encrypted => Ok((key, source)),
        _ if encrypted => {
            Err(Problem::new("key", format!("the key in {shown} is encrypted with a passphrase")).help(
                format!("store it without one, readable only by root: openssl pkey -in {shown} -out NEW"),
            ))
        }
        Ok(_) => Err(Problem::new("key", format!("the key in {shown} cannot be used"))),
        Err(error) => Err(Problem::new("key", format!("{shown} holds a broken key: {}", reason(&error)))),
    }
}

/// Whether the key belongs to the leaf, which is the first certificate of its file.
fn check_pair(
    leaf: &X509,
    chain: &[X509],
    key: &PKey<Private>,
    files: &CertificateFiles,
) -> Result<(), Problem> {
    let belongs = |certificate: &X509| certificate.public_key().is_ok_and(|public| public.public_eq(key));
    if belongs(leaf) {
        return Ok(());
    }
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let help = if chain.iter().any(belongs) {
        "the certificate of the key must come first in the file, its chain after it"
    } else {
        "compare: openssl x509 -in CERTIFICATE -noout -pubkey; openssl pkey -in KEY -pubout"
    };
    Err(Problem::new("key", format!("the key in {key} does not belong to the certificate in {certificate}"))
        .help(help))
}

/// What a certificate answers for.
fn names(certificate: &X509Ref, path: &Path) -> Result<Box<[Box<str>]>, Problem> {
    let mut dns: Vec<String> = Vec::new();
    let mut others: Vec<String> = Vec::new();
    let alternatives = certificate.subject_alt_names();
    for name in alternatives.iter().flatten() {
        match name.dnsname() {
            Some(name) => dns.push(name.to_owned()),
            None => others.extend(name.email().or_else(|| name.uri()).map(str::to_owned)),
        }
    }
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    let common: Vec<String> = common.filter_map(|entry| entry.data().to_string().ok()).collect();
    if let Some(bad) = dns.iter().chain(&others).chain(&common).find(|name| name.contains('\0')) {
        let message = format!("{} has a NUL byte in the name \"{}\"", path.display(), bad.escape_default());
        return Err(Problem::new("certificate", message)
            .help("such names exist to deceive verifiers; get another certificate"));
    }
    let source = if alternatives.is_none() { common } else { dns };
    let mut names: Vec<Box<str>> = source.iter().filter_map(|name| normalise(name)).collect();
    names.sort();
    names.dedup();
    Ok(names.into())
}

/// Lower case, no trailing dot; nothing that no client can ask for (an asterisk elsewhere than as the whole first
/// label, anything but visible ASCII).
fn normalise(name: &str) -> Option<Box<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let rest = name.strip_prefix("*.").unwrap_or(name);
    let usable = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'*');
    usable.then(|| name.to_ascii_lowercase().into())
}

/// The whole of a PEM file in which every block that begins also ends.
fn read(path: &Path, key: &'static str) -> Result<(Vec<u8>, Source), Problem> {
    let shown = path.display();
    let (bytes, source) = read_bounded(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Problem::new(key, format!("{shown} does not exist")),
        ErrorKind::PermissionDenied => {
            Problem::new(key, format!("{shown} may not be read: permission denied"))
        }
        ErrorKind::IsADirectory => Problem::new(key, format!("{shown} is a directory, not a file")),
        _ => Problem::new(key, format!("{shown} cannot be read: {error}")),
    })?;
    if bytes.is_empty() {
        return Err(Problem::new(key, format!("{shown} is empty")));
    }
    if bytes.len() > MAX_FILE {
        return Err(Problem::new(key, format!("{shown} is larger than {MAX_FILE} bytes")));
    }
    if !is_whole(&bytes) {
        let help = "copy the file again; each -----BEGIN line needs its -----END line";
        return Err(Problem::new(key, format!("{shown} is cut off in the middle of a PEM block")).help(help));
    }
    Ok((bytes, source))
}

fn read_bounded(path: &Path) -> std::io::Result<(Vec<u8>, Source)> {
    let kind = std::fs::metadata(path)?;
    if kind.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(std::io::Error::other("not a regular file")); // opening a FIFO would wait for its writer
    }
    let mut bytes = Vec::new();
    let file = File::open(path)?;
    let source = Source::new(path, &file.metadata()?);
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes, source))
}

/// The lines of a file that begin with dashes, trailing white space removed.
fn dash_lines(pem: &[u8]) -> impl Iterator<Item = &[u8]> {
    pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| line.starts_with(b"-----"))
}

/// Whether a block whose label ends in `label` begins somewhere.
fn has_block(pem: &[u8], label: &str) -> bool {
    dash_lines(pem).any(|line| {
        let line = String::from_utf8_lossy(line);
        line.starts_with("-----BEGIN ") && line.trim_end_matches('-').ends_with(label)
    })
}

/// Whether every block that begins also ends. The library itself takes a file cut inside a BEGIN line for one with
/// fewer blocks.
fn is_whole(pem: &[u8]) -> bool {
    let mut open: Option<&[u8]> = None;
    for line in dash_lines(pem) {
        let label = line.strip_suffix(b"-----").unwrap_or(b"");
        match (open, label.strip_prefix(b"-----BEGIN "), label.strip_prefix(b"-----END ")) {
            (None, Some(begun), _) => open = Some(begun),
            (Some(begun), _, Some(ended)) if begun == ended => open = None,
            _ => return false,
        }
    }
    let last = pem.rsplit(|byte| *byte == b'\n').next().unwrap_or(b"");
    open.is_none() && (last.is_empty() || !b"-----BEGIN ".starts_with(last))
}

/// The most bytes a PEM file may have: far above any set of CAs; a larger one is refused.
const MAX_FILE: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testpki::{Authority, Leaf};
    use std::path::PathBuf;

    /// Writes both files into a fresh directory and loads them.
    fn load(certificate: &[u8], key: &[u8]) -> Result<Identity, Vec<Problem>> {
        let directory = tempfile::tempdir().unwrap();
        let files = CertificateFiles {
            certificate: directory.path().join("c.pem"),
            key: directory.path().join("k.pem"),
        };
        std::fs::write(&files.certificate, certificate).unwrap();
        std::fs::write(&files.key, key).unwrap();
        let mut problems = Vec::new();
        Identity::load(&files, 3, &mut problems).ok_or(problems)
    }

    fn problem(certificate: &[u8], key: &[u8]) -> Problem {
        let mut problems = load(certificate, key).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].index, 3);
        problems.remove(0)
    }

    #[test]
    fn a_good_pair_loads_with_its_chain_and_names() {
        let ca = Authority::new("Root");
        let leaf = ca.issue(&Leaf::ec(&["B.test.", "*.A.test", "a*.test", "*"]));
        let mut pem = leaf.certificate_pem();
        pem.extend(ca.certificate_pem());
        let identity = load(&pem, &leaf.key_pem()).unwrap();
        assert_eq!(identity.chain.len(), 1);
        let names: Vec<&str> = identity.names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["*.a.test", "b.test"]);
        assert_eq!(identity.kind_name(), "ECDSA");
    }

    #[test]
    fn both_may_be_in_one_file() {
        let leaf = Authority::new("Root").issue(&Leaf::ec(&["a.test"]));
        let both = [leaf.key_pem(), leaf.certificate_pem()].concat();
        assert!(load(&both, &both).is_ok());
    }

    #[test]
    fn the_common_name_counts_only_without_alternative_names() {
        let ca = Authority::new("Root");
        let only = ca.issue(&Leaf { common_name: "Only.test", ..Leaf::ec(&[]) });
        assert_eq!(&*load(&only.certificate_pem(), &only.key_pem()).unwrap().names, [Box::from("only.test")]);
        let both = ca.issue(&Leaf { common_name: "cn.test", ..Leaf::ec(&["san.test"]) });
        assert_eq!(&*load(&both.certificate_pem(), &both.key_pem()).unwrap().names, [Box::from("san.test")]);
        let mail = ca.issue(&Leaf { common_name: "cn.test", emails: &["a@cn.test"], ..Leaf::ec(&[]) });
        assert!(load(&mail.certificate_pem(), &mail.key_pem()).unwrap().names.is_empty());
    }

    #[test]
    fn a_foreign_key_is_told() {
        let ca = Authority::new("Root");
        let (one, two) = (ca.issue(&Leaf::ec(&["a.test"])), ca.issue(&Leaf::ec(&["a.test"])));
        let found = problem(&one.certificate_pem(), &two.key_pem());
        assert_eq!(found.key, "key");
        assert!(found.message.contains("does not belong"), "{found:?}");
        let swapped = [ca.certificate_pem(), one.certificate_pem()].concat();
        let found = problem(&swapped, &one.key_pem());
        assert!(found.help.unwrap().contains("must come first"));
    }

    #[test]
    fn a_passphrase_is_told_and_never_asked_for() {
        let leaf = Authority::new("Root").issue(&Leaf::ec(&["a.test"]));
        let key = leaf.encrypted_key_pem();
        let found = problem(&leaf.certificate_pem(), &key);
        assert!(found.message.contains("passphrase"), "{found:?}");
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        let ca = Authority::new("Root");
        let leaf = ca.issue(&Leaf::ec(&["a.test"]));
        let boundary = leaf.certificate_pem().len();
        let whole = [leaf.certificate_pem(), ca.certificate_pem()].concat();
        for length in 0..whole.len() - 1 {
            let got = load(&whole[..length], &leaf.key_pem());
            // Cut exactly between two blocks is a good, shorter file: with or without the line end.
            assert_eq!(got.is_ok(), length == boundary || length == boundary - 1, "at {length}");
        }
        let key = leaf.key_pem();
        for length in 0..key.len() - 1 {
            assert!(load(&whole, &key[..length]).is_err(), "at {length}");
        }
    }

    #[test]
    fn damage_inside_a_block_is_refused() {
        let leaf = Authority::new("Root").issue(&Leaf::ec(&["a.test"]));
        let text = String::from_utf8(leaf.certificate_pem()).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.remove(3);
        let found = problem(lines.join("\n").as_bytes(), &leaf.key_pem());
        assert!(found.message.contains("broken certificate"), "{found:?}");
    }

    #[test]
    fn files_of_the_wrong_kind_are_told_apart() {
        let leaf = Authority::new("Root").issue(&Leaf::ec(&["a.test"]));
        let (certificate, key) = (leaf.certificate_pem(), leaf.key_pem());
        assert!(problem(b"", &key).message.ends_with("is empty"));
        assert!(problem(&key, &key).message.contains("no certificate"));
        assert!(problem(&certificate, &certificate).message.contains("no private key"));
        assert!(problem(b"\x30\x82 not PEM", &key).message.contains("no certificate"));
        assert_eq!(load(b"", b"").unwrap_err().len(), 2, "both files are looked at");
    }

    #[test]
    fn what_is_not_a_readable_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let missing = load_certificates(&directory.path().join("nowhere.pem"), "client_ca").unwrap_err();
        assert!(missing.message.ends_with("nowhere.pem does not exist"));
        assert_eq!(missing.key, "client_ca");
        let folder = load_certificates(directory.path(), "ca").unwrap_err();
        assert!(folder.message.contains("is a directory"), "{folder:?}");
        let device = load_certificates(&PathBuf::from("/dev/zero"), "ca").unwrap_err();
        assert!(device.message.contains("not a regular file"), "{device:?}");
    }

    #[test]
    fn a_nul_in_a_name_is_refused() {
        let ca = Authority::new("Root");
        for leaf in [
            ca.issue(&Leaf { raw_dns: Some(b"good.test\0.evil.test"), ..Leaf::ec(&[]) }),
            ca.issue(&Leaf { common_name: "good.test\0.evil.test", ..Leaf::ec(&["good.test"]) }),
        ] {
            let found = problem(&leaf.certificate_pem(), &leaf.key_pem());
            assert!(found.message.contains("NUL"), "{found:?}");
        }
    }
}
