//! Only the library's own types may name addresses to the kernel.
struct Mine;

impl proactor::Cargo for Mine {
    type Back = ();
}

fn main() {}
