//! Axes: from values to places, and which values get a tick.
//!
//! Logarithms are libm's, so that a figure has the same bytes on every machine.

use super::font::Face;

/// A labelled value on an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// A logarithmic axis over positive values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LogAxis {
    low: f64,
    high: f64,
}

/// Empty room at each end of a logarithmic axis, as a factor.
const LOG_MARGIN: f64 = 1.15;
/// Room of a label on an upright axis, in ems.
const UPRIGHT_ROOM_EM: f64 = 1.6;

impl LogAxis {
    /// The axis that shows all of `values` with some room on both sides. Values that are not
    /// positive have no place of their own on it and do not widen it.
    pub(crate) fn covering(values: impl Iterator<Item = f64>) -> LogAxis {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            low = low.min(value);
            high = high.max(value);
        }
        if high == 0.0 {
            (low, high) = (1.0, 1.0); // nothing above zero: any range does
        }
        LogAxis { low: low / LOG_MARGIN, high: high * LOG_MARGIN }
    }

    /// Where `value` lies, from 0 (low end) to 1 (high end); values beyond an end lie on it.
    pub(crate) fn share(&self, value: f64) -> f64 {
        if value <= self.low {
            return 0.0;
        }
        let span = libm::log10(self.high / self.low);
        (libm::log10(value / self.low) / span).min(1.0)
    }

    /// Labelled ticks for a level axis `length` points long: as dense as labels in `face` fit side
    /// by side, with at least two digits of space between each other.
    pub(crate) fn ticks(&self, length: f64, face: &Face) -> Vec<Tick> {
        let gap = face.width("00");
        self.spaced_ticks(length, |label| face.width(label) + gap)
    }

    /// Labelled ticks for an upright axis: as dense as labels with this em fit below each other.
    pub(crate) fn upright_ticks(&self, length: f64, em: f64) -> Vec<Tick> {
        self.spaced_ticks(length, |_| UPRIGHT_ROOM_EM * em)
    }

    /// Ticks as dense as they fit if a label takes `room` points along the axis.
    fn spaced_ticks(&self, length: f64, room: impl Fn(&str) -> f64) -> Vec<Tick> {
        const STEPS: [(&[f64], i32); 5] =
            [(&[1.0, 2.0, 5.0], 1), (&[1.0, 3.0], 1), (&[1.0], 1), (&[1.0], 2), (&[1.0], 3)];
        if self.high / self.low >= 5.0 {
            for (digits, stride) in STEPS {
                let ticks = labelled(self.decade_values(digits, stride));
                if ticks.len() >= 2 && self.fits(&ticks, length, &room) {
                    return ticks;
                }
            }
        }
        [5, 4, 3, 2]
            .map(|count| labelled(round_values(self.low, self.high, count)))
            .into_iter()
            .find(|ticks| self.fits(ticks, length, &room))
            .unwrap_or_default()
    }

    /// Values for faint lines between the ticks: 1 to 9 in every decade.
    pub(crate) fn fine_values(&self) -> Vec<f64> {
        self.decade_values(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], 1)
    }

    /// `digit * 10^(k * stride)` for all `k`, inside of the axis.
    fn decade_values(&self, digits: &[f64], stride: i32) -> Vec<f64> {
        let first = libm::floor(libm::log10(self.low)) as i32;
        let last = libm::floor(libm::log10(self.high)) as i32;
        (first..=last)
            .filter(|exponent| exponent.rem_euclid(stride) == 0)
            .flat_map(|exponent| digits.iter().map(move |digit| digit * power_of_ten(exponent)))
            .filter(|value| (self.low..=self.high).contains(value))
            .collect()
    }

    /// Whether no label reaches into the room of the next.
    fn fits(&self, ticks: &[Tick], length: f64, room: &impl Fn(&str) -> f64) -> bool {
        ticks.windows(2).all(|pair| {
            let distance = (self.share(pair[1].value) - self.share(pair[0].value)) * length;
            distance >= (room(&pair[0].label) + room(&pair[1].label)) / 2.0
        })
    }
}

/// A linear axis that starts at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LinearAxis {
    high: f64,
}

impl LinearAxis {
    /// Room above the greatest value, as a part of it.
    const MARGIN: f64 = 0.06;

    /// The axis that shows these values, none of which is negative, with room above.
    pub(crate) fn covering(values: impl Iterator<Item = f64>) -> LinearAxis {
        let high = values.fold(0.0_f64, f64::max);
        LinearAxis { high: if high > 0.0 { high * (1.0 + Self::MARGIN) } else { 1.0 } }
    }

    /// The axis that ends at `high`, which is above zero.
    pub(crate) fn up_to(high: f64) -> LinearAxis {
        assert!(high > 0.0, "an axis has a length");
        LinearAxis { high }
    }

    /// Where `value` lies, from 0 (zero) to 1 (the end); values beyond an end lie on it.
    pub(crate) fn share(&self, value: f64) -> f64 {
        (value / self.high).clamp(0.0, 1.0)
    }

