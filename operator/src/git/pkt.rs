//! Packet lines (`gitprotocol-common`): four hex digits of length, then that many bytes less four.

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section.
    Delimiter,
    /// `0002`: the end of an answer.
    End,
    /// A line, without the newline that most end with.
    Line(&'a [u8]),
}

/// Goes through the packets of an answer. Nothing is copied, and a packet that reaches beyond the answer ends it.
pub(super) struct Packets<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let packet = split(self.0);
        self.0 = packet.as_ref().map_or(&[], |(_, rest)| rest);
        Some(packet.map(|(packet, _)| packet))
    }
}

fn split(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), String> {
    let (length, rest) = bytes.split_at_checked(4).ok_or("it ends inside the length of a packet")?;
    let length = std::str::from_utf8(length)
        .ok()
        // from_str_radix would also take a sign.
        .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or("a packet does not begin with four hex digits")?;
    match length {
        0 => Ok((Packet::Flush, rest)),
        1 => Ok((Packet::Delimiter, rest)),
        2 => Ok((Packet::End, rest)),
        3 => Err("a packet has the length 3".into()),
        _ => {
            let (line, rest) = rest.split_at_checked(length - 4).ok_or("it ends inside a packet")?;
            Ok((Packet::Line(line.strip_suffix(b"\n").unwrap_or(line)), rest))
        }
    }
}

/// A packet with one line of text.
pub(super) fn line(text: &str) -> String {
    format!("{:04x}{text}\n", text.len() + 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_and_marks_are_known() {
        let text = format!("{}0001{}00000002", line("command=ls-refs"), line("peel"));
        let all: Vec<_> = Packets(text.as_bytes()).collect::<Result<_, _>>().unwrap();
        let expected =
            [Packet::Line(b"command=ls-refs"), Packet::Delimiter, Packet::Line(b"peel"), Packet::Flush, Packet::End];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_broken_packet_is_an_error_and_the_end() {
        for bad in ["0", "00g0", "0003", "0009ab", "+004", "ffff"] {
            let all: Vec<_> = Packets(bad.as_bytes()).collect();
            assert!(all.len() == 1 && all[0].is_err(), "{bad}: {all:?}");
        }
    }
}
