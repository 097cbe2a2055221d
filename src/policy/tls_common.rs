// SPDX-License-Identifier: MIT OR Apache-2.0
//! What contexts of both sides have in common: versions, algorithms, and how the library may use memory.
//!
//! Invariants: TLS 1.2 is the floor; no renegotiation, no compression; nothing is built from a setting that did not
//! pass [`check`].
//!
//! Not here: certificates, verification, resumption.

use super::tls_spec::{CommonTlsSpec, Problem, TlsVersion};
use openssl::error::ErrorStack;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};

/// TLS 1.2 without a `ciphers` key: forward secrecy and authenticated encryption only (RFC 9325 section 4.2).
pub(super) const DEFAULT_CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

/// TLS 1.3 without a `ciphersuites` key: the mandatory suite first (RFC 8446 section 9.1), which is also the fastest.
#[cfg(not(feature = "aws-lc"))]
pub(super) const DEFAULT_CIPHERSUITES: &str =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/// Tries every setting on a context that is thrown away, so that all problems are found at once.
pub(super) fn check(spec: &CommonTlsSpec, problems: &mut Vec<Problem>) {
    let mut scratch = match SslContext::builder(SslMethod::tls()) {
        Ok(scratch) => scratch,
        Err(error) => return problems.push(Problem::new("tls", reason(&error))),
    };
    if let (Some(min), Some(max)) = (spec.min_version, spec.max_version) {
        if min > max {
            problems.push(Problem::new("max_version", "max_version is below min_version"));
        }
    }
    let settings = [
        ("ciphers", &spec.ciphers, set_ciphers(&mut scratch, spec)),
        ("ciphersuites", &spec.ciphersuites, set_suites(&mut scratch, spec)),
        ("groups", &spec.groups, set_groups(&mut scratch, spec)),
    ];
    for (key, value, done) in settings {
        let Some(value) = value else { continue };
        if cfg!(feature = "aws-lc") && key == "ciphersuites" {
            let message = "the TLS library of this build has fixed TLS 1.3 suites; remove the key";
            problems.push(Problem::new(key, message));
        }
        if let Err(error) = done {
            problems.push(Problem::new(
                key,
                format!("\"{value}\" is refused by the TLS library: {}", reason(&error)),
            ));
        }
    }
    if let Some(name) = spec.alpn.iter().find(|name| name.is_empty() || name.len() > 255) {
        let message = format!("the protocol name \"{name}\" must have 1 to 255 bytes (RFC 7301 section 3.1)");
        problems.push(Problem::new("alpn", message));
    } else if wire_alpn(&spec.alpn).len() > usize::from(u16::MAX) {
        problems.push(Problem::new("alpn", "the protocol names together are longer than 65535 bytes"));
    }
}

/// A context with everything of `spec` but ALPN, which each side does in its own way.
pub(super) fn context(method: SslMethod, spec: &CommonTlsSpec) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContext::builder(method)?;
    context.set_min_proto_version(Some(version(spec.min_version.unwrap_or(TlsVersion::Tls12))))?;
    context.set_max_proto_version(spec.max_version.map(version))?;
    set_ciphers(&mut context, spec)?;
    set_suites(&mut context, spec)?;
    set_groups(&mut context, spec)?;
    context.set_options(SslOptions::NO_RENEGOTIATION);
    #[cfg(not(feature = "aws-lc"))]
    context.set_options(SslOptions::NO_COMPRESSION);
    context.set_mode(modes());
    // Whole records come out of memory, so reading ahead would only cost a second buffer.
    context.set_read_ahead(false);
    // Sessions are kept by clients (tickets), or by the worker that connects; a store in the context would be
    // memory nobody asks for.
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    Ok(context)
}

/// * `RELEASE_BUFFERS`: an idle connection keeps no record buffers.
/// * `AUTO_RETRY`: after a ticket or a key update a read goes on to the next record, so that "want read" always
///   means that the socket object is drained.
/// * Not `ENABLE_PARTIAL_WRITE`: the collector takes everything, so one call may make many records.
/// * `ACCEPT_MOVING_WRITE_BUFFER`: a write that must be repeated may come from another buffer.
/// * `NO_AUTO_CHAIN`: the chain is what the file says; else the library builds one in every handshake.
fn modes() -> SslMode {
    let modes = SslMode::AUTO_RETRY | SslMode::ACCEPT_MOVING_WRITE_BUFFER | SslMode::RELEASE_BUFFERS;
    modes | SslMode::NO_AUTO_CHAIN
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::Tls12 => SslVersion::TLS1_2,
        TlsVersion::Tls13 => SslVersion::TLS1_3,
    }
}

