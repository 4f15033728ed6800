//! What is left in a batch goes back to its port when it is dropped.
use proactor::{Batch, Local};

fn elsewhere(batch: Batch<(), usize, Local>) {
    std::thread::spawn(move || drop(batch));
}

fn main() {}
