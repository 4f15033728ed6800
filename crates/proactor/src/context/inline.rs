//! The executor that is no place at all.

use super::{Executor, Job};

/// Runs every function inside the call that hands it over, be it `post`, `dispatch` or `defer`: on whatever thread that is. All
/// are equal.
///
/// As the executor of an operation ([`Operation::on`](crate::Operation::on)) it has the handler run on the thread that takes the
/// completion from its port.
///
/// ```
/// use proactor::context::{Executor, InlineExecutor};
/// let here = std::thread::current().id();
/// InlineExecutor.post(move || assert_eq!(std::thread::current().id(), here));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct InlineExecutor;

impl Executor for InlineExecutor {
    fn post_job(&self, job: Job) {
        job.run();
    }

    fn running_in_this_thread(&self) -> bool {
        true
    }
}
