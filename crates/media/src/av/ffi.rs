//! libav's values as owned ones: each frees what it holds, and a call's negative answer becomes an [`AvError`].
#![allow(unsafe_code)] // libav is C; this module is where its ownership rules become Rust's.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::ptr::{self, NonNull};

use ffmpeg_sys_next as sys;
use sys::AVSampleFormat;

/// What libav answers where a time is not known.
pub(super) const NO_TIME: i64 = i64::MIN;

/// A negative answer of libav.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct AvError(c_int);

impl AvError {
    /// Nothing more will come.
    pub(super) const END: Self = Self(sys::AVERROR_EOF);
    /// Feed more, or take what is there.
    pub(super) const AGAIN: Self = Self(sys::AVERROR(sys::EAGAIN));
    /// No memory.
    pub(super) const MEMORY: Self = Self(sys::AVERROR(sys::ENOMEM));
    /// Told to stop; what our own callbacks answer when the parent is gone.
    pub(super) const STOP: Self = Self(sys::AVERROR_EXIT);

    /// Takes an answer apart: not negative is a value.
    pub(super) fn check(answer: c_int) -> Result<c_int, Self> {
        if answer < 0 { Err(Self(answer)) } else { Ok(answer) }
    }

    /// This libav was built without the encoder.
    pub(super) const NO_ENCODER: Self = Self(sys::AVERROR_ENCODER_NOT_FOUND);

    /// As libav wants it back from a callback.
    pub(super) fn code(self) -> c_int {
        self.0
    }
}

impl fmt::Display for AvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; sys::AV_ERROR_MAX_STRING_SIZE];
        // SAFETY: libav writes at most the given length, and always ends with a zero.
        unsafe { sys::av_strerror(self.0, text.as_mut_ptr().cast(), text.len()) };
        match CStr::from_bytes_until_nul(&text) {
            Ok(text) => f.write_str(&text.to_string_lossy()),
            Err(_) => write!(f, "error {}", self.0),
        }
    }
}

impl fmt::Debug for AvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AvError({}: {self})", self.0)
    }
}

/// A text that libav keeps for good, such as a codec's name.
///
/// # Safety
/// `text` is null or points to a string that ends with a zero and outlives the call.
pub(super) unsafe fn text(text: *const std::ffi::c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The unit of a stream's timestamps: `num / den` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeBase {
    num: i32,
    den: i32,
}

impl TimeBase {
    /// As libav has it; what makes no sense becomes a millisecond.
    pub(super) fn new(rational: sys::AVRational) -> Self {
        if rational.num > 0 && rational.den > 0 {
            Self { num: rational.num, den: rational.den }
        } else {
            Self { num: 1, den: 1000 }
        }
    }

    /// As libav wants it.
    pub(super) fn raw(self) -> sys::AVRational {
        sys::AVRational { num: self.num, den: self.den }
    }

    /// Seconds.
    pub(super) fn secs(self, ticks: i64) -> f64 {
        ticks as f64 * f64::from(self.num) / f64::from(self.den)
    }

    /// Whether no two samples at `rate` Hz share a tick.
    pub(super) fn tells_samples_apart(self, rate: u32) -> bool {
        rate > 0 && i64::from(self.num) * i64::from(rate) <= i64::from(self.den)
    }

    /// Samples at `rate` Hz, where so many ticks are a whole number of them.
    pub(super) fn samples(self, ticks: i64, rate: u32) -> Option<u64> {
        let (samples, den) =
            (i128::from(ticks) * i128::from(self.num) * i128::from(rate), i128::from(self.den));
        (samples % den == 0).then(|| u64::try_from(samples / den).ok()).flatten()
    }
}

