//! A clock that is wrong or missing: the board enrols, and keeps its identity through a restart.

use muster_system_tests::firmware::Stage;

/// Seconds since 1970: the very beginning, and where clocks of 31 and of 32 bits end.
const DATES: [(&str, &str); 5] = [
    ("no clock", "none"),
    ("1970", "0"),
    ("2038", "2147483648"),
    ("2106", "4294967296"),
    ("ten years ago", "1480000000"),
];

#[test]
fn whatever_the_date_it_enrols_and_comes_back() {
    let stage = Stage::new(DATES.len().try_into().unwrap()).unwrap();
    for (number, (name, date)) in (0..).zip(DATES) {
        let (device, board) = stage.board(number).unwrap();
        let board = board.with(format!("clock={date}"));
        let powered = board.start().unwrap();
        let enrolled = stage.settled(&device, &powered).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        powered.cut_power().unwrap();
        let powered = board.start().unwrap();
        let again = stage.settled(&device, &powered).unwrap_or_else(|error| panic!("{name}, again: {error:#}"));
        assert_eq!(again["serial"], enrolled["serial"], "{name}");
    }
}
