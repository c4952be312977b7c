//! Packs one command after another into bytes. The client library packs every other command of ours; those
//! that each record needs are packed here, because the library's way over a command object takes
//! longer than all else that is done for a record. A test compares the bytes.
#![forbid(unsafe_code)]

use std::ops::Range;

/// The arguments of a command, appended to a buffer as they come.
pub(super) struct Packer<'w> {
    wire: &'w mut Vec<u8>,
    start: usize,
    arguments: usize,
}

impl<'w> Packer<'w> {
    /// Starts a command at the end of `wire`.
    pub(super) fn new(wire: &'w mut Vec<u8>) -> Self {
        let start = wire.len();
        Self { wire, start, arguments: 0 }
    }

    /// Adds an argument, of any bytes.
    pub(super) fn arg(&mut self, argument: &[u8]) -> &mut Self {
        self::argument(self.wire, argument);
        self.arguments += 1;
        self
    }

    /// Completes the command and tells where it stands.
    pub(super) fn finish(self) -> Range<usize> {
        // How many arguments there are is known only now, and stands in front of them.
        let body = self.start..self.wire.len();
        count(self.wire, self.arguments);
        let head = self.wire.len() - body.end;
        if let Some(command) = self.wire.get_mut(body.start..) {
            command.rotate_right(head);
        }
        self.start..self.wire.len()
    }

    /// Takes the command back.
    pub(super) fn discard(self) {
        self.wire.truncate(self.start);
    }
}

/// Appends how many arguments a command has: what it begins with.
pub(super) fn count(wire: &mut Vec<u8>, arguments: usize) {
    length(wire, b'*', arguments);
}

/// Appends an argument, of any bytes.
pub(super) fn argument(wire: &mut Vec<u8>, argument: &[u8]) {
    length(wire, b'$', argument.len());
    wire.extend_from_slice(argument);
    wire.extend_from_slice(b"\r\n");
}

fn length(wire: &mut Vec<u8>, kind: u8, length: usize) {
    wire.push(kind);
    wire.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    wire.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: the client library's own packing of the same arguments.
    #[test]
    fn commands_are_packed_as_the_client_library_packs_them() {
        let long = vec![b'x'; 70_000];
        let empty: &[u8] = b"";
        for count in [1, 2, 9, 10, 11, 99, 100, 1001] {
            let arguments: Vec<&[u8]> =
                [empty, b"XADD", b"\r\n$5\0\xff", &long].into_iter().cycle().take(count).collect();
            let mut wire = b"before".to_vec();
            let mut packer = Packer::new(&mut wire);
            for argument in &arguments {
                packer.arg(argument);
            }
            let range = packer.finish();
            let mut command = redis::Cmd::new();
            for argument in &arguments {
                command.arg(*argument);
            }
            assert_eq!(wire.get(range), Some(command.get_packed_command().as_slice()), "{count}");
            assert!(wire.starts_with(b"before*"));
        }
    }
}
