// SPDX-License-Identifier: MIT OR Apache-2.0
//! TLS towards servers: whom to trust, what name to expect, our own certificate.
//!
//! Invariants: chain and name are verified unless the configuration says otherwise in so many words; a CA file, once
//! named, is trusted alone; with verification on and no name to verify, no handshake succeeds.
//!
//! Not here: sessions for resumption. Whoever connects keeps them (sys/openssl.rs `KeptSession`) by server, name and
//! [`ClientTls::id`], because the library checks neither chain nor name of a server again when it resumes.

use super::certificate::{Identity, Loaded, load_certificates};
use super::certificate_card::{CertificateFile, Role};
use super::tls_common::{check, context, reason, store, wire_alpn};
use super::tls_key_log::KeyLog;
use super::tls_server::show;
use super::tls_spec::{ClientTlsSpec, Problem, Sni};
use crate::sys::openssl::keep_sessions;
use openssl::error::ErrorStack;
use openssl::sha::sha256;
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode};
use openssl::x509::verify::X509CheckFlags;
use openssl::x509::{X509Ref, X509VerifyResult};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// TLS towards servers, loaded: one context per worker.
#[derive(Debug)]
pub struct ClientTls {
    id: u64,
    verify: bool,
    sni: Sni,
    alpn_of_client: bool,
    contexts: Box<[SslContext]>,
    /// What was loaded, to be looked at.
    files: Box<[CertificateFile]>,
}

impl ClientTls {
    /// Loads everything `spec` names.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn load(spec: &ClientTlsSpec, workers: usize) -> Result<Self, Vec<Problem>> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let mut problems = Vec::new();
        check(&spec.common, &mut problems);
        let own = spec.certificate.as_ref().and_then(|files| Identity::load(files, 0, &mut problems));
        let trust = Trust::load(spec).unwrap_or_else(|problem| {
            problems.push(problem);
            Trust::Nobody
        });
        let key_log = KeyLog::open(&spec.common).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        if !problems.is_empty() {
            return Err(problems);
        }
        let contexts = (0..workers.max(1))
            .map(|_| build(spec, &trust, own.as_ref(), key_log.as_ref()))
            .collect::<Result<_, ErrorStack>>()
            .map_err(|error| vec![Problem::new("tls", reason(&error))])?;
        let own = own.map(|own| CertificateFile::own(&own, Role::Client));
        let files = own.into_iter().chain(trust.into_file()).collect();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let ClientTlsSpec { verify, sni, alpn_of_client, .. } = *spec;
        Ok(Self { id, verify, sni, alpn_of_client, contexts, files })
    }

    /// Differs between any two loaded objects of this process: a session belongs to the policy it was agreed under,
    /// so it may be offered again only through the object with the same id (and to the same server and name).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Everything that was loaded: our own certificate, the CAs of servers.
    pub fn files(&self) -> &[CertificateFile] {
        &self.files
    }

    /// What of the client's the server is asked for.
    pub fn wanted<'c>(&self, client: FromClient<'c>) -> FromClient<'c> {
        FromClient {
            name: client.name.filter(|_| self.sni == Sni::Client),
            protocol: client.protocol.filter(|_| self.alpn_of_client),
        }
    }

    /// As [`Self::session_for`], for nobody in particular.
    ///
    /// # Errors
    /// The same.
    pub fn session(&self, worker: usize, name: Option<&str>) -> Result<Ssl, ErrorStack> {
        self.session_for(worker, name, FromClient::default())
    }

    /// A new session of `worker`, ready to connect to the server called `name`: a host name, or an IP address in text
    /// form, which is verified but not sent (RFC 6066 section 3). `client` is what [`Self::wanted`] has left.
    ///
    /// # Errors
    /// A name the library cannot take (a NUL byte, longer than 255 bytes), or out of memory.
    pub fn session_for(
        &self,
        worker: usize,
        name: Option<&str>,
        client: FromClient<'_>,
    ) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.contexts[worker % self.contexts.len()])?;
        ssl.set_connect_state();
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name)).filter(|name| !name.is_empty());
        let address = name.and_then(parse_address);
        let asked = client.name.or(name).filter(|asked| parse_address(asked).is_none());
        if let (Some(host), true) = (asked, self.sni != Sni::None) {
            ssl.set_hostname(host)?;
        }
        if let Some(protocol) = client.protocol {
            ssl.set_alpn_protos(&wire_protocol(protocol))?;
        }
        if self.verify {
            match (name, address) {
                (_, Some(address)) => ssl.param_mut().set_ip(address)?,
                (Some(host), None) => expect_host(&mut ssl, host)?,
                (None, None) => refuse_everybody(&mut ssl),
            }
        }
        Ok(ssl)
    }
}

/// What a client has said that its server may be asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromClient<'c> {
    /// The name it asked for.
    pub name: Option<&'c str>,
    /// The protocol that was agreed on with it (RFC 7301).
    pub protocol: Option<&'c [u8]>,
}

