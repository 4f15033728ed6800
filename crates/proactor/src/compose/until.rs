//! Read until something is found.

use std::marker::PhantomData;

use super::{Compose, Composed, Input, Rest, Source, Step, compose};
use crate::buf::Fill;
use crate::cancel::Cancellation;
use crate::error::{Code, Error};
use crate::op::{Completion, Operation};

/// What [`read_until`] and [`read_until_found`] run. `F` is told what is unread and how much of that it has seen before, and says
/// where what it looks for ends.
pub struct Until<O, F> {
    input: Option<Input>,
    find: F,
    seen: usize,
    came: bool,
    on: PhantomData<fn(O)>,
}

impl<O: Source, F: Find> Until<O, F> {
    /// Looks at what is there, and asks for more.
    fn look(&mut self, mut input: Input) -> Step<Rest<Vec<u8>>, Completion<(), Input>> {
        let unread = input.unread();
        if let Some(end) = self.find.find(unread, self.seen) {
            let bytes = end.min(unread.len());
            return Step::Done(Completion { bytes, result: Ok(()), buffer: input });
        }
        self.seen = unread.len();
        match input.part() {
            Some(part) => {
                self.input = Some(input);
                Step::Next(part)
            }
            None => Step::Done(Completion { bytes: self.seen, result: Err(Error::new(Code::LimitReached)), buffer: input }),
        }
    }

    fn take(&mut self) -> Input {
        match self.input.take() {
            Some(input) => input,
            None => unreachable!("its memory alone is with an operation"),
        }
    }
}

impl<O: Source, F: Find> Compose<O> for Until<O, F> {
    type Cargo = Fill<Rest<Vec<u8>>>;
    type Brings = ();
    type Output = Completion<(), Input>;

    fn begin(&mut self) -> Step<Rest<Vec<u8>>, Completion<(), Input>> {
        let input = self.take();
        self.look(input)
    }

    fn operation<'o>(&mut self, on: &'o O, buffer: Rest<Vec<u8>>) -> Operation<'o, Fill<Rest<Vec<u8>>>, (), O::Home> {
        on.some(buffer)
    }

    fn resume(&mut self, done: Completion<(), Rest<Vec<u8>>>) -> Step<Rest<Vec<u8>>, Completion<(), Input>> {
        let mut input = self.take();
        input.restore(done.buffer);
        self.came |= done.bytes > 0;
        let error = match done.result {
            Ok(()) if done.bytes > 0 => return self.look(input),
            Ok(()) => Error::new(Code::EndOfFile),
            Err(error) => error,
        };
        Step::Done(Completion { bytes: input.unread().len(), result: Err(error), buffer: input })
    }

    fn cancellation(&self) -> Cancellation {
        if self.came { Cancellation::Partial } else { Cancellation::Total }
    }
}

/// Reads from a stream until `delimiter` is among the unread bytes of `input`, which may be at once. `bytes` says how many they are
/// up to its end; what was read past that stays in the input for the next call. [`Input::consume`] takes them.
///
/// [`Code::LimitReached`] (122) if the input's limit is, and no delimiter came; [`Code::EndOfFile`] (38) if the stream ended before one.
/// With every error the input comes back with all that was read, which `bytes` counts. An empty delimiter is there at once.
///
/// ```
/// use proactor::{Code, compose::{self, Input}};
/// let (reader, writer) = proactor::pipe::pair()?;
/// writer.write(b"one\ntwo\nthr").wait().result?;
/// let mut done = compose::read_until(&reader, Input::new(8192), b"\n").wait();
/// assert_eq!(&done.buffer.unread()[..done.bytes], b"one\n");
/// done.buffer.consume(done.bytes);
/// let mut done = compose::read_until(&reader, done.buffer, b"\n").wait();
/// done.buffer.consume(done.bytes);
/// drop(writer);
/// let done = compose::read_until(&reader, done.buffer, b"\n").wait();
/// assert_eq!((done.buffer.unread(), done.result.unwrap_err().code()), (&b"thr"[..], Code::EndOfFile));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_until<'o, O: Source>(from: &'o O, input: Input, delimiter: &[u8]) -> Composed<'o, O, Until<O, Delimiter>> {
    until(from, input, Delimiter(delimiter.to_vec()))
}

fn until<O: Source, F: Find>(from: &O, input: Input, find: F) -> Composed<'_, O, Until<O, F>> {
    compose(from, Until { input: Some(input), find, seen: 0, came: false, on: PhantomData })
}

/// What is looked for in what was read: a delimiter, or what a closure finds.
pub trait Find: 'static {
    /// Where it ends, if it is there. `seen` bytes of these were looked at before.
    fn find(&mut self, unread: &[u8], seen: usize) -> Option<usize>;
}

impl<F: FnMut(&[u8], usize) -> Option<usize> + 'static> Find for F {
    fn find(&mut self, unread: &[u8], seen: usize) -> Option<usize> {
        self(unread, seen)
    }
}

/// Bytes that end something.
#[derive(Debug)]
pub struct Delimiter(Vec<u8>);

impl Find for Delimiter {
    fn find(&mut self, unread: &[u8], seen: usize) -> Option<usize> {
        let len = self.0.len();
        if len == 0 {
            return Some(0);
        }
        // It may have begun in what was seen.
        let begin = (seen + 1).saturating_sub(len);
        let found = unread.get(begin..)?.windows(len).position(|window| window == self.0)?;
        Some(begin + found + len)
    }
}

/// Reads from a stream until `find` finds what it looks for: it is told what is unread, and how much of that it has seen before, and
/// says where it ends. Otherwise as [`read_until`].
///
/// ```
/// use proactor::compose::{self, Input};
/// let (reader, writer) = proactor::pipe::pair()?;
/// writer.write(b"\x03abcd").wait().result?;
/// // A length, and so many bytes.
/// let frame = |unread: &[u8], _| Some(1 + usize::from(*unread.first()?)).filter(|end| *end <= unread.len());
/// let done = compose::read_until_found(&reader, Input::new(256), frame).wait();
/// assert_eq!(&done.buffer.unread()[..done.bytes], b"\x03abc");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn read_until_found<O: Source, F: FnMut(&[u8], usize) -> Option<usize> + 'static>(
    from: &O,
    input: Input,
    find: F,
) -> Composed<'_, O, Until<O, F>> {
    until(from, input, find)
}
