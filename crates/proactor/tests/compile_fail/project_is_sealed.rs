//! Only the library's own types may name addresses to the kernel.
struct Mine;

impl<B> proactor::Project<B> for Mine {}

fn main() {}
