//! Makes readable what the client library cannot read: a property or a header name that is not UTF-8.
//!
//! AMQP allows any bytes there, the library breaks the connection over them, and the broker sends the message first
//! with every new one. So after such a break the connections of this process go through here: bytes that are not
//! UTF-8 become question marks of the same length, in what the broker sends, and nothing else is touched.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Frame type, channel and length of the payload.
const FRAME_HEAD: usize = 7;
/// Class, weight and size of the body, before the properties of a content header.
const BEFORE_PROPERTIES: usize = 12;
const CONTENT_HEADER: u8 = 2;
/// The broker's limit is 128 KiB; what is longer passes as it is.
const MAX_FRAME: usize = 1024 * 1024;
/// Tables in tables deeper than this stay as they are.
const MAX_DEPTH: u8 = 32;

/// Must connections be mended? Shared by all connections of a `Broker`.
#[derive(Clone, Default)]
pub(super) struct Mending(Arc<AtomicBool>);

impl Mending {
    pub(super) fn is_needed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// A connection broke over a message that could not be read.
    pub(super) fn needed(&self) {
        if !self.0.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a message has a property or a header name that is not UTF-8; \
                 from now on such bytes are read as question marks"
            );
        }
    }
}

/// Carries bytes both ways until one side ends.
pub(super) async fn carry(
    broker: impl AsyncRead + AsyncWrite + Unpin,
    mut client: TcpStream,
) -> io::Result<()> {
    let (mut from_broker, mut to_broker) = broker.split();
    let (mut from_client, mut to_client) = client.split();
    let inwards = async {
        let mut frames = Frames::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_broker.read(&mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            tokio::io::AsyncWriteExt::write_all(&mut to_client, &frames.mended(&buffer[..count])).await?;
        }
    };
    let outwards = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = tokio::io::AsyncReadExt::read(&mut from_client, &mut buffer).await?;
            if count == 0 {
                return Ok(());
            }
            to_broker.write_all(&buffer[..count]).await?;
            to_broker.flush().await?;
        }
    };
    tokio::select! {
        ended = inwards => ended,
        ended = outwards => ended,
    }
}

/// The broker's bytes, cut into frames.
#[derive(Default)]
struct Frames {
    incomplete: Vec<u8>,
    /// These are no frames: another version of the protocol, or a broken one. The library will say so.
    foreign: bool,
}

impl Frames {
    /// The whole frames among what has come so far.
    fn mended(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.incomplete.extend_from_slice(bytes);
        let mut end = 0;
        while let Some(length) = self.length_at(end) {
            let Some(frame) = self.incomplete.get_mut(end..end + length) else { break };
            if frame[0] == CONTENT_HEADER {
                let payload = &mut frame[FRAME_HEAD..length - 1];
                if let Some(properties) = payload.get_mut(BEFORE_PROPERTIES..) {
                    // What ends too early is the library's to complain of.
                    let _ = Reader { rest: properties, depth: 0 }.properties();
                }
            }
            end += length;
        }
        if self.foreign {
            end = self.incomplete.len();
        }
        self.incomplete.drain(..end).collect()
    }

    fn length_at(&mut self, start: usize) -> Option<usize> {
        let head = self.incomplete.get(start..start + FRAME_HEAD)?;
        let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.foreign |= length > MAX_FRAME || head[0] == b'A';
        (!self.foreign).then_some(FRAME_HEAD + length + 1)
    }
}

/// Walks through a message's properties. `None`: they end too early.
struct Reader<'a> {
    rest: &'a mut [u8],
    depth: u8,
}

impl<'a> Reader<'a> {
    fn properties(&mut self) -> Option<()> {
        let flags = self.take(2)?;
        let flags = u16::from_be_bytes([flags[0], flags[1]]);
        for property in 0..14 {
            if flags & (1 << (15 - property)) == 0 {
                continue;
            }
            match property {
                // Headers; delivery mode and priority; timestamp.
                2 => self.table()?,
                3 | 4 => drop(self.take(1)?),
                9 => drop(self.take(8)?),
                _ => self.name()?,
            }
        }
        Some(())
    }

