// SPDX-License-Identifier: MIT OR Apache-2.0
//! The few calls of the TLS library that the safe crate lacks: session ticket keys, a certificate chain of its own
//! for each certificate of a context, the age of tickets, offering a session again, and which parts of a name belong together.
//!
//! Invariants: nothing here keeps a pointer beyond the life of the context it was given; callbacks never unwind into
//! C; no policy is decided here, except that a ticket which cannot be read is as good as none.
//!
//! Not here: which keys, which chain, how long (policy/tls_tickets.rs, policy/tls_server.rs).
#![expect(unsafe_code, reason = "foreign functions live in this folder")]

use foreign_types::ForeignTypeRef;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContext, SslContextBuilder, SslRef, SslSession};
use openssl::x509::{X509NameEntryRef, X509Ref};
use openssl_sys as ffi;
#[cfg(not(feature = "aws-lc"))]
use std::ffi::c_void;
use std::ptr;

#[cfg(not(feature = "aws-lc"))]
pub use age::limit_ticket_age;

/// The TLS library in use now, in its own words; it may be newer than the one we were built with.
pub fn library_version() -> &'static str {
    openssl::version::version()
}

/// The group of the last key exchange of `ssl`, by its usual name ("X25519", "P-256"); empty where there was none, or one
/// without a name here (SSL_get_negotiated_group(3); RFC 8446 section 4.2.7 and the registry of IANA).
pub fn group(ssl: &SslRef) -> &'static str {
    #[cfg(feature = "aws-lc")]
    // SAFETY: `ssl` is live, and the call only reads it.
    let id = i64::from(unsafe { SSL_get_group_id(ssl.as_ptr()) });
    #[cfg(not(feature = "aws-lc"))]
    // SAFETY: `ssl` is live; the control only reads it and takes no pointer (`SSL_CTRL_GET_NEGOTIATED_GROUP`).
    let id = unsafe { ffi::SSL_ctrl(ssl.as_ptr(), GET_NEGOTIATED_GROUP, 0, ptr::null_mut::<c_void>()) };
    // Where the library has a number of its own, it answers that, else IANA's with a mark above it.
    match id & 0xff_ffff {
        0x1d | 1034 => "X25519",
        0x1e | 1035 => "X448",
        0x17 | 415 => "P-256",
        0x18 | 715 => "P-384",
        0x19 | 716 => "P-521",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x100 | 1126 => "ffdhe2048",
        0x101 | 1127 => "ffdhe3072",
        0x102 | 1128 => "ffdhe4096",
        0x1a | 927 => "brainpoolP256r1",
        0x1b | 931 => "brainpoolP384r1",
        0x1c | 933 => "brainpoolP512r1",
        _ => "",
    }
}

/// How old a session may become, counted from its first full handshake however often its ticket is renewed.
#[derive(Clone, Copy, Debug)]
pub struct TicketAge {
    /// Seconds after which a ticket is ignored and a full handshake made.
    pub limit: u64,
    /// The time now, in seconds since 1970. A function, because the library lends no context to its callbacks.
    pub now: fn() -> u64,
}

/// Binds what `ssl`, a server's, agrees on to `scope`: a session of another scope is not resumed, which costs its client a
/// full handshake and nothing else (SSL_set_session_id_context(3)).
///
/// # Errors
/// Out of memory.
pub fn set_session_scope(ssl: &mut SslRef, scope: &[u8; 32]) -> Result<(), ErrorStack> {
    // SAFETY: `ssl` is live; the call copies 32 bytes, the most it takes, from a valid pointer.
    let done = unsafe { SSL_set_session_id_context(ssl.as_ptr(), scope.as_ptr(), 32) };
    if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// How many bytes of key material session tickets of `context` need: 80 with OpenSSL 3, 48 with AWS-LC.
pub fn ticket_key_length(context: &mut SslContextBuilder) -> usize {
    #[cfg(feature = "aws-lc")]
    {
        let _ = context;
        48
    }
    #[cfg(not(feature = "aws-lc"))]
    {
        // SAFETY: the builder owns a live SSL_CTX; with a null buffer this control only answers the length
        // (SSL_CTX_set_tlsext_ticket_key_cb(3), ssl/s3_lib.c `SSL_CTRL_SET_TLSEXT_TICKET_KEYS`).
        let length =
            unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), SET_TICKET_KEYS, 0, ptr::null_mut::<c_void>()) };
        usize::try_from(length).unwrap_or(0)
    }
}

