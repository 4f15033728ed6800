//! Read exactly so many bytes, or at least.

use std::marker::PhantomData;

use super::{Compose, Composed, Offset, On, Reads, Rest, Source, Step, Stream, compose};
use crate::buf::{Fill, IoBufMut};
use crate::cancel::Cancellation;
use crate::error::{Code, Error};
use crate::fs::File;
use crate::home::Home;
use crate::op::{Completion, Operation};

/// What [`read_exactly`] and [`read_at_least`] run.
pub struct AtLeast<O, P, B> {
    buffer: Option<B>,
    came: usize,
    least: usize,
    /// Whether more than that is taken if it is there.
    more: bool,
    place: P,
    on: PhantomData<fn(O)>,
}

impl<O: On, P: Reads<O>, B: IoBufMut + 'static> AtLeast<O, P, B> {
    fn new(buffer: B, least: usize, more: bool, place: P) -> AtLeast<O, P, B> {
        AtLeast { buffer: Some(buffer), came: 0, least, more, place, on: PhantomData }
    }

    fn part(&self, buffer: B) -> Rest<B> {
        let end = if self.more { usize::MAX } else { self.least };
        // SAFETY: so many bytes came into it, from the first on.
        unsafe { Rest::to_fill(buffer, self.came, end) }
    }
}

impl<O: On, P: Reads<O>, B: IoBufMut + 'static> Compose<O> for AtLeast<O, P, B> {
    type Cargo = Fill<Rest<B>>;
    type Brings = ();
    type Output = Completion<(), B>;

    fn begin(&mut self) -> Step<Rest<B>, Completion<(), B>> {
        let Some(mut buffer) = self.buffer.take() else { unreachable!("begun once") };
        if buffer.spare().len() < self.least {
            let hint = "the buffer has no room for as many bytes as are asked for";
            return Step::Done(Completion { bytes: 0, result: Err(Error::new(Code::InvalidParameter).hint(hint)), buffer });
        }
        if self.least == 0 {
            // SAFETY: none.
            unsafe { buffer.set_filled(0) };
            return Step::Done(Completion { bytes: 0, result: Ok(()), buffer });
        }
        Step::Next(self.part(buffer))
    }

    fn operation<'o>(&mut self, on: &'o O, buffer: Rest<B>) -> Operation<'o, Fill<Rest<B>>, (), O::Home> {
        self.place.read(on, buffer, self.came)
    }

    fn resume(&mut self, done: Completion<(), Rest<B>>) -> Step<Rest<B>, Completion<(), B>> {
        self.came += done.bytes;
        let buffer = done.buffer.into_inner();
        let result = match done.result {
            _ if self.came >= self.least => Ok(()),
            Err(error) => Err(error),
            Ok(()) if done.bytes == 0 => Err(Error::new(Code::EndOfFile)),
            Ok(()) => return Step::Next(self.part(buffer)),
        };
        Step::Done(Completion { bytes: self.came, result, buffer })
    }

    fn cancellation(&self) -> Cancellation {
        if self.came == 0 { Cancellation::Total } else { Cancellation::Partial }
    }
}

/// Reads exactly `count` bytes of a stream into the first of `buffer`'s.
///
/// Completes when they are there. [`Code::EndOfFile`] (38) if the stream ended first; for this and every other error, a timeout and a
/// cancel too, the bytes that came are in the buffer and counted. [`Code::InvalidParameter`] if the buffer has less room: nothing
/// was read. A cancel is total as long as nothing came, then partial.
///
/// ```
/// use proactor::{Code, compose};
/// let (reader, writer) = proactor::pipe::pair()?;
/// writer.write(b"12345").wait().result?;
/// let done = compose::read_exactly(&reader, vec![0; 8], 4).wait();
/// assert_eq!((done.bytes, &done.buffer[..]), (4, &b"1234"[..]));
/// drop(writer);
/// let done = compose::read_exactly(&reader, done.buffer, 4).wait();
/// assert_eq!((done.bytes, done.result.unwrap_err().code()), (1, Code::EndOfFile));
/// assert_eq!(done.buffer, b"5");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_exactly<O: Source, B: IoBufMut + 'static>(
    from: &O,
    buffer: B,
    count: usize,
) -> Composed<'_, O, AtLeast<O, Stream, B>> {
    compose(from, AtLeast::new(buffer, count, false, Stream))
}

/// Reads at least `least` bytes of a stream, and what more there is room and data for. Otherwise as [`read_exactly`].
///
/// ```
/// let (reader, writer) = proactor::pipe::pair()?;
/// writer.write(b"123").wait().result?;
/// let done = proactor::compose::read_at_least(&reader, vec![0; 8], 2).wait();
/// assert_eq!(done.buffer, b"123");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_at_least<O: Source, B: IoBufMut + 'static>(
    from: &O,
    buffer: B,
    least: usize,
) -> Composed<'_, O, AtLeast<O, Stream, B>> {
    compose(from, AtLeast::new(buffer, least, true, Stream))
}

/// Reads exactly `count` bytes of a file from `offset` on. Otherwise as [`read_exactly`].
///
/// ```
/// use proactor::{Code, compose, fs::{File, OpenOptions}};
/// # let path = std::env::temp_dir().join(format!("proactor-doc-exactly-{}", std::process::id()));
/// std::fs::write(&path, b"0123456789")?;
/// let file = File::open_now(&path, &OpenOptions::new().read(true))?;
/// assert_eq!(compose::read_exactly_at(&file, vec![0; 4], 4, 2).wait().buffer, b"2345");
/// let done = compose::read_exactly_at(&file, vec![0; 4], 4, 8).wait();
/// assert_eq!((done.bytes, done.result.unwrap_err().code()), (2, Code::EndOfFile));
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_exactly_at<B: IoBufMut + 'static, H: Home>(
    from: &File<H>,
    buffer: B,
    count: usize,
    offset: u64,
) -> Composed<'_, File<H>, AtLeast<File<H>, Offset, B>> {
    compose(from, AtLeast::new(buffer, count, false, Offset(offset)))
}
