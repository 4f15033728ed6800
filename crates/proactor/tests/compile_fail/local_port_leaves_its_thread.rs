//! The ring is its thread's alone.
use proactor::LocalPort;

fn main() {
    let port = LocalPort::<(), usize>::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| port.get(None).unwrap());
    });
    std::thread::spawn(move || drop(port));
}