/// Sets the keys that session tickets are sealed with; `keys` is [`ticket_key_length`] bytes (key name, MAC key,
/// cipher key), which are copied.
///
/// # Errors
/// When the library refuses, which it does for a wrong length.
pub fn set_ticket_keys(context: &mut SslContextBuilder, keys: &[u8]) -> Result<(), ErrorStack> {
    #[cfg(feature = "aws-lc")]
    // SAFETY: the builder owns a live SSL_CTX; `keys` is valid for its length, is only read, and is copied.
    let done =
        unsafe { ffi::SSL_CTX_set_tlsext_ticket_keys(context.as_ptr(), keys.as_ptr().cast(), keys.len()) }
            == 1;
    #[cfg(not(feature = "aws-lc"))]
    let done = {
        let length = std::ffi::c_long::try_from(keys.len()).unwrap_or(0);
        let bytes = keys.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: the builder owns a live SSL_CTX; the control reads `length` bytes of `keys`, which has that many,
        // copies them and writes nothing through the pointer.
        let answer = unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), SET_TICKET_KEYS, length, bytes) };
        answer == 1
    };
    if done { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Adds a certificate to the chain that is sent after the certificate set last. (The safe crate's
/// `add_extra_chain_cert` has one chain per context, so RSA and ECDSA could not differ.)
///
/// # Errors
/// When the library refuses, out of memory or because the certificate is too weak for its security level.
pub fn add_chain_certificate(
    context: &mut SslContextBuilder,
    certificate: &X509Ref,
) -> Result<(), ErrorStack> {
    // The address of a reference of the safe crate is the object's own: that is how it maps foreign types.
    let raw = ptr::from_ref(certificate).cast::<ffi::X509>().cast_mut();
    #[cfg(feature = "aws-lc")]
    // SAFETY: both pointers are live; the call takes a reference of its own to the certificate ("add1").
    let done = unsafe { ffi::SSL_CTX_add1_chain_cert(context.as_ptr(), raw) } == 1;
    #[cfg(not(feature = "aws-lc"))]
    // SAFETY: both pointers are live; with 1 as `larg` ("add1") the context takes a reference of its own to the
    // certificate and does not change it.
    let done =
        unsafe { ffi::SSL_CTX_ctrl(context.as_ptr(), ffi::SSL_CTRL_CHAIN_CERT, 1, raw.cast::<c_void>()) }
            == 1;
    if done { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Which relative distinguished name an attribute of a distinguished name belongs to, counted from 0: several attributes may
/// be one (X.501 section 9.3).
pub fn relative_name(entry: &X509NameEntryRef) -> i32 {
    // The address of a reference of the safe crate is the object's own, see `add_chain_certificate`.
    let raw = ptr::from_ref(entry).cast::<ffi::X509_NAME_ENTRY>();
    // SAFETY: the reference is to a live X509_NAME_ENTRY, which the call only reads.
    unsafe { X509_NAME_ENTRY_set(raw) }
}

#[cfg(feature = "aws-lc")]
use ffi::X509_NAME_ENTRY_set;
#[cfg(not(feature = "aws-lc"))]
// Signature as in openssl/x509.h of 1.1.0 and later.
unsafe extern "C" {
    fn X509_NAME_ENTRY_set(entry: *const ffi::X509_NAME_ENTRY) -> std::ffi::c_int;
}

/// A session a client may offer again, with the context it was agreed under.
///
/// The context stands for the policy and the worker: a session is never offered under another one. Which server it is
/// for, and by what name that server was verified, is for the owner to remember.
///
/// OpenSSL spoils the session of a connection that is dropped without close_notify, a rule TLS 1.1 gave up (RFC 4346
/// section 7.2.1): who drops one that may be resumed sets its shutdown state to "sent" before.
#[derive(Clone)]
pub struct KeptSession {
    session: SslSession,
    context: SslContext,
}

impl KeptSession {
    /// The newest session of `ssl`, if it can be resumed at all: with TLS 1.3 not before a ticket has been read,
    /// which comes after the handshake.
    pub fn of(ssl: &SslRef) -> Option<Self> {
        let session = newest(ssl)?;
        let raw = ptr::from_ref(session).cast::<ffi::SSL_SESSION>();
        // SAFETY: the reference is to a live SSL_SESSION, whose address is that of the reference (see
        // `add_chain_certificate`); the call only reads it.
        let resumable = unsafe { SSL_SESSION_is_resumable(raw) } == 1;
        resumable.then(|| Self { session: session.to_owned(), context: ssl.ssl_context().to_owned() })
    }

    /// Offers the session in the handshake that `ssl` is about to begin; answers whether it did, which it does not
    /// when `ssl` belongs to another context.
    ///
    /// # Errors
    /// Out of memory.
    pub fn offer(&self, ssl: &mut SslRef) -> Result<bool, ErrorStack> {
        if !ptr::eq(ssl.ssl_context(), &*self.context) {
            return Ok(false);
        }
        // SAFETY: the session was made by this very context, as the safe crate demands: the context is kept alive
        // here, so no other one can have its address.
        unsafe { ssl.set_session(&self.session) }.map(|()| true)
    }
}

impl std::fmt::Debug for KeptSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptSession(…)") // it holds a secret
    }
}

/// Prepares a client's context for [`KeptSession::of`]: AWS-LC shows a session that came with a ticket of TLS 1.3 to a
/// callback alone, which keeps it with its connection. OpenSSL needs nothing.
///
/// # Errors
/// Out of memory.
pub fn keep_sessions(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    #[cfg(feature = "aws-lc")]
    {
        use openssl::ssl::SslSessionCacheMode;
        let slot = ticket_slot()?;
        context.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
        context.set_new_session_callback(move |ssl, session| ssl.set_ex_data(slot, session));
    }
    let _ = context;
    Ok(())
}

/// The newest session of a connection.
#[cfg(not(feature = "aws-lc"))]
fn newest(ssl: &SslRef) -> Option<&openssl::ssl::SslSessionRef> {
    ssl.session()
}

/// The newest session of a connection.
#[cfg(feature = "aws-lc")]
fn newest(ssl: &SslRef) -> Option<&openssl::ssl::SslSessionRef> {
    match ssl.ex_data(ticket_slot().ok()?) {
        Some(session) => Some(session),
        None => ssl.session(),
    }
}

/// Where a connection keeps the session its last ticket brought.
#[cfg(feature = "aws-lc")]
fn ticket_slot() -> Result<openssl::ex_data::Index<openssl::ssl::Ssl, SslSession>, ErrorStack> {
    use std::sync::OnceLock;
    static SLOT: OnceLock<openssl::ex_data::Index<openssl::ssl::Ssl, SslSession>> = OnceLock::new();
    match SLOT.get() {
        Some(slot) => Ok(*slot),
        None => {
            let slot = openssl::ssl::Ssl::new_ex_index()?;
            Ok(*SLOT.get_or_init(|| slot))
        }
    }
}

#[cfg(feature = "aws-lc")]
use ffi::{SSL_SESSION_is_resumable, SSL_get_group_id, SSL_set_session_id_context};
#[cfg(not(feature = "aws-lc"))]
// Signatures as in openssl/ssl.h of 1.1.1 and later; see SSL_set_session_id_context(3), SSL_SESSION_is_resumable(3).
unsafe extern "C" {
    fn SSL_set_session_id_context(
        ssl: *mut ffi::SSL,
        scope: *const u8,
        length: std::ffi::c_uint,
    ) -> std::ffi::c_int;
    fn SSL_SESSION_is_resumable(session: *const ffi::SSL_SESSION) -> std::ffi::c_int;
}

/// The age of tickets, counted from the first handshake. AWS-LC has no such callbacks: there a session renewed again
/// and again lives for that library's own limit.
#[cfg(not(feature = "aws-lc"))]
mod age {
    use super::TicketAge;
    use openssl::error::ErrorStack;
    use openssl::ex_data::Index;
    use openssl::ssl::{SslContext, SslContextBuilder};
    use openssl_sys as ffi;
    use std::ffi::{c_int, c_uchar, c_void};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::ptr;
    use std::sync::{Arc, OnceLock};

    /// Makes `context` stamp each ticket with the time of the session's first full handshake and ignore tickets
    /// whose stamp is older than `age` allows (or missing, or from the future): the client then gets a full
    /// handshake and a new ticket, never an error.
    ///
    /// # Errors
    /// Out of memory.
    pub fn limit_ticket_age(context: &mut SslContextBuilder, age: TicketAge) -> Result<(), ErrorStack> {
        let age = Arc::new(age);
        let argument = Arc::as_ptr(&age).cast_mut().cast::<c_void>();
        context.set_ex_data(keeper()?, age);
        // SAFETY: the builder owns a live SSL_CTX; the callbacks have the types the library documents
        // (SSL_CTX_set_session_ticket_cb(3)). `argument` stays valid for as long as they can be called: the Arc it
        // points into was just given to the context itself, which drops it when its last SSL is gone.
        let done = unsafe {
            SSL_CTX_set_session_ticket_cb(context.as_ptr(), Some(on_generate), Some(on_decrypt), argument)
        };
        if done == 1 { Ok(()) } else { Err(ErrorStack::get()) }
    }

    /// The slot of a context that keeps its [`TicketAge`] alive.
    fn keeper() -> Result<Index<SslContext, Arc<TicketAge>>, ErrorStack> {
        static KEEPER: OnceLock<Index<SslContext, Arc<TicketAge>>> = OnceLock::new();
        match KEEPER.get() {
            Some(index) => Ok(*index),
            None => {
                let index = SslContext::new_ex_index()?;
                Ok(*KEEPER.get_or_init(|| index))
            }
        }
    }

    /// Called before a ticket is sealed: 1 to go on, 0 to fail the connection.
    unsafe extern "C" fn on_generate(ssl: *mut ffi::SSL, argument: *mut c_void) -> c_int {
        let generate = || {
            // SAFETY: the library passes the live SSL it works on.
            let session = unsafe { ffi::SSL_get_session(ssl) };
            // SAFETY: as above.
            let resumed = unsafe { ffi::SSL_session_reused(ssl) } == 1;
            if resumed && stamp(session).is_some() {
                return 1; // a renewal inherits the stamp of the session it renews
            }
            // SAFETY: the argument given at registration, alive with the context (see `limit_ticket_age`).
            let age = unsafe { &*argument.cast::<TicketAge>() };
            let bytes = (age.now)().to_be_bytes();
            // SAFETY: the session is live while its SSL is; the library copies the eight bytes.
            unsafe { SSL_SESSION_set1_ticket_appdata(session, bytes.as_ptr().cast(), bytes.len()) }
        };
        catch_unwind(AssertUnwindSafe(generate)).unwrap_or(0)
    }

    /// Called after a ticket was opened, or could not be: answers what to do with it.
    unsafe extern "C" fn on_decrypt(
        _ssl: *mut ffi::SSL,
        session: *mut ffi::SSL_SESSION,
        _key_name: *const c_uchar,
        _key_name_length: usize,
        status: c_int,
        argument: *mut c_void,
    ) -> c_int {
        let decrypt = || {
            if status != SUCCESS && status != SUCCESS_RENEW {
                return IGNORE_RENEW; // none, or not ours: a full handshake and a new one
            }
            // SAFETY: the argument given at registration, alive with the context (see `limit_ticket_age`).
            let age = unsafe { &*argument.cast::<TicketAge>() };
            match stamp(session).and_then(|first| (age.now)().checked_sub(first)) {
                Some(old) if old <= age.limit && status == SUCCESS => USE,
                Some(old) if old <= age.limit => USE_RENEW,
                _ => IGNORE_RENEW,
            }
        };
        catch_unwind(AssertUnwindSafe(decrypt)).unwrap_or(IGNORE_RENEW)
    }

    /// The time stamped on a session, if there is one.
    fn stamp(session: *mut ffi::SSL_SESSION) -> Option<u64> {
        if session.is_null() {
            return None;
        }
        let mut data = ptr::null_mut::<c_void>();
        let mut length = 0;
        // SAFETY: the session is live during the callback that calls us; both outputs are ours to write.
        let found = unsafe { SSL_SESSION_get0_ticket_appdata(session, &raw mut data, &raw mut length) } == 1;
        if !found || data.is_null() || length != size_of::<u64>() {
            return None;
        }
        // SAFETY: the library answered `length` readable bytes at `data`, which is eight; alignment is not assumed.
        let bytes = unsafe { data.cast::<[u8; 8]>().read_unaligned() };
        Some(u64::from_be_bytes(bytes))
    }

    // SSL_TICKET_STATUS and SSL_TICKET_RETURN of openssl/ssl.h.
    const SUCCESS: c_int = 5;
    const SUCCESS_RENEW: c_int = 6;
    const IGNORE_RENEW: c_int = 2;
    const USE: c_int = 3;
    const USE_RENEW: c_int = 4;

    type Generate = unsafe extern "C" fn(*mut ffi::SSL, *mut c_void) -> c_int;
    type Decrypt = unsafe extern "C" fn(
        *mut ffi::SSL,
        *mut ffi::SSL_SESSION,
        *const c_uchar,
        usize,
        c_int,
        *mut c_void,
    ) -> c_int;

    // Signatures as in openssl/ssl.h of 1.1.1 and later; see SSL_CTX_set_session_ticket_cb(3).
    unsafe extern "C" {
        fn SSL_CTX_set_session_ticket_cb(
            context: *mut ffi::SSL_CTX,
            generate: Option<Generate>,
            decrypt: Option<Decrypt>,
            argument: *mut c_void,
        ) -> c_int;
        fn SSL_SESSION_set1_ticket_appdata(
            session: *mut ffi::SSL_SESSION,
            data: *const c_void,
            length: usize,
        ) -> c_int;
        fn SSL_SESSION_get0_ticket_appdata(
            session: *mut ffi::SSL_SESSION,
            data: *mut *mut c_void,
            length: *mut usize,
        ) -> c_int;
    }
}

/// `SSL_CTRL_GET_NEGOTIATED_GROUP` of openssl/ssl.h, part of its ABI.
#[cfg(not(feature = "aws-lc"))]
const GET_NEGOTIATED_GROUP: std::ffi::c_int = 134;

/// `SSL_CTRL_SET_TLSEXT_TICKET_KEYS` of openssl/ssl.h, part of its ABI.
#[cfg(not(feature = "aws-lc"))]
const SET_TICKET_KEYS: std::ffi::c_int = 59;

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ssl::SslMethod;

    #[test]
    fn ticket_keys_of_the_right_length_are_taken_and_others_refused() {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        let length = ticket_key_length(&mut context);
        assert_eq!(length, if cfg!(feature = "aws-lc") { 48 } else { 80 });
        set_ticket_keys(&mut context, &vec![1; length]).unwrap();
        for wrong in [0, length - 1, length + 1] {
            assert!(set_ticket_keys(&mut context, &vec![1; wrong]).is_err(), "{wrong}");
        }
    }

    // The other calls are seen at work in policy/handshake_tests.rs: chains, ages, sessions offered again.
}
