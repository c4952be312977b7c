//! The member `ts`: times as RFC 3339 in UTC with microseconds. The part up to the second is kept from one record to the
//! next.
#![forbid(unsafe_code)]

use crate::json;

const SECONDS_PER_DAY: u64 = 86_400;
/// `,"ts":"2026-11-22T07:33:50.`
const HEAD_BYTES: usize = 27;

/// Microseconds since 1970.
pub(crate) type Now = fn(Moment) -> u64;

/// Which time is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// When the command began that has just run: the server has it at hand.
    Begin,
    /// This one: no command ran.
    Present,
}

/// Writes times.
#[derive(Debug)]
pub(crate) struct Clock {
    second: u64,
    head: [u8; HEAD_BYTES],
}

impl Clock {
    pub(crate) fn new() -> Self {
        Clock { second: 0, head: head(0) }
    }

    /// Appends the member for so many microseconds since 1970, with a comma in front.
    pub(crate) fn push_time(&mut self, time: u64, out: &mut Vec<u8>) {
        let micros = u32::try_from(time % 1_000_000).unwrap_or(0);
        self.push(time / 1_000_000, micros, out);
    }

    fn push(&mut self, second: u64, micros: u32, out: &mut Vec<u8>) {
        if second != self.second {
            self.head = head(second);
            self.second = second;
        }
        let [a, b, c] = [micros / 10_000, micros / 100 % 100, micros % 100].map(json::pair);
        let tail = [a[0], a[1], b[0], b[1], c[0], c[1], b'Z', b'"'];
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&tail);
    }
}

/// The last decimal digit.
fn digit(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

fn head(second: u64) -> [u8; HEAD_BYTES] {
    let (year, month, day) = date(second / SECONDS_PER_DAY);
    let rest = second % SECONDS_PER_DAY;
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let two = |number: u64| [digit(number / 10), digit(number)];
    let ([c0, c1], [y0, y1]) = (two(year / 100), two(year % 100));
    let [[m0, m1], [d0, d1], [h0, h1], [i0, i1], [s0, s1]] =
        [month, day, hour, minute, second].map(two);
    [
        b',', b'"', b't', b's', b'"', b':', b'"', c0, c1, y0, y1, b'-', m0, m1, b'-', d0, d1, b'T',
        h0, h1, b':', i0, i1, b':', s0, s1, b'.',
    ]
}

/// Days since 1970 as a date of the Gregorian calendar: in eras of 400 years that begin in March, so
/// that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    // From 0000-03-01 to 1970-01-01.
    let days = days + 719_468;
    let era = days / DAYS_PER_ERA;
    let day_of_era = days % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: u64, micros: u32) -> String {
        let mut out = Vec::new();
        Clock::new().push(second, micros, &mut out);
        let text = String::from_utf8(out).unwrap();
        let time = text.strip_prefix(",\"ts\":\"").and_then(|time| time.strip_suffix('"'));
        time.unwrap().to_owned()
    }

    // Oracle: date(1) of coreutils for these seconds.
    #[test]
    fn seconds_become_rfc_3339_in_utc() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(951_782_399, 999_999), "2000-02-28T23:59:59.999999Z");
        assert_eq!(text(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(text(1_798_761_599, 120_034), "2026-12-31T23:59:59.120034Z");
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000Z");
    }

    // Oracle: the same clock, asked for another second in between.
    #[test]
    fn the_kept_second_is_not_used_for_another_one() {
        let mut clock = Clock::new();
        let mut out = Vec::new();
        for second in [1, 1, 2, 1] {
            clock.push(second, 0, &mut out);
        }
        let text = String::from_utf8(out).unwrap();
        let seconds: Vec<&str> =
            text.split('Z').filter_map(|time| time.rsplit_once(':')?.1.get(..2)).collect();
        assert_eq!(seconds, ["01", "01", "02", "01"]);
    }
}
