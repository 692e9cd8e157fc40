//! The points in a job's life at which a kill can find it. Each is told by what an onlooker sees then, not by where
//! in the code the kill fell, so that the list stays true whatever the code does.

/// In the order in which a life passes them. `ARCHITECTURE.md` has the same list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Point {
    Submitted,
    Accepted,
    Answered,
    Claimed,
    SourceOpened,
    ResultBegun,
    ResultStored,
    Finished,
    DeliveryClaimed,
    Sent,
    Recorded,
    ReplayAsked,
    ReplayInLine,
    ReplayClaimed,
    ReplaySent,
    ReplayRecorded,
}

impl Point {
    pub(crate) const ALL: [Self; 16] = [
        Self::Submitted,
        Self::Accepted,
        Self::Answered,
        Self::Claimed,
        Self::SourceOpened,
        Self::ResultBegun,
        Self::ResultStored,
        Self::Finished,
        Self::DeliveryClaimed,
        Self::Sent,
        Self::Recorded,
        Self::ReplayAsked,
        Self::ReplayInLine,
        Self::ReplayClaimed,
        Self::ReplaySent,
        Self::ReplayRecorded,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted, not accepted",
            Self::Accepted => "accepted, not answered",
            Self::Answered => "answered, not claimed",
            Self::Claimed => "claimed, source not asked for",
            Self::SourceOpened => "source asked for, nothing stored",
            Self::ResultBegun => "result begun to be stored",
            Self::ResultStored => "result stored, job not finished",
            Self::Finished => "finished, delivery not claimed",
            Self::DeliveryClaimed => "delivery claimed, not sent",
            Self::Sent => "sent, not recorded",
            Self::Recorded => "recorded",
            Self::ReplayAsked => "replay asked for, not in line",
            Self::ReplayInLine => "replay in line, not claimed",
            Self::ReplayClaimed => "replay claimed, not sent",
            Self::ReplaySent => "replay sent, not recorded",
            Self::ReplayRecorded => "replay recorded",
        }
    }
}

#[test]
fn the_points_of_the_architecture_are_those_that_are_tested() {
    let text = include_str!("../../../../../ARCHITECTURE.md");
    let section = text.split("## Where it is killed").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    // Without the head of the table.
    let named: Vec<&str> = rows.skip(1).collect();
    assert_eq!(named, Point::ALL.map(Point::name));
}
