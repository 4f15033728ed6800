//! What a load run measured.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart; the drain ends long before.
const LONGEST: Duration = Duration::from_secs(3600);

/// Distinct reasons kept for the one line that tells them.
const REASONS: usize = 3;

/// Messages, times and faults of one run.
pub struct Report {
    /// Messages that came back whole.
    pub messages: u64,
    /// Bytes that came back.
    pub bytes: u64,
    /// From the first send to the last byte back.
    pub elapsed: Duration,
    /// Connections that failed, or ended with messages missing.
    pub errors: u64,
    /// Bytes that came back changed.
    pub wrong_bytes: u64,
    /// Why connections failed; the first few distinct reasons.
    pub reasons: Vec<String>,
    latency: Histogram<u64>,
}

impl Report {
    /// Nothing measured yet.
    pub fn new() -> Report {
        let nanoseconds = LONGEST.as_nanos() as u64;
        let latency = Histogram::new_with_bounds(1, nanoseconds, 3).expect("the bounds are constants, and far enough apart");
        Report { messages: 0, bytes: 0, elapsed: Duration::ZERO, errors: 0, wrong_bytes: 0, reasons: Vec::new(), latency }
    }

    /// A message came back whole, this long after it was sent.
    pub fn message(&mut self, after: Duration) {
        self.messages += 1;
        self.latency.saturating_record(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A connection failed.
    pub fn failed(&mut self, why: &str) {
        self.errors += 1;
        if self.reasons.len() < REASONS && !self.reasons.iter().any(|reason| reason == why) {
            self.reasons.push(why.to_owned());
        }
    }

    /// Whether every connection worked and every byte was right.
    pub fn is_good(&self) -> bool {
        self.errors == 0 && self.wrong_bytes == 0
    }

    /// Messages in a second.
    pub fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.messages as f64 / seconds } else { 0.0 }
    }

    /// The latency that this share of the messages did not exceed, in microseconds.
    pub fn percentile_us(&self, percent: f64) -> f64 {
        self.latency.value_at_percentile(percent) as f64 / 1e3
    }

    /// One line of JSON.
    pub fn json(&self) -> String {
        format!(
            "{{\"messages\":{},\"seconds\":{:.3},\"messages_per_second\":{:.0},\"bytes\":{},\"p50_us\":{:.1},\"p90_us\":{:.1},\
             \"p99_us\":{:.1},\"max_us\":{:.1},\"errors\":{},\"wrong_bytes\":{}}}",
            self.messages,
            self.elapsed.as_secs_f64(),
            self.rate(),
            self.bytes,
            self.percentile_us(50.0),
            self.percentile_us(90.0),
            self.percentile_us(99.0),
            self.latency.max() as f64 / 1e3,
            self.errors,
            self.wrong_bytes,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_one_line_of_json() {
        let mut report = Report::new();
        report.elapsed = Duration::from_millis(1500);
        report.bytes = 3 * 64;
        (1..=3).for_each(|n| report.message(Duration::from_micros(n * 100)));
        let json = report.json();
        assert!(!json.contains('\n'));
        assert!(json.starts_with(r#"{"messages":3,"seconds":1.500,"messages_per_second":2,"bytes":192,"p50_us":200."#), "{json}");
        assert!(json.ends_with(r#""errors":0,"wrong_bytes":0}"#), "{json}");
    }

    #[test]
    fn reasons_are_told_once() {
        let mut report = Report::new();
        (0..10).for_each(|_| report.failed("the same"));
        assert_eq!((report.errors, report.reasons.len(), report.is_good()), (10, 1, false));
    }
}
