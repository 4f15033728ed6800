//! Services: one of each type for a context.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{self, ThreadId};

use super::IoExecutor;
use crate::shim::{Condvar, Mutex, lock};

/// Something of which a context has one: made when it is first asked for, shut down with the context.
///
/// See [`IoContext::use_service`](super::IoContext::use_service).
pub trait Service: Send + Sync + Sized + 'static {
    /// Makes it, for the context with this executor. It may ask for other services, which then are shut down after it.
    fn make(executor: &IoExecutor) -> Self;

    /// The context goes: to stop threads, and to let go of handlers that will never be called. Services are shut down in the reverse
    /// order of their making, and dropped after that in the same order.
    fn shutdown(&self) {}
}

enum State {
    Making(ThreadId),
    Made(Arc<dyn Any + Send + Sync>, fn(&(dyn Any + Send + Sync))),
}

/// In the order of their making, but for those that are being made. None: the context is gone, and keeps no more.
type List = Option<Vec<(TypeId, State)>>;

pub(crate) struct Services {
    list: Mutex<List>,
    made: Condvar,
}

impl Default for Services {
    fn default() -> Services {
        Services { list: Mutex::new(Some(Vec::new())), made: Condvar::new() }
    }
}

impl Services {
    /// The service of this type, made now if there is none.
    pub fn get<S: Service>(&self, make: impl FnOnce() -> S) -> Arc<S> {
        let id = TypeId::of::<S>();
        let mut list = lock(&self.list);
        loop {
            let Some(all) = list.as_mut() else {
                drop(list);
                return Arc::new(make());
            };
            match all.iter().find(|(its, _)| *its == id) {
                Some((_, State::Made(service, _))) => {
                    let service = service.clone();
                    return service.downcast().unwrap_or_else(|_| unreachable!("listed by its type"));
                }
                Some((_, State::Making(thread))) if *thread == thread::current().id() => {
                    panic!("a service asks for itself while it is being made");
                }
                Some(_) => list = self.made.wait(list).unwrap_or_else(|poisoned| poisoned.into_inner()),
                None => {
                    all.push((id, State::Making(thread::current().id())));
                    break;
                }
            }
        }
        drop(list);
        let made = catch_unwind(AssertUnwindSafe(make));
        let mut list = lock(&self.list);
        // To the end: those it asked for were made before it.
        if let Some(all) = list.as_mut() {
            all.retain(|(its, _)| *its != id);
        }
        let service = made.map(Arc::new);
        if let (Ok(service), Some(all)) = (&service, list.as_mut()) {
            let shutdown = |service: &(dyn Any + Send + Sync)| {
                if let Some(service) = service.downcast_ref::<S>() {
                    service.shutdown();
                }
            };
            all.push((id, State::Made(service.clone(), shutdown)));
        }
        drop(list);
        self.made.notify_all();
        service.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Whether there is one of this type.
    pub fn has<S: Service>(&self) -> bool {
        let is_it = |(id, state): &(TypeId, State)| *id == TypeId::of::<S>() && matches!(state, State::Made(..));
        lock(&self.list).iter().flatten().any(is_it)
    }

    /// Shuts all down, the youngest first, which is the order they are given in; no more are kept.
    pub fn shutdown(&self) -> Vec<Arc<dyn Any + Send + Sync>> {
        let mut over = Vec::new();
        let all = lock(&self.list).take();
        for (_, state) in all.into_iter().flatten().rev() {
            if let State::Made(service, shutdown) = state {
                crate::deliver::unharmed(|| shutdown(&*service));
                over.push(service);
            }
        }
        over
    }
}
