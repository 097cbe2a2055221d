// SPDX-License-Identifier: MIT OR Apache-2.0
//! The fields of a query or a form.

use super::response::Response;
use std::str::FromStr;

/// Fields taken at most; more would be a slip or worse.
const MAX_FIELDS: usize = 64;

/// Fields by name, decoded.
pub(super) type Fields = Vec<(String, String)>;

/// The fields of `text` as a form encodes them; what is no UTF-8 gets replacement characters.
pub(super) fn decode(text: &[u8]) -> Fields {
    form_urlencoded::parse(text).take(MAX_FIELDS).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Refuses names that nothing here has: a filter with a slip in its name would let everything through.
///
/// # Errors
/// The answer that says which.
pub(super) fn only(fields: &Fields, known: &[&str]) -> Result<(), Response> {
    match fields.iter().find(|(name, _)| !known.contains(&&**name)) {
        None => Ok(()),
        Some(_) if known.is_empty() => Err(Response::line(400, "nothing can be said in the query here")),
        Some(_) => Err(Response::line(400, &format!("the query may have: {}", known.join(", ")))),
    }
}

/// The value of a field; empty where there is none. Of several, the last one.
pub(super) fn text<'f>(fields: &'f Fields, name: &str) -> &'f str {
    fields.iter().rev().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

/// A field that is a number or the like; none where there is none or it is empty.
///
/// # Errors
/// The answer that says that it is none.
pub(super) fn parsed<T: FromStr>(fields: &Fields, name: &str) -> Result<Option<T>, Response> {
    match text(fields, name) {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Response::line(400, &format!("`{name}` is malformed"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let fields = decode(b"name=a%20b+c&x&y=%3D%26&z=%ff%2&name=last&=");
        assert_eq!(text(&fields, "name"), "last");
        assert_eq!(text(&fields, "x"), "");
        assert_eq!(text(&fields, "y"), "=&");
        assert_eq!(text(&fields, "z"), "\u{fffd}%2");
        assert_eq!(fields[0].1, "a b c");
        assert_eq!(text(&fields, "absent"), "");
        assert_eq!(decode("a&".repeat(1000).as_bytes()).len(), MAX_FIELDS);
    }

    #[test]
    fn unknown_names_and_bad_numbers_are_refused() {
        let fields = decode(b"limit=12&bad=-1&none=");
        assert_eq!(only(&fields, &["limit"]).unwrap_err().status, 400);
        assert!(only(&fields, &["limit", "bad", "none"]).is_ok());
        assert_eq!(parsed::<u64>(&fields, "limit"), Ok(Some(12)));
        assert_eq!(parsed::<u64>(&fields, "bad").unwrap_err().status, 400);
        assert_eq!(parsed::<u64>(&fields, "none"), Ok(None));
    }
}
