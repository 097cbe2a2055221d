// SPDX-License-Identifier: MIT OR Apache-2.0
//! Throw-away certificates and the TLS settings of the generator's two ends.
//!
//! Every peer is given the same certificate (ECDSA P-256, self-signed), the same suite (AES-128-GCM with SHA-256)
//! and the same group (X25519), so that rows differ by the program and not by the cryptography it prefers.
//! Not here: the peers' own configuration (`configs.rs`).

use std::fs;
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslSession, SslSessionCacheMode,
    SslVerifyMode, SslVersion,
};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};

use super::Fallible;

/// The name in the certificate and in the client's SNI.
pub(super) const SERVER_NAME: &str = "bench.example";
/// The only TLS 1.3 suite of every row.
pub(super) const SUITE_13: &str = "TLS_AES_128_GCM_SHA256";
/// The only TLS 1.2 suite of every row.
pub(super) const SUITE_12: &str = "ECDHE-ECDSA-AES128-GCM-SHA256";

/// Days the certificate is valid: longer than any run.
const CERTIFICATE_DAYS: u32 = 7;

/// Which TLS the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// TLS 1.2 only.
    V12,
    /// TLS 1.3 only.
    V13,
}

/// The client's side: a context and, for resumption, a session in DER form.
#[derive(Debug, Clone)]
pub(super) struct ClientTls {
    context: SslContext,
    session: Option<Vec<u8>>,
}

impl ClientTls {
    /// A client that trusts anyone: what is measured is the peer, not the generator's verification.
    pub(super) fn new(version: Version) -> Result<Self, ErrorStack> {
        let mut builder = SslContextBuilder::new(SslMethod::tls_client())?;
        builder.set_verify(SslVerifyMode::NONE);
        builder.set_session_cache_mode(SslSessionCacheMode::OFF);
        match version {
            Version::V12 => {
                builder.set_max_proto_version(Some(SslVersion::TLS1_2))?;
                builder.set_cipher_list(SUITE_12)?;
                // In TLS 1.2 this list also says which curves a certificate may use.
                builder.set_groups_list("X25519:P-256")?;
            }
            Version::V13 => {
                builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
                #[cfg(not(feature = "aws-lc"))]
                builder.set_ciphersuites(SUITE_13)?;
                builder.set_groups_list("X25519")?;
            }
        }
        Ok(Self { context: builder.build(), session: None })
    }

    /// The same client, whose connections offer `session` (DER, as `SslSessionRef::to_der` gives it).
    pub(super) fn offering(self, session: Vec<u8>) -> Self {
        Self { session: Some(session), ..self }
    }

    /// The state of one connection to be.
    pub(super) fn connection(&self) -> Result<Ssl, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_hostname(SERVER_NAME)?;
        if let Some(der) = &self.session {
            offer_session(&mut ssl, der)?;
        }
        ssl.set_connect_state();
        Ok(ssl)
    }
}

/// Hands a session to a connection: a copy of its own, since a connection may spoil the one it was given.
#[expect(unsafe_code, reason = "the openssl crate has no safe call for this")]
fn offer_session(ssl: &mut Ssl, der: &[u8]) -> Result<(), ErrorStack> {
    let session = SslSession::from_der(der)?;
    // SAFETY: the crate asks that the session come from the same context, because sessions may carry data their
    // context's callbacks interpret. This one was parsed from bytes, so it carries none, and it was taken from a
    // connection of the very context `ssl` was made of (`connect::fetch_session`). OpenSSL takes its own reference.
    unsafe { ssl.set_session(&session) }
}

/// A TLS server for the peers that encrypt towards the backend: TLS 1.3, tickets as the library does by default.
pub(super) fn server_context(pem: &Path) -> Result<SslContext, ErrorStack> {
    let mut builder = SslContextBuilder::new(SslMethod::tls_server())?;
    builder.set_certificate_chain_file(pem)?;
    builder.set_private_key_file(pem, SslFiletype::PEM)?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    builder.set_session_id_context(b"bench")?;
    Ok(builder.build())
}

/// Writes a new certificate and its key into one file in `dir`.
pub(super) fn write_certificate(dir: &Path) -> Fallible<PathBuf> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let mut pem = self_signed(&key)?.to_pem()?;
    pem.extend_from_slice(&key.private_key_to_pem_pkcs8()?);
    let path = dir.join("bench.pem");
    fs::write(&path, pem)?;
    Ok(path)
}

fn self_signed(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", SERVER_NAME)?;
    let name = name.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*BigNum::from_u32(1)?.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(CERTIFICATE_DAYS)?)?;
    builder.set_pubkey(key)?;
    let names = SubjectAlternativeName::new().dns(SERVER_NAME).build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