/// The sample format that libav's number means.
pub(super) fn sample_format(number: c_int) -> Option<AVSampleFormat> {
    use AVSampleFormat::*;
    [
        AV_SAMPLE_FMT_U8,
        AV_SAMPLE_FMT_S16,
        AV_SAMPLE_FMT_S32,
        AV_SAMPLE_FMT_FLT,
        AV_SAMPLE_FMT_DBL,
        AV_SAMPLE_FMT_U8P,
        AV_SAMPLE_FMT_S16P,
        AV_SAMPLE_FMT_S32P,
        AV_SAMPLE_FMT_FLTP,
        AV_SAMPLE_FMT_DBLP,
        AV_SAMPLE_FMT_S64,
        AV_SAMPLE_FMT_S64P,
    ]
    .into_iter()
    .find(|format| *format as c_int == number)
}

/// The order of channels.
pub(super) struct Layout(sys::AVChannelLayout);

impl Layout {
    /// The usual order for so many channels.
    pub(super) fn usual(channels: u16) -> Self {
        // SAFETY: all zeroes is an empty layout; libav fills it in.
        let mut layout = unsafe { std::mem::zeroed::<sys::AVChannelLayout>() };
        // SAFETY: the layout is ours and holds nothing yet.
        unsafe { sys::av_channel_layout_default(&mut layout, c_int::from(channels)) };
        Self(layout)
    }

    /// The order of this name: `stereo`, `5.1`.
    pub(super) fn named(name: &CStr) -> Result<Self, AvError> {
        // SAFETY: all zeroes is an empty layout; libav fills it in.
        let mut layout = unsafe { std::mem::zeroed::<sys::AVChannelLayout>() };
        // SAFETY: the layout is ours and holds nothing yet; the name ends with a zero.
        AvError::check(unsafe { sys::av_channel_layout_from_string(&mut layout, name.as_ptr()) })?;
        Ok(Self::copy_of(&layout))
    }

    /// A copy of libav's; the usual order where only the number of channels is known.
    pub(super) fn copy_of(other: &sys::AVChannelLayout) -> Self {
        let channels = u16::try_from(other.nb_channels).unwrap_or(0);
        let is_mask = other.order == sys::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE;
        if !is_mask {
            return Self::usual(channels);
        }
        // A layout by mask owns nothing, so that copying its bytes copies it.
        Self(sys::AVChannelLayout { opaque: ptr::null_mut(), ..*other })
    }

    /// How many.
    pub(super) fn channels(&self) -> u16 {
        u16::try_from(self.0.nb_channels).unwrap_or(0)
    }

    /// Whether it says what each channel is for; without that, channels cannot be mixed.
    pub(super) fn is_named(&self) -> bool {
        self.0.order == sys::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE
    }

    /// Whether WAVEFORMATEXTENSIBLE's mask can say it, which knows 18 places of loudspeakers.
    pub(super) fn is_of_loudspeakers(&self) -> bool {
        const PLACES: u64 = 0x3_ffff;
        // SAFETY: a layout by mask has it there.
        self.is_named() && unsafe { self.0.u.mask } & !PLACES == 0
    }

    /// What each channel is for, in order.
    pub(super) fn roles(&self) -> Vec<sys::AVChannel> {
        (0..u32::from(self.channels()))
            // SAFETY: the layout is alive and the index below its number of channels.
            .map(|index| unsafe { sys::av_channel_layout_channel_from_index(&self.0, index) })
            .collect()
    }

    pub(super) fn raw(&self) -> sys::AVChannelLayout {
        self.0
    }
}

impl Clone for Layout {
    fn clone(&self) -> Self {
        Self::copy_of(&self.0)
    }
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        // SAFETY: both are alive.
        unsafe { sys::av_channel_layout_compare(&self.0, &other.0) == 0 }
    }
}

/// What samples are made of.
#[derive(Clone, PartialEq)]
pub(super) struct Shape {
    /// Hz.
    pub(super) rate: u32,
    /// The channels and their order.
    pub(super) layout: Layout,
    /// How one sample is stored.
    pub(super) format: AVSampleFormat,
}

/// Samples.
pub(super) struct Frame(NonNull<sys::AVFrame>);

impl Frame {
    /// An empty one.
    pub(super) fn new() -> Result<Self, AvError> {
        // SAFETY: allocates; null is checked.
        NonNull::new(unsafe { sys::av_frame_alloc() }).map(Self).ok_or(AvError::MEMORY)
    }

