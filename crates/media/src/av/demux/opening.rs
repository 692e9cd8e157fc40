//! From an opened container to the first packet of the chosen track: which it is, what the picture calls zero, which
//! bytes will be read, and how long it should be.

use std::collections::VecDeque;

use domain::{Access, Failure, OutputSpec};

use super::super::edges::Edges;
use super::super::input::Input;
use super::super::picture_clock::Run;
use super::super::skip::Skip;
use super::super::track::{Kind, Track, choose};
use super::super::{AvLimits, Host, Probe, container};
use super::{Demux, Ending};

/// How far to look for the picture's first time: more than any sane interleaving puts between sound and picture.
const ALIGN_PACKETS: usize = 2_000;
const ALIGN_BYTES: usize = 8 << 20;
/// A file whose every stream begins later than this was cut from a running broadcast.
const LIVE_CUT_SECS: f64 = 10.0;

impl<'h> Demux<'h> {
    /// Opens the source, says what it is, chooses the track, and plans its bytes.
    pub(in super::super) fn open(
        host: &'h mut dyn Host,
        limits: &AvLimits,
        output: &OutputSpec,
    ) -> Result<Self, Failure> {
        let mut input = Input::open(host, limits, output.preserve_metadata)?;
        let playlist = input.playlist();
        let duration_secs = playlist.map(|playlist| playlist.duration_secs).or(input.duration_secs());
        let format = container::name(&mut input)?.to_owned();
        input.host().probed(Probe { format, duration_secs });
        let tracks = input.tracks();
        let track = choose(&tracks, output.track.as_ref())?.clone();
        let is_endless = container::is_endless(&mut input)?;
        let knows_size = input.access() != Access::InOrder { is_sized: false };
        let is_whole = is_endless || (knows_size && container::check_complete(&mut input, &track)?);
        let mut demux = Self {
            awaits_end: !is_endless && input.access() != Access::Random,
            expected_secs: match playlist {
                // The sound may end before the picture, whose time it is.
                Some(_) if input.container() == "mp4" && has_picture(&tracks) => None,
                Some(playlist) => Some(playlist.duration_secs),
                None if is_whole => container::least_secs(&mut input, &track)?,
                None => expected(&input, &tracks, &track),
            },
            is_counted: playlist.is_none() && !matches!(input.container(), "flv" | "asf" | "avi"),
            edges: Edges::of(&input, &track),
            input,
            track,
            waiting: VecDeque::new(),
            pictures: Vec::new(),
            zero_secs: None,
            span: output.span,
            skip: None,
            reach_secs: 0.0,
            longest_packet_secs: 0.0,
            run: Run::default(),
            has_clock: false,
            picture: None,
            origin_secs: None,
            first_sound_secs: None,
            is_endless,
            ending: Ending::default(),
        };
        demux.align(&tracks)?;
        Ok(demux)
    }

    /// Finds what the picture calls zero, and lets go of every stream that is not needed.
    fn align(&mut self, tracks: &[Track]) -> Result<(), Failure> {
        let videos = tracks.iter().filter(|track| track.kind == Kind::Video).map(|track| track.index);
        // The picture of another programme says nothing of this one's sound.
        self.pictures = videos.filter(|video| !self.input.is_apart(*video, self.track.index)).collect();
        let both: Vec<usize> = self.pictures.iter().copied().chain([self.track.index]).collect();
        if self.input.is_stream() && self.pictures.is_empty() {
            // Where the picture begins, its own rendition would say.
            return Ok(());
        }
        if self.input.container() == "mp4" {
            self.input.keep_only(&[self.track.index]);
            self.zero_secs = Some(self.edited_zero(tracks, &both));
            self.plan();
            return Ok(());
        }
        self.input.keep_only(&both);
        self.follow_clock();
        self.zero_secs = self.first_picture(tracks)?;
        if !self.watches_all() && !self.watches_picture() {
            self.input.keep_only(&[self.track.index]);
            self.plan();
        }
        Ok(())
    }

    /// Says which bytes will be read, where the container lists them.
    fn plan(&mut self) {
        if self.input.access() != Access::Random {
            // Who asks for several ranges at once waits for the last of them.
            return;
        }
        let zero_secs = self.zero_secs.unwrap_or(0.0);
        // A seek in an mp4 is a matter of its index, which is read; others look for the place.
        if self.input.container() == "mp4" {
            let index = self.input.index(self.track.index);
            self.skip = Skip::find(&index, &self.track, self.span.start_secs, zero_secs);
        }
        let until_secs = self.until_secs();
        let map = container::byte_map(&mut self.input, &self.track, self.skip.as_ref(), until_secs);
        if !map.is_empty() {
            self.input.plan(map);
        }
    }

    /// mp4 and mov count from the zero of their edit lists, unless they were cut from a broadcast.
    fn edited_zero(&self, tracks: &[Track], both: &[usize]) -> f64 {
        let starts = tracks.iter().filter(|track| both.contains(&track.index)).filter_map(|track| {
            self.input.index(track.index).first().map(|(_, _, time)| track.time_base.secs(*time))
        });
        let live = starts.min_by(f64::total_cmp).filter(|start| *start > LIVE_CUT_SECS);
        live.or(self.edges.zero_secs(&self.track)).unwrap_or(0.0)
    }

    fn first_picture(&mut self, tracks: &[Track]) -> Result<Option<f64>, Failure> {
        let mut unseen = self.pictures.clone();
        let (mut first, mut bytes, mut packets) = (None::<f64>, 0, 0);
        while !unseen.is_empty() && packets < ALIGN_PACKETS && bytes < ALIGN_BYTES {
            let Some(met) = self.read_any()? else { break };
            packets += 1;
            bytes += met.packet.size();
            let stream = met.packet.stream();
            if stream == self.track.index {
                self.waiting.push_back(met);
            } else if self.pictures.contains(&stream)
                && let (Some(track), Some(time)) = (tracks.get(stream), met.packet.time())
            {
                unseen.retain(|index| *index != stream);
                let at = track.time_base.secs(time);
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        }
        Ok(first)
    }
}

fn has_picture(tracks: &[Track]) -> bool {
    tracks.iter().any(|track| track.kind == Kind::Video)
}

/// How long the track should be, where the container says it of the track, or of a whole that it fills.
fn expected(input: &Input<'_>, tracks: &[Track], track: &Track) -> Option<f64> {
    // Their durations are computed from the end that they have, so that they prove nothing.
    if input.duration_is_guessed() || matches!(input.container(), "ts" | "mpeg" | "ogg" | "mkv") {
        return None;
    }
    let is_overall = matches!(input.container(), "flv" | "asf") || !has_picture(tracks);
    track.duration_secs.or_else(|| input.duration_secs().filter(|_| is_overall))
}
