//! Drawing on a terminal again and again at the same place.

use std::{
    io::{IsTerminal, Write, stdout},
    process::{Command, Stdio},
};

use launchway_crds::step::StepState;

use super::{heading::EMERGENCY, tree::sign};

/// Where nothing tells the size.
const USUAL: Size = Size { columns: 100, rows: 50 };
/// A terminal that is resized is asked again after so many drawings.
const ASK_AGAIN: u32 = 5;

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Characters in a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Size {
    /// Of the terminal that the process writes to; of a usual one when it writes elsewhere.
    #[must_use]
    pub fn now() -> Self {
        if !stdout().is_terminal() {
            return USUAL;
        }
        // stty looks at its standard input: /dev/tty is the terminal even where ours is a pipe.
        let tty = std::fs::File::open("/dev/tty").map_or_else(|_| Stdio::inherit(), Stdio::from);
        let answer = Command::new("stty").arg("size").stdin(tty).stderr(Stdio::null()).output();
        let text = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
        Self::from_stty(&text).unwrap_or(USUAL)
    }

    /// Characters that a row of a table may have: as many as the terminal has; elsewhere all, for a file or a pipe has room.
    #[must_use]
    pub fn row() -> usize {
        if stdout().is_terminal() { Self::now().columns } else { usize::MAX }
    }

    fn from_stty(text: &str) -> Option<Self> {
        let (rows, columns) = text.trim().split_once(' ')?;
        let size = Self { rows: rows.parse().ok()?, columns: columns.parse().ok()? };
        (size.rows >= 5 && size.columns >= 20).then_some(size)
    }
}

/// A place on the terminal.
#[derive(Debug)]
pub struct Screen {
    size: Size,
    drawings: u32,
    /// Rows that the last drawing takes.
    rows: usize,
    colours: bool,
}

impl Screen {
    /// A place at the cursor, when the process writes to a terminal.
    #[must_use]
    pub fn open() -> Option<Self> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        if !stdout().is_terminal() || dumb {
            return None;
        }
        let colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Some(Self { size: Size::now(), drawings: 0, rows: 0, colours })
    }

    /// Room on the terminal.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Draws over what was drawn last. What does not fit loses its first lines: the cursor cannot go back to
    /// what has left the terminal.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn redraw(&mut self, lines: &[String]) -> std::io::Result<()> {
        self.drawings = self.drawings.wrapping_add(1);
        if self.drawings.is_multiple_of(ASK_AGAIN) {
            self.size = Size::now();
        }
        let shown = fitting(lines, self.size);
        self.write(shown)
    }

    /// Draws for the last time, whole.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn finish(&mut self, lines: &[String]) -> std::io::Result<()> {
        self.write(lines)
    }

    fn write(&mut self, lines: &[String]) -> std::io::Result<()> {
        let text = drawing(lines, self.rows, self.size.columns, self.colours);
        self.rows = height(lines, self.size.columns);
        // At once: a terminal that shows half a drawing flickers.
        let mut out = stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// What draws the lines over the `old` rows above the cursor. Each row is erased only where nothing is written:
/// terminals that are cleared keep what they showed, and scroll back to every drawing there was.
fn drawing(lines: &[String], old: usize, columns: usize, colours: bool) -> String {
    let mut text = if old > 0 { format!("\x1b[{old}A\r") } else { String::new() };
    for line in lines {
        text.push_str(&if colours { paint(line) } else { line.clone() });
        // Behind a full row the cursor stands on its last character, which would be erased.
        let full = !line.is_empty() && line.chars().count().is_multiple_of(columns.max(1));
        text.push_str(if full { "\n" } else { "\x1b[K\n" });
    }
    text.push_str("\x1b[J");
    text
}

/// Rows that the lines take.
#[must_use]
pub fn height(lines: &[String], columns: usize) -> usize {
    lines.iter().map(|line| rows(line, columns)).sum()
}

/// Rows that a line takes.
fn rows(line: &str, columns: usize) -> usize {
    line.chars().count().div_ceil(columns.max(1)).max(1)
}

/// The last lines, as many as the terminal can hold beside the cursor's.
fn fitting(lines: &[String], size: Size) -> &[String] {
    let mut left = size.rows.saturating_sub(1);
    let kept = lines.iter().rev().take_while(|line| {
        let needed = rows(line, size.columns);
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    });
    &lines[lines.len() - kept.count()..]
}

/// Colours a line's sign: that of a step, or of a metric below it; and the word that says that tests are skipped.
fn paint(line: &str) -> String {
    let step = line.starts_with("├─ ") || line.starts_with("└─ ");
    let metric = line.starts_with("│     ") || line.starts_with("      ");
    let place = if step { 3 } else { 6 };
    let sign = line.chars().nth(place).filter(|_| step || metric);
    match sign.and_then(colour) {
        Some(code) => {
            let at: usize = line.chars().take(place).map(char::len_utf8).sum();
            let (before, rest) = line.split_at(at);
            let mut rest = rest.chars();
            let sign: String = rest.next().into_iter().collect();
            format!("{before}\x1b[{code}m{sign}\x1b[0m{}", rest.as_str())
        }
        None => match line.strip_suffix(EMERGENCY) {
            Some(before) => format!("{before}\x1b[31m{EMERGENCY}\x1b[0m"),
            None => line.to_string(),
        },
    }
}

fn colour(at: char) -> Option<u8> {
    [
        (StepState::Finished, 32),
        (StepState::Failed, 31),
        (StepState::Error, 31),
        (StepState::Running, 36),
        (StepState::Waiting, 33),
        (StepState::Cancelled, 33),
        (StepState::RollingBack, 33),
        (StepState::RolledBack, 31),
    ]
    .into_iter()
    .find_map(|(state, code)| (sign(state) == at).then_some(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(Size::from_stty("24 80\n"), Some(Size { rows: 24, columns: 80 }));
        for bad in ["", "0 0", "24", "x y"] {
            assert_eq!(Size::from_stty(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_does_not_fit_loses_its_first_lines() {
        let lines: Vec<String> = ["first", "long long long", "c"].map(String::from).into();
        assert_eq!(fitting(&lines, Size { rows: 10, columns: 80 }).len(), 3);
        assert_eq!(fitting(&lines, Size { rows: 4, columns: 10 }), &lines[1..], "the long one takes two rows");
        assert_eq!(fitting(&lines, Size { rows: 3, columns: 10 }), &lines[2..]);
    }

    #[test]
    fn only_signs_and_emergencies_are_coloured() {
        assert_eq!(paint("├─ ✓ build ✓"), "├─ \x1b[32m✓\x1b[0m build ✓");
        assert_eq!(paint("waits for ✓"), "waits for ✓");
        assert_eq!(paint("│     ✗ coverage  42"), "│     \x1b[31m✗\x1b[0m coverage  42");
        assert_eq!(paint("wknd-42  Waiting  EMERGENCY"), "wknd-42  Waiting  \x1b[31mEMERGENCY\x1b[0m");
    }

    #[test]
    fn a_drawing_erases_what_it_does_not_cover_and_no_more() {
        let lines: Vec<String> = ["ab", "abcd", "abcdef", ""].map(String::from).into();
        assert_eq!(drawing(&lines, 3, 4, false), "\x1b[3A\rab\x1b[K\nabcd\nabcdef\x1b[K\n\x1b[K\n\x1b[J");
    }
}