/// Whom to believe.
enum Trust {
    /// These and no others.
    These(Loaded),
    /// Those that came with the system.
    System(Loaded),
    /// Whatever the library finds in its default places, on demand.
    Defaults,
    Nobody,
}

impl Trust {
    fn load(spec: &ClientTlsSpec) -> Result<Self, Problem> {
        if !spec.verify {
            return Ok(Self::Nobody);
        }
        if let Some(path) = &spec.ca {
            return load_certificates(path, "ca").map(Self::These);
        }
        // Read whole and now: looked up on demand, a worker would wait for the disk in the middle of a handshake, and
        // find nothing once the process has given up its privileges.
        match system_bundle() {
            Some(path) => load_certificates(&path, "ca").map(Self::System),
            None => Ok(Self::Defaults),
        }
    }

    fn into_file(self) -> Option<CertificateFile> {
        match self {
            Self::These(Loaded { certificates, source }) => {
                Some(CertificateFile::authorities(&certificates, source))
            }
            Self::System(Loaded { certificates, source }) => {
                Some(CertificateFile::system(&certificates, source))
            }
            Self::Defaults | Self::Nobody => None,
        }
    }
}

/// The system's CAs in one file: where the administrator says (SSL_CERT_FILE, as openssl-env(7)), or where the
/// distribution keeps them.
fn system_bundle() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        return Some(path.into());
    }
    SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_path_buf)
}

/// Debian and Arch, Fedora, openSUSE.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

fn build(
    spec: &ClientTlsSpec,
    trust: &Trust,
    own: Option<&Identity>,
    key_log: Option<&KeyLog>,
) -> Result<SslContext, ErrorStack> {
    let mut context = context(SslMethod::tls_client(), &spec.common)?;
    if spec.pins.is_empty() {
        context.set_verify(if spec.verify { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    } else {
        expect_keys(&mut context, spec);
    }
    if let Some(key_log) = key_log {
        key_log.install(&mut context);
    }
    match trust {
        Trust::These(loaded) | Trust::System(loaded) => context.set_cert_store(store(&loaded.certificates)?),
        Trust::Defaults => context.set_default_verify_paths()?,
        Trust::Nobody => {}
    }
    if let Some(own) = own {
        show(&mut context, own)?;
    }
    if !spec.common.alpn.is_empty() {
        context.set_alpn_protos(&wire_alpn(&spec.common.alpn))?;
    }
    keep_sessions(&mut context)?;
    Ok(context.build())
}

/// The server's own key must be one of `spec.pins`, beside all else that is verified, if anything is. It is looked at before
/// our certificate is shown, and not again when a session is resumed: none is kept under another policy.
fn expect_keys(context: &mut SslContextBuilder, spec: &ClientTlsSpec) {
    let (pins, verify) = (spec.pins.clone(), spec.verify);
    context.set_verify_callback(SslVerifyMode::PEER, move |good, certificates| {
        let own = certificates.error_depth() == 0;
        let hash = certificates.current_cert().and_then(key_hash);
        if own && hash.is_none_or(|hash| !pins.contains(&hash)) {
            certificates.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
            return false;
        }
        if !verify {
            certificates.set_error(X509VerifyResult::OK);
        }
        good || !verify
    });
}

/// The SHA-256 of a certificate's key, as a whole (SubjectPublicKeyInfo, RFC 5280 section 4.1.2.7).
fn key_hash(certificate: &X509Ref) -> Option<[u8; 32]> {
    Some(sha256(&certificate.public_key().ok()?.public_key_to_der().ok()?))
}

/// One protocol as [`wire_alpn`] has them.
fn wire_protocol(protocol: &[u8]) -> Vec<u8> {
    let length = u8::try_from(protocol.len()).unwrap_or(0);
    std::iter::once(length).chain(protocol.iter().copied().take(length.into())).collect()
}

/// An address in text form, with or without the brackets of an IPv6 address in a configured one.
fn parse_address(name: &str) -> Option<IpAddr> {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(name).parse().ok()
}

/// Only dNSNames count, never the common name, and a wildcard only as the whole first label (RFC 9525 section 6.3).
fn expect_host(ssl: &mut Ssl, host: &str) -> Result<(), ErrorStack> {
    let parameters = ssl.param_mut();
    let flags = X509CheckFlags::NO_PARTIAL_WILDCARDS;
    #[cfg(not(feature = "aws-lc"))]
    let flags = flags | X509CheckFlags::NEVER_CHECK_SUBJECT;
    parameters.set_hostflags(flags);
    parameters.set_host(host)
}

/// Without a name to compare nobody can be verified, so nobody is.
fn refuse_everybody(ssl: &mut Ssl) {
    ssl.set_verify_callback(SslVerifyMode::PEER, |_, certificates| {
        certificates.set_error(X509VerifyResult::APPLICATION_VERIFICATION);
        false
    });
}
