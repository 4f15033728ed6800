//! A batch remembers whose packets it holds: one for a thread's own port is not filled by a port whose packets travel.
use proactor::{Batch, CompletionPort, Local};

fn fill(port: &CompletionPort<(), usize>, batch: &mut Batch<(), usize, Local>) {
    port.get_many(batch, None).unwrap();
}

fn main() {}
