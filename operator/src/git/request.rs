//! What is sent to a Git server.

use super::pkt::line;

/// The body of an `ls-refs` of version 2 for exactly one ref: names that begin with it may be answered too.
pub(super) fn ls_refs(reference: &str, format: Option<&str>) -> String {
    let format = format.map(|format| line(&format!("object-format={format}"))).unwrap_or_default();
    let agent = line(concat!("agent=launchway/", env!("CARGO_PKG_VERSION")));
    let prefix = line(&format!("ref-prefix {reference}"));
    format!("{}{agent}{format}0001{}{prefix}0000", line("command=ls-refs"), line("peel"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::pkt::{Packet, Packets},
        *,
    };

    #[test]
    fn one_ref_is_asked_for() {
        let body = ls_refs("refs/heads/main", Some("sha1"));
        let packets: Vec<_> = Packets(body.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(packets[0], Packet::Line(b"command=ls-refs"));
        assert_eq!(packets[2..4], [Packet::Line(b"object-format=sha1"), Packet::Delimiter]);
        assert_eq!(packets[5..], [Packet::Line(b"ref-prefix refs/heads/main"), Packet::Flush]);
    }
}
