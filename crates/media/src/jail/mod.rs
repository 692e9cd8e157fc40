//! What a child cannot do. The walls are put up by the child itself, after it was forked and before it reads a byte
//! of media; each holds without the others. A child that cannot put one up does no work.

mod descriptors;
mod identity;
mod landlock;
mod limits;
mod system_calls;

use std::fmt;

pub(crate) use descriptors::hand_over;
pub(crate) use limits::JailLimits;

/// One wall of the jail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wall {
    /// No descriptor but the job's socket and the result's file.
    Descriptors,
    /// No privilege: an ordinary user, no capability, none to be gained.
    Identity,
    /// Bounded memory, processor time and file size.
    Limits,
    /// No file and, where the kernel's Landlock has it, no TCP and no signal to the outside.
    Landlock,
    /// No system call but those that demuxing and decoding need.
    SystemCalls,
}

impl Wall {
    /// Every wall, in the order in which they go up: each later one would forbid what an earlier one needs.
    pub const ALL: [Self; 5] =
        [Self::Descriptors, Self::Identity, Self::Limits, Self::Landlock, Self::SystemCalls];

    /// What the operator can do where this wall cannot be put up.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Descriptors => {
                "run on Linux 5.9 or newer and let the container's profile allow close_range"
            }
            Self::Identity => "run as an ordinary user, or let root change its user (CAP_SETUID, CAP_SETGID)",
            Self::Limits => "raise the hard limits (ulimit -H) of the service above those of its children",
            Self::Landlock => "run on Linux 5.13 or newer with landlock among its security modules (lsm=)",
            Self::SystemCalls => "run on Linux 4.14 or newer with CONFIG_SECCOMP_FILTER, on x86-64 or arm64",
        }
    }

    fn put_up(self, limits: JailLimits) -> Result<(), String> {
        match self {
            Self::Descriptors => descriptors::close_others(),
            Self::Identity => identity::give_up(),
            Self::Limits => limits.set(),
            Self::Landlock => landlock::confine(),
            Self::SystemCalls => system_calls::filter(),
        }
    }
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => "closed descriptors",
            Self::Identity => "no privileges",
            Self::Limits => "resource limits",
            Self::Landlock => "Landlock",
            Self::SystemCalls => "system-call filter",
        })
    }
}

/// Which walls a child puts up. A job has all of them; to leave some out is for attacks that show what the others
/// hold, and that an attack can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walls(u8);

impl Walls {
    /// What every job has.
    pub const ALL: Self = Self(u8::MAX);

    /// None at all.
    pub const NONE: Self = Self(0);

    /// The same with one wall less.
    #[must_use]
    pub const fn without(self, wall: Wall) -> Self {
        Self(self.0 & !(1 << wall as u8))
    }

    /// The same with one wall more.
    #[must_use]
    pub const fn with(self, wall: Wall) -> Self {
        Self(self.0 | 1 << wall as u8)
    }

    /// Whether this wall is among them.
    pub const fn has(self, wall: Wall) -> bool {
        self.0 & (1 << wall as u8) != 0
    }

    pub(crate) fn to_bits(self) -> u8 {
        self.0
    }

    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// A wall that could not be put up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoWall {
    pub(crate) wall: Wall,
    pub(crate) cause: String,
}

/// Puts up the walls around the calling process, which must have one thread and its descriptors where
/// [`hand_over`] puts them. Nothing takes the walls down again.
pub(crate) fn put_up(walls: Walls, limits: JailLimits) -> Result<(), NoWall> {
    for wall in Wall::ALL.into_iter().filter(|wall| walls.has(*wall)) {
        wall.put_up(limits).map_err(|cause| NoWall { wall, cause })?;
    }
    Ok(())
}
