//! Files that nearly are media: a real one, changed in a few places where parsers look.

/// Values that lengths, counts and offsets break on.
const ODD: [u64; 14] = [
    0,
    1,
    7,
    8,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_fffe,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];
/// Where headers lie; the same much at the end, where indexes lie.
const HEAD_BYTES: usize = 4096;
/// The largest piece that is moved, doubled or taken out.
const PIECE_BYTES: usize = 8192;

/// Numbers at random, the same for the same seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64, file: u64) -> Self {
        let mut dice = Self(seed ^ file.wrapping_mul(0xd134_2543_de82_ef95));
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A copy of `file` with one to six changes; what comes from another file comes from `donor`.
pub(crate) fn mutant(file: &[u8], donor: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..=dice.below(6) {
        if bytes.len() < 64 {
            break;
        }
        match dice.below(16) {
            0..=2 => flip_bits(&mut bytes, dice),
            3..=5 => forge_number(&mut bytes, dice),
            6..=9 => forge_field(&mut bytes, dice),
            10 => bytes.truncate(1 + dice.below(file.len())),
            11 => double_piece(&mut bytes, dice),
            12 => swap_pieces(&mut bytes, dice),
            13 => drop(bytes.drain(piece(&bytes, dice))),
            14 => splice(&mut bytes, donor, dice),
            _ => erase(&mut bytes, dice),
        }
    }
    bytes
}

/// A place, as often in a header or an index as anywhere else.
fn place(bytes: &[u8], dice: &mut Dice) -> usize {
    let len = bytes.len();
    match dice.below(4) {
        0 | 1 => dice.below(len.min(HEAD_BYTES)),
        2 => len - 1 - dice.below(len.min(HEAD_BYTES)),
        _ => dice.below(len),
    }
}

fn piece(bytes: &[u8], dice: &mut Dice) -> std::ops::Range<usize> {
    let start = place(bytes, dice);
    start..(start + 1 + dice.below(PIECE_BYTES)).min(bytes.len())
}

fn flip_bits(bytes: &mut [u8], dice: &mut Dice) {
    for _ in 0..=dice.below(16) {
        let at = place(bytes, dice);
        bytes[at] ^= 1 << dice.below(8);
    }
}

/// An odd number over one, two, four or eight bytes, in either order.
fn forge_number(bytes: &mut [u8], dice: &mut Dice) {
    let at = place(bytes, dice);
    forge_at(bytes, at, dice);
}

fn forge_at(bytes: &mut [u8], at: usize, dice: &mut Dice) {
    let width = dice.one_of(&[1, 2, 4, 4, 4, 8]);
    let near_len = bytes.len() as u64 - 32 + dice.below(64) as u64;
    let value = if dice.below(5) == 0 { near_len } else { dice.one_of(&ODD) };
    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
    let digits = if dice.below(2) == 0 { &little[..width] } else { &big[8 - width..] };
    for (byte, digit) in bytes.iter_mut().skip(at).zip(digits) {
        *byte = *digit;
    }
}

/// The same beside a four-letter name: in nearly every container a size or a count stands there.
fn forge_field(bytes: &mut [u8], dice: &mut Dice) {
    let is_name = |at: &usize| {
        bytes[*at..*at + 4].iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-'))
    };
    let names: Vec<usize> = (0..bytes.len() - 4).filter(is_name).take(4096).collect();
    if names.is_empty() {
        return forge_number(bytes, dice);
    }
    let name = dice.one_of(&names);
    let offset = dice.one_of(&[-4, -4, 4, 4, 8, 12, 16, 20, 24]);
    forge_at(bytes, name.saturating_add_signed(offset), dice);
}

fn double_piece(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let piece = bytes[piece(bytes, dice)].to_vec();
    let at = place(bytes, dice);
    for _ in 0..=dice.below(3) {
        bytes.splice(at..at, piece.iter().copied());
    }
}

fn swap_pieces(bytes: &mut [u8], dice: &mut Dice) {
    let (a, b) = (piece(bytes, dice), piece(bytes, dice));
    let first = bytes[a.clone()].to_vec();
    let second = bytes[b.clone()].to_vec();
    for (range, from) in [(a, second), (b, first)] {
        for (byte, new) in bytes[range].iter_mut().zip(from) {
            *byte = new;
        }
    }
}

/// The start of one file, the rest of another, or a piece of it in between.
fn splice(bytes: &mut Vec<u8>, donor: &[u8], dice: &mut Dice) {
    let at = place(bytes, dice);
    if dice.below(2) == 0 {
        bytes.truncate(at);
        bytes.extend(&donor[place(donor, dice)..]);
    } else {
        bytes.splice(at..at, donor[piece(donor, dice)].iter().copied());
    }
}

fn erase(bytes: &mut [u8], dice: &mut Dice) {
    let range = piece(bytes, dice);
    let with = dice.one_of(&[0, 0xff, 0x5a]);
    bytes[range].fill(with);
}
