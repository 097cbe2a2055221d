// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS towards clients: certificates chosen by name, client verification, ALPN, resumption.
//!
//! Invariants: a context is chosen before the library sees a byte, by the name our own hello reader found, and never
//! swapped afterwards (architecture 17.12), so no callback can be asked too late; client certificates are trusted by
//! the configured CA file alone, never by the system's CAs; a session agreed under one service, route, certificate,
//! set of CAs or verification mode never resumes under another.
//!
//! Not here: reading the hello (wire/client_hello.rs), the handshake itself (stream/tls.rs).

use super::certificate::{Identity, Loaded, fingerprint, load_certificates};
use super::certificate_card::{CertificateFile, Role};
use super::names::{Candidate, NameTable};
use super::tls_common::{check, context, reason, store};
use super::tls_key_log::KeyLog;
use super::tls_spec::{ClientVerify, Problem, ServerTlsSpec};
use super::tls_tickets::{Material, install, system_age};
use crate::sys::openssl::{TicketAge, add_chain_certificate, set_session_scope};
use openssl::error::ErrorStack;
use openssl::ssl::{AlpnError, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode};
use openssl::x509::X509;
use std::path::Path;

pub use super::tls_tickets::ProcessSecret;

/// TLS towards clients, loaded: one context per worker and certificate name set.
#[derive(Debug)]
pub struct ServerTls {
    names: NameTable,
    /// By worker, then by group of [`NameTable`]. Contexts of one worker are used by no other, so that their counters
    /// and locks are never contended; keys and certificates are shared.
    contexts: Box<[Box<[SslContext]>]>,
    certificates: Box<[CertificateFacts]>,
    /// By group of `names`, the certificates of that group by their places.
    groups: Box<[Box<[usize]>]>,
    verifies: bool,
    /// What was loaded, to be looked at.
    files: Box<[CertificateFile]>,
    ticket_keys_since: u64,
}

/// What is told about a loaded certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub file: Box<Path>,
    /// What it answers for, normalised; may be empty.
    pub names: Box<[Box<str>]>,
    /// "RSA", "ECDSA", …
    pub key: &'static str,
    /// The end of its validity, as the library writes it ("Jan  2 03:04:05 2027 GMT").
    pub expires: Box<str>,
}

impl ServerTls {
    /// Loads everything `spec` names. `identity` is "service/route": sessions never cross it (architecture G5).
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn load(
        spec: &ServerTlsSpec,
        identity: &str,
        secret: &ProcessSecret,
        workers: usize,
    ) -> Result<Self, Vec<Problem>> {
        Self::load_with_age(spec, identity, secret, workers, system_age())
    }

    /// As [`Self::load`], with another limit or clock for tickets.
    pub(super) fn load_with_age(
        spec: &ServerTlsSpec,
        identity: &str,
        secret: &ProcessSecret,
        workers: usize,
        age: TicketAge,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        check(&spec.common, &mut problems);
        let certificates: Vec<Identity> = spec
            .certificates
            .iter()
            .enumerate()
            .filter_map(|(index, files)| Identity::load(files, index, &mut problems))
            .collect();
        let trusted = load_authorities(spec).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        if spec.certificates.is_empty() {
            problems.push(Problem::new("certificate", "TLS towards clients needs a certificate"));
        }
        let key_log = KeyLog::open(&spec.common).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let own = certificates.iter().map(|one| CertificateFile::own(one, Role::Server));
        let (authorities, trusted) = match trusted {
            Some(Loaded { certificates, source }) => {
                let file = CertificateFile::authorities(&certificates, source);
                (certificates, Some(file))
            }
            None => (Vec::new(), None),
        };
        let files = own.chain(trusted).collect();
        let candidates: Vec<Candidate<'_>> =
            certificates.iter().map(|one| Candidate { kind: one.kind(), names: &one.names }).collect();
        let (names, groups) = NameTable::build(&candidates);
        let recipe = Recipe { spec, identity, secret, age, authorities, key_log };
        let build = |group: &Vec<usize>| {
            recipe.context(&group.iter().map(|number| &certificates[*number]).collect::<Vec<_>>())
        };
        let contexts = (0..workers.max(1))
            .map(|_| groups.iter().map(build).collect::<Result<Box<[_]>, Problem>>())
            .collect::<Result<Box<[_]>, Problem>>()
            .map_err(|problem| vec![problem])?;
        let paths = spec.certificates.iter().map(|files| &*files.certificate);
        Ok(Self {
            names,
            contexts,
            certificates: certificates.iter().zip(paths).map(|(one, file)| facts(one, file)).collect(),
            groups: groups.into_iter().map(Into::into).collect(),
            verifies: spec.verify != ClientVerify::None,
            files,
            ticket_keys_since: secret.since(),
        })
    }

