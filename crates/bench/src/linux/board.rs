//! Results of a run: contenders by rounds by metrics, and the table made of them.
//!
//! A cell is `median (min–max)` over the rounds. A ratio is the median over the rounds of the quotient within a round: the
//! two figures were taken seconds apart, so a drift of the machine cancels out.

use comfy_table::{ContentArrangement, Table, presets};

/// What is measured of every contender.
pub struct Board {
    metrics: &'static [&'static str],
    rows: Vec<Row>,
}

struct Row {
    name: String,
    /// By metric, then by round.
    values: Vec<Vec<f64>>,
}

/// A ratio column: this metric, against that contender.
pub struct Ratio<'a> {
    /// Index of the metric.
    pub metric: usize,
    /// The contender divided by.
    pub base: &'a str,
}

impl Board {
    /// No results yet.
    pub fn new(metrics: &'static [&'static str]) -> Board {
        Board { metrics, rows: Vec::new() }
    }

    /// What one contender did in one round: a value for each metric.
    pub fn add(&mut self, name: &str, values: &[f64]) {
        assert_eq!(values.len(), self.metrics.len(), "a value for each metric");
        let at = self.rows.iter().position(|row| row.name == name).unwrap_or_else(|| {
            self.rows.push(Row { name: name.to_owned(), values: vec![Vec::new(); self.metrics.len()] });
            self.rows.len() - 1
        });
        for (rounds, value) in self.rows[at].values.iter_mut().zip(values) {
            rounds.push(*value);
        }
    }

    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The median of `name / base`, round by round; none if one of them did not run.
    pub fn ratio(&self, name: &str, base: &str, metric: usize) -> Option<f64> {
        let (ours, theirs) = (self.row(name)?, self.row(base)?);
        let quotients = ours.values[metric].iter().zip(&theirs.values[metric]).map(|(a, b)| a / b).collect();
        Some(median(quotients))
    }

    /// The table.
    pub fn table(&self, ratios: &[Ratio]) -> String {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN).set_content_arrangement(ContentArrangement::Disabled);
        let ratios: Vec<_> = ratios.iter().filter(|ratio| self.row(ratio.base).is_some()).collect();
        let heads = ratios.iter().map(|ratio| format!("{} / {}", self.metrics[ratio.metric], ratio.base));
        let plain = ["contender"].into_iter().chain(self.metrics.iter().copied()).map(str::to_owned);
        table.set_header(plain.chain(heads));
        for row in &self.rows {
            let cells = row.values.iter().map(|rounds| cell(rounds));
            let quotients = ratios.iter().map(|ratio| match self.ratio(&row.name, ratio.base, ratio.metric) {
                Some(quotient) => format!("{quotient:.3}"),
                None => "–".to_owned(),
            });
            table.add_row([row.name.clone()].into_iter().chain(cells).chain(quotients));
        }
        table.to_string()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn cell(rounds: &[f64]) -> String {
    let low = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let high = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{} ({}–{})", figure(median(rounds.to_vec())), figure(low), figure(high))
}

/// Three digits, as far as there are.
fn figure(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// Runs every contender in every round: A B C A B C.
pub fn interleave<C>(rounds: u32, contenders: &[C], mut run: impl FnMut(&C) -> std::io::Result<()>) -> std::io::Result<()> {
    for _ in 0..rounds {
        contenders.iter().try_for_each(&mut run)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let mut board = Board::new(&["k/s"]);
        // The machine halves its speed in the second round: the ratio does not see it.
        for (ours, base) in [(300.0, 200.0), (150.0, 100.0), (330.0, 200.0)] {
            board.add("ours", &[ours]);
            board.add("base", &[base]);
        }
        assert_eq!(board.ratio("ours", "base", 0), Some(1.5));
        assert_eq!(board.ratio("ours", "nobody", 0), None);
        let table = board.table(&[Ratio { metric: 0, base: "base" }, Ratio { metric: 0, base: "nobody" }]);
        assert!(table.contains("300 (150–330)") && table.contains("k/s / base") && !table.contains("nobody"), "{table}");
    }
}