    fn table(&mut self) -> Option<()> {
        let mut inner = self.inner()?;
        while inner.depth < MAX_DEPTH && !inner.rest.is_empty() {
            inner.name()?;
            inner.value()?;
        }
        Some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.take(1)?[0] {
            b't' | b'b' | b'B' => drop(self.take(1)?),
            b's' | b'U' | b'u' => drop(self.take(2)?),
            b'I' | b'i' | b'f' => drop(self.take(4)?),
            b'D' => drop(self.take(5)?),
            b'L' | b'l' | b'd' | b'T' => drop(self.take(8)?),
            b'S' | b'x' => {
                self.inner()?;
            }
            b'A' => {
                let mut inner = self.inner()?;
                while inner.depth < MAX_DEPTH && !inner.rest.is_empty() {
                    inner.value()?;
                }
            }
            b'F' => self.table()?,
            b'V' => {}
            _ => return None,
        }
        Some(())
    }

    /// A short text: the only kind that the library wants to be UTF-8.
    fn name(&mut self) -> Option<()> {
        let length = self.take(1)?[0];
        let mut text = self.take(length.into())?;
        while let Err(error) = std::str::from_utf8(text) {
            let (start, length) = (error.valid_up_to(), error.error_len());
            let end = length.map_or(text.len(), |length| start + length);
            text[start..end].fill(b'?');
            text = &mut text[end..];
        }
        Some(())
    }

    /// What follows with a length of four bytes before it.
    fn inner(&mut self) -> Option<Reader<'a>> {
        let length = self.take(4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]);
        let rest = self.take(usize::try_from(length).ok()?)?;
        Some(Reader { rest, depth: self.depth + 1 })
    }

    fn take(&mut self, count: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.rest).split_at_mut_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A content header with a content type, one header, a message id and nothing else.
    fn header(content_type: &[u8], name: &[u8], value: &[u8], id: &[u8]) -> Vec<u8> {
        let short = |text: &[u8]| [&[u8::try_from(text.len()).unwrap()], text].concat();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let table = [&short(name)[..], b"S", &length(value), value].concat();
        let properties =
            [&[0xa0, 0x80][..], &short(content_type), &length(&table), &table, &short(id)].concat();
        let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &properties].concat();
        [&[CONTENT_HEADER, 0, 1][..], &length(&payload), &payload, &[0xce]].concat()
    }

    fn body(bytes: &[u8]) -> Vec<u8> {
        [&[3, 0, 1][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes, &[0xce]].concat()
    }

    #[test]
    fn only_names_that_are_not_utf8_are_mended_and_keep_their_length() {
        let latin = "Müller".chars().map(|c| c as u8).collect::<Vec<u8>>();
        for (before, after) in [
            (
                header(b"text/plain", b"tenant", b"\xff\xfe", b"1"),
                header(b"text/plain", b"tenant", b"\xff\xfe", b"1"),
            ),
            (header(b"\xff", &latin, b"v", b"a\xc3"), header(b"?", b"M?ller", b"v", b"a?")),
            (
                header("ж".as_bytes(), "имя".as_bytes(), &latin, b""),
                header("ж".as_bytes(), "имя".as_bytes(), &latin, b""),
            ),
            (body(b"\xff\xfe"), body(b"\xff\xfe")),
        ] {
            assert_eq!(Frames::default().mended(&before), after);
        }
    }

    #[test]
    fn what_is_no_frame_passes() {
        let mut frames = Frames::default();
        assert_eq!(frames.mended(b"AMQP\0\0\x09\x01"), b"AMQP\0\0\x09\x01");
        assert_eq!(frames.mended(b"anything"), b"anything");
    }

    proptest! {
        #[test]
        fn any_bytes_keep_their_number_however_they_are_cut(
            properties in proptest::collection::vec(any::<u8>(), 0..300),
            cut in 1_usize..50,
        ) {
            let payload = [&[0; BEFORE_PROPERTIES][..], &properties].concat();
            let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
            let frame = [&[CONTENT_HEADER, 0, 1][..], &length, &payload, &[0xce]].concat();
            let whole = Frames::default().mended(&frame);
            let mut frames = Frames::default();
            let pieces: Vec<u8> = frame.chunks(cut).flat_map(|piece| frames.mended(piece)).collect();
            prop_assert_eq!(whole.len(), frame.len());
            prop_assert_eq!(pieces, whole);
        }
    }
}
