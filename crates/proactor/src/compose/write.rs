//! Write all of a buffer.

use std::marker::PhantomData;

use super::{Compose, Composed, Offset, On, Rest, Sink, Step, Stream, Writes, compose};
use crate::buf::{Drain, IoBuf};
use crate::cancel::Cancellation;
use crate::error::{Code, Error};
use crate::fs::File;
use crate::home::Home;
use crate::op::{Completion, Operation};

/// What [`write_all`] runs.
pub struct All<O, P, B> {
    buffer: Option<B>,
    gone: usize,
    place: P,
    on: PhantomData<fn(O)>,
}

impl<O: On, P: Writes<O>, B: IoBuf + 'static> Compose<O> for All<O, P, B> {
    type Cargo = Drain<Rest<B>>;
    type Brings = ();
    type Output = Completion<(), B>;

    fn begin(&mut self) -> Step<Rest<B>, Completion<(), B>> {
        let Some(buffer) = self.buffer.take() else { unreachable!("begun once") };
        match buffer.as_slice().is_empty() {
            true => Step::Done(Completion { bytes: 0, result: Ok(()), buffer }),
            false => Step::Next(Rest::to_send(buffer, 0)),
        }
    }

    fn operation<'o>(&mut self, on: &'o O, buffer: Rest<B>) -> Operation<'o, Drain<Rest<B>>, (), O::Home> {
        self.place.write(on, buffer, self.gone)
    }

    fn resume(&mut self, done: Completion<(), Rest<B>>) -> Step<Rest<B>, Completion<(), B>> {
        self.gone += done.bytes;
        let buffer = done.buffer.into_inner();
        let result = match done.result {
            Err(error) => Err(error),
            Ok(()) if self.gone >= buffer.as_slice().len() => Ok(()),
            Ok(()) if done.bytes == 0 => Err(Error::new(Code::EndOfFile).hint("nothing more could be written")),
            Ok(()) => return Step::Next(Rest::to_send(buffer, self.gone)),
        };
        Step::Done(Completion { bytes: self.gone, result, buffer })
    }

    fn cancellation(&self) -> Cancellation {
        Cancellation::Partial
    }
}

/// Writes all of `buffer` to a stream, in as many operations as that takes: one, unless the system is short. An error comes with
/// the count of the bytes before it. An empty buffer is written at once. A cancel is partial.
///
/// ```
/// let (reader, writer) = proactor::pipe::pair()?;
/// assert_eq!(proactor::compose::write_all(&writer, b"all of it").wait().bytes, 9);
/// assert_eq!(reader.read(vec![0; 16]).wait().buffer, b"all of it");
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_all<O: Sink, B: IoBuf + 'static>(to: &O, buffer: B) -> Composed<'_, O, All<O, Stream, B>> {
    compose(to, All { buffer: Some(buffer), gone: 0, place: Stream, on: PhantomData })
}

/// Writes all of `buffer` to a file from `offset` on. Otherwise as [`write_all`].
///
/// ```
/// use proactor::{compose, fs::{File, OpenOptions}};
/// # let path = std::env::temp_dir().join(format!("proactor-doc-all-{}", std::process::id()));
/// let file = File::open_now(&path, &OpenOptions::new().write(true).create(true))?;
/// compose::write_all_at(&file, b"0123", 2).wait().result?;
/// assert_eq!(std::fs::read(&path)?, b"\0\00123");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn write_all_at<B: IoBuf + 'static, H: Home>(
    to: &File<H>,
    buffer: B,
    offset: u64,
) -> Composed<'_, File<H>, All<File<H>, Offset, B>> {
    compose(to, All { buffer: Some(buffer), gone: 0, place: Offset(offset), on: PhantomData })
}
