//! What a server does with a message besides echoing it: nothing, or now and then sleep, as a handler that meets a lock or
//! a disk would.

use std::time::Duration;

/// One thread's handler.
pub struct Handler {
    /// One in so many sleeps; 0: none.
    one_in: u32,
    sleep: Duration,
    state: u64,
}

impl Handler {
    /// The handler of thread number `n`: each thread draws its own numbers, the same in every run.
    pub fn new(n: u32, one_in: u32, sleep: Duration) -> Handler {
        Handler { one_in, sleep, state: 0x2545_F491_4F6C_DD1D ^ (u64::from(n) + 1) << 32 }
    }

    /// Handles one message.
    #[inline]
    pub fn handle(&mut self) {
        if self.one_in != 0 {
            self.maybe_sleep();
        }
    }

    fn maybe_sleep(&mut self) {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        if (self.state >> 32).is_multiple_of(u64::from(self.one_in)) {
            std::thread::sleep(self.sleep);
        }
    }
}