    /// About `count` labelled ticks in even round steps.
    pub(crate) fn ticks(&self, count: u32) -> Vec<Tick> {
        labelled(round_values(0.0, self.high, count))
    }
}

fn power_of_ten(exponent: i32) -> f64 {
    // Parsing rounds correctly; `powi` need not.
    format!("1e{exponent}").parse().expect("invariant: a decimal number")
}

/// About `count` values in equal round steps (1, 2 or 5 times a power of ten) in `low..=high`.
fn round_values(low: f64, high: f64, count: u32) -> Vec<f64> {
    let wanted = (high - low) / f64::from(count);
    let magnitude = power_of_ten(libm::floor(libm::log10(wanted)) as i32);
    let step = [1.0, 2.0, 5.0, 10.0]
        .map(|digit| digit * magnitude)
        .into_iter()
        .find(|step| *step >= wanted)
        .unwrap_or(10.0 * magnitude);
    // An end that is a multiple of the step counts, although the division may not come out even.
    const EVEN: f64 = 1e-9;
    let first = libm::ceil(low / step - EVEN) as u64;
    let last = libm::floor(high / step + EVEN) as u64;
    (first..=last).map(|multiple| multiple as f64 * step).collect()
}

fn labelled(values: Vec<f64>) -> Vec<Tick> {
    values.into_iter().map(|value| Tick { value, label: number(value) }).collect()
}

/// A number for people: no trailing zeros, thin spaces between thousands from five digits on.
pub(crate) fn number(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 { 0 } else { 6 };
    let text = format!("{value:.decimals$}");
    let text = match text.split_once('.') {
        Some((whole, fraction)) => match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            digits => format!("{whole}.{digits}"),
        },
        None => text,
    };
    if text.len() < 5 || text.contains('.') {
        return text;
    }
    let mut grouped = String::new();
    for (position, digit) in text.chars().enumerate() {
        if position > 0 && (text.len() - position).is_multiple_of(3) {
            grouped.push('\u{2009}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::super::font::Weight;
    use super::*;

    fn labels(low: f64, high: f64, length: f64) -> Vec<String> {
        let axis = LogAxis { low, high };
        axis.ticks(length, &Face::new(Weight::Regular, 10.0))
            .into_iter()
            .map(|tick| tick.label)
            .collect()
    }

    #[test]
    fn ticks_are_one_two_five() {
        assert_eq!(labels(9.0, 600.0, 400.0), ["10", "20", "50", "100", "200", "500"]);
    }

    #[test]
    fn ticks_thin_out_where_labels_would_touch() {
        let decades = ["1", "10", "100", "1000", "10\u{2009}000"];
        assert_eq!(labels(0.5, 2e4, 300.0), decades);
        assert_eq!(labels(0.5, 2e3, 300.0), ["1", "3", "10", "30", "100", "300", "1000"]);
        assert_eq!(labels(0.5, 2e4, 130.0), ["1", "100", "10\u{2009}000"]);
    }

    #[test]
    fn a_narrow_range_gets_even_steps() {
        assert_eq!(labels(11.8, 13.2, 400.0), ["12", "12.5", "13"]);
        assert_eq!(labels(0.9, 1.15, 400.0), ["0.9", "0.95", "1", "1.05", "1.1", "1.15"]);
    }

    #[test]
    fn shares_run_from_end_to_end() {
        let axis = LogAxis { low: 1.0, high: 100.0 };
        assert_eq!(axis.share(1.0), 0.0);
        assert!((axis.share(10.0) - 0.5).abs() < 1e-12);
        assert_eq!(axis.share(100.0), 1.0);
        assert_eq!((axis.share(0.0), axis.share(1e9)), (0.0, 1.0));
    }

    #[test]
    fn a_linear_axis_starts_at_zero() {
        let axis = LinearAxis::covering([3.0, 94.0].into_iter());
        let ticks: Vec<String> = axis.ticks(5).into_iter().map(|tick| tick.label).collect();
        assert_eq!(ticks, ["0", "20", "40", "60", "80"]);
        assert_eq!((axis.share(0.0), axis.share(1e9)), (0.0, 1.0));
        assert_eq!(LinearAxis::up_to(10.0).share(5.0), 0.5);
        assert_eq!(LinearAxis::covering([].into_iter()).share(1.0), 1.0);
    }

    #[test]
    fn an_axis_over_nothing_positive_is_still_an_axis() {
        let axis = LogAxis::covering([0.0, 0.0].into_iter());
        assert!(axis.low < 1.0 && axis.high > 1.0);
        assert!(axis.low > 0.0);
    }

    #[test]
    fn numbers_read_well() {
        let cases = [
            (0.05, "0.05"),
            (1.0, "1"),
            (20.0, "20"),
            (5000.0, "5000"),
            (1e6, "1\u{2009}000\u{2009}000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }
}
