// SPDX-License-Identifier: MIT OR Apache-2.0
//! After the TLS handshake with the client: what was agreed becomes facts, its certificate among them. Here is the place
//! for judgements that outlast the library's own (revocation); a step may wait for a task, so they may too.

use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::{Pair, TlsFacts};
use crate::error::Reason;
use crate::policy::rules::Stage;
use crate::policy::service::Service;
use crate::policy::tls_peer::PeerCertificate;

pub const STEP: Step = Step { name: "checking the client's certificate", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, _ctx: &mut Ctx) -> Result<Progress, Reason> {
    let route = &service.routes[pair.facts.route];
    let asked_for = route.accept_tls.as_ref().is_some_and(|policy| policy.verifies());
    let told = route.send_proxy.is_some_and(|send| send.tlvs.ssl || send.tlvs.alpn);
    // Reading the certificate costs some microseconds, so only where there can be one, or where it is handed on.
    if !(asked_for || told || service.rules.wants(Stage::Certificate)) {
        return Ok(Progress::Done);
    }
    let Some(tls) = pair.client.stream.as_tls() else { return Ok(Progress::Done) };
    let der = tls.peer_certificate_der();
    pair.facts.tls = Some(Box::new(TlsFacts {
        version: tls.version().into(),
        cipher: tls.cipher().unwrap_or_default().into(),
        alpn: tls.alpn().map(Into::into),
        verify: tls.verify_result(),
        certificate: der.as_deref().and_then(PeerCertificate::from_der),
        resumed: tls.resumed(),
        der: der.map(Into::into),
    }));
    Ok(Progress::Done)
}