    /// One with room for `samples` samples a channel, uninitialised.
    pub(super) fn with_room(shape: &Shape, samples: c_int) -> Result<Self, AvError> {
        let mut frame = Self::new()?;
        let raw = frame.get_mut();
        raw.format = shape.format as c_int;
        raw.sample_rate = c_int::try_from(shape.rate).unwrap_or(c_int::MAX);
        raw.ch_layout = shape.layout.raw();
        raw.nb_samples = samples;
        // SAFETY: format, layout and length are set, as libav asks.
        AvError::check(unsafe { sys::av_frame_get_buffer(frame.as_ptr(), 0) })?;
        Ok(frame)
    }

    /// One of silence.
    pub(super) fn silence(shape: &Shape, samples: c_int) -> Result<Self, AvError> {
        let frame = Self::with_room(shape, samples)?;
        // SAFETY: the buffer was made for exactly this format, number of channels and of samples.
        AvError::check(unsafe {
            sys::av_samples_set_silence(
                frame.get().extended_data,
                0,
                samples,
                c_int::from(shape.layout.channels()),
                shape.format,
            )
        })?;
        Ok(frame)
    }

    pub(super) fn as_ptr(&self) -> *mut sys::AVFrame {
        self.0.as_ptr()
    }

    pub(super) fn get(&self) -> &sys::AVFrame {
        // SAFETY: it is ours, alive, and nobody writes to it while it is borrowed.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn get_mut(&mut self) -> &mut sys::AVFrame {
        // SAFETY: it is ours, and borrowed by nobody else.
        unsafe { self.0.as_mut() }
    }

    /// What its samples are made of; `None` if it makes no sense.
    pub(super) fn shape(&self) -> Option<Shape> {
        let frame = self.get();
        let rate = u32::try_from(frame.sample_rate).ok().filter(|rate| *rate > 0)?;
        let layout = Layout::copy_of(&frame.ch_layout);
        (layout.channels() > 0).then_some(Shape { rate, layout, format: sample_format(frame.format)? })
    }

    /// Samples a channel.
    pub(super) fn samples(&self) -> u32 {
        u32::try_from(self.get().nb_samples).unwrap_or(0)
    }

    /// Keeps only the first so many samples.
    pub(super) fn shorten(&mut self, samples: u32) {
        let shorter = self.samples().min(samples);
        self.get_mut().nb_samples = c_int::try_from(shorter).unwrap_or(0);
    }

    /// When it plays, in the stream's time base.
    pub(super) fn time(&self) -> Option<i64> {
        let frame = self.get();
        [frame.pts, frame.best_effort_timestamp].into_iter().find(|time| *time != NO_TIME)
    }
}

// SAFETY: it is owned alone; the count of who shares its samples is atomic.
unsafe impl Send for Frame {}
// SAFETY: through a shared one it is only read; an encoder that keeps its samples counts itself among those who do.
unsafe impl Sync for Frame {}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: frees what `new` allocated, once.
        unsafe { sys::av_frame_free(&mut frame) };
    }
}

/// Options by name, as libav takes them.
pub(super) struct Options(*mut sys::AVDictionary);

impl Options {
    /// From names and values.
    pub(super) fn new(pairs: &[(&CStr, &CStr)]) -> Result<Self, AvError> {
        let mut options = Self(ptr::null_mut());
        for (name, value) in pairs {
            // SAFETY: both strings end with a zero and are copied.
            AvError::check(unsafe { sys::av_dict_set(&mut options.0, name.as_ptr(), value.as_ptr(), 0) })?;
        }
        Ok(options)
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut *mut sys::AVDictionary {
        &mut self.0
    }

    /// Whether libav has left none: one that it did not know would stay.
    pub(super) fn is_used_up(&self) -> bool {
        self.0.is_null()
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: frees the dictionary, which may be null.
        unsafe { sys::av_dict_free(&mut self.0) };
    }
}
