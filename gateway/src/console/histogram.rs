//! The expiry histogram: bars as SVG, drawn here, with the same numbers as a table for those who do not see bars.

use crate::admin::view::ExpiryView;

const BAR_WIDTH: u64 = 72;
const GAP: u64 = 12;
const HEIGHT: u64 = 96;

/// One bar.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) devices: u64,
    pub(super) x: u64,
    pub(super) middle: u64,
    pub(super) y: u64,
    pub(super) height: u64,
}

/// The drawing.
pub(super) struct Histogram {
    pub(super) bars: Vec<Bar>,
    pub(super) width: u64,
    pub(super) bar_width: u64,
    pub(super) base: u64,
    pub(super) height: u64,
    pub(super) devices: u64,
}

impl Histogram {
    pub(super) fn of(expiry: &ExpiryView) -> Self {
        let most = expiry.intervals.iter().map(|interval| interval.devices).max().unwrap_or(0).max(1);
        let bars: Vec<Bar> = expiry
            .intervals
            .iter()
            .zip(0_u64..)
            .map(|(interval, index)| {
                // A bar of one device among a million is still a bar.
                let height = if interval.devices == 0 { 0 } else { (interval.devices * HEIGHT / most).max(2) };
                let x = index * (BAR_WIDTH + GAP);
                let label = interval.within.clone();
                Bar { label, devices: interval.devices, x, middle: x + BAR_WIDTH / 2, y: 16 + HEIGHT - height, height }
            })
            .collect();
        let count = u64::try_from(bars.len()).unwrap_or(0);
        let devices = bars.iter().map(|bar| bar.devices).sum();
        let (width, base) = (count * (BAR_WIDTH + GAP), 16 + HEIGHT);
        Self { bars, width, bar_width: BAR_WIDTH, base, height: base + 20, devices }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::ExpiryInterval;

    fn expiry(devices: &[u64]) -> ExpiryView {
        let interval =
            |devices: &u64| ExpiryInterval { within: String::new(), from: None, until: None, devices: *devices };
        ExpiryView { v: 1, intervals: devices.iter().map(interval).collect() }
    }

    #[test]
    fn bars_are_to_scale_and_none_is_invisible() {
        let drawn = Histogram::of(&expiry(&[0, 1, 500_000, 1_000_000, 0, 0, 0, 0]));
        let heights: Vec<u64> = drawn.bars.iter().map(|bar| bar.height).collect();
        assert_eq!(heights, [0, 2, HEIGHT / 2, HEIGHT, 0, 0, 0, 0]);
        assert!(drawn.bars.iter().all(|bar| bar.y + bar.height == drawn.base));
        assert_eq!(drawn.devices, 1_500_001);
        assert_eq!(drawn.bars.len(), 8);
    }

    #[test]
    fn an_empty_fleet_has_no_bars_and_divides_by_nothing() {
        assert!(Histogram::of(&expiry(&[0; 8])).bars.iter().all(|bar| bar.height == 0));
        assert_eq!(Histogram::of(&expiry(&[])).width, 0);
    }
}
