//! ETags: when two of them prove that two objects have the same content.

use std::fmt;

use md5::{Digest, Md5};

/// An object's ETag, as the server sent it. Equal ones are equal without regard to quotes and letter case.
///
/// An ETag is the MD5 of the content for objects written in one piece, `MD5 of the parts' MD5s-N` for
/// multipart ones, and anything at all under SSE-KMS, SSE-C and on servers of their own mind: equal ETags
/// prove equal content, different ones prove nothing unless both are MD5s.
#[derive(Clone)]
pub struct ETag(String);

impl ETag {
    /// An ETag as it stood in an answer, with or without quotes.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As the server sent it: what a condition is made of.
    pub fn as_sent(&self) -> &str {
        &self.0
    }

    /// Without quotes: what is compared and kept in the ledger.
    pub fn as_str(&self) -> &str {
        let text = self.0.trim();
        let text = text.strip_prefix("W/").unwrap_or(text);
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
    }

    /// The MD5, where the ETag has the form of one.
    pub fn md5(&self) -> Option<[u8; 16]> {
        hex16(self.as_str())
    }

    /// The number of parts, where the ETag has the form of a multipart object's (`…-N`).
    pub fn parts(&self) -> Option<u32> {
        let (hash, parts) = self.as_str().split_once('-')?;
        hex16(hash)?;
        parts.parse().ok().filter(|parts| *parts > 0)
    }

    /// The ETag of an object of one piece with this MD5, where ETags are made of contents.
    pub fn of_md5(md5: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(md5)))
    }

    /// The ETag of an object of parts with these MD5s, where ETags are made of contents.
    pub fn of_parts(md5s: &[[u8; 16]]) -> Self {
        let whole = Md5::digest(md5s.concat());
        Self(format!("{:032x}-{}", u128::from_be_bytes(whole.into()), md5s.len()))
    }

    /// Is one of the two what multipart arithmetic makes of the other? The ETag of an object in a single
    /// part is the MD5 of its part's MD5, so it proves the content of a copy in one piece.
    fn is_single_part_of(&self, whole: &Self) -> bool {
        let (Some(1), Some(md5)) = (self.parts(), whole.md5()) else { return false };
        let Some((hash, _)) = self.as_str().split_once('-') else { return false };
        hex16(hash).is_some_and(|hash| hash == <[u8; 16]>::from(Md5::digest(md5)))
    }

    /// Do the two ETags prove the same content? `false` means not proven.
    pub fn proves_same_content(&self, other: &Self) -> bool {
        self == other || self.is_single_part_of(other) || other.is_single_part_of(self)
    }
}

impl PartialEq for ETag {
    fn eq(&self, other: &Self) -> bool {
        self.as_str().eq_ignore_ascii_case(other.as_str())
    }
}

impl Eq for ETag {}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hex16(text: &str) -> Option<[u8; 16]> {
    // `from_str_radix` would take a sign.
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "5d41402abc4b2a76b9719d911017c592";

    #[test]
    fn etags_are_equal_without_regard_to_quotes_and_letter_case() {
        assert_eq!(ETag::new(format!("\"{HELLO}\"")), ETag::new(HELLO.to_uppercase()));
        assert_ne!(ETag::new(HELLO), ETag::new(format!("{HELLO}-1")));
    }

    #[test]
    fn a_single_part_object_is_proven_by_arithmetic() {
        let whole = ETag::new(HELLO);
        let hash = u128::from_be_bytes(Md5::digest(whole.md5().unwrap()).into());
        let hash = format!("{hash:032x}");
        let single = ETag::new(format!("\"{hash}-1\""));
        assert!(single.proves_same_content(&whole) && whole.proves_same_content(&single));
        assert!(!ETag::new(format!("{hash}-2")).proves_same_content(&whole));
        assert!(!ETag::new(format!("{HELLO}-1")).proves_same_content(&whole));
    }

    #[test]
    fn an_etag_is_made_of_the_md5_of_the_content_or_of_its_parts() {
        let md5 = |text: &str| <[u8; 16]>::from(Md5::digest(text));
        assert_eq!(ETag::of_md5(md5("hello")), ETag::new(HELLO));
        // As `{ printf hello | openssl md5 -binary; printf world | openssl md5 -binary; } | md5sum` has it.
        let parts = ETag::of_parts(&[md5("hello"), md5("world")]);
        assert_eq!(parts, ETag::new("065947336a2f2a95ba8899f3675c3be6-2"));
        assert!(ETag::of_parts(&[md5("hello")]).proves_same_content(&ETag::of_md5(md5("hello"))));
    }

    #[test]
    fn the_form_of_an_etag_is_told() {
        for (text, md5, parts) in [
            (HELLO, true, None),
            (&format!("{HELLO}-17"), false, Some(17)),
            (&format!("{HELLO}-0"), false, None),
            ("17f2-1", false, None),
            ("+d41402abc4b2a76b9719d911017c592", false, None),
            ("", false, None),
        ] {
            let etag = ETag::new(text);
            assert_eq!((etag.md5().is_some(), etag.parts()), (md5, parts), "{text}");
        }
    }
}
