//! The head of a request, as it is kept with an attempt.

/// Header fields in the order in which they were written, names in lower case, secrets masked. One text with a line a
/// field, because one is kept for each attempt and hardly any is ever looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHead(String);

impl RequestHead {
    /// An empty one with room for this many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    /// Adds a field. Neither part of one can have a line break in HTTP, nor a name a colon.
    pub fn push(&mut self, name: &str, value: &str) {
        for part in [name, ": ", value, "\n"] {
            self.0.push_str(part);
        }
    }

    /// The fields: name and value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.lines().map(|line| line.split_once(": ").unwrap_or((line, "")))
    }

    /// The text: `name: value`, a line each.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes what [`Self::as_str`] gave.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for RequestHead {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut head = Self::default();
        for (name, value) in fields {
            head.push(name.as_ref(), value.as_ref());
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_as_they_were_written() {
        let fields = [("host", "a.example:8080"), ("x-empty", ""), ("x-odd", "a: b: \"c\" "), ("x-odd", "é")];
        let head: RequestHead = fields.into_iter().collect();
        assert_eq!(head.as_str(), "host: a.example:8080\nx-empty: \nx-odd: a: b: \"c\" \nx-odd: é\n");
        assert_eq!(head.fields().collect::<Vec<_>>(), fields);
        assert_eq!(RequestHead::from_text(head.as_str().to_owned()), head);
    }
}
