//! One text for all texts of the same JSON.

use std::borrow::Cow;

/// Deeper JSON has no canonical form, so that no body can use up a thread's stack. It is deeper than `serde_json` reads.
const DEEPEST: usize = 256;

/// The body without whitespace, with the members of each object in the order of their names, and with one way to write each
/// string. Numbers stay as they are written. None of what is no JSON.
///
/// A record keeps the digest of this for days: it must be the same in each version.
pub(super) fn form(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body).ok()?;
    let mut reader = CanonicalReader { rest: text, out: Vec::with_capacity(body.len()) };
    reader.value(0)?;
    reader.skip();
    reader.rest.is_empty().then_some(reader.out)
}

struct CanonicalReader<'a> {
    rest: &'a str,
    out: Vec<u8>,
}

impl<'a> CanonicalReader<'a> {
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes this, and the whitespace before it, if it comes next.
    fn comes(&mut self, what: char) -> bool {
        self.skip();
        let rest = self.rest.strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        self.skip();
        match self.rest.as_bytes().first()? {
            _ if depth > DEEPEST => None,
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => {
                let text = self.string()?;
                write(&mut self.out, &text)
            }
            _ => self.scalar(),
        }
    }

    /// A number, or one of three words.
    fn scalar(&mut self) -> Option<()> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        if token.is_empty() {
            return None;
        }
        self.rest = rest;
        self.out.extend_from_slice(token.as_bytes());
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.comes('[').then_some(())?;
        self.out.push(b'[');
        if !self.comes(']') {
            loop {
                self.value(depth + 1)?;
                if self.comes(']') {
                    break;
                }
                self.comes(',').then_some(())?;
                self.out.push(b',');
            }
        }
        self.out.push(b']');
        Some(())
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.comes('{').then_some(())?;
        let begin = self.out.len();
        // The members are written as they come, and put in order behind the last one.
        let mut members: Vec<(Cow<'a, str>, Vec<u8>)> = Vec::new();
        if !self.comes('}') {
            loop {
                self.skip();
                let name = self.string()?;
                self.comes(':').then_some(())?;
                self.value(depth + 1)?;
                members.push((name, self.out.split_off(begin)));
                if self.comes('}') {
                    break;
                }
                self.comes(',').then_some(())?;
            }
        }
        // Members of one name keep their order, which may mean something to a reader.
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.out.push(b'{');
        for (place, (name, value)) in members.iter().enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            write(&mut self.out, name)?;
            self.out.push(b':');
            self.out.extend_from_slice(value);
        }
        self.out.push(b'}');
        Some(())
    }

    fn string(&mut self) -> Option<Cow<'a, str>> {
        let inside = self.rest.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = inside.bytes().position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        let (token, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        let text = &inside[..end];
        if text.contains('\\') { serde_json::from_str(token).ok().map(Cow::Owned) } else { Some(text.into()) }
    }
}

fn write(out: &mut Vec<u8>, text: &str) -> Option<()> {
    serde_json::to_writer(out, text).ok()
}
