//! Where a cluster has a key: its slot. And keys that are in a given slot.
#![forbid(unsafe_code)]

use crc::{CRC_16_XMODEM, Crc};
use std::sync::OnceLock;

/// So many slots a cluster has.
pub const SLOTS: u16 = 16384;

/// The number of a key's slot, from 0.
pub type Slot = u16;

/// What a cluster computes of a key.
static CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key. Where it has a `{` and a `}` behind it, only what is between the first two
/// counts, unless that is nothing.
pub fn slot_of(key: &[u8]) -> Slot {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = key.get(open + 1..)?;
        let close = rest.iter().position(|byte| *byte == b'}').filter(|close| *close > 0)?;
        rest.get(..close)
    });
    CHECKSUM.checksum(tag.unwrap_or(key)) % SLOTS
}

/// The smallest number that, as a key, is in this slot. It never changes, so that what was written under
/// it is found again.
pub fn number_in(slot: Slot) -> u32 {
    static NUMBERS: OnceLock<Vec<u32>> = OnceLock::new();
    let numbers = NUMBERS.get_or_init(|| {
        let mut numbers = vec![None; usize::from(SLOTS)];
        let mut missing = numbers.len();
        for number in 0_u32.. {
            let slot = slot_of(number.to_string().as_bytes());
            if let Some(first @ None) = numbers.get_mut(usize::from(slot)) {
                *first = Some(number);
                missing -= 1;
            }
            if missing == 0 {
                break;
            }
        }
        numbers.into_iter().flatten().collect()
    });
    numbers.get(usize::from(slot)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Oracle: `CLUSTER KEYSLOT` of a real server, see tests/worker/cluster; these are from the
    // specification and from there.
    #[test]
    fn a_key_is_in_the_slot_that_a_cluster_says() {
        for (key, slot) in [
            ("", 0),
            ("123456789", 0x31c3),
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("user1000", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn each_slot_has_a_number() {
        for slot in 0..SLOTS {
            assert_eq!(slot_of(number_in(slot).to_string().as_bytes()), slot);
        }
        assert_eq!(number_in(slot_of(b"0")), 0);
    }
}
