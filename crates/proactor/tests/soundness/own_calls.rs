//! Entries of the user's own that are dropped, cancelled and raced: their memory is the kernel's until it says so.

use std::io::{PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use proactor::raw::Ring;
use proactor::raw::io_uring::{opcode, types};
use proactor::{Cargo, Code, Home, LocalPort, Operation};

use crate::live::{Census, Dice, Live};

/// What a read needs, counted.
type Memory = (PipeReader, [u8; 64], Live);

fn read<'a, H: Home>(
    ring: &'a Ring<H>,
    from: &PipeReader,
    census: &Census,
) -> Operation<'a, impl Cargo<Back = Memory> + use<H>, (), H> {
    let memory = (from.try_clone().unwrap(), [0; 64], census.one());
    // SAFETY: descriptor and buffer are in the entry's memory.
    unsafe {
        ring.entry(memory, |(reader, buf, _)| opcode::Read::new(types::Fd(reader.as_raw_fd()), buf.as_mut_ptr(), 64).build())
    }
}

#[test]
fn an_entry_dropped_in_flight_keeps_its_memory_until_its_completion() {
    let Ok(ring) = Ring::new() else { return };
    let census = Census::default();
    for round in 0..200_u8 {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        drop(read(&ring, &reader, &census).start().unwrap());
        census.assert_empty("reads");
        // Had the memory gone before the kernel's last word, the read would take this.
        writer.write_all(&[round; 8]).unwrap();
        let mut buf = [0; 8];
        reader.read_exact(&mut buf).unwrap();
        assert_eq!(buf, [round; 8]);
    }
}

#[test]
fn the_same_on_a_per_thread_port_that_goes() {
    let Ok(ring) = Ring::new() else { return };
    let census = Census::default();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let port: LocalPort<(), usize> = LocalPort::new().unwrap();
    let ring = port.associate(ring, 1).unwrap();
    drop(read(&ring, &reader, &census).start().unwrap());
    let kept = read(&ring, &reader, &census).start().unwrap();
    assert!(census.count() >= 1);
    // A wait lets the port enter the kernel, which ends the one that was dropped.
    let Err(waiting) = kept.wait_timeout(Duration::from_millis(20)) else { panic!("nothing was written") };
    let kept = waiting.back;
    assert_eq!(census.count(), 1);
    writer.write_all(b"x").unwrap();
    let Ok(done) = kept.wait_timeout(Duration::from_secs(20)) else { panic!("it has its data") };
    assert_eq!(done.bytes, 1);
    drop(done.buffer);
    let left = read(&ring, &reader, &census).start().unwrap();
    drop(ring);
    drop(port);
    drop(left);
    census.assert_empty("reads");
}

/// Entries that wait for the same data are tried again and again, and the kernel does not find one for a cancel meanwhile.
#[test]
fn no_cancel_of_an_entry_is_lost_while_others_take_its_data() {
    let Ok(ring) = Ring::new() else { return };
    let seed = std::env::var("PROACTOR_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(0x5EED_u64);
    println!("PROACTOR_SEED={seed}");
    let census = Census::default();
    let mut dice = Dice::new(seed);
    let (mut got, mut put) = (0, 0);
    let (reader, mut writer) = std::io::pipe().unwrap();
    for _ in 0..300 {
        let reads: Vec<_> = (0..8).map(|_| read(&ring, &reader, &census).start().unwrap()).collect();
        let bytes = dice.roll(4) as usize;
        std::thread::scope(|scope| {
            scope.spawn(|| writer.write_all(&vec![1; bytes]).unwrap());
            for read in &reads {
                if dice.roll(2) == 0 {
                    let _ = read.cancel();
                }
            }
        });
        put += bytes;
        for read in &reads {
            let _ = read.cancel();
        }
        for read in reads {
            let Ok(done) = read.wait_timeout(Duration::from_secs(20)) else { panic!("a cancel was lost") };
            match done.result {
                Ok(()) => got += done.bytes,
                Err(error) => assert_eq!(error.code(), Code::Cancelled),
            }
        }
    }
    drop(writer);
    let mut rest = Vec::new();
    (&reader).read_to_end(&mut rest).unwrap();
    assert_eq!(got + rest.len(), put, "a result that won the race is delivered");
    census.assert_empty("reads");
}