    /// A new session for a client that asked for `server_name` (as wire/client_hello.rs normalises it) and takes `route`,
    /// made from `worker`'s context for that name; ready to accept. No name, or one no certificate has, gets the first
    /// certificate. What is resumed was agreed on for this very name and route, whatever else shares the policy.
    ///
    /// # Errors
    /// Out of memory.
    pub fn session(&self, server_name: Option<&str>, route: &str, worker: usize) -> Result<Ssl, ErrorStack> {
        let group = server_name.and_then(|name| self.names.find(name)).unwrap_or(0);
        let own = &self.contexts[worker % self.contexts.len()];
        let mut ssl = Ssl::new(&own[group])?;
        // The policy itself is in the keys that seal tickets.
        let mut scope = Material::new();
        scope.add(route.as_bytes());
        scope.add(server_name.unwrap_or_default().as_bytes());
        set_session_scope(&mut ssl, &scope.finish())?;
        ssl.set_accept_state();
        Ok(ssl)
    }

    /// Whether clients are asked for a certificate.
    pub fn verifies(&self) -> bool {
        self.verifies
    }

    /// The certificates that a client may be shown that asks for `server_name`: of those the library picks one by the
    /// client's signature algorithms.
    pub fn certificates_for(&self, server_name: Option<&str>) -> impl Iterator<Item = &CertificateFacts> {
        let group = server_name.and_then(|name| self.names.find(name)).unwrap_or(0);
        self.groups.get(group).into_iter().flatten().filter_map(|place| self.certificates.get(*place))
    }

    /// Whether a certificate has this normalised name; else clients that ask for it get the first certificate.
    pub fn knows(&self, server_name: &str) -> bool {
        self.names.find(server_name).is_some()
    }

    /// Everything that was loaded: certificates in the order of the configuration, then the CAs of clients.
    pub fn files(&self) -> &[CertificateFile] {
        &self.files
    }

    /// Since when the keys that seal its tickets are in use, in seconds since 1970.
    pub fn ticket_keys_since(&self) -> u64 {
        self.ticket_keys_since
    }

    /// The loaded certificates, in the order of the configuration.
    pub fn certificates(&self) -> &[CertificateFacts] {
        &self.certificates
    }
}

/// Everything contexts of one policy are made from.
struct Recipe<'a> {
    spec: &'a ServerTlsSpec,
    identity: &'a str,
    secret: &'a ProcessSecret,
    age: TicketAge,
    authorities: Vec<X509>,
    key_log: Option<KeyLog>,
}

