//! A body on its way into an upload, part by part.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::StatusCode;
use domain::{Upload, UploadState};
use engine::UploadError;
use store::UploadPart;
use wire::ErrorCode;

use super::checksum::Checksum;
use super::form::Form;
use super::in_time;
use super::incoming::{Broken, Incoming};
use crate::http::Api;
use crate::http::refusal::Refusal;
use crate::http::slots::Slot;

/// The status of a body that is not what its checksum says (tus 1.0, checksum).
const CHECKSUM_MISMATCH: u16 = 460;

/// Where the bytes come from.
pub(super) enum Pieces {
    /// The body is the file.
    Body(Incoming),
    /// The file is in a form.
    Form(Form),
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        match self {
            Self::Body(incoming) => incoming.next().await,
            Self::Form(form) => form.next().await,
        }
    }
}

/// How the bytes become the upload's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The body is the upload's rest: with it the upload is complete.
    Completes,
    /// The body is the upload's beginning, and more may follow.
    Begins,
    /// More may follow. What comes is kept, however the body ends; the upload's length, where it becomes known now.
    GoesOn(Option<u64>),
}

impl End {
    /// Whether only the answer to this body names the upload: if that is an error, nobody can use it.
    fn names_it(self) -> bool {
        matches!(self, Self::Completes | Self::Begins)
    }
}

/// What is to be received.
pub(super) struct Receiving {
    pub(super) upload: Upload,
    pub(super) pieces: Pieces,
    pub(super) checksum: Option<Checksum>,
    pub(super) end: End,
    /// Held while bytes come.
    pub(super) slot: Slot,
}

/// Receives a body. It goes on although the client has gone, so that what has come by then is kept.
pub(super) async fn receive(api: &Arc<Api>, receiving: Receiving) -> Result<Upload, Refusal> {
    let api = Arc::clone(api);
    let task = tokio::spawn(async move { take_in(&api, receiving).await });
    task.await.unwrap_or_else(|cause| Err(Refusal::internal(cause)))
}

async fn take_in(api: &Api, receiving: Receiving) -> Result<Upload, Refusal> {
    let Receiving { upload, mut pieces, checksum, end, slot } = receiving;
    let mut taking = Taking { api, upload, gathered: Vec::new(), unverified: Vec::new(), checksum };
    let outcome = taking.all(&mut pieces, end).await;
    if outcome.is_err() && end.names_it() {
        taking.forget().await;
    }
    drop(slot);
    outcome.map(|()| taking.upload)
}

/// A body half-way.
struct Taking<'a> {
    api: &'a Api,
    upload: Upload,
    /// What has come and is not stored yet.
    gathered: Vec<u8>,
    /// Stored, but not the upload's before the checksum holds.
    unverified: Vec<UploadPart>,
    checksum: Option<Checksum>,
}

