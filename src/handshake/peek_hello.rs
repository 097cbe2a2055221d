// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads the ClientHello into the client's early bytes and parses it there: our own reader chooses route and TLS context,
//! before the library sees a byte. The bytes stay where they are; the library, or the server, reads them again.
//!
//! Nothing is read where the name does not come from a hello: where the service takes it from elsewhere, and where a
//! PROXY header says that the sender has done the TLS, whose payload follows, and nothing here expects TLS within.

use super::alert::Alert;
use super::early::{self, MORE, Stop};
use super::{Progress, Step, client_too_slow};
use crate::connection::context::Ctx;
use crate::connection::pair::Pair;
use crate::error::{Flaw, Reason, Side};
use crate::policy::service::{Peek, Service};
use crate::wire::client_hello;

pub const STEP: Step = Step { name: "reading the ClientHello", run, expired: client_too_slow };

fn run(pair: &mut Pair, service: &Service, ctx: &mut Ctx) -> Result<Progress, Reason> {
    if service.peek != Peek::Tls || tls_is_done(pair, service) || pair.client.stream.as_raw().is_none() {
        return Ok(Progress::Done);
    }
    match early::read_until(pair, ctx, client_hello::parse) {
        Ok(Some((hello, _))) => {
            pair.facts.server_name = hello.server_name;
            pair.facts.alpn = hello.alpn.into();
            Ok(Progress::Done)
        }
        Ok(None) => Ok(MORE),
        Err(Stop::Bad(why)) if Alert::DecodeError.tell(pair, ctx) => Err(Reason::BadHello(why)),
        // Anybody who does not speak TLS is told nothing.
        Err(Stop::Bad(why)) => Err(Reason::NotTls(why)),
        Err(Stop::Ended { begun: true }) => Err(Reason::Handshake(
            Side::Client,
            Flaw::Closed,
            "the client closed in the middle of its ClientHello".into(),
        )),
        Err(Stop::Ended { begun: false }) => {
            Err(Reason::Handshake(Side::Client, Flaw::Closed, "the client closed without a word".into()))
        }
        Err(Stop::Broken(reason)) => Err(reason),
    }
}

/// Whether the tunnel before us has done the TLS, so that what follows its header is payload.
pub(super) fn tls_is_done(pair: &Pair, service: &Service) -> bool {
    let ssl = pair.facts.header.as_deref().and_then(|header| header.tlvs.ssl.as_deref());
    ssl.is_some_and(|ssl| ssl.used) && !service.terminates
}
