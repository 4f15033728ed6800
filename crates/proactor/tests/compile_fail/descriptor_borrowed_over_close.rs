//! A descriptor is not closed while somebody borrows it.

use std::os::fd::AsFd;

use proactor::fs::File;

fn main() {
    let mut file = File::new();
    let descriptor = file.as_fd();
    let _ = file.close().start();
    drop(descriptor.try_clone_to_owned());
}
