//! A projection names bytes of the block, which live as long as the operation; nothing else does.
use proactor::within_mut;

fn main() {
    let mut elsewhere = vec![0_u8; 16];
    let borrowed = &mut elsewhere[..];
    let _ = within_mut(move |_: &mut Vec<u8>| borrowed);
}
