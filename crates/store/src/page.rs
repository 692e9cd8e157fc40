//! Lists in pages: ordered by a time, the newest first, and by name where the times are the same.

use std::fmt::Display;

use domain::Timestamp;
use domain::ids::MalformedId;

/// A part of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, Id> {
    /// In order.
    pub items: Vec<T>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor<Id>>,
}

impl<T, Id> Page<T, Id> {
    /// Of these, which are one more than `limit` where there are as many, and their places.
    pub(crate) fn of(mut items: Vec<T>, limit: usize, place: impl Fn(&T) -> Cursor<Id>) -> Self {
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(place);
        Self { items, next }
    }
}

/// A place in a list: after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<Id> {
    pub(crate) at: Timestamp,
    pub(crate) id: Id,
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is what `nextCursor` of the page before said")]
pub struct MalformedCursor;

impl<Id: Display> Cursor<Id> {
    /// Reads what [`Self::to_text`] wrote, with what reads the id.
    pub fn parse(
        text: &str,
        parse_id: impl FnOnce(&str) -> Result<Id, MalformedId>,
    ) -> Result<Self, MalformedCursor> {
        let (millis, id) = text.split_once('.').ok_or(MalformedCursor)?;
        let at = Timestamp::from_millis(millis.parse().map_err(|_| MalformedCursor)?);
        Ok(Self { at, id: parse_id(id).map_err(|_| MalformedCursor)? })
    }

    /// As the API shows it.
    pub fn to_text(&self) -> String {
        format!("{}.{}", self.at.as_millis(), self.id)
    }
}
