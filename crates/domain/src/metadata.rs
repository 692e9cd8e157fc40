//! What a source says of its sound in words and pictures, and the result may say too.

/// A part of a source's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetadataPart {
    /// Texts: title, artist and the like.
    Tags,
    /// Named places in time.
    Chapters,
    /// A picture.
    Cover,
}

impl MetadataPart {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tags, Self::Chapters, Self::Cover];

    /// As written in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tags => "tags",
            Self::Chapters => "chapters",
            Self::Cover => "cover",
        }
    }

    /// Reads what [`Self::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.as_str() == text)
    }
}
