//! How a pool's objects are made.

use std::sync::Arc;

use super::group::{CleanupGroup, OnCancel, Stop};
use super::instance::Instance;
use super::io::Io;
use super::member::{Callback, Member, Owner};
use super::timer::Timer;
use super::waits::{Results, WaitObject};
use super::work::Work;
use crate::error::Error;
use crate::handle::AsObject;
use crate::shim::{Mutex, lock};
use crate::sync::Waited;

/// A callback environment (`TP_CALLBACK_ENVIRON`): the pool, the clean-up group and the hints for objects made from it.
#[derive(Clone)]
#[must_use = "an environment does nothing until an object is made from it"]
pub struct Environment {
    owner: Arc<Owner>,
    group: Option<CleanupGroup>,
    on_cancel: Option<OnCancel>,
    runs_long: bool,
}

impl Environment {
    pub(super) fn new(owner: Arc<Owner>) -> Environment {
        Environment { owner, group: None, on_cancel: None, runs_long: false }
    }

    /// Objects made from now on belong to this clean-up group (`SetThreadpoolCallbackCleanupGroup`).
    pub fn group(mut self, group: &CleanupGroup) -> Environment {
        self.group = Some(group.clone());
        self
    }

    /// Called once for each object when its group is closed and cancels what waits, on the closing thread.
    pub fn on_cancel(mut self, f: impl Fn() + Send + Sync + 'static) -> Environment {
        self.on_cancel = Some(Arc::new(f));
        self
    }

    /// Callbacks of these objects may run long (`SetThreadpoolCallbackRunsLong`): see [`Instance::may_run_long`].
    pub fn runs_long(mut self, long: bool) -> Environment {
        self.runs_long = long;
        self
    }

    /// A new member for an object.
    fn member(&self, callback: Callback) -> Arc<Member> {
        Member::new(self.owner.clone(), self.runs_long, callback)
    }

    /// Enters an object's member in the group, with what else ends the object.
    fn enter(&self, member: &Arc<Member>, stop: Option<Stop>) {
        if let Some(group) = &self.group {
            group.add(member, self.on_cancel.clone(), stop);
        }
    }

    /// A work object (`CreateThreadpoolWork`): `callback` runs once for each [`Work::submit`], on any threads of the
    /// pool, several at a time if it was submitted several times.
    pub fn work(&self, callback: impl Fn(&Instance<'_>) + Send + Sync + 'static) -> Work {
        let member = self.member(Box::new(callback));
        self.enter(&member, None);
        Work { member }
    }

    /// Binds a socket or file to the pool (`CreateThreadpoolIo`): completions of what [`Io::start`] starts are callbacks.
    ///
    /// Closing its group with `cancel_members` drops the callbacks that have not come; `close_members` waits for them: cancel
    /// operations first that may pend for long.
    ///
    /// Errors: [`Code::InvalidParameter`](crate::Code::InvalidParameter) if the object has a home already, on the pool or
    /// elsewhere: one binding for each.
    pub fn io(&self, object: &impl AsObject) -> Result<Io, Error> {
        let member = self.member(Box::new(|_| {}));
        self.owner.0.port.associate(object, Some(member.clone()))?;
        self.enter(&member, None);
        self.owner.0.keep_one_waiting();
        Ok(Io { member })
    }

    /// A timer object (`CreateThreadpoolTimer`): `callback` runs whenever it is due.
    ///
    /// Errors: [`Code::InsufficientResources`](crate::Code::InsufficientResources) and
    /// [`Code::TooManyDescriptors`](crate::Code::TooManyDescriptors) from the system, for the pool's first.
    pub fn timer(&self, callback: impl Fn(&Instance<'_>) + Send + Sync + 'static) -> Result<Timer, Error> {
        let timers = self.owner.0.timers()?;
        let member = self.member(Box::new(callback));
        let timer = Timer::new(member.clone(), timers);
        let inner = timer.inner();
        self.enter(&member, Some(Box::new(move || _ = inner.upgrade().map(|inner| inner.unset()))));
        Ok(timer)
    }

    /// A wait object (`CreateThreadpoolWait`): `callback` is told how each wait it was set for ended.
    ///
    /// Errors: as for [`timer`](Environment::timer).
    pub fn wait(&self, callback: impl Fn(&Instance<'_>, Waited) + Send + Sync + 'static) -> Result<WaitObject, Error> {
        let timers = self.owner.0.timers()?;
        let results = Results::default();
        let told = results.clone();
        let member = self.member(Box::new(move |instance| {
            let waited = lock(&told).pop_front();
            if let Some((waited, registered)) = waited {
                drop(registered);
                callback(instance, waited);
            }
        }));
        let wait = WaitObject::new(member.clone(), timers, results);
        let inner = wait.inner();
        self.enter(&member, Some(Box::new(move || _ = inner.upgrade().map(|inner| inner.stop()))));
        Ok(wait)
    }

    /// Runs `f` once (`TrySubmitThreadpoolCallback`).
    ///
    /// Errors: [`Code::InvalidHandle`](crate::Code::InvalidHandle) if the group was closed,
    /// [`Code::Forked`](crate::Code::Forked) in a forked child.
    pub fn submit(&self, f: impl FnOnce(&Instance<'_>) + Send + 'static) -> Result<(), Error> {
        let once = Mutex::new(Some(f));
        let member = self.member(Box::new(move |instance| {
            let f = lock(&once).take();
            if let Some(f) = f {
                f(instance);
            }
        }));
        self.enter(&member, None);
        member.submit()
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("grouped", &self.group.is_some())
            .field("runs_long", &self.runs_long)
            .finish_non_exhaustive()
    }
}
