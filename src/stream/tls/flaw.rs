// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the TLS library's error codes to what is wrong: here, where the codes are at hand, and not from texts.
//!
//! The codes are those of openssl/sslerr.h (AWS-LC: openssl/ssl.h); a fatal alert that the peer sent is 1000 and its number
//! (RFC 8446 section 6) in both. Of a certificate the verification result says more (openssl/x509_vfy.h).

use crate::error::Flaw;
use openssl::error::ErrorStack;

/// SSL_R_ codes of what we found out, and what they tell.
#[cfg(not(feature = "aws-lc"))]
const CODES: &[(i32, Flaw)] = &[
    (193, Flaw::NoSharedCipher),    // NO_SHARED_CIPHER
    (181, Flaw::NoSharedCipher),    // NO_CIPHERS_AVAILABLE
    (258, Flaw::OldProtocol),       // UNSUPPORTED_PROTOCOL
    (396, Flaw::OldProtocol),       // VERSION_TOO_LOW
    (266, Flaw::OldProtocol),       // WRONG_SSL_VERSION
    (191, Flaw::OldProtocol),       // NO_PROTOCOLS_AVAILABLE
    (295, Flaw::NoSharedGroup),     // NO_SUITABLE_GROUPS
    (101, Flaw::NoSharedGroup),     // NO_SUITABLE_KEY_SHARE
    (410, Flaw::NoSharedGroup),     // NO_SHARED_GROUPS
    (118, Flaw::NoSharedSignature), // NO_SUITABLE_SIGNATURE_ALGORITHM
    (376, Flaw::NoSharedSignature), // NO_SHARED_SIGNATURE_ALGORITHMS
    (235, Flaw::NoSharedAlpn),      // NO_APPLICATION_PROTOCOL
    (199, Flaw::NoCertificate),     // PEER_DID_NOT_RETURN_A_CERTIFICATE
    (134, Flaw::BadCertificate),    // CERTIFICATE_VERIFY_FAILED
    (156, Flaw::PlainHttp),         // HTTP_REQUEST
    (155, Flaw::PlainHttp),         // HTTPS_PROXY_REQUEST
    (267, Flaw::NotTls),            // WRONG_VERSION_NUMBER
    (252, Flaw::NotTls),            // UNKNOWN_PROTOCOL
];

/// The same of AWS-LC.
#[cfg(feature = "aws-lc")]
const CODES: &[(i32, Flaw)] = &[
    (184, Flaw::NoSharedCipher),    // NO_SHARED_CIPHER
    (175, Flaw::NoSharedCipher),    // NO_CIPHERS_AVAILABLE
    (240, Flaw::OldProtocol),       // UNSUPPORTED_PROTOCOL
    (246, Flaw::OldProtocol),       // WRONG_SSL_VERSION
    (266, Flaw::NoSharedGroup),     // NO_SHARED_GROUP
    (253, Flaw::NoSharedSignature), // NO_COMMON_SIGNATURE_ALGORITHMS
    (307, Flaw::NoSharedAlpn),      // NO_APPLICATION_PROTOCOL
    (192, Flaw::NoCertificate),     // PEER_DID_NOT_RETURN_A_CERTIFICATE
    (125, Flaw::BadCertificate),    // CERTIFICATE_VERIFY_FAILED
    (156, Flaw::PlainHttp),         // HTTP_REQUEST
    (155, Flaw::PlainHttp),         // HTTPS_PROXY_REQUEST
    (247, Flaw::NotTls),            // WRONG_VERSION_NUMBER
    (233, Flaw::NotTls),            // UNKNOWN_PROTOCOL
];

/// What is added to the number of an alert (SSL_AD_REASON_OFFSET).
const ALERT: i32 = 1000;

/// ERR_LIB_SSL: only its codes are these.
#[cfg(not(feature = "aws-lc"))]
const LIBRARY: i32 = 20;
#[cfg(feature = "aws-lc")]
const LIBRARY: i32 = 16;

/// What the errors of a session that broke tell, with what verification of the peer's certificate came to.
pub(super) fn of(stack: &ErrorStack, verified: u32) -> Flaw {
    let codes = stack.errors().iter().filter(|error| error.library_code() == LIBRARY);
    let known = codes.map(|error| of_code(error.reason_code(), verified));
    known.fold(Flaw::Other, |first, next| if first == Flaw::Other { next } else { first })
}

fn of_code(code: i32, verified: u32) -> Flaw {
    let known = CODES.iter().find(|(known, _)| *known == code).map(|(_, flaw)| *flaw);
    match known {
        Some(Flaw::BadCertificate) => of_verification(verified),
        Some(flaw) => flaw,
        None => of_alert(code - ALERT),
    }
}

fn of_alert(alert: i32) -> Flaw {
    match alert {
        // no_certificate (SSL 3), bad_certificate to certificate_unknown, unknown_ca, access_denied, certificate_required
        41..=46 | 48 | 49 | 116 => Flaw::RejectsCertificate,
        // protocol_version
        70 => Flaw::OldProtocol,
        // insufficient_security
        71 => Flaw::NoSharedCipher,
        // no_application_protocol
        120 => Flaw::NoSharedAlpn,
        0..=255 => Flaw::Alert,
        _ => Flaw::Other,
    }
}

/// X509_V_ERR_ codes.
fn of_verification(verified: u32) -> Flaw {
    match verified {
        9 | 10 => Flaw::CertificateExpired,
        23 => Flaw::CertificateRevoked,
        // UNABLE_TO_GET_ISSUER_CERT, self-signed, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        // CERT_UNTRUSTED
        2 | 18..=21 | 27 => Flaw::UnknownCa,
        // APPLICATION_VERIFICATION: of us nobody but who looks for a key says so.
        50 => Flaw::WrongKey,
        // HOSTNAME_, EMAIL_, IP_ADDRESS_MISMATCH
        62..=64 => Flaw::WrongName,
        _ => Flaw::BadCertificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_and_verifications_are_told_apart() {
        for (code, verified, flaw) in [
            (1048, 0, Flaw::RejectsCertificate),
            (1045, 0, Flaw::RejectsCertificate),
            (1116, 0, Flaw::RejectsCertificate),
            (1070, 0, Flaw::OldProtocol),
            (1040, 0, Flaw::Alert),
            (1, 0, Flaw::Other),
        ] {
            assert_eq!(of_code(code, verified), flaw, "{code}");
        }
        let refused = CODES.iter().find(|(_, flaw)| *flaw == Flaw::BadCertificate).unwrap().0;
        for (verified, flaw) in [
            (10, Flaw::CertificateExpired),
            (23, Flaw::CertificateRevoked),
            (20, Flaw::UnknownCa),
            (50, Flaw::WrongKey),
            (62, Flaw::WrongName),
            (26, Flaw::BadCertificate),
        ] {
            assert_eq!(of_code(refused, verified), flaw, "{verified}");
        }
    }
}
