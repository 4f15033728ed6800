//! Any worker may take a packet, so its block must be Send.
use std::rc::Rc;

use proactor::{CompletionPort, Concurrency};

fn main() {
    let _ = CompletionPort::<Rc<u8>, usize>::new(Concurrency::Cores);
}
