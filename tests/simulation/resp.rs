//! Commands out of bytes, as a server reads them: whole ones only, the rest waits. The client
//! library's parser reads replies and cannot say where a command ends that is not all there, so this
//! one is ours; a test holds it to the library's.

use redis::Value;

/// The words of one command.
pub(crate) type Command = Vec<Vec<u8>>;

/// The command at the start of `bytes` and its length; `None` while it is not complete.
pub(crate) fn command(bytes: &[u8]) -> Option<(Command, usize)> {
    let mut at = 0;
    let count = number(bytes, b'*', &mut at)?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(bytes, b'$', &mut at)?;
        let word = bytes.get(at..at + length)?;
        bytes.get(at + length..at + length + 2)?;
        words.push(word.to_vec());
        at += length + 2;
    }
    Some((words, at))
}

/// Where the complete commands in `bytes` end.
pub(crate) fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while let Some((_, length)) = command(&bytes[at..]) {
        at += length;
        ends.push(at);
    }
    ends
}

fn number(bytes: &[u8], kind: u8, at: &mut usize) -> Option<usize> {
    let line = bytes.get(*at..)?;
    let end = line.iter().position(|byte| *byte == b'\n')?;
    assert_eq!(
        line[0],
        kind,
        "the worker sent what is no command: {:?}",
        line.escape_ascii().to_string()
    );
    let digits = std::str::from_utf8(&line[1..end - 1]).expect("digits");
    *at += end + 1;
    Some(digits.parse().expect("a length"))
}

/// An error reply, made by the client library's own parser.
pub(crate) fn error(text: &str) -> Value {
    redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).expect("an error reply")
}

// Oracle: the client library's parser.
#[test]
fn commands_are_read_as_the_client_library_reads_them_and_only_when_complete() {
    let mut wire =
        redis::cmd("SET").arg("key").arg("a\r\nb").arg("EX").arg(60).get_packed_command();
    let first = wire.len();
    redis::cmd("EXEC").write_packed_command(&mut wire);
    let (words, length) = command(&wire).expect("a whole command");
    let value = redis::parse_redis_value(&wire).expect("a value");
    assert_eq!(words, redis::from_redis_value::<Vec<Vec<u8>>>(value).expect("words"));
    assert_eq!((length, boundaries(&wire)), (first, vec![first, wire.len()]));
    for cut in 0..first {
        assert_eq!(command(&wire[..cut]), None);
    }
}
