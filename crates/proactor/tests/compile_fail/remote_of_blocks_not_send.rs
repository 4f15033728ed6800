//! What another thread posts must be able to come from there.
use std::rc::Rc;

use proactor::LocalPort;

fn main() {
    let port = LocalPort::<Rc<u8>, usize>::new().unwrap();
    let _remote = port.remote();
}