impl Taking<'_> {
    async fn all(&mut self, pieces: &mut Pieces, end: End) -> Result<(), Refusal> {
        let outcome = self.pour(pieces).await;
        let kept = match (&outcome, end) {
            (Err(_), End::Completes | End::Begins) | (Err(Stop::Refused(_)), End::GoesOn(_)) => Ok(()),
            // What nobody can verify any more is not kept.
            (Err(Stop::Broken(_)), End::GoesOn(_)) if self.checksum.is_some() => Ok(()),
            (_, End::GoesOn(length)) => self.keep(length).await,
            (Ok(()), End::Completes | End::Begins) => self.keep(None).await,
        };
        if !self.unverified.is_empty() {
            self.api.upload.uploads.discard(&std::mem::take(&mut self.unverified)).await;
        }
        match outcome {
            Err(Stop::Refused(refusal)) => Err(refusal),
            Err(Stop::Broken(broken)) => kept.and(Err(refusal(&broken))),
            Ok(()) => {
                kept?;
                self.complete(end).await
            }
        }
    }

    /// Stores part after part, until the body ends.
    async fn pour(&mut self, pieces: &mut Pieces) -> Result<(), Stop> {
        let room = self.upload.length.unwrap_or(self.api.upload.uploads.max_bytes());
        let mut at = self.upload.received;
        while let Some(bytes) = pieces.next().await? {
            at = at.saturating_add(bytes.len() as u64);
            if at > room {
                return Err(self.too_much(room).into());
            }
            if let Some(checksum) = &mut self.checksum {
                checksum.update(&bytes);
            }
            self.gathered.extend_from_slice(&bytes);
            if self.gathered.len() >= self.api.upload.part_bytes {
                self.store().await?;
            }
        }
        Ok(())
    }

    fn too_much(&self, room: u64) -> Refusal {
        match self.upload.length {
            Some(length) => UploadError::OtherLength { length }.into(),
            None => UploadError::TooLarge { max_bytes: room }.into(),
        }
    }

    /// Stores what is gathered, and makes it the upload's if there is nothing to be verified.
    async fn store(&mut self) -> Result<(), Refusal> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let uploads = &self.api.upload.uploads;
        let bytes = std::mem::take(&mut self.gathered);
        let part = in_time(self.api, uploads.put(&self.upload, bytes)).await?;
        if self.checksum.is_some() {
            self.unverified.push(part);
        } else {
            self.upload = in_time(self.api, uploads.append(&self.upload, &[part], None)).await?;
        }
        Ok(())
    }

    /// Makes what has come the upload's, if it is what its checksum says.
    async fn keep(&mut self, length: Option<u64>) -> Result<(), Refusal> {
        self.store().await?;
        if let Some(checksum) = self.checksum.take()
            && !checksum.holds()
        {
            return Err(mismatch());
        }
        if self.unverified.is_empty() && (length.is_none() || length == self.upload.length) {
            return Ok(());
        }
        let parts = std::mem::take(&mut self.unverified);
        let append = self.api.upload.uploads.append(&self.upload, &parts, length);
        self.upload = in_time(self.api, append).await?;
        Ok(())
    }

    /// Deletes an upload of which nobody has heard.
    async fn forget(&self) {
        let Upload { key, id, .. } = &self.upload;
        if let Err(cause) = in_time(self.api, self.api.upload.uploads.delete(key, id)).await {
            tracing::warn!(file = %id, ?cause, "an upload that failed could not be deleted; it expires");
        }
    }

    /// Ends an upload whose length nobody announced.
    async fn complete(&mut self, end: End) -> Result<(), Refusal> {
        if end == End::Completes && self.upload.received == 0 {
            return Err(empty_file());
        }
        if end == End::Completes && self.upload.state == UploadState::Receiving {
            let length = Some(self.upload.received);
            let append = self.api.upload.uploads.append(&self.upload, &[], length);
            self.upload = in_time(self.api, append).await?;
        }
        Ok(())
    }
}

/// Why no more is taken of a body.
enum Stop {
    Broken(Broken),
    Refused(Refusal),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What is answered to a body that ended before its end.
pub(super) fn refusal(broken: &Broken) -> Refusal {
    match broken {
        Broken::Cut => Refusal::new(ErrorCode::InvalidRequest, "Send the whole body."),
        Broken::Stalled => Refusal::new(
            ErrorCode::InvalidRequest,
            "Send the rest again over a better connection: the body came too slowly.",
        )
        .with_status(StatusCode::REQUEST_TIMEOUT),
        Broken::Stopping => Refusal::unavailable("Go on in a moment: the service is restarting."),
        Broken::Malformed(details) => {
            Refusal::new(ErrorCode::InvalidRequest, "Send the file as the body, or in a form of one field.")
                .with_details(*details)
        }
    }
}

/// What is answered to a file without bytes, which no job could use.
pub(super) fn empty_file() -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, "Send the file as the body, or in a form of one field.")
        .with_details("the file has no bytes")
}

fn mismatch() -> Refusal {
    let status = StatusCode::from_u16(CHECKSUM_MISMATCH).unwrap_or(StatusCode::BAD_REQUEST);
    Refusal::new(ErrorCode::InvalidRequest, "Send this part again: it is not what its checksum says.")
        .with_status(status)
}
