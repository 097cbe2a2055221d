// SPDX-License-Identifier: MIT OR Apache-2.0
//! What there is to see as JSON, one document on one line: the values of `control/model.rs` as they are.

use super::text::to_ascii;
use super::{Call, Done};
use crate::control::model::{Server, Service};
use serde::Serialize;

/// A document of its own line.
fn document(value: &impl Serialize) -> Done {
    match to_ascii(value) {
        Ok(text) => Done::Text(text + "\n"),
        // Only a map whose keys are no strings cannot be JSON, and the model has none.
        Err(error) => Done::Refused(format!("This cannot be shown: {error}")),
    }
}

pub(super) fn snapshot(call: &mut Call<'_>) -> Done {
    document(&*call.state.snapshot())
}

pub(super) fn process(call: &mut Call<'_>) -> Done {
    document(&call.state.snapshot().process)
}

pub(super) fn services(call: &mut Call<'_>) -> Done {
    document(&call.state.snapshot().services)
}

pub(super) fn listeners(call: &mut Call<'_>) -> Done {
    document(&call.state.snapshot().listeners)
}

pub(super) fn workers(call: &mut Call<'_>) -> Done {
    document(&call.state.snapshot().workers)
}

pub(super) fn certificates(call: &mut Call<'_>) -> Done {
    document(&call.state.certificates())
}

pub(super) fn errors(call: &mut Call<'_>) -> Done {
    document(&call.state.failures())
}

pub(super) fn servers(call: &mut Call<'_>) -> Done {
    let snapshot = call.state.snapshot();
    let servers: Vec<&Server> = snapshot.services.iter().flat_map(servers_of).collect();
    document(&servers)
}

/// The servers of all routes of a service.
pub(super) fn servers_of(service: &Service) -> impl Iterator<Item = &Server> {
    service.routes.iter().flat_map(|route| &route.servers)
}
