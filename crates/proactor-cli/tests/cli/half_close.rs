//! A client may close its sending half first, and still gets everything.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::run::{LIMIT, MODELS, Server};

#[test]
fn a_client_that_closes_its_half_gets_everything_then_the_end() {
    for model in MODELS {
        let server = Server::start(model);
        for bytes in [0, 1, 4096, 3 << 20] {
            let sent: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
            let mut client = TcpStream::connect(server.addr).unwrap();
            client.set_read_timeout(Some(LIMIT)).unwrap();
            let mut writer = client.try_clone().unwrap();
            let mut back = Vec::new();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    writer.write_all(&sent).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                client.read_to_end(&mut back).unwrap();
            });
            assert!(back == sent, "{model:?}: {} of {bytes} bytes came back, or wrong ones", back.len());
        }
    }
}
