// SPDX-License-Identifier: MIT OR Apache-2.0
//! Session tickets: who may resume what, and for how long.
//!
//! Invariants: the keys that seal tickets and the session id context both derive from a digest of everything that a
//! session was agreed under, so a ticket of one policy is noise to every other; they are the same in all workers and,
//! as long as the material is the same, over reloads. A session ends [`LIFETIME`] after its first full handshake,
//! however often its ticket is renewed.
//!
//! Not here: what belongs to the digest (tls_server.rs).

use crate::sys::openssl::{TicketAge, set_ticket_keys, ticket_key_length};
use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::Id;
use openssl::pkey_ctx::PkeyCtx;
use openssl::sha::Sha256;
use openssl::ssl::SslContextBuilder;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds from the first full handshake after which a session is not resumed any more.
pub(super) const LIFETIME: u64 = 2 * 60 * 60;

/// Secret of this process (32 random bytes) from which session ticket keys derive; the same in all workers.
#[derive(Clone)]
pub struct ProcessSecret {
    bytes: [u8; 32],
    since: u64,
}

impl ProcessSecret {
    /// A new one.
    ///
    /// # Errors
    /// When the library has no random numbers.
    pub fn generate() -> Result<Self, ErrorStack> {
        let mut secret = [0; 32];
        openssl::rand::rand_bytes(&mut secret)?;
        Ok(Self { bytes: secret, since: system_seconds() })
    }

    /// One that is known, for tests.
    #[cfg(test)]
    pub(crate) const fn of(byte: u8) -> Self {
        Self { bytes: [byte; 32], since: 0 }
    }

    /// When it was made, in seconds since 1970: as old as the keys that derive from it are, for it is never replaced.
    pub fn since(&self) -> u64 {
        self.since
    }
}

impl std::fmt::Debug for ProcessSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProcessSecret(…)")
    }
}

/// Collects what a session depends on. Every field goes in with its length, so no two lists of fields look alike.
pub(super) struct Material(Sha256);

impl Material {
    pub(super) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(super) fn add(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    /// Adds a set: the order of `fields` does not matter, their number does.
    pub(super) fn add_set(&mut self, mut fields: Vec<Vec<u8>>) {
        fields.sort();
        fields.dedup();
        self.add(&(fields.len() as u64).to_be_bytes());
        fields.iter().for_each(|field| self.add(field));
    }

    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

/// Makes `context` issue and take tickets of exactly the policy that `digest` stands for, no older than `age` says.
pub(super) fn install(
    context: &mut SslContextBuilder,
    secret: &ProcessSecret,
    digest: &[u8; 32],
    age: TicketAge,
) -> Result<(), ErrorStack> {
    let mut id = [0; 32];
    derive(secret, digest, b"tunnel session id context", &mut id)?;
    context.set_session_id_context(&id)?;
    let mut keys = vec![0; ticket_key_length(context)];
    derive(secret, digest, b"tunnel session ticket keys", &mut keys)?;
    set_ticket_keys(context, &keys)?;
    #[cfg(not(feature = "aws-lc"))]
    {
        // One ticket for a handshake: clients that want more connections at once get one with each of them.
        context.set_num_tickets(1)?;
        crate::sys::openssl::limit_ticket_age(context, age)?;
    }
    #[cfg(feature = "aws-lc")]
    let _ = age; // that library has a limit of its own
    Ok(())
}

/// HKDF with SHA-256 (RFC 5869): `secret` is the key, `digest` the salt, `label` the info.
fn derive(secret: &ProcessSecret, digest: &[u8; 32], label: &[u8], out: &mut [u8]) -> Result<(), ErrorStack> {
    let mut hkdf = PkeyCtx::new_id(Id::HKDF)?;
    hkdf.derive_init()?;
    hkdf.set_hkdf_md(Md::sha256())?;
    hkdf.set_hkdf_key(&secret.bytes)?;
    hkdf.set_hkdf_salt(digest)?;
    hkdf.add_hkdf_info(label)?;
    hkdf.derive(Some(out))?;
    Ok(())
}

/// The default limit by the system's clock.
pub(super) fn system_age() -> TicketAge {
    TicketAge { limit: LIFETIME, now: system_seconds }
}

#[expect(
    clippy::disallowed_methods,
    reason = "called by the TLS library, which lends no Ctx, once per ticket; and once while starting"
)]
fn system_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derived(secret: u8, digest: u8, label: &[u8]) -> [u8; 80] {
        let mut out = [0; 80];
        derive(&ProcessSecret::of(secret), &[digest; 32], label, &mut out).unwrap();
        out
    }

    #[test]
    fn keys_depend_on_secret_digest_and_label_alone() {
        assert_eq!(derived(1, 2, b"a"), derived(1, 2, b"a"));
        assert_ne!(derived(1, 2, b"a"), derived(2, 2, b"a"));
        assert_ne!(derived(1, 2, b"a"), derived(1, 3, b"a"));
        assert_ne!(derived(1, 2, b"a"), derived(1, 2, b"b"));
    }

    #[test]
    fn derivation_is_hkdf() {
        // RFC 5869 has no vector with a 32-byte key; computed with `openssl kdf -keylen 16 -kdfopt digest:SHA2-256
        // -kdfopt hexkey:01.. -kdfopt hexsalt:02.. -kdfopt info:a HKDF`.
        let expected = "f390e133f1417fa4dbce7a61f430051f";
        let hex: String = derived(1, 2, b"a")[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn material_is_unambiguous() {
        let digest = |fields: &[&[u8]]| {
            let mut material = Material::new();
            fields.iter().for_each(|field| material.add(field));
            material.finish()
        };
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
        assert_ne!(digest(&[b"a"]), digest(&[b"a", b""]));
        let set = |fields: &[&[u8]]| {
            let mut material = Material::new();
            material.add_set(fields.iter().map(|field| field.to_vec()).collect());
            material.finish()
        };
        assert_eq!(set(&[b"a", b"b"]), set(&[b"b", b"a"]));
        assert_ne!(set(&[b"a"]), set(&[b"a", b"b"]));
    }
}
