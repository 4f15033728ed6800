//! The same for a list of buffers.
use proactor::within_list;

fn main() {
    let elsewhere = vec![0_u8; 16];
    let _ = within_list(|_: &mut Vec<u8>, list| list.push(&elsewhere));
}
