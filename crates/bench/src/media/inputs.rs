//! The recordings: made once by the `ffmpeg` command and kept beside the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Plan;
use crate::Outcome;

/// Something like music: tones that come and go over a bed of noise, in stereo.
const SOUND: &str = "aevalsrc=exprs=\
    0.25*sin(2*PI*220*t)*exp(-3*mod(t\\,0.5))+0.2*sin(2*PI*(330+110*floor(mod(t\\,4)))*t)*exp(-2*mod(t\\,1))\
    +0.02*(random(0)-0.5)|\
    0.25*sin(2*PI*277*t)*exp(-3*mod(t+0.25\\,0.5))+0.2*sin(2*PI*(440+55*floor(mod(t\\,8)))*t)*exp(-2*mod(t\\,1))\
    +0.02*(random(1)-0.5):s=48000:c=stereo";

/// What is extracted from.
pub(super) struct Inputs {
    /// Ten seconds, mp4 with AAC.
    pub(super) clip: PathBuf,
    /// Ten minutes, mp4 with AAC.
    pub(super) long: PathBuf,
    /// The same sound as 16-bit PCM, not loud.
    pub(super) long_wav: PathBuf,
    /// Two gigabytes, most of it picture.
    pub(super) large: PathBuf,
    /// Where results go.
    pub(super) folder: PathBuf,
}

impl Inputs {
    /// Makes those that are not there yet.
    pub(super) fn make(plan: &Plan) -> Outcome<Self> {
        let program = std::env::current_exe()?;
        let folder = program.parent().ok_or("no folder")?.join("bench-media");
        fs::create_dir_all(&folder)?;
        let secs = plan.long_secs();
        let inputs = Self {
            clip: folder.join("clip.mp4"),
            long: folder.join(format!("long-{secs}.mp4")),
            long_wav: folder.join(format!("long-{secs}.wav")),
            large: folder.join("large.mov"),
            folder,
        };
        inputs.wav(secs)?;
        inputs.video(secs)?;
        inputs.cut()?;
        if plan.wants("memory") {
            inputs.large_video()?;
        }
        Ok(inputs)
    }

    fn wav(&self, secs: u32) -> Outcome<()> {
        let sound = format!("{SOUND}:d={secs}");
        make(&self.long_wav, &["-f", "lavfi", "-i", &sound, "-c:a", "pcm_s16le"])
    }

    fn video(&self, secs: u32) -> Outcome<()> {
        let picture = format!("testsrc2=s=640x360:r=25:d={secs}");
        let sound = self.long_wav.display().to_string();
        let video =
            ["-c:v", "mpeg4", "-b:v", "1500k", "-c:a", "aac", "-b:a", "128k", "-movflags", "+faststart"];
        make(&self.long, &[&["-f", "lavfi", "-i", &picture, "-i", &sound], &video[..]].concat())
    }

    fn cut(&self) -> Outcome<()> {
        let long = self.long.display().to_string();
        make(&self.clip, &["-i", &long, "-t", "10", "-c", "copy", "-movflags", "+faststart"])
    }

    /// 235 s of raw picture are 2.03 GB.
    fn large_video(&self) -> Outcome<()> {
        let long = self.long.display().to_string();
        let picture = "color=c=teal:s=640x360:r=25:d=235";
        let codecs =
            ["-map", "0:v", "-map", "1:a", "-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-c:a", "copy"];
        let inputs = ["-f", "lavfi", "-i", picture, "-stream_loop", "-1", "-i", &long, "-t", "235"];
        make(&self.large, &[&inputs[..], &codecs[..]].concat())
    }
}

/// Runs `ffmpeg` into a file that is there whole or not at all.
pub(crate) fn make(file: &Path, words: &[&str]) -> Outcome<()> {
    if file.exists() {
        return Ok(());
    }
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let draft = file.with_extension(format!("part.{extension}"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(words).arg(&draft);
    if !ffmpeg.status()?.success() {
        return Err(format!("ffmpeg cannot make {}", file.display()).into());
    }
    fs::rename(&draft, file)?;
    Ok(())
}