impl Recipe<'_> {
    /// One context that offers `certificates`, of which the library picks by the client's signature algorithms.
    fn context(&self, certificates: &[&Identity]) -> Result<SslContext, Problem> {
        let general = |error: ErrorStack| Problem::new("tls", reason(&error));
        let mut context = context(SslMethod::tls_server(), &self.spec.common).map_err(general)?;
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE);
        for certificate in certificates {
            show(&mut context, certificate).map_err(|error| Problem::new("certificate", reason(&error)))?;
        }
        self.verify(&mut context).map_err(|error| Problem::new("client_ca", reason(&error)))?;
        self.choose_protocol(&mut context);
        if let Some(key_log) = &self.key_log {
            key_log.install(&mut context);
        }
        let digest = self.digest(certificates).map_err(general)?;
        install(&mut context, self.secret, &digest, self.age).map_err(general)?;
        Ok(context.build())
    }

    fn verify(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        let mode = match self.spec.verify {
            ClientVerify::None => return Ok(()), // the library's default
            ClientVerify::Optional => SslVerifyMode::PEER,
            ClientVerify::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
        };
        context.set_verify(mode);
        context.set_cert_store(store(&self.authorities)?);
        self.authorities.iter().try_for_each(|authority| context.add_client_ca(authority))
    }

    /// The first of ours that the client offers; a client that offers only others is refused (RFC 7301 section 3.2).
    fn choose_protocol(&self, context: &mut SslContextBuilder) {
        if self.spec.common.alpn.is_empty() {
            return;
        }
        let ours = self.spec.common.alpn.clone();
        context.set_alpn_select_callback(move |_, offered| {
            ours.iter().find_map(|name| find_protocol(offered, name.as_bytes())).ok_or(AlpnError::ALERT_FATAL)
        });
    }

    /// What a session depends on; see tls_tickets.rs.
    fn digest(&self, certificates: &[&Identity]) -> Result<[u8; 32], ErrorStack> {
        let leaves = certificates.iter().map(|one| fingerprint(&one.leaf)).collect::<Result<Vec<_>, _>>()?;
        let authorities =
            self.authorities.iter().map(|one| fingerprint(one)).collect::<Result<Vec<_>, _>>()?;
        let common = &self.spec.common;
        let mut material = Material::new();
        material.add(self.identity.as_bytes());
        material.add_set(leaves);
        material.add_set(authorities);
        material.add(format!("{:?}", self.spec.verify).as_bytes());
        material.add(&REVOCATION_GENERATION.to_be_bytes());
        // Not a matter of identity, but a session must not keep alive what the configuration has switched off.
        material.add(format!("{:?} {:?}", common.min_version, common.max_version).as_bytes());
        material.add(common.ciphers.as_deref().unwrap_or_default().as_bytes());
        material.add(common.ciphersuites.as_deref().unwrap_or_default().as_bytes());
        Ok(material.finish())
    }
}

/// Counts changes of what is revoked; stays 0 until revocation lists are read.
const REVOCATION_GENERATION: u64 = 0;

/// The CAs that client certificates are checked against: none without verification, at least one with it.
fn load_authorities(spec: &ServerTlsSpec) -> Result<Option<Loaded>, Problem> {
    match (&spec.client_ca, spec.verify) {
        (_, ClientVerify::None) => Ok(None),
        (Some(path), _) => load_certificates(path, "client_ca").map(Some),
        (None, _) => Err(Problem::new("verify", "clients cannot be verified without client_ca")),
    }
}

/// Adds a certificate, its chain and its key.
pub(super) fn show(context: &mut SslContextBuilder, identity: &Identity) -> Result<(), ErrorStack> {
    context.set_certificate(&identity.leaf)?;
    for certificate in &identity.chain {
        add_chain_certificate(context, certificate)?;
    }
    context.set_private_key(&identity.key)
}

/// The place in `offered` (RFC 7301 section 3.1: names with a length byte each) where `name` stands.
fn find_protocol<'a>(mut offered: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    while let Some((length, rest)) = offered.split_first() {
        let (candidate, next) = rest.split_at_checked(usize::from(*length))?;
        if candidate == name {
            return Some(candidate);
        }
        offered = next;
    }
    None
}

fn facts(identity: &Identity, file: &Path) -> CertificateFacts {
    CertificateFacts {
        file: file.into(),
        names: identity.names.clone(),
        key: identity.kind_name(),
        expires: identity.leaf.not_after().to_string().into(),
    }
}
