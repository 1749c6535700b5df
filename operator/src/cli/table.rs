//! Rows that line up.

use crate::text::clip;

/// The rows with their columns two blanks apart; the last column gets what is left of the width.
#[must_use]
pub fn table<const N: usize>(rows: &[[String; N]], width: usize) -> Vec<String> {
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let columns: Vec<usize> = (0..N.saturating_sub(1)).map(wide).collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(at, cell)| columns.get(at).map_or_else(|| cell.clone(), |room| format!("{cell:room$}")))
                .collect();
            clip(cells.join("  ").trim_end(), width)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_rows_fit() {
        let rows = [["A", "B", "C"], ["long", "x", "more than fits"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows, 14), ["A     B  C", "long  x  more…"]);
        assert!(table::<3>(&[], 10).is_empty());
    }
}