fn set_ciphers(context: &mut SslContextBuilder, spec: &CommonTlsSpec) -> Result<(), ErrorStack> {
    context.set_cipher_list(spec.ciphers.as_deref().unwrap_or(DEFAULT_CIPHERS))
}

#[cfg(not(feature = "aws-lc"))]
fn set_suites(context: &mut SslContextBuilder, spec: &CommonTlsSpec) -> Result<(), ErrorStack> {
    context.set_ciphersuites(spec.ciphersuites.as_deref().unwrap_or(DEFAULT_CIPHERSUITES))
}

/// AWS-LC has all three suites on, in an order of its own; see [`check`].
#[cfg(feature = "aws-lc")]
fn set_suites(_context: &mut SslContextBuilder, _spec: &CommonTlsSpec) -> Result<(), ErrorStack> {
    Ok(())
}

/// Without a `groups` key the library's own default, which follows its updates (post-quantum groups since 3.5).
fn set_groups(context: &mut SslContextBuilder, spec: &CommonTlsSpec) -> Result<(), ErrorStack> {
    spec.groups.as_deref().map_or(Ok(()), |groups| context.set_groups_list(groups))
}

/// A list of protocol names as it stands in the extension: each with its length before it. Names that cannot be
/// written so are left out ([`check`] has refused them).
pub(super) fn wire_alpn(names: &[String]) -> Vec<u8> {
    let mut wire = Vec::new();
    for name in names {
        if let Ok(length) = u8::try_from(name.len()) {
            wire.push(length);
            wire.extend_from_slice(name.as_bytes());
        }
    }
    wire
}

/// A store that trusts exactly `authorities`.
pub(super) fn store(authorities: &[X509]) -> Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for authority in authorities {
        store.add_cert(authority.clone())?;
    }
    Ok(store.build())
}

/// What the library says, in a few words.
pub(super) fn reason(error: &ErrorStack) -> String {
    let mut words: Vec<String> = Vec::new();
    for error in error.errors() {
        let Some(reason) = error.reason() else { continue };
        let word = error.data().map_or_else(|| reason.to_owned(), |data| format!("{reason} ({data})"));
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() { "no reason given".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(spec: &CommonTlsSpec) -> Vec<&'static str> {
        let mut problems = Vec::new();
        check(spec, &mut problems);
        problems.iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_fine() {
        assert!(keys(&CommonTlsSpec::default()).is_empty());
        assert!(context(SslMethod::tls_server(), &CommonTlsSpec::default()).is_ok());
    }

    #[test]
    fn every_bad_setting_is_reported_at_once() {
        let spec = CommonTlsSpec {
            min_version: Some(TlsVersion::Tls13),
            max_version: Some(TlsVersion::Tls12),
            ciphers: Some("NONSENSE".into()),
            ciphersuites: Some("TLS_NONSENSE".into()),
            groups: Some("nonsense".into()),
            alpn: vec!["h2".into(), String::new()],
            key_log: None,
        };
        assert_eq!(keys(&spec), ["max_version", "ciphers", "ciphersuites", "groups", "alpn"]);
    }

    #[test]
    fn idle_connections_keep_no_buffers() {
        let mut context = context(SslMethod::tls_server(), &CommonTlsSpec::default()).unwrap();
        let modes = context.set_mode(SslMode::empty());
        assert!(modes.contains(SslMode::RELEASE_BUFFERS | SslMode::AUTO_RETRY));
        assert!(!modes.contains(SslMode::ENABLE_PARTIAL_WRITE));
        assert!(context.options().contains(SslOptions::NO_RENEGOTIATION));
    }

    #[test]
    fn protocol_names_are_written_with_their_lengths() {
        assert_eq!(wire_alpn(&["h2".into(), "http/1.1".into()]), b"\x02h2\x08http/1.1");
    }
}
