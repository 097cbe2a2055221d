// SPDX-License-Identifier: MIT OR Apache-2.0
//! Networks: as the configuration lists them, and files of them, one per line.
//!
//! Reading a list is pure; the files are read when everything is loaded, each once. An IPv4 network in its mapped form
//! (`::ffff:192.0.2.0/120`) is the IPv4 network. Not here: looking addresses up (`policy/networks.rs`).

use super::include::{NETWORKS_MAX, read_text};
use super::raw::{At, Node};
use super::report::{Complaint, Place, Report};
use super::settings::{NetworkList, NetworkSource};
use crate::policy::networks::Networks;
use ipnet::{IpNet, Ipv4Net};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// How many bits of a mapped IPv6 address stand in front of the IPv4 address (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// The most mistakes that are told of one file of networks.
const ERRORS_MAX: usize = 10;

/// Reads a list of networks, addresses and `file:PATH`; nothing when none of it is good.
pub(super) fn check(node: Node<'_>, directory: &Path, report: &mut Report) -> Option<NetworkList> {
    let mut entries = Vec::new();
    for text in node.strings(report) {
        let source = match text.value.strip_prefix("file:") {
            Some("") => Err(Complaint::new("\"file:\" has no path").help("write \"file:PATH\"")),
            Some(path) => Ok(NetworkSource::File(directory.join(path))),
            None => parse(text.value).map(NetworkSource::Network),
        };
        match source {
            Ok(value) => entries.push(At { value, place: text.place }),
            Err(complaint) => {
                report.complain(text.place, complaint);
            }
        }
    }
    (!entries.is_empty()).then_some(NetworkList(entries))
}

/// Reads "10.0.0.0/8", "2001:db8::/32" or one address.
fn parse(text: &str) -> Result<IpNet, Complaint> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let complaint = Complaint::new(format!("{text:?} is not a network"));
        return Err(complaint.help(if text.contains('/') {
            "write an address and a prefix length, as in \"10.0.0.0/8\" or \"2001:db8::/32\""
        } else {
            "write \"10.0.0.0/8\", \"2001:db8::/32\", one address, or \"file:PATH\""
        }));
    };
    if network.trunc() != network {
        let message = format!("{text:?} has bits beyond its prefix of {}", network.prefix_len());
        let help =
            format!("did you mean \"{}\", or the one address \"{}\"?", network.trunc(), network.addr());
        return Err(Complaint::new(message).help(help));
    }
    Ok(unmapped(network))
}

/// An IPv4 network that is written in IPv6's mapped form, in its own.
fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let length = v6.prefix_len().checked_sub(MAPPED_BITS);
    let (Some(address), Some(length)) = (v6.addr().to_ipv4_mapped(), length) else { return network };
    Ipv4Net::new(address, length).map_or(network, IpNet::V4)
}

/// Reads the files that lists name, each once.
#[derive(Debug, Default)]
pub(super) struct Reader {
    known: HashMap<PathBuf, Vec<IpNet>>,
}

impl Reader {
    /// The networks of a list with those of its files; problems are reported. Reads files.
    pub(super) fn load(&mut self, list: &NetworkList, report: &mut Report) -> Networks {
        let mut all = Vec::new();
        for entry in &list.0 {
            match &entry.value {
                NetworkSource::Network(network) => all.push(*network),
                NetworkSource::File(path) => {
                    if !self.known.contains_key(path) {
                        let found = read(path, entry.place, report);
                        self.known.insert(path.clone(), found);
                    }
                    all.extend(self.known.get(path).into_iter().flatten());
                }
            }
        }
        Networks::new(all)
    }
}

/// The networks of a file, one on each line; `#` begins a comment. `named` is where the configuration names it.
fn read(path: &Path, named: Place, report: &mut Report) -> Vec<IpNet> {
    let text = match read_text(path, NETWORKS_MAX) {
        Ok(text) => text,
        Err(reason) => {
            report.error(named, format!("{}: {reason}", path.display()));
            return Vec::new();
        }
    };
    let mut networks = Vec::new();
    let mut bad = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.split('#').next().unwrap_or_default();
        let word = content.trim();
        let at = start + (content.len() - content.trim_start().len());
        start += line.len();
        match parse(word) {
            _ if word.is_empty() => {}
            Ok(network) => networks.push(network),
            Err(complaint) if bad.len() <= ERRORS_MAX => bad.push((at..at + word.len(), complaint)),
            Err(_) => {}
        }
    }
    if !bad.is_empty() {
        let file = report.add_source(path.display().to_string(), Some(text));
        let more = bad.len() > ERRORS_MAX;
        for (span, complaint) in bad.into_iter().take(ERRORS_MAX) {
            let finding = report.complain(Place { file, start: span.start, end: span.end }, complaint);
            finding.note(named, "the file is named here");
        }
        if more {
            report.error(named, format!("{} has more mistakes of this kind", path.display()));
        }
    }
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_addresses_are_read() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("2001:DB8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:192.0.2.1", "192.0.2.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), network, "{text}");
        }
    }

    #[test]
    fn bad_networks_are_refused_with_their_reason() {
        for (text, message) in [
            ("", "\"\" is not a network"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is not a network"),
            ("10.0.0/8", "\"10.0.0/8\" is not a network"),
            ("10.0.0.0/255.0.0.0", "\"10.0.0.0/255.0.0.0\" is not a network"),
            ("example.org", "\"example.org\" is not a network"),
            ("10.0.0.1/8", "\"10.0.0.1/8\" has bits beyond its prefix of 8"),
            ("2001:db8::1/32", "\"2001:db8::1/32\" has bits beyond its prefix of 32"),
            ("10.0.0.0 - 10.0.0.9", "\"10.0.0.0 - 10.0.0.9\" is not a network"),
        ] {
            assert_eq!(parse(text).unwrap_err().message, message, "{text}");
        }
        let help = parse("10.0.0.1/8").unwrap_err().help;
        assert_eq!(help.as_deref(), Some("did you mean \"10.0.0.0/8\", or the one address \"10.0.0.1\"?"));
    }
}
