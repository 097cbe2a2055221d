// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reading the files: the main one and those its `include` patterns name.
//!
//! Invariants: the order is that of the patterns and, within one, of the names; no file is read twice; what is read
//! is bounded. Includes do not nest, so there are no cycles to break. Not here: what the files mean.

use super::raw::{At, Document};
use super::report::{Place, Report};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The longest file of configuration that is read, in bytes: above a program's 100,000 routes, far above what anybody
/// writes by hand.
const FILE_MAX: u64 = 64 << 20;

/// The longest file of networks that is read, in bytes.
pub(super) const NETWORKS_MAX: u64 = 64 << 20;

/// The most files one configuration may consist of.
const FILES_MAX: usize = 1000;

/// Reads `path` and everything it includes; problems are reported, and what could be read is returned.
pub(super) fn read_all(path: &Path, report: &mut Report) -> Vec<Document> {
    let directory = match std::path::absolute(path) {
        Ok(absolute) => absolute.parent().map_or_else(PathBuf::new, Path::to_path_buf),
        Err(_) => PathBuf::new(),
    };
    let Some(main) = read(path, directory, None, report) else { return Vec::new() };
    let patterns = main.peek("include").map_or_else(Vec::new, |node| node.strings(report));
    let mut seen: Vec<PathBuf> = fs::canonicalize(path).into_iter().collect();
    let mut included = Vec::new();
    for pattern in patterns {
        for file in expand(pattern, &main.directory, report) {
            let identity = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if seen.contains(&identity) {
                continue;
            }
            if seen.len() > FILES_MAX {
                report.error(pattern.place, format!("more than {FILES_MAX} files are included"));
                break;
            }
            seen.push(identity);
            let directory = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
            included.extend(read(&file, directory, Some(pattern.place), report));
        }
    }
    let mut documents = vec![main];
    documents.append(&mut included);
    documents
}

/// The files a pattern stands for, sorted.
fn expand(pattern: At<&str>, directory: &Path, report: &mut Report) -> Vec<PathBuf> {
    let whole = directory.join(pattern.value);
    let (Some(parent), Some(name)) = (whole.parent(), whole.file_name()) else {
        report.error(pattern.place, format!("the pattern {:?} names no file", pattern.value));
        return Vec::new();
    };
    if pattern.value.ends_with('/') {
        let finding =
            report.error(pattern.place, format!("the pattern {:?} names a directory", pattern.value));
        finding.help(format!("did you mean \"{}*.conf\"?", pattern.value));
        return Vec::new();
    }
    if has_wildcard(parent.as_os_str()) {
        let finding = report.error(pattern.place, "wildcards are allowed in the last part of the path only");
        finding.help("name the directory, as in \"conf.d/*.conf\"");
        return Vec::new();
    }
    if !has_wildcard(name) {
        return vec![whole];
    }
    match list(parent, name) {
        Ok(files) => files,
        Err(error) => {
            report.error(pattern.place, format!("cannot list {}: {}", parent.display(), describe(&error)));
            Vec::new()
        }
    }
}

/// What in `directory` matches `pattern`, sorted by the bytes of the name.
fn list(directory: &Path, pattern: &OsStr) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.as_bytes().starts_with(b".") && !pattern.as_bytes().starts_with(b".");
        if !hidden && matches(pattern.as_bytes(), name.as_bytes()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

fn has_wildcard(path: &OsStr) -> bool {
    path.as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Whether `name` matches `pattern`, in which `*` stands for any bytes and `?` for one character.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to take up again when what follows the last `*` does not fit: after it, one byte further in the name.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n + 1));
                p += 1;
            }
            Some(b'?') => {
                let continues = |byte: &&u8| **byte & 0xc0 == 0x80;
                p += 1;
                n += 1 + name[n + 1..].iter().take_while(continues).count();
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match retry {
                Some((after_star, next)) => {
                    (p, n) = (after_star, next);
                    retry = Some((after_star, next + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// Reads and parses one file.
fn read(
    path: &Path,
    directory: PathBuf,
    included_by: Option<Place>,
    report: &mut Report,
) -> Option<Document> {
    let name = path.display().to_string();
    let bytes = match read_bytes(path, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(reason) => {
            let file = report.add_source(name, None);
            let finding = report.error(Place::file(file), reason);
            if let Some(pattern) = included_by {
                finding.note(pattern, "it is included here");
            }
            return None;
        }
    };
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let file = report.add_source(name, None);
        report.error(Place::file(file), "the file is not UTF-8 but UTF-16").help("save it as UTF-8");
        return None;
    }
    let (text, bad) = match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), text.find('\0').map(|at| (at, "a NUL byte: this is not a text file"))),
        Err(error) => {
            let message = "the file is not UTF-8";
            (String::from_utf8_lossy(bytes).into_owned(), Some((error.valid_up_to(), message)))
        }
    };
    let file = report.add_source(name, Some(text));
    match bad {
        Some((start, message)) => {
            report.error(Place { file, start, end: start + 1 }, message);
            None
        }
        None => Some(Document::parse(file, directory, included_by, report)),
    }
}

/// The text of another file that the configuration names, of at most `limit` bytes.
///
/// # Errors
/// Why it cannot be read, in words.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    String::from_utf8(read_bytes(path, limit)?).map_err(|_| "the file is not UTF-8".to_owned())
}

fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let cannot = |error: &io::Error| format!("cannot read the file: {}", describe(error));
    let file = fs::File::open(path).map_err(|error| cannot(&error))?;
    let metadata = file.metadata().map_err(|error| cannot(&error))?;
    if metadata.is_dir() {
        return Err("cannot read the file: it is a directory".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(format!("the file is longer than {}", super::values::format_size(limit)));
    }
    Ok(bytes)
}

/// The system's words for an error, without the number the standard library adds.
fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.conf~", false),
            ("*.conf", "a.conf.conf", true),
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("a?c", "abc", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("??", "a", false),
            ("[a]", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_exponential_time() {
        assert!(!matches("*a".repeat(60).as_bytes(), "b".repeat(4000).as_bytes()));
    }

    #[test]
    fn files_come_sorted_and_hidden_ones_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["b.conf", "a.conf", "B.conf", ".hidden.conf", "c.conf.bak"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            let files = list(directory.path(), OsStr::new(pattern)).unwrap();
            files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("*.conf"), ["B.conf", "a.conf", "b.conf"]);
        assert_eq!(names(".*"), [".hidden.conf"]);
    }
}
