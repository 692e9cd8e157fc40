//! Addresses of segments by template: `chunk-$RepresentationID$-$Number%05d$.m4s` (5.3.9.4.4).

use super::super::error::PlaylistError;

/// Digits to which a number may be filled up.
const MOST_WIDTH: usize = 32;

/// What may stand in a template.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) id: &'a str,
    pub(super) bandwidth: u64,
}

/// The address of one segment.
pub(super) fn fill(
    template: &str,
    terms: &Terms<'_>,
    number: u64,
    time: u64,
) -> Result<String, PlaylistError> {
    let malformed = || PlaylistError::Malformed("a template in it cannot be read".to_owned());
    let mut filled = String::with_capacity(template.len());
    let mut parts = template.split('$');
    filled.push_str(parts.next().unwrap_or_default());
    while let Some(name) = parts.next() {
        let (name, width) = match name.split_once('%') {
            None => (name, 1),
            Some((name, format)) => {
                let width = format.strip_prefix('0').and_then(|format| format.strip_suffix('d'));
                let width = width.and_then(|width| width.parse().ok()).filter(|width| *width <= MOST_WIDTH);
                (name, width.ok_or_else(malformed)?)
            }
        };
        match name {
            "" => filled.push('$'),
            "RepresentationID" => filled.push_str(terms.id),
            "Number" => filled.push_str(&format!("{number:0width$}")),
            "Time" => filled.push_str(&format!("{time:0width$}")),
            "Bandwidth" => filled.push_str(&format!("{:0width$}", terms.bandwidth)),
            _ => return Err(malformed()),
        }
        // A name ends with a sign of its own.
        filled.push_str(parts.next().ok_or_else(malformed)?);
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_and_nonsense_is_refused() {
        let terms = Terms { id: "a1", bandwidth: 128_000 };
        for (template, expected) in [
            ("plain.m4s", Some("plain.m4s")),
            ("$RepresentationID$/$Number$.m4s", Some("a1/7.m4s")),
            ("c-$Number%05d$.m4s", Some("c-00007.m4s")),
            ("t$Time$-$Bandwidth$", Some("t90000-128000")),
            ("cost$$$Number$", Some("cost$7")),
            ("$Time%08d$$$", Some("00090000$")),
            ("$Number", None),
            ("$Other$", None),
            ("$Number%5d$", None),
            ("$Number%0999999d$", None),
            ("$SubNumber$", None),
        ] {
            assert_eq!(fill(template, &terms, 7, 90_000).ok().as_deref(), expected, "{template}");
        }
    }
}
