//! The day that a chat template may print, and `strftime` for it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A calendar day, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Day {
    /// Days since 1970-01-01.
    pub since_1970: i64,
}

impl Day {
    /// Today.
    pub fn today() -> Day {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_secs());
        Day {
            since_1970: (seconds / 86_400) as i64,
        }
    }

    /// Year, month (1–12) and day (1–31): Howard Hinnant's `civil_from_days`.
    fn date(self) -> (i64, usize, usize) {
        let days = self.since_1970 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 {
            shifted + 3
        } else {
            shifted - 9
        };
        let year = year + era * 400 + i64::from(month <= 2);
        (year, month as usize, day as usize)
    }

    /// The day in the way that `format` says, as C's `strftime` with the C locale; times of day are midnight.
    pub(super) fn format(self, format: &str) -> String {
        let (year, month, day) = self.date();
        let weekday = (self.since_1970 + 4).rem_euclid(7) as usize;
        let name = MONTHS[month - 1];
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut spec = chars.next();
            // glibc's flag for "without padding".
            let bare = spec == Some('-');
            if bare {
                spec = chars.next();
            }
            let number = |value: usize| match bare {
                true => value.to_string(),
                false => format!("{value:02}"),
            };
            match spec {
                Some('Y') => out.push_str(&year.to_string()),
                Some('y') => out.push_str(&number(year.rem_euclid(100) as usize)),
                Some('m') => out.push_str(&number(month)),
                Some('d') => out.push_str(&number(day)),
                Some('e') => out.push_str(&format!("{day:2}")),
                Some('B') => out.push_str(name),
                Some('b' | 'h') => out.push_str(&name[..3]),
                Some('A') => out.push_str(DAYS[weekday]),
                Some('a') => out.push_str(&DAYS[weekday][..3]),
                Some('w') => out.push_str(&weekday.to_string()),
                Some('F') => out.push_str(&format!("{year}-{month:02}-{day:02}")),
                Some('D' | 'x') => {
                    out.push_str(&format!("{month:02}/{day:02}/{:02}", year.rem_euclid(100)));
                }
                Some('H' | 'M' | 'S') => out.push_str(&number(0)),
                Some('I') => out.push_str("12"),
                Some('p') => out.push_str("AM"),
                Some('T' | 'X') => out.push_str("00:00:00"),
                Some('R') => out.push_str("00:00"),
                Some('%') => out.push('%'),
                Some(other) => out.extend(['%', other]),
                None => out.push('%'),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dated_and_written_as_strftime_writes_them() {
        // date -u -d @$((20000*86400)) is Friday, 4 October 2024.
        let day = Day { since_1970: 20_000 };
        assert_eq!(day.format("%d %b %Y"), "04 Oct 2024");
        assert_eq!(
            day.format("%A, %-d %B %y; %Y-%m-%d %F 100%%"),
            "Friday, 4 October 24; 2024-10-04 2024-10-04 100%"
        );
        assert_eq!(Day { since_1970: 0 }.format("%a %F"), "Thu 1970-01-01");
        assert_eq!(Day { since_1970: 11_016 }.format("%F"), "2000-02-29");
        assert_eq!(
            Day { since_1970: -1 }.format("%F %H:%M"),
            "1969-12-31 00:00"
        );
    }
}
